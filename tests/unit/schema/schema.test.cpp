#include "test.hpp"

#include <vector>

#include "troupe/schema/schema.hpp"

TROUPE_SUITE(schema)

using namespace troupe::schema;

namespace {

compiled_schema compiled(const char* text) {
  auto out = compiled_schema::compile(json::parse(text));
  if (!out)
    CAF_FAIL(text << ": " << out.error().text());
  return *std::move(out);
}

std::string first_text(const char* schema, const char* value) {
  const auto found = compiled(schema).validate(json::parse(value));
  return found.empty() ? "valid" : found.front().text();
}

std::string refusal(const char* schema) {
  const auto out = compiled_schema::compile(json::parse(schema));
  return out ? "compiles" : out.error().text();
}

struct row {
  const char* schema;
  const char* value;
  const char* text = "";
};

} // namespace

TROUPE_TEST("a violation says where, what is there and what is wanted") {
  const std::vector<row> table = {
      {R"({"properties": {"facts": {"items": {"properties": {"source": {"required": ["url"]}}}}}})",
       R"({"facts": [{}, {}, {"source": {}}]})", R"(/facts/2/source: required property "url" is missing)"},
      {R"({"properties": {"count": {"maximum": 3}}})", R"({"count": 5})", "/count: 5 is more than the maximum 3"},
      {R"({"minimum": 3})", "2.5", "2.5 is less than the minimum 3"},
      {R"({"exclusiveMinimum": 3})", "3", "3 is not more than 3"},
      {R"({"exclusiveMaximum": 3})", "3.0", "3 is not less than 3"},
      {R"({"multipleOf": 0.01})", "1.005", "1.005 is not a multiple of 0.01"},
      {R"({"type": "integer"})", "\"abc\"", R"("abc" is a string, but must be an integer)"},
      {R"({"type": ["integer", "null"]})", "1.5", "1.5 is a number, but must be an integer or null"},
      {R"({"type": "string"})", "{}", "is an object, but must be a string"},
      {R"({"enum": ["red", "green", "blue"]})", "\"gren\"", R"("gren" is not one of "red", "green", "blue"; did you mean "green"?)"},
      {R"({"const": 1})", "2", "2 must be 1"},
      {R"({"minLength": 3})", "\"ab\"", "has 2 characters, at least 3 are needed"},
      {R"({"maxLength": 1})", "\"ab\"", "has 2 characters, at most 1 are allowed"},
      {R"({"pattern": "^a+$"})", "\"b\"", R"("b" does not match the pattern ^a+$)"},
      {R"({"minItems": 1})", "[]", "has 0 items, at least 1 are needed"},
      {R"({"maxItems": 1})", "[1, 2]", "has 2 items, at most 1 are allowed"},
      {R"({"prefixItems": [{}], "items": false})", "[1, 2]", "has 2 items, at most 1 are allowed"},
      {R"({"uniqueItems": true})", "[1, 2, 1.0]", "items 0 and 2 are equal, all must differ"},
      {R"({"contains": {"const": 1}})", "[2]", R"(no item is what "contains" asks for)"},
      {R"({"contains": {"const": 1}, "maxContains": 1})", "[1, 1]", R"(2 items of what "contains" asks for, at most 1 are allowed)"},
      {R"({"properties": {"topic": {}, "depth": {}}, "additionalProperties": false})", R"({"topc": 1})",
       R"(property "topc" is not allowed; did you mean "topic"?)"},
      {R"({"properties": {"a": {}, "b": {}}, "additionalProperties": false})", R"({"zebra": 1})",
       R"(property "zebra" is not allowed; allowed: "a", "b")"},
      {R"({"properties": {"a": {}}, "unevaluatedProperties": false})", R"({"b": 1})",
       R"(property "b" is not allowed: no schema describes it)"},
      {R"({"propertyNames": {"maxLength": 2}})", R"({"abc": 1})",
       R"(property "abc" is not allowed: its name has 3 characters, at most 2 are allowed)"},
      {R"({"dependentRequired": {"a": ["b"]}})", R"({"a": 1})", R"(property "b" is missing, which "a" needs beside it)"},
      {R"({"minProperties": 1})", "{}", "has 0 properties, at least 1 are needed"},
      {R"({"not": {"type": "string"}})", "\"x\"", R"("x" is what the schema under "not" excludes)"},
      {R"({"oneOf": [{"minimum": 1}, {"maximum": 5}]})", "3",
       "3 matches both alternative 1 and alternative 2 of oneOf, but must match only one"},
      {R"({"anyOf": [{"type": "string"}, {"type": "null"}]})", "3", "3 is an integer, but must be a string or null"},
      {R"({"properties": {"a/b~c": {"type": "null"}}})", R"({"a/b~c": 1})", "/a~1b~0c: 1 is an integer, but must be null"},
  };
  for (const auto& [schema, value, text] : table)
    CHECK_EQ(first_text(schema, value), text);
}

