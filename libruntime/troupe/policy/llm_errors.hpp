#pragma once
// What a failed LLM request means (SEMANTICS 1 "Classes"). Providers report facts (`llm_failure`); here they become a verdict.

#include <string>
#include <string_view>

#include <boost/describe.hpp>

#include "troupe/model/llm.hpp"

namespace troupe::policy {

/// What to do about a failure.
enum class error_class {
  retryable,  ///< the same request to the same model may succeed later
  fail_over,  ///< fatal for this model: the next of the chain takes over, at once
  fatal_task, ///< no model can answer this request: the task ends
  cancelled,  ///< we ended it ourselves
  crash,      ///< rehearsal: the agent that asked dies with an exception
};
BOOST_DESCRIBE_ENUM(error_class, retryable, fail_over, fatal_task, cancelled, crash)

/// The machine-readable reason: what events, task results and metrics carry, by `name_of`.
enum class llm_reason {
  llm_rate_limited,   ///< 429, or a rate-limit error in a success
  llm_overloaded,     ///< 503, 529, overloaded_error
  llm_server_error,   ///< every other 5xx, an error object without a known code
  llm_timeout,        ///< our timeout of the transfer, 408, 504
  llm_connection,     ///< no connection, or it broke before an answer
  llm_truncated,      ///< a stream without its end
  llm_malformed,      ///< a body that does not parse, a status that is none
  llm_empty,          ///< neither text nor tool call
  llm_conflict,       ///< 409, 425
  llm_auth,           ///< 401, 403
  llm_not_found,      ///< 404, 410, a 400 or 422 that names the model
  llm_quota,          ///< insufficient_quota, 402, no credit
  llm_context_length, ///< the request does not fit the model
  llm_bad_request,    ///< every other refusal of the request
  llm_circuit_open,   ///< no request was sent: the breakers of all models are open
  cancelled,
  agent_crash,
  budget_exceeded, ///< no request was sent: the reservation was refused
  timeout,         ///< the time of the agent, the task or the run is over
  overtaken,       ///< the other request of its step was answered first (a hedged request)
};
BOOST_DESCRIBE_ENUM(llm_reason, llm_rate_limited, llm_overloaded, llm_server_error, llm_timeout, llm_connection, llm_truncated,
                    llm_malformed, llm_empty, llm_conflict, llm_auth, llm_not_found, llm_quota, llm_context_length, llm_bad_request,
                    llm_circuit_open, cancelled, agent_crash, budget_exceeded, timeout, overtaken)

/// How a failure counts for the circuit breaker of its (provider, model).
enum class breaker_effect {
  failure, ///< the provider is ill
  neutral, ///< says nothing about its health: 429, a fatal 4xx, a cancelled call. A probe that ends so is repeated.
};
BOOST_DESCRIBE_ENUM(breaker_effect, failure, neutral)

struct classification {
  error_class kind = error_class::retryable;
  llm_reason reason = llm_reason::llm_server_error;
  bool counts_as_step = true; ///< false: the connection was never made, or the answer was 429
  bool charged = true;        ///< the provider may have charged for it: the worst case is, since nobody knows the amount
  breaker_effect breaker = breaker_effect::failure;
  friend bool operator==(const classification&, const classification&) = default;
};

/// The verdict on one failure.
///
/// Class and reason: SEMANTICS 1. A status that it does not name: another 5xx is retryable; another 4xx, or a redirect, means that this
/// provider's address is wrong, so the next one takes over; a number that is no HTTP status is a malformed answer.
/// What the error's code or words say (quota, context length, a wrong key) goes before its status; before a 5xx only quota and the code
/// of a context length do.
///
/// What may have been charged, where the response states no usage:
///   never sent                              nothing: no byte of the request reached anybody
///   408                                     worst case: the provider gave up on it, when nobody knows; Azure says that it may bill it
///   400 of a content filter                 worst case: Azure bills the prompt, and what was made of an answer
///   400 for want of output tokens           worst case: a reasoning model has used all that it was allowed
///   another status of 3xx or 4xx            nothing: the provider says that it refused the request; it bills answers
///   500 501 503 529 and other 5xx           nothing: the provider itself says that it made no answer; it bills answers
///   502 504 520-524                         worst case: a proxy speaks, which does not know what happened behind it; nothing where it
///                                           passes on that the provider has no credit for us, or no room for the request
///   200 with an error object instead of     nothing where it refuses the request (quota, context length, key, rate limit, overload), as
///   an answer                               under the status that it should have; else worst case: what happened is not known
///   200 with an error object amid a stream  worst case: it comes after tokens that were made
///   timeout, broken connection, truncated   worst case: the answer may have been made and billed, nobody knows
///   malformed, empty                        worst case: there was an answer, what it used is not known
///   cancelled, crash after it was sent      worst case: as for a broken connection
///
/// `model` is the provider's name of the model that was asked, to recognise a 400 or 422 that names it; empty: by words alone.
classification classify(const llm_failure& failure, std::string_view model = {});

/// Every request that was sent is a step, except one answered 429 (SEMANTICS 1).
bool counts_as_step(const llm_failure& failure);

/// Whether money may have been spent on it: the table at `classify`.
bool may_have_been_charged(const llm_failure& failure);

/// A 400 or 422 about the field of the request that limits its answer (max_tokens, max_completion_tokens): the provider wants the other.
bool refuses_limit_field(const llm_failure& failure);

/// A reasoning model that used up its output tokens before it came to an answer, and says so by a 400 (OpenAI's do where the limit is low).
bool thought_all_the_way(const llm_failure& failure);

/// One line for people: "HTTP 503 overloaded_error: Overloaded", "no connection: …". Bounded to 300 bytes, valid UTF-8 where the input is.
std::string describe(const llm_failure& failure);

} // namespace troupe::policy
