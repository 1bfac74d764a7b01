#include "test.hpp"

#include <map>

#include "troupe/config/load.hpp"
#include "troupe/model/described.hpp"

TROUPE_SUITE(config_load)

using namespace troupe;
using namespace troupe::config;

namespace {

struct world {
  std::map<std::string, std::string> files;
  std::map<std::string, std::string> variables;

  load_result load(const std::string& path) const {
    const file_access access{[this](const std::string& wanted, std::size_t) -> expected<std::string> {
                               const auto found = files.find(wanted);
                               if (found == files.end())
                                 return fail(error_code::not_found, "no such file", wanted);
                               return found->second;
                             },
                             [](const std::string& wanted) { return wanted.find("missing") == std::string::npos; }};
    return config::load(path, environment_of(), access);
  }
  environment environment_of() const {
    return [this](const std::string& name) -> std::optional<std::string> {
      const auto found = variables.find(name);
      return found == variables.end() ? std::nullopt : std::optional<std::string>(found->second);
    };
  }
};

/// A small file that is right; rows add to it or replace a line of it.
const std::string base = R"(version: 1
providers:
  rehearsal: { kind: scripted, script: script.yaml }
models:
  fast: { chain: [ { provider: rehearsal } ] }
tools:
  grep: { kind: process, description: d, command: [grep], effect: none }
agents:
  writer: { model: fast, tools: [grep] }
workflows:
  report: { tasks: [ { id: a, agent: writer, instruction: Go. } ] }
)";

std::string with(std::string line, const std::string& instead) {
  auto text = base;
  const auto start = text.find("  " + line);
  const auto end = text.find('\n', start);
  return text.replace(start, end - start, instead);
}

std::string problems_of(const std::string& text, const std::map<std::string, std::string>& variables = {}) {
  return world{{{"/c/f.yaml", text}}, variables}.load("/c/f.yaml").text();
}

} // namespace

TROUPE_TEST("the shipped schema is the one that is built in, and it compiles") {
  const auto result = world{{{"/c/f.yaml", base}}, {}}.load("/c/f.yaml");
  CHECK_EQ(result.text(), "");
  CHECK(result.ok());
  CHECK(json::parse(schema_text()).contains("$defs"));
}

TROUPE_TEST("a problem reads as file, line, column, pointer, words") {
  CHECK_EQ(problems_of(with("writer:", "  writer:\n    model: fast\n    tools: [grep, grpe]")),
           "/c/f.yaml:11:19: /agents/writer/tools/1: no tool named \"grpe\"; did you mean \"grep\"?\n");
}

TROUPE_TEST("every problem comes at once, in the order of the text") {
  const auto text = problems_of(R"(providers:
  p: { kind: openai, api_key_env: "sk-secret value", timout: 5s }
models:
  m: { chain: [ { provider: q, model: x } ], retry: { attempts: 0 } }
agents:
  a: { model: n, max_tokens: 0, tools: [t], timeout: 5 }
)");
  CHECK_EQ(text,
           R"(/c/f.yaml:2:35: /providers/p/api_key_env: this is no name of an environment variable; write the name, never the secret itself
/c/f.yaml:2:54: /providers/p/timout: unknown key "timout"; did you mean "timeout"?
/c/f.yaml:4:29: /models/m/chain/0/provider: no provider named "q"; there is only "p"
/c/f.yaml:4:65: /models/m/retry/attempts: 0 is less than the minimum 1
/c/f.yaml:6:15: /agents/a/model: no model named "n"; there is only "m"
/c/f.yaml:6:30: /agents/a/max_tokens: 0 is less than the minimum 1
/c/f.yaml:6:41: /agents/a/tools/0: no tool named "t"; none is defined
/c/f.yaml:6:54: /agents/a/timeout: 5 has no unit; write a whole number and a unit, as in 5s
)");
}

TROUPE_TEST("problems are bounded at a hundred") {
  std::string text = base + "tenants:\n";
  for (int i = 0; i < 500; ++i)
    text += "  t" + std::to_string(i) + ": { max_running: -1 }\n";
  const auto result = world{{{"/c/f.yaml", text}}, {}}.load("/c/f.yaml");
  CHECK_EQ(result.problems.size(), 100u);
  CHECK(result.problems.back().message.find("more problems") != std::string::npos);
}

TROUPE_TEST("an absent, empty or foreign file is a problem of its own") {
  const world here{{{"/c/empty.yaml", ""}, {"/c/comment.yaml", "# nothing\n"}, {"/c/list.yaml", "- a\n"}, {"/c/text.yaml", "hello\n"}}, {}};
  CHECK_EQ(here.load("/c/absent.yaml").text(), "/c/absent.yaml: /: no such file\n");
  CHECK(here.load("/c/empty.yaml").text().find("/c/empty.yaml: /: the file is empty") == 0);
  CHECK(here.load("/c/comment.yaml").text().find("the file is empty") != std::string::npos);
  CHECK(here.load("/c/list.yaml").text().find("/c/list.yaml:1:1: /: a configuration is a mapping of sections") == 0);
  CHECK(here.load("/c/text.yaml").text().find("a configuration is a mapping of sections") != std::string::npos);
}

