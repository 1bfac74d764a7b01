#include "troupe/actors/agent.hpp"

#include <set>
#include <stdexcept>

#include "troupe/actors/agent_context.hpp"
#include "troupe/actors/agent_loops.hpp"
#include "troupe/actors/context.hpp"
#include "troupe/model/described.hpp"
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
// At [verdict] it waits for its supervisor, which sees whether it goes round in circles: then a call is refused, the agent is restarted, or
// the task ends.
// Cancelled, or out of time: nothing new begins, and the task ends once nothing of it is under way.

struct tool_slot {
  tool_call call;
  message_ptr result; ///< null: not there yet
  policy::observed_result came;
  caf::actor_addr asked; ///< the host that has it
};

struct work {
  task_assignment assignment;
  caf::typed_response_promise<task_result> asker;
  const agent_spec* spec = nullptr;      ///< lives in the run's configuration
  conversation messages;
  message_ptr response;                  ///< the last one with calls
  std::vector<tool_slot> slots;          ///< of that response
  std::vector<message_ptr> injected;     ///< recorded after that response: it follows its results
  agent_loops loops;
  agent_context context;
  std::size_t in_flight = 0;             ///< requests to the gateway or to tool hosts
  std::int64_t steps = 0;                ///< responses so far in this attempt
  std::int64_t repairs = 0;
  std::shared_ptr<policy::tool_quota> quota;
  std::optional<task_status> ending;     ///< it is being stopped: the status that it ends with
  clock_point deadline;
  bool own_deadline = false;             ///< it is not the run's, which the orchestrator watches
  bool recovering = false;               ///< the next request may have been made by the incarnation before, or the gateway before
  caf::actor_addr asked;                 ///< the gateway that has the request in flight; null: none
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
  std::optional<contract> must_hold;
  tool_declarations declared;
  policy::token_meter meter; ///< that counts them
};

using agent_self = agent_actor::stateful_pointer<agent_state>;

void next_step(agent_self self);
void judge(agent_self self, const std::string& text, finish_reason finish);
void go_on_from_journal(agent_self self);

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
  finish(self, task_result{.status = status, .reason = late ? "timeout" : "cancelled", .error = late ? "its time is up" : "it was cancelled"});
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
  stop_if_ending(self);
}

// --- tools ---------------------------------------------------------------------------------------------------------------------------------

void complete_step(agent_self self, bool observed);

void slot_done(agent_self self, std::size_t index, message_ptr result, policy::observed_result came) {
  auto& task = task_of(self);
  task.slots[index].result = std::move(result);
  task.slots[index].came = came;
  for (const auto& slot : task.slots)
    if (!slot.result)
      return;
  complete_step(self, false);
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
  const auto& allowed = task.spec->tools;
  const auto prepared = tools.prepared.find(call.name);
  if (std::find(allowed.begin(), allowed.end(), call.name) == allowed.end())
    return tl::unexpected(prepared != tools.prepared.end() ? policy::tool_not_allowed_text(call.name, allowed)
                                                           : policy::unknown_tool_text(call.name, std::string(nearest_name(call.name, {allowed.begin(), allowed.end()})), allowed));
  if (prepared == tools.prepared.end())
    return tl::unexpected(policy::unknown_tool_text(call.name, {}, allowed));
  auto arguments = tools::check_arguments(prepared->second, call.arguments);
  if (!arguments)
    return tl::unexpected(cut_off ? policy::arguments_cut_off_text(call.name) : arguments.error().message);
  const auto& spec = prepared->second.spec;
  if (!task.assignment.run->approve_all && policy::approvals_needed(task.assignment.run->config->checkpoint, spec.risk) > 0)
    return tl::unexpected("Rejected: tool \"" + call.name + "\" has risk " + name_of(spec.risk)
                          + " and needs a human's approval, which nobody can give in this run. Find another way, or say what you could not do.");
  return std::move(*arguments);
}

