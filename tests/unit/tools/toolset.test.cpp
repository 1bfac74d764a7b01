#include "test.hpp"

#include "fixture.hpp"
#include "troupe/tools/toolset.hpp"
#include "troupe/util/clock.hpp"
#include "troupe/util/utf8.hpp"

TROUPE_SUITE(tools_toolset)

using namespace troupe;
using namespace troupe::tools::test;

namespace {

tool_spec grep() {
  tool_spec spec;
  spec.name = "grep";
  spec.kind = tool_kind::process;
  spec.command = {"grep", "-n", "--", "{{ pattern }}", "{{ path }}"};
  spec.description = "Lines of a file that match a pattern";
  spec.parameters = json::parse(R"({"type":"object","required":["pattern","path"],
    "properties":{"pattern":{"type":"string"},"path":{"type":"string"},"n":{"type":"integer"}},"additionalProperties":false})");
  spec.success = {0, 1};
  return spec;
}

} // namespace

TROUPE_TEST_WITH(tool_fixture, "a prepared tool is declared, checked and run by its specification alone") {
  folder.write("log", "one\nERROR two\n");
  const auto tool = tools::prepare(grep(), shared);
  REQUIRE(tool.has_value());
  CHECK_EQ(tool->declaration.description, "Lines of a file that match a pattern");
  const auto arguments = tools::check_arguments(*tool, R"({"pattern":"ERROR","path":"log"})");
  REQUIRE(arguments.has_value());
  CHECK_EQ(start(*tool->run, *arguments).get().output, "2:ERROR two\n");
}

TROUPE_TEST_WITH(tool_fixture, "wrong arguments are an error that the model can correct itself by") {
  const auto tool = tools::prepare(grep(), shared);
  REQUIRE(tool.has_value());
  struct row {
    std::string text;
    const char* words;
  };
  for (const auto& [text, words] : {
           row{"", "/"},
           row{"{}", "required"},
           row{"[1]", "must be one JSON object, and are array"},
           row{"null", "must be one JSON object, and are null"},
           row{"\"x\"", "must be one JSON object"},
           row{R"({"pattern":"x","path":"y")", "was cut off"},
           row{R"({"pattern":"x","path":"y)", "was cut off"},
           row{R"({"pattern":)", "was cut off"},
           row{R"({pattern: "x"})", "not JSON"},
           row{R"({"pattern":"x","path":"y"} extra)", "not JSON"},
           row{R"({"pattern":"x","path":1e999})", "not JSON"},
           row{R"({"pattern":1,"path":"y"})", "/pattern"},
           row{R"({"pattern":"x","path":"y","n":1.5})", "/n"},
           row{R"({"pattern":"x","path":"y","other":1})", "other"},
           row{std::string("{\"pattern\":\"\xFF\",\"path\":\"y\"}"), "UTF-8"},
           row{"{\"a\":" + std::string(100, '[') + std::string(100, ']') + "}", "nested deeper than 64"},
           row{std::string(2'000'000, '['), "at most 1048576 are taken"},
           row{R"({"pattern":"x","path":"y","n":123456789012345678901234})", "the number 123456789012345678901234 has more digits"},
       }) {
    IN_ROW(text.substr(0, 60));
    const auto got = tools::check_arguments(*tool, text);
    REQUIRE(!got);
    CHECK_EQ(got.error().message.substr(0, 31), "tool \"grep\" was not called: the");
    CHECK(got.error().message.find(words) != std::string::npos);
    CHECK(is_valid_utf8(got.error().message));
    CHECK(got.error().message.size() < 5'000);
  }
  CHECK(tools::check_arguments(*tool, R"({"pattern":"]}[{","path":"\"[[["})").has_value());
  for (const std::size_t depth : {64u, 65u}) // the object itself is the first level
    CHECK_EQ(tools::check_arguments(*tool, "{\"a\":" + std::string(depth - 1, '[') + std::string(depth - 1, ']') + "}")
                     .error()
                     .message.find("deeper")
                 != std::string::npos,
             depth == 65);
}

TROUPE_TEST_WITH(tool_fixture, "no arguments at all are an empty object") {
  tool_spec spec;
  spec.name = "clock";
  const auto tool = tools::prepare(spec, shared);
  REQUIRE(tool.has_value());
  for (const char* text : {"", " \n", "{}"})
    CHECK_EQ(tools::check_arguments(*tool, text).value(), json::object());
  CHECK_EQ(tool->declaration.name, "clock");
  CHECK(!tool->declaration.description.empty());
}

TROUPE_TEST_WITH(tool_fixture, "a builtin may have another name and another description") {
  tool_spec spec;
  spec.name = "notes";
  spec.builtin = "read_file";
  spec.description = "A note";
  spec.root = folder.path;
  folder.write("a", "text");
  const auto tool = tools::prepare(spec, shared);
  REQUIRE(tool.has_value());
  CHECK_EQ(tool->declaration.description, "A note");
  CHECK(tool->declaration.parameters.contains("properties"));
  CHECK_EQ(start(*tool->run, {{"path", "a"}}).get().output, "text");
}

TROUPE_TEST_WITH(tool_fixture, "what cannot run is refused at start, with the tool's name") {
  tool_spec spec;
  spec.name = "weather";
  for (const auto kind : {tool_kind::http, tool_kind::mcp, tool_kind::builtin, tool_kind::process}) {
    spec.kind = kind;
    const auto made = tools::make_runner(spec, shared);
    REQUIRE(!made);
    CHECK(made.error().text().find("weather") != std::string::npos);
  }
  spec.kind = tool_kind::process;
  spec.command = {"{{ unclosed"};
  CHECK(!tools::make_runner(spec, shared));
  auto wrong = grep();
  wrong.parameters = {{"type", "strnig"}};
  const auto prepared = tools::prepare(wrong, shared);
  REQUIRE(!prepared);
  CHECK(prepared.error().text().find("grep") != std::string::npos);
}

TROUPE_TEST("a time is written as ISO 8601, whatever it is") {
  CHECK_EQ(iso8601_utc(0), "1970-01-01T00:00:00.000Z");
  CHECK_EQ(iso8601_utc(1'772'357'400'123'999), "2026-03-01T09:30:00.123Z");
  CHECK_EQ(iso8601_utc(-1), "1969-12-31T23:59:59.999Z");
  CHECK_EQ(iso8601_utc(951'782'400'000'000), "2000-02-29T00:00:00.000Z");
  CHECK_EQ(iso8601_utc(INT64_MAX), "9999-12-31T23:59:59.999Z");
  CHECK_EQ(iso8601_utc(INT64_MIN), "0000-01-01T00:00:00.000Z");
}
