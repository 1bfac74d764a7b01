#pragma once
// Policies are pure: what they would ask a clock or a dice for comes in with each input.

#include <chrono>

#include "troupe/util/time_point.hpp"

namespace troupe::policy {

using std::chrono::microseconds;
using std::chrono::milliseconds;

/// When an input arrived, and one random number for whatever it has to decide.
struct moment {
  time_point now{};    ///< monotonic
  double random = 0.5; ///< uniform in [0, 1)
};

} // namespace troupe::policy
