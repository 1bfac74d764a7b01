#pragma once
// One step at the LLM gateway, whole (SEMANTICS 1): which model is asked when, with how much money and time, and what a failure leads to.
// The actor only translates: it does what `llm_step::next` says, stores `events`, settles the reservation, and comes back with what
// happened.
//
//   start --> pacing --wait_until--> tick --+
//     ^         |                           |
//     |         v                           v
//     |     reserve_for --granted--> send_to --outcome--> succeeded
//     |         |                                |
//     |         +--refused--> (lowered) reserve_for | gave_up
//     |                                          v
//     +-- next of the chain <--fail over-- failure --retry--> wait_until --tick--> reserve_for …
//
// A model may have a second request sent when the first is slow: that one is a call of its own (`hedge`), which sends once or not at all.
// Whichever is answered first ends the other (`overtaken`).
//
// Invariants: no send_to without a granted reservation of its own; at most retry.attempts * chain length requests, and one that is hedged;
// the breaker of a model is never bypassed; every path ends in succeeded, gave_up or crash_agent.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "troupe/model/budget.hpp"
#include "troupe/model/config.hpp"
#include "troupe/model/event.hpp"
#include "troupe/model/llm.hpp"
#include "troupe/policy/circuit_breaker.hpp"
#include "troupe/policy/hedging.hpp"
#include "troupe/policy/llm_errors.hpp"
#include "troupe/policy/pacing.hpp"
#include "troupe/policy/pricing.hpp"
#include "troupe/policy/retry_budget.hpp"
#include "troupe/util/time_point.hpp"

