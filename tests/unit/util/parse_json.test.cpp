#include "troupe/util/parse_json.hpp"

#include "test.hpp"

TROUPE_SUITE(parse_json)

using namespace troupe;

TROUPE_TEST("an integer that would become another number is found") {
  struct row {
    const char* rule;
    const char* text;
    const char* found; ///< "": none
  };
  const row rows[] = {
      {"small ones are exact", R"({"a": [1, -2, 0, 999999999999999999]})", ""},
      {"64 bits with a sign", "[9223372036854775807, -9223372036854775808]", ""},
      {"64 bits without", "18446744073709551615", ""},
      {"one more, which a double holds", "18446744073709551616", ""},
      {"two more, which it does not", "[1, 18446744073709551617]", "18446744073709551617"},
      {"below 64 bits with a sign", R"({"a":-9223372036854775809})", "-9223372036854775809"},
      {"an account's number", R"({"acc": 123456789012345678901234, "b": 1})", "123456789012345678901234"},
      {"a power of ten that a double holds", "10000000000000000000000", ""},
      {"one that it does not", "100000000000000000000000", "100000000000000000000000"},
      {"in a text it is text", R"({"acc": "123456789012345678901234", "b\"1": "\\"})", ""},
      {"with a point or an exponent it is no integer", "[1234567890123456789012.5, 1e30]", ""},
      {"a number at the end of what is no JSON", "1234567890123456789012345", "1234567890123456789012345"},
  };
  for (const auto& each : rows) {
    IN_ROW(each.rule);
    CHECK_EQ(std::string(inexact_integer(each.text).value_or("")), each.found);
  }
}
