#include "test.hpp"

#include <vector>

#include "troupe/policy/contract.hpp"
#include "troupe/policy/json_in_text.hpp"
#include "troupe/util/parse_json.hpp"

TROUPE_SUITE(contract)

using namespace troupe;

namespace {

contract made(const output_spec& spec) {
  auto out = contract::compile(spec);
  if (!out)
    CAF_FAIL(out.error().text());
  return *std::move(out);
}

output_spec with_schema(const char* text) {
  output_spec out;
  out.schema = json::parse(text);
  return out;
}

std::vector<std::string> rules_of(const contract_verdict& verdict) {
  std::vector<std::string> out;
  for (const auto& found : verdict.violations)
    out.push_back(found.rule);
  return out;
}

using names = std::vector<std::string>;

} // namespace

TROUPE_TEST("without a schema the output is the text as it is") {
  const auto verdict = made({}).check("  any text\n");
  CHECK(verdict.accepted());
  CHECK_EQ(verdict.output, json("  any text\n"));
  CHECK_EQ(made({}).check("a\xFFz").output, json("a\xEF\xBF\xBDz"));
}

TROUPE_TEST("each text rule is told by its name") {
  output_spec spec;
  spec.min_length = 5;
  spec.max_length = 8;
  spec.matches = "^[A-Z]";
  spec.not_matches = "TODO|FIXME";
  spec.must_mention = {"Kafka", "a.b"};
  const auto rules = made(spec);
  struct row {
    const char* name;
    const char* text;
    names broken;
  };
  const std::vector<row> table = {
      {"all hold", "Kafka\na.b", {"max_length"}},
      {"code points count, not bytes", "\xC3\x84\xC3\x84\xC3\x84", {"min_length", "matches", "must_mention", "must_mention"}},
      {"a mention ignores case, and a dot is a dot", "KAFKA aXb", {"max_length", "must_mention"}},
      {"what is excluded", "TODO", {"min_length", "not_matches", "must_mention", "must_mention"}},
  };
  for (const auto& [name, text, broken] : table) {
    IN_ROW(name);
    CHECK(rules_of(rules.check(text)) == broken);
  }
  spec.max_length = spec.min_length = 9; // exactly so long
  CHECK(made(spec).check("Kafka a.b").accepted());
}

TROUPE_TEST("one JSON object or array is found in a fence or in text, and never one of several") {
  struct row {
    const char* name;
    const char* text;
    const char* value; ///< "" where none is accepted
  };
  const std::vector<row> table = {
      {"the value alone", " {\"a\": 1}\n", "{\"a\": 1}"},
      {"a scalar alone", "42", "42"},
      {"in a fence", "Here it is:\n```json\n{\"a\": 1}\n```\nDone.", "{\"a\": 1}"},
      {"in a fence without a language", "```\n[1, 2]\n```", "[1, 2]"},
      {"in an indented fence", "1. so:\n   ```json\n   {\"a\": 1}\n   ```", "{\"a\": 1}"},
      {"the fence wins over brackets in the text", "See [1].\n```json\n{\"a\": 1}\n```", "{\"a\": 1}"},
      {"a fence of another language does not count", "```py\nx = 1\n```\n```json\n{\"a\": 1}\n```", "{\"a\": 1}"},
      {"with text around it", "The answer is {\"a\": [1, {\"b\": 2}]}, as asked.", "{\"a\": [1, {\"b\": 2}]}"},
      {"braces in strings do not count", "So: {\"a\": \"}{\\\"\"} ok", "{\"a\": \"}{\\\"\"}"},
      {"after braces that are no JSON", "Using {curly} braces: {\"a\": 1}", "{\"a\": 1}"},
      {"after a brace that never closes", "a { b, then {\"a\": 1}", "{\"a\": 1}"},
      {"two values", "{\"a\": 1} and {\"a\": 2}", ""},
      {"two fences", "```json\n{\"a\": 1}\n```\n```json\n{\"a\": 2}\n```", ""},
      {"two fences with the same", "```json\n{\"a\": 1}\n```\n```json\n{\"a\": 1}\n```", ""},
      {"the same twice in text", "{\"a\": 1}\n{\"a\": 1}", ""},
      {"one in a fence and one before it", "It was {\"a\": 1} and is\n```json\n{\"a\": 2}\n```", ""},
      {"one in a fence and one behind it", "```json\n{\"a\": 1}\n```\nand ```json\n{\"a\": 1}\n```", ""},
      {"one in a fence and one between fences", "```py\nx\n```\n{\"a\": 1}\n```json\n{\"a\": 1}\n```", ""},
      {"what stands in a fence of another language does not count", "```py\nx = {\"a\": 1}\n```\n```json\n{\"b\": 2}\n```", "{\"b\": 2}"},
      {"what is no JSON beside a fence does not count", "Not {\"a\": {\"b\": 1}, …} but\n```json\n{\"a\": 1}\n```", "{\"a\": 1}"},
      {"notes and lists of numbers beside a fence do not count", "In {x} of [1, 2]:\n```\n{\"a\": 1}\n```\nSee [3].", "{\"a\": 1}"},
      {"none", "There is nothing to report.", ""},
      {"a scalar in text", "The answer is 42.", ""},
      {"a note in brackets before it", "[note] it is {\"a\": 1}", "{\"a\": 1}"},
      {"cut off", "{\"a\": [1, 2], \"b\": ", ""},
      {"cut off in text", "So: {\"a\": [1, 2], \"b\": ", ""},
      {"broken, although a part is whole", "So: {\"a\": [1, 2], \"b\": 1,}", ""},
      {"a broken one beside a whole one", "Not {\"a\": 1,} but {\"a\": 1}", ""},
      {"empty", "", ""},
  };
  const auto any = made(with_schema("true"));
  for (const auto& [name, text, value] : table) {
    IN_ROW(name);
    const auto verdict = any.check(text);
    if (*value == '\0')
      CHECK(rules_of(verdict) == names{"json"});
    else
      CHECK_EQ(verdict.output, json::parse(value));
    CHECK_EQ(verdict.accepted(), *value != '\0');
  }
}

