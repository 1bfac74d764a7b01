#include "troupe/actors/orchestrator_parts.hpp"

#include "troupe/model/described.hpp"
#include "troupe/policy/answer_quality.hpp"
#include "troupe/policy/approval.hpp"
#include "troupe/policy/budget_scope.hpp"
#include "troupe/policy/conflict.hpp"
#include "troupe/policy/delegation.hpp"
#include "troupe/policy/llm_call.hpp"
#include "troupe/policy/replay.hpp"
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

namespace {

void abort_all(orchestrator_self self, policy::abort_reason reason) {
  auto& state = state_of(self);
  if (state.over || state.suspended)
    return;
  if (auto top = state.graphs.find(""); top != state.graphs.end())
    perform(self, "", top->second.graph.abort(reason));
  else
    state.early = reason;
}

/// The run is left as it is, once nothing of it is under way: what was cut off is done again by whoever resumes it.
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

/// The end of the run's time, with what waiting for humans has given back.
clock_point run_deadline(orchestrator_self self) {
  return deadline_of(*state_of(self).setup.run, self->clock().now());
}

/// When its timer fires: how long it must still wait. While something waits, it looks again.
clock_point::duration time_given_back(orchestrator_self self) {
  const auto left = run_deadline(self) - self->clock().now();
  return state_of(self).setup.run->pause->since_ns != 0 ? std::max<clock_point::duration>(left, std::chrono::seconds{1}) : left;
}

} // namespace

task_result cut_off(orchestrator_self self, const given_task& given) {
  const bool late = state_of(self).timed_out || given.late;
  return task_result{.task = given.order.task,
                     .attempt = given.order.attempt,
                     .status = late ? task_status::timeout : task_status::cancelled,
                     .reason = late ? "timeout" : "cancelled",
                     .error = late ? "its time is up" : "it was cancelled"};
}

namespace {

/// Its agent is gone and cannot say it any more: what it answered last stands in the journal. The task ends with that.
void end_with_last_answer(orchestrator_self self, const std::string& prefix, given_task& given, const task_result& result) {
  given.looked_up = true;
  given.pool = nullptr;
  given.end = std::make_shared<const task_result>(result);
  const auto end = [self, prefix, was = given.end](json left) {
    auto whole = *was;
    whole.output = std::move(left);
    take_result(self, prefix, whole);
  };
  const auto& run = state_of(self).setup.run;
  ask(self, state_of(self).setup.journal, read_task{run->run_id, result.task})
      .then(
          [end, run, agent = given.order.agent, own = given.order.contract, attempt = result.attempt](const task_events& recorded) {
            const auto spec = run->config->agents.find(agent);
            const auto* rules = policy::rules_for(own.get(), spec == run->config->agents.end() ? nullptr : &spec->second);
            end(policy::last_answer(rules, recorded.events, attempt));
          },
          [end](const caf::error&) { end(nullptr); });
}

} // namespace

void take_result(orchestrator_self self, const std::string prefix, const task_result& result) {
  auto& state = state_of(self);
  const auto found = state.with_pool.find(result.task);
  if (found == state.with_pool.end())
    return;
  if (result.pause) {
    found->second.left = result.output;
    if (!found->second.end && !found->second.stopped && !state.suspended)
      pause(self, result.task, result);
    else
      take_result(self, prefix, found->second.end ? task_result(*found->second.end) : cut_off(self, found->second));
    return;
  }
  if (!found->second.asked.empty()) { // who works for it ends first
    found->second.pool = nullptr;
    found->second.end = std::make_shared<const task_result>(result);
    for (const auto& path : std::set<std::string>(found->second.asked))
      stop_given(self, path);
    return;
  }
  if (result.status != task_status::success && result.output.is_null() && !found->second.left.is_null()) {
    auto with_what_is_left = result;
    with_what_is_left.output = std::exchange(found->second.left, nullptr);
    take_result(self, prefix, with_what_is_left);
    return;
  }
  if (auto& given = found->second; result.status != task_status::success && result.output.is_null()
                                   && (result.abandoned || given.order.resumed) && !given.looked_up && !state.suspended) {
    end_with_last_answer(self, prefix, given, result);
    return;
  }
  const auto was = std::move(found->second);
  state.with_pool.erase(found);
  if (state.suspended) {
    if (!was.parent.empty())
      one_less(self, was.parent, was.order.task);
    leave_if_quiet(self);
    return;
  }
  state.abandoned = state.abandoned || result.abandoned;
  if (!was.handoffs.agent().empty())
    state.last_agent[result.task] = was.handoffs.agent();
  if (result.status == task_status::budget_exceeded && policy::ends_the_run(result.limit_scope))
    abort_all(self, policy::abort_reason::budget_exceeded);
  // The gateway may see the end of the run's time a moment before the timer here does.
  if (result.status == task_status::timeout && self->clock().now() + policy::request_time_min >= run_deadline(self)) {
    state.timed_out = true;
    abort_all(self, policy::abort_reason::timeout);
  }
  // Another attempt would have the same time.
  const bool no_time_left = result.status == task_status::timeout && self->clock().now() + policy::request_time_min >= end_of(self, was);
  if (was.parent.empty())
    task_ended(self, prefix, result.task, result.attempt,
               policy::task_outcome{result.status, result.reason, result.error, result.output, result.fatal || no_time_left,
                                    was.handoffs.agent()});
  else
    delegated_ended(self, was, result);
}

