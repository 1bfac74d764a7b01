#pragma once
// Restart intensity (OTP's add_restart): more than `max_restarts` within `within` is too much.

#include <cstddef>
#include <cstdint>
#include <deque>

#include "troupe/policy/moment.hpp"

namespace troupe::policy {

/// Remembers restarts; O(1) amortised, memory at most `max_restarts` + 1 time points.
class restart_window {
public:
  restart_window(std::int64_t max_restarts, microseconds within) : max_restarts_(max_restarts), within_(within) {}

  /// Counts one restart. False: with it there were more than `max_restarts` within `within`; one whose age is exactly `within`
  /// still counts.
  bool add(time_point now) {
    forget(now);
    times_.push_back(now);
    if (static_cast<std::int64_t>(times_.size()) <= max_restarts_)
      return true;
    times_.pop_front(); // the answer stays right for the next one: it needs the last max_restarts_ only
    return false;
  }

  /// How many count at `now`.
  std::size_t count(time_point now) {
    forget(now);
    return times_.size();
  }

private:
  void forget(time_point now) {
    while (!times_.empty() && now - times_.front() > within_)
      times_.pop_front();
  }

  std::int64_t max_restarts_;
  microseconds within_;
  std::deque<time_point> times_;
};

} // namespace troupe::policy
