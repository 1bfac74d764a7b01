#include "test.hpp"

#include <random>

#include "troupe/util/fast_json.hpp"

TROUPE_SUITE(fast_json)

using nlohmann::json;
using troupe::parse_fast;

TROUPE_TEST("what it reads is what the careful parser reads, to the types of numbers") {
  for (const char* text :
       {"null", "true", "0", "-1", "9223372036854775807", "9223372036854775808", "18446744073709551615", "-9223372036854775808", "\"\"",
        R"("\u0000\ud83d\ude00 \n\"\\")", "[]", "{}", R"({"b":[1,{"c":null}],"a":{"a":[]},"b":[2]})", " [ 1 , 2 ] \n"}) {
    const auto careful = json::parse(text);
    const auto fast = parse_fast(text, 64);
    REQUIRE(fast.has_value());
    CHECK_EQ(fast->dump(), careful.dump());
    CHECK(fast->type() == careful.type());
  }
}

TROUPE_TEST("real numbers, integers beyond 64 bits, what is no JSON and what nests too deep are left to the careful parser") {
  for (const char* text : {"0.1", "[1e3]", "{\"a\":1.0}", "18446744073709551616", "", "[", "[1,]", "{\"a\"}", "nul", "1 2", "\"\xff\"",
                           "\"\\ud800\"", "\"\x01\"", "{'a':1}", "[1] x"})
    CHECK(!parse_fast(text, 64));
  CHECK(parse_fast(std::string(64, '[') + std::string(64, ']'), 64));
  CHECK(!parse_fast(std::string(65, '[') + std::string(65, ']'), 64));
  CHECK(!parse_fast(std::string(1'000'000, '['), 512));
}

TROUPE_TEST("random documents read the same") {
  std::mt19937_64 dice(5);
  const auto up_to = [&](int most) { return std::uniform_int_distribution<int>(0, most)(dice); };
  const auto make = [&](int depth, const auto& again) -> json {
    switch (up_to(depth > 0 ? 6 : 4)) {
    case 0:
      return nullptr;
    case 1:
      return up_to(1) == 0;
    case 2:
      return static_cast<std::int64_t>(dice());
    case 3:
      return dice();
    case 4: {
      std::string text;
      for (int i = up_to(12); i > 0; --i)
        text += static_cast<char>(up_to(126));
      return text;
    }
    case 5: {
      json list = json::array();
      for (int i = up_to(4); i > 0; --i)
        list.push_back(again(depth - 1, again));
      return list;
    }
    default: {
      json object = json::object();
      for (int i = up_to(4); i > 0; --i)
        object["k" + std::to_string(up_to(20))] = again(depth - 1, again);
      return object;
    }
    }
  };
  for (int i = 0; i < 2'000; ++i) {
    const auto text = make(5, make).dump();
    const auto fast = parse_fast(text, 64);
    REQUIRE(fast.has_value());
    REQUIRE(*fast == json::parse(text));
  }
}
