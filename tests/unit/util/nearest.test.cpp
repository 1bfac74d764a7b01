#include "test.hpp"

#include <string_view>
#include <vector>

#include "troupe/util/nearest.hpp"

TROUPE_SUITE(nearest)

using namespace troupe;

TROUPE_TEST("the nearest name is within a third of the length, at most three edits") {
  const std::vector<std::string_view> names = {"grep", "read_file", "write_file", "url"};
  CHECK_EQ(nearest_name("grpe", names), "grep");
  CHECK_EQ(nearest_name("raed_fil", names), "read_file");
  CHECK_EQ(nearest_name("ulr", names), "url");
  CHECK_EQ(nearest_name("clock", names), "");
  CHECK_EQ(nearest_name("", names), "");
  CHECK_EQ(nearest_name(std::string(5'000, 'x'), names), "");
}

TROUPE_TEST("a swap of neighbours is one edit") {
  CHECK_EQ(edit_distance("form", "from", 3), 1u);
  CHECK_EQ(edit_distance("kitten", "sitting", 3), 3u);
  CHECK_EQ(edit_distance("abc", "xyz", 2), 3u);
}
