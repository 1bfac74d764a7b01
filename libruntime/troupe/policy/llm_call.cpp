#include "troupe/policy/llm_call.hpp"

#include <algorithm>
#include <initializer_list>
#include <stdexcept>
#include <utility>

#include "troupe/model/described.hpp"
#include "troupe/policy/backoff.hpp"
#include "troupe/policy/history.hpp"

namespace troupe::policy {

using std::chrono::milliseconds;

namespace {

std::string name_of_link(const chain_link& link) {
  return link.provider + "/" + link.model;
}

/// "12.3 s", rounded up to a tenth.
std::string seconds_text(time_point::duration time) {
  const auto tenths = std::max<std::int64_t>(std::chrono::ceil<milliseconds>(time).count() + 99, 0) / 100;
  return std::to_string(tenths / 10) + "." + std::to_string(tenths % 10) + " s";
}

std::string hint(const llm_attempt& last) {
  const auto& provider = last.provider;
  const auto& model = last.model;
  switch (last.reason) {
  case llm_reason::llm_auth:
    return "Check the API key of provider \"" + provider + "\" (api_key_env).";
  case llm_reason::llm_not_found:
    return "Check the name of model \"" + model + "\" and the base_url of provider \"" + provider + "\".";
  case llm_reason::llm_quota:
    return "Provider \"" + provider + "\" gives no more credit: raise its quota, or add another model to the chain.";
  case llm_reason::llm_rate_limited:
    return "Lower the load, or add a model of another provider to the chain.";
  case llm_reason::llm_connection:
    return "Check the base_url of provider \"" + provider + "\" and the network.";
  case llm_reason::llm_context_length:
    return "Add a model with a larger context to the chain, or shorten the task.";
  case llm_reason::llm_timeout:
    return "Raise the provider's timeout, or lower max_tokens.";
  case llm_reason::llm_truncated:
    return last.http_status == 400 || last.http_status == 422
               ? "Raise max_tokens of the agents that use model \"" + model + "\": it needs them to think, too."
               : std::string();
  case llm_reason::llm_bad_request:
    return last.limit_field ? "Set max_tokens_field of provider \"" + provider + "\" to the other one, max_tokens or max_completion_tokens."
                            : std::string();
  default:
    return {};
  }
}

/// A provider that says itself when to come is not made worse by who comes then: such a retry takes nothing from the retry budget.
bool says_when(const llm_failure& failure, llm_reason reason) {
  return reason == llm_reason::llm_rate_limited && failure.http_status == 429 && is_believed(failure.retry_after);
}

} // namespace

std::shared_ptr<link_state> link_states::of(const chain_link& link, const breaker_spec& breaker) {
  auto& state = links_[{link.provider, link.model}];
  if (!state) {
    auto& retries = providers_[link.provider];
    if (!retries)
      retries = std::make_shared<retry_budget>();
    state = std::make_shared<link_state>(breaker, retries);
  }
  return state;
}

std::vector<std::shared_ptr<link_state>> link_states::of(const model_spec& model) {
  std::vector<std::shared_ptr<link_state>> states;
  states.reserve(model.chain.size());
  for (const auto& link : model.chain)
    states.push_back(of(link, model.breaker));
  return states;
}

std::optional<milliseconds> request_timeout(const deadlines& until, milliseconds provider_timeout, time_point now) {
  auto time = std::max(provider_timeout, request_time_min);
  for (const auto& deadline : {until.agent, until.task, until.run})
    if (deadline)
      time = std::min(time, std::chrono::floor<milliseconds>(*deadline - now));
  return time < request_time_min ? std::nullopt : std::optional(time);
}

llm_call::llm_call(std::shared_ptr<const model_spec> model, llm_call_facts facts, std::vector<std::shared_ptr<link_state>> links)
    : model_(std::move(model)), facts_(std::move(facts)), links_(std::move(links)) {
  if (!model_ || model_->chain.empty() || links_.size() != model_->chain.size() || facts_.links.size() != model_->chain.size()
      || facts_.first_link >= model_->chain.size())
    throw std::invalid_argument("llm_call: a chain of at least one link, with the state and the facts of each, is needed");
  link_ = facts_.first_link;
  requests_ = std::make_shared<std::int64_t>(facts_.requests_before);
}

namespace {

std::optional<milliseconds> least(std::initializer_list<std::optional<time_point>> ends, time_point now) {
  std::optional<milliseconds> left;
  for (const auto& end : ends)
    if (end) {
      const auto rest = std::chrono::floor<milliseconds>(*end - now);
      left = left ? std::min(*left, rest) : rest;
    }
  return left;
}

} // namespace

std::optional<milliseconds> llm_call::time_left(time_point now) const {
  return least({facts_.until.agent, facts_.until.task, facts_.until.run}, now);
}

std::optional<milliseconds> llm_call::time_to_wait(time_point now) const {
  const auto left = time_left(now);
  if (!facts_.as_it_stands)
    return left;
  const auto stands = facts_.as_it_stands(now);
  const auto standing = least({stands.agent, stands.task, stands.run}, now);
  return left && standing ? std::min(*left, *standing) : left ? left : standing;
}

// --- what comes in -------------------------------------------------------------------------------------------------

llm_step llm_call::start(time_point now) {
  llm_step step;
  if (phase_ == phase::fresh)
    proceed(step, now);
  return step;
}

llm_step llm_call::granted(time_point now) {
  llm_step step;
  if (phase_ != phase::reserving) {
    step.settle = spend{};
    return step;
  }
  if (expired(step, now)) {
    step.settle = spend{};
    return step;
  }
  // Another call took what the rate limit had left while this reservation was on its way.
  if (const auto at = shared().pace.earliest(facts_.links[link_].input_estimate, now);
      at > now && may_pace(now) && (facts_.second || worth_waiting(at, now))) {
    step.settle = spend{};
    proceed(step, now);
    return step;
  }
  auto admission = shared().breaker.acquire(now);
  if (!admission.permit) { // it opened while the reservation waited in line
    step.settle = spend{};
    proceed(step, now);
    return step;
  }
  permit_ = std::move(admission.permit);
  note_breaker(step, admission.changed);
  timeout_ = request_timeout(facts_.until, facts_.links[link_].timeout, now).value_or(request_time_min);
  phase_ = phase::in_flight;
  sent_at_ = now;
  paced_until_.reset();
  request_ = ++*requests_;
  ++attempts_here_;
  if (called_.insert(link().provider).second)
    shared().retries->add_call();
  shared().pace.sent(facts_.links[link_].input_estimate, now);
  if (max_tokens_ < facts_.max_tokens)
    step.events.push_back(max_tokens_lowered{facts_.step_id, facts_.max_tokens, max_tokens_});
  if (hedge_note_)
    step.events.push_back(*hedge_note_);
  step.events.push_back(llm_requested{facts_.step_id, request_, link().provider, link().model, worst_case_, max_tokens_});
  step.next = send_to{link_, request_, max_tokens_, timeout_};
  return step;
}

llm_step llm_call::refused(const refusal& why, time_point now) {
  llm_step step;
  if (phase_ != phase::reserving || expired(step, now))
    return step;
  if (facts_.second) { // the first request is paid for: nobody needs to know
    give_up(step, task_status::cancelled, llm_reason::budget_exceeded, why.message);
    return step;
  }
  if (why.kind == limit_kind::money)
    if (const auto lower = lowered_max_tokens(why.left, bounds(max_tokens_), link().price)) {
      reserve(step, *lower);
      return step;
    }
  const bool time_is_over = why.kind == limit_kind::time;
  give_up(step, time_is_over ? task_status::timeout : task_status::budget_exceeded,
          time_is_over ? llm_reason::timeout : llm_reason::budget_exceeded, why.message);
  return step;
}

llm_step llm_call::responded(std::int64_t request, llm_response response, const conversation& sent_messages, time_point now,
                             double random) {
  llm_step step;
  if (phase_ != phase::in_flight || request != request_)
    return step;
  shared().pace.observe(response.limits, now);
  if (is_empty_answer(response.message)) {
    llm_failure empty;
    empty.kind = llm_failure_kind::empty;
    empty.http_status = 200;
    empty.usage = response.usage;
    handle_failure(step, empty, now, random);
    return step;
  }
  auto charge = charge_for(response, facts_.links[link_].input_estimate, bounds(max_tokens_), link().price);
  if (charge.rejected)
    step.events.push_back(usage_rejected{facts_.step_id, *charge.rejected});
  note_breaker(step, permit_.succeeded(now));
  shared().answered.add(std::chrono::duration_cast<milliseconds>(now - sent_at_));
  normalise_calls(response.message, sent_messages, facts_.step_id, facts_.tools);
  step.settle = spend{charge.money, 1};
  llm_responded event{.step_id = facts_.step_id,
                      .request = request,
                      .provider = link().provider,
                      .model = link().model,
                      .message = std::make_shared<const chat_message>(std::move(response.message)),
                      .finish = response.finish,
                      .usage = charge.usage,
                      .cost = charge.money,
                      .estimated = charge.estimated,
                      .duration_us = std::chrono::duration_cast<std::chrono::microseconds>(now - sent_at_).count()};
  step.events.push_back(event);
  step.next = succeeded{link_, std::move(event)};
  phase_ = phase::done;
  return step;
}

llm_step llm_call::failed(std::int64_t request, const llm_failure& failure, time_point now, double random) {
  llm_step step;
  if (phase_ != phase::in_flight || request != request_)
    return step;
  if (failure.limits.remaining_requests || failure.limits.remaining_tokens)
    shared().pace.observe(failure.limits, now);
  else
    shared().pace.unanswered(now);
  handle_failure(step, failure, now, random);
  return step;
}

llm_step llm_call::tick(time_point now) {
  llm_step step;
  if (phase_ == phase::waiting) {
    if (now >= wait_until_)
      proceed(step, now);
    else
      step.next = wait_until{wait_until_};
  } else if (phase_ == phase::reserving && !expired(step, now)) {
    if (const auto left = time_left(now))
      step.next = wait_until{now + *left};
  }
  return step;
}

llm_step llm_call::cancel(time_point) {
  llm_step step;
  if (phase_ == phase::done || cancelled_)
    return step;
  cancelled_ = true;
  if (phase_ == phase::in_flight)
    step.next = abort_transfer{link_, request_};
  else
    give_up(step, task_status::cancelled, llm_reason::cancelled, "The step was cancelled.");
  return step;
}

llm_step llm_call::overtaken(time_point now) {
  if (phase_ == phase::in_flight && !cancelled_) {
    overtaken_ = true;
    shared().answered.add(std::chrono::duration_cast<milliseconds>(now - sent_at_));
  }
  return cancel(now);
}

// --- a second request ----------------------------------------------------------------------------------------------

std::optional<time_point> llm_call::hedge_at() const {
  if (phase_ != phase::in_flight || hedged_ || cancelled_ || facts_.second)
    return std::nullopt;
  const auto delay = hedge_delay(model_->hedge, links_[link_]->answered);
  return delay ? std::optional(sent_at_ + *delay) : std::nullopt;
}

std::unique_ptr<llm_call> llm_call::hedge(time_point now) {
  const auto due = hedge_at();
  if (!due || now < *due)
    return nullptr;
  hedged_ = true;
  const auto may_ask = [&](std::size_t link) {
    auto& state = *links_[link];
    return fits(link) && state.breaker.admits(now) && state.pace.earliest(facts_.links[link].input_estimate, now) <= now;
  };
  auto to = link_ + 1;
  while (to < links_.size() && !may_ask(to))
    ++to;
  if (to == links_.size())
    to = link_;
  if (!may_ask(to) || !links_[to]->retries->take_retry())
    return nullptr;
  auto facts = facts_;
  facts.second = true;
  facts.first_link = to;
  auto made = std::make_unique<llm_call>(model_, std::move(facts), links_);
  made->requests_ = requests_;
  made->called_ = called_;
  made->hedge_note_ = llm_hedged{facts_.step_id, name_of_link(link()), name_of_link(model_->chain[to]),
                                 std::chrono::duration_cast<milliseconds>(now - sent_at_).count()};
  return made;
}

// --- decisions -----------------------------------------------------------------------------------------------------

void llm_call::proceed(llm_step& step, time_point now) {
  while (!expired(step, now)) {
    if (!fits(link_)) {
      if (!skip_link(step, llm_reason::llm_context_length,
                     "not asked: the request has about " + std::to_string(facts_.input_tokens) + " tokens, which with an answer of "
                         + std::to_string(facts_.max_tokens) + " do not fit its context of " + std::to_string(link().context),
                     now))
        return;
      continue;
    }
    auto& breaker = shared().breaker;
    if (!breaker.admits(now)) {
      if (!skip_link(step, llm_reason::llm_circuit_open,
                     "not asked: its circuit is open after repeated failures, next probe in " + seconds_text(breaker.next_probe(now) - now),
                     now))
        return;
      continue;
    }
    const auto at = shared().pace.earliest(facts_.links[link_].input_estimate, now);
    if (at > now && facts_.second) {
      skip_link(step, llm_reason::llm_rate_limited, "not asked: its rate limit is used up", now);
      return;
    }
    if (at > now && may_pace(now)) {
      if (worth_waiting(at, now)) {
        if (!paced_until_)
          paced_until_ = now + model_->retry.cap;
        note_fail_over(step);
        phase_ = phase::waiting;
        wait_until_ = std::min(at, *paced_until_);
        step.next = wait_until{wait_until_};
        return;
      }
      // The last model is asked all the same: its provider knows better than its headers, and a 429 costs nothing.
      if (later_link_admits(now)) {
        skip_link(step, llm_reason::llm_rate_limited, "not asked: its rate limit is used up for " + seconds_text(at - now), now);
        continue;
      }
    }
    note_fail_over(step);
    reserve(step, facts_.max_tokens);
    return;
  }
}

void llm_call::reserve(llm_step& step, std::int64_t max_tokens) {
  phase_ = phase::reserving;
  max_tokens_ = max_tokens;
  worst_case_ = worst_case(bounds(max_tokens), link().price);
  const auto least = policy::worst_case(bounds(std::min(max_tokens, useful_tokens_min)), link().price);
  reserve_for wanted{link_, spend{worst_case_, 1}, least, max_tokens, std::nullopt, !facts_.second};
  for (const auto& deadline : {facts_.until.agent, facts_.until.task, facts_.until.run})
    if (deadline)
      wanted.until = wanted.until ? std::min(*wanted.until, *deadline) : *deadline;
  step.next = wanted;
}

bool llm_call::may_pace(time_point now) const {
  return !paced_until_ || now < *paced_until_;
}

bool llm_call::worth_waiting(time_point at, time_point now) const {
  const auto left = time_to_wait(now);
  return at - now <= model_->retry.cap && (!left || at - now < *left);
}

bool llm_call::later_link_admits(time_point now) const {
  for (auto i = link_ + 1; i < links_.size(); ++i)
    if (links_[i]->breaker.admits(now) && fits(i))
      return true;
  return false;
}

bool llm_call::fits(std::size_t link) const {
  const auto context = model_->chain[link].context;
  return context <= 0 || facts_.input_tokens <= 0 || facts_.input_tokens + facts_.max_tokens <= context;
}

bool llm_call::skip_link(llm_step& step, llm_reason reason, std::string why, time_point now) {
  attempts_.push_back({link().provider, link().model, 0, reason, 0, std::move(why)});
  if (link_ + 1 == links_.size() || facts_.second) {
    exhausted(step, now);
    return false;
  }
  next_link(reason);
  return true;
}

void llm_call::next_link(llm_reason reason) {
  if (!failing_from_) {
    failing_from_ = link_;
    failing_reason_ = reason;
  }
  ++link_;
  attempts_here_ = 0;
  paced_until_.reset();
}

void llm_call::note_fail_over(llm_step& step) {
  if (failing_from_)
    step.events.push_back(
        llm_failed_over{facts_.step_id, name_of_link(model_->chain[*failing_from_]), name_of_link(link()), name_of(failing_reason_)});
  failing_from_.reset();
}

void llm_call::note_breaker(llm_step& step, std::optional<breaker_state> changed) {
  if (changed)
    step.events.push_back(breaker_changed{link().provider, link().model, name_of(*changed)});
}

usd llm_call::charge_of(llm_step& step, const llm_failure& failure, bool may_have_been_charged) const {
  const auto charge = charge_for(failure, may_have_been_charged, bounds(max_tokens_), link().price);
  if (charge.rejected)
    step.events.push_back(usage_rejected{facts_.step_id, *charge.rejected});
  return charge.money;
}

void llm_call::handle_failure(llm_step& step, const llm_failure& failure, time_point now, double random) {
  const auto verdict = classify(failure, link().model);
  const auto charged = charge_of(step, failure, verdict.charged);
  step.settle = spend{charged, verdict.counts_as_step ? 1 : 0};
  fatal_ = verdict.kind == error_class::fatal_task || verdict.kind == error_class::fail_over;

  // The run's timer, the agent's and the transfer's own come at the same instant, in any order: told alike, as what it is.
  const auto* late = whose_time_is_over(now);
  const bool cut_off =
      late && !overtaken_ && (cancelled_ || verdict.kind == error_class::cancelled || failure.kind == llm_failure_kind::timeout);
  const auto reason = cut_off ? llm_reason::timeout : verdict.reason;
  const bool short_of_time =
      failure.kind == llm_failure_kind::timeout && timeout_ < std::min<milliseconds>(facts_.links[link_].timeout, breaker_patience);
  std::optional<breaker_state> changed;
  if (verdict.breaker == breaker_effect::failure && !short_of_time)
    changed = permit_.failed(now);
  else
    permit_.abandoned();

  llm_failed event{.step_id = facts_.step_id,
                   .request = request_,
                   .provider = link().provider,
                   .model = link().model,
                   .reason = name_of(reason),
                   .http_status = failure.http_status,
                   .message = cut_off ? std::string(late) + " time is over" : describe(failure),
                   .counted = verdict.counts_as_step,
                   .charged = charged,
                   .next = "give_up",
                   .wait_ms = 0};
  attempts_.push_back({link().provider, link().model, request_, reason, failure.http_status, event.message, refuses_limit_field(failure)});
  const auto record = [&] {
    step.events.push_back(event);
    note_breaker(step, changed);
  };

  if (verdict.kind == error_class::crash) {
    record();
    phase_ = phase::done;
    step.next = crash_agent{failure.message.empty() ? event.message : failure.message};
    return;
  }
  if (cancelled_ || verdict.kind == error_class::cancelled) {
    if (overtaken_ && verdict.kind == error_class::cancelled)
      event.reason = name_of(llm_reason::overtaken);
    record();
    give_up(step, task_status::cancelled, llm_reason::cancelled, "The step was cancelled.");
    return;
  }
  if (verdict.kind == error_class::fatal_task || (verdict.reason == llm_reason::llm_context_length && facts_.context_length_ends)) {
    record();
    give_up(step, task_status::error, verdict.reason, "model \"" + model_->name + "\" refused the request");
    if (verdict.reason == llm_reason::llm_context_length)
      std::get<gave_up>(step.next).too_long_for = link_;
    return;
  }
  if (facts_.second) {
    record();
    exhausted(step, now);
    return;
  }
  const auto left = time_to_wait(now);
  if (left && *left < request_time_min) {
    record();
    expired(step, now);
    return;
  }
  if (verdict.kind == error_class::retryable && attempts_here_ < model_->retry.attempts && shared().breaker.admits(now))
    if (const auto wait = retry_wait(model_->retry, attempts_here_ - 1, random, failure.retry_after, left);
        wait && (says_when(failure, verdict.reason) || shared().retries->take_retry())) {
      event.next = "retry";
      event.wait_ms = wait->count();
      record();
      phase_ = phase::waiting;
      wait_until_ = now + *wait;
      step.next = wait_until{wait_until_};
      return;
    }
  if (later_link_admits(now)) {
    event.next = "fail_over";
    record();
    next_link(verdict.reason);
    proceed(step, now);
    return;
  }
  record();
  while (link_ + 1 < links_.size()) { // those whose breakers are open are listed too
    next_link(verdict.reason);
    if (!fits(link_)) {
      attempts_.push_back(
          {link().provider, link().model, 0, llm_reason::llm_context_length, 0, "not asked: the request does not fit its context"});
      continue;
    }
    attempts_.push_back(
        {link().provider, link().model, 0, llm_reason::llm_circuit_open, 0,
         "not asked: its circuit is open after repeated failures, next probe in " + seconds_text(shared().breaker.next_probe(now) - now)});
  }
  exhausted(step, now);
}

void llm_call::exhausted(llm_step& step, time_point now) {
  std::optional<time_point> probe;
  bool all_open = true;
  for (const auto& state : links_) {
    const auto at = state->breaker.next_probe(now);
    all_open = all_open && !state->breaker.admits(now);
    probe = probe ? std::min(*probe, at) : at;
  }
  // The reason is the last failure's; where nobody was asked, that.
  auto reason = llm_reason::llm_circuit_open;
  for (const auto& attempt : attempts_)
    if (attempt.request > 0)
      reason = attempt.reason;
  give_up(step, task_status::error, reason, "no model of \"" + model_->name + "\" answered");
  auto& last = std::get<gave_up>(step.next);
  for (auto i = facts_.first_link; i < links_.size() && !last.too_long_for; ++i)
    if (!fits(i) && links_[i]->breaker.admits(now))
      last.too_long_for = i;
  if (all_open) {
    last.next_probe = probe;
    last.message += " All circuits are open: the next probe is possible in " + seconds_text(*probe - now) + ".";
  }
}

void llm_call::give_up(llm_step& step, task_status status, llm_reason reason, const std::string& why) {
  phase_ = phase::done;
  gave_up last{status, reason, why, std::move(attempts_), std::nullopt, status == task_status::error && fatal_};
  const char* separator = last.attempts.empty() ? "" : ": ";
  for (const auto& attempt : last.attempts) {
    last.message += separator + attempt.provider + "/" + attempt.model
                    + (attempt.request > 0 ? " request " + std::to_string(attempt.request) : "") + " (" + name_of(attempt.reason)
                    + "): " + attempt.message;
    separator = "; ";
  }
  if (!last.message.empty() && last.message.back() != '.')
    last.message += '.';
  if (status == task_status::error)
    for (auto attempt = last.attempts.rbegin(); attempt != last.attempts.rend(); ++attempt)
      if (attempt->reason == reason) {
        if (const auto advice = hint(*attempt); !advice.empty())
          last.message += " " + advice;
        break;
      }
  step.next = std::move(last);
}

const char* llm_call::whose_time_is_over(time_point now) const {
  const auto whose = [now](const deadlines& until) -> const char* {
    const std::pair<const std::optional<time_point>&, const char*> scopes[] = {
        {until.run, "the run's"}, {until.task, "the task's"}, {until.agent, "the agent's"}};
    for (const auto& [deadline, of] : scopes)
      if (deadline && *deadline - now < request_time_min)
        return of;
    return nullptr;
  };
  const auto* over = whose(facts_.until);
  return over || !facts_.as_it_stands ? over : whose(facts_.as_it_stands(now));
}

bool llm_call::expired(llm_step& step, time_point now) {
  const auto* whose = whose_time_is_over(now);
  if (whose)
    give_up(step, task_status::timeout, llm_reason::timeout,
            std::string(whose) + " time is over before model \"" + model_->name + "\" answered");
  return whose != nullptr;
}

} // namespace troupe::policy
