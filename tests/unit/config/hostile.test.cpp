// Files of the accepted size that are worst cases for one check each. Nothing here is timed: at these sizes work that grows with the square
// of the file (or memory that does) takes minutes, which the watchdog of the tests ends.
#include "test.hpp"

#include "troupe/config/load.hpp"
#include "troupe/config/yaml_reader.hpp"

TROUPE_SUITE(config_hostile)

using namespace troupe;
using namespace troupe::config;

namespace {

const std::string head = "version: 1\nproviders: { r: { kind: openai } }\n"
                         "models: { m: { chain: [ { provider: r, model: x, usd_per_mtok: free } ] } }\n";
const std::string agent_a = "agents: { a: { model: m } }\n";
const std::string task_a = "workflows: { w: { tasks: [ { id: t, agent: a, instruction: x } ] } }\n";

load_result loaded(const std::string& text) {
  CHECK(text.size() <= read_limits{}.bytes);
  const file_access files{[&](const std::string&, std::size_t) -> expected<std::string> { return text; },
                          [](const std::string&) { return true; }};
  return load(
      "/f.yaml", [](const std::string&) { return std::nullopt; }, files);
}

/// `count` parts, made by their number, with commas between.
template <class Part>
std::string list(int count, Part part) {
  std::string out;
  for (int i = 0; i < count; ++i)
    out += (i == 0 ? "" : ",\n") + part(i);
  return out;
}

/// Names of 60 bytes that differ in four places, so that each is far from the others only at its end.
std::string name(int i) {
  const auto digits = std::to_string(100'000 + i);
  return digits + "_abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVW_" + digits.substr(3);
}

void is_refused(const load_result& result, const char* words) {
  CHECK(!result.ok());
  CHECK(result.problems.size() <= problem_list::most);
  if (result.text().find(words) == std::string::npos)
    CHECK_EQ(result.text().substr(0, 500), words);
}

std::string as_text(const std::string& text) {
  return "\"" + text + "\"";
}

std::string tool_with(const std::string& parameters, const std::string& more = "command: [x]") {
  return head + agent_a + task_a + "tools: { t: { kind: process, description: d, effect: none, " + more + ", parameters: " + parameters
         + " } }\n";
}

} // namespace

TROUPE_TEST("thousands of unknown names are compared with thousands of known ones only as long as they are told") {
  const auto tools = "tools: {" + list(15'000, [](int i) { return name(i) + ": { kind: builtin, builtin: clock }"; }) + "}\n";
  const auto wanted = list(15'000, [](int i) { return name(500'000 + i); });
  is_refused(loaded(head + tools + "agents: { a: { model: m, tools: [" + wanted + "] } }\n" + task_a), "no tool named");
}

