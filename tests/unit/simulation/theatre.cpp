#include "simulation/theatre.hpp"

#include <stdexcept>

#include <spdlog/spdlog.h>

#include "simulation/function_actor.hpp"
#include "troupe/actors/runtime.hpp"

namespace troupe::simulation {

using namespace actors;

namespace {

struct puppet_state {
  explicit puppet_state(agent_actor::pointer) {}
  static inline const char* name = "puppet";
};

/// How it ends comes as the number of a message that agents know.
agent_actor::behavior_type puppet(agent_actor::stateful_pointer<puppet_state> self, bool stubborn,
                                  std::function<void(const caf::error&)> at_end) {
  install_handlers(self);
  self->attach_functor([at_end](const caf::error& reason) { at_end(reason); });
  if (stubborn)
    self->set_exit_handler([](caf::exit_msg&) {});
  return {
      [](task_assignment&) { return task_result{}; },
      [](const cancel_task&) {},
      [](const deadline_hit&) {},
      [](const check_ended&) {},
      [self](const ask_again& order) {
        switch (static_cast<ending>(order.generation)) {
        case ending::normal:
          self->quit();
          break;
        case ending::shutdown:
          self->quit(caf::exit_reason::user_shutdown);
          break;
        case ending::crash:
          throw std::runtime_error("crashed");
        case ending::poison:
          self->quit(poison_error("poisoned"));
          break;
        case ending::kill:
          break;
        }
      },
  };
}

struct listener_state {
  explicit listener_state(agent_pool_actor::pointer) {}
  static inline const char* name = "listener";
};

/// Stands where an agent's pool stands.
agent_pool_actor::behavior_type listener(agent_pool_actor::stateful_pointer<listener_state> self,
                                         std::function<void(const std::string&)> gone) {
  install_handlers(self);
  return {
      [](task_assignment&) { return task_result{}; },           [](const cancel_task&) {}, [](const member_joined&) {},
      [gone](const member_gone& which) { gone(which.member); }, [](const line_timer&) {},  [](const pool_query&) { return pool_stats{}; },
  };
}

const tree_node* find(const tree_node& node, const std::string& id) {
  if (node.id == id)
    return &node;
  for (const auto& child : node.children)
    if (const auto* found = find(child, id))
      return found;
  return nullptr;
}

} // namespace

theatre::theatre(supervisor_spec spec) {
  spdlog::set_level(spdlog::level::off);
  prepare(config_);
  config_.set("scheduler.policy", caf::atom("testing"));
  system_ = std::make_unique<caf::actor_system>(config_);
  system_->await_actors_before_shutdown(false);
  setup_ = std::make_shared<tree_setup>();
  setup_->seed = 7;
  setup_->make_agent = [this](const std::string&, const std::string& member, const supervisor_actor&) {
    if (auto& left = starts_that_fail[member]; left > 0) {
      --left;
      note("start " + member + " fails");
      throw std::runtime_error("it cannot start");
    }
    note("start " + member);
    if (!alive_.insert(member).second)
      note("TWICE " + member);
    auto made = system_->spawn(puppet, stubborn.count(member) != 0, [this, member](const caf::error& reason) {
      note("end " + member + " " + text_of(reason));
      alive_.erase(member);
    });
    members_[member] = caf::actor_cast<caf::actor>(made);
    return made;
  };
  for (const auto& [agent, members] : members_of(spec))
    setup_->pools.emplace(agent, std::make_shared<service<agent_pool_actor>>(
                                     system_->spawn(listener, [this](const std::string& member) { note("gone " + member); })));
  root_ = spawn_supervisor(*system_, std::move(spec), setup_);
  audience_ = spawn_function(*system_, [this](caf::event_based_actor* self) {
    self->monitor(root_);
    self->set_down_handler([this, self](const caf::down_msg& down) {
      note("root ended: " + text_of(down.reason));
      ended_ = true;
      self->quit();
    });
    return caf::behavior{[](const start_tree&) {}};
  });
  go();
}

theatre::~theatre() {
  if (root_)
    caf::anon_send_exit(root_, caf::exit_reason::kill);
  go(std::chrono::hours(1));
}

caf::scheduler::test_coordinator& theatre::scheduler() {
  return static_cast<caf::scheduler::test_coordinator&>(system_->scheduler());
}

void theatre::note(const std::string& what) {
  said_ += (said_.empty() ? "" : ", ") + what;
}

std::string theatre::said() {
  return std::exchange(said_, {});
}

std::string theatre::boot() {
  std::string failure = "no answer";
  spawn_function(*system_, [this, &failure](caf::event_based_actor* self) {
    ask(self, root_, start_tree{})
        .then([&failure](const tree_started& started) { failure = started.failure; },
              [&failure](const caf::error& reason) { failure = text_of(reason); });
  });
  go(std::chrono::minutes(1));
  return failure;
}

void theatre::go(std::chrono::microseconds time) {
  auto& clock = scheduler().clock();
  const auto until = clock.now() + time;
  const auto run = [this] {
    auto& jobs = scheduler().jobs;
    while (!jobs.empty()) {
      auto* actor = dynamic_cast<caf::scheduled_actor*>(jobs.front());
      if (actor != nullptr && std::string(actor->name()) == "supervisor"
          && std::find(supervisors_.begin(), supervisors_.end(), actor->address()) == supervisors_.end())
        supervisors_.push_back(actor->address());
      scheduler().run_once();
    }
  };
  run();
  while (clock.has_pending_timeout() && clock.schedule().begin()->first <= until) {
    clock.advance_time(std::max(clock.schedule().begin()->first - clock.now(), caf::actor_clock::duration_type::zero()));
    run();
  }
  clock.current_time = until;
}

void theatre::end(const std::string& member, ending how) {
  const auto& actor = members_.at(member);
  if (how == ending::kill)
    caf::anon_send_exit(actor, caf::exit_reason::kill);
  else
    caf::anon_send(caf::actor_cast<agent_actor>(actor), ask_again{static_cast<std::uint64_t>(how), {}});
}

void theatre::kill_supervisor(std::size_t which) {
  caf::anon_send_exit(supervisors_.at(which), caf::exit_reason::kill);
}

void theatre::send_end(std::size_t which) {
  caf::anon_send_exit(supervisors_.at(which), caf::exit_reason::user_shutdown);
}

void theatre::stop() {
  caf::anon_send(root_, stop_tree{});
}

std::string theatre::change(child_change what, child_spec child, const std::string& supervisor) {
  auto answer = std::make_shared<std::string>("no answer");
  spawn_function(*system_, [=, this](caf::event_based_actor* self) {
    ask(self, root_, change_child{what, child, supervisor})
        .then([answer](const child_changed& done) { *answer = done.error; },
              [answer](const caf::error& reason) { *answer = text_of(reason); });
  });
  go();
  return *answer;
}

void theatre::replace_members(const std::string& agent) {
  caf::anon_send(root_, actors::replace_members{agent});
}

std::set<std::string> theatre::alive() const {
  return alive_;
}

std::optional<tree_node> theatre::describe() {
  auto answer = std::make_shared<std::optional<tree_node>>();
  spawn_function(*system_, [this, answer](caf::event_based_actor* self) {
    ask(self, root_, describe_tree{}).then([answer](const tree_answer& tree) { *answer = *tree.root; }, [](const caf::error&) {});
  });
  go();
  return *answer;
}

std::string theatre::state_of_node(const std::string& id) {
  const auto tree = describe();
  const auto* node = tree ? find(*tree, id) : nullptr;
  return node == nullptr ? "" : node->state;
}

} // namespace troupe::simulation
