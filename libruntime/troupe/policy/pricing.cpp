#include "troupe/policy/pricing.hpp"

#include <algorithm>
#include <limits>

namespace troupe::policy {

namespace {

__extension__ typedef __int128 wide; // NOLINT: the only spelling that -Wpedantic takes

constexpr wide tokens_priced = 1'000'000; // prices are for so many tokens

/// Micro-dollars a million tokens.
struct tier {
  std::int64_t input, cached, write, output;
};

std::int64_t not_negative(std::int64_t value) {
  return std::max<std::int64_t>(value, 0);
}

/// `part * to / from`, rounded up, saturating.
std::int64_t in_proportion(std::int64_t part, std::int64_t from, std::int64_t to) {
  const auto scaled = (static_cast<wide>(part) * to + from - 1) / from;
  return static_cast<std::int64_t>(std::min<wide>(scaled, std::numeric_limits<std::int64_t>::max()));
}

tier lower_tier(const token_price& price) {
  return {not_negative(price.input), not_negative(price.cached_input), not_negative(price.cache_write), not_negative(price.output)};
}

tier upper_tier(const token_price& price) {
  const auto lower = lower_tier(price);
  const auto input = not_negative(price.above_input);
  const auto part = [&](std::int64_t below) { return lower.input > 0 ? in_proportion(below, lower.input, input) : std::max(below, input); };
  return {input, part(lower.cached), part(lower.write), not_negative(price.above_output)};
}

bool above(const token_price& price, std::int64_t input) {
  return price.above_tokens > 0 && input > price.above_tokens;
}

/// Token-prices to micro-dollars, rounded up.
usd rounded_up(wide sum) {
  const auto micro = (sum + tokens_priced - 1) / tokens_priced;
  return {static_cast<std::int64_t>(std::min<wide>(micro, usd::max().micro))};
}

struct dearest {
  std::int64_t input, output;
};

dearest dearest_of(const token_price& price, std::int64_t input_bound) {
  const auto of = [](const tier& t) { return dearest{std::max({t.input, t.cached, t.write}), t.output}; };
  auto most = of(lower_tier(price)); // always within reach: the bound may be far from what is used
  if (above(price, input_bound)) {
    const auto upper = of(upper_tier(price));
    most = {std::max(most.input, upper.input), std::max(most.output, upper.output)};
  }
  return most;
}

std::int64_t bytes_of(const chat_message& message) {
  std::size_t bytes = message.text.size();
  for (const auto& call : message.tool_calls)
    bytes += call.name.size() + call.arguments.size();
  return static_cast<std::int64_t>(bytes);
}

} // namespace

usd cost(const token_usage& usage, const token_price& price) {
  if (!price.known)
    return {};
  const auto input = not_negative(usage.input);
  const auto write = std::min(not_negative(usage.cache_write), input);
  const auto cached = std::min(not_negative(usage.cached_input), input - write);
  const auto at = above(price, input) ? upper_tier(price) : lower_tier(price);
  return rounded_up(static_cast<wide>(input - write - cached) * at.input + static_cast<wide>(write) * at.write
                    + static_cast<wide>(cached) * at.cached + static_cast<wide>(not_negative(usage.output)) * at.output);
}

usd worst_case(const request_bounds& bounds, const token_price& price) {
  if (!price.known)
    return {};
  const auto most = dearest_of(price, bounds.input);
  return rounded_up(static_cast<wide>(not_negative(bounds.input)) * most.input
                    + static_cast<wide>(not_negative(bounds.max_tokens)) * most.output);
}

std::optional<std::string> check_usage(const token_usage& usage, const request_bounds& bounds) {
  const auto number = [](std::int64_t value) { return std::to_string(value); };
  if (usage.input < 0 || usage.cached_input < 0 || usage.cache_write < 0 || usage.output < 0)
    return "the response states numbers of tokens that are negative, or no numbers";
  if (usage.input > bounds.input)
    return "the response states " + number(usage.input) + " input tokens, but the request cannot have more than " + number(bounds.input);
  if (usage.cached_input > usage.input || usage.cache_write > usage.input - usage.cached_input)
    return "the response states " + number(usage.cached_input) + " cached and " + number(usage.cache_write)
           + " written input tokens of only " + number(usage.input);
  if (usage.output > bounds.max_tokens)
    return "the response states " + number(usage.output) + " output tokens, but " + number(bounds.max_tokens) + " were asked for at most";
  return std::nullopt;
}

std::optional<std::int64_t> affordable_max_tokens(usd left, const request_bounds& bounds, const token_price& price) {
  const auto wanted = not_negative(bounds.max_tokens);
  if (!price.known || left == usd::max())
    return wanted;
  const auto most = dearest_of(price, bounds.input);
  const auto rest = static_cast<wide>(left.micro) * tokens_priced - static_cast<wide>(not_negative(bounds.input)) * most.input;
  if (rest < 0)
    return std::nullopt;
  const auto fits = most.output == 0 ? wanted : static_cast<std::int64_t>(std::min<wide>(rest / most.output, wanted));
  return fits == 0 && wanted > 0 ? std::nullopt : std::optional(fits);
}

std::optional<std::int64_t> lowered_max_tokens(usd left, const request_bounds& bounds, const token_price& price) {
  const auto fits = affordable_max_tokens(left, bounds, price);
  return fits && *fits < bounds.max_tokens && *fits >= useful_tokens_min ? fits : std::nullopt;
}

charge charge_for(const llm_response& response, std::int64_t input_estimate, const request_bounds& bounds, const token_price& price) {
  if (!response.usage) {
    token_usage likely;
    likely.input = std::clamp<std::int64_t>(input_estimate, 0, not_negative(bounds.input));
    likely.output = std::min((bytes_of(response.message) + 3) / 4, not_negative(bounds.max_tokens));
    return {likely, cost(likely, price), true, std::nullopt};
  }
  return charge_for(*response.usage, bounds, price);
}

charge charge_for(const token_usage& stated, const request_bounds& bounds, const token_price& price) {
  if (auto why = check_usage(stated, bounds))
    return {{}, worst_case(bounds, price), false, std::move(why)};
  return {stated, cost(stated, price), false, std::nullopt};
}

charge charge_for(const llm_failure& failure, bool may_have_been_charged, const request_bounds& bounds, const token_price& price) {
  if (failure.usage)
    return charge_for(*failure.usage, bounds, price);
  return {{}, may_have_been_charged ? worst_case(bounds, price) : usd{}, false, std::nullopt};
}

} // namespace troupe::policy