void start_slot(agent_self self, std::size_t index, bool cut_off, bool recovering) {
  auto& state = state_of(self);
  auto& task = task_of(self);
  const auto& call = task.slots[index].call;
  auto arguments = admissible(self, call, cut_off);
  if (!arguments) {
    refuse(self, index, std::move(arguments.error()));
    return;
  }
  const auto& a = task.assignment;
  invoke order{.run = a.run, .task = a.task, .agent = a.agent, .step_id = a.task + "@" + std::to_string(a.attempt) + "/" + std::to_string(task.steps),
               .tool = call.name, .call_id = call.id, .arguments = std::move(*arguments), .deadline = task.deadline,
               .agent_tools = task.spec->tools, .recovering = recovering, .quota = task.quota};
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

// --- loops ---------------------------------------------------------------------------------------------------------------------------------

loop_detected detected(agent_self self, const policy::loop_verdict& verdict, std::string text) {
  const auto& task = task_of(self);
  const auto& found = *verdict.found;
  if (found.kind == loop_kind::monologue)
    return {found.kind, verdict.rung, task.steps, {}, {}, found.count, std::move(text)};
  const auto& call = task.response->tool_calls[found.call];
  return {found.kind, verdict.rung, task.steps, call.id, call.name, found.count, std::move(text)};
}

/// The upper rungs: the task fails, or begins anew with a digest. True when this agent does not go on.
bool stopped_by(agent_self self, const judgement& judged) {
  auto& task = task_of(self);
  const auto& verdict = *judged.verdict;
  if (!verdict.found || verdict.rung < loop_rung::restarted)
    return false;
  const auto& call = task.response->tool_calls[verdict.found->call];
  if (verdict.rung == loop_rung::failed) {
    auto why = policy::loop_failure_text(*verdict.found, call);
    if (!verdict.again)
      record(self, {detected(self, verdict, why)});
    finish(self, task_result{.status = task_status::loop, .reason = "loop", .error = std::move(why), .fatal = true});
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
  ask(self, supervisor, observation{state.generation, task.spec->loop, std::make_shared<const policy::loop_step>(std::move(step)), std::exchange(task.loops.restored, nullptr)})
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
        else if (!stopped_by(self, judged))
          then(*judged.verdict);
      },
      [](const caf::error&) {}); // likewise
}

/// The lower rungs: what the agent is told. `again`: it is recorded.
std::string take_rung(agent_self self, const policy::loop_verdict& verdict, bool inject) {
  auto& task = task_of(self);
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
  task.loops.report = verdict.report_results;
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
      refuse(self, i, ruling == policy::call_ruling::looping ? told : policy::loop_refusal_text(ruling, task.slots[i].call, task.loops.left(task.spec->tools)));
  }
}

/// All calls of one response at once, once they are judged; their results go back in the order asked. `known`: results that are recorded
/// already, and `came` what they are to the supervisor.
void run_tools(agent_self self, message_ptr response, finish_reason finish, const std::vector<message_ptr>& known, const std::vector<policy::observed_result>& came, bool recovering) {
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
    task.slots.push_back({call, i < known.size() ? known[i] : nullptr, i < came.size() ? came[i] : policy::observed_result{}, {}});
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
    if (verdict.found && !verdict.again)
      take_rung(self, verdict, true);
    next_step(self);
  });
}

// --- the model -------------------------------------------------------------------------------------------------------------------------------

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
    finish(self, task_result{.status = answer.status, .reason = answer.reason, .error = answer.error,
                             .limit_scope = answer.limit_scope, .fatal = answer.fatal});
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
  llm_ask order{.run = a.run, .task = a.task, .agent = a.agent, .step_id = policy::summary_step(next_step_id(task)), .model = task.spec->model,
                .messages = task.context.summary_of(task.messages, wanted), .temperature = task.spec->temperature,
                .max_tokens = wanted.tokens, .deadline = task.deadline, .recovering = task.recovering,
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
      finish(self, task_result{.status = answer.status, .reason = answer.reason, .error = answer.error, .limit_scope = answer.limit_scope, .fatal = answer.fatal});
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
        events.emplace_back(llm_failed_over{next_step_id(task), cut->model, task.context.name_of_link(static_cast<std::size_t>(cut->link)), "llm_context_length"});
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
  auto& state = state_of(self);
  auto& task = task_of(self);
  const auto& a = task.assignment;
  llm_ask order{.run = a.run, .task = a.task, .agent = a.agent, .step_id = next_step_id(task), .model = task.spec->model,
                .messages = task.messages, .tools = task.loops.declared(state.declared, task.messages),
                .temperature = task.loops.temperature(task.spec->temperature),
                .max_tokens = task.spec->max_tokens, .deadline = task.deadline, .recovering = std::exchange(task.recovering, false)};
  order.tool_choice = task.loops.choice(task.spec->tools, order.tools);
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
  for (std::size_t i = 0; state.generation == generation && state.task && i < state.task->slots.size(); ++i)
    if (auto& slot = state.task->slots[i]; !slot.result && slot.asked == peer) {
      slot.asked = nullptr;
      --state.task->in_flight;
      if (stop_if_ending(self))
        return;
      if (state.peers->hosts.at(slot.call.name)->gone())
        slot_done(self, i, message_of(role::tool, "The host of \"" + slot.call.name + "\" died; nobody knows whether the call took effect.", slot.call.id, true),
                  policy::observed_result{});
      else
        tell_later(self, agent_actor(self), service_pause, ask_again{generation, i});
    }
}

