#include "test.hpp"

#include "troupe/util/suggest.hpp"

TROUPE_SUITE(suggest)

using namespace troupe;

TROUPE_TEST("the nearest name is suggested when it is near enough to be a slip") {
  const std::vector<std::string_view> names{"grep", "read_file", "write_file", "ripgrep", "a"};
  const std::vector<std::pair<const char*, const char*>> rows{
      {"grpe", "grep"},          // neighbours swapped
      {"grp", "grep"},           // one left out
      {"GREP", "grep"},          // case does not count
      {"readfile", "read_file"}, // one left out of many
      {"raed_fiel", "read_file"},
      {"weather", ""},           // too far from all
      {"b", ""},                 // one letter replaced is another word
      {"", ""}};
  for (const auto& [name, wanted] : rows) {
    IN_ROW(name);
    CHECK_EQ(nearest_name(name, names).value_or(""), wanted);
  }
  CHECK_EQ(did_you_mean("grpe", names), "; did you mean \"grep\"?");
  CHECK_EQ(did_you_mean("weather", names), "");
}

TROUPE_TEST("names in messages are cut and carry no control characters") {
  CHECK_EQ(in_quotes("a\x1b[31m\"b\"\n"), "\"a\\u001b[31m\\\"b\\\"\\n\"");
  const std::string long_name(79, 'x');
  std::string wanted = "\"";
  wanted.append(long_name).append("…\"");
  CHECK_EQ(in_quotes(long_name + "ééé"), wanted);
}
