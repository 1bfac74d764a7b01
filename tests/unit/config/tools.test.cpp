#include "checks_support.hpp"

TROUPE_SUITE(config_tools)

using namespace troupe;
using namespace troupe::config;
using namespace troupe::config::checks;

TROUPE_TEST("names of tools are those that providers accept") {
  check({
      {"a dot",
       {{"tools", "{ a.b: { kind: builtin, builtin: clock } }"}, {"agents", "{ writer: { model: fast } }"}},
       "/tools/a.b: \"a.b\" is no name; names are of letters, digits, _ and -, at most 64"},
      {"a space",
       {{"tools", "{ \"a b\": { kind: builtin, builtin: clock } }"}, {"agents", "{ writer: { model: fast } }"}},
       "/tools/a b: \"a b\" is no name"},
      {"65 letters",
       {{"tools", "{ " + std::string(65, 'a') + ": { kind: builtin, builtin: clock } }"}, {"agents", "{ writer: { model: fast } }"}},
       "/tools/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa: \"aaaa"},
      {"64 letters",
       {{"tools", "{ " + std::string(64, 'a') + ": { kind: builtin, builtin: clock } }"}, {"agents", "{ writer: { model: fast } }"}},
       ""},
  });
}

TROUPE_TEST("a tool has the keys of its kind, and its templates read its parameters") {
  const auto tool = [](const std::string& rest) {
    return sections{{"tools", "{ grep: { " + rest + " } }"}, {"agents", "{ writer: { model: fast } }"}};
  };
  const std::string process = "kind: process, description: d, effect: none, command: [grep, \"{{ pattern }}\"]";
  check({
      {"root of a process", tool("kind: process, description: d, effect: none, command: [grep], root: x"),
       "/tools/grep/root: the key \"root\" does not go with kind: process"},
      {"url of a builtin", tool("kind: builtin, builtin: clock, url: \"https://x\""),
       "/tools/grep/url: the key \"url\" does not go with kind: builtin"},
      {"no command", tool("kind: process, description: d, effect: none"), "/tools/grep: the key \"command\" is missing"},
      {"no description", tool("kind: process, effect: none, command: [grep]"), "/tools/grep: the key \"description\" is missing"},
      {"no such builtin", tool("kind: builtin, builtin: read_fil"), "/tools/grep/builtin: \"read_fil\" is not one of"},
      {"a name that is no builtin", tool("kind: builtin"), "/tools/grep: no builtin named \"grep\""},
      {"root of a clock", tool("kind: builtin, builtin: clock, root: x"), "/tools/grep/root: the builtin \"clock\" has no root"},
      {"no hosts", tool("kind: builtin, builtin: http_fetch"), "/tools/grep: http_fetch reads only from the hosts that allow_hosts names"},
      {"what is no host",
       tool("kind: builtin, builtin: http_fetch, allow_hosts: ['a.example', '*.b.example:8443', '127.0.0.1:80', '[::1]:80', '::1', "
            "'http://c.example']"),
       "/tools/grep/allow_hosts/5: \"http://c.example\" is no host"},
      {"an empty list of hosts", tool("kind: builtin, builtin: http_fetch, allow_hosts: []"),
       "/tools/grep: http_fetch reads only from the hosts that allow_hosts names"},
      {"hosts of a reader", tool("kind: builtin, builtin: read_file, allow_hosts: [a]"),
       "/tools/grep/allow_hosts: the builtin \"read_file\" reaches no hosts"},
      {"undescribed parameter", tool(process), "/tools/grep/command/1: no parameter named \"pattern\"; describe it in parameters"},
      {"misspelt parameter", tool(process + ", parameters: { type: object, properties: { patern: {} } }"),
       "/tools/grep/command/1: no parameter named \"pattern\"; did you mean \"patern\"?"},
      {"open parameters", tool(process + ", parameters: { type: object }"), ""},
      {"standard input",
       tool("kind: process, description: d, effect: none, command: [cat], stdin: \"{{ text }}\", parameters: { type: object, properties: { "
            "txt: {} } }"),
       "/tools/grep/stdin: no parameter named \"text\"; did you mean \"txt\"?"},
      {"loop_ignore", tool(process + ", loop_ignore: [x], parameters: { type: object, properties: { pattern: {} } }"),
       "/tools/grep/loop_ignore/0: no parameter named \"x\"; there is only \"pattern\""},
      {"MCP without a server", tool("kind: mcp"), "/tools/grep: an MCP server is reached by exactly one of command"},
      {"MCP with two", tool("kind: mcp, command: [x], url: \"http://x\""),
       "/tools/grep: an MCP server is reached by exactly one of command"},
      {"a token over an open way", tool("kind: mcp, url: \"http://x.example/mcp\", token_env: T"),
       "/tools/grep/url: a token would go over the network for all to read"},
      {"one that a login brings", tool("kind: mcp, url: \"http://127.0.0.1.x.example:80/mcp\", oauth: {}"),
       "/tools/grep/url: a token would go over the network for all to read"},
      {"one on this machine", tool("kind: mcp, url: \"http://127.0.0.1:8080/mcp\", token_env: T"), ""},
      {"one over https", tool("kind: mcp, url: \"https://x.example/mcp\", token_env: T"), ""},
      {"a secret written out", tool("kind: process, description: d, effect: none, command: [x], env_from: [\"abc def\"]"),
       "/tools/grep/env_from/0: this is no name of an environment variable"},
      {"sandbox: off", tool("kind: process, description: d, effect: none, command: [x], sandbox: off"), ""},
      {"sandbox: false", tool("kind: process, description: d, effect: none, command: [x], sandbox: of"),
       "/tools/grep/sandbox: \"of\" must be \"off\""},
      {"exit status", tool("kind: process, description: d, effect: none, command: [x], success: [256]"),
       "/tools/grep/success/0: 256 is more than the maximum 255"},
  });
}

