#include "test.hpp"

#include <ctime>

#include "troupe/config/yaml_reader.hpp"

TROUPE_SUITE(yaml_reader)

using namespace troupe::config;

namespace {

/// Of this thread: a busy machine makes nothing slower by it.
double cpu_seconds() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

json value_of(const std::string& text, text_format format = text_format::automatic) {
  problem_list problems;
  auto document = read_text(text, "f", problems, format);
  for (const auto& each : problems.sorted())
    return "problem: " + each.text();
  return document.value;
}

std::vector<problem> problems_of(const std::string& text, text_format format = text_format::automatic) {
  problem_list problems;
  read_text(text, "f", problems, format);
  return problems.sorted();
}

std::string repeated(const std::string& piece, std::size_t bytes) {
  std::string out;
  out.reserve(bytes);
  while (out.size() + piece.size() <= bytes)
    out += piece;
  return out;
}

} // namespace

TROUPE_TEST("plain scalars mean what the core schema of YAML 1.2 says, and quoted ones are texts") {
  const std::vector<std::pair<const char*, json>> rows{{"no", "no"},
                                                       {"yes", "yes"},
                                                       {"on", "on"},
                                                       {"off", "off"},
                                                       {"y", "y"},
                                                       {"True", true},
                                                       {"FALSE", false},
                                                       {"true", true},
                                                       {"tRue", "tRue"},
                                                       {"null", nullptr},
                                                       {"~", nullptr},
                                                       {"Null", nullptr},
                                                       {"nULL", "nULL"},
                                                       {"1", 1},
                                                       {"\"1\"", "1"},
                                                       {"'1'", "1"},
                                                       {"'true'", "true"},
                                                       {"\"null\"", "null"},
                                                       {"-17", -17},
                                                       {"+17", 17},
                                                       {"007", 7},
                                                       {"0o17", 15},
                                                       {"0x1F", 31},
                                                       {"0x1f", 31},
                                                       {"0b1", "0b1"},
                                                       {"1_000", "1_000"},
                                                       {"12:30", "12:30"},
                                                       {"2001-12-14", "2001-12-14"},
                                                       {"1.5", 1.5},
                                                       {".5", 0.5},
                                                       {"1.", 1.0},
                                                       {"-1.5e3", -1500.0},
                                                       {"1e3", 1000.0},
                                                       {"1e", "1e"},
                                                       {".", "."},
                                                       {"-.", "-."},
                                                       {"+", "+"},
                                                       {"--1", "--1"},
                                                       {"1.2.3", "1.2.3"},
                                                       {"9223372036854775807", INT64_MAX},
                                                       {"-9223372036854775808", INT64_MIN},
                                                       {"9223372036854775808", 9223372036854775808.0},
                                                       {"99999999999999999999", 1e20},
                                                       {"!!str 1", "1"},
                                                       {"!!int \"3\"", 3},
                                                       {"!!float 3", 3.0},
                                                       {"! 1", "1"},
                                                       {"|\n  a\n  b\n", "a\nb\n"},
                                                       {">-\n  a\n  b\n", "a b"},
                                                       {"\"\\u00e9\\x41\"", "éA"}};
  for (const auto& [text, wanted] : rows) {
    IN_ROW(text);
    const auto read = value_of("k: " + std::string(text));
    REQUIRE(read.is_object());
    CHECK_EQ(read["k"], wanted);
    CHECK_EQ(read["k"].is_number_float(), wanted.is_number_float());
  }
}

