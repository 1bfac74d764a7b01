#include "troupe/actors/supervisor.hpp"

#include <algorithm>
#include <deque>
#include <iterator>
#include <map>
#include <random>
#include <set>
#include <stdexcept>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <unordered_set>

#include <spdlog/spdlog.h>

#include "troupe/actors/loop_wards.hpp"
#include "troupe/model/described.hpp"
#include "troupe/policy/supervision.hpp"

namespace troupe::actors {

namespace {

// idle --start_tree--> booting --> running --stop_tree | escalation | auto_shutdown--> stopping --> ended
// `policy::supervision` decides all of it; here children are spawned, told to stop, killed and watched.

struct live_child {
  std::string id;
  std::int64_t incarnation = 0;
  caf::actor handle; ///< agent or supervisor
};

/// Children that run, once: a tree has a million of them. Found by address and by id.
class brood {
public:
  void add(live_child child) {
    const auto address = child.handle.address();
    if (const auto earlier = by_id_.find(std::string_view(child.id)); earlier != by_id_.end())
      by_id_.erase(earlier); // an incarnation whose end is still to come
    by_id_.insert(&(by_address_[address] = std::move(child)));
  }
  std::optional<live_child> take(const caf::actor_addr& address) {
    const auto at = by_address_.find(address);
    if (at == by_address_.end())
      return std::nullopt;
    if (const auto known = by_id_.find(&at->second); known != by_id_.end() && *known == &at->second)
      by_id_.erase(known);
    auto child = std::move(at->second);
    by_address_.erase(at);
    return child;
  }
  const live_child* find(std::string_view id) const {
    const auto at = by_id_.find(id);
    return at == by_id_.end() ? nullptr : *at;
  }
  const live_child* find(const caf::actor_addr& address) const {
    const auto at = by_address_.find(address);
    return at == by_address_.end() ? nullptr : &at->second;
  }
  /// By id: the same order each time.
  std::vector<caf::actor> handles() const {
    std::vector<const live_child*> children;
    children.reserve(by_address_.size());
    for (const auto& [address, child] : by_address_)
      children.push_back(&child);
    std::sort(children.begin(), children.end(),
              [](const auto* a, const auto* b) { return std::tie(a->id, a->incarnation) < std::tie(b->id, b->incarnation); });
    std::vector<caf::actor> handles;
    handles.reserve(children.size());
    for (const auto* child : children)
      handles.push_back(child->handle);
    return handles;
  }

private:
  static std::string_view key_of(std::string_view id) { return id; }
  static std::string_view key_of(const live_child* child) { return child->id; }
  struct hash_of_id {
    using is_transparent = void;
    std::size_t operator()(const auto& which) const { return std::hash<std::string_view>{}(key_of(which)); }
  };
  struct same_id {
    using is_transparent = void;
    bool operator()(const auto& a, const auto& b) const { return key_of(a) == key_of(b); }
  };
  std::unordered_map<caf::actor_addr, live_child> by_address_;
  std::unordered_set<const live_child*, hash_of_id, same_id> by_id_;
};

struct supervisor_state {
  explicit supervisor_state(supervisor_actor::pointer) {}
  static inline const char* name = "supervisor";
  std::optional<policy::supervision> decide;
  std::shared_ptr<const tree_setup> setup;
  std::mt19937_64 dice;
  /// Shared with what runs when this supervisor has ended: nobody outlives it, however it ends.
  std::shared_ptr<brood> live = std::make_shared<brood>();
  std::unordered_map<std::string, supervisor_actor> below;                         ///< child supervisors that run
  std::unordered_map<std::string, std::pair<std::int64_t, milliseconds>> restarts; ///< of members: how often, last wait
  std::optional<caf::typed_response_promise<tree_started>> starter;
  std::multimap<std::string, caf::typed_response_promise<child_changed>> changes; ///< asked for, by the child's id
  std::deque<policy::supervision_command> to_do; ///< what an input brings while another one's commands are carried out comes after them
  bool at_work = false;
  loop_wards wards;
};

using supervisor_self = supervisor_actor::stateful_pointer<supervisor_state>;

policy::moment moment_of(supervisor_self self) {
  return {self->clock().now(), std::uniform_real_distribution<double>(0, 1)(state_of(self).dice)};
}

void perform(supervisor_self self, policy::supervision_commands commands);
void tell_gone(supervisor_self self, const policy::gone_child& gone);

/// "researcher" of the member "researcher/2".
std::string agent_of(const std::string& member) {
  return member.substr(0, member.find('/'));
}

void watch(supervisor_self self, const policy::start_child& start, const caf::actor& handle) {
  auto& state = state_of(self);
  monitor(self, handle);
  state.live->add(live_child{start.id, start.incarnation, handle});
}

void start_agent(supervisor_self self, const policy::start_child& start) {
  auto& state = state_of(self);
  const auto agent = agent_of(start.id);
  if (state.setup->pools.count(agent) == 0)
    throw std::runtime_error("there is no agent \"" + agent + "\"");
  const auto made = state.setup->make_agent(agent, start.id, supervisor_actor(self));
  watch(self, start, caf::actor_cast<caf::actor>(made));
  const auto history = state.restarts.find(start.id);
  tell(self, state.setup->pools.at(agent)->now(),
       member_joined{start.id, made, state.decide->spec().name, start.incarnation - 1,
                     history == state.restarts.end() ? milliseconds{0} : history->second.second});
}

void start_below(supervisor_self self, const policy::start_child& start) {
  auto& state = state_of(self);
  auto made = spawn_supervisor(self->system(), start.spec->supervisor.front(), state.setup);
  watch(self, start, caf::actor_cast<caf::actor>(made));
  state.below.insert_or_assign(start.id, made);
  // A supervisor is up when all of its children are.
  ask(self, made, start_tree{})
      .then(
          [self, id = start.id, incarnation = start.incarnation](const tree_started& started) {
            const auto m = moment_of(self);
            auto& decide = *state_of(self).decide;
            perform(self, started.failure.empty() ? decide.child_started(id, incarnation, m)
                                                  : decide.child_start_failed(id, incarnation, started.failure, m));
          },
          [](const caf::error&) {}); // it died: the down message comes too
}

void carry_out(supervisor_self self, const policy::start_child& start) {
  if (start.spec->kind == child_kind::supervisor) {
    start_below(self, start);
    return;
  }
  std::string failure;
  try {
    start_agent(self, start);
  } catch (const std::exception& problem) {
    failure = problem.what();
  }
  auto& decide = *state_of(self).decide;
  const auto m = moment_of(self);
  perform(self, failure.empty() ? decide.child_started(start.id, start.incarnation, m)
                                : decide.child_start_failed(start.id, start.incarnation, failure, m));
}

const live_child* living(supervisor_self self, const std::string& id, std::int64_t incarnation) {
  const auto* child = state_of(self).live->find(id);
  return child != nullptr && child->incarnation == incarnation ? child : nullptr;
}

void carry_out(supervisor_self self, const policy::stop_child& stop) {
  if (const auto* child = living(self, stop.id, stop.incarnation)) {
    if (auto below = state_of(self).below.find(stop.id); below != state_of(self).below.end())
      tell(self, below->second, stop_tree{});
    else
      self->send_exit(child->handle, caf::exit_reason::user_shutdown);
  }
}

void carry_out(supervisor_self self, const policy::kill_child& kill) {
  if (const auto* child = living(self, kill.id, kill.incarnation))
    self->send_exit(child->handle, caf::exit_reason::kill);
}

void carry_out(supervisor_self self, const policy::start_timer& timer) {
  tell_later(self, supervisor_actor(self), timer.after, supervision_timer{timer.timer});
}

void carry_out(supervisor_self self, const policy::child_restarted& restarted) {
  state_of(self).restarts[restarted.id] = {restarted.restarts, std::chrono::duration_cast<milliseconds>(restarted.waited)};
  spdlog::info("supervisor {}: {} runs again after {} ms (restart {})", state_of(self).decide->spec().name, restarted.id,
               restarted.waited.count() / 1000, restarted.restarts);
}

void carry_out(supervisor_self self, const policy::supervisor_report& report) {
  static constexpr const char* contexts[] = {"child_terminated", "start_error", "shutdown_error", "intensity_reached"};
  spdlog::warn("supervisor {}: {}: {}: {}", state_of(self).decide->spec().name, contexts[report.context], report.child, report.reason);
}

void carry_out(supervisor_self self, const policy::boot_finished&) {
  auto& state = state_of(self);
  if (state.starter)
    std::exchange(state.starter, std::nullopt)->deliver(tree_started{});
}

void carry_out(supervisor_self self, const policy::request_done& done) {
  auto node = state_of(self).changes.extract(done.id);
  if (!node.empty())
    node.mapped().deliver(child_changed{done.id, done.error});
}

void carry_out(supervisor_self self, const policy::end_supervisor& end) {
  auto& state = state_of(self);
  if (state.starter)
    std::exchange(state.starter, std::nullopt)->deliver(tree_started{end.text.empty() ? "it was stopped while it started" : end.text});
  switch (end.reason) {
  case policy::end_reason::shutdown:
    self->quit(caf::exit_reason::user_shutdown);
    break;
  case policy::end_reason::escalation: // a shutdown to its own supervisor, as in OTP; the words say why
    self->quit(escalation_error(end.text));
    break;
  case policy::end_reason::boot_failed:
    self->quit(crash_error(end.text));
    break;
  }
}

/// In the order in which they were decided. Not by recursion: each of a hundred thousand members that has started starts the next.
void perform(supervisor_self self, policy::supervision_commands commands) {
  auto& state = state_of(self);
  state.to_do.insert(state.to_do.end(), std::make_move_iterator(commands.begin()), std::make_move_iterator(commands.end()));
  if (state.at_work)
    return;
  state.at_work = true;
  while (!state.to_do.empty()) {
    const auto command = std::move(state.to_do.front());
    state.to_do.pop_front();
    std::visit([self](const auto& what) { carry_out(self, what); }, command);
  }
  state.at_work = false;
  for (const auto& gone : state.decide->take_gone())
    tell_gone(self, gone);
}

/// Members of what will not come back: their pools stop waiting for them.
void tell_gone(supervisor_self self, const policy::gone_child& gone) {
  auto& state = state_of(self);
  const auto& id = gone.id;
  const auto& spec = gone.spec;
  if (spec->kind != child_kind::supervisor) {
    if (auto pool = state.setup->pools.find(agent_of(id)); pool != state.setup->pools.end())
      tell(self, pool->second->now(), member_gone{id});
    return;
  }
  for (const auto& [agent, members] : members_of(spec->supervisor.front()))
    if (auto pool = state.setup->pools.find(agent); pool != state.setup->pools.end())
      for (const auto& member : members)
        tell(self, pool->second->now(), member_gone{member});
}

void child_down(supervisor_self self, const caf::down_msg& down) {
  auto& state = state_of(self);
  const auto who = caf::actor_cast<caf::actor_addr>(down.source);
  const auto taken = state.live->take(who);
  if (!taken)
    return;
  const auto& child = *taken;
  state.wards.forget(who);
  state.below.erase(child.id);
  auto kind = policy::exit_kind::crash;
  if (!down.reason)
    kind = policy::exit_kind::normal;
  else if (down.reason == caf::exit_reason::user_shutdown || is_escalation(down.reason))
    kind = policy::exit_kind::shutdown;
  perform(self, state.decide->child_exited(child.id, child.incarnation, kind, text_of(down.reason), moment_of(self),
                                           !is_poison(down.reason) && !is_replaced(down.reason)));
}

/// Those that run are ended, and join the new pool when they run again; of those that will not run the pool is told.
void replace_all(supervisor_self self, const replace_members& which) {
  auto& state = state_of(self);
  std::set<std::string> coming;
  for (const auto& child : state.decide->describe().children) {
    if (child.state != policy::child_state::stopped)
      coming.insert(child.id);
    if (child.kind != child_kind::supervisor && agent_of(child.id) == which.agent)
      if (const auto* running = state.live->find(child.id))
        self->send_exit(running->handle, replaced_error("its pool died"));
  }
  for (const auto& child : state.decide->spec().children)
    if (child.kind != child_kind::supervisor && child.id == which.agent)
      for (const auto& member : policy::member_ids(child))
        if (coming.count(member) == 0)
          tell(self, state.setup->pools.at(which.agent)->now(), member_gone{member});
  for (const auto& [id, below] : state.below)
    tell(self, below, which);
}

/// Whether a supervisor of this name stands anywhere below.
bool has_supervisor(const supervisor_spec& spec, const std::string& name) {
  return spec.name == name || std::any_of(spec.children.begin(), spec.children.end(), [&](const child_spec& child) {
           return child.kind == child_kind::supervisor && has_supervisor(child.supervisor.front(), name);
         });
}

caf::result<child_changed> change(supervisor_self self, const change_child& wanted) {
  auto& state = state_of(self);
  const auto& id = wanted.child.id;
  auto promise = self->make_response_promise<child_changed>();
  if (const auto& own = state.decide->spec(); !wanted.supervisor.empty() && wanted.supervisor != own.name) {
    for (const auto& child : own.children)
      if (child.kind == child_kind::supervisor && has_supervisor(child.supervisor.front(), wanted.supervisor))
        if (const auto below = state.below.find(child.id); below != state.below.end()) {
          ask(self, below->second, wanted)
              .then([promise](const child_changed& done) mutable { promise.deliver(done); },
                    [promise, id](const caf::error& reason) mutable {
                      promise.deliver(child_changed{id, text_of(reason)});
                    });
          return promise;
        }
    promise.deliver(child_changed{id, "supervisor \"" + own.name + "\" has no supervisor \"" + wanted.supervisor + "\" that runs"});
    return promise;
  }
  state.changes.emplace(id, promise);
  auto& decide = *state.decide;
  const auto m = moment_of(self);
  switch (wanted.what) {
  case child_change::add:
    perform(self, decide.add_child(wanted.child, m));
    break;
  case child_change::terminate:
    perform(self, decide.terminate_child(id, m));
    break;
  case child_change::restart:
    perform(self, decide.restart_child(id, m));
    break;
  case child_change::remove:
    perform(self, decide.remove_child(id, m));
    break;
  }
  return promise;
}

std::shared_ptr<tree_node> node_of(const policy::supervisor_description& description) {
  auto node = std::make_shared<tree_node>();
  node->id = description.name;
  node->kind = "supervisor";
  node->state = name_of(description.phase);
  node->strategy = name_of(description.strategy);
  node->restarts = description.restarts;
  for (const auto& child : description.children)
    node->children.push_back({child.id, name_of(child.kind), name_of(child.state), child.restarts, {}, {}});
  return node;
}

/// Asks the supervisors below for their parts; one that is just ending stays as its parent sees it.
caf::result<tree_answer> describe(supervisor_self self) {
  auto& state = state_of(self);
  auto node = node_of(state.decide->describe());
  if (state.below.empty())
    return tree_answer{node};
  auto promise = self->make_response_promise<tree_answer>();
  auto open = std::make_shared<std::size_t>(state.below.size());
  auto one_less = [node, open, promise]() mutable {
    if (--*open == 0)
      promise.deliver(tree_answer{node});
  };
  for (const auto& [id, below] : state.below)
    ask(self, below, describe_tree{})
        .then(
            [node, id = id, one_less = one_less](const tree_answer& answer) mutable {
              for (auto& child : node->children)
                if (child.id == id) {
                  const auto restarts = child.restarts;
                  child = *answer.root;
                  child.id = id;
                  child.restarts = restarts;
                }
              one_less();
            },
            [one_less = one_less](const caf::error&) mutable { one_less(); });
  return promise;
}

judgement judge(supervisor_self self, const observation& seen) {
  auto& state = state_of(self);
  const auto from = caf::actor_cast<caf::actor_addr>(self->current_sender());
  judgement judged{state.wards.observe(from, seen)};
  if (!judged.verdict || !judged.verdict->found)
    return judged;
  const auto* child = state.live->find(from);
  const auto id = child ? child->id : std::string("an agent");
  spdlog::warn("supervisor {}: {} is looping ({}): {}", state.decide->spec().name, id, name_of(judged.verdict->found->kind),
               name_of(judged.verdict->rung));
  if (judged.verdict->rung == loop_rung::restarted)
    for (const auto& each : state.decide->describe().children)
      judged.in_place = judged.in_place || (each.id == id && each.restart == restart_type::temporary);
  return judged;
}

supervisor_actor::behavior_type supervisor(supervisor_self self, supervisor_spec spec, std::shared_ptr<const tree_setup> setup) {
  install_handlers(self);
  auto& state = state_of(self);
  state.dice.seed(setup->seed ^ std::hash<std::string>{}(spec.name));
  state.decide.emplace(std::move(spec));
  state.setup = std::move(setup);
  on_down(self, [self](caf::down_msg& down) { child_down(self, down); });
  self->attach_functor([live = state.live] {
    for (const auto& child : live->handles())
      caf::anon_send_exit(child, caf::exit_reason::kill);
  });
  // Told to end from above: children first, in order.
  on_exit(self, [self](caf::exit_msg& exit) {
    if (exit.reason == caf::exit_reason::kill)
      self->quit(exit.reason);
    else
      perform(self, state_of(self).decide->stop(moment_of(self)));
  });
  return {
      [self](const start_tree&) -> caf::result<tree_started> {
        auto promise = self->make_response_promise<tree_started>();
        state_of(self).starter = promise;
        perform(self, state_of(self).decide->start(moment_of(self)));
        return promise;
      },
      [self](const describe_tree&) { return describe(self); },
      [self](const stop_tree&) { perform(self, state_of(self).decide->stop(moment_of(self))); },
      [self](const change_child& wanted) { return change(self, wanted); },
      [self](const replace_members& which) { replace_all(self, which); },
      [self](const observation& seen) { return judge(self, seen); },
      [self](const supervision_timer& fired) { perform(self, state_of(self).decide->timer_fired(fired.id, moment_of(self))); },
  };
}

} // namespace

std::map<std::string, std::vector<std::string>> members_of(const supervisor_spec& spec) {
  std::map<std::string, std::vector<std::string>> members;
  for (const auto& child : spec.children) {
    if (child.kind == child_kind::supervisor) {
      for (auto& [agent, below] : members_of(child.supervisor.front()))
        members[agent].insert(members[agent].end(), below.begin(), below.end());
    } else {
      for (auto& id : policy::member_ids(child))
        members[child.id].push_back(std::move(id));
    }
  }
  return members;
}

supervisor_actor spawn_supervisor(caf::actor_system& system, supervisor_spec spec, std::shared_ptr<const tree_setup> setup) {
  return system.spawn(supervisor, std::move(spec), std::move(setup));
}

} // namespace troupe::actors