TROUPE_TEST("an HTTP tool goes where the file says, with what the file says") {
  const auto tool = [](const std::string& rest) {
    return sections{{"tools", "{ get: { kind: http, description: d, url: \"https://api.example/{{ id }}\", parameters: { type: object, "
                              "properties: { id: {} } }, "
                                  + rest + " } }"},
                    {"agents", "{ writer: { model: fast } }"}};
  };
  const auto url = [](const std::string& text) {
    return sections{{"tools", "{ get: { kind: http, description: d, url: \"" + text + "\" } }"}, {"agents", "{ writer: { model: fast } }"}};
  };
  check({
      {"all keys",
       tool("method: POST, env_from: [K], headers: { X: \"{{ env.K }}\" }, body: { a: \"{{ id }}\" }, content_type: application/json, "
            "accept: [\"text/*\"], "
            "success: [200, 404], redirects: 0, allow_hosts: [api.example, \"*.cdn.example\"], allow_private: true, limits: { output: 1MiB "
            "}, effect: idempotent"),
       ""},
      {"a host of the model's choice", url("https://{{ host }}/"), "/tools/get/url: scheme, host and port are fixed text"},
      {"a user in the url", url("https://user@x/"), "/tools/get/url: after :// stands a host"},
      {"undescribed argument", url("https://x/{{ id }}"), "/tools/get: no parameter named \"id\"; describe it in parameters"},
      {"a secret that is not listed", tool("headers: { X: \"{{ env.K }}\" }"),
       "/tools/get/headers: {{ env.K }} is read, and env_from does not name it"},
      {"a secret in the body", tool("method: POST, body: { a: { b: \"{{ env.K }}\" } }"),
       "/tools/get/body/a/b: secrets stand in headers only"},
      {"a backslash before a value of JSON", tool("method: POST, content_type: application/json, body: '{\"a\": \"\\{{ id }}\"}'"),
       "/tools/get/body: a backslash"},
      {"a body of a GET", tool("body: x"), "/tools/get/body: a GET has none"},
      {"a header of the transfer", tool("headers: { Content-Length: \"1\" }"),
       "/tools/get/headers/Content-Length: it belongs to the transfer"},
      {"hosts without its own", tool("allow_hosts: [other.example]"), "/tools/get/allow_hosts: it does not have \"api.example\""},
      {"hosts below a domain", tool("allow_hosts: [\"*.example\"]"), ""},
      {"its own host with its port", tool("allow_hosts: [\"API.example:443\"]"), ""},
      {"its own host with another port", tool("allow_hosts: [\"api.example:8443\"]"), "/tools/get/allow_hosts: it does not have"},
      {"an exit status", tool("success: [0]"), "/tools/get/success/0: 0 is less than the minimum 100"},
      {"memory of an answer", tool("limits: { memory: 1MiB }"), "/tools/get/limits/memory: "},
      {"a sandbox", tool("sandbox: off"), "/tools/get/sandbox: the key \"sandbox\" does not go with kind: http"},
      {"a body of a process",
       {{"tools", "{ grep: { kind: process, description: d, effect: none, command: [x], body: x } }"},
        {"agents", "{ writer: { model: fast } }"}},
       "/tools/grep/body: the key \"body\" does not go with kind: process"},
      {"private addresses of a reader",
       {{"tools", "{ read_file: { kind: builtin, allow_private: true } }"}, {"agents", "{ writer: { model: fast } }"}},
       "/tools/read_file/allow_private: the builtin \"read_file\" reaches no hosts"},
  });
}

