#pragma once
// What a request costs, and what it could cost at most (SEMANTICS 1 "Usage", 3). Integer micro-dollars; 128-bit inside; saturating.

#include <cstdint>
#include <optional>
#include <string>

#include "troupe/model/llm.hpp"
#include "troupe/model/money.hpp"

namespace troupe::policy {

/// `max_tokens` is lowered to what is left only where at least this many stay (SEMANTICS 3).
inline constexpr std::int64_t useful_tokens_min = 256;

/// What bounds one request: how many input tokens it can be charged for, how many output tokens it asked for.
struct request_bounds {
  std::int64_t input = 0;
  std::int64_t max_tokens = 0;
};

/// The cost of a stated usage, rounded up to a micro-dollar. A request with more input tokens than `above_tokens` is priced whole at the
/// upper tier, cached input and cache writes in the same proportion. Negative counts are 0, parts beyond the input are cut. An unknown
/// price costs nothing.
usd cost(const token_usage& usage, const token_price& price);

/// The most that a request within these bounds can cost: all input at the dearest of input, cached input and cache write, at the dearer
/// tier where it can be reached. Rounded up. For every usage that `check_usage` accepts, cost <= worst case.
usd worst_case(const request_bounds& bounds, const token_price& price);

/// Why a stated usage cannot be true, or nothing: negative numbers, parts larger than the whole, more input than the request could have,
/// more output than was asked for.
std::optional<std::string> check_usage(const token_usage& usage, const request_bounds& bounds);

/// The largest max_tokens, at most `bounds.max_tokens`, whose worst case fits into `left`; nothing where the input alone does not.
std::optional<std::int64_t> affordable_max_tokens(usd left, const request_bounds& bounds, const token_price& price);

/// The same, but only where it is less than asked for and still allows a useful answer (256 tokens).
std::optional<std::int64_t> lowered_max_tokens(usd left, const request_bounds& bounds, const token_price& price);

/// What an answer is charged.
struct charge {
  token_usage usage; ///< what counts as tokens; zero where the stated usage was rejected
  usd money;
  bool estimated = false;              ///< the response stated no usage
  std::optional<std::string> rejected; ///< why the stated usage cannot be true; the worst case was charged
};

/// The rule of SEMANTICS 1 "Usage" whole: stated usage is charged; absent, the estimate is (`input_estimate` tokens, and a token for four
/// bytes of the answer); absurd, the worst case is. Never more than the worst case.
charge charge_for(const llm_response& response, std::int64_t input_estimate, const request_bounds& bounds, const token_price& price);

/// The same for what was stated, by an answer or by a response without one.
charge charge_for(const token_usage& stated, const request_bounds& bounds, const token_price& price);

/// What a request without an answer is charged: what its response states all the same, else the worst case where it may have been charged.
charge charge_for(const llm_failure& failure, bool may_have_been_charged, const request_bounds& bounds, const token_price& price);

} // namespace troupe::policy
