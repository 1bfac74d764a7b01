#include "test.hpp"

#include <vector>

#include "troupe/util/utf8.hpp"

TROUPE_SUITE(utf8)

using namespace troupe;
using namespace std::string_literals;

namespace {

struct row {
  const char* name;
  std::string bytes;
  std::string mended;
};

const std::vector<row> table = {
    {"ASCII stays", "plain text of more than eight bytes", "plain text of more than eight bytes"},
    {"two, three and four bytes stay", "\xC3\xA9 \xE2\x82\xAC \xF0\x9D\x84\x9E", "\xC3\xA9 \xE2\x82\xAC \xF0\x9D\x84\x9E"},
    {"a NUL is a code point like any other", "a\0b"s, "a\0b"s},
    {"a stray continuation byte is replaced", "a\x80z", "a\xEF\xBF\xBDz"},
    {"a cut sequence at the end is one replacement", "ab\xF0\x9D\x84", "ab\xEF\xBF\xBD"},
    {"a cut sequence keeps what follows it", "\xE2\x82(", "\xEF\xBF\xBD("},
    {"an overlong slash is replaced byte by byte", "\xC0\xAF", "\xEF\xBF\xBD\xEF\xBF\xBD"},
    {"an overlong three-byte form is no sequence", "\xE0\x80\xAF", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"},
    {"a surrogate is not UTF-8", "\xED\xA0\x80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"},
    {"nothing stands above U+10FFFF", "\xF4\x90\x80\x80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"},
    {"bytes that never occur are replaced", "\xFE\xFFx", "\xEF\xBF\xBD\xEF\xBF\xBDx"},
};

} // namespace

TROUPE_TEST("ill-formed sequences become U+FFFD and valid text stays as it is") {
  for (const auto& [name, bytes, mended] : table) {
    IN_ROW(name);
    CHECK_EQ(mended_utf8(bytes), mended);
    CHECK_EQ(is_valid_utf8(bytes), bytes == mended);
    CHECK(is_valid_utf8(mended_utf8(bytes)));
    auto text = bytes;
    CHECK_EQ(mend_utf8(text), bytes != mended);
    CHECK_EQ(text, mended);
  }
}

TROUPE_TEST("length counts code points") {
  CHECK_EQ(code_point_count(""), 0u);
  CHECK_EQ(code_point_count("na\xC3\xAFve"), 5u);
  CHECK_EQ(code_point_count("\xF0\x9F\x92\xA9\xF0\x9F\x92\xA9"), 2u);
}

TROUPE_TEST("a prefix never cuts a code point") {
  const std::string text = "a\xC3\xA9\xE2\x82\xAC\xF0\x9D\x84\x9E";
  const std::vector<std::size_t> kept = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 10};
  for (std::size_t bytes = 0; bytes < kept.size(); ++bytes)
    CHECK_EQ(utf8_prefix(text, bytes).size(), kept[bytes]);
  CHECK_EQ(utf8_prefix("\x80\x80\x80\x80\x80\x80", 5).size(), 5u);
}

TROUPE_TEST("a code point is written in as many bytes as it needs") {
  std::string out;
  for (auto code_point : {U'A', U'\u00E9', U'\u20AC', U'\U0001D11E', static_cast<char32_t>(0xD800), static_cast<char32_t>(0x110000)})
    append_code_point(out, code_point);
  CHECK_EQ(out, "A\xC3\xA9\xE2\x82\xAC\xF0\x9D\x84\x9E\xEF\xBF\xBD\xEF\xBF\xBD");
}