namespace troupe::policy {

// --- state that calls share ----------------------------------------------------------------------------------------

/// Of one (provider, model). Limits are the model's at most providers, so pacing is kept for each model.
struct link_state {
  explicit link_state(const breaker_spec& spec, std::shared_ptr<retry_budget> budget) : breaker(spec), retries(std::move(budget)) {}
  circuit_breaker breaker;
  pacing pace;
  latencies answered;
  std::shared_ptr<retry_budget> retries; ///< the provider's
};

/// The states of all links that a gateway talks to; one thread only. The first chain that names a link sets its breaker's numbers.
class link_states {
public:
  std::shared_ptr<link_state> of(const chain_link& link, const breaker_spec& breaker);
  /// One for each link of the model's chain.
  std::vector<std::shared_ptr<link_state>> of(const model_spec& model);

private:
  std::map<std::pair<std::string, std::string>, std::shared_ptr<link_state>> links_;
  std::map<std::string, std::shared_ptr<retry_budget>> providers_;
};

// --- what one step is ----------------------------------------------------------------------------------------------

/// What the request means to one link: from its `llm::provider` and `provider_spec`.
struct link_facts {
  std::int64_t input_bound = 0;              ///< provider::input_token_bound
  std::int64_t input_estimate = 0;           ///< provider::input_token_estimate
  std::chrono::milliseconds timeout{60'000}; ///< provider_spec::timeout
};

/// When time is over for whom; absent: never. They travel: each request's timeout is the least of what they leave and the provider's own.
struct deadlines {
  std::optional<time_point> agent; ///< the task's start on this agent + the agent's timeout
  std::optional<time_point> task;
  std::optional<time_point> run;
};

/// A request that would have less time than this is not sent: it would be paid for and bring nothing.
inline constexpr std::chrono::milliseconds request_time_min{10};

/// A request that timed out in less than this, because of its run's deadlines, says nothing about the provider: no run may open the breaker
/// for others by being short of time.
inline constexpr std::chrono::seconds breaker_patience{5};

/// The least of the deadlines' rests and the provider's timeout, in whole milliseconds; nothing where a deadline has come, or nearly so.
std::optional<std::chrono::milliseconds> request_timeout(const deadlines& until, std::chrono::milliseconds provider_timeout,
                                                         time_point now);

struct llm_call_facts {
  std::string step_id;
  std::int64_t max_tokens = 4096;
  deadlines until;
  /// Where humans may give time back: the ends as they stand, which no wait goes beyond; null: as above.
  std::function<deadlines(time_point now)> as_it_stands;
  tool_declarations tools;       ///< as declared; an undeclared name in an answer is made one that later requests may contain
  std::vector<link_facts> links; ///< one for each link of the chain
  bool context_length_ends =
      false; ///< a request that a provider finds too long ends the call (the caller makes it fit) instead of failing over
  std::int64_t input_tokens = 0;    ///< estimated: a model whose context takes less is not asked; 0: all may be asked
  std::size_t first_link = 0;       ///< models before it are not asked
  std::int64_t requests_before = 0; ///< of this step, by calls before this one
  bool second = false;              ///< a hedged request: it neither waits nor retries nor fails over
};

// --- decisions -----------------------------------------------------------------------------------------------------

/// Reserve this in the whole chain of budget guards; answer with `granted` or `refused`, and with `tick` at `until`.
struct reserve_for {
  std::size_t link = 0;
  spend worst_case; ///< one step and the worst case at this link's price
  usd least;        ///< … with max_tokens as low as is of use: a limit with less left than this ends the step
  std::int64_t max_tokens = 0;
  std::optional<time_point> until; ///< the nearest deadline: waiting in line longer than that is no use
  bool waits = true;               ///< false: refused where others would have to settle first
};

/// Send, once `events` (an `llm_requested`) are durable; answer with `responded` or `failed` and this request's number.
struct send_to {
  std::size_t link = 0;
  std::int64_t request = 1; ///< of this step, from 1
  std::int64_t max_tokens = 0;
  std::chrono::milliseconds timeout{0};
};

/// Answer with `tick` at this time.
struct wait_until {
  time_point at;
};

/// End the transfer that is under way (provider::cancel); its outcome still has to come in.
struct abort_transfer {
  std::size_t link = 0;
  std::int64_t request = 1;
};

/// One request, or one model that was not asked.
struct llm_attempt {
  std::string provider;
  std::string model;
  std::int64_t request = 0; ///< 0: no request was sent
  llm_reason reason = llm_reason::llm_server_error;
  int http_status = 0;
  std::string message;
  bool limit_field = false; ///< `refuses_limit_field`
};

struct succeeded {
  std::size_t link = 0;
  llm_responded response; ///< also the last of `events`
};

/// The step failed. A reservation that was asked for and has not been answered is withdrawn. The status is `error`, `timeout` (a deadline),
/// `budget_exceeded` or `cancelled`.
struct gave_up {
  task_status status = task_status::error;
  llm_reason reason = llm_reason::llm_server_error;
  std::string message;                     ///< for people: what, every attempt, what to do
  std::vector<llm_attempt> attempts;       ///< in order
  std::optional<time_point> next_probe;    ///< all breakers are open: when the first of them takes a probe
  bool fatal = false;                      ///< a fatal LLM error: the task is not started anew (SEMANTICS 5)
  std::optional<std::size_t> too_long_for; ///< it failed for want of context: the first model that a shorter request could go to
};

/// Rehearsal: the agent dies with this text.
struct crash_agent {
  std::string message;
};

/// std::monostate: nothing to do, what came in was late.
using llm_decision = std::variant<std::monostate, reserve_for, send_to, wait_until, abort_transfer, succeeded, gave_up, crash_agent>;

/// What the actor does now, in this order: settle, store, act.
struct llm_step {
  std::optional<spend> settle;    ///< commit this of the reservation that was granted and give back the rest; all zero: release it
  std::vector<event_body> events; ///< for the journal: llm_requested, llm_responded, llm_failed, llm_failed_over, breaker_changed, …
  llm_decision next;
};

/// The guard's refusal: `left` is what the tightest limit could still give once everything held has settled.
struct refusal {
  std::string scope;
  limit_kind kind = limit_kind::money;
  usd left;
  std::string message;
};

// --- the machine ---------------------------------------------------------------------------------------------------

/// One thread only (the gateway actor's). Times never go back. `random` is uniform in [0, 1).
class llm_call {
public:
  /// `links` as `link_states::of(model)` gives them; `facts.links` must be as many as the chain has.
  llm_call(std::shared_ptr<const model_spec> model, llm_call_facts facts, std::vector<std::shared_ptr<link_state>> links);

