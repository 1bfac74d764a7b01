#include "troupe/actors/agent.hpp"

#include <set>
#include <stdexcept>

#include "troupe/actors/agent_context.hpp"
#include "troupe/actors/agent_loops.hpp"
#include "troupe/actors/agent_tools.hpp"
#include "troupe/actors/context.hpp"
#include "troupe/model/described.hpp"
#include "troupe/policy/answer_quality.hpp"
#include "troupe/policy/approval.hpp"
#include "troupe/policy/contract.hpp"
#include "troupe/policy/history.hpp"
#include "troupe/policy/replay.hpp"
#include "troupe/policy/tool_call.hpp"
#include "troupe/util/suggest.hpp"

namespace troupe::actors {

namespace {

// A task: (restoring) --> asking the model <--> [verdict] running its tools --> checking the answer [verdict] --> answered
//                              ^------------------- feedback -------------------------'
// At [verdict] it waits for its supervisor, which sees whether it goes round in circles: then a call is refused, the agent is restarted, a
// human is asked, or the task ends.
// Where it waits for other agents, or gives its task to one, it leaves its member: the task comes back once they have answered, and goes on
// from the journal.
// Cancelled, or out of time: nothing new begins, and the task ends once nothing of it is under way.

struct tool_slot {
  tool_call call;
  message_ptr result; ///< null: not there yet
  policy::observed_result came;
  caf::actor_addr asked;                           ///< the host that has it
  std::optional<policy::colleague_call> colleague; ///< another agent is to answer it, or to go on in its place
};

/// A contract's command that runs; it is stopped when nobody waits for it any more.
struct running_check {
  ~running_check() { tool->run->cancel(id); }
  std::shared_ptr<tools::prepared_tool> tool;
  tools::running_id id = 0;
  clock_point began;
};

/// What waits for a human, and how it goes on.
struct human_wait {
  approval_ask wanted;
  std::function<void(const approval_answer&)> then;
};

struct work {
  task_assignment assignment;
  caf::typed_response_promise<task_result> asker;
  const agent_spec* spec = nullptr; ///< lives in the run's configuration
  std::shared_ptr<const agent_tools> may;
  conversation messages;
  message_ptr response;              ///< the last one with calls
  std::vector<tool_slot> slots;      ///< of that response
  std::vector<message_ptr> injected; ///< recorded after that response: it follows its results
  agent_loops loops;
  agent_context context;
  std::size_t in_flight = 0; ///< requests to the gateway or to tool hosts
  std::int64_t steps = 0;    ///< responses so far in this attempt
  policy::answer_quality quality;
  std::shared_ptr<policy::tool_quota> quota;
  std::optional<task_status> ending; ///< it is being stopped: the status that it ends with
  clock_point deadline;
  bool own_deadline = false; ///< it is not the run's, which the orchestrator watches
  bool recovering = false;   ///< the next request may have been made by the incarnation before, or the gateway before
  caf::actor_addr asked;     ///< the gateway that has the request in flight; null: none
  std::unique_ptr<running_check> check;
  std::optional<task_assignment> review; ///< its reviewer's
  caf::actor_addr reviewing;             ///< the pool that has it
  std::map<std::uint64_t, human_wait> humans;
  std::uint64_t last_human = 0;
  caf::actor_addr checkpoint; ///< that was asked
  clock_point waits_since;    ///< for a human; its clock stands still meanwhile
};

struct agent_state {
  explicit agent_state(agent_actor::pointer) {}
  static inline const char* name = "agent";
  std::string member;
  caf::actor_addr supervisor;
  std::shared_ptr<const agent_peers> peers;
  std::unique_ptr<work> task;            ///< on its own: most agents of a large tree have none
  std::uint64_t generation = 0;          ///< of the task: what belongs to an earlier one is late
  std::optional<clock_point> wake_up_at; ///< the earliest that is under way
  std::set<caf::actor_addr> watched;     ///< whom it asks: a request to one that dies is never answered
  // What is made once an agent specification, not once a task.
  std::shared_ptr<const configuration> prepared_for;
  std::string prepared_agent;
  std::shared_ptr<const output_spec> prepared_contract;
  std::optional<contract> must_hold;
  std::shared_ptr<const agent_tools> own; ///< all that it has where no task says otherwise
};

using agent_self = agent_actor::stateful_pointer<agent_state>;

void next_step(agent_self self);
void judge(agent_self self, const std::string& text, finish_reason finish);
void go_on_from_journal(agent_self self);
void watch_deadline(agent_self self);
void perform(agent_self self, policy::quality_commands&& commands);
void give_review(agent_self self, bool resumed);
void end_review(agent_self self, policy::review_outcome&& outcome);

work& task_of(agent_self self) {
  return *state_of(self).task;
}

/// A request that is in the hands of an actor when it dies is never answered: CAF tells by the down message only.
template <class Handle>
void watch(agent_self self, const Handle& peer) {
  if (state_of(self).watched.insert(peer.address()).second)
    self->monitor(peer);
}

void record(agent_self self, std::vector<event_body>&& events) {
  const auto& a = task_of(self).assignment;
  tell(self, state_of(self).peers->journal, note{a.run->run_id, a.task, a.agent, std::move(events)});
}

message_ptr message_of(role from, std::string text, std::string call_id = {}, bool is_error = false) {
  return std::make_shared<const chat_message>(chat_message{from, std::move(text), {}, std::move(call_id), is_error});
}

void finish(agent_self self, task_result&& result) {
  auto& state = state_of(self);
  result.task = state.task->assignment.task;
  result.attempt = state.task->assignment.attempt;
  auto asker = state.task->asker;
  state.task.reset();
  ++state.generation;
  asker.deliver(std::move(result));
}

/// Ends a task that is being stopped, once nothing of it is under way. True when it has ended.
bool stop_if_ending(agent_self self) {
  auto& task = task_of(self);
  if (!task.ending)
    return false;
  if (task.in_flight != 0)
    return true;
  const auto status = *task.ending;
  const bool late = status == task_status::timeout;
  finish(self,
         task_result{.status = status, .reason = late ? "timeout" : "cancelled", .error = late ? "its time is up" : "it was cancelled"});
  return true;
}

void begin_ending(agent_self self, task_status status) {
  auto& state = state_of(self);
  if (!state.task || state.task->ending)
    return;
  state.task->ending = status;
  const auto& a = state.task->assignment;
  const cancel_calls all{a.run->run_id, a.task};
  tell(self, state.peers->gateway->now(), all);
  for (const auto& tool : state.task->spec->tools)
    if (const auto host = state.peers->hosts.find(tool); host != state.peers->hosts.end())
      tell(self, host->second->now(), all);
  if (state.peers->checkpoint)
    tell(self, state.peers->checkpoint->now(), all);
  if (state.task->review)
    if (const auto pool = state.peers->pools.find(state.task->review->agent); pool != state.peers->pools.end())
      tell(self, pool->second->now(), cancel_task{a.run->run_id, state.task->review->task, status == task_status::timeout});
  if (state.task->check)
    state.task->check->tool->run->cancel(state.task->check->id);
  stop_if_ending(self);
}

// --- humans --------------------------------------------------------------------------------------------------------

void send_human(agent_self self, std::uint64_t number);

/// Asks, and goes on with `then` when it is decided. The time until then does not count for this task.
void ask_human(agent_self self, approval_ask&& wanted, std::function<void(const approval_answer&)> then) {
  auto& task = task_of(self);
  if (task.humans.empty())
    task.waits_since = self->clock().now();
  ++task.in_flight;
  task.humans.emplace(++task.last_human, human_wait{std::move(wanted), std::move(then)});
  send_human(self, task.last_human);
}

void take_decision(agent_self self, std::uint64_t number, const approval_answer& answer) {
  auto& task = task_of(self);
  auto node = task.humans.extract(number);
  if (node.empty())
    return;
  --task.in_flight;
  if (task.humans.empty()) {
    const auto now = self->clock().now();
    const auto latest = deadline_of(*task.assignment.run, now);
    task.deadline = task.own_deadline ? std::min(latest, task.deadline + (now - task.waits_since)) : latest;
    if (task.own_deadline)
      watch_deadline(self);
  }
  if (stop_if_ending(self))
    return;
  if (answer.failure.code != error_code::none)
    finish(self, task_result{.status = task_status::error, .reason = "journal_unavailable", .error = answer.failure.text(), .fatal = true});
  else
    node.mapped().then(answer);
}

void send_human(agent_self self, std::uint64_t number) {
  auto& state = state_of(self);
  const auto& peers = *state.peers;
  if (!peers.checkpoint || peers.checkpoint->gone()) {
    approval_answer nobody;
    nobody.failure = error{error_code::unavailable, "nobody can be asked: the checkpoint is gone", "checkpoint"};
    take_decision(self, number, nobody);
    return;
  }
  const auto to = peers.checkpoint->now();
  state.task->checkpoint = to.address();
  watch(self, to);
  ask(self, to, state.task->humans.at(number).wanted)
      .then(
          [self, number, generation = state.generation](const approval_answer& answer) {
            if (state_of(self).generation == generation && state_of(self).task)
              take_decision(self, number, answer);
          },
          [](const caf::error&) {}); // it died: the down message comes too
}

// --- tools ---------------------------------------------------------------------------------------------------------

void complete_step(agent_self self, bool observed);
void settle_slots(agent_self self);

void slot_done(agent_self self, std::size_t index, message_ptr result, policy::observed_result came) {
  auto& task = task_of(self);
  task.slots[index].result = std::move(result);
  task.slots[index].came = came;
  settle_slots(self);
}

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
  pause->deadline = task.deadline;
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
  else if (!stop_if_ending(self))
    leave_member(self, waits ? nullptr : handoff);
}

/// A call of another agent. False: it is a tool's.
bool ask_colleague(agent_self self, std::size_t index, bool cut_off) {
  auto& task = task_of(self);
  const auto& call = task.slots[index].call;
  auto wanted = policy::read_colleague_call(*task.spec, task.may->has, call.name, call.arguments);
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
    order->deadline = task.deadline;
    if (const auto desk = caf::actor_cast<delegation_desk_actor>(task.assignment.desk))
      tell(self, desk, std::move(*order));
  }
  task.slots[index].colleague = std::move(**wanted);
  settle_slots(self);
  return true;
}

