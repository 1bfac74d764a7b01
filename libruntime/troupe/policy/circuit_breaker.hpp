#pragma once
// The circuit breaker of one (provider, model), or of one tool (SEMANTICS 1; Nygard, "Release It!").
//
//            5 failures in a row, or half of at least 20 calls in 30 s
//   closed ------------------------------------------------------------> open
//      ^                                                                  |  15 s
//      |  the probe succeeds                    the probe fails           v
//      +---------------------- half-open ------------------------------> open
//                              one probe at a time; an abandoned one makes room for the next

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>

#include <boost/describe.hpp>

#include "troupe/model/config.hpp"
#include "troupe/util/time_point.hpp"

namespace troupe::policy {

enum class breaker_state { closed, open, half_open };
BOOST_DESCRIBE_ENUM(breaker_state, closed, open, half_open)

class circuit_breaker;

/// The right to make one call. A move-only value that settles itself: one that dies without a result is abandoned, so that no path
/// forgets a probe. It must not outlive its breaker.
class [[nodiscard]] breaker_permit {
public:
  breaker_permit() = default; ///< empty: settles nothing
  breaker_permit(breaker_permit&& other) noexcept;
  breaker_permit& operator=(breaker_permit&& other) noexcept;
  breaker_permit(const breaker_permit&) = delete;
  breaker_permit& operator=(const breaker_permit&) = delete;
  ~breaker_permit();

  explicit operator bool() const { return breaker_ != nullptr; }

  /// The call's result. Each empties the permit and gives the state that the breaker changed to, if it did. A result of a call that began
  /// in an earlier state of the breaker is ignored: what was sent before it opened says nothing about the probe.
  std::optional<breaker_state> succeeded(time_point now);
  std::optional<breaker_state> failed(time_point now);
  /// Neither: cancelled, 429, a fatal 4xx. The probe's place is free again.
  void abandoned();

private:
  friend class circuit_breaker;
  breaker_permit(circuit_breaker& breaker, std::uint64_t generation) : breaker_(&breaker), generation_(generation) {}
  circuit_breaker* breaker_ = nullptr;
  std::uint64_t generation_ = 0;
};

/// One thread only (an actor's state). Neither copied nor moved: permits point to it.
class circuit_breaker {
public:
  static constexpr std::int64_t window_calls_min = 20;
  static constexpr std::chrono::seconds window{30};

  explicit circuit_breaker(const breaker_spec& spec) : spec_(spec) {}
  circuit_breaker(const circuit_breaker&) = delete;
  circuit_breaker& operator=(const circuit_breaker&) = delete;

  /// The state at this time; an open breaker whose time is over is half-open.
  breaker_state state(time_point now) const;

  /// Whether `acquire` would admit a call now.
  bool admits(time_point now) const;

  /// When the next call may be admitted: now where one is, the end of the open time; while a probe is under way, the time at which an
  /// open breaker would be probed again if it failed now.
  time_point next_probe(time_point now) const;

  struct admission {
    breaker_permit permit;                ///< empty: not admitted
    std::optional<breaker_state> changed; ///< half_open: this call is the probe
  };
  /// A permit for one call, or none. Half-open, the first caller is the probe and all others are refused until it has settled.
  admission acquire(time_point now);

private:
  friend class breaker_permit;
  std::optional<breaker_state> settle(std::uint64_t generation, bool success, time_point now);
  void abandon(std::uint64_t generation);
  void enter(breaker_state state);
  void count(bool success, time_point now);

  /// Calls and failures that ended within one second.
  struct second {
    std::int64_t at = 0; ///< since the clock's origin
    std::int64_t calls = 0;
    std::int64_t failures = 0;
  };

  breaker_spec spec_;
  breaker_state state_ = breaker_state::closed;
  std::uint64_t generation_ = 1; ///< of the state: a permit of an older one is void
  std::int64_t in_a_row_ = 0;
  time_point open_until_{};
  bool probing_ = false;
  std::array<second, window.count()> seconds_{};
};

} // namespace troupe::policy
