// Agents that ask each other, and hand tasks on (SEMANTICS 2, 10).
//
//   at work --pause--> resting --all that it asked have ended--> at work, from the journal
//      |                  '--stopped--> those are stopped, then it has ended
//      '--pause, with a hand-off--> at work with the next agent, or (refused) with the same one

#include "troupe/actors/orchestrator_parts.hpp"
#include "troupe/policy/budget_scope.hpp"
#include "troupe/policy/delegation.hpp"

namespace troupe::actors::orchestration {

namespace {

void record(orchestrator_self self, const given_task& of, std::vector<event_body>&& events) {
  const auto& setup = state_of(self).setup;
  tell(self, setup.journal, note{setup.run->run_id, of.order.task, of.order.agent, std::move(events)});
}

/// It goes on from what is recorded.
void go_on(orchestrator_self self, const std::string& path) {
  auto& given = state_of(self).with_pool.at(path);
  given.resting = false;
  given.order.resumed = true;
  if (state_of(self).setup.pools->at(given.order.agent)->gone())
    end_unserved(self, path, task_status::error, "no_member",
                 "the pool of agent \"" + given.order.agent + "\" died, and does not come back");
  else
    give(self, path);
}

void hand_on(orchestrator_self self, const std::string& path, const handoff_wish& wish) {
  auto& state = state_of(self);
  auto& given = state.with_pool.at(path);
  const auto from = given.order.agent;
  if (state.setup.pools->count(wish.to) == 0) {
    record(self, given,
           {tool_finished{
               wish.call_id, {}, tool_status::not_started, "No pool serves agent \"" + wish.to + "\". The task stays with you.", 0}});
    go_on(self, path);
    return;
  }
  const auto ruling = given.handoffs.rule(from, wish.to, wish.said, wish.brought);
  const auto tool = policy::handoff_tool(wish.to);
  if (ruling == policy::handoff_ruling::pass) {
    record(self, given,
           {tool_finished{wish.call_id, tool, tool_status::ok, "The task is now with " + wish.to + ".", 0},
            handed_off{from, wish.to, wish.reason, wish.call_id, given.handoffs.number(), wish.text, static_cast<std::int64_t>(wish.said),
                       static_cast<std::int64_t>(wish.brought)}});
    given.order.agent = wish.to;
    given.order.deadline = given.until;
    const auto& agents = state.setup.run->config->agents;
    if (const auto spec = agents.find(wish.to); spec != agents.end() && spec->second.budget.time)
      given.order.deadline =
          std::min(given.order.deadline, self->clock().now() + time_left(self, policy::agent_scope(wish.to), *spec->second.budget.time));
    go_on(self, path);
    return;
  }
  const bool cycle = ruling == policy::handoff_ruling::cycle;
  const std::string why = cycle ? "control went round between the same agents three times, and brought nothing new"
                                : "the task has changed hands " + std::to_string(given.handoffs.number()) + " times";
  record(self, given, {handoff_refused{from, wish.to, wish.call_id, cycle ? "cycle" : "too_many", given.handoffs.refusals()}});
  if (given.handoffs.ends_the_task()) {
    take_result(self, given.prefix,
                task_result{.task = path,
                            .attempt = given.order.attempt,
                            .status = task_status::loop,
                            .reason = cycle ? "handoff_cycle" : "handoffs_max",
                            .error = why + "; agent \"" + from + "\" was told so, and handed it on again",
                            .fatal = true});
    return;
  }
  record(self, given,
         {tool_finished{wish.call_id,
                        {},
                        tool_status::not_started,
                        "Refused: " + why + ". The task stays with you: bring it to an end yourself, or say what is missing.",
                        0}});
  go_on(self, path);
}

} // namespace

void pause(orchestrator_self self, const std::string& path, const task_result& result) {
  auto& given = state_of(self).with_pool.at(path);
  given.pool = nullptr;
  given.order.crashes = result.crashes;
  given.until = end_of(self, given);
  given.order.given = mark(given.order.human, self->clock().now());
  given.order.deadline = result.pause->deadline;
  if (result.pause->handoff)
    hand_on(self, path, *result.pause->handoff);
  else if (given.asked.empty())
    go_on(self, path);
  else
    given.resting = true;
}

void one_less(orchestrator_self self, const std::string& parent, const std::string& path) {
  auto& state = state_of(self);
  const auto found = state.with_pool.find(parent);
  if (found == state.with_pool.end() || found->second.asked.erase(path) == 0 || !found->second.asked.empty())
    return;
  auto& given = found->second;
  if (given.end && !given.pool) {
    const auto end = *given.end;
    take_result(self, given.prefix, end);
  } else if (given.resting && (given.stopped || state.suspended)) {
    given.resting = false;
    take_result(self, given.prefix, cut_off(self, given));
  } else if (given.resting) {
    go_on(self, parent);
  }
}

namespace {

/// Tells who asked what came of it; the model sees it as the result of its call.
void tell_asker(orchestrator_self self, given_task& asker, const std::string& path, const std::string& to, const std::string& call_id,
                task_status status, const std::string& reason, const std::string& error, const json& output,
                clock_point::duration took = {}) {
  auto told = policy::outcome_of(status, reason, error, output);
  record(self, asker,
         {tool_finished{call_id, policy::delegate_tool(to), told.status, std::move(told.text),
                        std::chrono::duration_cast<std::chrono::microseconds>(took).count()}});
  asker.told.insert(path);
}

} // namespace

void delegated_ended(orchestrator_self self, const given_task& was, const task_result& result) {
  auto& state = state_of(self);
  if (state.over)
    return;
  const auto& path = was.order.task;
  record(self, was, {task_finished{result.attempt, result.status, result.reason, result.error, result.output, result.fatal}});
  if (const auto asker = state.with_pool.find(was.parent); asker != state.with_pool.end()) {
    auto& given = asker->second;
    const bool stopped_with_run = result.status == task_status::cancelled && state.setup.run->winding_down;
    if ((stopped_with_run || (result.status == task_status::budget_exceeded && policy::ends_the_run(result.limit_scope))) && !given.end) {
      // Its run is over, not its part: a run that goes on with more money asks again.
      given.end = std::make_shared<const task_result>(task_result{.task = was.parent,
                                                                  .attempt = given.order.attempt,
                                                                  .status = result.status,
                                                                  .reason = result.reason,
                                                                  .error = result.error,
                                                                  .limit_scope = result.limit_scope});
      if (given.resting) {
        given.resting = false;
        given.pool = nullptr;
      }
    } else if (!given.stopped && !given.end) {
      tell_asker(self, given, path, was.call_for, was.call_id, result.status, result.reason, result.error, result.output,
                 self->clock().now() - was.began);
    }
  }
  one_less(self, was.parent, path);
}

void start_delegated(orchestrator_self self, delegate& wanted) {
  auto& state = state_of(self);
  const auto found = state.with_pool.find(wanted.task);
  if (state.over || state.suspended || state.setup.run->winding_down || found == state.with_pool.end() || found->second.stopped
      || found->second.end || found->second.order.attempt != wanted.attempt || found->second.asked.count(wanted.path) > 0
      || found->second.told.count(wanted.path) > 0)
    return; // its agent came back and asks again, or it is not wanted any more
  auto& asker = found->second;
  const auto before = state.setup.before->restored.find(wanted.path);
  const bool resumed = before != state.setup.before->restored.end() && before->second.within == asker.order.within;
  if (resumed && before->second.finished) {
    const auto& end = *before->second.finished;
    tell_asker(self, asker, wanted.path, wanted.to, wanted.call_id, end.status, end.reason, end.error, end.output);
    return;
  }
  if (state.setup.pools->count(wanted.to) == 0) {
    tell_asker(self, asker, wanted.path, wanted.to, wanted.call_id, task_status::error, "no_member",
               "no pool serves agent \"" + wanted.to + "\"", nullptr);
    return;
  }
  task_assignment order{.run = state.setup.run,
                        .task = wanted.path,
                        .attempt = 1,
                        .agent = wanted.to,
                        .instruction = wanted.instruction,
                        .within = asker.order.within,
                        .resumed = resumed,
                        .given = mark(asker.order.human, self->clock().now()),
                        .human = asker.order.human,
                        .deadline = wanted.deadline,
                        .rights = wanted.tools,
                        .desk = {}};
  if (const auto crashes = state.setup.crashes.find(wanted.path); crashes != state.setup.crashes.end())
    order.crashes = crashes->second;
  const auto& agents = state.setup.run->config->agents;
  if (const auto spec = agents.find(wanted.to); spec != agents.end() && spec->second.budget.time)
    order.deadline =
        std::min(order.deadline, self->clock().now() + time_left(self, policy::agent_scope(wanted.to), *spec->second.budget.time));
  given_task given{.order = std::move(order),
                   .prefix = asker.prefix,
                   .pool = {},
                   .until = wanted.deadline,
                   .end = {},
                   .handoffs = {},
                   .parent = wanted.task,
                   .call_id = wanted.call_id};
  given.call_for = wanted.to;
  given.began = self->clock().now();
  if (const auto handed = state.setup.before->handoffs.find(wanted.path); resumed && handed != state.setup.before->handoffs.end()) {
    given.handoffs = handed->second;
    if (!given.handoffs.agent().empty())
      given.order.agent = given.handoffs.agent();
  }
  if (!resumed) {
    record(self, asker, {delegated{wanted.call_id, wanted.to, wanted.path, policy::depth_of(wanted.path), wanted.tools}});
    record(self, given, {start_of(given.order)});
  }
  asker.asked.insert(wanted.path);
  const auto until = given.order.deadline;
  state.with_pool[wanted.path] = std::move(given);
  give(self, wanted.path);
  // Its agent watches the time while it is at work; it may also rest, or wait for a member.
  if (until != clock_point::max())
    tell_later(self, orchestrator_actor(self), std::max(until - self->clock().now(), clock_point::duration::zero()),
               delegation_timer{wanted.path});
}

void delegated_late(orchestrator_self self, const std::string& path) {
  const auto found = state_of(self).with_pool.find(path);
  if (found == state_of(self).with_pool.end() || found->second.stopped)
    return;
  const auto now = self->clock().now();
  const auto& order = found->second.order;
  if (order.deadline == clock_point::max())
    return;
  if (const auto again = next_look(end_of(order, now), order.human, now)) {
    tell_later(self, orchestrator_actor(self), *again, delegation_timer{path});
    return;
  }
  found->second.late = true;
  stop_given(self, path);
}

} // namespace troupe::actors::orchestration