  llm_step start(time_point now);
  /// The reservation asked for is held from now on, until a step's `settle`.
  llm_step granted(time_point now);
  /// The guard says no. Money: max_tokens is lowered where a useful answer still fits, else the step ends as budget_exceeded.
  llm_step refused(const refusal& why, time_point now);
  /// `sent_messages` is the conversation that was sent: the answer's call ids are made unique against it.
  llm_step responded(std::int64_t request, llm_response response, const conversation& sent_messages, time_point now, double random);
  llm_step failed(std::int64_t request, const llm_failure& failure, time_point now, double random);
  /// A timer fired. Early ones are told to wait on, late ones do nothing.
  llm_step tick(time_point now);
  /// The run was cancelled, or the agent died.
  llm_step cancel(time_point now);
  /// The other request of its step was answered.
  llm_step overtaken(time_point now);

  /// When a second request should go out, if the one in flight has no answer by then; nothing: none should.
  std::optional<time_point> hedge_at() const;
  /// The call of that second request, once its time has come: to the next model of the chain that may be asked now, else to the same one.
  /// Null: none may, or the provider's retry budget is empty. Once a step.
  std::unique_ptr<llm_call> hedge(time_point now);

  bool done() const { return phase_ == phase::done; }
  /// Requests of this step, hedged ones included.
  std::int64_t requests() const { return *requests_; }

private:
  enum class phase { fresh, waiting, reserving, in_flight, done };

  const chain_link& link() const { return model_->chain[link_]; }
  link_state& shared() { return *links_[link_]; }
  request_bounds bounds(std::int64_t max_tokens) const { return {facts_.links[link_].input_bound, max_tokens}; }
  /// Asks the current link or the first later one that may be asked: breaker, pacing, then the reservation.
  void proceed(llm_step& step, time_point now);
  void reserve(llm_step& step, std::int64_t max_tokens);
  /// The link does not get this request: it is listed, and the next one takes over; false: there is none, the step gave up.
  bool skip_link(llm_step& step, llm_reason reason, std::string why, time_point now);
  bool later_link_admits(time_point now) const;
  /// Whether the request fits the context of this model, as far as is known.
  bool fits(std::size_t link) const;
  /// Whether a rate limit may still hold the next request, and whether waiting until then is better than going elsewhere.
  bool may_pace(time_point now) const;
  bool worth_waiting(time_point at, time_point now) const;
  /// Turns to the next link. The event follows once one is found that is asked.
  void next_link(llm_reason reason);
  void note_fail_over(llm_step& step);
  void note_breaker(llm_step& step, std::optional<breaker_state> changed);
  void handle_failure(llm_step& step, const llm_failure& failure, time_point now, double random);
  /// What a failure costs: what its response stated, else the worst case where it may have been charged.
  usd charge_of(llm_step& step, const llm_failure& failure, bool may_have_been_charged) const;
  void exhausted(llm_step& step, time_point now);
  void give_up(llm_step& step, task_status status, llm_reason reason, const std::string& why);
  const char* whose_time_is_over(time_point now) const; ///< "the run's", or null
  /// Ends the step where a deadline has come.
  bool expired(llm_step& step, time_point now);
  std::optional<std::chrono::milliseconds> time_left(time_point now) const;
  std::optional<std::chrono::milliseconds> time_to_wait(time_point now) const;

  std::shared_ptr<const model_spec> model_;
  llm_call_facts facts_;
  std::vector<std::shared_ptr<link_state>> links_;
  phase phase_ = phase::fresh;
  std::size_t link_ = 0;
  std::int64_t attempts_here_ = 0;         ///< requests to the current link
  std::shared_ptr<std::int64_t> requests_; ///< of this step; its hedged call counts there too
  std::int64_t request_ = 0;               ///< the number of the one in flight
  std::int64_t max_tokens_ = 0;            ///< of the reservation that is asked for or held
  usd worst_case_;
  time_point wait_until_{};
  std::optional<time_point> paced_until_; ///< pacing holds the next request up to here at most
  time_point sent_at_{};
  std::chrono::milliseconds timeout_{0};
  bool cancelled_ = false;
  bool overtaken_ = false;
  bool hedged_ = false;
  std::optional<llm_hedged> hedge_note_;    ///< of a hedged call: recorded with its request
  bool fatal_ = false;                      ///< the last failure was a fatal one
  std::optional<std::size_t> failing_from_; ///< the link that failed first since the last one that was asked
  llm_reason failing_reason_ = llm_reason::llm_server_error;
  std::vector<llm_attempt> attempts_;
  std::set<std::string> called_; ///< providers whose retry budget has counted this step
  breaker_permit permit_;        ///< of the request in flight; dies before `links_`
};

} // namespace troupe::policy
