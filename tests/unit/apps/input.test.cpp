#include "troupe/input.hpp"

#include <filesystem>
#include <fstream>

#include <sys/stat.h>
#include <unistd.h>

#include "test.hpp"

TROUPE_SUITE(input)

using namespace troupe;
using namespace troupe::cli;

namespace {

struct folder {
  folder() {
    char name[] = "/tmp/troupe-input-XXXXXX";
    path = ::mkdtemp(name);
  }
  ~folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  std::string write(const std::string& name, const std::string& text) const {
    std::ofstream(path + "/" + name, std::ios::binary) << text;
    return path + "/" + name;
  }
  std::string path;
};

std::string told(const expected<json>& input) {
  return input ? input->dump() : input.error().text();
}

} // namespace

TROUPE_TEST("a value is a text where the schema takes one, else JSON, however the schema says so") {
  struct row {
    const char* name;
    const char* schema;
    std::vector<std::string> pairs;
    const char* input;
  };
  const row rows[] = {
      {"without a schema all are texts", "null", {"n=3", "o={}"}, R"({"n":"3","o":"{}"})"},
      {"a key that the schema is silent about", R"({"type": "object"})", {"n=3"}, R"({"n":"3"})"},
      {"an integer", R"({"properties": {"n": {"type": "integer"}}})", {"n=3"}, R"({"n":3})"},
      {"a text that looks like a number", R"({"properties": {"s": {"type": "string"}}})", {"s=3"}, R"({"s":"3"})"},
      {"a text with a rule that it breaks stays a text",
       R"({"properties": {"s": {"type": "string", "minLength": 2}}})",
       {"s=3"},
       R"({"s":"3"})"},
      {"a number with a rule that it breaks is a number all the same",
       R"({"properties": {"n": {"type": "integer", "minimum": 5}}})",
       {"n=3"},
       R"({"n":3})"},
      {"either: the text", R"({"properties": {"v": {"type": ["string", "integer"]}}})", {"v=3"}, R"({"v":"3"})"},
      {"either, and the text breaks a rule of texts",
       R"({"properties": {"v": {"type": ["string", "integer"], "minLength": 2}}})",
       {"v=3"},
       R"({"v":3})"},
      {"an enum", R"({"properties": {"v": {"enum": [1, "2"]}}})", {"v=1"}, R"({"v":1})"},
      {"a $ref", R"({"$defs": {"x": {"type": "integer"}}, "properties": {"r": {"$ref": "#/$defs/x"}}})", {"r=3"}, R"({"r":3})"},
      {"a $ref at the top",
       R"({"$ref": "#/$defs/x", "$defs": {"x": {"properties": {"r": {"type": "boolean"}}}}})",
       {"r=true"},
       R"({"r":true})"},
      {"allOf", R"({"allOf": [{"properties": {"a": {"type": "array"}}}]})", {"a=[1]"}, R"({"a":[1]})"},
      {"additionalProperties", R"({"additionalProperties": {"type": "integer"}})", {"x=3", "y=4"}, R"({"x":3,"y":4})"},
      {"patternProperties", R"({"patternProperties": {"^n": {"type": "integer"}}})", {"n1=3", "s1=3"}, R"({"n1":3,"s1":"3"})"},
      {"a rule that hangs on another value",
       R"({"if": {"properties": {"kind": {"const": "count"}}}, "then": {"properties": {"v": {"type": "integer"}}}})",
       {"kind=count", "v=3"},
       R"({"kind":"count","v":3})"},
      {"anyOf over several keys",
       R"({"anyOf": [{"properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}}]})",
       {"a=1", "b=2"},
       R"({"a":1,"b":2})"},
      {"a key with signs of a pointer", R"({"properties": {"a/b~c": {"type": "integer"}}})", {"a/b~c=3"}, R"({"a/b~c":3})"},
      {"what is missing is no fault of what is there",
       R"({"required": ["s"], "properties": {"n": {"type": "integer"}, "v": {}}})",
       {"n=3", "v=4"},
       R"({"n":3,"v":"4"})"},
      {"the last of a key counts", R"({"properties": {"n": {"type": "integer"}}})", {"n=x", "n=3"}, R"({"n":3})"},
      {"no JSON where no text may stand",
       R"({"$defs": {"x": {"type": "integer"}}, "properties": {"r": {"$ref": "#/$defs/x"}}})",
       {"r=three"},
       "-i r: the input's schema wants something else than a string, and \"three\" is not JSON"},
      {"a key that stands twice within", R"({"properties": {"o": {"type": "object"}}})", {R"(o={"a": 1, "a": 2})"}, "-i o:1:10: /a: "},
      {"no UTF-8", "null", {"name=\xff"}, "-i \"name\": this is not UTF-8; write it in UTF-8"},
      {"no key", "null", {"=3"}, "-i takes key=value; \"=3\" has no key and \"=\""},
  };
  for (const auto& each : rows) {
    IN_ROW(each.name);
    CHECK_EQ(told(read_input("", each.pairs, json::parse(each.schema))).substr(0, std::string(each.input).size()), each.input);
  }
}

TROUPE_TEST("an input file is read within bounds, and what is no file is refused") {
  const folder here;
  CHECK_EQ(told(read_input(here.write("a.yaml", "n: 3\ns: x"), {"s=y"}, nullptr)), R"({"n":3,"s":"y"})");
  const auto huge = here.write("huge.json", "");
  std::filesystem::resize_file(huge, std::uintmax_t{1} << 40);
  const std::pair<std::string, std::string> refused[] = {
      {here.path, "the input " + here.path + ": is a folder, not a file"},
      {here.path + "/none", "the input " + here.path + "/none: no such file"},
      {"/dev/zero", "the input /dev/zero: is no regular file"},
      {huge, huge + ": the input is larger than 16 MiB"},
      {here.write("list.json", "[1]"), here.path + "/list.json: the input must be a mapping (an object), as in { topic: … }"},
  };
  for (const auto& [file, words] : refused) {
    IN_ROW(file);
    const auto input = read_input(file, {}, nullptr);
    REQUIRE(!input);
    CHECK(input.error().code == error_code::invalid_argument);
    CHECK_EQ(input.error().text(), words);
  }
}

TROUPE_TEST("JSON on the command line is read as strictly as a configuration") {
  CHECK_EQ(told(read_json_argument(R"({"v": "ab"})", "--action")), R"({"v":"ab"})");
  CHECK_EQ(told(read_json_argument("{v", "--action")).rfind("--action: this is not JSON: ", 0), 0u);
  CHECK_EQ(told(read_json_argument("", "--action")).rfind("--action: this is not JSON: ", 0), 0u);
  CHECK_EQ(told(read_json_argument(R"({"v": "ab", "v": "cd"})", "--action")).rfind("--action:1:13: /v: ", 0), 0u);
}