TROUPE_TEST("includes are merged entry by entry, with paths relative to the file that names them") {
  const world here{
      {{"/c/f.yaml", "include: [tools/common.yaml]\n" + base},
       {"/c/tools/common.yaml", "version: 1\ntools:\n  read: { kind: builtin, builtin: read_file, root: ../data }\n"
                                "  cat: { kind: process, description: d, command: [cat], effect: none, sandbox: { read: [x, /y] } }\n"}},
      {}};
  const auto result = here.load("/c/f.yaml");
  CHECK_EQ(result.text(), "");
  REQUIRE(result.ok());
  CHECK_EQ(result.value->tools.at("read").root, "/c/data");
  CHECK_EQ(result.value->tools.at("cat").sandbox.read.at(0), "/c/tools/x");
  CHECK_EQ(result.value->tools.at("cat").sandbox.read.at(1), "/y");
  CHECK_EQ(result.value->providers.at("rehearsal").script, "/c/script.yaml");
  CHECK(!result.value->source.contains("include"));
}

TROUPE_TEST("a home folder is refused in an included file too") {
  const world here{{{"/c/f.yaml", "include: [tools/common.yaml]\n" + base},
                    {"/c/tools/common.yaml", "version: 1\ntools:\n  read: { kind: builtin, builtin: read_file, root: ~/data }\n"}},
                   {}};
  CHECK(here.load("/c/f.yaml").text().find("/tools/read/root: no shell reads this path") != std::string::npos);
}

TROUPE_TEST("what an include defines twice is a problem that names both places") {
  const world here{{{"d/f.yaml", "include: [b.yaml]\njournal: { path: x }\nalerts: []\n" + base},
                    {"d/b.yaml", "tools:\n  grep: { kind: builtin }\njournal: { path: y }\nalerts: []\n"}},
                   {}};
  CHECK_EQ(here.load("d/f.yaml").text(), R"(d/b.yaml:2:3: /tools/grep: defined twice; the other place is d/f.yaml:10:3
d/b.yaml:3:12: /journal/path: defined twice; the other place is d/f.yaml:2:12
d/b.yaml:4:1: /alerts: defined twice; the other place is d/f.yaml:3:1
)");
}

TROUPE_TEST("an include that cannot be taken is a problem at its place") {
  const auto text = [](std::map<std::string, std::string> files) { return world{std::move(files), {}}.load("/c/f.yaml").text(); };
  CHECK_EQ(text({{"/c/f.yaml", "include: [no.yaml]\n" + base}}), "/c/f.yaml:1:11: /include/0: \"/c/no.yaml\" no such file\n");
  CHECK_EQ(text({{"/c/f.yaml", "include: [f.yaml]\n" + base}}),
           "/c/f.yaml:1:11: /include/0: \"/c/f.yaml\" includes itself; an include cannot go in a circle\n");
  CHECK_EQ(text({{"/c/f.yaml", "include: [b.yaml]\n" + base}, {"/c/b.yaml", "include: [./x/../f.yaml]\n"}}),
           "/c/b.yaml:1:11: /include/0: \"/c/f.yaml\" includes itself; an include cannot go in a circle\n");
  CHECK_EQ(text({{"/c/f.yaml", "include: b.yaml\n" + base}}),
           "/c/f.yaml:1:10: /include: a list of files belongs here, as in [tools/common.yaml]\n");
  CHECK_EQ(text({{"/c/f.yaml", "include: [1]\n" + base}}), "/c/f.yaml:1:11: /include/0: the name of a file belongs here\n");
  CHECK_EQ(text({{"/c/f.yaml", "include: [b.yaml]\n" + base}, {"/c/b.yaml", "- x\n"}}),
           "/c/b.yaml:1:1: /: an included file is a mapping of sections\n");
  // Reached twice, merged once.
  CHECK_EQ(text({{"/c/f.yaml", "include: [b.yaml, c.yaml]\n" + base},
                 {"/c/b.yaml", "include: [d.yaml]\n"},
                 {"/c/c.yaml", "include: [d.yaml]\n"},
                 {"/c/d.yaml", "tenants: { acme: {} }\n"}}),
           "");
  std::map<std::string, std::string> chain{{"/c/f.yaml", "include: [0.yaml]\n" + base}};
  for (int i = 0; i < 20; ++i)
    chain["/c/" + std::to_string(i) + ".yaml"] = "include: [" + std::to_string(i + 1) + ".yaml]\n";
  CHECK_EQ(text(chain), "/c/9.yaml:1:11: /include/0: includes go deeper than 10 levels\n");
  std::map<std::string, std::string> crowd;
  std::string all;
  for (int i = 0; i < 100; ++i) {
    all += (i == 0 ? "" : ", ") + std::to_string(i) + ".yaml";
    crowd["/c/" + std::to_string(i) + ".yaml"] = "version: 1\n";
  }
  crowd["/c/f.yaml"] = "include: [" + all + "]\n" + base;
  CHECK(text(crowd).find("/include/99: more than 100 files are included") != std::string::npos);
}

