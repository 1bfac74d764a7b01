#pragma once
// Rate limits seen in advance (SEMANTICS 1): the x-ratelimit-* and anthropic-ratelimit-* headers of one (provider, model) tell when the
// next call may leave, instead of running into 429.

#include <chrono>
#include <cstdint>
#include <optional>

#include "troupe/model/llm.hpp"
#include "troupe/util/time_point.hpp"

namespace troupe::policy {

/// What is known of one model's rate limits. One thread only.
class pacing {
public:
  /// A reset further away than this is not believed.
  static constexpr std::chrono::milliseconds reset_max = std::chrono::hours(24);

  /// An answer, or a failure, brought these headers. Absent ones change nothing; a remaining number without a reset time is forgotten, as
  /// is a negative or far-away reset: nobody could say when to go on.
  void observe(const rate_limits& limits, time_point now);

  /// A request with about this many tokens leaves: what remains is less, until the next answer says.
  void sent(std::int64_t tokens);

  /// The earliest time for a request with about this many tokens; never before `now`. Unknown limits, and those whose reset is past: now.
  time_point earliest(std::int64_t tokens, time_point now) const;

private:
  struct allowance {
    std::int64_t remaining = 0;
    time_point reset{};
  };
  std::optional<allowance> requests_;
  std::optional<allowance> tokens_;
};

} // namespace troupe::policy