TROUPE_TEST("thousands of templates that read what is not there, or what is") {
  const auto tasks = list(9'000, [](int i) { return "{ id: " + name(i) + ", agent: a, instruction: x }"; });
  std::string good, bad, input;
  for (int i = 0; i < 30'000; ++i) {
    good += "{{ tasks." + name(8'999) + ".output }}";
    bad += "{{ tasks." + name(300'000 + i) + ".output }}";
    input += "{{ input." + name(300'000 + i % 20'000) + " }}";
  }
  const auto workflow = [&](const std::string& schema, const std::string& text) {
    return head + agent_a + "workflows: { w: { " + schema + "tasks: [" + tasks + ", { id: last, agent: a, instruction: " + as_text(text)
           + " } ] } }\n";
  };
  CHECK_EQ(loaded(workflow("", good)).text(), "");
  is_refused(loaded(workflow("", bad)), "no task named");
  const auto schema = "input: { schema: { type: object, properties: {" + list(15'000, [](int i) { return name(i) + ": true"; }) + "} } }, ";
  const auto warned = loaded(head + agent_a + "workflows: { w: { " + schema
                             + "tasks: [ { id: last, agent: a, instruction: " + as_text(input) + " } ] } }\n");
  CHECK_EQ(warned.text(), "");
  CHECK_EQ(warned.warnings.size(), problem_list::most);
}

TROUPE_TEST("a tool with tens of thousands of parameters, each of which is named") {
  const auto all = [](int i) { return "p" + std::to_string(100'000 + i); };
  const auto parameters = "{ type: object, properties: {" + list(60'000, [&](int i) { return all(i) + ": true"; }) + "} }";
  CHECK_EQ(loaded(tool_with(parameters, "command: [x], loop_ignore: [" + list(60'000, all) + "]")).text(), "");
}

TROUPE_TEST("many tasks that run a workflow with many properties") {
  const auto properties = list(40'000, [](int i) { return "p" + std::to_string(i) + ": true"; });
  const auto required = list(40'000, [](int i) { return "p" + std::to_string(i); });
  const auto tasks = [](const char* with) {
    return list(9'000,
                [&](int i) { return "{ id: t" + std::to_string(i) + ", workflow: v, with: { " + with + std::to_string(i) + ": 1 } }"; });
  };
  const auto file = [&](const std::string& schema, const char* with) {
    return head + agent_a + "workflows: { v: { input: { schema: { type: object, " + schema
           + " } }, tasks: [ { id: t, agent: a, instruction: x } ] },\n" + "w: { tasks: [" + tasks(with) + "] } }\n";
  };
  is_refused(loaded(file("required: [" + required + "]", "p")), "requires the input");
  CHECK_EQ(loaded(file("properties: {" + properties + "}", "q")).warnings.size(), problem_list::most);
}

TROUPE_TEST("a race looks at each tool once, whoever may call it and whatever stands in for it") {
  const auto all = list(9'000, [](int i) { return "t" + std::to_string(i); });
  const auto agents = "agents: { a: { model: m, tools: [" + all + "] }, b: { model: m, tools: [" + all + "] } }\n";
  const auto tools = [](const char* last) {
    return "tools: {"
           + list(9'000,
                  [&](int i) {
                    return "t" + std::to_string(i) + ": { kind: builtin, builtin: "
                           + (i < 8'999 ? "clock, alternative: t" + std::to_string(i + 1) : std::string(last)) + " }";
                  })
           + "}\n";
  };
  const auto races =
      "workflows: { w: { tasks: ["
      + list(5'000, [](int i) { return "{ id: r" + std::to_string(i) + ", agents: [a, b], instruction: x, resolve: { by: first } }"; })
      + "] } }\n";
  CHECK_EQ(loaded(head + agents + tools("clock") + races).text(), "");
  is_refused(loaded(head + agents + tools("write_file") + races), "agent \"a\" may call \"t8999\", whose effect is idempotent");
}

TROUPE_TEST("patterns that take long to compile are bounded for a schema, and for a file") {
  const auto pattern = [](int i) { return "'(\\p{L}{20}){3}" + std::to_string(i) + "'"; };
  is_refused(
      loaded(tool_with("{ type: object, properties: {"
                       + list(15'000, [&](int i) { return "p" + std::to_string(i) + ": { pattern: " + pattern(i) + " }"; }) + "} }")),
      "the patterns of this schema are too large together");
  const auto tools = list(9'000, [&](int i) {
    return "t" + std::to_string(i)
           + ": { kind: process, description: d, command: [x], effect: none, parameters: { type: object, properties: { p: { pattern: "
           + pattern(i) + " } } } }";
  });
  is_refused(loaded(head + agent_a + task_a + "tools: {" + tools + "}\n"), "the patterns of this file are too large together");
  const auto agents = list(
      20'000, [&](int i) { return "a" + (i == 0 ? "" : std::to_string(i)) + ": { model: m, output: { matches: " + pattern(i) + " } }"; });
  is_refused(loaded(head + task_a + "agents: {" + agents + "}\n"), "the patterns of this file are too large together");
}

TROUPE_TEST("a schema of many resources and names, each of which refers to another") {
  const auto part = [](int i) {
    const auto n = std::to_string(i);
    return "a" + n + ": { $id: 'http://x/" + n + "', $dynamicAnchor: d" + n + ", $dynamicRef: '#d" + n + "' }";
  };
  is_refused(loaded(tool_with("{ type: object, $defs: {" + list(15'000, part) + "} }")), "names of dynamic anchors");
  is_refused(loaded(tool_with("{ type: object, $id: 'http://x/" + std::string(1'000'000, 'y') + "', allOf: ["
                              + list(30'000, [](int i) { return "{ $ref: 'z" + std::to_string(i) + "' }"; }) + "] }")),
             "the identifier is longer than 4096 bytes");
}

TROUPE_TEST("long keys on the way to many values are refused before any of them gets its pointer") {
  const auto values = "[" + list(150'000, [](int) { return std::string("1"); }) + "]";
  const auto with = [&](const std::string& value) {
    return R"({"version": 1, "workflows": {"w": {"tasks": [{"id": "t", "workflow": "w", "with": )" + value + "}]}}}";
  };
  std::string deep = values;
  for (int i = 0; i < 80; ++i)
    deep = "{\"" + std::string(1'000, 'k') + "\": " + deep + "}";
  is_refused(loaded(with(deep)), "the keys that lead here are longer than 4096 bytes together");
  is_refused(loaded(with("{\"" + std::string(3'000'000, 'k') + "\": " + values + "}")),
             "the keys that lead here are longer than 4096 bytes together");
  // Through an alias, too.
  std::string yaml = "x: &x0 { " + std::string(900, 'k') + ": 1 }\n";
  for (int i = 1; i < 5; ++i)
    yaml += "x" + std::to_string(i) + ": &x" + std::to_string(i) + " { " + std::string(900, 'k') + ": *x" + std::to_string(i - 1) + " }\n";
  is_refused(loaded(yaml), "the keys that lead here are longer than 4096 bytes together");
}

TROUPE_TEST("what many files hold is bounded together") {
  std::string includes;
  for (int i = 0; i < 99; ++i)
    includes += (i == 0 ? "" : ", ") + std::to_string(i) + ".yaml";
  const auto files = [&](const std::string& each) {
    return file_access{[=](const std::string& path, std::size_t) -> expected<std::string> {
                         if (path == "/f.yaml")
                           return "include: [" + includes + "]\n" + head + agent_a + task_a;
                         return "metrics" + path.substr(1, path.find('.') - 1) + ": " + each + "\n";
                       },
                       [](const std::string&) { return true; }};
  };
  const environment none = [](const std::string&) { return std::nullopt; };
  is_refused(load("/f.yaml", none, files("[" + list(80'000, [](int) { return std::string("1"); }) + "]")),
             "more than 200000 values in all files together");
  const auto copies = list(90, [](int) { return std::string("*a"); });
  is_refused(load("/f.yaml", none, files("[&a \"" + std::string(2'000, 'x') + "\", " + copies + "]")),
             "more than 16 MiB of text in all files together");
}

TROUPE_TEST("more files than may be included are not looked for") {
  std::size_t looked = 0;
  const file_access files{[&](const std::string& path, std::size_t) -> expected<std::string> {
                            ++looked;
                            if (path == "/f.yaml")
                              return "include: [" + list(100'000, [](int i) { return std::to_string(i) + ".yaml"; }) + "]\n" + head
                                     + agent_a + task_a;
                            return fail(error_code::not_found, "no such file");
                          },
                          [](const std::string&) { return true; }};
  is_refused(load(
                 "/f.yaml", [](const std::string&) { return std::nullopt; }, files),
             "more than 100 files are included");
  CHECK(looked <= 100);
}

TROUPE_TEST("duplicate keys, unknown keys and wrong values by the hundred thousand: a hundred are told") {
  std::string twice;
  for (int i = 0; i < 199'000; ++i)
    twice += "key: 1\n";
  is_refused(loaded(twice), "the key \"key\" stands twice");
  std::string unknown = head + agent_a + task_a;
  for (int i = 0; i < 190'000; ++i)
    unknown += "workflow" + std::to_string(i) + ": 1\n";
  is_refused(loaded(unknown), "unknown key \"workflow0\"");
  const auto cycle = list(9'000, [](int i) {
    return "{ id: t" + std::to_string(i) + ", agent: a, instruction: x, needs: [t" + std::to_string((i + 1) % 9'000) + "] }";
  });
  is_refused(loaded(head + agent_a + "workflows: { w: { tasks: [" + cycle + "] } }\n"), "tasks need each other in a circle");
}