void give(orchestrator_self self, const std::string& path) {
  auto& state = state_of(self);
  auto& given = state.with_pool.at(path);
  const auto pool = state.asked->now(self, state.setup.pools->at(given.order.agent));
  given.pool = pool.address();
  given.order.desk = self->address();
  ask(self, pool, given.order)
      .then([self, prefix = given.prefix](const task_result& result) { take_result(self, prefix, result); },
            [](const caf::error&) {}); // it died: the down message comes too
}

void end_unserved(orchestrator_self self, const std::string& path, task_status status, std::string reason, std::string error) {
  const auto& given = state_of(self).with_pool.at(path);
  const auto prefix = given.prefix;
  take_result(self, prefix,
              task_result{.task = path,
                          .attempt = given.order.attempt,
                          .status = status,
                          .reason = std::move(reason),
                          .error = std::move(error),
                          .fatal = true,
                          .abandoned = true});
}

void stop_given(orchestrator_self self, const std::string& path) {
  auto& state = state_of(self);
  if (withdraw(self, path))
    return;
  const auto found = state.with_pool.find(path);
  if (found == state.with_pool.end())
    return;
  auto& given = found->second;
  given.stopped = true;
  for (const auto& below : std::set<std::string>(given.asked))
    stop_given(self, below);
  if (state.with_pool.count(path) == 0 || given.end || given.resting)
    return; // it ends with the last of those
  if (given.pool)
    tell(self, state.setup.pools->at(given.order.agent)->now(), cancel_task{state.setup.run->run_id, path, state.timed_out || given.late});
  else
    end_unserved(self, path, cut_off(self, given).status, cut_off(self, given).reason, "it was stopped while its pool was made anew");
}

namespace {

/// What a dead pool had goes to its successor, as a task that may have gone on.
void pool_down(orchestrator_self self, const caf::actor_addr& pool) {
  auto& state = state_of(self);
  std::vector<std::string> lost;
  for (const auto& [path, given] : state.with_pool)
    if (given.pool == pool)
      lost.push_back(path);
  for (const auto& path : lost) {
    const auto found = state.with_pool.find(path);
    if (found == state.with_pool.end())
      continue; // the end of another one has ended it too
    auto& given = found->second;
    given.pool = nullptr;
    given.order.resumed = true;
    if (given.stopped)
      stop_given(self, path);
    else if (state.setup.pools->at(given.order.agent)->gone())
      end_unserved(self, path, task_status::error, "no_member",
                   "the pool of agent \"" + given.order.agent + "\" died, and does not come back");
    else
      tell_later(self, orchestrator_actor(self), service_pause, give_again{path, given.order.attempt});
  }
}

void carry_out(orchestrator_self self, const std::string&, policy::record_event& what) {
  auto& setup = state_of(self).setup;
  // It ends with the agent that had it last.
  if (const auto last = state_of(self).last_agent.extract(what.path); !last.empty() && std::holds_alternative<task_finished>(what.body))
    what.agent = last.mapped();
  tell(self, setup.journal, note{setup.run->run_id, what.path, what.agent, {std::move(what.body)}});
}

} // namespace

milliseconds time_left(orchestrator_self self, std::string scope, milliseconds limit, const std::shared_ptr<human_time>& human) {
  const auto now = self->clock().now();
  auto& state = state_of(self);
  const auto before = state.setup.time_used.find(scope);
  const auto used = before == state.setup.time_used.end() ? milliseconds{0} : before->second;
  const auto since = state.began.emplace(std::move(scope), mark(human, now)).first->second;
  return std::max(milliseconds{0}, limit - used - std::chrono::duration_cast<milliseconds>(now - moved(since.at, since, human, now)));
}

