#include "troupe/policy/replay.hpp"

#include "troupe/policy/context_fit.hpp"

#include <algorithm>
#include <charconv>
#include <limits>

#include "troupe/policy/history.hpp"
#include "troupe/policy/paused_time.hpp"

namespace troupe::policy {

namespace {

std::int64_t plus(std::int64_t a, std::int64_t b) {
  std::int64_t sum = 0;
  return __builtin_add_overflow(a, b, &sum) ? std::numeric_limits<std::int64_t>::max() : sum;
}

message_ptr make_message(role from, std::string text, std::string call_id = {}, bool is_error = false) {
  chat_message made;
  made.from = from;
  made.text = std::move(text);
  made.tool_call_id = std::move(call_id);
  made.is_error = is_error;
  return std::make_shared<const chat_message>(std::move(made));
}

/// The tool that a call turned to last is the last in the list.
void note_attempt(std::vector<tried_tool>& tried, const std::string& tool, std::int64_t attempt, const std::string& error) {
  if (tried.empty() || tried.back().tool != tool) {
    std::erase_if(tried, [&](const tried_tool& each) { return each.tool == tool; });
    tried.push_back({tool, 0, {}});
  }
  tried.back().attempts = attempt;
  tried.back().error = error;
}

/// Nobody goes on with them; they were made all the same.
void drop_open_calls(task_history& h) {
  for (const auto& call : h.open_calls)
    for (const auto& each : call.tried)
      ++h.calls_of[each.tool];
  h.open_calls.clear();
}

/// The conversation goes on from a text that stands for all that was.
void begin_anew(task_history& h, const std::string& text) {
  h.messages = {make_message(role::user, text)};
  h.last_input_tokens = 0;
  h.results.clear();
  h.injected.clear();
  h.unresolved.clear();
  drop_open_calls(h);
}

} // namespace

// --- paths ---------------------------------------------------------------------------------------------------------

bool is_within(std::string_view path, std::string_view above) {
  if (!path.starts_with(above))
    return false;
  return above.empty() || path.size() == above.size() || path[above.size()] == '/' || path[above.size()] == '[' || path[above.size()] == '('
         || path[above.size()] == '>';
}

std::string_view parent_path(std::string_view path) {
  const auto cut = path.find_last_of("/[(>");
  return cut == std::string_view::npos ? std::string_view() : path.substr(0, cut);
}

std::optional<std::int64_t> element_index(std::string_view path) {
  const auto open = path.find_last_of("/[(>");
  if (open == std::string_view::npos || path[open] != '[' || path.back() != ']')
    return std::nullopt;
  const auto digits = path.substr(open + 1, path.size() - open - 2);
  std::int64_t index = 0;
  const auto [end, problem] = std::from_chars(digits.data(), digits.data() + digits.size(), index);
  if (problem != std::errc() || end != digits.data() + digits.size() || digits.empty() || index < 0)
    return std::nullopt;
  return index;
}

// --- one task ------------------------------------------------------------------------------------------------------

conversation task_history::assembled() const {
  auto all = messages;
  for (const auto& result : results)
    if (result)
      all.push_back(result);
  all.append(injected.begin(), injected.end());
  return all;
}

void task_fold::begin_attempt(std::int64_t attempt) {
  auto& h = history_;
  h.attempt = attempt;
  h.messages.clear();
  h.results.clear();
  h.injected.clear();
  h.unresolved.clear();
  drop_open_calls(h);
  h.steps = 0;
  h.last_step_id.clear();
  h.last_step_answered = false;
  h.last_finish = finish_reason::stop;
  h.repairs = 0;
  h.finished.reset();
  h.summaries = 0;
  h.last_summary_step = 0;
  h.link = 0;
  h.learned_window = 0;
  h.last_input_tokens = 0;
}

/// Moves the last exchange into the messages before the next assistant message. Each call has exactly one result there (SEMANTICS 1): one
/// that was never recorded is said to be missing.
void task_fold::close_exchange() {
  auto& h = history_;
  if (!h.results.empty()) {
    const auto calls = h.messages.back(); // kept alive while the list grows
    h.messages = with_refusals_cut(h.messages, refused_);
    for (std::size_t i = 0; i < h.results.size(); ++i)
      h.messages.push_back(h.results[i] ? std::move(h.results[i])
                                        : make_message(role::tool, "No result of this call was recorded.", calls->tool_calls[i].id, true));
  }
  h.messages.append(h.injected.begin(), h.injected.end());
  h.results.clear();
  h.injected.clear();
  h.unresolved.clear();
  drop_open_calls(h); // ids may repeat from step to step
  refused_.clear();
}

void task_fold::take_response(const llm_responded& body) {
  auto& h = history_;
  // Of two answers to one step (a hedged request) the first one is part of the conversation; both were paid for.
  if (!body.message || (h.last_step_answered && h.last_step_id == body.step_id))
    return;
  // A summary takes its place in the conversation with the cut that follows it.
  if (is_summary_step(body.step_id))
    return;
  close_exchange();
  h.messages.push_back(body.message);
  h.results.resize(body.message->tool_calls.size());
  refused_.assign(body.message->tool_calls.size(), false);
  h.unresolved = body.message->tool_calls;
  h.last_step_id = body.step_id;
  h.last_step_answered = true;
  h.last_finish = body.finish;
  h.last_input_tokens = body.estimated ? 0 : body.usage.input;
  ++h.steps;
}

/// It was made when all results were there, for the request that was to follow.
void task_fold::take_cut(const context_cut& body) {
  auto& h = history_;
  close_exchange();
  h.messages = apply_cut(h.messages, body);
  context_state state{h.link, h.learned_window, h.summaries, h.last_summary_step};
  policy::take_cut(state, body);
  h.link = state.link;
  h.learned_window = state.learned_window;
  h.summaries = state.summaries;
  h.last_summary_step = state.last_summary_step;
  h.last_input_tokens = 0; // of the conversation as it was
}

void task_fold::take_result(const tool_finished& body) {
  auto& h = history_;
  const auto call =
      std::find_if(h.open_calls.begin(), h.open_calls.end(), [&](const open_call& each) { return each.call_id == body.call_id; });
  if (call != h.open_calls.end()) {
    for (const auto& each : call->tried)
      ++h.calls_of[each.tool];
    h.open_calls.erase(call);
  }
  const auto open =
      std::find_if(h.unresolved.begin(), h.unresolved.end(), [&](const tool_call& asked) { return asked.id == body.call_id; });
  if (open == h.unresolved.end())
    return; // nobody asked, or it was answered before
  h.unresolved.erase(open);
  const auto& calls = h.messages.back()->tool_calls;
  for (std::size_t i = 0; i < calls.size(); ++i)
    if (calls[i].id == body.call_id && !h.results[i]) {
      h.results[i] = make_message(role::tool, body.text, body.call_id, body.status != tool_status::ok);
      refused_[i] = body.status == tool_status::not_started;
      return;
    }
}

void task_fold::apply(const event& e) {
  auto& h = history_;
  if (h.task.empty())
    h.task = e.task;
  else if (e.task != h.task)
    return;
  if (!e.agent.empty())
    h.agent = e.agent;
  const auto answered = [&](const std::string& step_id, std::int64_t request) {
    std::erase_if(h.unanswered, [&](const auto& r) { return r.step_id == step_id && r.request == request; });
  };
  const auto call_of = [&](const std::string& call_id) {
    return std::find_if(h.open_calls.begin(), h.open_calls.end(), [&](const open_call& call) { return call.call_id == call_id; });
  };

  if (const auto* b = std::get_if<task_started>(&e.body)) {
    // The same attempt once more: it was taken up again, and goes on.
    auto within = b->within.value_or(std::string());
    if (b->attempt != h.attempt || within != h.within || h.finished)
      begin_attempt(b->attempt);
    h.started = true;
    h.within = std::move(within);
    h.instruction = b->instruction;
    h.items = b->items;
  } else if (const auto* retry = std::get_if<task_retried>(&e.body)) {
    begin_attempt(retry->next_attempt);
  } else if (const auto* end = std::get_if<task_finished>(&e.body)) {
    h.finished = *end;
  } else if (const auto* asked = std::get_if<llm_requested>(&e.body)) {
    h.unanswered.push_back({e.task, e.agent, asked->step_id, asked->request, asked->provider, asked->model, asked->worst_case, e.time_us});
    if (h.last_step_id != asked->step_id) {
      h.last_step_id = asked->step_id;
      h.last_step_answered = false;
    }
  } else if (const auto* response = std::get_if<llm_responded>(&e.body)) {
    answered(response->step_id, response->request);
    take_response(*response);
  } else if (const auto* failure = std::get_if<llm_failed>(&e.body)) {
    answered(failure->step_id, failure->request);
  } else if (const auto* unknown = std::get_if<outcome_unknown>(&e.body)) {
    std::erase_if(h.unanswered, [&](const auto& r) { return r.id() == unknown->id; });
    if (const auto call = call_of(unknown->id); call != h.open_calls.end())
      call->told = true;
  } else if (const auto* start = std::get_if<tool_started>(&e.body)) {
    auto call = call_of(start->call_id);
    if (call == h.open_calls.end())
      call = h.open_calls.emplace(h.open_calls.end());
    auto tried = std::move(call->tried);
    note_attempt(tried, start->tool, start->attempt, {});
    *call = {start->call_id, start->tool, start->arguments, start->effect, start->attempt, start->instead_of,
             std::nullopt,   false,       std::move(tried)};
  } else if (const auto* problem = std::get_if<tool_failed>(&e.body)) {
    // It may be of another tool than the last start's: one that the call turned to, and that could not be started.
    if (const auto call = call_of(problem->call_id); call != h.open_calls.end()) {
      note_attempt(call->tried, problem->tool, problem->attempt, problem->error);
      call->tool = problem->tool;
      call->attempt = problem->attempt;
      call->failure = *problem;
    }
  } else if (const auto* result = std::get_if<tool_finished>(&e.body)) {
    take_result(*result);
  } else if (const auto* crash = std::get_if<agent_crashed>(&e.body)) {
    h.crashes = std::max(h.crashes + 1, crash->crashes);
  } else if (const auto* violation = std::get_if<contract_violated>(&e.body)) {
    h.repairs = std::max(h.repairs, violation->repair);
  } else if (const auto* injection = std::get_if<message_injected>(&e.body)) {
    auto message = make_message(role::user, injection->text);
    if (h.results.empty())
      h.messages.push_back(std::move(message));
    else
      h.injected.push_back(std::move(message));
  } else if (const auto* cut = std::get_if<context_cut>(&e.body)) {
    take_cut(*cut);
  } else if (const auto* loop = std::get_if<loop_detected>(&e.body); loop && loop->rung == loop_rung::restarted) {
    begin_anew(h, loop->text);
  } else if (const auto* handed = std::get_if<handed_off>(&e.body)) {
    begin_anew(h, handed->text);
    h.agent = handed->to;
    h.repairs = 0; // another agent, another contract and another model
    h.link = 0;
    h.learned_window = 0;
  }
}

task_history rebuild(const std::vector<event_ptr>& events_of_task) {
  task_fold fold;
  for (const auto& e : events_of_task)
    fold.apply(*e);
  return std::move(fold).take();
}

call_record record_of(const std::vector<event_ptr>& events_of_task, const std::string& call_id) {
  call_record found;
  task_fold fold;
  for (const auto& e : events_of_task) {
    fold.apply(*e);
    if (std::holds_alternative<llm_responded>(e->body))
      found.end.reset(); // ids may repeat from step to step
    else if (const auto* end = std::get_if<tool_finished>(&e->body); end != nullptr && end->call_id == call_id)
      found.end = *end;
  }
  for (const auto& call : fold.history().open_calls)
    if (call.call_id == call_id && !found.end)
      found.open = call;
  return found;
}

std::unordered_map<std::string, std::vector<event_ptr>> by_task(const std::vector<event_ptr>& events) {
  std::unordered_map<std::string, std::vector<event_ptr>> parts;
  for (const auto& e : events)
    parts[e->task].push_back(e);
  return parts;
}

// --- a run ---------------------------------------------------------------------------------------------------------

namespace {

void add(spend& to, spend amount) {
  to.money.micro = plus(to.money.micro, std::max<std::int64_t>(amount.money.micro, 0));
  to.steps = plus(to.steps, amount.steps);
}

void charge_to(run_history& h, std::string_view task, const std::string& agent, spend amount) {
  add(h.spent, amount);
  for (; !task.empty(); task = parent_path(task))
    add(h.spent_by_task[std::string(task)], amount);
  if (!agent.empty())
    add(h.spent_by_agent[agent], amount);
}

} // namespace

void replay_fold::charge(const event& e, spend amount) {
  charge_to(history_, e.task, e.agent, amount);
}

void replay_fold::apply(const event& e) {
  auto& h = history_;
  if (h.last_seq == 0) {
    h.run_id = e.run_id;
    owner_since_us_ = e.time_us;
  }
  h.last_seq = e.seq;
  h.last_us = std::max(h.last_us, e.time_us);
  const bool bookkeeping = std::holds_alternative<run_resumed>(e.body) || std::holds_alternative<run_interrupted>(e.body)
                           || std::holds_alternative<outcome_unknown>(e.body);
  if (!bookkeeping)
    h.idle_resumes = 0;
  const auto answered = [&](const std::string& step_id, std::int64_t request) {
    std::erase_if(h.unanswered, [&](const auto& r) { return r.task == e.task && r.step_id == step_id && r.request == request; });
  };

  if (const auto* start = std::get_if<run_started>(&e.body)) {
    if (e.task.empty()) {
      h.started = true;
      h.start = *start;
      h.budget = start->budget;
      owner_since_us_ = e.time_us;
    }
  } else if (const auto* resumed = std::get_if<run_resumed>(&e.body)) {
    owned_before_ms_ = std::max<std::int64_t>(resumed->owned_before_ms, 0);
    owner_since_us_ = e.time_us;
    h.owned_ms = owned_before_ms_;
    h.ended = false;
    h.end = {};
    h.interrupted = false;
    ++h.idle_resumes;
    if (h.budget.money)
      h.budget.money->micro = plus(h.budget.money->micro, resumed->added_money.micro);
    if (h.budget.steps)
      h.budget.steps = plus(*h.budget.steps, resumed->added_steps);
    if (h.budget.time)
      h.budget.time = std::chrono::milliseconds(plus(h.budget.time->count(), resumed->added_time_ms));
  } else if (std::holds_alternative<run_interrupted>(e.body)) {
    h.interrupted = true;
  } else if (const auto* end = std::get_if<run_finished>(&e.body)) {
    if (e.task.empty()) {
      h.ended = true;
      h.end = *end;
    }
  } else if (const auto* begun = std::get_if<task_started>(&e.body)) {
    auto& task = h.tasks[e.task];
    if (!e.agent.empty())
      task.agent = e.agent;
    task.started = true;
    task.finished = false;
    task.attempt = begun->attempt;
    task.items = begun->items;
    if (const auto index = element_index(e.task)) {
      auto& started = h.tasks[std::string(parent_path(e.task))].items_started;
      const auto at = std::lower_bound(started.begin(), started.end(), *index);
      if (at == started.end() || *at != *index)
        started.insert(at, *index);
    }
  } else if (const auto* retried = std::get_if<task_retried>(&e.body)) {
    auto& task = h.tasks[e.task];
    task.attempt = retried->next_attempt;
    task.finished = false;
  } else if (const auto* done = std::get_if<task_finished>(&e.body)) {
    auto& task = h.tasks[e.task];
    if (!e.agent.empty())
      task.agent = e.agent;
    task.finished = true;
    task.attempt = done->attempt;
    task.status = done->status;
    task.reason = done->reason;
    task.error = done->error;
    task.output = done->output;
  } else if (const auto* crash = std::get_if<agent_crashed>(&e.body)) {
    auto& task = h.tasks[e.task];
    task.crashes = std::max(task.crashes + 1, crash->crashes);
  } else if (const auto* handed = std::get_if<handed_off>(&e.body)) {
    h.tasks[e.task].agent = handed->to;
  } else if (const auto* asked = std::get_if<llm_requested>(&e.body)) {
    h.unanswered.push_back({e.task, e.agent, asked->step_id, asked->request, asked->provider, asked->model, asked->worst_case, e.time_us});
  } else if (const auto* response = std::get_if<llm_responded>(&e.body)) {
    answered(response->step_id, response->request);
    charge(e, {response->cost, 1});
  } else if (const auto* failure = std::get_if<llm_failed>(&e.body)) {
    answered(failure->step_id, failure->request);
    charge(e, {failure->charged, failure->counted ? 1 : 0});
  } else if (const auto* unknown = std::get_if<outcome_unknown>(&e.body)) {
    const auto request =
        std::find_if(h.unanswered.begin(), h.unanswered.end(), [&](const auto& r) { return r.task == e.task && r.id() == unknown->id; });
    const bool was_request = request != h.unanswered.end();
    if (was_request) // charged to whoever asked, whoever records it
      charge_to(h, request->task, request->agent, {unknown->charged, 1});
    else
      charge(e, {unknown->charged, 0});
    if (was_request)
      h.unanswered.erase(request);
  }

  std::int64_t since_us = 0;
  if (__builtin_sub_overflow(e.time_us, owner_since_us_, &since_us))
    since_us = 0;
  h.owned_ms = std::max(h.owned_ms, plus(owned_before_ms_, std::max<std::int64_t>(since_us, 0) / 1000));
}

run_history replay_fold::history() const {
  run_history out = history_;
  for (const auto& request : out.unanswered)
    charge_to(out, request.task, request.agent, {request.worst_case, 1});
  return out;
}

run_history rebuild_run(const std::vector<event_ptr>& events) {
  replay_fold fold;
  paused_time paused;
  for (const auto& e : events) {
    fold.apply(*e);
    paused.apply(*e);
  }
  auto history = fold.history();
  history.owned_ms -= std::min(history.owned_ms, paused.until(history.last_us) / 1000);
  return history;
}

} // namespace troupe::policy
