#include "troupe/policy/pacing.hpp"

#include <algorithm>

namespace troupe::policy {

void pacing::observe(const rate_limits& limits, time_point now) {
  observe(requests_, limits.remaining_requests, limits.reset_requests, limits.limit_requests, now);
  observe(tokens_, limits.remaining_tokens, limits.reset_tokens, limits.limit_tokens, now);
}

void pacing::observe(std::optional<allowance>& into, std::optional<std::int64_t> remaining, std::optional<std::chrono::milliseconds> reset,
                     std::optional<std::int64_t> limit, time_point now) {
  if (!remaining) {
    if (into && into->assumed) // the provider says no more of it
      into.reset();
    return;
  }
  if (*remaining < 0 || !reset || reset->count() < 0 || *reset > reset_max) {
    into.reset();
    return;
  }
  allowance seen{*remaining, now + *reset, limit};
  // Answers up to one reset come in any order, while others of its requests are under way: what has left is not there again.
  if (into && now < into->reset) {
    if (!seen.limit)
      seen.limit = into->limit;
    const auto apart = seen.reset < into->reset ? into->reset - seen.reset : seen.reset - into->reset;
    if (into->assumed ? into->limit.has_value() : apart <= same_reset)
      seen.remaining = std::min(seen.remaining, into->remaining);
    if (!into->assumed && apart <= same_reset)
      seen.reset = into->reset; // else a reset that moves on would never come
  }
  into = seen;
}

void pacing::unanswered(time_point now) {
  for (auto* each : {&requests_, &tokens_})
    if (*each && (*each)->assumed && !(*each)->limit)
      (*each)->reset = std::min((*each)->reset, now);
}

void pacing::sent(std::int64_t tokens, time_point now) {
  sent(requests_, 1, now);
  sent(tokens_, std::max<std::int64_t>(tokens, 0), now);
}

void pacing::sent(std::optional<allowance>& from, std::int64_t amount, time_point now) {
  if (!from)
    return;
  if (now >= from->reset) {
    from->remaining = std::max({from->limit.value_or(0), from->remaining, amount});
    from->reset = now + answer_patience;
    from->assumed = true;
  }
  from->remaining -= std::min(amount, from->remaining);
}

time_point pacing::earliest(std::int64_t tokens, time_point now) const {
  return std::max(earliest(requests_, 1, now), earliest(tokens_, tokens, now));
}

time_point pacing::earliest(const std::optional<allowance>& of, std::int64_t amount, time_point now) {
  if (!of || of->remaining >= amount || now >= of->reset)
    return now;
  return of->assumed ? std::min(of->reset, now + look_again) : of->reset;
}

} // namespace troupe::policy