namespace {

std::string whole_of(std::string_view path, const task_spec& task) {
  for (auto parts = (task.for_each.empty() ? 0 : 1) + (policy::seat_of(path).empty() ? 0 : 1); parts > 0; --parts)
    path = policy::parent_path(path);
  return std::string(path);
}

} // namespace

const std::shared_ptr<human_time>& human_time_of(orchestrator_self self, const std::string& prefix, const std::string& path,
                                                 const task_spec& task) {
  auto& state = state_of(self);
  auto& known = state.human[whole_of(path, task)];
  if (!known) {
    const auto graph = state.graphs.find(prefix);
    known = std::make_shared<human_time>(graph == state.graphs.end() ? nullptr : graph->second.human);
  }
  return known;
}

clock_point end_of(orchestrator_self self, const given_task& given) {
  return moved(given.until, given.order.given, given.order.human, self->clock().now());
}

namespace {

/// The least of the limits of time that hold for a task now; nothing: there is none.
std::optional<milliseconds> time_for(orchestrator_self self, const std::string& prefix, const std::string& path, const task_spec& task,
                                     const limits& task_limits, const std::string& agent) {
  std::optional<milliseconds> least;
  const auto take = [&](milliseconds time) { least = least ? std::min(*least, time) : time; };
  for (const auto limit : {task.timeout, task_limits.time.value_or(milliseconds{0})})
    if (limit.count() > 0)
      take(time_left(self, policy::task_scope(whole_of(path, task)), limit, human_time_of(self, prefix, path, task)));
  const auto& agents = state_of(self).setup.run->config->agents;
  if (const auto spec = agents.find(agent); spec != agents.end() && spec->second.budget.time)
    take(time_left(self, policy::agent_scope(agent), *spec->second.budget.time));
  return least;
}

} // namespace

output_spec ruling_contract(const configuration& config, const std::vector<std::string>& agents, const std::string& arbiter) {
  const auto of = [&](const std::string& agent) -> const output_spec* {
    const auto spec = config.agents.find(agent);
    return spec != config.agents.end() && spec->second.output ? &*spec->second.output : nullptr;
  };
  std::vector<const output_spec*> contracts;
  for (const auto& agent : agents)
    contracts.push_back(of(agent));
  const auto* own = of(arbiter);
  return policy::arbiter_contract(contracts, contracts.size(), own ? own->retries : output_spec{}.retries);
}

namespace {

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

void carry_out(orchestrator_self self, const std::string& prefix, policy::start_task& what) {
  auto& state = state_of(self);
  // Who decides between answers has no part in what was approved.
  if (what.spec->approval && what.arbitrates.empty() && !state.setup.run->approve_all
      && policy::approvals_needed(state.setup.run->config->checkpoint, *what.spec->approval) > 0)
    ask_to_start(self, prefix, what);
  else
    start_now(self, prefix, what);
}

} // namespace

void start_now(orchestrator_self self, const std::string& prefix, policy::start_task& what) {
  auto& state = state_of(self);
  const auto pool = state.setup.pools->find(what.agent);
  if (pool == state.setup.pools->end()) {
    task_ended(
        self, prefix, what.path, what.attempt,
        {task_status::error, "no_member", "no pool serves agent \"" + what.agent + "\"; add it to the supervision tree", nullptr, true});
    return;
  }
  const auto time = time_for(self, prefix, what.path, *what.spec, what.spec->budget, what.agent);
  if (time && time->count() == 0) {
    task_ended(self, prefix, what.path, what.attempt,
               {task_status::timeout, "timeout", "the time of its task or agent is used up", nullptr, true});
    return;
  }
  task_assignment order{.run = state.setup.run,
                        .task = what.path,
                        .attempt = what.attempt,
                        .agent = what.agent,
                        .instruction = std::move(what.instruction),
                        .within = std::move(what.within),
                        .resumed = what.resumed,
                        .timeout = time.value_or(milliseconds{0}),
                        .human = human_time_of(self, prefix, what.path, *what.spec)};
  order.given = mark(order.human, self->clock().now());
  if (!what.arbitrates.empty())
    order.contract = std::make_shared<const output_spec>(ruling_contract(*state.setup.run->config, what.arbitrates, what.agent));
  if (const auto before = state.setup.crashes.find(what.path); before != state.setup.crashes.end())
    order.crashes = before->second;
  given_task given{.order = std::move(order), .prefix = prefix, .pool = {}, .end = {}, .handoffs = {}};
  if (const auto task_time = time_for(self, prefix, what.path, *what.spec, what.spec->budget, {}))
    given.until = self->clock().now() + *task_time;
  if (const auto before = state.setup.handoffs.find(what.path); what.resumed && before != state.setup.handoffs.end()) {
    given.handoffs = before->second;
    if (!given.handoffs.agent().empty())
      given.order.agent = given.handoffs.agent();
  }
  state.with_pool[what.path] = std::move(given);
  give(self, what.path);
}

