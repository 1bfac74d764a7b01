#include "test.hpp"

#include <vector>

#include "troupe/policy/template.hpp"

TROUPE_SUITE(text_template)

using namespace troupe;
using nlohmann::json;

namespace {

const json scope = json::parse(R"({
  "input": {"topic": "caf", "n": 3, "ratio": 1.0, "none": null, "flag": true, "braces": "{{ input.topic }}"},
  "tasks": {"check": {"output": {"facts": ["a", {"b": [1, 2]}]}}},
  "item": {"x": "\u00e9\n"}, "index": 0
})");

text_template parsed(const char* text) {
  auto out = text_template::parse(text);
  if (!out)
    CAF_FAIL(text << ": " << out.error().text());
  return *std::move(out);
}

} // namespace

TROUPE_TEST("paths are replaced: strings as they are, anything else as compact JSON, absent ones by nothing") {
  struct row {
    const char* text;
    const char* rendered;
  };
  const std::vector<row> table = {
      {"", ""},
      {"no braces, { one } and }} too", "no braces, { one } and }} too"},
      {"About {{ input.topic }}.", "About caf."},
      {"{{input.topic}}{{ input.n }}", "caf3"},
      {"{{ input.ratio }} {{ input.flag }} {{ input.none }}", "1.0 true null"},
      {"{{ tasks.check.output.facts }}", R"(["a",{"b":[1,2]}])"},
      {"{{ tasks.check.output.facts.1.b.0 }}", "1"},
      {"{{ tasks.check.output.facts.2 }}|{{ tasks.check.output.facts.x }}|{{ tasks.none.output }}|{{ input.topic.deeper }}", "|||"},
      {"{{\n  item.x\t}}", "\xC3\xA9\n"},
      {"{\"x\": {{ index }}}", "{\"x\": 0}"},
      {"{{ \"{{\" }} input.topic }}", "{{ input.topic }}"},
  };
  for (const auto& [text, rendered] : table)
    CHECK_EQ(parsed(text).render(scope), rendered);
}

TROUPE_TEST("what was rendered is never rendered again") {
  CHECK_EQ(parsed("{{ input.braces }}").render(scope), "{{ input.topic }}");
  CHECK_EQ(parsed("{{ input.braces }}").evaluate(scope), json("{{ input.topic }}"));
  CHECK_EQ(parsed("{{ \"{{\" }} {{ input.braces }}").render(scope), "{{ {{ input.topic }}");
}

TROUPE_TEST("an argument that is only its template is dropped where the parameter is absent or null") {
  CHECK(parsed("{{ pattern }}").render_argument(scope) == std::nullopt);
  CHECK(parsed("{{ input.none }}").render_argument(scope) == std::nullopt);
  CHECK(parsed("{{ input.topic }}").render_argument(scope) == "caf");
  CHECK(parsed("--pattern={{ pattern }}").render_argument(scope) == "--pattern=");
  CHECK(parsed("{{ pattern }}{{ pattern }}").render_argument(scope) == "");
  CHECK(parsed("").render_argument(scope) == "");
}

TROUPE_TEST("a template that is exactly one path yields the value itself") {
  CHECK_EQ(parsed("{{ tasks.check.output.facts }}").evaluate(scope), scope["tasks"]["check"]["output"]["facts"]);
  CHECK_EQ(parsed("{{ absent }}").evaluate(scope), json());
  CHECK_EQ(parsed("{{ input.n }} ").evaluate(scope), json("3 "));
  CHECK_EQ(parsed("plain").evaluate(scope), json("plain"));
  CHECK(parsed("{{ input.n }}").is_path());
  CHECK(!parsed("{{ input.n }}{{ input.n }}").is_path());
}

TROUPE_TEST("the paths that it reads are listed") {
  const auto made = parsed("{{ tasks.check.output.facts.0 }} {{ \"{{\" }} {{ input.topic }}");
  using path = text_template::path;
  CHECK(made.paths() == std::vector<path>({{"tasks", "check", "output", "facts", "0"}, {"input", "topic"}}));
}

TROUPE_TEST("what is no template is refused with its offset") {
  struct row {
    const char* text;
    const char* message;
  };
  const std::vector<row> table = {
      {"ab {{ input.topic", "template, offset 3: \"{{\" is not closed by \"}}\""},
      {"ab {{", "template, offset 3: \"{{\" is not closed"},
      {"ab {{ }}", "template, offset 3: there is no path"},
      {"{{ a..b }}", "template, offset 5: the path a..b has an empty part"},
      {"{{ a. }}", "template, offset 5: the path a. has an empty part"},
      {"{{ .a }}", "template, offset 3: the path .a has an empty part"},
      {"{{ a b }}", "template, offset 5: a path such as input.topic is expected"},
      {"{{ a }", "template, offset 5: a path such as"},
      {"{{{ a }}}", "template, offset 2: a path such as"},
      {"{{ \"x\" }}", "template, offset 3: a path such as"},
  };
  for (const auto& [text, message] : table) {
    const auto out = text_template::parse(text);
    REQUIRE(!out.has_value());
    if (out.error().text().find(message) == std::string::npos)
      CAF_ERROR(out.error().text());
    CHECK(out.error().text().find(message) == 0);
  }
}
