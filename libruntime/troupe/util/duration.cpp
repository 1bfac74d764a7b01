#include "troupe/util/duration.hpp"

#include <array>
#include <charconv>
#include <cstdint>

#include "troupe/util/suggest.hpp"

namespace troupe {

namespace {

struct unit {
  std::string_view name;
  std::int64_t ms;
};

constexpr std::array<unit, 5> units{{{"d", 86'400'000}, {"h", 3'600'000}, {"m", 60'000}, {"s", 1'000}, {"ms", 1}}};
constexpr std::int64_t longest_ms = 36'525LL * 86'400'000; // 100 years

} // namespace

expected<std::chrono::milliseconds> parse_duration(std::string_view text) {
  const auto wrong = [&](const char* why) { return fail(error_code::invalid_argument, in_quotes(text) + why); };
  constexpr const char* none = " is no duration; write a whole number and a unit, as in 250ms, 10s, 5m, 24h, 7d";
  if (!text.empty() && text.front() == '-')
    return wrong(" is negative; a duration is zero or more, as in 10s");
  std::int64_t count = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), count);
  if (code == std::errc::result_out_of_range)
    return wrong(" is longer than 100 years");
  if (code != std::errc{})
    return wrong(none);
  const std::string_view name(end, static_cast<std::size_t>(text.data() + text.size() - end));
  for (const auto& each : units) {
    if (name != each.name)
      continue;
    if (count > longest_ms / each.ms)
      return wrong(" is longer than 100 years");
    return std::chrono::milliseconds(count * each.ms);
  }
  return wrong(none);
}

std::string format_duration(std::chrono::milliseconds time) {
  const std::int64_t ms = time.count();
  for (const auto& each : units)
    if (ms % each.ms == 0 && (ms != 0 || each.ms == 1'000))
      return std::to_string(ms / each.ms) + std::string(each.name);
  return std::to_string(ms) + "ms";
}

} // namespace troupe
