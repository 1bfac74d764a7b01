#include "test.hpp"

#include <map>

#include "troupe/config/graph.hpp"
#include "troupe/config/load.hpp"
#include "troupe/config/resolver.hpp"
#include "troupe/config/view.hpp"

TROUPE_SUITE(config_checks)

using namespace troupe;
using namespace troupe::config;

namespace {

/// One section a line, so that a row replaces just what it is about.
using sections = std::map<std::string, std::string>;

const sections good{
    {"providers", "{ rehearsal: { kind: scripted, script: s.yaml }, openai: { kind: openai } }"},
    {"models", "{ fast: { chain: [ { provider: rehearsal } ] } }"},
    {"tools", "{ grep: { kind: process, description: d, command: [grep], effect: none }, save: { kind: builtin, builtin: write_file } }"},
    {"agents", "{ writer: { model: fast, tools: [grep] }, editor: { model: fast }, saver: { model: fast, tools: [save] } }"},
    {"workflows", "{ report: { tasks: [ { id: a, agent: writer, instruction: Go. } ] } }"},
};

load_result loaded(const sections& changed) {
  auto all = good;
  for (const auto& [name, text] : changed)
    all[name] = text;
  std::string text;
  for (const auto& [name, value] : all)
    text += name + ": " + value + "\n";
  const file_access files{[&](const std::string&, std::size_t) -> expected<std::string> { return text; },
                          [](const std::string& path) { return path.find("missing") == std::string::npos; }};
  return load(
      "/c/f.yaml", [](const std::string&) { return std::nullopt; }, files);
}

std::string workflow(const std::string& tasks, const std::string& more = "") {
  return "{ report: { " + more + "tasks: [ " + tasks + " ] } }";
}

struct row {
  const char* rule;
  sections changed;
  const char* wanted; ///< "/pointer: words", the begin of one of the problems; "": there is none
};

void check(const std::vector<row>& rows) {
  for (const auto& each : rows) {
    IN_ROW(each.rule);
    const auto result = loaded(each.changed);
    const auto text = result.text();
    if (*each.wanted == '\0') {
      CHECK_EQ(text, "");
      continue;
    }
    CHECK(!result.ok());
    const bool found = text.find(std::string(": ") + each.wanted) != std::string::npos;
    if (!found)
      CHECK_EQ(text, each.wanted);
    CHECK(found);
    // One mistake, one problem: nothing is refused for a consequence.
    if (result.problems.size() != 1)
      CHECK_EQ(text, each.wanted);
    CHECK_EQ(result.problems.size(), 1u);
  }
}

} // namespace

TROUPE_TEST("names refer to what is there, or the nearest one is suggested") {
  check({
      {"provider",
       {{"models", "{ fast: { chain: [ { provider: rehersal } ] } }"}},
       "/models/fast/chain/0/provider: no provider named \"rehersal\"; did you mean \"rehearsal\"?"},
      {"model", {{"agents", "{ writer: { model: fats } }"}}, "/agents/writer/model: no model named \"fats\"; did you mean \"fast\"?"},
      {"tool",
       {{"agents", "{ writer: { model: fast, tools: [grepp] } }"}},
       "/agents/writer/tools/0: no tool named \"grepp\"; did you mean \"grep\"?"},
      {"agent of a task",
       {{"workflows", workflow("{ id: a, agent: writr, instruction: Go. }")}},
       "/workflows/report/tasks/0/agent: no agent named \"writr\"; did you mean \"writer\"?"},
      {"one of several agents",
       {{"workflows", workflow("{ id: a, agents: [writer, edtor], resolve: { by: human }, instruction: Go. }")}},
       "/workflows/report/tasks/0/agents/1: no agent named \"edtor\"; did you mean \"editor\"?"},
      {"workflow of a task",
       {{"workflows", workflow("{ id: a, workflow: reprot }")}},
       "/workflows/report/tasks/0/workflow: no workflow named \"reprot\"; did you mean \"report\"?"},
      {"needed task",
       {{"workflows",
         workflow("{ id: first, agent: writer, instruction: Go. }, { id: b, needs: [frist], agent: writer, instruction: Go. }")}},
       "/workflows/report/tasks/1/needs/0: no task named \"frist\"; did you mean \"first\"?"},
      {"task of a condition",
       {{"workflows", workflow("{ id: a, agent: writer, instruction: Go., when: { task: b, matches: {} } }")}},
       "/workflows/report/tasks/0/when/task: no task named \"b\"; there is only \"a\""},
      {"alternative",
       {{"tools", "{ grep: { kind: process, description: d, command: [grep], effect: none, alternative: ripgrp }, ripgrep: { kind: "
                  "process, description: d, command: [rg], effect: none } }"},
        {"agents", "{ writer: { model: fast } }"}},
       "/tools/grep/alternative: no tool named \"ripgrp\"; did you mean \"ripgrep\"?"},
      {"reviewer",
       {{"agents", "{ writer: { model: fast, output: { reviewer: editr } }, editor: { model: fast } }"}},
       "/agents/writer/output/reviewer: no agent named \"editr\"; did you mean \"editor\"?"},
      {"reviewer of itself",
       {{"agents", "{ writer: { model: fast, output: { reviewer: writer } } }"}},
       "/agents/writer/output/reviewer: an agent cannot review itself"},
      {"reviewers of each other",
       {{"agents", "{ writer: { model: fast, output: { reviewer: editor } }, editor: { model: fast, output: { reviewer: writer } } }"}},
       "/agents/editor/output/reviewer: \"editor\" and \"writer\" review each other in a circle"},
      {"arbiter",
       {{"workflows", workflow("{ id: a, agents: [writer, editor], resolve: { by: arbiter, arbiter: editr }, instruction: Go. }")}},
       "/workflows/report/tasks/0/resolve/arbiter: no agent named \"editr\"; did you mean \"editor\"?"},
      {"arbiter of a tie",
       {{"workflows", workflow("{ id: a, agents: [writer, editor], resolve: { by: vote, tie: { arbiter: editr } }, instruction: Go. }")}},
       "/workflows/report/tasks/0/resolve/tie/arbiter: no agent named \"editr\"; did you mean \"editor\"?"},
      {"pool",
       {{"supervision", "{ children: [ { pool: wrter }, { agent: writer } ] }"}},
       "/supervision/children/0/pool: no agent named \"wrter\"; did you mean \"writer\"?"},
      {"workflow of an alert",
       {{"alerts", "[ { metric: cost, workflow: rport } ]"}},
       "/alerts/0/workflow: no workflow named \"rport\"; did you mean \"report\"?"},
      {"unknown key", {{"agents", "{ writer: { modle: fast } }"}}, "/agents/writer/modle: unknown key \"modle\"; did you mean \"model\"?"},
      {"unknown section", {{"agent", "{}"}}, "/agent: unknown key \"agent\""},
      {"unknown kind",
       {{"journal", "{ kind: sqlit }"}},
       "/journal/kind: \"sqlit\" is not one of \"sqlite\", \"postgres\"; did you mean \"sqlite\"?"},
  });
}