TROUPE_TEST("of alternatives the closest one is explained: the constant that tells them apart decides") {
  const auto* schema = R"({"oneOf": [
    {"properties": {"kind": {"const": "circle"}, "radius": {"type": "number"}}, "required": ["kind", "radius"]},
    {"properties": {"kind": {"const": "square"}, "side": {"type": "number"}}, "required": ["kind", "side"]}]})";
  const auto found = compiled(schema).validate(json::parse(R"({"kind": "square", "radius": 2})"));
  REQUIRE(found.size() == 2);
  CHECK_EQ(found[0].rule, "oneOf");
  CHECK_EQ(found[1].text(), R"(required property "side" is missing)");
  const auto text = compiled(R"({"anyOf": [{"const": "auto"}, {"type": "string", "minLength": 5}]})").validate("abc");
  REQUIRE(text.size() == 2);
  CHECK_EQ(text[1].rule, "minLength");
  const auto nullable = compiled(R"({"anyOf": [{"type": "null"}, {"required": ["url"]}]})").validate(json::object());
  REQUIRE(nullable.size() == 1);
  CHECK_EQ(nullable[0].text(), R"(required property "url" is missing)");
}

TROUPE_TEST("all broken rules are told, up to the limit") {
  const auto schema = compiled(R"({"required": ["a", "b"], "properties": {"c": {"type": "string"}}, "additionalProperties": false})");
  const auto value = json::parse(R"({"c": 1, "d": 2})");
  CHECK_EQ(schema.validate(value).size(), 4u);
  CHECK_EQ(schema.validate(value, 2).size(), 2u);
  CHECK_EQ(schema.validate(value, 0).size(), 1u);
}

TROUPE_TEST("numbers compare by their value") {
  const std::vector<row> valid = {
      {R"({"type": "integer"})", "1.0"},
      {R"({"const": 1})", "1.0"},
      {R"({"enum": [9007199254740993]})", "9007199254740993"},
      {R"({"minimum": 18446744073709551615})", "18446744073709551615"},
      {R"({"multipleOf": 0.01})", "19.99"},
      {R"({"multipleOf": 0.01})", "1.13"},
      {R"({"multipleOf": 0.0001})", "0.0075"},
      {R"({"multipleOf": 0.00000001})", "12391239123"},
      {R"({"multipleOf": 1e-8})", "1e300"},
      {R"({"multipleOf": 10.0})", "120"},
      {R"({"minLength": 2})", "\"\\ud83d\\udca9\\ud83d\\udca9\""},
      {R"({"minItems": 1.0})", "[0]"},
  };
  for (const auto& [schema, value, text] : valid) {
    IN_ROW(schema);
    CHECK(compiled(schema).is_valid(json::parse(value)));
  }
  const std::vector<row> invalid = {
      {R"({"const": 9007199254740993})", "9007199254740992.0"},
      {R"({"const": -9007199254740993})", "-9007199254740992.0"},
      {R"({"multipleOf": 10.0})", "125"},
      {R"({"maximum": 9007199254740992})", "9007199254740993"},
      {R"({"exclusiveMaximum": 18446744073709551615})", "18446744073709551616.0"},
      {R"({"multipleOf": 0.0001})", "0.00751"},
      {R"({"multipleOf": 0.123456789})", "1e308"},
      {R"({"maxLength": 1})", "\"\\ud83d\\udca9\\ud83d\\udca9\""},
  };
  for (const auto& [schema, value, text] : invalid) {
    IN_ROW(schema);
    CHECK(!compiled(schema).is_valid(json::parse(value)));
  }
}