// --- the answer --------------------------------------------------------------------------------------------------------------------------------

/// Does the answer hold? Else the agent is asked again with what is wrong (SEMANTICS 5).
void judge(agent_self self, const std::string& text, finish_reason finish_with) {
  auto& task = task_of(self);
  const auto& must_hold = state_of(self).must_hold;
  contract_verdict verdict;
  if (finish_with == finish_reason::length)
    verdict.violations.push_back({"", "max_tokens", "the answer was cut off at " + std::to_string(task.spec->max_tokens) + " tokens; say it more briefly"});
  else if (must_hold)
    verdict = must_hold->check(text);
  else
    verdict.output = text;
  if (verdict.accepted()) {
    finish(self, task_result{.status = task_status::success, .output = std::move(verdict.output)});
    return;
  }
  std::vector<std::string> words;
  for (const auto& broken : verdict.violations)
    words.push_back((broken.pointer.empty() ? "" : broken.pointer + ": ") + broken.message + " (" + broken.rule + ")");
  const auto allowed = task.spec->output ? task.spec->output->retries : output_spec{}.retries;
  if (task.repairs >= allowed) {
    std::string all;
    for (const auto& word : words)
      all += (all.empty() ? "" : "; ") + word;
    record(self, {contract_violated{0, std::move(words)}});
    finish(self, task_result{.status = task_status::quality_failed, .reason = "contract", .error = "the answer does not hold: " + all, .output = text});
    return;
  }
  auto feedback = feedback_text(verdict.violations, must_hold && must_hold->expects_json());
  policy::loop_step step{.number = task.steps, .said = policy::sketch_of(text), .reply = policy::reply_sign(words)};
  observe(self, std::move(step), [self, feedback = std::move(feedback), words = std::move(words), text](const policy::loop_verdict& judged) mutable {
    auto& repaired = task_of(self);
    if (judged.found) { // it says the same whatever it is told
      auto why = policy::loop_text(*judged.found, judged.rung, {});
      record(self, {detected(self, judged, why), contract_violated{0, std::move(words)}});
      finish(self, task_result{.status = task_status::quality_failed, .reason = "contract",
                               .error = "the answer does not hold, and was given " + std::to_string(judged.found->count) + " times", .output = std::move(text)});
      return;
    }
    record(self, {contract_violated{++repaired.repairs, std::move(words)}, message_injected{feedback, "contract"}});
    repaired.messages.push_back(message_of(role::user, std::move(feedback)));
    next_step(self);
  });
}

// --- the beginning ---------------------------------------------------------------------------------------------------------------------------

/// Contract and declarations: made once for all tasks of this agent under one configuration.
void prepare(agent_self self, const std::shared_ptr<const configuration>& config, const agent_spec& spec) {
  auto& state = state_of(self);
  if (state.prepared_for == config && state.prepared_agent == spec.name)
    return;
  state.prepared_for = config;
  state.prepared_agent = spec.name;
  state.must_hold.reset();
  if (spec.output) {
    auto compiled = contract::compile(*spec.output);
    if (!compiled) // the loader refuses such a file; a stored configuration may be older than a rule
      throw std::runtime_error("the contract of agent \"" + spec.name + "\" does not compile: " + compiled.error().text());
    state.must_hold = std::move(*compiled);
  }
  auto declarations = std::make_shared<std::vector<tool_declaration>>();
  for (const auto& tool : spec.tools)
    if (const auto found = state.peers->tools->prepared.find(tool); found != state.peers->tools->prepared.end())
      declarations->push_back({found->second.declaration.name, found->second.declaration.description, found->second.declaration.parameters});
  state.declared = std::move(declarations);
  state.meter = policy::token_meter(state.declared);
}

