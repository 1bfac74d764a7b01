#pragma once
// One actor in virtual time. Around it puppets: a desk where the journal would stand, whose appends are durable when the test says so, and
// whoever else it talks to, who write down what they are told.

#include <algorithm>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <caf/scheduler/test_coordinator.hpp>

#include "simulation/function_actor.hpp"
#include "troupe/actors/runtime.hpp"

namespace troupe::test {

/// What the actor gave to the journal.
struct paper {
  std::vector<std::vector<event_body>> groups; ///< as they came, each whole or not there
  std::deque<caf::typed_response_promise<actors::appended>> waiting;
  std::deque<std::pair<actors::read_task, caf::typed_response_promise<actors::task_events>>> reads;
  bool at_once = false;    ///< appends are durable as they come
  bool reads_wait = false; ///< until `events_read`
  error unreadable;        ///< what a read answers

  std::string said() const {
    std::string out;
    for (const auto& group : groups) {
      std::string line;
      for (const auto& body : group) {
        event e;
        e.body = body;
        line += (line.empty() ? "" : " + ") + std::string(type_of(e));
        if (const auto* failure = std::get_if<tool_failed>(&body))
          line += " (" + failure->next + ")";
      }
      out += (out.empty() ? "" : ", ") + line;
    }
    return out;
  }
  /// What stands there now.
  actors::task_events read(const actors::read_task& wanted) const {
    actors::task_events recorded{unreadable, {}};
    for (const auto& group : groups)
      for (const auto& body : group)
        recorded.events.push_back(std::make_shared<const event>(event{1, 1, wanted.run_id, wanted.task, "a", body}));
    return recorded;
  }
  void answer_reads() {
    for (auto& [wanted, asker] : std::exchange(reads, {}))
      asker.deliver(read(wanted));
  }
  /// The last of its kind that was written; null: there is none.
  template <class Body>
  const Body* last() const {
    for (auto group = groups.rbegin(); group != groups.rend(); ++group)
      for (auto body = group->rbegin(); body != group->rend(); ++body)
        if (const auto* found = std::get_if<Body>(&*body))
          return found;
    return nullptr;
  }
};

struct desk_state {
  explicit desk_state(actors::journal_actor::pointer) {}
  static inline const char* name = "desk";
};

/// Stands where the journal stands.
inline actors::journal_actor::behavior_type desk(actors::journal_actor::stateful_pointer<desk_state> self, paper* on) {
  return {
      [self, on](actors::append& wanted) -> caf::result<actors::appended> {
        on->groups.push_back(std::move(wanted.bodies));
        if (on->at_once)
          return actors::appended{};
        on->waiting.push_back(self->make_response_promise<actors::appended>());
        return on->waiting.back();
      },
      [on](actors::note& wanted) { on->groups.push_back(std::move(wanted.bodies)); },
      [](const actors::open_run&) {},
      [](const actors::close_run&) {},
      [self, on](const actors::read_task& wanted) -> caf::result<actors::task_events> {
        if (!on->reads_wait)
          return on->read(wanted);
        on->reads.emplace_back(wanted, self->make_response_promise<actors::task_events>());
        return on->reads.back().second;
      },
      [](const actors::subscribe&) {},
      [on](const actors::groups_written&) {
        auto asker = on->waiting.front();
        on->waiting.pop_front();
        asker.deliver(actors::appended{});
      },
      [on](const actors::events_read&) { on->answer_reads(); },
  };
}

/// What a gateway or a tool's host was told to end: "R1 a".
struct ended_calls {
  std::vector<std::string> of;
};

inline actors::llm_gateway_actor::behavior_type idle_gateway(actors::llm_gateway_actor::pointer, ended_calls* log) {
  return {
      [](actors::llm_ask&) { return actors::llm_answer{}; },
      [log](const actors::cancel_calls& which) { log->of.push_back(which.run_id + " " + which.task); },
      [](const actors::settle_calls&) { return actors::calls_settled{}; },
      [](const actors::transfers_ended&) {},
      [](const actors::wake_up&) {},
  };
}

inline actors::tool_host_actor::behavior_type idle_host(actors::tool_host_actor::pointer, ended_calls* log) {
  return {
      [](actors::invoke&) { return actors::tool_answer{}; },
      [log](const actors::cancel_calls& which) { log->of.push_back(which.run_id + " " + which.task); },
      [](const actors::tool_ended&) {},
      [](const actors::call_timer&) {},
  };
}

/// What a guard was asked for, and what it was given back.
struct guarded {
  bool grant = false;                                   ///< the oldest, when its time is looked at the next time
  std::vector<std::string> reserved, released, settled; ///< ids
  std::deque<caf::typed_response_promise<actors::reserve_answer>> waiting;
};

inline actors::budget_guard_actor::behavior_type slow_guard(actors::budget_guard_actor::pointer self, guarded* log) {
  return {
      [self, log](const actors::reserve& wanted) -> caf::result<actors::reserve_answer> {
        log->reserved.push_back(wanted.id);
        log->waiting.push_back(self->make_response_promise<actors::reserve_answer>());
        return log->waiting.back();
      },
      [log](const actors::settle& done) { log->settled.push_back(done.id); },
      [log](const actors::release& back) { log->released.push_back(back.id); },
      [](const actors::budget_query&) { return actors::budget_report{}; },
      [log](const actors::time_check&) {
        if (std::exchange(log->grant, false)) {
          auto asker = log->waiting.front();
          log->waiting.pop_front();
          asker.deliver(actors::reserve_answer{.granted = true});
        }
        return actors::time_checked{};
      },
  };
}

/// What a pool, or a member of one, has; it answers when the test does.
struct given_work {
  std::deque<std::pair<actors::task_assignment, caf::typed_response_promise<actors::task_result>>> tasks;
  std::vector<actors::cancel_task> wishes;
  actors::task_result next; ///< how the oldest task ends; a promise is kept by its actor, which is told to