void invoke_slot(agent_self self, std::size_t index, json arguments, bool recovering) {
  auto& state = state_of(self);
  auto& task = task_of(self);
  const auto& call = task.slots[index].call;
  const auto& a = task.assignment;
  invoke order{.run = a.run,
               .task = a.task,
               .agent = a.agent,
               .step_id = a.task + "@" + std::to_string(a.attempt) + "/" + std::to_string(task.steps),
               .tool = call.name,
               .call_id = call.id,
               .arguments = std::move(arguments),
               .deadline = task.deadline,
               .agent_tools = task.may->names,
               .recovering = recovering,
               .quota = task.quota};
  ++task.in_flight;
  const auto host = state.peers->hosts.at(call.name)->now();
  task.slots[index].asked = host.address();
  watch(self, host);
  ask(self, host, std::move(order))
      .then(
          [self, index, generation = state.generation](tool_answer& answer) {
            auto& now = state_of(self);
            if (now.generation != generation || !now.task)
              return;
            --now.task->in_flight;
            const auto came = policy::observe_result(answer.text, answer.status);
            slot_done(self, index, message_of(role::tool, std::move(answer.text), now.task->slots[index].call.id, answer.is_error), came);
          },
          [](const caf::error&) {}); // it died: the down message comes too
}

/// What its arguments were changed to stands in the conversation once, behind the results.
void tell_changed(agent_self self, const tool_call& call, const approval_answer& answer) {
  auto& task = task_of(self);
  auto text = answer.reviewer + " approved the call " + call.id + " of \"" + call.name
              + "\" with other arguments: " + answer.modified_action.dump(-1, ' ', false, json::error_handler_t::replace)
              + (answer.comment.empty() ? "" : ". " + answer.comment);
  for (const auto& known : task.injected)
    if (known->text == text)
      return;
  record(self, {message_injected{text, "approval"}});
  task.injected.push_back(message_of(role::user, std::move(text)));
}

