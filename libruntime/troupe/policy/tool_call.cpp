#include "troupe/policy/tool_call.hpp"

#include <algorithm>
#include <utility>

#include "troupe/model/described.hpp"
#include "troupe/policy/backoff.hpp"

namespace troupe::policy {

using std::chrono::milliseconds;

std::shared_ptr<circuit_breaker> tool_breakers::of(const std::string& tool) {
  auto& breaker = breakers_[tool];
  if (!breaker)
    breaker = std::make_shared<circuit_breaker>(breaker_spec{});
  return breaker;
}

bool tool_quota::has(const tool_spec& tool) const {
  if (tool.max_calls <= 0)
    return true;
  const std::lock_guard guard(mutex_);
  const auto found = calls_.find(tool.name);
  return found == calls_.end() || found->second < tool.max_calls;
}

bool tool_quota::take(const tool_spec& tool) {
  if (tool.max_calls <= 0)
    return true; // nobody asks
  const std::lock_guard guard(mutex_);
  auto& calls = calls_[tool.name];
  if (calls >= tool.max_calls)
    return false;
  ++calls;
  return true;
}

namespace {

/// How much may have happened.
int severity(tool_status status) {
  switch (status) {
  case tool_status::in_doubt:
    return 3;
  case tool_status::timed_out:
    return 2;
  case tool_status::failed:
    return 1;
  default:
    return 0;
  }
}

} // namespace

tool_attempts::tool_attempts(const std::map<std::string, tool_spec>& tools, tool_call_facts facts, tool_breakers& breakers,
                             std::shared_ptr<tool_quota> quota)
    : tools_(tools), facts_(std::move(facts)), breakers_(breakers), quota_(std::move(quota)) {}

std::optional<milliseconds> tool_attempts::time_left(time_point now) const {
  return facts_.deadline ? std::optional(std::chrono::floor<milliseconds>(*facts_.deadline - now)) : std::nullopt;
}

std::optional<milliseconds> tool_attempts::time_to_wait(time_point now) const {
  const auto left = time_left(now);
  if (!facts_.stands)
    return left;
  const auto stands = std::chrono::floor<milliseconds>(facts_.stands(now) - now);
  return left ? std::min(*left, stands) : stands;
}

// --- what comes in -------------------------------------------------------------------------------------------------

tool_step tool_attempts::start(time_point now) {
  tool_step step;
  if (phase_ != phase::fresh)
    return step;
  const auto asked = tools_.find(facts_.tool);
  if (asked == tools_.end()) {
    report(step, tool_status::not_started, unknown_tool_text(facts_.tool, {}, facts_.agent_tools));
  } else if (quota_ && !quota_->has(asked->second)) { // a limit that the user set, not a failure: no alternative
    report(step, tool_status::not_started, max_calls_text(asked->second));
  } else if (turn_to(step, asked->second, now) || turn_to_alternative(step, now)) {
    run(step, now);
  } else {
    report_failure(step, tool_status::not_started);
  }
  return step;
}

tool_step tool_attempts::go_on(const open_call& recorded, time_point now) {
  tool_step step;
  if (phase_ != phase::fresh)
    return step;
  auto what = decide_recovery(recorded);
  if (what == recovery::in_doubt && facts_.doubt == doubt_rule::ask) { // it will be begun or told later: it takes no place of a limit here
    in_doubt(step, recorded.tool, recorded.attempt);
    return step;
  }
  tried_ = recorded.tried;
  seen_.insert(facts_.tool);
  for (const auto& each : tried_) {
    seen_.insert(each.tool);
    if (each.attempts > 0)
      ran_ = each.tool;
    if (const auto spec = tools_.find(each.tool); quota_ && spec != tools_.end())
      (void) quota_->take(spec->second); // it was called, whatever others have taken meanwhile
  }
  const bool again = what == recovery::in_doubt && facts_.doubt == doubt_rule::repeat;
  if (what == recovery::in_doubt && !again) {
    in_doubt(step, recorded.tool, recorded.attempt);
    return step;
  }
  if (again) {
    what = recovery::repeat;
    step.events.emplace_back(outcome_unknown{facts_.call_id, usd{}}); // what became of the first stays unknown
  }
  const auto at = tools_.find(recorded.tool);
  if (at == tools_.end()) {
    report(step, tool_status::not_started, unknown_tool_text(recorded.tool, {}, facts_.agent_tools));
    return step;
  }
  tool_ = &at->second;
  breaker_ = breakers_.of(tool_->name);
  if (again)
    note_attempt(tool_status::in_doubt);
  else if (what == recovery::repeat ? tool_->effect != effect::once : !ran_.empty()) // of `once` only what never ran is repeated
    note_attempt(tool_status::failed);
  switch (what) {
  case recovery::repeat:
    // An attempt without an outcome is made once more; after one that failed the next is due, and its wait, of which nobody knows how
    // much is over, begins anew: a Retry-After is a lower bound.
    attempt_ = recorded.failure || again ? recorded.attempt : recorded.attempt - 1;
    phase_ = phase::waiting;
    wait_until_ = now + milliseconds(recorded.failure ? recorded.failure->wait_ms : 0);
    go_on_waiting(step, now);
    return step;
  case recovery::alternative:
    if (turn_to_alternative(step, now)) {
      run(step, now);
      return step;
    }
    break;
  default:
    break;
  }
  report_failure(step, tool_status::failed);
  return step;
}

tool_step tool_attempts::finished(const tool_outcome& outcome, time_point now, double random) {
  tool_step step;
  if (phase_ != phase::running)
    return step;
  const auto status = outcome.status;
  const bool short_of_time = status == tool_status::timed_out && timeout_ < tool_->timeout; // the task's fault, not the tool's
  if (status == tool_status::cancelled || short_of_time)
    permit_.abandoned();
  else if (status == tool_status::ok || status == tool_status::failed)
    note_breaker(step, permit_.succeeded(now));
  else
    note_breaker(step, permit_.failed(now));

  if (status == tool_status::ok) {
    report(step, status, outcome.output);
    return step;
  }
  if (status != tool_status::not_started)
    ran_ = tool_->name;
  tried_.back().attempts = attempt_;
  tried_.back().error = outcome.error.empty() ? name_of(status) : outcome.error;
  partial_output_ = outcome.output;
  const bool may_repeat = tool_->effect != effect::once || status == tool_status::not_started;
  const bool out_of_reach = tool_->kind == tool_kind::http || tool_->kind == tool_kind::mcp; // a program of ours that is late is killed
  if (tool_->effect != effect::none && severity(worst_of_tool_) > severity(status) && status != tool_status::cancelled)
    tried_.back().error += "; an earlier attempt may have taken effect";
  note_attempt(status);
  if (status == tool_status::timed_out && !may_repeat)
    tried_.back().error += "; it may have taken effect all the same";
  if (!may_repeat && (status == tool_status::in_doubt || (status == tool_status::timed_out && out_of_reach))) {
    in_doubt(step, tool_->name, attempt_);
    return step;
  }
  const auto asked = outcome.retry_after_ms >= 0 ? std::optional(milliseconds(outcome.retry_after_ms)) : std::nullopt;
  after_failure(step, status, may_repeat && !outcome.permanent, asked, now, random);
  return step;
}

tool_step tool_attempts::refused(const std::string& violations, time_point now) {
  tool_step step;
  if (phase_ != phase::running)
    return step;
  permit_.abandoned();
  if (tool_->name == facts_.tool) {
    report(step, tool_status::not_started, arguments_invalid_text(facts_.tool, {violations}));
    return step;
  }
  tried_.back().error = "it does not take these arguments: " + violations;
  if (!cancelled_ && turn_to_alternative(step, now))
    run(step, now);
  else
    report_failure(step, cancelled_ ? tool_status::cancelled : tool_status::not_started);
  return step;
}

tool_step tool_attempts::tick(time_point now) {
  tool_step step;
  if (phase_ == phase::waiting)
    go_on_waiting(step, now);
  return step;
}

void tool_attempts::go_on_waiting(tool_step& step, time_point now) {
  if (now < wait_until_) {
    step.next = wait_tool{wait_until_};
    return;
  }
  auto admission = breaker_->acquire(now);
  if (admission.permit) {
    permit_ = std::move(admission.permit);
    note_breaker(step, admission.changed);
    run(step, now);
  } else if (turn_to_alternative(step, now)) { // other calls have opened its breaker meanwhile
    run(step, now);
  } else {
    report_failure(step, tool_status::failed);
  }
}

tool_step tool_attempts::cancel(time_point) {
  tool_step step;
  if (phase_ == phase::done || cancelled_)
    return step;
  cancelled_ = true;
  if (phase_ == phase::running)
    step.next = abort_tool{};
  else
    report_failure(step, tool_status::cancelled);
  return step;
}

// --- decisions -----------------------------------------------------------------------------------------------------

recovery decide_recovery(const open_call& recorded) {
  if (!recorded.failure)
    return recorded.effect == effect::once ? recovery::in_doubt : recovery::repeat;
  const auto& next = recorded.failure->next;
  return next == "retry" ? recovery::repeat : next == "alternative" ? recovery::alternative : recovery::report;
}

bool tool_attempts::turn_to(tool_step& step, const tool_spec& tool, time_point now) {
  tool_ = &tool;
  attempt_ = 0;
  worst_of_tool_ = tool_status::not_started;
  seen_.insert(tool.name);
  tried_.push_back({tool.name, 0, {}});
  permit_ = {};
  breaker_ = breakers_.of(tool.name);
  if (!breaker_->admits(now)) {
    const auto wait = std::chrono::ceil<std::chrono::seconds>(breaker_->next_probe(now) - now);
    tried_.back().error = "it gave no answer several times in a row and is not called for " + std::to_string(wait.count()) + " s";
    return false;
  }
  if (quota_ && !quota_->take(tool)) {
    tried_.back().error = "its limit of " + std::to_string(tool.max_calls) + " calls a task is used up";
    return false;
  }
  auto admission = breaker_->acquire(now);
  permit_ = std::move(admission.permit);
  note_breaker(step, admission.changed);
  return true;
}

std::vector<const tool_spec*> chain_of(const std::map<std::string, tool_spec>& tools, const std::string& tool) {
  std::vector<const tool_spec*> chain;
  std::set<std::string_view> seen;
  for (auto next = tools.find(tool); next != tools.end() && seen.insert(next->first).second; next = tools.find(next->second.alternative))
    chain.push_back(&next->second);
  return chain;
}

bool tool_attempts::turn_to_alternative(tool_step& step, time_point now) {
  for (;;) {
    const auto next = tools_.find(tool_->alternative);
    if (next == tools_.end() || seen_.count(next->first) > 0)
      return false;
    if (turn_to(step, next->second, now))
      return true;
  }
}

void tool_attempts::run(tool_step& step, time_point now) {
  timeout_ = tool_->timeout;
  if (const auto left = time_left(now)) {
    if (left->count() <= 0) {
      permit_ = {};
      tried_.back().error = "no time is left for it";
      report_failure(step, tool_status::timed_out);
      return;
    }
    timeout_ = std::min(timeout_, *left);
  }
  phase_ = phase::running;
  ++attempt_;
  step.next = run_tool{tool_, attempt_, timeout_, tool_->name == facts_.tool ? std::string() : facts_.tool};
}

void tool_attempts::after_failure(tool_step& step, tool_status status, bool may_repeat, std::optional<milliseconds> retry_after,
                                  time_point now, double random) {
  tool_failed event{facts_.call_id, tool_->name, attempt_, tried_.back().error, "report", 0};
  const auto record_at = static_cast<std::ptrdiff_t>(step.events.size());
  const auto record = [&] { step.events.insert(step.events.begin() + record_at, std::move(event)); };
  if (status == tool_status::cancelled || cancelled_) {
    record();
    report_failure(step, tool_status::cancelled);
    return;
  }
  if (may_repeat && attempt_ <= tool_->retries && breaker_->admits(now))
    if (const auto wait = retry_wait(facts_.backoff, attempt_ - 1, random, retry_after, time_to_wait(now))) {
      event.next = "retry";
      event.wait_ms = wait->count();
      record();
      phase_ = phase::waiting;
      wait_until_ = now + *wait;
      step.next = wait_tool{wait_until_};
      return;
    }
  const auto left = time_left(now);
  if ((!left || left->count() > 0) && turn_to_alternative(step, now)) {
    event.next = "alternative";
    record();
    run(step, now);
    return;
  }
  record();
  // What has no effect is never in doubt: it gave no result, and that is all.
  report_failure(step, status == tool_status::in_doubt && tool_->effect == effect::none ? tool_status::failed : status);
}

void tool_attempts::report(tool_step& step, tool_status status, std::string text, bool in_doubt) {
  phase_ = phase::done;
  if (status == tool_status::ok)
    ran_ = tool_->name;
  step.next = report_tool{ran_, status, std::move(text), in_doubt};
}

void tool_attempts::note_attempt(tool_status status) {
  if (status == tool_status::in_doubt && tool_->effect == effect::none)
    status = tool_status::failed; // it gave no result, and that is all
  const auto raise = [&](tool_status& worst) { worst = severity(status) > severity(worst) ? status : worst; };
  raise(worst_);
  raise(worst_of_tool_);
  if (tool_->effect != effect::none)
    raise(worst_with_effect_);
}

tool_status tool_attempts::worst_of(tool_status last) const {
  if (last == tool_status::cancelled)
    return last;
  const auto worst = last == tool_status::not_started ? worst_ : worst_with_effect_;
  return severity(worst) > severity(last) ? worst : last;
}

void tool_attempts::report_failure(tool_step& step, tool_status status) {
  status = worst_of(status);
  report(step, status, tool_failure_text(facts_.tool, status, tried_, partial_output_, facts_.agent_tools));
}

void tool_attempts::in_doubt(tool_step& step, const std::string& tool, std::int64_t attempt) {
  if (facts_.doubt != doubt_rule::ask || cancelled_) {
    report(step, tool_status::in_doubt, outcome_unknown_text(tool, facts_.doubt_words), true);
    return;
  }
  phase_ = phase::done;
  step.next = tool_in_doubt{tool, attempt};
}

void tool_attempts::note_breaker(tool_step& step, std::optional<breaker_state> changed) const {
  if (changed)
    step.events.push_back(breaker_changed{"", tool_->name, name_of(*changed)});
}

} // namespace troupe::policy
