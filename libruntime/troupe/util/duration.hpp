#pragma once
// Durations as people write them: a whole number and a unit, `250ms 10s 5m 24h 7d`.

#include <chrono>
#include <string>
#include <string_view>

#include "troupe/model/error.hpp"

namespace troupe {

/// Reads `250ms`, `10s`, `5m`, `24h` or `7d` (digits, then the unit, nothing else). `invalid_argument` with words for people when it is
/// none, negative, or longer than 100 years (so that adding it to any clock cannot overflow).
expected<std::chrono::milliseconds> parse_duration(std::string_view text);

/// The text that reads back as the same time, in the largest unit that is exact: 60'000 ms is "1m".
std::string format_duration(std::chrono::milliseconds time);

} // namespace troupe
