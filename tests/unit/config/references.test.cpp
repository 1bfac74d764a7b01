#include "checks_support.hpp"

#include "troupe/config/graph.hpp"

TROUPE_SUITE(config_references)

using namespace troupe;
using namespace troupe::config;
using namespace troupe::config::checks;

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