namespace {

void let_read(orchestrator_self self, policy::task_graph& graph) {
  if (const auto& shared = state_of(self).setup.run->state)
    graph.read_state([shared] { return shared->values(); });
  graph.read_costs([costs = state_of(self).setup.run->costs](const std::string& path) { return costs->of(path); });
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
  const auto time =
      time_for(self, prefix, what.path, *what.spec, what.spec->budget == limits{} ? found->second.budget : what.spec->budget, {});
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
  perform(self, own_prefix, made.graph.start(std::move(what.input), what.resumed ? state.setup.restored : fresh));
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

void carry_out(orchestrator_self self, const std::string&, policy::cancel_task& what) {
  auto& state = state_of(self);
  if (what.if_harmless)
    if (const auto given = state.with_pool.find(what.path);
        given != state.with_pool.end() && !harmless(*state.setup.run->config, given->second.order.agent))
      return;
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

void perform(orchestrator_self self, const std::string& of_graph, policy::graph_commands commands) {
  const auto prefix = of_graph; // the graph that it names may end meanwhile
  for (auto& command : commands) {
    if (state_of(self).over)
      return;
    std::visit([&](auto& what) { carry_out(self, prefix, what); }, command);
  }
}

/// Warnings of the run's time come when they are due, also while nothing is reserved.
void warn_of_time(orchestrator_self self) {
  ask(self, state_of(self).setup.run->guard, time_check{})
      .then(
          [self](time_checked& due) {
            auto& state = state_of(self);
            if (state.over || state.suspended)
              return;
            if (!due.warnings.empty())
              tell(self, state.setup.journal,
                   note{state.setup.run->run_id, {}, {}, std::vector<event_body>(due.warnings.begin(), due.warnings.end())});
            if (due.next)
              tell_later(self, orchestrator_actor(self), *due.next, run_timer{run_alarm::warning_due});
          },
          [](const caf::error&) {});
}

/// The time of a sub-workflow is up: it ends as a run ends whose time is up.
void end_in_time(orchestrator_self self, const task_timer& which) {
  auto& state = state_of(self);
  const auto found = state.graphs.find(which.path + "/");
  if (state.over || state.suspended || found == state.graphs.end() || found->second.attempt != which.attempt)
    return;
  const auto now = self->clock().now();
  const auto& graph = found->second;
  if (const auto left = moved(graph.until, graph.given, graph.human, now) - now; left > clock_point::duration::zero()) {
    tell_later(self, orchestrator_actor(self), graph.human->next_look(left), which);
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
  if (auto* started = std::get_if<run_started>(&setup.opening.front()))
    started->total_tasks = graph.total_tasks();
  tell(self, setup.journal, note{setup.run->run_id, {}, {}, std::move(setup.opening)});
  for (auto& what : setup.found)
    tell(self, setup.journal, std::move(what));
  if (state.suspended) { // nothing of it was begun, and it can be resumed
    leave_if_quiet(self);
    return promise;
  }
  if (setup.run->deadline != clock_point::max()) {
    const auto now = self->clock().now();
    tell_later(self, orchestrator_actor(self), setup.run->deadline > now ? setup.run->deadline - now : clock_point::duration::zero(),
               run_timer{run_alarm::time_up});
  }
  warn_of_time(self);
  auto& top = state.graphs.emplace("", graph_of{std::move(graph), "", "", 1, {}, {}, clock_point::max(), {}}).first->second;
  let_read(self, top.graph);
  perform(self, "", top.graph.start(setup.input, setup.restored));
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
  state_of(self).setup = std::move(setup);
  self->monitor(state_of(self).setup.run->guard);
  self->set_down_handler([self](const caf::down_msg& down) { somebody_down(self, caf::actor_cast<caf::actor_addr>(down.source)); });
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

orchestrator_actor spawn_orchestrator(caf::actor_system& system, orchestrator_setup setup) {
  return system.spawn(orchestration::orchestrator, std::move(setup));
}

} // namespace troupe::actors
