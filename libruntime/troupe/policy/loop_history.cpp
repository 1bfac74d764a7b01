#include "troupe/policy/loop_history.hpp"

#include <algorithm>

#include "troupe/policy/context_fit.hpp"

namespace troupe::policy {

observed_call observe_call(const tool_call& asked, const known_tool& tool) {
  static const std::vector<std::string> none;
  const auto* spec = tool.spec;
  return {call_sign(asked.name, asked.arguments, spec ? spec->loop_ignore : none), tool_sign(asked.name),
          spec && spec->effect == effect::none, spec && spec->polling, tool.idle};
}

observed_result observe_result(const std::string& text, tool_status status) {
  if (status == tool_status::cancelled)
    return {}; // nobody knows what it would have brought
  return {outcome_sign(text), status == tool_status::ok, status != tool_status::not_started, status == tool_status::ok && is_hollow(text)};
}

std::uint64_t reply_sign(const std::vector<std::string>& violations) {
  std::string all;
  for (const auto& each : violations)
    all += each + "\n";
  return outcome_sign(all);
}

loop_rules rules_of(const loop_spec& spec) {
  loop_rules rules;
  rules.repeats = spec.repeats;
  rules.window = spec.window;
  rules.human = spec.human;
  return rules;
}

namespace {

class fold {
public:
  fold(loop_rules rules, const tool_lookup& tool) : rules_(rules), tool_(tool) { begin_attempt(1); }

  void apply(const event& e) {
    if (const auto* started = std::get_if<task_started>(&e.body)) {
      if (auto within = started->within.value_or(std::string()); started->attempt != attempt_ || within != within_) {
        within_ = std::move(within);
        begin_attempt(started->attempt);
      }
    } else if (const auto* retried = std::get_if<task_retried>(&e.body)) {
      begin_attempt(retried->next_attempt);
    } else if (const auto* response = std::get_if<llm_responded>(&e.body)) {
      if (response->message && response->step_id != last_step_id_ && !is_summary_step(response->step_id))
        take(*response);
    } else if (const auto* finished = std::get_if<tool_finished>(&e.body)) {
      if (last_)
        for (std::size_t i = 0; i < last_->tool_calls.size(); ++i)
          if (last_->tool_calls[i].id == finished->call_id && open_.results[i].outcome == 0)
            open_.results[i] = observe_result(finished->text, finished->tool.empty() ? tool_status::not_started : finished->status);
    } else if (const auto* broken = std::get_if<contract_violated>(&e.body)) {
      if (last_ && last_->tool_calls.empty()) {
        open_.said = sketch_of(last_->text);
        open_.reply = reply_sign(broken->violations);
        close();
      }
    } else if (std::holds_alternative<context_cut>(e.body)) {
      close(); // the exchange before was judged: the next request was about to be made
    } else if (const auto* found = std::get_if<loop_detected>(&e.body)) {
      take(*found);
    } else if (const auto* asked = std::get_if<approval_requested>(&e.body)) {
      if (asked->kind == approval_kind::loop)
        asked_ = asked->id;
    } else if (const auto* decided = std::get_if<approval_decided>(&e.body)) {
      excused_ = excused_ || (decided->id == asked_ && decided->status == approval_status::approved);
    } else if (std::holds_alternative<handed_off>(e.body)) { // another agent: nothing of it was seen so far
      forget();
    }
  }

  loop_history take(std::int64_t attempt) && {
    if (attempt != attempt_)
      begin_attempt(attempt);
    return {std::move(watch_), std::move(open_.results), std::move(taken_)};
  }

private:
  void begin_attempt(std::int64_t attempt) {
    attempt_ = attempt;
    forget();
    steps_ = 0;
    last_step_id_.clear();
  }

  void forget() {
    watch_ = loop_watch(rules_);
    taken_.clear();
    last_.reset();
    open_ = {};
    excused_ = false;
  }

  void take(const llm_responded& response) {
    close();
    last_step_id_ = response.step_id;
    last_ = response.message;
    open_.number = ++steps_;
    for (const auto& asked : last_->tool_calls)
      open_.calls.push_back(observe_call(asked, tool_(asked.name)));
    open_.results.resize(open_.calls.size());
  }

  void take(const loop_detected& found) {
    if (!last_ || found.rung == loop_rung::none)
      return;
    const auto& calls = last_->tool_calls;
    const auto at = std::find_if(calls.begin(), calls.end(), [&](const tool_call& asked) { return asked.id == found.call_id; });
    if (at == calls.end())
      return;
    const auto asked = open_.calls[static_cast<std::size_t>(at - calls.begin())];
    if (found.rung == loop_rung::tool_taken)
      taken_.push_back(found.tool);
    if (found.rung == loop_rung::restarted)
      close(); // its history ends here; what came of other calls is not seen by anybody
    watch_.recorded(found.rung, found.step, asked);
  }

  void close() {
    if (open_.number != 0)
      watch_.replay(open_);
    if (excused_) // not before: until the next request the exchange is judged again, to the same end
      forget();
    open_ = {};
    last_.reset();
  }

  loop_rules rules_;
  const tool_lookup& tool_;
  loop_watch watch_;
  std::vector<std::string> taken_;
  std::int64_t attempt_ = 1;
  std::int64_t steps_ = 0;
  std::string within_; // the attempts of the tasks above
  std::string last_step_id_;
  message_ptr last_;
  loop_step open_;
  std::string asked_;    ///< the request about the last loop
  bool excused_ = false; ///< a human lets it go on
};

} // namespace

loop_history rebuild_loops(const std::vector<event_ptr>& events_of_task, std::int64_t attempt, loop_rules rules, const tool_lookup& tool) {
  fold all(rules, tool);
  for (const auto& e : events_of_task)
    all.apply(*e);
  return std::move(all).take(attempt);
}

} // namespace troupe::policy
