#pragma once
// Hedged requests (Dean and Barroso, "The Tail at Scale", 2013): a second request goes out when the first is slower than most, and the
// first response counts. After the 95th percentile it costs one request in twenty and cuts the longest waits.

#include <array>
#include <chrono>
#include <cstddef>
#include <optional>

#include "troupe/model/config.hpp"

namespace troupe::policy {

/// How long the latest answers of one (provider, model) took. One thread only.
class latencies {
public:
  static constexpr std::size_t kept = 100;
  /// With fewer answers nothing is said.
  static constexpr std::size_t needed = 20;

  /// Also for a request that was overtaken, with the time until then: were only winners counted, each hedge would make the next one come
  /// earlier.
  void add(std::chrono::milliseconds time);
  /// The least of them that 95 of 100 did not exceed.
  std::optional<std::chrono::milliseconds> p95() const;

private:
  std::array<std::chrono::milliseconds, kept> times_{};
  std::size_t count_ = 0; ///< ever added
};

/// How long after the first request a second one goes out; nothing: none does.
std::optional<std::chrono::milliseconds> hedge_delay(const hedge_spec& spec, const latencies& seen);

} // namespace troupe::policy
