#include "troupe/util/clock.hpp"

#include <cstdio>

namespace troupe {

std::int64_t utc_now_us() {
  return std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::chrono::steady_clock::time_point monotonic_now() {
  return std::chrono::steady_clock::now();
}

std::string iso8601_utc(std::int64_t utc_us) {
  constexpr std::int64_t first = -62'167'219'200'000'000, last = 253'402'300'799'999'999; // 0000-01-01 and 9999-12-31
  utc_us = utc_us < first ? first : utc_us > last ? last : utc_us;
  const std::chrono::sys_time<std::chrono::microseconds> at{std::chrono::microseconds(utc_us)};
  const auto day = std::chrono::floor<std::chrono::days>(at);
  const std::chrono::year_month_day date{day};
  const auto of_day = std::chrono::duration_cast<std::chrono::milliseconds>(at - day).count();
  char text[40];
  std::snprintf(text, sizeof text, "%04d-%02u-%02uT%02d:%02d:%02d.%03dZ", static_cast<int>(date.year()),
                static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()), static_cast<int>(of_day / 3'600'000),
                static_cast<int>(of_day / 60'000 % 60), static_cast<int>(of_day / 1'000 % 60), static_cast<int>(of_day % 1'000));
  return text;
}

} // namespace troupe
