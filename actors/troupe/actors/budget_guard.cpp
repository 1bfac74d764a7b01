#include "troupe/actors/budget_guard.hpp"

#include <map>
#include <optional>
#include <unordered_map>

#include "troupe/policy/budget_ledger.hpp"
#include "troupe/policy/budget_scope.hpp"
#include "troupe/policy/replay.hpp"

namespace troupe::actors {

namespace {

// A reservation: (own line) --granted here--> asked of the parent --granted there--> held; refused anywhere: given back everywhere.
struct waiting_ask {
  caf::typed_response_promise<reserve_answer> asker;
  reserve wanted;
};

/// Who asked for what: settled when they die.
struct holding {
  caf::actor_addr holder;
  spend worst_case;
  std::string run_id;   ///< of guards above runs: whose it is
  bool granted = false; ///< the holder was told so: it may have sent its request
};

struct guard_state {
  explicit guard_state(budget_guard_actor::pointer) {}
  static inline const char* name = "budget_guard";
  guard_setup setup;
  policy::budget_ledger ledger;
  std::unordered_map<std::string, bool> tasks; ///< that have asked, by scope: whether they have limits
  std::unordered_map<std::string, waiting_ask> waiting;
  std::map<std::string, holding> held; ///< by id: granted, or waiting
  std::optional<watch_list> watched;
  std::optional<asked_services> asks; ///< the gateway, which asks here
};

using guard_self = budget_guard_actor::stateful_pointer<guard_state>;

/// Now, as the scope's limit of time has it: without what waiting for humans has given back.
clock_point time_of(guard_self self) {
  const auto now = self->clock().now();
  const auto& pause = state_of(self).setup.pause;
  return pause ? now - paused(*pause, now) : now;
}

void define(guard_state& state, const std::string& scope, const limits& limit) {
  state.ledger.define(scope, limit);
  if (const auto known = state.setup.inner.find(scope); known != state.setup.inner.end())
    state.ledger.charge({scope}, known->second.spent);
}

/// A task's limits are looked up when it first spends: how many there will be, a for_each knows only then.
bool has_limits(guard_state& state, std::string_view path, const std::string& scope) {
  const auto [known, fresh] = state.tasks.try_emplace(scope, false);
  if (fresh)
    if (const auto limit = state.setup.limits_of_task(path); limit != limits{}) {
      define(state, scope, limit);
      known->second = true;
    }
  return known->second;
}

/// The scopes here that a call counts against, innermost first: those that have limits.
std::vector<std::string> scopes_of(guard_state& state, const std::string& task, const std::string& agent) {
  std::vector<std::string> scopes;
  // An element counts for its for_each task, a task of a sub-workflow for the task that runs it too.
  if (state.setup.limits_of_task)
    for (std::string_view path = task; !path.empty(); path = policy::parent_path(path))
      if (auto name = policy::task_scope(path); has_limits(state, path, name))
        scopes.push_back(std::move(name));
  auto name = policy::agent_scope(agent);
  if (const auto known = state.setup.inner.find(name); known != state.setup.inner.end() && known->second.limit != limits{})
    scopes.push_back(std::move(name));
  scopes.push_back(state.setup.scope);
  return scopes;
}

void apply(guard_self self, const policy::ledger_changes& changes, const std::string& run_id = {});

reserve_answer granted_answer(guard_self self, const std::string& id) {
  if (auto found = state_of(self).held.find(id); found != state_of(self).held.end())
    found->second.granted = true;
  return reserve_answer{true, {}, {}, {}, usd::max()};
}

/// A limit that the request could be lowered to is not what refuses it, where a limit further in has not even that much left.
reserve_answer refused_answer(guard_self self, const reserve& wanted, policy::budget_refusal why) {
  const auto& ledger = state_of(self).ledger;
  const auto scopes = scopes_of(state_of(self), wanted.task, wanted.agent);
  if (why.kind != limit_kind::time)
    if (auto innermost = ledger.stands_in_the_way(scopes, wanted.worst_case, {wanted.least, wanted.worst_case.steps}))
      why = std::move(*innermost);
  return reserve_answer{false, std::move(why.scope), why.kind, std::move(why.message), ledger.left_if_all_settle(scopes).money};
}

/// Granted here: the parent is asked next, or the asker is told.
void granted_here(guard_self self, const std::string& id) {
  auto& state = state_of(self);
  auto node = state.waiting.extract(id);
  if (node.empty())
    return;
  auto& ask_record = node.mapped();
  if (!state.setup.parent) {
    ask_record.asker.deliver(granted_answer(self, id));
    return;
  }
  if (!state.setup.run_id.empty())
    ask_record.wanted.run_id = state.setup.run_id;
  ask(self, *state.setup.parent, ask_record.wanted)
      .then(
          [self, asker = ask_record.asker, id](const reserve_answer& said) mutable {
            if (said.granted) {
              asker.deliver(granted_answer(self, id));
              return;
            }
            state_of(self).held.erase(id);
            apply(self, state_of(self).ledger.release(id));
            asker.deliver(said);
          },
          [self, asker = ask_record.asker, id, scope = state.setup.scope](const caf::error& reason) mutable {
            state_of(self).held.erase(id);
            apply(self, state_of(self).ledger.release(id));
            asker.deliver(reserve_answer{false, scope, limit_kind::money, "the budget guard above is gone: " + text_of(reason), usd{}});
          });
}

void tell_warnings(guard_self self, const std::vector<budget_warned>& warnings, const std::string& run_id) {
  const auto& setup = state_of(self).setup;
  const auto& whom = setup.run_id.empty() ? run_id : setup.run_id;
  if (warnings.empty() || !setup.journal || whom.empty())
    return;
  tell(self, *setup.journal, note{whom, {}, {}, std::vector<event_body>(warnings.begin(), warnings.end())});
}

/// It is held no more; answers whose it was.
std::string let_go(guard_self self, const std::string& id) {
  auto node = state_of(self).held.extract(id);
  return node.empty() ? std::string{} : std::move(node.mapped().run_id);
}

/// Tells those who waited, and records warnings.
void apply(guard_self self, const policy::ledger_changes& changes, const std::string& run_id) {
  auto& state = state_of(self);
  tell_warnings(self, changes.warnings, run_id);
  for (const auto& [id, granted] : changes.granted)
    granted_here(self, id);
  for (const auto& [id, why] : changes.refused) {
    state.held.erase(id);
    if (auto node = state.waiting.extract(id); !node.empty())
      node.mapped().asker.deliver(refused_answer(self, node.mapped().wanted, why));
  }
}

void take_back(guard_self self, const settle& done) {
  auto& state = state_of(self);
  const auto run_id = let_go(self, done.id);
  apply(self, state.ledger.settle(done.id, done.actual), run_id);
  if (state.setup.parent)
    tell(self, *state.setup.parent, done);
}

void take_back(guard_self self, const release& given_back) {
  auto& state = state_of(self);
  const auto run_id = let_go(self, given_back.id);
  apply(self, state.ledger.release(given_back.id), run_id);
  if (auto node = state.waiting.extract(given_back.id); !node.empty())
    node.mapped().asker.deliver(reserve_answer{false, state.setup.scope, limit_kind::money, "given up", usd{}});
  if (state.setup.parent)
    tell(self, *state.setup.parent, given_back);
}

void watch(guard_self self, const reserve& wanted) {
  auto& state = state_of(self);
  const auto holder = caf::actor_cast<caf::actor_addr>(self->current_sender());
  state.held.insert_or_assign(wanted.id, holding{holder, wanted.worst_case, wanted.run_id, false});
  const auto& gateway = state.setup.gateway;
  if (holder && (!gateway || state.asks->now(self, gateway).address() != holder))
    state.watched->add(self, holder);
}

void holder_down(guard_self self, const caf::actor_addr& holder) {
  auto& state = state_of(self);
  state.watched->forget(holder);
  std::vector<std::pair<std::string, holding>> left;
  for (const auto& each : state.held)
    if (each.second.holder == holder)
      left.push_back(each);
  for (const auto& [id, each] : left)
    if (each.granted)
      take_back(self, settle{id, each.worst_case});
    else
      take_back(self, release{id});
}

caf::result<budget_report> describe(guard_self self, const budget_query& query) {
  auto& state = state_of(self);
  auto own = state.ledger.usage(time_of(self));
  if (!state.setup.parent)
    return budget_report{std::make_shared<const std::vector<policy::scope_usage>>(std::move(own))};
  auto promise = self->make_response_promise<budget_report>();
  auto deliver = [promise, own](const std::vector<policy::scope_usage>& above) mutable {
    own.insert(own.end(), above.begin(), above.end());
    promise.deliver(budget_report{std::make_shared<const std::vector<policy::scope_usage>>(std::move(own))});
  };
  ask(self, *state.setup.parent, query)
      .then([deliver](const budget_report& above) mutable { deliver(*above.scopes); },
            [deliver](const caf::error&) mutable { deliver({}); });
  return promise;
}

budget_guard_actor::behavior_type budget_guard(guard_self self, guard_setup setup) {
  install_handlers(self);
  auto& state = state_of(self);
  state.watched.emplace(self);
  state.asks.emplace(self);
  state.setup = std::move(setup);
  auto& ledger = state.ledger;
  ledger.define(state.setup.scope, state.setup.limit);
  ledger.charge({state.setup.scope}, state.setup.spent);
  for (const auto& [name, scope] : state.setup.inner)
    if (scope.limit != limits{})
      define(state, name, scope.limit);
  on_down(self, [self](const caf::down_msg& down) { holder_down(self, caf::actor_cast<caf::actor_addr>(down.source)); });
  ledger.start_clock(state.setup.scope, time_of(self), state.setup.time_used);
  return {
      [self](const reserve& wanted) -> caf::result<reserve_answer> {
        auto& s = state_of(self);
        const auto now = time_of(self);
        tell_warnings(self, s.ledger.time_warnings(now), wanted.run_id);
        watch(self, wanted);
        auto said = s.ledger.reserve(wanted.id, scopes_of(s, wanted.task, wanted.agent), wanted.worst_case, std::nullopt, now);
        if (auto* why = std::get_if<policy::budget_refusal>(&said)) {
          s.held.erase(wanted.id);
          return refused_answer(self, wanted, *why);
        }
        if (!wanted.waits && std::holds_alternative<policy::budget_waiting>(said)) {
          s.held.erase(wanted.id);
          apply(self, s.ledger.cancel_waiting(wanted.id));
          return refused_answer(self, wanted, {s.setup.scope, limit_kind::money, "what is left is held by others"});
        }
        if (!s.setup.parent && std::holds_alternative<policy::budget_granted>(said))
          return granted_answer(self, wanted.id);
        auto promise = self->make_response_promise<reserve_answer>();
        s.waiting[wanted.id] = waiting_ask{promise, wanted};
        if (std::holds_alternative<policy::budget_granted>(said))
          granted_here(self, wanted.id);
        return promise;
      },
      [self](const settle& done) { take_back(self, done); },
      [self](const release& given_back) { take_back(self, given_back); },
      [self](const budget_query& query) { return describe(self, query); },
      [self](const time_check&) {
        auto& ledger_now = state_of(self).ledger;
        const auto now = time_of(self);
        return time_checked{ledger_now.time_warnings(now), ledger_now.next_time_warning(now)};
      },
  };
}

} // namespace

budget_guard_actor spawn_budget_guard(caf::actor_system& system, guard_setup setup) {
  return system.spawn(budget_guard, std::move(setup));
}

} // namespace troupe::actors
