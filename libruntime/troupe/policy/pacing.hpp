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
  /// Of the time after a reset nothing is known until an answer says. Whoever waits for that looks again after this …
  static constexpr std::chrono::milliseconds look_again{250};
  /// … and after this goes without: an answer may never come.
  static constexpr std::chrono::milliseconds answer_patience{5'000};
  /// Two answers whose resets are no further apart tell of the same one.
  static constexpr std::chrono::milliseconds same_reset{250};
  /// A reset further away than this is not believed.
  static constexpr std::chrono::milliseconds reset_max = std::chrono::hours(24);

  /// An answer, or a failure with headers, brought these. Absent ones change nothing before the reset, and after it end what was known; a
  /// remaining number without a reset time is forgotten, as is a negative or far-away reset: nobody could say when to go on.
  void observe(const rate_limits& limits, time_point now);

  /// A request that had left came to nothing: cancelled, failed without headers.
  void unanswered(time_point now);

  /// A request with about this many tokens leaves: what remains is less, until the next answer says.
  void sent(std::int64_t tokens, time_point now);

  /// The earliest time for a request with about this many tokens; never before `now`. Unknown limits: now. After a reset as many may go as
  /// the limit's header says, or else as had been left, at least one; the others when an answer says more.
  time_point earliest(std::int64_t tokens, time_point now) const;

private:
  struct allowance {
    std::int64_t remaining = 0;
    time_point reset{};
    std::optional<std::int64_t> limit; ///< what remains right after a reset
    bool assumed = false;              ///< a request has left after the reset, and no answer says yet what remains
  };
  static void observe(std::optional<allowance>& into, std::optional<std::int64_t> remaining, std::optional<std::chrono::milliseconds> reset,
                      std::optional<std::int64_t> limit, time_point now);
  static void sent(std::optional<allowance>& from, std::int64_t amount, time_point now);
  static time_point earliest(const std::optional<allowance>& of, std::int64_t amount, time_point now);

  std::optional<allowance> requests_;
  std::optional<allowance> tokens_;
};

} // namespace troupe::policy
