#include "troupe/policy/hedging.hpp"

#include <algorithm>

namespace troupe::policy {

void latencies::add(std::chrono::milliseconds time) {
  times_[count_++ % kept] = time;
}

std::optional<std::chrono::milliseconds> latencies::p95() const {
  const auto size = std::min(count_, kept);
  if (size < needed)
    return std::nullopt;
  auto sorted = times_;
  const auto rank = (size * 95 + 99) / 100; // nearest rank, from 1
  const auto at = sorted.begin() + static_cast<std::ptrdiff_t>(rank - 1);
  std::nth_element(sorted.begin(), at, sorted.begin() + static_cast<std::ptrdiff_t>(size));
  return *at;
}

std::optional<std::chrono::milliseconds> hedge_delay(const hedge_spec& spec, const latencies& seen) {
  if (spec.after == hedge_after::never)
    return std::nullopt;
  return spec.after == hedge_after::p95 ? seen.p95() : std::optional(spec.time);
}

} // namespace troupe::policy
