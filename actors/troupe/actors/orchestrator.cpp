#include "troupe/actors/orchestrator_parts.hpp"

#include <algorithm>

#include "troupe/policy/approval.hpp"
#include "troupe/policy/budget_scope.hpp"
#include "troupe/policy/shared_state.hpp"
#include "troupe/schema/schema.hpp"

namespace troupe::actors {

namespace orchestration {

namespace {

// idle --start_run--> running --all tasks done | failed--> ended
//                        |--cancel, time, budget--> aborting --everything has answered--> ended
//                        '--suspend--> suspending --everything has answered--> left to be resumed
// What comes before start_run is remembered until then: the run's first event is always what it is.
// `policy::task_graph` decides all of it; a sub-workflow is a graph of its own whose end is a task's end in the graph above.

/// After a run was aborted: when even what was killed has not answered.
constexpr std::chrono::seconds abort_patience{20};

/// A workflow of the run's configuration, compiled.
expected<std::shared_ptr<const policy::graph_plan>> plan_of(const orchestrator_setup& setup, const std::string& workflow) {
  const auto& config = setup.run->config;
  return setup.plans->get(config, workflow, [&]() -> expected<std::shared_ptr<const policy::graph_plan>> {
    auto made = policy::graph_plan::make(config->workflows.at(workflow));
    if (!made)
      return tl::unexpected(made.error());
    return std::make_shared<const policy::graph_plan>(std::move(*made));
  });
}

void perform(orchestrator_self self, const std::string& prefix, policy::graph_commands commands);

} // namespace

void task_ended(orchestrator_self self, const std::string& prefix, const std::string& path, std::int64_t attempt,
                policy::task_outcome outcome) {
  auto found = state_of(self).graphs.find(prefix);
  if (found != state_of(self).graphs.end())
    perform(self, prefix, found->second.graph.task_ended(path, attempt, std::move(outcome)));
}

void abort_all(orchestrator_self self, policy::abort_reason reason) {
  auto& state = state_of(self);
  if (state.over || state.suspended)
    return;
  if (auto top = state.graphs.find(""); top != state.graphs.end())
    perform(self, "", top->second.graph.abort(reason));
  else
    state.early = reason;
}

void leave_if_quiet(orchestrator_self self) {
  auto& state = state_of(self);
  if (!state.suspended || state.over || !state.with_pool.empty() || !state.to_approve.empty())
    return;
  state.over = true;
  ask(self, state.setup.journal, append{state.setup.run->run_id, {}, {}, {run_interrupted{state.why_suspended}}})
      .then(
          [self](const appended& stored) {
            if (auto asker = std::exchange(state_of(self).asker, std::nullopt))
              asker->deliver(run_ended{run_status::running, "interrupted", nullptr, stored.failure});
            self->quit();
          },
          [self](const caf::error& reason) {
            if (auto asker = std::exchange(state_of(self).asker, std::nullopt))
              asker->deliver(
                  run_ended{run_status::running, "interrupted", nullptr, error{error_code::unavailable, text_of(reason), "journal"}});
            self->quit();
          });
}

namespace {

void carry_out(orchestrator_self self, const std::string&, policy::record_event& what) {
  auto& setup = state_of(self).setup;
  // It ends with the agent that had it last.
  if (const auto last = state_of(self).last_agent.extract(what.path); !last.empty() && std::holds_alternative<task_finished>(what.body))
    what.agent = last.mapped();
  tell(self, setup.journal, note{setup.run->run_id, what.path, what.agent, {std::move(what.body)}});
}

void carry_out(orchestrator_self self, const std::string& prefix, policy::start_task& what) {
  auto& state = state_of(self);
  // Who decides between answers has no part in what was approved.
  if (what.spec->approval && what.arbitrates.empty() && !state.setup.run->approve_all
      && policy::approvals_needed(state.setup.run->config->checkpoint, *what.spec->approval) > 0)
    ask_to_start(self, prefix, what);
  else
    start_now(self, prefix, what);
}

void let_read(orchestrator_self self, policy::task_graph& graph) {
  if (const auto& shared = state_of(self).setup.run->state)
    graph.read_state([shared] { return shared->values(); });
  graph.read_costs([run = state_of(self).setup.run](const std::string& path) { return run->costs.of(path); });
}

void carry_out(orchestrator_self self, const std::string& prefix, policy::start_subworkflow& what) {
  auto& state = state_of(self);
  const auto& workflows = state.setup.run->config->workflows;
  const auto found = workflows.find(what.workflow);
  const auto refuse = [&](std::string why) {
    task_ended(self, prefix, what.path, what.attempt, {task_status::error, "invalid_input", std::move(why), nullptr, true});
  };
  if (found == workflows.end()) {
    refuse("no workflow named \"" + what.workflow + "\"");
    return;
  }
  if (const auto& wanted = found->second.input_schema; !wanted.is_null()) {
    const auto compiled = schema::compiled_schema::compile(wanted);
    const auto broken = compiled ? compiled->validate(what.input) : std::vector<schema::violation>{};
    if (!broken.empty()) {
      refuse("its input does not hold: input" + broken.front().pointer + ": " + broken.front().message);
      return;
    }
  }
  const auto own_prefix = what.path + "/";
  const auto& own = found->second.budget;
  const bool of_element = !what.spec->for_each.empty();
  auto time = time_for(self, prefix, what.path, *what.spec, of_element ? what.spec->budget : completed(what.spec->budget, own), {});
  if (of_element && own.time) {
    const auto left = time_left(self, policy::task_scope(what.path), *own.time, human_time_of(self, prefix, what.path, *what.spec));
    time = std::min(time.value_or(left), left);
  }
  if (time && time->count() == 0) {
    task_ended(self, prefix, what.path, what.attempt, {task_status::timeout, "timeout", "the time of its task is used up", nullptr, true});
    return;
  }
  if (time)
    tell_later(self, orchestrator_actor(self), *time, task_timer{what.path, what.attempt});
  auto plan = plan_of(state.setup, found->first);
  if (!plan) {
    refuse(plan.error().text());
    return;
  }
  auto graph = policy::task_graph::create(std::move(*plan), own_prefix, state.setup.run->run_id);
  auto within = state.graphs.at(prefix).within;
  if (what.attempt > 1)
    within += what.path + "@" + std::to_string(what.attempt) + "/";
  auto& made =
      state.graphs
          .insert_or_assign(own_prefix,
                            graph_of{std::move(graph), prefix, what.path, what.attempt, std::move(within), {}, clock_point::max(), {}})
          .first->second;
  made.human = human_time_of(self, prefix, what.path, *what.spec);
  made.given = mark(made.human, self->clock().now());
  if (time)
    made.until = made.given.at + *time;
  let_read(self, made.graph);
  made.graph.belongs_to(made.within);
  static const policy::restored_state fresh;
  perform(self, own_prefix, made.graph.start(std::move(what.input), what.resumed ? state.setup.before->restored : fresh));
}

void cancel_now(orchestrator_self self) {
  auto& state = state_of(self);
  std::vector<std::string> paths;
  for (const auto& [path, given] : state.with_pool)
    paths.push_back(path);
  for (const auto& [path, waiting] : state.to_approve)
    paths.push_back(path);
  for (const auto& path : paths)
    stop_given(self, path);
}

/// Whether it may be stopped wherever it is: none of the tools that it can reach has an effect, nor of those that who reviews its answer
/// can. `reviews`: it is that one itself, and is not reviewed.
bool harmless(const configuration& config, const std::string& agent, bool reviews = false) {
  const auto spec = config.agents.find(agent);
  if (spec == config.agents.end())
    return true;
  if (!spec->second.delegates.empty() || !spec->second.handoffs.empty())
    return false; // nobody knows what those that it asks may do
  for (const auto& first : spec->second.tools) {
    std::size_t steps = 0;
    for (auto tool = config.tools.find(first); tool != config.tools.end() && steps <= config.tools.size();
         tool = config.tools.find(tool->second.alternative), ++steps)
      if (tool->second.effect != effect::none)
        return false;
  }
  const auto& output = spec->second.output;
  return reviews || !output || output->reviewer.empty() || harmless(config, output->reviewer, true);
}

void carry_out(orchestrator_self self, const std::string&, policy::cancel_task& what) {
  auto& state = state_of(self);
  if (what.if_harmless)
    if (const auto given = state.with_pool.find(what.path);
        given != state.with_pool.end() && !harmless(*state.setup.run->config, given->second.order.agent))
      return;
  if (what.grace.count() > 0)
    state.setup.run->winding_down = true;
  if (const auto below = state.graphs.find(what.path + "/"); below != state.graphs.end()) {
    const auto reason = state.timed_out
                            ? policy::abort_reason::timeout
                            : (what.grace.count() > 0 ? policy::abort_reason::budget_exceeded : policy::abort_reason::cancelled);
    perform(self, what.path + "/", below->second.graph.abort(reason));
    return;
  }
  if (what.grace.count() > 0) {
    tell_later(self, orchestrator_actor(self), what.grace, run_timer{run_alarm::grace_over});
    return;
  }
  stop_given(self, what.path);
}

void end_run(orchestrator_self self, policy::finish_run& what) {
  auto& state = state_of(self);
  state.over = true;
  if (std::exchange(state.abandoned, false) && !state.setup.gateway->gone()) {
    const auto end = std::make_shared<policy::finish_run>(std::move(what));
    ask(self, state.setup.gateway->now(), settle_calls{state.setup.run->run_id})
        .then([self, end](const calls_settled&) { end_run(self, *end); },
              [self, end](const caf::error&) { end_run(self, *end); }); // a gateway that has died sends nothing any more
    return;
  }
  run_ended end{what.status, what.reason, what.result, {}};
  // The end is durable before anybody hears of it.
  ask(self, state.setup.journal, append{state.setup.run->run_id, {}, {}, {run_finished{what.status, what.reason, std::move(what.result)}}})
      .then(
          [self, end](const appended& stored) mutable {
            end.failure = stored.failure;
            if (auto asker = std::exchange(state_of(self).asker, std::nullopt))
              asker->deliver(std::move(end));
            self->quit();
          },
          [self, end](const caf::error& reason) mutable {
            end.failure = error{error_code::unavailable, text_of(reason), "journal"};
            if (auto asker = std::exchange(state_of(self).asker, std::nullopt))
              asker->deliver(std::move(end));
            self->quit();
          });
}

void carry_out(orchestrator_self self, const std::string& prefix, policy::finish_run& what) {
  auto& state = state_of(self);
  const auto& ended = state.graphs.at(prefix);
  if (ended.parent_path.empty()) {
    end_run(self, what);
    return;
  }
  policy::task_outcome outcome;
  outcome.output = std::move(what.result);
  outcome.reason = what.reason;
  outcome.error = what.error;
  outcome.fatal = what.fatal;
  if (what.status == run_status::failed)
    outcome.status = what.cause;
  else if (what.status == run_status::aborted)
    outcome.status = what.reason == "timeout" ? task_status::timeout
                                              : (what.reason == "budget_exceeded" ? task_status::budget_exceeded : task_status::cancelled);
  const auto parent_prefix = ended.parent_prefix;
  const auto path = ended.parent_path;
  const auto attempt = ended.attempt;
  state.graphs.erase(prefix);
  task_ended(self, parent_prefix, path, attempt, std::move(outcome));
}

/// What a command brings about may end a task at once, by which the graph has more to do: that comes behind what is to be done already, so
/// that a cancel finds its task begun, and thousands of such ends take no stack.
void perform(orchestrator_self self, const std::string& prefix, policy::graph_commands commands) {
  auto& to_do = state_of(self).to_do;
  const bool at_work = !to_do.empty();
  for (auto& command : commands)
    to_do.push_back({prefix, std::move(command)});
  if (at_work)
    return;
  for (std::size_t i = 0; i < to_do.size() && !state_of(self).over; ++i) {
    auto next = std::move(to_do[i]); // the list grows meanwhile
    std::visit([&](auto& what) { carry_out(self, next.prefix, what); }, next.what);
  }
  to_do = {}; // its memory too: a run may wait for long
}

/// The time of a sub-workflow is up: it ends as a run ends whose time is up.
void end_in_time(orchestrator_self self, const task_timer& which) {
  auto& state = state_of(self);
  const auto found = state.graphs.find(which.path + "/");
  if (state.over || state.suspended || found == state.graphs.end() || found->second.attempt != which.attempt)
    return;
  const auto now = self->clock().now();
  const auto& graph = found->second;
  if (const auto again = next_look(moved(graph.until, graph.given, graph.human, now), graph.human, now)) {
    tell_later(self, orchestrator_actor(self), *again, which);
    return;
  }
  const auto before = std::exchange(state.timed_out, true);
  perform(self, which.path + "/", found->second.graph.abort(policy::abort_reason::timeout));
  state.timed_out = before;
}

caf::result<run_ended> begin(orchestrator_self self) {
  auto& state = state_of(self);
  auto& setup = state.setup;
  auto plan = plan_of(setup, setup.workflow);
  if (!plan)
    return run_ended{run_status::failed, "invalid_workflow", nullptr, plan.error()};
  auto graph = policy::task_graph::create(std::move(*plan), {}, setup.run->run_id);
  auto promise = self->make_response_promise<run_ended>();
  state.asker = promise;
  if (state.place)
    state.place->begin();
  if (auto* started = std::get_if<run_started>(&setup.opening.front()))
    started->total_tasks = graph.total_tasks();
  tell(self, setup.journal, note{setup.run->run_id, {}, {}, std::move(setup.opening)});
  for (auto& what : setup.found)
    tell(self, setup.journal, std::move(what));
  if (state.suspended) { // nothing of it was begun, and it can be resumed
    leave_if_quiet(self);
    return promise;
  }
  if (const auto until = std::min(setup.run->deadline, setup.run->above); until != clock_point::max()) {
    const auto now = self->clock().now();
    tell_later(self, orchestrator_actor(self), until > now ? until - now : clock_point::duration::zero(), run_timer{run_alarm::time_up});
  }
  warn_of_time(self);
  auto& top = state.graphs.emplace("", graph_of{std::move(graph), "", "", 1, {}, {}, clock_point::max(), {}}).first->second;
  let_read(self, top.graph);
  perform(self, "", top.graph.start(setup.input, setup.before->restored));
  if (state.early)
    abort_all(self, *state.early);
  return promise;
}

void suspend(orchestrator_self self, std::string why) {
  auto& state = state_of(self);
  if (state.suspended)
    return;
  state.suspended = true;
  state.why_suspended = std::move(why);
  if (!state.asker) // `begin` leaves it, once it has recorded what run this is
    return;
  cancel_now(self);
  leave_if_quiet(self);
}

/// Without its guard a run may spend nothing; a new owner makes one from the journal.
void somebody_down(orchestrator_self self, const caf::actor_addr& who) {
  if (who == state_of(self).setup.run->guard.address())
    suspend(self, "its budget guard died");
  else
    checkpoint_down(self, who), pool_down(self, who);
}

orchestrator_actor::behavior_type orchestrator(orchestrator_self self, orchestrator_setup setup) {
  install_handlers(self);
  state_of(self).asked.emplace(self);
  if (setup.at_work)
    state_of(self).place.emplace(setup.at_work, self->address());
  state_of(self).setup = std::move(setup);
  monitor(self, state_of(self).setup.run->guard);
  on_down(self, [self](const caf::down_msg& down) { somebody_down(self, caf::actor_cast<caf::actor_addr>(down.source)); });
  return {
      [self](const start_run&) { return begin(self); },
      [self](const cancel_run& why) {
        state_of(self).timed_out = why.reason == "timeout";
        abort_all(self, why.reason == "timeout" ? policy::abort_reason::timeout : policy::abort_reason::cancelled);
        tell_later(self, orchestrator_actor(self), abort_patience, run_timer{run_alarm::nobody_answered});
      },
      [self](const suspend_run&) { suspend(self, "asked to stop"); },
      [self](const give_again& due) {
        if (state_of(self).to_approve.count(due.task) != 0) {
          send_approval(self, due.task);
          return;
        }
        const auto found = state_of(self).with_pool.find(due.task);
        if (found != state_of(self).with_pool.end() && !found->second.pool && !found->second.resting && !found->second.end
            && found->second.order.attempt == due.attempt)
          give(self, due.task);
      },
      [self](const run_timer& fired) {
        auto& state = state_of(self);
        if (state.over || state.suspended)
          return;
        switch (fired.what) {
        case run_alarm::time_up:
          if (const auto more = time_given_back(self); more > clock_point::duration::zero()) {
            tell_later(self, orchestrator_actor(self), more, run_timer{run_alarm::time_up});
            return;
          }
          state.timed_out = true;
          abort_all(self, policy::abort_reason::timeout);
          tell_later(self, orchestrator_actor(self), abort_patience, run_timer{run_alarm::nobody_answered});
          return;
        case run_alarm::grace_over:
          cancel_now(self);
          tell_later(self, orchestrator_actor(self), abort_patience, run_timer{run_alarm::nobody_answered});
          return;
        case run_alarm::nobody_answered:
          if (auto top = state.graphs.find(""); top != state.graphs.end())
            perform(self, "", top->second.graph.give_up());
          return;
        case run_alarm::warning_due:
          warn_of_time(self);
          return;
        }
      },
      [self](const task_timer& fired) { end_in_time(self, fired); },
      [self](delegate& wanted) { start_delegated(self, wanted); },
      [self](const delegation_timer& fired) { delegated_late(self, fired.path); },
  };
}

} // namespace

} // namespace orchestration

void orchestrators_at_work::enter(const caf::actor_addr& who) {
  const std::lock_guard guard(mutex_);
  who_.emplace(who, false);
}

void orchestrators_at_work::begin(const caf::actor_addr& who) {
  const std::lock_guard guard(mutex_);
  who_[who] = true;
}

void orchestrators_at_work::leave(const caf::actor_addr& who) {
  const std::lock_guard guard(mutex_);
  who_.erase(who);
  left_.notify_all(); // under the lock: whoever waits may go on and end this
}

std::vector<caf::actor> orchestrators_at_work::all() const {
  const std::lock_guard guard(mutex_);
  std::vector<caf::actor> alive;
  for (const auto& [who, begun] : who_)
    if (auto strong = caf::actor_cast<caf::actor>(who))
      alive.push_back(std::move(strong));
  return alive;
}

bool orchestrators_at_work::wait(std::chrono::milliseconds patience) {
  std::unique_lock lock(mutex_);
  return left_.wait_for(lock, patience,
                        [&] { return std::none_of(who_.begin(), who_.end(), [](const auto& each) { return each.second; }); });
}

std::shared_ptr<const earlier_owners> no_earlier_owners() {
  static const auto none = std::make_shared<const earlier_owners>();
  return none;
}

orchestrator_actor spawn_orchestrator(caf::actor_system& system, orchestrator_setup setup) {
  return system.spawn(orchestration::orchestrator, std::move(setup));
}

} // namespace troupe::actors
