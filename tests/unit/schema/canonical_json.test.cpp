#include "test.hpp"

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "troupe/schema/canonical_json.hpp"

TROUPE_SUITE(canonical_json)

using namespace troupe::schema;
using nlohmann::json;

TROUPE_TEST("numbers are those of RFC 8785, appendix B") {
  struct row {
    std::uint64_t bits;
    const char* text;
  };
  const std::vector<row> table = {
      {0x0000000000000000, "0"},
      {0x8000000000000000, "0"},
      {0x0000000000000001, "5e-324"},
      {0x8000000000000001, "-5e-324"},
      {0x7fefffffffffffff, "1.7976931348623157e+308"},
      {0xffefffffffffffff, "-1.7976931348623157e+308"},
      {0x4340000000000000, "9007199254740992"},
      {0xc340000000000000, "-9007199254740992"},
      {0x4430000000000000, "295147905179352830000"},
      {0x7fffffffffffffff, "null"}, // NaN: the RFC would have us stop
      {0x7ff0000000000000, "null"}, // infinity
      {0x44b52d02c7e14af5, "9.999999999999997e+22"},
      {0x44b52d02c7e14af6, "1e+23"},
      {0x44b52d02c7e14af7, "1.0000000000000001e+23"},
      {0x444b1ae4d6e2ef4e, "999999999999999700000"},
      {0x444b1ae4d6e2ef4f, "999999999999999900000"},
      {0x444b1ae4d6e2ef50, "1e+21"},
      {0x3eb0c6f7a0b5ed8c, "9.999999999999997e-7"},
      {0x3eb0c6f7a0b5ed8d, "0.000001"},
      {0x41b3de4355555553, "333333333.3333332"},
      {0x41b3de4355555554, "333333333.33333325"},
      {0x41b3de4355555555, "333333333.3333333"},
      {0x41b3de4355555556, "333333333.3333334"},
      {0x41b3de4355555557, "333333333.33333343"},
      {0xbecbf647612f3696, "-0.0000033333333333333333"},
      {0x43143ff3c1cb0959, "1424953923781206.2"},
  };
  for (const auto& [bits, text] : table)
    CHECK_EQ(canonical_json(json(std::bit_cast<double>(bits))), text);
}

TROUPE_TEST("the example of RFC 8785, section 3.2.2 is written as section 3.2.4 has it") {
  const auto value = json::parse(R"({
    "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
    "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
    "literals": [null, true, false]
  })");
  CHECK_EQ(canonical_json(value),
           R"({"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\u000f\nA'B\"\\\\\"/"})");
}

TROUPE_TEST("members are ordered by UTF-16 code units, as in RFC 8785, section 3.2.3") {
  const auto value = json::parse(R"({
    "\u20ac": "Euro Sign", "\r": "Carriage Return", "\ufb33": "Hebrew Letter Dalet With Dagesh", "1": "One",
    "\ud83d\ude00": "Emoji: Grinning Face", "\u0080": "Control", "\u00f6": "Latin Small Letter O With Diaeresis"
  })");
  const auto text = canonical_json(value);
  std::size_t last = 0;
  for (const auto* name : {"Carriage Return", "One", "Control", "Latin Small", "Euro Sign", "Emoji", "Hebrew"}) {
    const auto at = text.find(name);
    REQUIRE(at != std::string::npos);
    CHECK(at > last);
    last = at;
  }
}

TROUPE_TEST("equal numbers have one text, whole numbers keep every digit") {
  CHECK_EQ(canonical_json(json::parse("[1.0, 1, -0.0, 1e2, 9007199254740993, 18446744073709551615, -9223372036854775808]")),
           "[1,1,0,100,9007199254740993,18446744073709551615,-9223372036854775808]");
}

TROUPE_TEST("whatever is in memory has a canonical text") {
  CHECK_EQ(canonical_json(json("a\xFFz")), "\"a\xEF\xBF\xBDz\"");
  CHECK_EQ(canonical_json(json(std::numeric_limits<double>::quiet_NaN())), "null");
  CHECK_EQ(canonical_json(json::array()), "[]");
  CHECK_EQ(canonical_json(json::object()), "{}");
  CHECK_EQ(canonical_json(json("\b\t\n\f\r\x01\x7f")), "\"\\b\\t\\n\\f\\r\\u0001\x7f\"");
}