TROUPE_TEST("a problem of an included file stands in that file") {
  const world here{{{"d/f.yaml", "include: [b.yaml]\n" + base}, {"d/b.yaml", "tenants:\n  acme: { max_running: x }\n"}}, {}};
  CHECK_EQ(here.load("d/f.yaml").text(), "d/b.yaml:2:24: /tenants/acme/max_running: \"x\" is a string, but must be an integer\n");
}

TROUPE_TEST("variables are substituted in strings of providers, journal, queue, node, api and notify only") {
  const auto text = base + R"(journal: { path: "${DIR}/$${x}/j.db" }
node: { name: "n-${NAME}${NAME}" }
checkpoint: { notify: [ { kind: webhook, url: "${HOOK}" } ] }
)";
  auto there = with("writer:", "  writer: { model: fast, system: \"costs ${NAME}\" }") + text.substr(base.size());
  const world here{{{"/c/f.yaml", there}}, {{"DIR", "/var"}, {"NAME", "a"}, {"HOOK", "https://hooks.example/secret"}}};
  const auto result = here.load("/c/f.yaml");
  CHECK_EQ(result.text(), "");
  REQUIRE(result.ok());
  CHECK_EQ(result.value->journal.path, "/var/${x}/j.db");
  CHECK_EQ(result.value->node.name, "n-aa");
  CHECK_EQ(result.value->checkpoint.notify.at(0).url, "https://hooks.example/secret");
  CHECK_EQ(result.value->agents.at("writer").system, "costs ${NAME}");
  CHECK(result.value->source.dump().find("hooks.example") == std::string::npos); // what is stored has no secret
}

TROUPE_TEST("a variable that is not set is named, and a value from the environment is never shown") {
  CHECK_EQ(problems_of(base + "api: { listen: \"${ADDRESS}\" }\n"),
           "/c/f.yaml:12:16: /api/listen: the environment variable \"ADDRESS\" is not set\n");
  CHECK(problems_of(base + "api: { listen: \"${1x}\" }\n").find("name of an environment variable") != std::string::npos);
  CHECK(problems_of(base + "api: { listen: \"${X\" }\n").find("name of an environment variable") != std::string::npos);
  const auto shown = problems_of(base + "api: { listen: \"${ADDRESS}\" }\n", {{"ADDRESS", "hunter2"}});
  CHECK_EQ(shown, "/c/f.yaml:12:16: /api/listen: the value is no address; write host:port, as in 127.0.0.1:8080\n");
  CHECK(problems_of(with("rehearsal:", "  rehearsal: { kind: openai, timeout: \"${T}\", base_url: \"${U}\" }"),
                    {{"T", "hunter2"}, {"U", "hunter2"}})
            .find("hunter2")
        == std::string::npos);
}

TROUPE_TEST("a JSON file is a configuration too, with places") {
  const world here{{{"/c/f.json", R"({
  "providers": { "p": { "kind": "scripted", "script": "s.yaml" } },
  "models": { "m": { "chain": [ { "provider": "p" } ] } },
  "agents": { "a": { "model": "n" } }
})"}},
                   {}};
  CHECK_EQ(here.load("/c/f.json").text(), "/c/f.json:4:31: /agents/a/model: no model named \"n\"; there is only \"m\"\n");
}

TROUPE_TEST("a stored source resolves to the same configuration") {
  const world here{{{"/c/f.yaml", "include: [t/x.yaml]\n" + base + "journal: { path: \"${DIR}/j.db\" }\n"},
                    {"/c/t/x.yaml", "tools:\n  read: { kind: builtin, builtin: read_file, root: data }\n"}},
                   {{"DIR", "/var"}}};
  const auto first = here.load("/c/f.yaml");
  REQUIRE(first.ok());
  const auto again = resolve(json::parse(first.value->source.dump()), first.value->file, here.environment_of());
  REQUIRE(again.has_value());
  CHECK_EQ(to_document(again->tools), to_document(first.value->tools));
  CHECK_EQ(to_document(again->agents), to_document(first.value->agents));
  CHECK_EQ(to_document(again->workflows), to_document(first.value->workflows));
  CHECK_EQ(again->journal.path, "/var/j.db");
  CHECK_EQ(again->folder, "/c");
  CHECK_EQ(again->source, first.value->source);
  const auto refused = resolve(json{{"agents", {{"a", {{"model", "m"}}}}}}, "/c/f.yaml", here.environment_of());
  REQUIRE(!refused.has_value());
  CHECK_EQ(refused.error().message, "/c/f.yaml: /agents/a/model: no model named \"m\"; none is defined");
}
