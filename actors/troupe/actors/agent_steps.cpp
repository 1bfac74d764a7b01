#include "troupe/actors/agent_parts.hpp"
#include "troupe/model/described.hpp"
#include "troupe/policy/history.hpp"
#include "troupe/policy/replay.hpp"
#include "troupe/util/suggest.hpp"

namespace troupe::actors::agency {

namespace {

// --- tools ---------------------------------------------------------------------------------------------------------

void complete_step(agent_self self, bool observed);
void settle_slots(agent_self self);

} // namespace

void slot_done(agent_self self, std::size_t index, message_ptr result, policy::observed_result came) {
  auto& task = task_of(self);
  task.slots[index].result = std::move(result);
  task.slots[index].came = came;
  if (!stop_if_ending(self)) // the others may never have been started
    settle_slots(self);
}

namespace {

/// Nothing ran: the model is told what is wrong, and it costs no retry.
void refuse(agent_self self, std::size_t index, std::string text) {
  const auto& call = task_of(self).slots[index].call;
  record(self, {tool_finished{call.id, {}, tool_status::not_started, text, 0}});
  const auto came = policy::observe_result(text, tool_status::not_started);
  auto result = message_of(role::tool, std::move(text), call.id, true);
  slot_done(self, index, std::move(result), came);
}

/// Why this call may not run, or its arguments.
tl::expected<json, std::string> admissible(agent_self self, const tool_call& call, bool cut_off) {
  auto& task = task_of(self);
  const auto& tools = *state_of(self).peers->tools;
  const auto& allowed = task.may->names;
  const auto prepared = tools.prepared.find(call.name);
  if (std::find(allowed.begin(), allowed.end(), call.name) == allowed.end())
    return tl::unexpected(
        prepared != tools.prepared.end()
            ? policy::tool_not_allowed_text(call.name, allowed)
            : policy::unknown_tool_text(call.name, std::string(nearest_name(call.name, {allowed.begin(), allowed.end()})), allowed));
  if (prepared == tools.prepared.end())
    return tl::unexpected(policy::unknown_tool_text(call.name, {}, allowed));
  auto arguments = tools::check_arguments(prepared->second, call.arguments);
  if (!arguments)
    return tl::unexpected(cut_off ? policy::arguments_cut_off_text(call.name) : arguments.error().message);
  return std::move(*arguments);
}

// --- other agents --------------------------------------------------------------------------------------------------

/// The task goes on when those that it waits for have answered, or with another agent; its member is free meanwhile, so that agents which
/// ask each other never wait for each other's members.
void leave_member(agent_self self, const tool_slot* handoff) {
  auto& task = task_of(self);
  auto pause = std::make_shared<task_pause>();
  pause->deadline = own_deadline(task, self->clock().now());
  if (handoff != nullptr) {
    const std::size_t first = task.spec->system.empty() ? 1 : 2; // behind the instruction
    conversation turn(task.messages.begin() + static_cast<std::ptrdiff_t>(std::min(first, task.messages.size())), task.messages.end());
    for (const auto& slot : task.slots)
      if (slot.result)
        turn.push_back(slot.result);
    const auto sign = policy::sign_of(*handoff->colleague, turn);
    pause->handoff = handoff_wish{.to = handoff->colleague->agent,
                                  .reason = handoff->colleague->task,
                                  .call_id = handoff->call.id,
                                  .text = policy::handoff_text(task.spec->name, *handoff->colleague, turn),
                                  .said = sign.said,
                                  .brought = sign.brought};
  }
  const auto crashes = task.assignment.crashes;
  finish(self, task_result{.pause = std::move(pause), .crashes = crashes});
}

/// What is to be done once nothing of this response runs here.
void settle_slots(agent_self self) {
  auto& task = task_of(self);
  const tool_slot* handoff = nullptr;
  bool waits = false;
  for (const auto& slot : task.slots) {
    if (slot.result)
      continue;
    if (!slot.colleague)
      return;
    if (slot.colleague->handoff)
      handoff = &slot;
    else
      waits = true;
  }
  if (!waits && handoff == nullptr)
    complete_step(self, false);
  else if (!stop_if_ending(self) && (waits || !leaves_with_run(self))) // a hand-off would leave calls behind that were not begun
    leave_member(self, waits ? nullptr : handoff);
}

/// A call of another agent. False: it is a tool's.
bool ask_colleague(agent_self self, std::size_t index, bool cut_off) {
  auto& task = task_of(self);
  const auto& call = task.slots[index].call;
  auto wanted = policy::read_colleague_call(task.may->has, call.name, call.arguments);
  if (!wanted)
    return false;
  if (!*wanted) {
    refuse(self, index, cut_off ? policy::arguments_cut_off_text(call.name) : wanted->error().message);
    return true;
  }
  if ((*wanted)->handoff) {
    for (std::size_t i = 0; i < index; ++i)
      if (task.slots[i].colleague && task.slots[i].colleague->handoff) {
        refuse(self, index, std::string(policy::second_handoff_text));
        return true;
      }
  } else {
    auto order = delegation_of(task.assignment, *task.spec, *task.may, **wanted, call.id, task.steps, index);
    if (!order) {
      refuse(self, index, std::move(order.error()));
      return true;
    }
    order->deadline = own_deadline(task, self->clock().now());
    if (const auto desk = caf::actor_cast<delegation_desk_actor>(task.assignment.desk))
      tell(self, desk, std::move(*order));
  }
  task.slots[index].colleague = std::move(**wanted);
  settle_slots(self);
  return true;
}

void ask_about_doubt(agent_self self, std::size_t index, json&& arguments, const tool_in_doubt& doubt);

void invoke_slot(agent_self self, std::size_t index, json arguments, bool recovering, doubt_rule rule, std::string words = {}) {
  auto& state = state_of(self);
  auto& task = task_of(self);
  const auto& call = task.slots[index].call;
  const auto& a = task.assignment;
  invoke order{.run = a.run,
               .task = a.task,
               .agent = a.agent,
               .step_id = step_of(a, task.steps),
               .tool = call.name,
               .call_id = call.id,
               .arguments = std::move(arguments),
               .deadline = call_deadline(task, self->clock().now()),
               .stands = ends_of(task),
               .agent_tools = task.may->names,
               .recovering = recovering,
               .quota = task.quota,
               .doubt = rule,
               .doubt_words = std::move(words)};
  auto kept = rule == doubt_rule::ask ? order.arguments : json();
  ++task.in_flight;
  const auto host = state.peers->hosts.at(call.name)->now();
  task.slots[index].asked = host.address();
  watch(self, host);
  ask(self, host, std::move(order))
      .then(
          [self, index, generation = state.generation, kept = std::move(kept)](tool_answer& answer) mutable {
            auto& now = state_of(self);
            if (now.generation != generation || !now.task)
              return;
            --now.task->in_flight;
            if (answer.doubt) {
              now.task->slots[index].asked = nullptr;
              if (!stop_if_ending(self))
                ask_about_doubt(self, index, std::move(kept), *answer.doubt);
              return;
            }
            const auto came = policy::observe_result(answer.text, answer.status);
            slot_done(self, index, message_of(role::tool, std::move(answer.text), now.task->slots[index].call.id, answer.is_error), came);
          },
          [](const caf::error&) {}); // it died: the down message comes too
}

/// What its arguments were changed to stands in the conversation once, behind the results.
void tell_changed(agent_self self, const tool_call& call, const approval_answer& answer) {
  auto& task = task_of(self);
  const bool by_another = !answer.modified_by.empty() && answer.modified_by != answer.reviewer;
  auto text = answer.reviewer + " approved the call " + call.id + " of \"" + call.name + "\" with other arguments"
              + (by_another ? " (by " + answer.modified_by + "): " : std::string(": "))
              + answer.modified_action.dump(-1, ' ', false, json::error_handler_t::replace)
              + (answer.comment.empty() ? "" : ". " + answer.comment);
  for (const auto& known : task.injected)
    if (known->text == text)
      return;
  record(self, {message_injected{text, "approval"}});
  task.injected.push_back(message_of(role::user, std::move(text)));
}

/// What may run where the tool fails, for whoever is asked.
json described(const std::vector<const tool_spec*>& alternatives) {
  json out = json::array();
  for (const auto* each : alternatives)
    out.push_back(
        {{"tool", each->name}, {"risk", name_of(each->risk)}, {"effect", name_of(each->effect)}, {"description", each->description}});
  return out;
}

approval_ask request_for(agent_self self, const tool_call& call, const json& arguments, const policy::call_approval& whole) {
  const auto& task = task_of(self);
  const auto& a = task.assignment;
  const auto& tool = state_of(self).peers->tools->prepared.at(call.name);
  approval_ask wanted{.run = a.run,
                      .task = a.task,
                      .agent = a.agent,
                      .kind = approval_kind::tool,
                      .subject = call.name,
                      .moment = step_of(a, task.steps) + " " + call.id,
                      .action = arguments,
                      .details = {{"description", tool.declaration.description},
                                  {"effect", name_of(tool.spec.effect)},
                                  {"schema", tool.declaration.parameters}},
                      .risk_level = whole.how_bad,
                      .needed = whole.needed};
  if (!whole.alternatives.empty())
    wanted.details["alternatives"] = described(whole.alternatives);
  return wanted;
}

/// The arguments that a human put in the call's place, or what is wrong with them.
tl::expected<json, std::string> changed_arguments(agent_self self, const tool_call& call, const approval_answer& answer) {
  auto changed = tools::check_arguments(state_of(self).peers->tools->prepared.at(call.name),
                                        answer.modified_action.dump(-1, ' ', false, json::error_handler_t::replace));
  if (!changed)
    return tl::unexpected("the arguments that were to take their place do not hold: " + changed.error().message);
  tell_changed(self, call, answer);
  return std::move(*changed);
}

/// Whoever lets a call in doubt be made again has found out that it took no effect. Each doubt is a question of its own.
void ask_about_doubt(agent_self self, std::size_t index, json&& arguments, const tool_in_doubt& doubt) {
  const auto& call = task_of(self).slots[index].call;
  const auto& run = *task_of(self).assignment.run;
  auto wanted =
      request_for(self, call, arguments, policy::approval_of_call(run.config->checkpoint, state_of(self).peers->tools->specs, call.name));
  wanted.moment += " in doubt " + doubt.tool + " " + std::to_string(doubt.attempt);
  wanted.details["in_doubt"] = policy::doubt_question(doubt.tool);
  ask_human(self, std::move(wanted), [self, index, exact = std::move(arguments)](const approval_answer& answer) mutable {
    if (leaves_with_run(self)) // the decision is recorded, and counts when the run goes on
      return;
    if (answer.status == approval_status::approved) {
      invoke_slot(self, index, std::move(exact), true, doubt_rule::repeat);
    } else if (answer.status != approval_status::modified) {
      invoke_slot(self, index, std::move(exact), true, doubt_rule::tell,
                  policy::not_again_text(answer.by_human ? answer.reviewer : std::string{}, answer.comment));
    } else if (auto changed = changed_arguments(self, task_of(self).slots[index].call, answer)) {
      invoke_slot(self, index, std::move(*changed), true, doubt_rule::repeat);
    } else {
      invoke_slot(self, index, std::move(exact), true, doubt_rule::tell, policy::not_again_text(answer.reviewer, changed.error()));
    }
  });
}

} // namespace

void start_slot(agent_self self, std::size_t index, bool cut_off, bool recovering) {
  if (leaves_with_run(self) || ask_colleague(self, index, cut_off))
    return;
  const auto& call = task_of(self).slots[index].call;
  auto arguments = admissible(self, call, cut_off);
  if (!arguments) {
    refuse(self, index, std::move(arguments.error()));
    return;
  }
  const auto& run = *task_of(self).assignment.run;
  const auto whole = policy::approval_of_call(run.config->checkpoint, state_of(self).peers->tools->specs, call.name);
  if (run.approve_all || whole.needed == 0) {
    invoke_slot(self, index, std::move(*arguments), recovering, doubt_rule::tell);
    return;
  }
  auto wanted = request_for(self, call, *arguments, whole);
  ask_human(self, std::move(wanted), [self, index, recovering, exact = std::move(*arguments)](const approval_answer& answer) mutable {
    if (leaves_with_run(self))
      return;
    const auto& asked = task_of(self).slots[index].call;
    if (answer.status == approval_status::approved)
      invoke_slot(self, index, std::move(exact), recovering, doubt_rule::ask);
    else if (answer.status != approval_status::modified)
      refuse(self, index, policy::rejected_text(asked.name, answer.by_human ? answer.reviewer : std::string{}, answer.comment));
    else if (auto changed = changed_arguments(self, asked, answer))
      invoke_slot(self, index, std::move(*changed), recovering, doubt_rule::ask);
    else
      refuse(self, index, policy::rejected_text(asked.name, answer.reviewer, changed.error()));
  });
}

// --- loops ---------------------------------------------------------------------------------------------------------

loop_detected detected(agent_self self, const policy::loop_verdict& verdict, std::string text) {
  const auto& task = task_of(self);
  const auto& found = *verdict.found;
  if (found.kind == loop_kind::monologue)
    return {found.kind, verdict.rung, task.steps, {}, {}, found.count, std::move(text)};
  const auto& call = task.response->tool_calls[found.call];
  return {found.kind, verdict.rung, task.steps, call.id, call.name, found.count, std::move(text)};
}

namespace {

/// The ladder's end. `decision`: a human's, or the deadline's, where one was asked.
void fail_as_loop(agent_self self, policy::loop_verdict verdict, const std::string& decision) {
  auto why = policy::loop_failure_text(*verdict.found, task_of(self).response->tool_calls[verdict.found->call]) + decision;
  const bool recorded = verdict.again && verdict.rung == loop_rung::failed;
  verdict.rung = loop_rung::failed;
  if (!recorded)
    record(self, {detected(self, verdict, why)});
  finish(self, task_result{.status = task_status::loop, .reason = "loop", .error = std::move(why), .fatal = true});
}

/// Goes on with `then` when a human lets it.
void ask_about_loop(agent_self self, const std::shared_ptr<const policy::loop_verdict>& verdict, after_verdict then) {
  auto& task = task_of(self);
  const auto& call = task.response->tool_calls[verdict->found->call];
  const auto why = policy::loop_failure_text(*verdict->found, call);
  if (!verdict->again)
    record(self, {detected(self, *verdict, why)});
  ask_human(self, loop_request(task.assignment, task.steps, *verdict->found, call, why),
            [self, verdict, then = std::move(then)](const approval_answer& answer) {
              auto& now = task_of(self);
              if (answer.status != approval_status::approved) {
                fail_as_loop(self, *verdict,
                             answer.by_human
                                 ? "; " + answer.reviewer + " did not let it go on" + (answer.comment.empty() ? "" : ": " + answer.comment)
                                 : "; nobody let it go on: " + answer.comment);
                return;
              }
              const auto& looped = now.response->tool_calls[verdict->found->call];
              now.loops.begin_anew(now.spec->loop, policy::loop_excuse_text(*verdict->found, looped, answer.reviewer, answer.comment));
              then(*verdict);
            });
}

/// The upper rungs: the task fails, or begins anew with a digest. True when this agent does not go on.
bool stopped_by(agent_self self, const judgement& judged) {
  auto& task = task_of(self);
  const auto& verdict = *judged.verdict;
  if (!verdict.found || verdict.rung < loop_rung::restarted)
    return false;
  const auto& call = task.response->tool_calls[verdict.found->call];
  if (verdict.rung >= loop_rung::asked) {
    fail_as_loop(self, verdict, {});
    return true;
  }
  record(self, {detected(self, verdict, policy::loop_digest(task.messages, *verdict.found, call, task.loops.taken))});
  if (judged.in_place)
    go_on_from_journal(self);
  else
    self->quit(replaced_error("it was looping"));
  return true;
}

} // namespace

void observe(agent_self self, policy::loop_step&& step, after_verdict then) {
  auto& state = state_of(self);
  auto& task = task_of(self);
  ++task.in_flight;
  const auto supervisor = caf::actor_cast<supervisor_actor>(state.supervisor);
  if (!supervisor)
    return; // nobody outlives its supervisor
  ask(self, supervisor,
      observation{state.generation, task.spec->loop, std::make_shared<const policy::loop_step>(std::move(step)),
                  std::exchange(task.loops.restored, nullptr)})
      .then(
          [self, generation = state.generation, then = std::move(then)](const judgement& judged) mutable {
            auto& now = state_of(self);
            if (now.generation != generation || !now.task)
              return;
            --now.task->in_flight;
            if (stop_if_ending(self))
              return;
            static const policy::loop_verdict all_is_well;
            if (!judged.verdict)
              then(all_is_well);
            else if (judged.verdict->rung == loop_rung::asked && !now.task->assignment.run->approve_all) // nobody has seen this one
              ask_about_loop(self, judged.verdict, std::move(then));
            else if (!stopped_by(self, judged))
              then(*judged.verdict);
          },
          [](const caf::error&) {}); // likewise
}

namespace {

/// Whether the last exchange has these words already, as the result of a call or behind the results.
bool is_told(const conversation& messages, const std::string& text) {
  for (auto at = messages.size(); at > 0 && messages[at - 1]->from != role::assistant; --at)
    if (messages[at - 1]->text == text)
      return true;
  return false;
}

/// The lower rungs, and whoever was let go on: what the agent is told. `again`: it is recorded.
std::string take_rung(agent_self self, const policy::loop_verdict& verdict, bool inject) {
  auto& task = task_of(self);
  if (verdict.rung == loop_rung::asked) {
    auto told = std::exchange(task.loops.excuse, {});
    if (inject && !is_told(task.messages, told)) {
      record(self, {message_injected{told, "loop"}});
      task.messages.push_back(message_of(role::user, told));
    }
    return told;
  }
  const auto& call = task.response->tool_calls[verdict.found->call];
  auto text = policy::loop_text(*verdict.found, verdict.rung, call);
  task.loops.stand(verdict.rung, call.name);
  if (verdict.again)
    return text;
  std::vector<event_body> events{detected(self, verdict, text)};
  if (inject) {
    events.push_back(message_injected{text, "loop"});
    task.messages.push_back(message_of(role::user, text));
  }
  record(self, std::move(events));
  return text;
}

void start_calls(agent_self self, const policy::loop_verdict& verdict, bool cut_off, bool recovering) {
  auto& task = task_of(self);
  task.loops.report = verdict.report_results && verdict.rung != loop_rung::asked; // one who was let go on begins with nothing
  std::string told;
  if (verdict.found)
    told = take_rung(self, verdict, false);
  const auto count = task.slots.size();
  const auto generation = state_of(self).generation;
  const auto rulings = verdict.rulings;
  for (std::size_t i = 0; i < count; ++i) {
    // A refusal may complete the step, and with it the task.
    if (state_of(self).generation != generation || !state_of(self).task || state_of(self).task->slots.size() != count)
      return;
    if (task.slots[i].result)
      continue;
    const auto ruling = rulings.empty() ? policy::call_ruling::run : rulings[i];
    if (ruling == policy::call_ruling::run)
      start_slot(self, i, cut_off, recovering);
    else
      refuse(self, i,
             ruling == policy::call_ruling::looping
                 ? told
                 : policy::loop_refusal_text(ruling, task.slots[i].call, task.loops.left(task.may->names)));
  }
}

} // namespace

void run_tools(agent_self self, message_ptr response, finish_reason finish, const std::vector<message_ptr>& known,
               const std::vector<policy::observed_result>& came, bool recovering) {
  auto& task = task_of(self);
  const auto& tools = *state_of(self).peers->tools;
  task.response = std::move(response);
  task.slots.clear();
  policy::loop_step step{.number = task.steps, .earlier = std::exchange(task.loops.earlier, {})};
  bool whole = true;
  for (std::size_t i = 0; i < task.response->tool_calls.size(); ++i) {
    const auto& call = task.response->tool_calls[i];
    step.calls.push_back(policy::observe_call(call, task.may->known(tools, call.name)));
    task.slots.push_back({call, i < known.size() ? known[i] : nullptr, i < came.size() ? came[i] : policy::observed_result{}, {}, {}});
    whole = whole && task.slots.back().result;
  }
  if (whole)
    for (const auto& slot : task.slots)
      step.results.push_back(slot.came);
  observe(self, std::move(step), [self, finish, whole, recovering](const policy::loop_verdict& verdict) {
    if (!whole) {
      start_calls(self, verdict, finish == finish_reason::length, recovering);
      return;
    }
    complete_step(self, true);
    if (verdict.found)
      take_rung(self, verdict, true);
    next_step(self);
  });
}

namespace {

/// All results are there. `observed`: the supervisor has seen them, and whoever calls goes on.
void complete_step(agent_self self, bool observed) {
  auto& task = task_of(self);
  std::vector<policy::observed_result> came;
  std::vector<bool> refused;
  for (const auto& slot : task.slots)
    refused.push_back(!slot.came.ran);
  task.messages = policy::with_refusals_cut(task.messages, refused);
  for (auto& slot : std::exchange(task.slots, {})) { // their memory too: the next answer may be long in coming
    task.messages.push_back(std::move(slot.result));
    came.push_back(slot.came);
  }
  task.messages.append(task.injected.begin(), task.injected.end());
  task.injected.clear();
  if (observed || stop_if_ending(self))
    return;
  if (!std::exchange(task.loops.report, false)) {
    task.loops.earlier = std::move(came);
    next_step(self);
    return;
  }
  observe(self, {.number = task.steps, .results = std::move(came)}, [self](const policy::loop_verdict& verdict) {
    if (verdict.found && (!verdict.again || verdict.rung == loop_rung::asked))
      take_rung(self, verdict, true);
    next_step(self);
  });
}

} // namespace

} // namespace troupe::actors::agency