/// What the agent is told first. A schema is part of it: no model guesses one.
conversation opening(const agent_spec& spec, const std::string& instruction) {
  conversation messages;
  if (!spec.system.empty())
    messages.push_back(message_of(role::system, spec.system));
  auto text = instruction;
  if (spec.output && !spec.output->schema.is_null())
    text += "\n\nAnswer with one JSON value that satisfies this JSON Schema, and nothing else:\n" + spec.output->schema.dump();
  messages.push_back(message_of(role::user, std::move(text)));
  return messages;
}

void begin_conversation(agent_self self) {
  auto& task = task_of(self);
  task.messages = opening(*task.spec, task.assignment.instruction);
  task.context = agent_context(*task.spec, *task.assignment.run->config, state_of(self).meter, task.messages.size());
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
  task.repairs = history.repairs;
  const auto& tools = state_of(self).peers->tools->prepared;
  auto loops = policy::rebuild_loops(recorded.events, task.assignment.attempt, policy::rules_of(task.spec->loop), [&](const std::string& name) {
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
          finish(self, task_result{.status = task_status::error, .reason = "journal_unavailable", .error = recorded.failure.text(), .fatal = true});
        else
          restore(self, recorded);
      },
      [self, generation = state_of(self).generation](const caf::error& reason) {
        if (state_of(self).generation == generation && state_of(self).task)
          finish(self, task_result{.status = task_status::error, .reason = "journal_unavailable", .error = text_of(reason), .fatal = true});
      });
}

caf::result<task_result> begin(agent_self self, task_assignment& assignment) {
  auto& state = state_of(self);
  const auto& agents = assignment.run->config->agents;
  const auto spec = agents.find(assignment.agent);
  if (state.task || spec == agents.end())
    return task_result{.task = assignment.task, .attempt = assignment.attempt, .status = task_status::error, .reason = "internal",
                       .error = state.task ? "member " + state.member + " is at work" : "no agent named \"" + assignment.agent + "\""};
  auto promise = self->make_response_promise<task_result>();
  state.task = std::make_unique<work>();
  auto& task = *state.task;
  ++state.generation;
  task.assignment = std::move(assignment);
  task.asker = promise;
  task.spec = &spec->second;
  prepare(self, task.assignment.run->config, *task.spec);
  task.quota = std::make_shared<policy::tool_quota>();
  begin_conversation(self);
  task.deadline = task.assignment.run->deadline;
  const auto now = self->clock().now();
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

agent_actor::behavior_type agent(agent_self self, std::string member, caf::actor_addr supervisor, std::shared_ptr<const agent_peers> peers) {
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
      if (state.task && state.task->assignment.run->run_id == which.run_id && (which.task.empty() || state.task->assignment.task == which.task))
        begin_ending(self, which.timed_out ? task_status::timeout : task_status::cancelled);
    },
    [self](const deadline_hit&) {
      auto& state = state_of(self);
      state.wake_up_at.reset();
      if (!state.task || !state.task->own_deadline)
        return;
      if (self->clock().now() >= state.task->deadline)
        begin_ending(self, task_status::timeout);
      else
        watch_deadline(self);
    },
    [](const check_ended&) {},
    [self](const ask_again& due) {
      if (due.generation != state_of(self).generation || !state_of(self).task || state_of(self).task->ending)
        return;
      if (due.call)
        start_slot(self, *due.call, false, true);
      else
        next_step(self);
    },
  };
}

} // namespace

agent_actor spawn_agent(caf::actor_system& system, std::string member, const supervisor_actor& supervisor, std::shared_ptr<const agent_peers> peers) {
  return system.spawn(agent, std::move(member), supervisor.address(), std::move(peers));
}

} // namespace troupe::actors