void start_slot(agent_self self, std::size_t index, bool cut_off, bool recovering) {
  if (ask_colleague(self, index, cut_off))
    return;
  auto& task = task_of(self);
  const auto& call = task.slots[index].call;
  auto arguments = admissible(self, call, cut_off);
  if (!arguments) {
    refuse(self, index, std::move(arguments.error()));
    return;
  }
  const auto& a = task.assignment;
  const auto& tool = state_of(self).peers->tools->prepared.at(call.name);
  const auto needed = a.run->approve_all ? 0 : policy::approvals_needed(a.run->config->checkpoint, tool.spec.risk);
  if (needed == 0) {
    invoke_slot(self, index, std::move(*arguments), recovering);
    return;
  }
  approval_ask wanted{.run = a.run,
                      .task = a.task,
                      .agent = a.agent,
                      .kind = approval_kind::tool,
                      .subject = call.name,
                      .moment = a.task + "@" + std::to_string(a.attempt) + "/" + std::to_string(task.steps) + " " + call.id,
                      .action = *arguments,
                      .details = {{"description", tool.declaration.description},
                                  {"effect", name_of(tool.spec.effect)},
                                  {"schema", tool.declaration.parameters}},
                      .risk_level = tool.spec.risk,
                      .needed = needed};
  ask_human(self, std::move(wanted), [self, index, recovering, exact = std::move(*arguments)](const approval_answer& answer) mutable {
    const auto& asked = task_of(self).slots[index].call;
    if (answer.status == approval_status::approved) {
      invoke_slot(self, index, std::move(exact), recovering);
      return;
    }
    if (answer.status != approval_status::modified) {
      refuse(self, index, policy::rejected_text(asked.name, answer.by_human ? answer.reviewer : std::string{}, answer.comment));
      return;
    }
    auto changed = tools::check_arguments(state_of(self).peers->tools->prepared.at(asked.name),
                                          answer.modified_action.dump(-1, ' ', false, json::error_handler_t::replace));
    if (!changed) {
      refuse(self, index,
             policy::rejected_text(asked.name, answer.reviewer,
                                   "the arguments that were to take their place do not hold: " + changed.error().message));
      return;
    }
    tell_changed(self, asked, answer);
    invoke_slot(self, index, std::move(*changed), recovering);
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
void ask_about_loop(agent_self self, std::shared_ptr<const policy::loop_verdict> verdict,
                    std::function<void(const policy::loop_verdict&)> then) {
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

/// Tells the supervisor, and goes on with `then` when it has judged.
template <class Then>
void observe(agent_self self, policy::loop_step&& step, Then then) {
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

/// All calls of one response at once, once they are judged; their results go back in the order asked. `known`: results that are recorded
/// already, and `came` what they are to the supervisor.
void run_tools(agent_self self, message_ptr response, finish_reason finish, const std::vector<message_ptr>& known,
               const std::vector<policy::observed_result>& came, bool recovering) {
  auto& task = task_of(self);
  const auto& tools = state_of(self).peers->tools->prepared;
  task.response = std::move(response);
  task.slots.clear();
  policy::loop_step step{.number = task.steps, .earlier = std::exchange(task.loops.earlier, {})};
  bool whole = true;
  for (std::size_t i = 0; i < task.response->tool_calls.size(); ++i) {
    const auto& call = task.response->tool_calls[i];
    const auto prepared = tools.find(call.name);
    step.calls.push_back(policy::observe_call(call, prepared == tools.end() ? nullptr : &prepared->second.spec));
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

/// All results are there. `observed`: the supervisor has seen them, and whoever calls goes on.
void complete_step(agent_self self, bool observed) {
  auto& task = task_of(self);
  std::vector<policy::observed_result> came;
  std::vector<bool> refused;
  for (const auto& slot : task.slots)
    refused.push_back(!slot.came.ran);
  task.messages = policy::with_refusals_cut(task.messages, refused);
  for (auto& slot : task.slots) {
    task.messages.push_back(std::move(slot.result));
    came.push_back(slot.came);
  }
  task.slots.clear();
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

// --- the model -----------------------------------------------------------------------------------------------------

void take_answer(agent_self self, const llm_answer& answer) {
  auto& task = task_of(self);
  --task.in_flight;
  task.asked = nullptr;
  if (answer.crash)
    throw std::runtime_error(answer.error.empty() ? "rehearsed crash" : answer.error);
  if (stop_if_ending(self))
    return;
  if (answer.too_long && task.context.too_long(answer, task.messages)) {
    next_step(self);
    return;
  }
  if (!answer.message) {
    finish(self, task_result{.status = answer.status,
                             .reason = answer.reason,
                             .error = answer.error,
                             .limit_scope = answer.limit_scope,
                             .fatal = answer.fatal});
    return;
  }
  ++task.steps;
  task.context.answered(answer, task.messages);
  task.messages.push_back(answer.message);
  if (answer.message->tool_calls.empty())
    judge(self, answer.message->text, answer.finish);
  else
    run_tools(self, answer.message, answer.finish, {}, {}, false);
}

std::string next_step_id(const work& task) {
  const auto& a = task.assignment;
  return a.task + "@" + std::to_string(a.attempt) + "/" + std::to_string(task.steps + 1);
}

template <class Then>
void ask_gateway(agent_self self, llm_ask&& order, Then then) {
  auto& state = state_of(self);
  ++state.task->in_flight;
  const auto gateway = state.peers->gateway->now();
  state.task->asked = gateway.address();
  watch(self, gateway);
  ask(self, gateway, std::move(order))
      .then(
          [self, generation = state.generation, then = std::move(then)](const llm_answer& answer) {
            if (state_of(self).generation == generation && state_of(self).task)
              then(answer);
          },
          [](const caf::error&) {}); // it died: the down message comes too
}

/// One call outside of the conversation: its answer takes the place of what the cut counts.
void ask_summary(agent_self self, const policy::summary_wanted& wanted) {
  auto& task = task_of(self);
  const auto& a = task.assignment;
  llm_ask order{.run = a.run,
                .task = a.task,
                .agent = a.agent,
                .step_id = policy::summary_step(next_step_id(task)),
                .model = task.spec->model,
                .messages = task.context.summary_of(task.messages, wanted),
                .temperature = task.spec->temperature,
                .max_tokens = wanted.tokens,
                .deadline = task.deadline,
                .recovering = task.recovering,
                .first_link = task.context.link()};
  ask_gateway(self, std::move(order), [self, wanted](const llm_answer& answer) {
    auto& now = task_of(self);
    --now.in_flight;
    now.asked = nullptr;
    if (answer.crash)
      throw std::runtime_error(answer.error.empty() ? "rehearsed crash" : answer.error);
    if (stop_if_ending(self))
      return;
    if (!answer.message && answer.status != task_status::error) { // budget, time
      finish(self, task_result{.status = answer.status,
                               .reason = answer.reason,
                               .error = answer.error,
                               .limit_scope = answer.limit_scope,
                               .fatal = answer.fatal});
      return;
    }
    if (const auto made = now.context.summarised(wanted, answer)) {
      record(self, {*made});
      now.context.take(now.messages, *made);
    } else {
      now.context.no_summary();
    }
    next_step(self);
  });
}

/// Makes the conversation fit its model's context, each cut durable before the request that it was made for. False: a summary has to come
/// first, or the task has ended.
bool make_fit(agent_self self) {
  auto& task = task_of(self);
  for (;;) {
    const auto plan = task.context.plan(task.messages, task.steps + 1);
    if (const auto* cut = std::get_if<context_cut>(&plan)) {
      std::vector<event_body> events{*cut};
      if (cut->kind == context_cut_kind::failed_over)
        events.emplace_back(llm_failed_over{next_step_id(task), cut->model, task.context.name_of_link(static_cast<std::size_t>(cut->link)),
                                            "llm_context_length"});
      record(self, std::move(events));
      task.context.take(task.messages, *cut);
    } else if (const auto* wanted = std::get_if<policy::summary_wanted>(&plan)) {
      ask_summary(self, *wanted);
      return false;
    } else if (const auto* end = std::get_if<policy::context_exhausted>(&plan)) {
      finish(self, task_result{.status = task_status::error, .reason = "llm_context_length", .error = end->why, .fatal = true});
      return false;
    } else {
      return true;
    }
  }
}

void next_step(agent_self self) {
  if (!make_fit(self))
    return;
  auto& task = task_of(self);
  const auto& a = task.assignment;
  if (!task.own_deadline && a.run->config->checkpoint.pause_clock)
    task.deadline = deadline_of(*a.run, self->clock().now()); // others of the run may have waited
  llm_ask order{.run = a.run,
                .task = a.task,
                .agent = a.agent,
                .step_id = next_step_id(task),
                .model = task.spec->model,
                .messages = task.messages,
                .tools = task.loops.declared(task.may->declared, task.messages),
                .temperature = task.loops.temperature(task.spec->temperature),
                .max_tokens = task.spec->max_tokens,
                .deadline = task.deadline,
                .recovering = std::exchange(task.recovering, false)};
  order.tool_choice = task.loops.choice(task.may->names, order.tools);
  task.context.write(order);
  ask_gateway(self, std::move(order), [self](const llm_answer& answer) { take_answer(self, answer); });
}

/// Whom it asked has died. It has a successor, which goes by the journal.
void peer_down(agent_self self, const caf::actor_addr& peer) {
  auto& state = state_of(self);
  state.watched.erase(peer);
  if (!state.task)
    return;
  auto& task = *state.task;
  if (task.asked == peer) {
    task.asked = nullptr;
    --task.in_flight;
    if (stop_if_ending(self))
      return;
    if (state.peers->gateway->gone()) {
      finish(self, task_result{.status = task_status::error, .reason = "internal", .error = "the gateway died, and does not come back"});
      return;
    }
    task.recovering = true;
    tell_later(self, agent_actor(self), service_pause, ask_again{state.generation, {}});
    return;
  }
  const auto generation = state.generation;
  if (task.reviewing == peer) {
    task.reviewing = nullptr;
    if (!task.ending) {
      tell_later(self, agent_actor(self), service_pause, ask_again{.generation = generation, .review = true});
      return;
    }
    end_review(self, {});
    return;
  }
  if (state.peers->checkpoint && !task.humans.empty() && peer == task.checkpoint) {
    tell_later(self, agent_actor(self), service_pause, ask_again{.generation = generation, .approval = true});
    return;
  }
  for (std::size_t i = 0; state.generation == generation && state.task && i < state.task->slots.size(); ++i)
    if (auto& slot = state.task->slots[i]; !slot.result && slot.asked == peer) {
      slot.asked = nullptr;
      --state.task->in_flight;
      if (stop_if_ending(self))
        return;
      if (state.peers->hosts.at(slot.call.name)->gone())
        slot_done(self, i,
                  message_of(role::tool, "The host of \"" + slot.call.name + "\" died; nobody knows whether the call took effect.",
                             slot.call.id, true),
                  policy::observed_result{});
      else
        tell_later(self, agent_actor(self), service_pause, ask_again{generation, i});
    }
}

// --- the answer ----------------------------------------------------------------------------------------------------

/// Does the answer hold, and what is done about it if not (SEMANTICS 5)? `policy::answer_quality` decides.
void judge(agent_self self, const std::string& text, finish_reason finish_with) {
  auto& task = task_of(self);
  perform(self, task.quality.answered(text, task.steps,
                                      finish_with == finish_reason::length ? std::optional(task.spec->max_tokens) : std::nullopt));
}

void carry_out(agent_self self, policy::record_quality& what) {
  record(self, std::move(what.events));
}

void carry_out(agent_self self, policy::run_check& what) {
  auto& state = state_of(self);
  auto& task = *state.task;
  const auto tool = state.peers->checks.find(task.assignment.agent);
  if (tool == state.peers->checks.end()) {
    finish(self, task_result{.status = task_status::error,
                             .reason = "contract_command",
                             .error = "the contract's command cannot be run in this process"});
    return;
  }
  const auto now = self->clock().now();
  auto time = tool->second->spec.timeout;
  if (task.deadline != clock_point::max())
    time = std::clamp(std::chrono::duration_cast<milliseconds>(task.deadline - now), milliseconds{1}, time);
  const auto& a = task.assignment;
  invocation call{.call_id = a.task + "@" + std::to_string(a.attempt) + "/" + std::to_string(task.steps) + " check",
                  .tool = tool->second->spec.name,
                  .arguments = {{"text", std::move(what.text)}},
                  .idempotency_key = {},
                  .timeout = time};
  ++task.in_flight;
  task.check = std::make_unique<running_check>();
  task.check->tool = tool->second;
  task.check->began = now;
  task.check->id = tool->second->run->start(
      std::move(call), [weak = caf::actor_cast<caf::actor_addr>(self->address()), generation = state.generation](tool_outcome outcome) {
        if (auto strong = caf::actor_cast<agent_actor>(weak))
          tell_from_outside(strong, check_ended{generation, std::make_shared<tool_outcome>(std::move(outcome)), 0});
      });
}

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
                      .moment = a.task + "@" + std::to_string(a.attempt) + "/" + std::to_string(task_of(self).steps),
                      .action = std::move(what.output),
                      .details = std::move(what.details),
                      .risk_level = risk::medium};
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

void give_review(agent_self self, bool resumed) {
  auto& state = state_of(self);
  auto& task = *state.task;
  auto& order = *task.review;
  order.resumed = resumed;
  const auto pool = state.peers->pools.find(order.agent);
  if (pool == state.peers->pools.end() || pool->second->gone()) {
    end_review(
        self,
        {task_status::error, "no_member", "no pool serves agent \"" + order.agent + "\"; add it to the supervision tree", nullptr, {}});
    return;
  }
  if (task.deadline != clock_point::max())
    order.timeout = std::max(milliseconds{1}, std::chrono::duration_cast<milliseconds>(task.deadline - self->clock().now()));
  const auto to = pool->second->now();
  task.reviewing = to.address();
  watch(self, to);
  ask(self, to, order)
      .then(
          [self, generation = state.generation](const task_result& result) {
            auto& now = state_of(self);
            if (now.generation != generation || !now.task || !now.task->review)
              return;
            const auto& reviewed = *now.task->review;
            if (!now.task->ending) // what is cut off goes on when the run does
              tell(self, now.peers->journal,
                   note{reviewed.run->run_id,
                        reviewed.task,
                        reviewed.agent,
                        {task_finished{reviewed.attempt, result.status, result.reason, result.error, result.output}}});
            end_review(self, {result.status, result.reason, result.error, result.output, result.limit_scope});
          },
          [](const caf::error&) {}); // it died: the down message comes too
}

/// A review is a task below the one that it is about, so that it spends from its budget and its time.
void carry_out(agent_self self, policy::ask_reviewer& what) {
  auto& state = state_of(self);
  auto& task = *state.task;
  const auto& a = task.assignment;
  task_assignment order{.run = a.run,
                        .task = a.task + "/review",
                        .attempt = what.attempt,
                        .agent = what.reviewer,
                        .instruction = std::move(what.instruction)};
  const auto spec = a.run->config->agents.find(what.reviewer);
  const bool has_own = spec != a.run->config->agents.end() && spec->second.output;
  order.contract =
      std::make_shared<const output_spec>(policy::review_contract(has_own ? spec->second.output->retries : output_spec{}.retries));
  task.review = std::move(order);
  ++task.in_flight;
  // An incarnation before this one may have asked already.
  ask(self, state.peers->journal, read_task{a.run->run_id, task.review->task})
      .then(
          [self, generation = state.generation](const task_events& recorded) {
            auto& now = state_of(self);
            if (now.generation != generation || !now.task || !now.task->review)
              return;
            const auto& wanted = *now.task->review;
            const auto history = policy::rebuild(recorded.events);
            const bool begun = history.started && history.attempt == wanted.attempt;
            if (now.task->ending || (begun && history.finished)) {
              const auto end = history.finished.value_or(task_finished{});
              end_review(self, {end.status, end.reason, end.error, end.output, {}});
              return;
            }
            if (!begun)
              tell(self, now.peers->journal,
                   note{wanted.run->run_id, wanted.task, wanted.agent, {task_started{wanted.attempt, wanted.instruction, {}}}});
            give_review(self, begun);
          },
          [self, generation = state.generation](const caf::error& reason) {
            if (state_of(self).generation == generation && state_of(self).task)
              finish(self,
                     task_result{.status = task_status::error, .reason = "journal_unavailable", .error = text_of(reason), .fatal = true});
          });
}

// --- the beginning -------------------------------------------------------------------------------------------------

/// What its answers must be: the task's own contract, or the agent's.
const output_spec* rules_of(const agent_spec& spec, const std::shared_ptr<const output_spec>& other) {
  return other ? other.get() : spec.output ? &*spec.output : nullptr;
}

/// Contract and declarations: made once for all tasks of this agent under one configuration.
void prepare(agent_self self, const std::shared_ptr<const configuration>& config, const agent_spec& spec,
             const std::shared_ptr<const output_spec>& other) {
  auto& state = state_of(self);
  if (state.prepared_for == config && state.prepared_agent == spec.name && state.prepared_contract == other)
    return;
  state.prepared_for = config;
  state.prepared_agent = spec.name;
  state.prepared_contract = other;
  state.must_hold.reset();
  if (const auto* rules = rules_of(spec, other)) {
    auto compiled = contract::compile(*rules);
    if (!compiled) // the loader refuses such a file; a stored configuration may be older than a rule
      throw std::runtime_error("the contract of agent \"" + spec.name + "\" does not compile: " + compiled.error().text());
    state.must_hold = std::move(*compiled);
  }
  state.own = tools_of(*config, spec, {}, *state.peers->tools);
}

/// What the agent is told first. A schema is part of it: no model guesses one.
conversation opening(const agent_spec& spec, const output_spec* rules, const std::string& instruction) {
  conversation messages;
  if (!spec.system.empty())
    messages.push_back(message_of(role::system, spec.system));
  auto text = instruction;
  if (rules && !rules->schema.is_null())
    text += "\n\nAnswer with one JSON value that satisfies this JSON Schema, and nothing else:\n" + rules->schema.dump();
  messages.push_back(message_of(role::user, std::move(text)));
  return messages;
}

void begin_conversation(agent_self self) {
  auto& task = task_of(self);
  task.messages = opening(*task.spec, rules_of(*task.spec, task.assignment.contract), task.assignment.instruction);
  task.context = agent_context(*task.spec, *task.assignment.run->config, task.may->meter, task.messages.size());
}

/// Goes on where the journal ends: at the step after the last recorded one.
void restore(agent_self self, const task_events& recorded) {
  auto& task = task_of(self);
  const auto history = policy::rebuild(recorded.events);
  task.recovering = true;
  task.quota = std::make_shared<policy::tool_quota>(history.calls_of);
  if (!history.started || history.attempt != task.assignment.attempt) {
    next_step(self);
    return;
  }
  task.steps = history.steps;
  task.quality.restore(recorded.events, history.repairs);
  const auto& tools = state_of(self).peers->tools->prepared;
  auto loops =
      policy::rebuild_loops(recorded.events, task.assignment.attempt, policy::rules_of(task.spec->loop), [&](const std::string& name) {
        const auto found = tools.find(name);
        return found == tools.end() ? nullptr : &found->second.spec;
      });
  task.loops.told = loops.watch.rung() >= loop_rung::told;
  task.loops.taken = std::move(loops.taken);
  task.loops.restored = std::make_shared<const policy::loop_watch>(std::move(loops.watch));
  if (!history.results.empty()) {
    task.messages.append(history.messages);
    task.context.restore(history, task.messages);
    task.injected = history.injected;
    run_tools(self, history.messages.back(), history.last_finish, history.results, loops.results, true);
    return;
  }
  const auto all = history.assembled();
  task.messages.append(all);
  task.context.restore(history, task.messages);
  if (!all.empty() && all.back()->from == role::assistant && all.back()->tool_calls.empty()) {
    task.recovering = false;
    judge(self, all.back()->text, history.last_finish);
    return;
  }
  next_step(self);
}

/// One wake-up under way, not one a task: it stays until it fires, however early its task ends.
void watch_deadline(agent_self self) {
  auto& state = state_of(self);
  const auto at = state.task->deadline;
  if (state.wake_up_at && *state.wake_up_at <= at)
    return;
  state.wake_up_at = at;
  tell_later(self, agent_actor(self), at - self->clock().now(), deadline_hit{});
}

/// Also for a task that this very agent has begun: it begins it anew with what is recorded.
void go_on_from_journal(agent_self self) {
  auto& task = task_of(self);
  ++state_of(self).generation;
  begin_conversation(self);
  task.slots.clear();
  task.loops = {};
  ++task.in_flight;
  ask(self, state_of(self).peers->journal, read_task{task.assignment.run->run_id, task.assignment.task})
      .then(
          [self, generation = state_of(self).generation](const task_events& recorded) {
            if (state_of(self).generation != generation || !state_of(self).task)
              return;
            --task_of(self).in_flight;
            if (stop_if_ending(self))
              return;
            if (recorded.failure.code != error_code::none)
              finish(self,
                     task_result{
                         .status = task_status::error, .reason = "journal_unavailable", .error = recorded.failure.text(), .fatal = true});
            else
              restore(self, recorded);
          },
          [self, generation = state_of(self).generation](const caf::error& reason) {
            if (state_of(self).generation == generation && state_of(self).task)
              finish(self,
                     task_result{.status = task_status::error, .reason = "journal_unavailable", .error = text_of(reason), .fatal = true});
          });
}

caf::result<task_result> begin(agent_self self, task_assignment& assignment) {
  auto& state = state_of(self);
  const auto& agents = assignment.run->config->agents;
  const auto spec = agents.find(assignment.agent);
  if (state.task || spec == agents.end())
    return task_result{.task = assignment.task,
                       .attempt = assignment.attempt,
                       .status = task_status::error,
                       .reason = "internal",
                       .error = state.task ? "member " + state.member + " is at work" : "no agent named \"" + assignment.agent + "\""};
  auto promise = self->make_response_promise<task_result>();
  state.task = std::make_unique<work>();
  auto& task = *state.task;
  ++state.generation;
  task.assignment = std::move(assignment);
  task.asker = promise;
  task.spec = &spec->second;
  prepare(self, task.assignment.run->config, *task.spec, task.assignment.contract);
  const auto* rules = rules_of(*task.spec, task.assignment.contract);
  task.quality = policy::answer_quality(rules, state.must_hold, task.assignment.attempt, task.assignment.instruction);
  task.may =
      task.assignment.rights ? tools_of(*task.assignment.run->config, *task.spec, task.assignment.rights, *state.peers->tools) : state.own;
  task.quota = std::make_shared<policy::tool_quota>();
  begin_conversation(self);
  const auto now = self->clock().now();
  task.deadline = deadline_of(*task.assignment.run, now);
  if (task.assignment.deadline < task.deadline) {
    task.deadline = task.assignment.deadline;
    task.own_deadline = true;
  }
  for (const auto limit : {task.spec->timeout, task.assignment.timeout})
    if (limit.count() > 0 && now + limit < task.deadline) {
      task.deadline = now + limit;
      task.own_deadline = true;
    }
  if (task.own_deadline)
    watch_deadline(self);
  if (!task.assignment.resumed) {
    next_step(self);
    return promise;
  }
  go_on_from_journal(self);
  return promise;
}

agent_actor::behavior_type agent(agent_self self, std::string member, caf::actor_addr supervisor,
                                 std::shared_ptr<const agent_peers> peers) {
  install_handlers(self);
  state_of(self).member = std::move(member);
  state_of(self).supervisor = std::move(supervisor);
  state_of(self).peers = std::move(peers);
  self->set_down_handler([self](const caf::down_msg& down) { peer_down(self, caf::actor_cast<caf::actor_addr>(down.source)); });
  self->set_exception_handler([self](std::exception_ptr& thrown) -> caf::error {
    const auto& task = state_of(self).task;
    // One death more than a task may cause: the task is the culprit, the restart intensity is spared (SEMANTICS 8).
    if (task && task->assignment.crashes + 1 > task->spec->crashes)
      return poison_error(words_of(thrown));
    return crash_error(words_of(thrown));
  });
  return {
      [self](task_assignment& assignment) { return begin(self, assignment); },
      [self](const cancel_task& which) {
        auto& state = state_of(self);
        if (state.task && state.task->assignment.run->run_id == which.run_id
            && (which.task.empty() || state.task->assignment.task == which.task))
          begin_ending(self, which.timed_out ? task_status::timeout : task_status::cancelled);
      },
      [self](const deadline_hit&) {
        auto& state = state_of(self);
        state.wake_up_at.reset();
        if (!state.task || !state.task->own_deadline || !state.task->humans.empty())
          return;
        if (self->clock().now() >= state.task->deadline)
          begin_ending(self, task_status::timeout);
        else
          watch_deadline(self);
      },
      [self](const check_ended& ended) { take_check(self, ended); },
      [self](const ask_again& due) {
        if (due.generation != state_of(self).generation || !state_of(self).task || state_of(self).task->ending)
          return;
        if (due.call) {
          start_slot(self, *due.call, false, true);
        } else if (due.review) {
          give_review(self, true);
        } else if (due.approval) {
          std::vector<std::uint64_t> numbers;
          for (const auto& [number, wait] : state_of(self).task->humans)
            numbers.push_back(number);
          for (const auto number : numbers)
            if (state_of(self).generation == due.generation && state_of(self).task)
              send_human(self, number);
        } else {
          next_step(self);
        }
      },
  };
}

} // namespace

agent_actor spawn_agent(caf::actor_system& system, std::string member, const supervisor_actor& supervisor,
                        std::shared_ptr<const agent_peers> peers) {
  return system.spawn(agent, std::move(member), supervisor.address(), std::move(peers));
}

} // namespace troupe::actors