TROUPE_TEST("a provider's address and headers are those of requests") {
  const auto provider = [](const std::string& rest) {
    return sections{{"providers", "{ rehearsal: { kind: scripted, script: s.yaml }, p: { kind: openai, " + rest + " } }"}};
  };
  check({
      {"a query", provider("base_url: \"https://x/openai/deployments/d?api-version=1\""), ""},
      {"a fragment", provider("base_url: \"https://x/v1#x\""), "/providers/p/base_url: a fragment (#) is never sent; leave it out"},
      {"a length", provider("headers: { content-length: \"3\" }"), "/providers/p/headers/content-length: it belongs to the transfer"},
      {"chunks", provider("headers: { Transfer-Encoding: chunked }"), "/providers/p/headers/Transfer-Encoding: it belongs to the transfer"},
      {"a gateway's host", provider("headers: { Host: x, Proxy-Authorization: y }"), ""},
      {"the limit's name", provider("max_tokens_field: max_completion_tokens"), ""},
      {"another limit's name", provider("max_tokens_field: max_output_tokens"), "/providers/p/max_tokens_field: "},
  });
}

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

TROUPE_TEST("tasks form no circle, templates included") {
  check({
      {"two tasks",
       {{"workflows",
         workflow("{ id: a, needs: [b], agent: writer, instruction: Go. }, { id: b, needs: [a], agent: writer, instruction: Go. }")}},
       "/workflows/report/tasks/0: tasks need each other in a circle: \"a\" → \"b\" → \"a\""},
      {"by a template",
       {{"workflows",
         workflow(
             "{ id: a, agent: writer, instruction: \"{{ tasks.b.output }}\" }, { id: b, needs: [a], agent: writer, instruction: Go. }")}},
       "/workflows/report/tasks/0: tasks need each other in a circle: \"a\" → \"b\" → \"a\""},
      {"by a condition",
       {{"workflows", workflow("{ id: a, agent: writer, instruction: Go., when: { task: b, matches: {} } }, { id: b, needs: [a], agent: "
                               "writer, instruction: Go. }")}},
       "/workflows/report/tasks/0: tasks need each other in a circle"},
      {"itself",
       {{"workflows", workflow("{ id: a, needs: [a], agent: writer, instruction: Go. }")}},
       "/workflows/report/tasks/0: task \"a\" needs itself"},
      {"itself by a template",
       {{"workflows", workflow("{ id: a, agent: writer, instruction: \"{{ tasks.a.output }}\" }")}},
       "/workflows/report/tasks/0: task \"a\" needs itself"},
      {"same id",
       {{"workflows", workflow("{ id: a, agent: writer, instruction: Go. }, { id: a, agent: writer, instruction: Go. }")}},
       "/workflows/report/tasks/1/id: two tasks have the id \"a\""},
      {"sub-workflow",
       {{"workflows", "{ x: { tasks: [ { id: a, workflow: y } ] }, y: { tasks: [ { id: a, agent: writer, instruction: Go. }, { id: b, "
                      "workflow: x } ] } }"}},
       "/workflows/y/tasks/1/workflow: workflows run each other without end: \"x\" → \"y\" → \"x\""},
      {"sub-workflow that runs itself",
       {{"workflows", workflow("{ id: a, workflow: report }")}},
       "/workflows/report/tasks/0/workflow: workflows run each other without end: \"report\" → \"report\""},
      {"alternatives",
       {{"tools", "{ grep: { kind: builtin, builtin: clock, alternative: b }, b: { kind: builtin, builtin: clock, alternative: grep } }"},
        {"agents", "{ writer: { model: fast } }"}},
       "/tools/b/alternative: alternatives go in a circle: \"b\" → \"grep\" → \"b\""},
      {"alternative of itself",
       {{"tools", "{ grep: { kind: builtin, builtin: clock, alternative: grep } }"}, {"agents", "{ writer: { model: fast } }"}},
       "/tools/grep/alternative: a tool cannot stand in for itself"},
  });
}

