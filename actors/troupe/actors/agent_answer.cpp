#include "troupe/actors/agent_parts.hpp"
#include "troupe/model/described.hpp"
#include "troupe/policy/history.hpp"

namespace troupe::actors::agency {

namespace {

void carry_out(agent_self self, policy::ask_reviewer& what);

} // namespace

// --- the answer ----------------------------------------------------------------------------------------------------

void judge(agent_self self, const std::string& text, finish_reason finish_with) {
  auto& task = task_of(self);
  perform(self, task.quality.answered(text, task.steps, policy::cut_off_by(finish_with, task.spec->max_tokens)));
}

namespace {

void carry_out(agent_self self, policy::record_quality& what) {
  record(self, std::move(what.events));
}

void carry_out(agent_self self, policy::run_check& what) {
  if (leaves_with_run(self))
    return;
  auto& state = state_of(self);
  auto& task = *state.task;
  const auto tool = state.peers->checks.find(task.assignment.agent);
  if (tool == state.peers->checks.end()) {
    finish(self, task_result{.status = task_status::error,
                             .reason = "contract_command",
                             .error = "the contract's command cannot be run in this process"});
    return;
  }
  const auto& a = task.assignment;
  invocation call{.call_id = step_of(a, task.steps) + " check",
                  .tool = tool->second->spec.name,
                  .arguments = {{"text", std::move(what.text)}},
                  .idempotency_key = {},
                  .timeout = tool->second->spec.timeout}; // the task's own time is watched: it stops what runs
  ++task.in_flight;
  task.check = std::make_unique<running_check>();
  task.check->tool = tool->second;
  task.check->began = self->clock().now();
  task.check->id = tool->second->run->start(
      std::move(call), [weak = caf::actor_cast<caf::actor_addr>(self->address()), generation = state.generation](tool_outcome outcome) {
        if (auto strong = caf::actor_cast<agent_actor>(weak))
          tell_from_outside(strong, check_ended{generation, std::make_shared<tool_outcome>(std::move(outcome)), 0});
      });
}

} // namespace

void take_check(agent_self self, const check_ended& ended) {
  auto& state = state_of(self);
  if (!state.task || state.generation != ended.generation)
    return;
  auto& task = *state.task;
  --task.in_flight;
  const auto took = task.check ? self->clock().now() - task.check->began : clock_point::duration::zero();
  task.check.reset();
  if (!stop_if_ending(self))
    perform(self, task.quality.checked(*ended.outcome, std::chrono::duration_cast<std::chrono::microseconds>(took).count()));
}

namespace {

void carry_out(agent_self self, policy::repair_answer& what) {
  auto& task = task_of(self);
  policy::loop_step step{
      .number = task.steps, .said = policy::sketch_of(task.messages.back()->text), .reply = policy::reply_sign(what.violations)};
  observe(self, std::move(step), [self, what = std::move(what)](const policy::loop_verdict& judged) mutable {
    auto& repaired = task_of(self);
    if (judged.found) { // it says the same whatever it is told
      perform(self,
              repaired.quality.repeats({detected(self, judged, policy::loop_text(*judged.found, judged.rung, {}))}, judged.found->count));
      return;
    }
    record(self, std::move(what.recorded));
    repaired.messages.push_back(message_of(role::user, std::move(what.feedback)));
    next_step(self);
  });
}

void carry_out(agent_self self, policy::pass_feedback& what) {
  task_of(self).messages.push_back(message_of(role::user, std::move(what.text)));
  next_step(self);
}

void carry_out(agent_self self, policy::ask_person& what) {
  const auto& a = task_of(self).assignment;
  approval_ask wanted{.run = a.run,
                      .task = a.task,
                      .agent = a.agent,
                      .kind = approval_kind::output,
                      .subject = a.agent,
                      .moment = step_of(a, task_of(self).steps),
                      .action = std::move(what.output),
                      .details = std::move(what.details),
                      .risk_level = risk::medium,
                      .needed = policy::approvals_needed(a.run->config->checkpoint, risk::medium)};
  ask_human(self, std::move(wanted), [self](const approval_answer& answer) {
    perform(self, task_of(self).quality.decided({answer.status, answer.reviewer, answer.comment, answer.modified_action, answer.by_human}));
  });
}

void carry_out(agent_self self, policy::end_answer& what) {
  finish(self, task_result{.status = what.status,
                           .reason = std::move(what.reason),
                           .error = std::move(what.error),
                           .output = std::move(what.output),
                           .limit_scope = std::move(what.limit_scope)});
}

} // namespace

void perform(agent_self self, policy::quality_commands&& commands) {
  for (auto& command : commands)
    std::visit([&](auto& what) { carry_out(self, what); }, command);
}

// --- the reviewer --------------------------------------------------------------------------------------------------

void end_review(agent_self self, policy::review_outcome&& outcome) {
  auto& task = task_of(self);
  --task.in_flight;
  task.review.reset();
  task.reviewing = nullptr;
  if (!stop_if_ending(self))
    perform(self, task.quality.reviewed(outcome));
}

namespace {

/// Its end is recorded, unless it was cut off: then it goes on when the run does.
void take_review(agent_self self, const task_result& result) {
  auto& task = task_of(self);
  const auto& reviewed = *task.review;
  if (result.status == task_status::cancelled && reviewed.run->winding_down && !task.ending)
    task.ending = task_status::cancelled; // no verdict: both go on when the run does
  if (!task.ending)
    tell(self, state_of(self).peers->journal,
         note{reviewed.run->run_id,
              reviewed.task,
              reviewed.agent,
              {task_finished{reviewed.attempt, result.status, result.reason, result.error, result.output, result.fatal}}});
  end_review(self, {result.status, result.reason, result.error, result.output, result.limit_scope});
}

/// Its agent is gone: what it answered last stands in the journal.
void take_lost_review(agent_self self, const task_result& result) {
  auto& state = state_of(self);
  state.task->reviewing = nullptr;
  const auto& order = *state.task->review;
  const auto take = [self, result, generation = state.generation](json left) {
    if (state_of(self).generation != generation || !state_of(self).task || !state_of(self).task->review)
      return;
    auto whole = result;
    whole.output = std::move(left);
    take_review(self, whole);
  };
  ask(self, state.peers->journal, read_task{order.run->run_id, order.task})
      .then([take, rules = order.contract,
             attempt = order.attempt](const task_events& recorded) { take(policy::last_answer(rules.get(), recorded.events, attempt)); },
            [take](const caf::error&) { take(nullptr); });
}

} // namespace

void give_review(agent_self self, bool resumed) {
  auto& state = state_of(self);
  auto& task = *state.task;
  auto& order = *task.review;
  order.resumed = resumed;
  const auto pool = state.peers->pools.find(order.agent);
  if (pool == state.peers->pools.end() || pool->second->gone()) {
    take_lost_review(self, task_result{.status = task_status::error,
                                       .reason = "no_member",
                                       .error = pool == state.peers->pools.end()
                                                    ? "no pool serves agent \"" + order.agent + "\"; add it to the supervision tree"
                                                    : "the pool of agent \"" + order.agent + "\" died, and does not come back"});
    return;
  }
  order.human = task.assignment.human;
  order.given = mark(order.human, self->clock().now());
  order.deadline = own_deadline(task, order.given.at);
  const auto to = pool->second->now();
  task.reviewing = to.address();
  watch(self, to);
  ask(self, to, order)
      .then(
          [self, generation = state.generation](const task_result& result) {
            auto& now = state_of(self);
            if (now.generation != generation || !now.task || !now.task->review)
              return;
            if (result.abandoned && result.output.is_null())
              take_lost_review(self, result);
            else
              take_review(self, result);
          },
          [](const caf::error&) {}); // it died: the down message comes too
}

namespace {

/// A review is a task below the one that it is about, so that it spends from its budget and its time.
void carry_out(agent_self self, policy::ask_reviewer& what) {
  if (leaves_with_run(self))
    return;
  auto& state = state_of(self);
  auto& task = *state.task;
  const auto& a = task.assignment;
  task_assignment order{.run = a.run,
                        .task = policy::review_of(a.task),
                        .attempt = what.attempt,
                        .agent = what.reviewer,
                        .instruction = std::move(what.instruction),
                        .within = a.within};
  const auto spec = a.run->config->agents.find(what.reviewer);
  const bool has_own = spec != a.run->config->agents.end() && spec->second.output;
  order.contract =
      std::make_shared<const output_spec>(policy::review_contract(has_own ? spec->second.output->retries : output_spec{}.retries));
  task.review = std::make_unique<task_assignment>(std::move(order));
  ++task.in_flight;
  // An incarnation before this one may have asked already.
  ask(self, state.peers->journal, read_task{a.run->run_id, task.review->task})
      .then(
          [self, generation = state.generation](const task_events& recorded) {
            auto& now = state_of(self);
            if (now.generation != generation || !now.task || !now.task->review)
              return;
            if (recorded.failure.code != error_code::none) {
              finish(self,
                     task_result{
                         .status = task_status::error, .reason = "journal_unavailable", .error = recorded.failure.text(), .fatal = true});
              return;
            }
            const auto& wanted = *now.task->review;
            const auto history = policy::rebuild(recorded.events);
            const bool begun = history.started && history.attempt == wanted.attempt && history.within == wanted.within;
            if (now.task->ending || (begun && history.finished && !policy::is_cut_short(history.finished->status))) {
              const auto end = history.finished.value_or(task_finished{});
              end_review(self, {end.status, end.reason, end.error, end.output, {}});
              return;
            }
            now.task->review->crashes = history.crashes;
            if (!begun)
              tell(self, now.peers->journal, note{wanted.run->run_id, wanted.task, wanted.agent, {start_of(wanted)}});
            give_review(self, begun);
          },
          [self, generation = state.generation](const caf::error& reason) {
            if (state_of(self).generation == generation && state_of(self).task)
              finish(self,
                     task_result{.status = task_status::error, .reason = "journal_unavailable", .error = text_of(reason), .fatal = true});
          });
}

} // namespace

} // namespace troupe::actors::agency
