#include "test.hpp"

#include "troupe/util/duration.hpp"

TROUPE_SUITE(duration)

using namespace troupe;
using std::chrono::milliseconds;

TROUPE_TEST("a duration is a whole number and a unit") {
  const std::vector<std::pair<const char*, std::int64_t>> rows{
      {"250ms", 250},      {"10s", 10'000}, {"5m", 300'000}, {"24h", 86'400'000},
      {"7d", 604'800'000}, {"0s", 0},       {"007s", 7'000}, {"36525d", 3'155'760'000'000}};
  for (const auto& [text, ms] : rows) {
    IN_ROW(text);
    const auto read = parse_duration(text);
    REQUIRE(read.has_value());
    CHECK_EQ(read->count(), ms);
  }
}

TROUPE_TEST("what is no duration is refused with words that say how one is written") {
  for (const auto* text : {"", "5", "s", "5 s", "5S", "1.5s", "5sec", "5s5", " 5s", "5s ", "+5s", "ms", "5µs", "0x5s"}) {
    IN_ROW(text);
    const auto read = parse_duration(text);
    REQUIRE(!read.has_value());
    CHECK(read.error().message.find("250ms, 10s, 5m, 24h, 7d") != std::string::npos);
  }
  CHECK_EQ(parse_duration("-5s").error().message, "\"-5s\" is negative; a duration is zero or more, as in 10s");
}

TROUPE_TEST("a duration beyond 100 years is refused and never overflows") {
  for (const auto* text :
       {"36526d", "9223372036854775807d", "9223372036854775808ms", "99999999999999999999999h", "9223372036854775807ms"}) {
    IN_ROW(text);
    const auto read = parse_duration(text);
    REQUIRE(!read.has_value());
    CHECK(read.error().message.find("longer than 100 years") != std::string::npos);
  }
}

TROUPE_TEST("a formatted duration reads back as the same time, in the largest exact unit") {
  const std::vector<std::pair<std::int64_t, const char*>> rows{{0, "0s"},      {1, "1ms"},      {1'500, "1500ms"},
                                                               {60'000, "1m"}, {90'000, "90s"}, {172'800'000, "2d"}};
  for (const auto& [ms, text] : rows) {
    CHECK_EQ(format_duration(milliseconds(ms)), text);
    CHECK_EQ(parse_duration(text)->count(), ms);
  }
}