  void answer() {
    auto [order, asker] = std::move(tasks.front());
    tasks.pop_front();
    next.task = order.task;
    next.attempt = order.attempt;
    asker.deliver(std::exchange(next, {}));
  }
};

inline actors::agent_actor::behavior_type idle_member(actors::agent_actor::pointer self, given_work* log) {
  return {
      [self, log](actors::task_assignment& order) -> caf::result<actors::task_result> {
        log->tasks.emplace_back(std::move(order), self->make_response_promise<actors::task_result>());
        return log->tasks.back().second;
      },
      [log](const actors::cancel_task& wish) { log->wishes.push_back(wish); },
      [](const actors::deadline_hit&) {},
      [](const actors::ask_again&) {},
      [](const actors::check_ended&) {},
  };
}

inline actors::agent_pool_actor::behavior_type idle_pool(actors::agent_pool_actor::pointer self, given_work* log) {
  return {
      [self, log](actors::task_assignment& order) -> caf::result<actors::task_result> {
        log->tasks.emplace_back(std::move(order), self->make_response_promise<actors::task_result>());
        return log->tasks.back().second;
      },
      [log](const actors::cancel_task& wish) { log->wishes.push_back(wish); },
      [](const actors::member_joined&) {},
      [](const actors::member_gone&) {},
      [log](const actors::line_timer&) { log->answer(); },
      [](const actors::pool_query&) { return actors::pool_stats{}; },
  };
}

/// Who is on it has to be gone before what they write to is: a fixture that is made of one calls `clear` at its end.
class stage {
public:
  stage() {
    actors::prepare(config_);
    config_.set("scheduler.policy", caf::atom("testing"));
    system = std::make_unique<caf::actor_system>(config_);
    system->await_actors_before_shutdown(false);
  }
  stage(const stage&) = delete;
  stage& operator=(const stage&) = delete;

  caf::scheduler::test_coordinator& scheduler() { return static_cast<caf::scheduler::test_coordinator&>(system->scheduler()); }
  actors::clock_point now() { return scheduler().clock().now(); }
  void go() { scheduler().run(); }
  /// Everything that is due by then happens.
  void pass(actors::clock_point::duration time) {
    auto& clock = scheduler().clock();
    const auto until = clock.now() + time;
    go();
    while (!clock.schedule().empty() && clock.schedule().begin()->first <= until) {
      clock.advance_time(std::max(clock.schedule().begin()->first - clock.now(), caf::actor_clock::duration_type::zero()));
      go();
    }
    clock.current_time = until;
  }

  template <class Handle>
  Handle add(Handle who) {
    cast_.push_back(caf::actor_cast<caf::actor>(who));
    return who;
  }
  template <class Handle>
  void kill(const Handle& who) {
    caf::anon_send_exit(who, caf::exit_reason::kill);
    go();
  }
  template <class Handle, class Message>
  void tell(const Handle& to, Message message) {
    caf::anon_send(to, std::move(message));
    go();
  }
  /// Asks; what is answered comes to `take`, whenever that is.
  template <class Answer, class Handle, class Message>
  void ask(const Handle& whom, Message wanted, std::function<void(const Answer&)> take) {
    simulation::spawn_function(*system, [whom, wanted = std::move(wanted), take = std::move(take)](caf::event_based_actor* self) {
      actors::ask(self, whom, wanted).then([take](const Answer& came) { take(came); }, [](const caf::error&) {});
    });
    go();
  }
  void clear() {
    for (const auto& each : std::exchange(cast_, {}))
      kill(each);
  }

private:
  caf::actor_system_config config_;

public:
  std::unique_ptr<caf::actor_system> system;

private:
  std::vector<caf::actor> cast_;
};

} // namespace troupe::test
