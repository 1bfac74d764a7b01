#include "checks_support.hpp"

TROUPE_SUITE(config_races)

using namespace troupe;
using namespace troupe::config;
using namespace troupe::config::checks;

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
