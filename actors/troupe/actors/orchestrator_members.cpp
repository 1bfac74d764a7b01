#include "troupe/actors/orchestrator_parts.hpp"

#include "troupe/policy/answer_quality.hpp"
#include "troupe/policy/budget_scope.hpp"
#include "troupe/policy/conflict.hpp"
#include "troupe/policy/llm_call.hpp"

namespace troupe::actors::orchestration {

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

// NOLINTNEXTLINE(performance-unnecessary-value-param): callers have it from what ends here
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
  if (result.crashes > 0) // its next attempt goes on counting, as whoever takes the run up would
    state.setup.crashes[result.task] = result.crashes;
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
  const auto& setup = state_of(self).setup;
  const cancel_calls left{setup.run->run_id, path}; // what its agent asked for goes on by itself, and may ask a human
  tell(self, setup.gateway->now(), left);
  if (setup.checkpoint)
    tell(self, setup.checkpoint->now(), left);
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

output_spec ruling_contract(const configuration& config, const std::vector<std::string>& agents, const std::string& arbiter) {
  const auto of = [&](const std::string& agent) -> const output_spec* {
    const auto spec = config.agents.find(agent);
    return spec != config.agents.end() && spec->second.output ? &*spec->second.output : nullptr;
  };
  std::vector<const output_spec*> contracts;
  contracts.reserve(agents.size());
  for (const auto& agent : agents)
    contracts.push_back(of(agent));
  const auto* own = of(arbiter);
  return policy::arbiter_contract(contracts, contracts.size(), own ? own->retries : output_spec{}.retries);
}

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
                        .human = human_time_of(self, prefix, what.path, *what.spec)};
  order.given = mark(order.human, self->clock().now());
  if (time)
    order.deadline = order.given.at + *time;
  if (!what.arbitrates.empty())
    order.contract = std::make_shared<const output_spec>(ruling_contract(*state.setup.run->config, what.arbitrates, what.agent));
  if (const auto before = state.setup.crashes.find(what.path); before != state.setup.crashes.end())
    order.crashes = before->second;
  given_task given{.order = std::move(order), .prefix = prefix, .pool = {}, .end = {}, .handoffs = {}};
  if (const auto task_time = time_for(self, prefix, what.path, *what.spec, what.spec->budget, {}))
    given.until = self->clock().now() + *task_time;
  if (const auto before = state.setup.before->handoffs.find(what.path); what.resumed && before != state.setup.before->handoffs.end()) {
    given.handoffs = before->second;
    if (!given.handoffs.agent().empty())
      given.order.agent = given.handoffs.agent();
  }
  state.with_pool[what.path] = std::move(given);
  give(self, what.path);
}

} // namespace troupe::actors::orchestration
