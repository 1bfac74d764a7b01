#include "test.hpp"

#include "troupe/util/suggest.hpp"

TROUPE_SUITE(suggest)

using namespace troupe;

TROUPE_TEST("the nearest name is suggested when it is near enough to be a slip") {
  const std::vector<std::string_view> names{"grep", "read_file", "write_file", "ripgrep", "a"};
  const std::vector<std::pair<const char*, const char*>> rows{{"grpe", "grep"},          // neighbours swapped
                                                              {"grp", "grep"},           // one left out
                                                              {"GREP", "grep"},          // case does not count
                                                              {"readfile", "read_file"}, // one left out of many
                                                              {"raed_fiel", "read_file"},
                                                              {"weather", ""}, // too far from all
                                                              {"clock", ""},
                                                              {"extraordinarily_grep", ""}, // three edits at most, however long the name is
                                                              {"b", ""},                    // one letter replaced is another word
                                                              {"", ""}};
  for (const auto& [name, wanted] : rows) {
    IN_ROW(name);
    CHECK_EQ(nearest_name(name, names), wanted);
  }
  CHECK_EQ(did_you_mean("grpe", names), "; did you mean \"grep\"?");
  CHECK_EQ(did_you_mean("weather", names), "");
  CHECK_EQ(did_you_mean_or_list("grpe", names), "; did you mean \"grep\"?");
  CHECK_EQ(did_you_mean_or_list("weather", {"a", "b"}), "; there are: \"a\", \"b\"");
  CHECK_EQ(did_you_mean_or_list("weather", {}), "");
  CHECK_EQ(did_you_mean_or_list("weather", std::vector<std::string_view>(12, "a")),
           "; there are: \"a\", \"a\", \"a\", \"a\", \"a\", \"a\", \"a\", \"a\", \"a\", \"a\" and 2 more");
}

TROUPE_TEST("a swap of neighbours is one edit, and what is beyond the limit is not counted further") {
  const std::vector<std::tuple<const char*, const char*, std::size_t, std::size_t>> rows{
      {"form", "from", 3, 1},     {"kitten", "sitting", 3, 3},
      {"abc", "xyz", 2, 3},       {"", "abc", 3, 3},
      {"abc", "", 2, 3},          {"ab", "ba", 0, 1},
      {"same", "SAME", 0, 0},     {"a_b", "ab", 1, 1},
      {"xabcx", "xcabx", 2, 2},   {"abcdefgh", "bcdefgha", 2, 2},
      {"abcdef", "badcfe", 3, 3}, {"abcdef", "badcfe", 2, 3}};
  for (const auto& [left, right, limit, wanted] : rows) {
    IN_ROW(std::string(left) + " " + right);
    CHECK_EQ(edit_distance(left, right, limit), wanted);
    CHECK_EQ(edit_distance(right, left, limit), wanted);
  }
}

TROUPE_TEST("the edits within a band are those of the whole table") {
  // All words of up to four letters over two: the plain definition, without a limit, is the reference.
  std::vector<std::string> words{""};
  for (std::size_t i = 0; words[i].size() < 4; ++i)
    for (const char c : {'a', 'b'})
      words.push_back(words[i] + c);
  const auto reference = [](const std::string& a, const std::string& b) {
    std::vector<std::vector<std::size_t>> d(a.size() + 1, std::vector<std::size_t>(b.size() + 1));
    for (std::size_t i = 0; i <= a.size(); ++i)
      for (std::size_t j = 0; j <= b.size(); ++j) {
        d[i][j] = i == 0   ? j
                  : j == 0 ? i
                           : std::min({d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0U : 1U)});
        if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
          d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
      }
    return d[a.size()][b.size()];
  };
  for (const auto& left : words)
    for (const auto& right : words)
      for (std::size_t limit = 0; limit < 4; ++limit) {
        const auto found = edit_distance(left, right, limit);
        const auto wanted = std::min(reference(left, right), limit + 1);
        if (found != wanted)
          IN_ROW(left + " " + right + " " + std::to_string(limit));
        CHECK_EQ(found, wanted);
      }
}

TROUPE_TEST("names in messages are cut and carry no control characters") {
  CHECK_EQ(in_quotes("a\x1b[31m\"b\"\n"), "\"a\\u001b[31m\\\"b\\\"\\n\"");
  const std::string long_name(79, 'x');
  std::string wanted = "\"";
  wanted.append(long_name).append("…\"");
  CHECK_EQ(in_quotes(long_name + "ééé"), wanted);
}