TROUPE_TEST("a schema's violations carry pointer and rule, text rules see the JSON's own text") {
  auto spec = with_schema(R"({"type": "object", "required": ["facts"], "properties": {"facts": {"items": {"required": ["url"]}}}})");
  spec.max_length = 20;
  spec.must_mention = {"caf\xC3\xA9"};
  const auto rules = made(spec);
  const auto verdict = rules.check("Here: {\"facts\": [{}]}");
  REQUIRE(verdict.violations.size() == 2);
  CHECK_EQ(verdict.violations[0].text(), "/facts/0: required property \"url\" is missing");
  CHECK_EQ(verdict.violations[1].rule, "must_mention");
  CHECK(rules.check("{\"facts\":\"Caf\\u00e9\"}").violations.size() == 1); // 21 characters; the escape is a mention
  CHECK(rules.expects_json());
}

TROUPE_TEST("the feedback names pointer and rule of each violation") {
  const auto text = feedback_text(
      {{"/facts/0", "required", "required property \"url\" is missing"}, {"", "min_length", "has 1 character, at least 2 are needed"}},
      true);
  CHECK(text.find("- /facts/0: required property \"url\" is missing (rule: required)\n") != std::string::npos);
  CHECK(text.find("- the answer as a whole: has 1 character, at least 2 are needed (rule: min_length)\n") != std::string::npos);
  CHECK(text.find("JSON value alone") != std::string::npos);
  CHECK(feedback_text({{"", "json", "x"}}).find("JSON value alone") == std::string::npos);
}

TROUPE_TEST("a contract that is wrong is refused with its key") {
  struct row {
    output_spec spec;
    const char* where;
  };
  std::vector<row> table(6);
  table[0] = {with_schema(R"({"properties": {"a": {"type": "x"}}})"), "/schema/properties/a/type"};
  table[1].spec.matches = "(";
  table[1].where = "/matches";
  table[2].spec.not_matches = "[";
  table[2].where = "/not_matches";
  table[3].spec.min_length = -1;
  table[3].where = "/min_length";
  table[4].spec.min_length = 5;
  table[4].spec.max_length = 4;
  table[4].where = "/min_length";
  table[5].spec.must_mention = {"a", ""};
  table[5].where = "/must_mention/1";
  for (const auto& [spec, where] : table) {
    const auto out = contract::compile(spec);
    REQUIRE(!out.has_value());
    CHECK_EQ(out.error().where, where);
  }
}

TROUPE_TEST("hostile answers are judged in linear time and never crash") {
  const auto rules = made(with_schema(R"({"type": "object"})"));
  const std::size_t size = 300'000;
  CHECK(!rules.check(std::string(size, '[')).accepted());
  CHECK(!rules.check(std::string(size, '{') + std::string(size, '}')).accepted());
  CHECK(!rules.check(std::string(size, '[') + std::string(size, ']')).accepted());
  CHECK(!rules.check(std::string(size, '"')).accepted());
  std::string fences;
  for (std::size_t i = 0; i < size / 4; ++i)
    fences += "```\n";
  CHECK(!rules.check(fences).accepted());
  CHECK(!rules.check("1e999").accepted());
  CHECK(!rules.check("{\"a\": \"\\ud800\"}").accepted());
}

TROUPE_TEST("untrusted JSON is parsed to a bounded depth") {
  const auto deep = [](std::size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); };
  CHECK(parse_bounded(deep(512)).has_value());
  const auto refused = parse_bounded(deep(513));
  REQUIRE(!refused.has_value());
  CHECK_EQ(refused.error().message, "nests deeper than 512 levels at byte 512");
  CHECK(parse_bounded("\"" + std::string(1'000, '[') + "\\\"[\"").has_value());
  CHECK(!parse_bounded("{\"a\": }").has_value());
  CHECK(!parse_bounded("").has_value());
}