TROUPE_TEST("effects have defaults, and a process that does not say its own is warned about") {
  const auto result = loaded(
      {{"tools",
        "{ read_file: { kind: builtin }, write_file: { kind: builtin }, http_fetch: { kind: builtin, allow_hosts: [a.example] }, "
        "calculator: { kind: builtin }, "
        "clock: { kind: builtin }, list_files: { kind: builtin },"
        " get: { kind: http, description: d, url: \"https://x\" }, post: { kind: http, description: d, method: POST, url: \"https://x\" },"
        " grep: { kind: process, description: d, command: [x], retries: 1 }, mcp: { kind: mcp, command: [x] } }"},
       {"agents", "{ writer: { model: fast } }"}});
  CHECK_EQ(result.text(), "");
  REQUIRE(result.ok());
  const std::vector<std::pair<const char*, effect>> rows{{"read_file", effect::none},  {"list_files", effect::none},
                                                         {"http_fetch", effect::none}, {"calculator", effect::none},
                                                         {"clock", effect::none},      {"write_file", effect::idempotent},
                                                         {"get", effect::none},        {"post", effect::once},
                                                         {"grep", effect::once},       {"mcp", effect::once}};
  for (const auto& [name, wanted] : rows) {
    IN_ROW(name);
    CHECK(result.value->tools.at(name).effect == wanted);
  }
  CHECK(result.value->tools.at("read_file").parameters.is_null());
  CHECK_EQ(result.value->tools.at("read_file").root, "/c");
  REQUIRE(result.warnings.size() == 2);
  CHECK(result.warnings[0].text().find("/tools/grep: its effect is unsaid") != std::string::npos);
  CHECK(result.warnings[1].text().find("/tools/grep/retries: a tool with effect once is never retried") != std::string::npos);
}

TROUPE_TEST("retries are told to be useless where nothing could be retried, and of a server only where the file itself says so") {
  const std::vector<std::pair<const char*, const char*>> rows{
      {"kind: process, description: d, effect: once", "/tools/x/retries: a tool with effect once is never retried"},
      {"kind: process, description: d, effect: idempotent", ""},
      {"kind: mcp", ""}, // the server says which of its tools only read, and those are
      {"kind: mcp, effect: none", ""},
      {"kind: mcp, effect: once", "/tools/x/retries: by effect: once none of its tools is ever retried"},
      {"kind: mcp, effect: once, overrides: { put: { risk: high } }",
       "/tools/x/retries: by effect: once none of its tools is ever retried"},
      {"kind: mcp, effect: once, overrides: { get: { effect: none } }", ""}};
  for (const auto& [rest, wanted] : rows) {
    IN_ROW(rest);
    const auto result = loaded({{"tools", std::string("{ x: { command: [x], retries: 1, ") + rest + " } }"},
                                {"agents", "{ writer: { model: fast, tools: [x] } }"}});
    CHECK_EQ(result.text(), "");
    CHECK_EQ(result.warnings.size(), *wanted == '\0' ? 0u : 1u);
    if (*wanted != '\0' && !result.warnings.empty())
      CHECK(result.warnings[0].text().find(wanted) != std::string::npos);
  }
}

TROUPE_TEST("an alternative that makes harmless calls ask is warned about, by the checkpoint's own rules") {
  struct row {
    const char* rule;
    const char* own;
    const char* other;
    const char* checkpoint;
    const char* wanted; ///< "": nothing
  };
  for (const auto& each : std::vector<row>{
           {"riskier", "low", "critical", "{}",
            "/tools/grep/alternative: \"danger\", of risk critical, runs where \"grep\" fails, so that a human is asked before each call "
            "that may "
            "come to it"},
           {"for two", "high", "critical", "{ policy: { critical: { approvals: 2 } } }", "so that 2 humans are asked"},
           {"as risky", "high", "critical", "{}", ""},
           {"riskier, and nobody is asked", "low", "critical", "{ policy: { critical: auto } }", ""},
           {"less risky", "high", "low", "{}", ""},
       }) {
    IN_ROW(each.rule);
    const auto result = loaded({{"tools", std::string("{ grep: { kind: builtin, builtin: clock, alternative: danger, risk: ") + each.own
                                              + " }, danger: { kind: builtin, builtin: clock, risk: " + each.other + " } }"},
                                {"agents", "{ writer: { model: fast } }"},
                                {"checkpoint", each.checkpoint}});
    CHECK_EQ(result.text(), "");
    std::string told;
    for (const auto& warning : result.warnings)
      told += warning.text();
    CHECK_EQ(told.empty(), *each.wanted == '\0');
    if (told.find(each.wanted) == std::string::npos)
      CHECK_EQ(told, each.wanted);
  }
}

TROUPE_TEST("a limit of memory whose unit was forgotten is told") {
  const auto told = [](const char* memory) {
    return loaded(
               {{"tools", std::string("{ grep: { kind: process, description: d, command: [grep], effect: none, limits: { memory: ") + memory
                              + " } }, "
                                "save: { kind: builtin, builtin: write_file } }"}})
        .text();
  };
  CHECK(told("512").find("/tools/grep/limits/memory: no program runs in 512 bytes; write a unit, as in 512MB") != std::string::npos);
  CHECK_EQ(told("512MB"), "");
  CHECK_EQ(told("1048576"), "");
}