TROUPE_TEST("a long chain of tasks is no circle, and ends soon") {
  graph chain(200'000);
  for (std::size_t i = 1; i < chain.size(); ++i)
    chain[i].push_back(i - 1);
  CHECK_EQ(find_cycles(chain).size(), 0u);
  chain[0].push_back(chain.size() - 1);
  const auto cycles = find_cycles(chain);
  REQUIRE(cycles.size() == 1);
  CHECK_EQ(cycles.front().size(), chain.size());
  graph complete(300);
  for (auto& each : complete)
    for (std::size_t i = 0; i < complete.size(); ++i)
      each.push_back(i);
  CHECK_EQ(find_cycles(complete).size(), 10u);
}

TROUPE_TEST("a template implies the need of what it reads, once") {
  const auto result =
      loaded({{"workflows",
               workflow("{ id: a, agent: writer, instruction: Go. }, { id: b, needs: [a], agent: writer, instruction: \"{{ tasks.a.output "
                        "}}{{ tasks.a.status }}\" },"
                        "{ id: c, agent: writer, for_each: \"{{ tasks.b.output.facts }}\", instruction: \"{{ item.x }} {{ index }}\" },"
                        "{ id: d, agent: writer, instruction: Go., when: { task: c, matches: {} } }")}});
  REQUIRE(result.ok());
  const auto& tasks = result.value->workflows.at("report").tasks;
  CHECK_EQ(tasks[1].needs.size(), 1u);
  CHECK_EQ(tasks[1].needs.at(0), "a");
  CHECK_EQ(tasks[2].needs.at(0), "b");
  CHECK_EQ(tasks[3].needs.at(0), "c");
}

TROUPE_TEST("templates read what there is") {
  const auto task = [](const std::string& rest) {
    return sections{{"workflows", workflow("{ id: a, agent: writer, instruction: Go. }, { id: b, agent: writer, " + rest + " }")}};
  };
  check({
      {"a root that is none", task("instruction: \"{{ inptu.topic }}\""),
       "/workflows/report/tasks/1/instruction: a template cannot read \"inptu\"; did you mean \"input\"?"},
      {"item outside of a for_each", task("instruction: \"{{ item }}\""), "/workflows/report/tasks/1/instruction: \"item\" stands only in"},
      {"index outside of a for_each", task("instruction: \"{{ index }}\""),
       "/workflows/report/tasks/1/instruction: \"index\" stands only in"},
      {"item in for_each itself", task("for_each: \"{{ item.list }}\", instruction: Go."),
       "/workflows/report/tasks/1/for_each: \"item\" stands only in"},
      {"an unknown task", task("instruction: \"{{ tasks.c.output }}\""), "/workflows/report/tasks/1/instruction: no task named \"c\""},
      {"no task at all", task("instruction: \"{{ tasks }}\""), "/workflows/report/tasks/1/instruction: \"tasks\" is no value"},
      {"an unknown part of a task", task("instruction: \"{{ tasks.a.ouptut }}\""),
       "/workflows/report/tasks/1/instruction: a task has no \"ouptut\"; did you mean \"output\"?"},
      {"a for_each that is a text", task("for_each: \"all {{ tasks.a.output }}\", instruction: Go."),
       "/workflows/report/tasks/1/for_each: a text is no list"},
      {"unclosed braces", task("instruction: \"{{ input.topic\""), "/workflows/report/tasks/1/instruction: "},
      {"the result",
       {{"workflows", workflow("{ id: a, agent: writer, instruction: Go. }", "result: \"{{ tasks.b.output }}\", ")}},
       "/workflows/report/result: no task named \"b\""},
      {"deep in with",
       {{"workflows", "{ sub: { tasks: [ { id: a, agent: writer, instruction: Go. } ] }, x: { tasks: [ { id: a, workflow: sub, with: { "
                      "list: [ { deep: \"{{ nothing }}\" } ] } } ] } }"}},
       "/workflows/x/tasks/0/with/list/0/deep: a template cannot read \"nothing\""},
      {"good ones",
       task("for_each: \"{{ input.list }}\", instruction: \"{{ item.a }} {{ index }} {{ input.x }} {{ tasks.a.output.0.b }} {{ state.k "
            "}}\""),
       ""},
  });
}

TROUPE_TEST("a task names who does it, once, and what goes with that") {
  const auto task = [](const std::string& rest) { return sections{{"workflows", workflow("{ id: a, " + rest + " }")}}; };
  // A race of the editor and the writer, beside a saver whose tool has an effect.
  const auto race = [](const std::string& agents) {
    return sections{{"agents", "{ editor: { model: fast }, saver: { model: fast, tools: [save] }, " + agents + " }"},
                    {"workflows", workflow("{ id: a, agents: [editor, writer], instruction: Go., resolve: { by: first } }")}};
  };
  check({
      {"nobody", task("instruction: Go."), "/workflows/report/tasks/0: a task names exactly one of agent, agents and workflow"},
      {"no instruction", task("agent: writer"), "/workflows/report/tasks/0: the key \"instruction\" is missing"},
      {"agents without resolve", task("agents: [writer, editor], instruction: Go."),
       "/workflows/report/tasks/0: the key \"resolve\" is missing"},
      {"resolve without agents", task("agent: writer, instruction: Go., resolve: { by: human }"),
       "/workflows/report/tasks/0/resolve: resolve makes one answer of several"},
      {"with without workflow", task("agent: writer, instruction: Go., with: {}"),
       "/workflows/report/tasks/0/with: with is the input of a sub-workflow"},
      {"quorum beyond the agents", task("agents: [writer, editor], instruction: Go., resolve: { by: vote, quorum: 3 }"),
       "/workflows/report/tasks/0/resolve/quorum: a quorum of 3 cannot come from 2 agents"},
      {"quorum of a race", task("agents: [writer, editor], instruction: Go., resolve: { by: first, quorum: 2 }"),
       "/workflows/report/tasks/0/resolve/quorum: the key \"quorum\" does not go with by: first"},
      {"arbiter missing", task("agents: [writer, editor], instruction: Go., resolve: { by: arbiter }"),
       "/workflows/report/tasks/0/resolve: the key \"arbiter\" is missing"},
      {"race with an effect", task("agents: [writer, saver], instruction: Go., resolve: { by: first }"),
       "/workflows/report/tasks/0/agents/1: agent \"saver\" may call \"save\", whose effect is idempotent"},
      {"race that writes the state",
       {{"tools", "{ state_set: { kind: builtin } }"},
        {"agents", "{ writer: { model: fast }, editor: { model: fast, tools: [state_set] } }"},
        {"workflows", workflow("{ id: a, agents: [writer, editor], instruction: Go., resolve: { by: first } }")}},
       "/workflows/report/tasks/0/agents/1: agent \"editor\" may call \"state_set\", whose effect is idempotent"},
      {"a write to the state without an effect",
       {{"tools", "{ put: { kind: builtin, builtin: state_set, effect: none } }"},
        {"agents", "{ writer: { model: fast, tools: [put] } }"},
        {"workflows", workflow("{ id: a, agent: writer, instruction: Go. }")}},
       "/tools/put/effect: a write to the run's state has an effect"},
      {"race whose alternative has one",
       {{"tools", "{ grep: { kind: process, description: d, command: [grep], effect: none, alternative: save }, save: { kind: builtin, "
                  "builtin: write_file } }"},
        {"agents", "{ writer: { model: fast, tools: [grep] }, editor: { model: fast } }"},
        {"workflows", workflow("{ id: a, agents: [editor, writer], instruction: Go., resolve: { by: first } }")}},
       "/workflows/report/tasks/0/agents/1: agent \"writer\" may call \"save\", whose effect is idempotent"},
      {"race whose reviewer has one", race("writer: { model: fast, output: { min_length: 9, reviewer: saver } }"),
       "/workflows/report/tasks/0/agents/1: agent \"writer\" may, through agent \"saver\", call \"save\", whose effect is idempotent, but "
       "the "
       "losers of a race"},
      {"race whose reviewer asks one that has one",
       race("writer: { model: fast, output: { min_length: 9, reviewer: chief } }, chief: { model: fast, tools: [agent:saver] }"),
       "/workflows/report/tasks/0/agents/1: agent \"writer\" may, through agent \"saver\", call \"save\""},
      {"race whose reviewer hands over to one that has one",
       race("writer: { model: fast, output: { min_length: 9, reviewer: chief } }, chief: { model: fast, handoffs: [saver] }"),
       "/workflows/report/tasks/0/agents/1: agent \"writer\" may, through agent \"saver\", call \"save\""},
      {"race that asks one whose reviewer has one",
       race("writer: { model: fast, tools: [agent:clerk] }, clerk: { model: fast, output: { min_length: 9, reviewer: saver } }"),
       "/workflows/report/tasks/0/agents/1: agent \"writer\" may, through agent \"saver\", call \"save\""},
      {"race that hands over to one whose reviewer has one",
       race("writer: { model: fast, handoffs: [clerk] }, clerk: { model: fast, output: { min_length: 9, reviewer: saver } }"),
       "/workflows/report/tasks/0/agents/1: agent \"writer\" may, through agent \"saver\", call \"save\""},
      {"race whose reviewer would be reviewed, which no reviewer is",
       race("writer: { model: fast, output: { min_length: 9, reviewer: chief } }, chief: { model: fast, output: { min_length: 9, reviewer: "
            "saver } }"),
       ""},
      {"… unless the same one is asked, too",
       race("writer: { model: fast, tools: [agent:chief], output: { min_length: 9, reviewer: chief } }, chief: { model: fast, output: { "
            "min_length: 9, reviewer: saver } }"),
       "/workflows/report/tasks/0/agents/1: agent \"writer\" may, through agent \"saver\", call \"save\""},
      {"race whose reviewer and command do nothing",
       race("writer: { model: fast, output: { min_length: 9, command: [grep, x], reviewer: chief } }, chief: { model: fast }"), ""},
      {"race with a server of tools that do something",
       {{"tools", "{ s: { kind: mcp, command: [x] } }"},
        {"agents", "{ writer: { model: fast, tools: [s] }, editor: { model: fast } }"},
        {"workflows", workflow("{ id: a, agents: [editor, writer], instruction: Go., resolve: { by: first } }")}},
       "/workflows/report/tasks/0/agents/1: agent \"writer\" may call \"s\", whose effect is once"},
      {"race with a server of which one tool does something",
       {{"tools", "{ s: { kind: mcp, command: [x], effect: none, overrides: { put: { effect: idempotent } } } }"},
        {"agents", "{ writer: { model: fast, tools: [s] }, editor: { model: fast } }"},
        {"workflows", workflow("{ id: a, agents: [editor, writer], instruction: Go., resolve: { by: first } }")}},
       "/workflows/report/tasks/0/agents/1: agent \"writer\" may call \"s\", whose effect is idempotent"},
      {"race with an arbiter", task("agents: [writer, editor], instruction: Go., resolve: { by: first, arbiter: saver }"),
       "/workflows/report/tasks/0/resolve/arbiter: the key \"arbiter\" does not go with by: first"},
      {"race with a tie", task("agents: [writer, editor], instruction: Go., resolve: { by: first, tie: { arbiter: saver } }"),
       "/workflows/report/tasks/0/resolve/tie: the key \"tie\" does not go with by: first"},
      {"race without one", task("agents: [writer, editor], instruction: Go., resolve: { by: first }"), ""},
      {"zero attempts", task("agent: writer, instruction: Go., attempts: 0"),
       "/workflows/report/tasks/0/attempts: 0 is less than the minimum 1"},
      {"zero time", task("agent: writer, instruction: Go., timeout: 0s"), "/workflows/report/tasks/0/timeout: a time of zero"},
      {"negative time", task("agent: writer, instruction: Go., timeout: -5s"), "/workflows/report/tasks/0/timeout: \"-5s\" is negative"},
      {"input of the sub-workflow",
       {{"workflows", "{ sub: { input: { schema: { required: [text] } }, tasks: [ { id: a, agent: writer, instruction: Go. } ] }, x: { "
                      "tasks: [ { id: a, workflow: sub } ] } }"}},
       "/workflows/x/tasks/0: workflow \"sub\" requires the input \"text\""},
  });
}

TROUPE_TEST("a model that is used has a price, or says that it is free") {
  const auto chain = [](const std::string& rest) {
    return sections{{"models", "{ fast: { chain: [ { provider: openai, model: m" + rest + " } ] } }"}};
  };
  check({
      {"none", chain(""), "/models/fast/chain/0: no price for the model \"m\", and every run has a USD limit"},
      {"free", chain(", usd_per_mtok: free"), ""},
      {"a price", chain(", usd_per_mtok: { input: 2.5, output: 10 }"), ""},
      {"half a price", chain(", usd_per_mtok: { input: 2.5 }"), "/models/fast/chain/0/usd_per_mtok: the key \"output\" is missing"},
      {"a negative price", chain(", usd_per_mtok: { input: -1, output: 1 }"),
       "/models/fast/chain/0/usd_per_mtok/input: -1 is less than the minimum 0"},
      {"too fine a price", chain(", usd_per_mtok: { input: 0.0000001, output: 1 }"),
       "/models/fast/chain/0/usd_per_mtok/input: 1e-07 is finer than a millionth of a dollar"},
      {"an absurd price", chain(", usd_per_mtok: { input: 5000000, output: 1 }"),
       "/models/fast/chain/0/usd_per_mtok/input: more than a million dollars"},
      {"another word", chain(", usd_per_mtok: fre"), "/models/fast/chain/0/usd_per_mtok: \"fre\" must be \"free\""},
      {"unused",
       {{"models", "{ fast: { chain: [ { provider: rehearsal } ] }, other: { chain: [ { provider: openai, model: m } ] } }"}},
       ""},
      {"no model",
       {{"models", "{ fast: { chain: [ { provider: openai, usd_per_mtok: free } ] } }"}},
       "/models/fast/chain/0: the model is missing"},
  });
}

TROUPE_TEST("numbers and times stand in their bounds") {
  const auto model = [](const std::string& rest) {
    return sections{{"models", "{ fast: { chain: [ { provider: rehearsal } ], " + rest + " } }"}};
  };
  const auto agent = [](const std::string& rest) { return sections{{"agents", "{ writer: { model: fast, " + rest + " } }"}}; };
  check({
      {"cap below base", model("retry: { base: 10s, cap: 1s }"),
       "/models/fast/retry/cap: the longest pause (cap, 1s) is shorter than the first (base, 10s)"},
      {"hedge", model("hedge: { after: p99 }"), "/models/fast/hedge/after: \"p99\" is no duration"},
      {"window below repeats", agent("loop: { repeats: 5, window: 4 }"),
       "/agents/writer/loop/window: a window of 4 calls cannot hold 5 repeats"},
      {"no tokens", agent("max_tokens: 0"), "/agents/writer/max_tokens: 0 is less than the minimum 1"},
      {"hot", agent("temperature: 3"), "/agents/writer/temperature: 3 is more than the maximum 2"},
      {"budget", agent("budget: { usd: -1 }"), "/agents/writer/budget/usd: -1 is less than the minimum 0"},
      {"too rich", agent("budget: { usd: 2000000000 }"), "/agents/writer/budget/usd: 2000000000 is more than the maximum 1000000000"},
      {"money that is none", agent("budget: { usd: 5 dollars }"), "/agents/writer/budget/usd: \"5 dollars\" is no amount of US dollars"},
      {"no steps", agent("budget: { steps: 0 }"), "/agents/writer/budget/steps: 0 is less than the minimum 1"},
      {"a time beyond all", agent("timeout: 99999999999d"), "/agents/writer/timeout: \"99999999999d\" is longer than 100 years"},
      {"lengths", agent("output: { min_length: 5, max_length: 4 }"),
       "/agents/writer/output/min_length: min_length (5) is more than max_length (4)"},
      {"size",
       {{"tools", "{ grep: { kind: process, description: d, command: [grep], effect: none, limits: { memory: 512 MB } } }"},
        {"agents", "{ writer: { model: fast } }"}},
       "/tools/grep/limits/memory: \"512 MB\" is no size"},
      {"a yes that is no boolean",
       {{"providers", "{ rehearsal: { kind: scripted, script: s.yaml, stream: yes } }"}},
       "/providers/rehearsal/stream: \"yes\" is a string, but must be a boolean; write true"},
      {"an empty mapping", {{"workflows", ""}}, "/workflows: is empty, but must be a mapping"},
  });
}

TROUPE_TEST("schemas and patterns are compiled, and refused where they stand") {
  const auto agent = [](const std::string& rest) { return sections{{"agents", "{ writer: { model: fast, output: { " + rest + " } } }"}}; };
  check({
      {"output", agent("schema: { type: objekt }"), "/agents/writer/output/schema/type: "},
      {"remote reference", agent("schema: { properties: { a: { $ref: \"https://example.com/x\" } } }"),
       "/agents/writer/output/schema/properties/a/$ref: "},
      {"a pattern beyond RE2", agent("schema: { pattern: \"(?=a)\" }"), "/agents/writer/output/schema/pattern: "},
      {"matches", agent("matches: \"(a\""), "/agents/writer/output/matches: "},
      {"not_matches", agent("not_matches: \"(?<=a)b\""), "/agents/writer/output/not_matches: "},
      {"parameters",
       {{"tools",
         "{ grep: { kind: process, description: d, command: [grep], effect: none, parameters: { properties: { a: { minimum: x } } } } }"},
        {"agents", "{ writer: { model: fast } }"}},
       "/tools/grep/parameters/properties/a/minimum: "},
      {"parameters of no object",
       {{"tools", "{ grep: { kind: process, description: d, command: [grep], effect: none, parameters: { type: array } } }"},
        {"agents", "{ writer: { model: fast } }"}},
       "/tools/grep/parameters/type: arguments are named"},
      {"input",
       {{"workflows", workflow("{ id: a, agent: writer, instruction: Go. }", "input: { schema: { required: x } }, ")}},
       "/workflows/report/input/schema/required: "},
      {"when",
       {{"workflows", workflow("{ id: a, agent: writer, instruction: Go. }, { id: b, agent: writer, instruction: Go., when: { task: a, "
                               "matches: { enum: 1 } } }")}},
       "/workflows/report/tasks/1/when/matches/enum: "},
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

TROUPE_TEST("the supervision tree follows OTP's rules") {
  const auto tree = [](const std::string& text) { return sections{{"supervision", text}}; };
  check({
      {"an agent twice", tree("{ children: [ { agent: writer }, { supervisor: { name: s, children: [ { pool: writer } ] } } ] }"),
       "/supervision/children/1/supervisor/children/0/pool: agent \"writer\" has a place in the tree already, at "
       "/supervision/children/0/agent"},
      {"a supervisor twice",
       tree("{ children: [ { agent: writer }, { supervisor: { name: s, children: [ { agent: editor } ] } }, { supervisor: { name: s, "
            "children: [ { agent: saver } ] } } ] }"),
       "/supervision/children/2/supervisor/name: \"s\" is the name of another node of the tree"},
      {"a supervisor named as an agent",
       tree("{ children: [ { agent: writer }, { supervisor: { name: writer, children: [ { agent: editor } ] } } ] }"),
       "/supervision/children/1/supervisor/name: "},
      {"no name", tree("{ children: [ { agent: writer }, { supervisor: { children: [ { agent: editor } ] } } ] }"),
       "/supervision/children/1/supervisor: a supervisor below another one needs a name"},
      {"nobody", tree("{ children: [ { agent: writer }, {} ] }"),
       "/supervision/children/1: a child names exactly one of agent, pool and supervisor"},
      {"two at once", tree("{ children: [ { agent: writer, pool: editor } ] }"),
       "/supervision/children/0: a child names exactly one of agent, pool and supervisor"},
      {"no children", tree("{ children: [] }"), "/supervision/children: is empty; at least one is needed"},
      {"missing an agent that a workflow uses", tree("{ children: [ { agent: editor } ] }"),
       "/workflows/report/tasks/0/agent: agent \"writer\" has no place in the supervision tree"},
      {"size of an agent", tree("{ children: [ { agent: writer, size: 2 } ] }"),
       "/supervision/children/0: the key \"pool\" is missing, which \"size\" needs beside it"},
      {"negative restarts", tree("{ max_restarts: -1, children: [ { agent: writer } ] }"),
       "/supervision/max_restarts: -1 is less than the minimum 0"},
      {"no time", tree("{ within: 0s, children: [ { agent: writer } ] }"), "/supervision/within: a time of zero"},
      {"negative time", tree("{ children: [ { agent: writer, shutdown: -1s } ] }"),
       "/supervision/children/0/shutdown: \"-1s\" is negative"},
      {"permanent and significant", tree("{ auto_shutdown: any_significant, children: [ { agent: writer, significant: true } ] }"),
       "/supervision/children/0/significant: a permanent child is always restarted"},
      {"significant without auto_shutdown", tree("{ children: [ { agent: writer, significant: true, restart: transient } ] }"),
       "/supervision/children/0/significant: no meaning without auto_shutdown"},
      {"auto_shutdown without significant", tree("{ auto_shutdown: all_significant, children: [ { agent: writer } ] }"),
       "/supervision/auto_shutdown: no child is significant"},
      {"a good one",
       tree("{ name: top, strategy: rest_for_one, auto_shutdown: any_significant, children: [ { pool: writer, size: 3, shutdown: "
            "brutal_kill }, { agent: editor, restart: transient, significant: true, shutdown: infinity } ] }"),
       ""},
  });
}

TROUPE_TEST("without a tree every agent has a pool of one under one_for_one") {
  const auto result = loaded({});
  REQUIRE(result.ok());
  const auto& tree = result.value->supervision;
  CHECK_EQ(tree.name, "root");
  CHECK(tree.strategy == restart_strategy::one_for_one);
  REQUIRE(tree.children.size() == 3);
  for (const auto& child : tree.children) {
    CHECK(child.kind == child_kind::pool);
    CHECK_EQ(child.size, 1);
  }
}

TROUPE_TEST("supervisors have all the time to stop, other children five seconds") {
  const auto result =
      loaded({{"supervision",
               "{ children: [ { agent: writer }, { supervisor: { name: s, children: [ { pool: editor, shutdown: 250ms } ] } } ] }"}});
  REQUIRE(result.ok());
  const auto& children = result.value->supervision.children;
  CHECK_EQ(children[0].shutdown.time.count(), 5'000);
  CHECK(children[1].shutdown.infinity);
  CHECK_EQ(children[1].supervisor.at(0).children.at(0).shutdown.time.count(), 250);
}

TROUPE_TEST("doors beyond loopback are locked") {
  check({
      {"api without a token", {{"api", "{ listen: \"0.0.0.0:80\" }"}}, "/api/listen: beyond loopback the API needs token_env"},
      {"api with one", {{"api", "{ listen: \"0.0.0.0:80\", token_env: T }"}}, ""},
      {"api on loopback", {{"api", "{ listen: \"[::1]:80\" }"}}, ""},
      {"a name that begins like loopback", {{"api", "{ listen: \"127.evil.example:80\" }"}}, "/api/listen: beyond loopback"},
      {"no port", {{"api", "{ listen: localhost }"}}, "/api/listen: \"localhost\" is no address"},
      {"node without tls", {{"node", "{ listen: \"10.0.0.1:80\" }"}}, "/node/listen: beyond loopback a node needs tls"},
      {"peer", {{"node", "{ join: [ nowhere ] }"}}, "/node/join/0: \"nowhere\" is no address"},
      {"postgres without an address", {{"journal", "{ kind: postgres }"}}, "/journal: the key \"url_env\" is missing"},
      {"path of postgres",
       {{"journal", "{ kind: postgres, url_env: U, path: x }"}},
       "/journal/path: the key \"path\" does not go with kind: postgres"},
      {"redis without an address", {{"queue", "{ kind: redis }"}}, "/queue: the key \"url_env\" is missing"},
      {"webhook without an address", {{"checkpoint", "{ notify: [ { kind: webhook } ] }"}}, "/checkpoint/notify/0: exactly one of url_env"},
      {"rise of success",
       {{"alerts", "[ { metric: success_rate, rise: 1 } ]"}},
       "/alerts/0/rise: the key \"rise\" does not go with metric: success_rate"},
      {"decision", {{"checkpoint", "{ policy: { high: maybe } }"}}, "/checkpoint/policy/high: \"maybe\" is not one of \"auto\", \"ask\""},
      {"script",
       {{"providers", "{ rehearsal: { kind: scripted, script: missing.yaml } }"}},
       "/providers/rehearsal/script: no readable file \"missing.yaml\"; it is looked for at \"/c/missing.yaml\""},
      {"a home folder", {{"journal", "{ path: ~/runs.db }"}}, "/journal/path: no shell reads this path"},
      {"the folder that is named ~", {{"journal", "{ path: ./~/runs.db }"}}, ""},
      {"a home folder for a script",
       {{"providers", "{ rehearsal: { kind: scripted, script: ~/s.yaml } }"}},
       "/providers/rehearsal/script: no shell reads this path"},
      {"no script", {{"providers", "{ rehearsal: { kind: scripted } }"}}, "/providers/rehearsal: the key \"script\" is missing"},
      {"key of a scripted one",
       {{"providers", "{ rehearsal: { kind: scripted, script: s, api_key_env: K } }"}},
       "/providers/rehearsal/api_key_env: the key \"api_key_env\" does not go with kind: scripted"},
      {"header",
       {{"providers", "{ rehearsal: { kind: scripted, script: s.yaml }, p: { kind: openai, headers: { A: \"x\\ny\" } } }"}},
       "/providers/p/headers/A: a header cannot hold a line break"},
  });
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

TROUPE_TEST("warnings do not refuse a file") {
  const std::vector<std::pair<sections, const char*>> rows{
      {{{"workflows", workflow("{ id: a, agent: writer, parallel: 3, instruction: Go. }")}},
       "/workflows/report/tasks/0/parallel: no meaning without for_each"},
      {{{"workflows",
         workflow("{ id: a, agent: writer, instruction: \"{{ input.topik }}\" }", "input: { schema: { properties: { topic: {} } } }, ")}},
       "/workflows/report/tasks/0/instruction: the schema of the input has no property \"topik\"; did you mean \"topic\"?"},
      {{{"workflows", workflow("{ id: a, agents: [writer, editor], instruction: Go., resolve: { by: arbiter, arbiter: editor } }")}},
       "/workflows/report/tasks/0/agents/1: agent \"editor\" would decide about its own answer"},
      {{{"tools",
         "{ post: { kind: http, description: d, method: POST, url: \"https://x/\", parameters: { type: object, properties: { a: {} } }, "
         "content_type: text/xml, body: \"<a>{{ a }}</a>\" } }"},
        {"agents", "{ writer: { model: fast } }"}},
       "/tools/post/body: values are put into a text as they are"},
      {{{"tools",
         "{ post: { kind: http, description: d, method: POST, url: \"https://x/\", parameters: { type: object, properties: { a: {} } }, "
         "content_type: application/json, body: \"{{ a }}\" } }"},
        {"agents", "{ writer: { model: fast } }"}},
       "/tools/post/body: the value is sent as it is"},
      {{{"models", "{ fast: { chain: [ { provider: rehearsal, context: 4000 } ] } }"}}, "/models/fast/chain/0/context: answers of agent"},
      {{{"agents", "{ writer: { model: fast, output: { schema: { requird: [a] } } } }"}},
       "/agents/writer/output/schema: the keyword \"requird\" is unknown"},
      {{{"journal", "{ kind: postgres, url_env: U }"}}, "/journal/kind: without effect in this version"},
      {{{"queue", "{ kind: redis, url_env: U }"}}, "/queue/kind: without effect in this version"},
      {{{"node", "{ name: a }"}}, "/node: without effect in this version"},
      {{{"api", "{ listen: 127.0.0.1:1 }"}}, "/api: without effect in this version"},
      {{{"checkpoint", "{ notify: [ { kind: slack, url_env: U } ] }"}},
       "/checkpoint/notify: without effect in this version: nobody is notified"},
      {{{"metrics", "{ retention: 1d }"}}, "/metrics/retention: without effect in this version"},
      {{{"metrics", "{ otlp: { url_env: O } }"}}, "/metrics/otlp: without effect in this version"},
      {{{"alerts", "[ { metric: cost } ]"}}, "/alerts: without effect in this version: nobody is alerted"},
      {{{"tenants", "{ acme: { max_running: 10 } }"}}, "/tenants/acme/max_running: without effect in this version"},
  };
  for (const auto& [changed, wanted] : rows) {
    IN_ROW(wanted);
    const auto result = loaded(changed);
    CHECK_EQ(result.text(), "");
    CHECK(result.ok());
    REQUIRE(!result.warnings.empty());
    CHECK(result.warnings.front().text().find(wanted) != std::string::npos);
  }
}

TROUPE_TEST("workflows run each other thirty deep, and no deeper") {
  const auto chain = [](int depth) {
    std::string text = "{ w0: { tasks: [ { id: a, agent: writer, instruction: Go. } ] }";
    for (int i = 1; i < depth; ++i)
      text += ", w" + std::to_string(i) + ": { tasks: [ { id: a, workflow: w" + std::to_string(i - 1) + " } ] }";
    return text + " }";
  };
  CHECK_EQ(loaded({{"workflows", chain(30)}}).text(), "");
  const auto told = loaded({{"workflows", chain(31)}}).text();
  CHECK(told.find("/workflows/w30: workflows run each other 31 deep, at most 30 are run: \"w30\" → \"w29\" →") != std::string::npos);
  // However many ways lead down: each is looked at once.
  std::string wide = "{ w0: { tasks: [ { id: a, agent: writer, instruction: Go. } ] }";
  for (int i = 1; i < 30; ++i) {
    const auto below = "workflow: w" + std::to_string(i - 1);
    wide += ", w" + std::to_string(i) + ": { tasks: [ { id: a, " + below + " }, { id: b, " + below + " } ] }";
  }
  CHECK_EQ(loaded({{"workflows", wide + " }"}}).text(), "");
}

TROUPE_TEST("the journal's place is told whatever is wrong elsewhere, unless that may hide it") {
  struct place {
    const char* what;
    sections changed;
    const char* path; ///< "": not told
  };
  const std::vector<place> rows{
      {"a name nobody has", {{"agents", "{ writer: { model: slow } }"}}, "/c/.troupe/journal.db"},
      {"its own path", {{"agents", "{ writer: { model: slow } }"}, {"journal", "{ path: here.db }"}}, "/c/here.db"},
      {"a secret that is not set", {{"providers", "{ rehearsal: { kind: scripted, script: \"${KEY}.yaml\" } }"}}, "/c/.troupe/journal.db"},
      {"its own section is wrong", {{"journal", "{ pth: here.db }"}}, ""},
      {"its path is a secret that is not set", {{"journal", "{ path: \"${PLACE}\" }"}}, ""},
      {"a section's name is wrong", {{"jornal", "{ path: here.db }"}}, ""},
      {"a section is no mapping", {{"agents", "12"}}, ""},
      {"it does not read", {{"agents", "{ writer: { model: fast, model: fast } }"}}, ""},
  };
  for (const auto& each : rows) {
    IN_ROW(each.what);
    const auto result = loaded(each.changed);
    CHECK(!result.ok());
    CHECK_EQ(result.journal_only ? result.journal_only->journal.path : "", each.path);
    CHECK(!result.journal_only || (result.journal_only->file == "/c/f.yaml" && result.journal_only->agents.empty()));
  }
  CHECK(!loaded({}).journal_only);
}

TROUPE_TEST("money is exact") {
  const std::vector<std::pair<json, std::int64_t>> rows{{2.50, 2'500'000},
                                                        {5, 5'000'000},
                                                        {0.1, 100'000},
                                                        {0.000001, 1},
                                                        {"0.000001", 1},
                                                        {"2.5", 2'500'000},
                                                        {1.1, 1'100'000},
                                                        {1e9, 1'000'000'000'000'000},
                                                        {999999999.999999, 999'999'999'999'999},
                                                        {"999999999.999999", 999'999'999'999'999},
                                                        {0, 0},
                                                        {0.29, 290'000}};
  for (const auto& [value, micro] : rows) {
    IN_ROW(value.dump());
    std::string problem;
    const auto amount = money_of(value, problem);
    REQUIRE(amount.has_value());
    CHECK_EQ(amount->micro, micro);
  }
  for (const json& value : {json(-1), json(-0.01), json(0.0000001), json(1e10), json("1e3"), json("-1"), json(""), json("."), json("1."),
                            json(".5"), json("1.0000001"), json("12345678901"), json("1.-5"), json(true)}) {
    IN_ROW(value.dump());
    std::string problem;
    CHECK(!money_of(value, problem).has_value());
  }
}

TROUPE_TEST("a part of a price that is left out costs what input does, one of 0 costs nothing") {
  const auto result = loaded({{"models", "{ fast: { chain: [ { provider: rehearsal, usd_per_mtok: { input: 3, output: 15 } }, { provider: "
                                         "rehearsal, usd_per_mtok: { input: 3, cached_input: 0, cache_write: 0, output: 15, above: { "
                                         "tokens: 1000, input: 0, output: 0 } } } ] } }"}});
  CHECK_EQ(result.text(), "");
  REQUIRE(result.ok());
  const auto& chain = result.value->models.at("fast").chain;
  const auto& left_out = chain.at(0).price;
  CHECK_EQ(left_out.cached_input, 3'000'000);
  CHECK_EQ(left_out.cache_write, 3'000'000);
  CHECK_EQ(left_out.above_tokens, 0); // no second tier
  const auto& nothing = chain.at(1).price;
  CHECK_EQ(nothing.cached_input, 0);
  CHECK_EQ(nothing.cache_write, 0);
  CHECK_EQ(nothing.above_input, 0);
  CHECK_EQ(nothing.above_output, 0);
}

TROUPE_TEST("what is written is what the model holds") {
  const auto result = loaded({
      {"providers", "{ rehearsal: { kind: scripted, script: s.yaml }, p: { kind: openai, base_url: \"http://x/v1/\", timeout: 5s, stream: "
                    "false, proxy: \"http://proxy:1\", headers: { A: b } } }"},
      {"models", "{ fast: { chain: [ { provider: p, model: m, usd_per_mtok: { input: 2.50, cached_input: 1.25, output: 10, above: { "
                 "tokens: 200000, input: 5, output: 15 } }, context: 128000 } ], retry: { attempts: 5, base: 2s, cap: 1m }, breaker: { "
                 "failures: 9, open_for: 1m }, hedge: { after: 2s } } }"},
      {"tools", "{ grep: { kind: process, description: d, command: [grep], effect: none, risk: high, retries: 1, timeout: 10s, success: "
                "[0, 1], env_from: [T], max_calls: 4, polling: true, loop_ignore: [], sandbox: { network: true, read: [a], write: [/b] }, "
                "limits: { memory: 512MiB, cpu: 1500ms, processes: 3, output: 1kB } } }"},
      {"agents", "{ writer: { model: fast, tools: [grep], temperature: 0.5, crashes: 1, budget: { usd: \"0.10\", steps: 3 }, output: { "
                 "must_mention: [x], retries: 0, human: true } }, editor: { model: fast } }"},
      {"workflows", workflow("{ id: a, agents: [writer, editor], instruction: Go., resolve: { by: vote, tie: { arbiter: editor } }, "
                             "approval: { risk: critical }, on_failure: continue, timeout: 9s, budget: { time: 8s } }",
                             "budget: { usd: 1 }, ")},
      {"budget", "{ usd: 100 }"},
      {"checkpoint", "{ timeout: 1m, pause_clock: true, policy: { low: ask, critical: { approvals: 2 } } }"},
      {"tenants", "{ acme: { budget: { usd: 100, per: 7d, steps: 5 }, max_running: 10 } }"},
      {"metrics", "{ retention: 1d, otlp: { url_env: O } }"},
      {"alerts", "[ { metric: latency, rise: 0.25, window: 1h } ]"},
  });
  CHECK_EQ(result.text(), "");
  REQUIRE(result.ok());
  const auto& c = *result.value;
  CHECK_EQ(c.file, "/c/f.yaml");
  CHECK_EQ(c.folder, "/c");
  const auto& p = c.providers.at("p");
  CHECK_EQ(p.base_url, "http://x/v1");
  CHECK_EQ(p.timeout.count(), 5'000);
  CHECK(!p.stream);
  const auto& m = c.models.at("fast");
  CHECK_EQ(m.chain[0].price.input, 2'500'000);
  CHECK_EQ(m.chain[0].price.cached_input, 1'250'000);
  CHECK_EQ(m.chain[0].price.cache_write, 2'500'000); // as input, where none is given
  CHECK_EQ(m.chain[0].price.above_tokens, 200'000);
  CHECK_EQ(m.chain[0].price.above_output, 15'000'000);
  CHECK_EQ(m.retry.cap.count(), 60'000);
  CHECK(m.hedge.after == hedge_after::time);
  CHECK_EQ(m.hedge.time.count(), 2'000);
  const auto& t = c.tools.at("grep");
  CHECK(t.risk == risk::high);
  CHECK_EQ(t.sandbox.read.at(0), "/c/a");
  CHECK_EQ(t.sandbox.write.at(0), "/b");
  CHECK_EQ(t.limits.memory_bytes, 512LL << 20);
  CHECK_EQ(t.limits.cpu_seconds, 2);
  CHECK_EQ(t.limits.output_bytes, 1'000);
  CHECK_EQ(t.parameters["type"], "object");
  CHECK_EQ(c.agents.at("writer").budget.money->micro, 100'000);
  CHECK_EQ(c.agents.at("writer").max_tokens, 4096);
  CHECK_EQ(c.agents.at("writer").output->retries, 0);
  const auto& w = c.workflows.at("report");
  CHECK_EQ(w.budget.money->micro, 1'000'000);
  CHECK_EQ(w.budget.time->count(), 300'000);
  CHECK_EQ(*w.budget.steps, 50);
  const auto& task = w.tasks.at(0);
  CHECK_EQ(task.resolve->tie, "arbiter");
  CHECK_EQ(task.resolve->arbiter, "editor");
  CHECK(*task.approval == risk::critical);
  CHECK(task.on_failure == on_failure_type::resume);
  CHECK_EQ(c.process_budget.money->micro, 100'000'000);
  CHECK_EQ(c.checkpoint.approvals.at("low"), 1);
  CHECK_EQ(c.checkpoint.approvals.at("high"), 1);
  CHECK_EQ(c.checkpoint.approvals.at("critical"), 2);
  CHECK_EQ(c.journal.path, "/c/.troupe/journal.db");
  CHECK_EQ(*c.tenants.at("acme").steps, 5);
  CHECK_EQ(c.tenants.at("acme").per.count(), 604'800'000);
  CHECK_EQ(c.metrics.otlp_url_env, "O");
  CHECK_EQ(c.alerts.at(0).rise, 0.25);
}

TROUPE_TEST("an address is loopback, or not, or none") {
  const std::vector<std::pair<const char*, int>> rows{{"127.0.0.1:80", 1},
                                                      {"localhost:80", 1},
                                                      {"[::1]:80", 1},
                                                      {"127.9.9.9:1", 1},
                                                      {"0.0.0.0:80", 0},
                                                      {"[::]:80", 0},
                                                      {"example.com:80", 0},
                                                      {"127.0.0.1", -1},
                                                      {":80", -1},
                                                      {"a:99999", -1},
                                                      {"a:", -1},
                                                      {"a:-1", -1},
                                                      {"::1:80", -1},
                                                      {"[]:80", -1},
                                                      {"", -1},
                                                      {"a b:80", -1},
                                                      {"localhost.evil.example:80", 0}};
  for (const auto& [text, wanted] : rows) {
    IN_ROW(text);
    const auto is = is_loopback(text);
    CHECK_EQ(is ? static_cast<int>(*is) : -1, wanted);
  }
}
