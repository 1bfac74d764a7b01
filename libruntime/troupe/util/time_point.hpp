#pragma once
// The one type of monotonic instants. Policies take it as an argument; actors get it from their (possibly simulated) clock.

#include <chrono>

namespace troupe {

/// An instant of the monotonic clock, the same type as CAF's `actor_clock::time_point`. Its origin means nothing.
using time_point = std::chrono::steady_clock::time_point;

} // namespace troupe
