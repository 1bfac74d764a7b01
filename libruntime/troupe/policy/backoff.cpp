#include "troupe/policy/backoff.hpp"

#include <algorithm>

namespace troupe::policy {

using std::chrono::milliseconds;

bool is_believed(std::optional<milliseconds> retry_after) {
  return retry_after && retry_after->count() >= 0 && *retry_after <= retry_after_max;
}

milliseconds backoff_ceiling(const retry_spec& spec, std::int64_t retry) {
  const auto base = std::max<std::int64_t>(spec.base.count(), 0);
  const auto cap = std::max<std::int64_t>(spec.cap.count(), 0);
  retry = std::max<std::int64_t>(retry, 0);
  // base * 2^retry > cap, asked without computing it.
  if (base != 0 && (retry >= 63 || base > (cap >> retry)))
    return milliseconds(cap);
  return milliseconds(base == 0 ? 0 : base << retry);
}

milliseconds backoff_wait(const retry_spec& spec, std::int64_t retry, double random) {
  const auto ceiling = backoff_ceiling(spec, retry);
  if (!(random > 0)) // NaN too
    return milliseconds(0);
  if (random >= 1)
    return ceiling;
  return std::min(ceiling, milliseconds(static_cast<std::int64_t>(random * static_cast<double>(ceiling.count()))));
}

std::optional<milliseconds> retry_wait(const retry_spec& spec, std::int64_t retry, double random, std::optional<milliseconds> retry_after,
                                       std::optional<milliseconds> left) {
  auto wait = backoff_wait(spec, retry, random);
  if (is_believed(retry_after)) {
    if (*retry_after > spec.cap)
      return std::nullopt;
    wait = std::max(wait, *retry_after);
  }
  if (left && wait >= *left)
    return std::nullopt;
  return wait;
}

} // namespace troupe::policy