TROUPE_TEST("YAML and JSON of the same content are the same value") {
  const auto* yaml = "a: [1, 2.5, x]\nb: {c: true, d: null}\ne: \"\"\n";
  const auto* text = R"({"a": [1, 2.5, "x"], "b": {"c": true, "d": null}, "e": ""})";
  CHECK_EQ(value_of(yaml), value_of(text));
  CHECK_EQ(value_of(text), value_of(text, text_format::as_json));
  CHECK_EQ(value_of("{a: 1}"), json({{"a", 1}})); // begins like JSON and is YAML
  CHECK_EQ(value_of(R"({"smile": "\ud83d\ude00"})"), json({{"smile", "😀"}}));
  CHECK_EQ(value_of("{\"" + std::string(2'000, 'k') + "\": 1}").size(), 1u); // yaml-cpp takes no such key
  CHECK_EQ(value_of("\xEF\xBB\xBF"
                    "a: 1"),
           json({{"a", 1}}));
  CHECK_EQ(value_of("a: 1\r\nb: 2\r\n"), json({{"a", 1}, {"b", 2}}));
}

TROUPE_TEST("each value and key has its place, in YAML and in JSON, columns in code points") {
  problem_list problems;
  const auto yaml = read_text("é: ü\nlist:\n  - one\n  - {two: 2}\nempty:\ntext: |\n  body\na~/b: &x [y]\nlast: *x\n", "f", problems);
  REQUIRE(problems.empty());
  const std::vector<std::tuple<const char*, position, position>> rows{{"", {1, 1}, {1, 1}},
                                                                      {"/é", {1, 4}, {1, 1}},
                                                                      {"/list", {3, 3}, {2, 1}},
                                                                      {"/list/0", {3, 5}, {3, 5}},
                                                                      {"/list/1", {4, 5}, {4, 5}},
                                                                      {"/list/1/two", {4, 11}, {4, 6}},
                                                                      {"/empty", {5, 1}, {5, 1}},
                                                                      {"/text", {6, 7}, {6, 1}},
                                                                      {"/a~0~1b", {8, 7}, {8, 1}},
                                                                      {"/a~0~1b/0", {8, 11}, {8, 11}},
                                                                      {"/last", {9, 7}, {9, 1}},
                                                                      {"/last/0", {8, 11}, {8, 11}},
                                                                      {"/absent/deeper", {1, 1}, {1, 1}},
                                                                      {"/list/7", {3, 3}, {2, 1}}};
  for (const auto& [pointer, value, key] : rows) {
    IN_ROW(pointer);
    CHECK(yaml.position_of(pointer) == value);
    CHECK(yaml.key_position_of(pointer) == key);
  }
  const auto text = read_text("{\n  \"é\": [1, -2.5e1,true],\n\t\"b\\\"\\\\\": {\"c\" :null , \"d\":\"x,]\"}\n}\n", "f", problems);
  REQUIRE(problems.empty());
  const std::vector<std::tuple<const char*, position, position>> json_rows{
      {"", {1, 1}, {1, 1}},       {"/é", {2, 8}, {2, 3}},      {"/é/0", {2, 9}, {2, 9}},       {"/é/1", {2, 12}, {2, 12}},
      {"/é/2", {2, 19}, {2, 19}}, {"/b\"\\", {3, 11}, {3, 2}}, {"/b\"\\/c", {3, 17}, {3, 12}}, {"/b\"\\/d", {3, 28}, {3, 24}}};
  for (const auto& [pointer, value, key] : json_rows) {
    IN_ROW(pointer);
    CHECK(text.position_of(pointer) == value);
    CHECK(text.key_position_of(pointer) == key);
  }
}

TROUPE_TEST("what is no document of ours is a problem that says where") {
  const std::vector<std::tuple<const char*, std::string, const char*>> rows{
      {"duplicate key", "a: 1\nb: 2\na: 3\n", "f:3:1: /a: the key \"a\" stands twice; its first place is line 1, column 1"},
      {"duplicate key in JSON", "{\"a\": 1,\n \"a\": 2}", "f:2:2: /a: the key \"a\" stands twice; its first place is line 1, column 2"},
      {"duplicate key below", "x:\n  - {b: 1, b: 2}\n", "f:2:12: /x/0/b: the key \"b\" stands twice; its first place is line 2, column 6"},
      {"two documents", "a: 1\n---\nb: 2\n", "f:2:1: /: a second document begins here; a file holds one"},
      {"text after the document", "{a: 1}\n]", "f:2:1: /: "},
      {"cycle", "a: &x [*x]\n", "f:1:8: /a/0: an alias stands inside of what it names: a cycle"},
      {"undefined alias", "a: *x\n", "f:1:4: /a: an alias of an anchor that is not defined before it"},
      {"merge key", "a: &x {b: 1}\nc: {<<: *x}\n", "f:2:5: /c: merge keys (<<) are not part of YAML 1.2"},
      {"unknown tag", "a: !secret x\n", "f:1:4: /a: unknown tag \"!secret\""},
      {"tag of YAML 1.1", "a: !!binary aGk=\n", "f:1:4: /a: unknown tag \"tag:yaml.org,2002:binary\""},
      {"tag of another type", "a: !!int x\n", "f:1:4: /a: \"x\" is not of the type that its tag !!int says"},
      {"infinity", "a: [1, .inf]\n", "f:1:8: /a/1: \".inf\" is no number that JSON knows"},
      {"not a number", "a: .NaN\n", "f:1:4: /a: \".NaN\" is no number that JSON knows"},
      {"number beyond doubles", "a: 1e999\n", "f:1:4: /a: \"1e999\" is beyond what a number can hold"},
      {"hex beyond 64 bits", "a: 0x10000000000000000\n", "f:1:4: /a: \"0x10000000000000000\" is an integer beyond 64 bits"},
      {"tab indents", "a:\n\tb: 1\n", "a tab indents"},
      {"tab before a list", "a:\n\t- b\n", "a tab indents"},
      {"tab indents a nested key", "a:\n  b:\n  \tc: 1\n", "a tab indents"},
      {"list as key", "[a]: 1\n", "f:1:1: /: a key is a text, not a mapping or a sequence"},
      {"mapping as key", "? {a: 1}\n: 2\n", "a key is a text"},
      {"empty key", ": 1\n", "f:1:1: /: a key is missing before the colon"},
      {"bad UTF-8", std::string("a: 1\nb: \"\xc3\x28\"\n"), "f:2:5: /: this byte is not UTF-8"},
      {"cut UTF-8", std::string("a: \xe2\x82"), "f:1:4: /: this byte is not UTF-8"},
      {"surrogate in UTF-8", std::string("a: \xed\xa0\x80"), "f:1:4: /: this byte is not UTF-8"},
      {"UTF-16", std::string("\xff\xfe\x61\x00", 4), "f:1:1: /: this byte is not UTF-8"},
      {"NUL", std::string("a: x\0y", 6), "f:1:5: /: a NUL byte"},
      {"escaped NUL", "a: \"x\\0y\"", "f:1:4: /a: the text holds a NUL character"},
      {"escaped NUL in JSON", "{\"a\": \"\\u0000\"}", "f:1:7: /a: the text holds a NUL character"},
      {"end of transmission", std::string("a: 1\n\x04 b: 2"), "f:2:1: /: a control character"},
      {"escape character", std::string("a: \x1b[31m"), "f:1:4: /: a control character"},
      {"eight-bit control", std::string("a: \xc2\x9b"), "f:1:4: /: a control character"},
      {"lone carriage return", std::string("a: 1\rb: 2"), "f:1:5: /: a carriage return without a line feed"},
      {"unclosed list", "a: [1, 2\nb: 3\n", "/a"},
      {"unclosed list in a list", "a: [[1, 2], [3\n", "f:1:13: /a/1: a key is a text, not a mapping or a sequence; put a text that begins"},
      {"unclosed mapping in a mapping", "a: {b: {c\n", "f:1:9: /a/b: the mapping is not closed: } or , is missing"},
      {"empty key in braces", "a: {: 1}\n", "f:1:5: /a: a key is missing before the colon"},
      {"template without quotes", "a: {{ name }}\n", "in quotes, as \"{{ name }}\""},
      {"unclosed quote", "a: \"x\n", "a quoted text is not closed"},
      {"wrong indentation", "a:\n   b: 1\n  c: 2\n", "f:3:3: /: this does not continue the mapping around it"},
      {"colon in plain text", "a: b: c\n", "f:1:5: /: a colon where no value can stand"}};
  for (const auto& [name, text, wanted] : rows) {
    IN_ROW(name);
    const auto found = problems_of(text);
    REQUIRE(!found.empty());
    IN_ROW(found.front().text());
    CHECK(found.front().text().find(wanted) != std::string::npos);
  }
  const auto no_json = problems_of("{\"a\": 1,}", text_format::as_json);
  REQUIRE(no_json.size() == 1);
  CHECK(no_json.front().text().find("f:1:9: ") == 0);
}

TROUPE_TEST("several problems of one text are told at once") {
  const auto found = problems_of("a: .inf\na: 1\nb: !!int x\nb: 2\n");
  CHECK_EQ(found.size(), 4u);
}

TROUPE_TEST("an empty text is null without a problem") {
  for (const std::string text : {"", " \n\n", "# only a comment\n", "---\n", "\xEF\xBB\xBF"}) {
    CHECK_EQ(problems_of(text).size(), 0u);
    CHECK(value_of(text).is_null());
  }
}

TROUPE_TEST("white space tabs are allowed wherever they do not indent") {
  CHECK_EQ(value_of("a:\tb\n"), json({{"a", "b"}}));
  CHECK_EQ(value_of("a: [\n\t1,\n\t2 ]\n"), json({{"a", {1, 2}}}));
  CHECK_EQ(value_of("a: |\n  x\n  \ty\n"), json({{"a", "x\n\ty\n"}}));
}

TROUPE_TEST("aliases stand for the value again") {
  CHECK_EQ(value_of("a: &x {b: [1]}\nc: *x\nd: [*x, *x]\n"), json::parse(R"({"a":{"b":[1]},"c":{"b":[1]},"d":[{"b":[1]},{"b":[1]}]})"));
  CHECK_EQ(value_of("a: &x k\n*x : 1\n"), json::parse(R"({"a":"k","k":1})"));
  CHECK_EQ(value_of("a: &x 1\nb: &x 2\nc: *x\n"), json::parse(R"({"a":1,"b":2,"c":2})"));
}

TROUPE_TEST("hostile texts end in a problem, soon") {
  constexpr std::size_t size = 4u << 20;
  std::string bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 30; ++i) {
    const auto last = "*a" + std::to_string(i - 1);
    bomb += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [" + repeated(last + ", ", 50) + last + "]\n";
  }
  std::string deep_by_alias = "a0: &a0 [x]\n";
  for (int i = 1; i < 110; ++i)
    deep_by_alias += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [*a" + std::to_string(i - 1) + "]\n";
  std::string stairs;
  for (std::size_t i = 0; stairs.size() < size / 4; ++i)
    stairs += std::string(i, ' ') + "a:\n";
  const std::vector<std::pair<const char*, std::string>> rows{
      {"open brackets", repeated("[", size)},
      {"open braces", repeated("{", size)},
      {"open brackets in a value", "a: " + repeated("[", size - 10)},
      {"lists in one line", repeated("- ", size)},
      {"complex keys in one line", repeated("? ", size)},
      {"nested flow pairs", repeated("{a: ", size)},
      {"JSON brackets", "{\"a\": " + repeated("[", size - 10)},
      {"indentation", stairs},
      {"many values", repeated("- a\n", size)},
      {"many pairs", "a: [" + repeated("x, ", size - 10) + "]"},
      {"many pairs in JSON", "{\"a\": [" + repeated("1,", size - 10) + "1]}"},
      {"anchors", repeated("&a ", size)},
      {"aliases", repeated("*a ", size)},
      {"tags", repeated("!a ", size)},
      {"quotes", repeated("'' ", size)},
      {"alias bomb", bomb},
      {"byte bomb", "a: &a " + std::string(1u << 20, 'x') + "\nb: [" + repeated("*a, ", 100'000) + "]"},
      {"depth by aliases", deep_by_alias},
      {"too large", std::string(size + 1, 'a')}};
  for (const auto& [name, text] : rows) {
    IN_ROW(name);
    const auto before = cpu_seconds();
    const auto found = problems_of(text);
    CHECK(cpu_seconds() - before < 10); // sanitizers are slow; 0.3 s without
    REQUIRE(!found.empty());
    CHECK(found.front().text().size() < 2'500);
  }
}

TROUPE_TEST("a problem's text has no control characters and is bounded") {
  const problem found{"a\x1b[2J", 1, 2, "/" + std::string(5'000, 'p'), "m\n"};
  const auto text = found.text();
  CHECK(text.find('\x1b') == std::string::npos);
  CHECK(text.find('\n') == std::string::npos);
  CHECK(text.size() < 1'200);
  CHECK_EQ((problem{"f.yaml", 3, 4, "/a", "wrong"}.text()), "f.yaml:3:4: /a: wrong");
  CHECK_EQ((problem{"f.yaml", 0, 0, "", "wrong"}.text()), "f.yaml: /: wrong");
}

TROUPE_TEST("a list of problems is in the order of the text, without repeats, and bounded") {
  problem_list list;
  list.add({"f", 9, 1, "/b", "later"});
  list.add({"f", 2, 1, "/a", "first"});
  list.add({"f", 2, 1, "/a", "first"});
  for (int i = 0; i < 200; ++i)
    list.add({"f", 100, static_cast<std::uint32_t>(i + 1), "/c", "x"});
  const auto sorted = list.sorted();
  REQUIRE(sorted.size() == 99);
  CHECK_EQ(sorted[0].message, "first");
  CHECK_EQ(sorted[1].message, "later");
  CHECK(sorted.back().message.find("(and 103 more problems)") != std::string::npos);
}

TROUPE_TEST("one level more than 100 is too deep, in YAML and in JSON") {
  for (const auto format : {text_format::automatic, text_format::as_json}) {
    CHECK(problems_of(std::string(100, '[') + std::string(100, ']'), format).empty());
    const auto found = problems_of(std::string(101, '[') + std::string(101, ']'), format);
    REQUIRE(found.size() == 1u);
    CHECK(found[0].text().find("nested deeper than 100 levels") != std::string::npos);
  }
}
