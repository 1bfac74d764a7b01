#include "test.hpp"

#include <thread>
#include <vector>

#include "troupe/schema/schema.hpp"

TROUPE_SUITE(schema_hostile)

using namespace troupe::schema;

namespace {

json nested(std::size_t depth, const char* name = nullptr) {
  json out = name != nullptr ? json::object() : json::array();
  for (std::size_t i = 1; i < depth; ++i) {
    json outer = name != nullptr ? json::object() : json::array();
    if (name != nullptr)
      outer[name] = std::move(out);
    else
      outer.push_back(std::move(out));
    out = std::move(outer);
  }
  return out;
}

compiled_schema compiled(const json& schema) {
  auto out = compiled_schema::compile(schema);
  if (!out)
    CAF_FAIL(out.error().text());
  return *std::move(out);
}

} // namespace

TROUPE_TEST("a value deeper than 512 levels is a violation, not a crash") {
  const auto schema = compiled(json::parse(R"({"$defs": {"tree": {"items": {"$ref": "#/$defs/tree"}}}, "$ref": "#/$defs/tree"})"));
  CHECK(schema.is_valid(nested(512)));
  const auto found = schema.validate(nested(513));
  REQUIRE(found.size() == 1);
  CHECK_EQ(found.front().rule, "depth");
}

TROUPE_TEST("stack use is bounded where a schema adds many frames to each level of a value") {
  json schema = json::parse(R"({"$defs": {}, "$ref": "#/$defs/0"})");
  for (int i = 0; i < 200; ++i)
    schema["$defs"][std::to_string(i)] = {{"$ref", "#/$defs/" + std::to_string(i + 1)}};
  schema["$defs"]["200"] = {{"items", {{"$ref", "#/$defs/0"}}}};
  const auto made = compiled(schema);
  CHECK(made.is_valid(nested(9)));
  const auto found = made.validate(nested(500));
  REQUIRE(found.size() == 1);
  CHECK_EQ(found.front().rule, "depth");
}

TROUPE_TEST("a schema beyond its bounds is refused") {
  CHECK(!compiled_schema::compile(nested(200, "not")).has_value());
  json wide = {{"enum", json::array()}};
  for (int i = 0; i < 100'001; ++i)
    wide["enum"].push_back(i);
  CHECK(!compiled_schema::compile(wide).has_value());
  json chain = json::parse(R"({"$defs": {}})");
  for (int i = 0; i < 300; ++i)
    chain["$defs"][std::to_string(i)] = {{"$ref", "#/$defs/" + std::to_string(i + 1)}};
  chain["$defs"]["300"] = true;
  CHECK(!compiled_schema::compile(chain).has_value());
}

TROUPE_TEST("a subschema used twice at each of sixty levels is not evaluated 2^60 times") {
  json schema = json::parse(R"({"$ref": "#/$defs/0", "$defs": {"60": {"required": ["a"]}}})");
  for (int i = 0; i < 60; ++i) {
    const json next = {{"$ref", "#/$defs/" + std::to_string(i + 1)}};
    schema["$defs"][std::to_string(i)] = {{"allOf", {next, next}}};
  }
  const auto all = compiled(schema);
  CHECK(all.is_valid({{"a", 1}}));
  const auto missing = all.validate({{"b", 1}});
  REQUIRE(missing.size() == 1);
  CHECK_EQ(missing.front().rule, "required");
  for (int i = 0; i < 60; ++i)
    schema["$defs"][std::to_string(i)] = {{"anyOf", schema["$defs"][std::to_string(i)]["allOf"]}};
  const auto any = compiled(schema);
  const auto found = any.validate({{"b", 1}});
  REQUIRE(!found.empty());
  CHECK(found.front().rule != "complexity");
}

TROUPE_TEST("nor where each level of the value doubles the work, also for unevaluatedProperties") {
  for (const auto* closing : {"true", "false"}) {
    auto schema = json::parse(
        R"({"$defs": {"n": {"allOf": [{"properties": {"x": {"$ref": "#/$defs/n"}}}, {"properties": {"x": {"$ref": "#/$defs/n"}}}],
                                                  "unevaluatedProperties": )"
        + std::string(closing) + R"(}}, "$ref": "#/$defs/n"})");
    const auto made = compiled(schema);
    CHECK(made.is_valid(nested(300, "x")));
    auto wrong = nested(300, "x");
    auto* at = &wrong;
    for (int i = 0; i < 299; ++i)
      at = &(*at)["x"];
    (*at)["y"] = 1;
    CHECK_EQ(made.validate(wrong).size(), std::string(closing) == "true" ? 0u : 1u);
  }
}

TROUPE_TEST("explaining nested alternatives does not grow exponentially") {
  const auto schema = compiled(json::parse(R"({"$defs": {"n": {"anyOf": [
    {"type": "object", "properties": {"x": {"$ref": "#/$defs/n"}}, "required": ["k"]},
    {"type": "object", "properties": {"x": {"$ref": "#/$defs/n"}}, "required": ["l"]}]}}, "$ref": "#/$defs/n"})"));
  const auto found = schema.validate(nested(200, "x"));
  CHECK(!found.empty());
  CHECK(found.front().rule != "complexity");
}

TROUPE_TEST("a loop through $dynamicRef ends as a violation") {
  const auto schema = compiled(json::parse(R"({"$id": "https://example.com/a", "$dynamicAnchor": "n", "allOf": [{"$dynamicRef": "#n"}]})"));
  const auto found = schema.validate(json::object());
  REQUIRE(found.size() == 1);
  CHECK_EQ(found.front().rule, "depth");
}

TROUPE_TEST("what cannot be checked is invalid, also under not") {
  const auto schema = compiled(json::parse(R"({"$id": "https://example.com/a", "not": {"$dynamicAnchor": "n", "$dynamicRef": "#n"}})"));
  CHECK(!schema.is_valid(json::object()));
}

TROUPE_TEST("patterns run in linear time, and a huge one is refused") {
  const auto schema = compiled(json::parse(R"({"pattern": "^(a|b)*(a|b)*(a|b)*$", "type": "string"})"));
  CHECK(schema.is_valid(std::string(200'000, 'a')));
  CHECK(!schema.is_valid(std::string(200'000, 'a') + "c"));
  CHECK(!compiled_schema::compile(json{{"pattern", "((a{100}){100}){100}"}}).has_value());
  CHECK(!compiled_schema::compile(json{{"pattern", std::string(20'000, 'a')}}).has_value());
}

TROUPE_TEST("long names in many nested schemas do not multiply") {
  const std::string name(100'000, 'k');
  json inner = json::object();
  for (int i = 0; i < 20'000; ++i)
    inner["properties"][std::to_string(i)] = json::object();
  const json schema = {{"properties", {{name, std::move(inner)}}}};
  CHECK(compiled_schema::compile(schema).has_value());
}

TROUPE_TEST("one compiled schema serves many threads") {
  const auto schema = compiled(json::parse(R"({"$ref": "https://json-schema.org/draft/2020-12/schema"})"));
  const auto value = json::parse(R"({"properties": {"a": {"minLength": "1"}}})");
  std::vector<std::thread> threads;
  std::vector<std::size_t> found(4);
  for (std::size_t i = 0; i < found.size(); ++i)
    threads.emplace_back([&, i] {
      for (int n = 0; n < 50; ++n)
        found[i] += schema.validate(value).size();
    });
  for (auto& thread : threads)
    thread.join();
  for (const auto count : found)
    CHECK_EQ(count, found.front());
}