TROUPE_TEST("a schema that is wrong or asks for what is not supported is refused, with the place") {
  struct refused {
    const char* schema;
    const char* text;
  };
  const std::vector<refused> table = {
      {R"({"properties": {"a": {"type": "strng"}}})", R"(/properties/a/type: "strng" is no type; did you mean "string"?)"},
      {R"({"type": []})", "is no type"},
      {R"({"minLength": -1})", "/minLength: minLength must be a whole number of at least 0, not -1"},
      {R"({"required": ["a", "a"]})", "/required: required must be a list of different property names"},
      {R"({"multipleOf": 0})", "/multipleOf: multipleOf must be more than 0"},
      {R"({"items": [{}]})", "/items: items is one schema in 2020-12"},
      {R"({"properties": {"a": 5}})", "/properties/a: a schema is an object or true or false, not 5"},
      {R"({"allOf": []})", "/allOf: allOf must be a list of at least one schema"},
      {R"({"$schema": "http://json-schema.org/draft-07/schema#"})", "only JSON Schema 2020-12 is supported"},
      {R"({"$ref": "https://example.com/other"})",
       "/$ref: \"https://example.com/other\" refers to the document https://example.com/other, which is not here"},
      {R"({"$ref": "#/$defs/none"})", "leads nowhere"},
      {R"({"$ref": "#none"})", "refers to the anchor \"none\", which is not there"},
      {R"({"pattern": "(?=a)b"})", "/pattern: pattern (?=a)b at offset 0: look-around is not supported"},
      {R"({"pattern": "(a)\\1"})", "back-references are not supported"},
      {R"({"patternProperties": {"(": {}}})", "/patternProperties: "},
      {R"({"additionalItems": false})", "is of an older draft"},
      {R"({"$ref": "#"})", "$ref loop"},
      {R"({"$defs": {"a": {"anyOf": [{"$ref": "#/$defs/b"}]}, "b": {"not": {"$ref": "#/$defs/a"}}}, "properties": {"x": {"$ref": "#/$defs/a"}}})",
       "$ref loop"},
      {R"({"$id": "#frag"})", "/$id: $id must be"},
      {R"({"$defs": {"a": {"$anchor": "x"}, "b": {"$anchor": "x"}}})", "the anchor \"x\" is given twice"},
  };
  for (const auto& [schema, text] : table) {
    const auto said = refusal(schema);
    if (said.find(text) == std::string::npos)
      CAF_ERROR(schema << "\n  says: " << said << "\n  not:  " << text);
    CHECK(said.find(text) != std::string::npos);
  }
}

TROUPE_TEST("all problems of a schema are found at once") {
  std::size_t cost = 0;
  const auto refused = compiled_schema::compile_or_all_problems(
      json::parse(R"({"minLength": -1, "type": "x", "properties": {"a": {"pattern": "("}}})"), cost);
  REQUIRE(!refused.has_value());
  CHECK_EQ(refused.error().size(), 3u);
  CHECK(cost > 0);
  CHECK(compiled_schema::compile_or_all_problems(json::object(), cost).has_value());
}

TROUPE_TEST("a misspelt keyword is a warning") {
  const auto schema = compiled(R"({"properties": {"a": {"requird": ["b"]}}, "x-internal": 1, "example": {}})");
  REQUIRE(schema.warnings().size() == 1);
  CHECK_EQ(schema.warnings().front(), R"(/properties/a: the keyword "requird" is unknown and ignored; did you mean "required"?)");
}

TROUPE_TEST("the metaschema is here, other documents are those that are given") {
  const auto meta = compiled(R"({"$ref": "https://json-schema.org/draft/2020-12/schema"})");
  CHECK(meta.is_valid(json::parse(R"({"properties": {"a": {"minLength": 1}}})")));
  CHECK(!meta.is_valid(json::parse(R"({"properties": {"a": {"minLength": "1"}}})")));
  const auto given = compiled_schema::compile(json::parse(R"({"$ref": "https://example.com/a"})"),
                                              {{"https://example.com/a", json::parse(R"({"type": "null"})")}});
  REQUIRE(given.has_value());
  CHECK(given->is_valid(nullptr));
  CHECK(!given->is_valid(1));
}

TROUPE_TEST("what draft 7 tools declare besides works: definitions, dependencies") {
  const auto schema = compiled(
      R"({"definitions": {"n": {"type": "integer"}}, "properties": {"a": {"$ref": "#/definitions/n"}}, "dependencies": {"a": ["b"], "c": {"required": ["d"]}}})");
  CHECK(schema.is_valid(json::parse(R"({"a": 1, "b": 2})")));
  CHECK(!schema.is_valid(json::parse(R"({"a": "1", "b": 2})")));
  CHECK(!schema.is_valid(json::parse(R"({"a": 1})")));
  CHECK(!schema.is_valid(json::parse(R"({"c": 1})")));
}
