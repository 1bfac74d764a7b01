#include "troupe/policy/pacing.hpp"

#include <algorithm>

namespace troupe::policy {

void pacing::observe(const rate_limits& limits, time_point now) {
  const auto take = [&](std::optional<allowance>& into, const auto& remaining, const auto& reset) {
    if (!remaining)
      return;
    into.reset();
    if (*remaining >= 0 && reset && reset->count() >= 0 && *reset <= reset_max)
      into = allowance{*remaining, now + *reset};
  };
  take(requests_, limits.remaining_requests, limits.reset_requests);
  take(tokens_, limits.remaining_tokens, limits.reset_tokens);
}

void pacing::sent(std::int64_t tokens) {
  if (requests_)
    requests_->remaining = std::max<std::int64_t>(requests_->remaining - 1, 0);
  if (tokens_)
    tokens_->remaining = std::max<std::int64_t>(tokens_->remaining - std::clamp<std::int64_t>(tokens, 0, tokens_->remaining), 0);
}

time_point pacing::earliest(std::int64_t tokens, time_point now) const {
  auto at = now;
  if (requests_ && requests_->remaining < 1)
    at = std::max(at, requests_->reset);
  if (tokens_ && tokens_->remaining < tokens)
    at = std::max(at, tokens_->reset);
  return at;
}

} // namespace troupe::policy
