#include "troupe/llm/hostile_document.hpp"

#include <nlohmann/json.hpp>

#include "test.hpp"

TROUPE_SUITE(hostile_document)

using troupe::llm::hostile_document;

namespace {

std::string read(std::string_view text) {
  const hostile_document document(text);
  return document.root() ? troupe::llm::text_of(*document.root()) : "no JSON";
}

TROUPE_TEST("what is JSON reads as the careful parser reads it, to the last bit of a number") {
  for (const char* text :
       {"null", "-1", "18446744073709551615", "18446744073709551616", "0.1", "-0.0", "1e-7", "5e-324", "1.7976931348623157e308",
        "3.14159265358979323846", R"({"b":[1,{"c":0.30000000000000004}],"a":"\u0000\ud83d\ude00","b":[2.5]})", "[]", " { } "})
    CHECK_EQ(read(text), nlohmann::json::parse(text).dump());
}

TROUPE_TEST("what can be mended is, and what cannot is no document") {
  struct row {
    const char* text;
    const char* wanted;
  };
  for (const auto& [text, wanted] : std::vector<row>{{"[NaN,-Infinity,1e999,1]", R"(["NaN","-Infinity","1e999",1])"},
                                                     {R"(["\ud800"])", "[\"\xEF\xBF\xBD\"]"},
                                                     {"[\"\xff\"]", "[\"\xEF\xBF\xBD\"]"},
                                                     {"", "no JSON"},
                                                     {"[1", "no JSON"},
                                                     {"[1] x", "no JSON"},
                                                     {"{'a':1}", "no JSON"}}) {
    IN_ROW(text);
    CHECK_EQ(read(text), wanted);
  }
  CHECK_EQ(read(std::string(512, '[') + std::string(512, ']')).size(), 1024u);
  CHECK_EQ(read(std::string(513, '[') + std::string(513, ']')), "no JSON");
  CHECK_EQ(read(std::string(1'000'000, '[')), "no JSON");
}

TROUPE_TEST("a text that names more values than it may is no document, one that has as many bytes is") {
  const auto list_of = [](std::string_view value, std::size_t count) {
    std::string text = "[1.5";
    for (std::size_t i = 0; i < count; ++i)
      text.append(",").append(value);
    return text + "]";
  };
  for (const char* value : {"1", "{}", "[]", "2.5", "null", R"({"a":1})"}) {
    IN_ROW(value);
    CHECK(hostile_document(list_of(value, 90'000)).root() != nullptr);
    CHECK(hostile_document(list_of(value, 250'000)).root() == nullptr);
  }
  CHECK(hostile_document("[\"" + std::string(4'000'000, ',') + "\\\"[[\",1.5]").root() != nullptr); // in a string they are no values
}

TROUPE_TEST("whoever asks for what is not there, or is something else, gets nothing") {
  const hostile_document document(R"({"text":"t","count":7,"list":[1,2],"none":null,"real":2.5,"far":1e300,"below":-3})");
  REQUIRE(document.object() != nullptr);
  const auto& object = *document.object();
  using namespace troupe::llm;
  CHECK_EQ(text_at(object, "text"), "t");
  CHECK_EQ(text_at(object, "count"), "");
  CHECK_EQ(text_at(value_at(object, "text"), "text"), ""); // of what is no object
  CHECK(value_at(object, "absent").is_null());
  REQUIRE(list_at(object, "list") != nullptr);
  CHECK_EQ(list_at(object, "list")->size(), 2u);
  CHECK(list_at(object, "text") == nullptr);
  CHECK(token_count(object, "count") == 7);
  CHECK(token_count(object, "below") == -3);
  CHECK(token_count(object, "real") == 3);
  for (const auto* absurd : {"text", "list", "far"})
    CHECK(token_count(object, absurd) == -1);
  for (const auto* absent : {"none", "absent"})
    CHECK(!token_count(object, absent));
  CHECK(hostile_document("[1]").object() == nullptr);
  CHECK(hostile_document("[1]").root() != nullptr);
}

} // namespace
