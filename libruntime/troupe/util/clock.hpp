#pragma once
// The only place that reads a clock. Policies get the time as an argument; whoever asks them reads it here.

#include <chrono>
#include <cstdint>
#include <string>

namespace troupe {

/// Wall-clock time: microseconds since 1970-01-01T00:00:00Z. For people and records; it may jump. Any thread.
std::int64_t utc_now_us();

/// Time that never jumps: for deadlines and durations. Any thread.
std::chrono::steady_clock::time_point monotonic_now();

/// "2026-03-01T09:30:00.123Z": ISO 8601, UTC, milliseconds; years 0000 to 9999 (what lies outside is clamped). Pure.
std::string iso8601_utc(std::int64_t utc_us);

} // namespace troupe
