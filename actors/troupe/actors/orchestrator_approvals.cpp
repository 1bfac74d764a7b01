// Tasks, and answers that differ, which wait for humans (SEMANTICS 6, 7).

#include "troupe/actors/orchestrator_parts.hpp"
#include "troupe/model/described.hpp"
#include "troupe/policy/approval.hpp"
#include "troupe/policy/conflict.hpp"
#include "troupe/policy/replay.hpp"

namespace troupe::actors::orchestration {

namespace {

/// What people said about answers that differ: the proposed choice, another one, an answer of their own, or none.
policy::task_outcome ruling_of(const approval_ask& wanted, const approval_answer& answer) {
  if (answer.status == approval_status::rejected)
    return {task_status::rejected, "approval", answer.comment, nullptr, true};
  auto ruling = answer.status == approval_status::modified ? answer.modified_action : wanted.action;
  if (ruling.is_object() && !answer.comment.empty())
    ruling["reason"] = answer.comment;
  return {task_status::success, {}, {}, std::move(ruling), false};
}

void take_decision(orchestrator_self self, const std::string& path, std::uint64_t number, const approval_answer& answer) {
  auto& waiting = state_of(self).to_approve;
  const auto found = waiting.find(path);
  if (found == waiting.end() || found->second.number != number)
    return; // it was stopped meanwhile; another attempt may wait in its place
  if (answer.failure.code == error_code::none && answer.status == approval_status::pending) {
    send_approval(self, path); // somebody else withdrew it: it still waits
    return;
  }
  auto node = waiting.extract(found);
  auto& [own_number, what, prefix, wanted, checkpoint, waits] = node.mapped();
  waits.reset();
  if (answer.failure.code != error_code::none) {
    task_ended(self, prefix, path, what.attempt, {task_status::error, "journal_unavailable", answer.failure.text(), nullptr, true});
    return;
  }
  if (wanted.kind == approval_kind::conflict) {
    task_ended(self, prefix, path, what.attempt, ruling_of(wanted, answer));
    return;
  }
  const bool modified = answer.status == approval_status::modified;
  if (modified && answer.modified_action.contains("instruction") && answer.modified_action["instruction"].is_string())
    what.instruction = answer.modified_action["instruction"].get<std::string>();
  if (modified || answer.status == approval_status::approved)
    start_now(self, prefix, what);
  else
    task_ended(self, prefix, path, what.attempt,
               {task_status::rejected, "approval",
                answer.by_human ? answer.reviewer + " rejected it" + (answer.comment.empty() ? "" : ": " + answer.comment) : answer.comment,
                nullptr, true});
}

} // namespace

void send_approval(orchestrator_self self, const std::string& path) {
  auto& state = state_of(self);
  auto& waiting = state.to_approve.at(path);
  if (!state.setup.checkpoint || state.setup.checkpoint->gone()) {
    approval_answer nobody;
    nobody.failure = error{error_code::unavailable, "nobody can be asked: the checkpoint is gone", "checkpoint"};
    take_decision(self, path, waiting.number, nobody);
    return;
  }
  const auto to = state.asked->now(self, state.setup.checkpoint);
  waiting.checkpoint = to.address();
  ask(self, to, waiting.wanted)
      .then([self, path, number = waiting.number](const approval_answer& answer) { take_decision(self, path, number, answer); },
            [](const caf::error&) {}); // it died: the down message comes too
}

void ask_to_start(orchestrator_self self, const std::string& prefix, policy::start_task& what) {
  auto& state = state_of(self);
  const auto& run = state.setup.run;
  approval_ask wanted{.run = run,
                      .task = what.path,
                      .agent = what.agent,
                      .kind = approval_kind::task,
                      .subject = what.path,
                      .moment = what.within + what.path + "@" + std::to_string(what.attempt),
                      .action = {{"instruction", what.instruction}},
                      .details = {{"agent", what.agent}},
                      .risk_level = *what.spec->approval,
                      .needed = policy::approvals_needed(run->config->checkpoint, *what.spec->approval)};
  const auto path = what.path;
  auto waits = std::make_unique<human_time_guard>(human_time_of(self, prefix, path, *what.spec), self->clock());
  state.to_approve.insert_or_assign(
      path, task_to_approve{++state.last_request, std::move(what), prefix, std::move(wanted), {}, std::move(waits)});
  send_approval(self, path);
}

void carry_out(orchestrator_self self, const std::string& prefix, policy::ask_human& what) {
  auto& state = state_of(self);
  approval_ask wanted{.run = state.setup.run,
                      .task = what.path,
                      .agent = {},
                      .kind = approval_kind::conflict,
                      .subject = std::string(policy::parent_path(what.path)),
                      .moment = what.within + what.path + "@" + std::to_string(what.attempt),
                      .action = policy::proposed_choice(what.answers, what.spec->resolve->field),
                      .details = policy::human_details(what.instruction, what.answers),
                      .risk_level = risk::medium,
                      .needed = policy::approvals_needed(state.setup.run->config->checkpoint, risk::medium)};
  std::vector<std::string> agents; // "sceptic#2" is sceptic's second
  for (const auto& [member, answer] : what.answers)
    agents.push_back(member.substr(0, member.find('#')));
  wanted.details["contract"] = to_document(ruling_contract(*state.setup.run->config, agents, {}));
  const auto path = what.path;
  state.to_approve.insert_or_assign(
      path, task_to_approve{++state.last_request,
                            policy::start_task{.path = path, .spec = what.spec, .agent = {}, .instruction = {}, .attempt = what.attempt},
                            prefix,
                            std::move(wanted),
                            {},
                            std::make_unique<human_time_guard>(human_time_of(self, prefix, path, *what.spec), self->clock())});
  send_approval(self, path);
}

bool withdraw(orchestrator_self self, const std::string& path) {
  auto& state = state_of(self);
  auto node = state.to_approve.extract(path);
  if (node.empty())
    return false;
  if (state.setup.checkpoint)
    tell(self, state.setup.checkpoint->now(), cancel_calls{state.setup.run->run_id, path});
  if (!state.suspended)
    task_ended(self, node.mapped().prefix, path, node.mapped().what.attempt,
               {state.timed_out ? task_status::timeout : task_status::cancelled, state.timed_out ? "timeout" : "cancelled",
                "it was stopped while it waited for approval", nullptr, true});
  return true;
}

void checkpoint_down(orchestrator_self self, const caf::actor_addr& who) {
  for (const auto& [path, waiting] : state_of(self).to_approve)
    if (waiting.checkpoint == who)
      tell_later(self, orchestrator_actor(self), service_pause, give_again{path, waiting.what.attempt});
}

} // namespace troupe::actors::orchestration
