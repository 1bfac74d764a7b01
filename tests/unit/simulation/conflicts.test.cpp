// Several agents at one task, and the state that they share, with a crash at every event (see crash.test.cpp).

#include "test.hpp"

#include "simulation/scenario.hpp"
#include "troupe/model/described.hpp"

TROUPE_SUITE(crash_of_conflicts)

using namespace troupe;
using namespace troupe::simulation;

namespace {

std::string company(const std::string& task) {
  return R"(version: 1
providers: { p: { kind: scripted, script: script.yaml } }
models: { m: { chain: [ { provider: p, model: first, usd_per_mtok: { input: 10, output: 10 } } ] } }
tools:
  look: { kind: process, description: Looks, command: [look], effect: none, parameters: { type: object, properties: { at: { type: string } } } }
  pay: { kind: process, description: Pays, command: [pay], effect: once, parameters: { type: object, properties: { at: { type: string } } } }
  state_get: { kind: builtin }
  state_set: { kind: builtin }
agents:
  a: { model: m, tools: [look], max_tokens: 100 }
  b: { model: m, tools: [look], max_tokens: 100 }
  c: { model: m, tools: [pay], max_tokens: 100 }
  x: { model: m, tools: [state_get, state_set], max_tokens: 100 }
  y: { model: m, tools: [state_get, state_set], max_tokens: 100 }
  judge: { model: m, max_tokens: 100 }
supervision: { name: root, children: [ { supervisor: { name: workers, children: [ { agent: a }, { agent: b }, { agent: c } ] } }, { agent: x }, { agent: y }, { agent: judge } ] }
workflows:
  main: { tasks: [ )"
         + task + " ] }\n";
}

/// Each looks first, and one of them pays; then they differ, and the judge has an answer of its own.
scenario tie() {
  return {
      .name = "tie",
      .config = company(
          R"({ id: t, agents: [a, b, c], resolve: { by: vote, quorum: 2, tie: { arbiter: judge } }, budget: { usd: 0.05 }, instruction: Begin })"),
      .script = R"(version: 1
rules:
  - when: { agent: a, turn: 1 }
    reply: { tool_calls: [ { name: look, arguments: { at: here } } ] }
  - when: { agent: c, turn: 1 }
    reply: { tool_calls: [ { name: pay, arguments: { at: bank } } ] }
  - when: { agent: a }
    reply: { text: one }
  - when: { agent: b }
    reply: { text: two }
  - when: { agent: c }
    reply: { text: three }
  - when: { agent: judge }
    reply: { text: '{"answer": "four"}' }
)"};
}

/// Two agree and are sure of it while the third, whose tool has an effect, is at work.
scenario sure_vote() {
  return {.name = "sure_vote",
          .config =
              company(R"({ id: t, for_each: "{{ input.list }}", agents: [a, b, c], resolve: { by: vote }, instruction: "Do {{ item }}" })"),
          .script = R"(version: 1
rules:
  - when: { agent: c, turn: 1 }
    reply: { tool_calls: [ { name: pay, arguments: { at: bank } } ] }
  - when: { agent: c }
    reply: { text: other }
  - when: { any: true }
    reply: { text: same }
)",
          .input = {{"list", {1, 2}}}};
}

/// Both answer the same in the end, whoever wins.
scenario race() {
  return {
      .name = "race", .config = company(R"({ id: t, agents: [a, b], resolve: { by: first }, instruction: Begin })"), .script = R"(version: 1
rules:
  - when: { turn: 1 }
    reply: { tool_calls: [ { name: look, arguments: { at: here } } ] }
  - when: { any: true }
    reply: { text: same }
)"};
}

/// Both write version 0 of one key: one of them is told, and writes again.
scenario two_writers() {
  return {.name = "two_writers",
          .config = company(R"({ id: t, agents: [x, y], resolve: { by: arbiter, arbiter: judge }, instruction: Begin })"),
          .script = R"(version: 1
rules:
  - when: { turn: 1 }
    reply: { tool_calls: [ { name: state_set, arguments: { key: k, value: 1, version: 0 } } ] }
  - when: { last: "at version 1 now" }
    reply: { tool_calls: [ { name: state_set, arguments: { key: k, value: 2, version: 1 } } ] }
  - when: { any: true }
    reply: { text: same }
)",
          .judge = [](const run_summary& summary) -> std::string {
            if (summary.status != run_status::completed)
              return std::string("the run ended as ") + name_of(summary.status) + " (" + summary.reason + ")";
            if (summary.state.size() != 1 || summary.state[0].version != 2 || summary.state[0].value != 2)
              return "the state is not what two writers leave";
            return {};
          }};
}

void check_all(const scenario& what) {
  crash_everywhere(what, process_crashes());
  crash_everywhere(what, {{"agent-0", victim{"agent", 0}},
                          {"agent-2", victim{"agent", 2}},
                          {"pool-0", victim{"agent_pool", 0}},
                          {"gateway", victim{"llm_gateway", 0}},
                          {"host-0", victim{"tool_host", 0}},
                          {"host-3", victim{"tool_host", 3}}});
}

} // namespace

TROUPE_TEST("at every event of a vote whose tie an arbiter breaks") {
  check_all(tie());
}
TROUPE_TEST("at every event of votes that are sure before all have answered") {
  check_all(sure_vote());
}
TROUPE_TEST("at every event of a race") {
  check_all(race());
}
TROUPE_TEST("at every event of two writers of one key") {
  check_all(two_writers());
}
TROUPE_TEST("at every event of agents at one task, where answers arrive at any time") {
  for (const auto& base : {tie(), sure_vote(), race(), two_writers()}) {
    auto what = base;
    what.name += "_any";
    what.any_latency = true;
    crash_everywhere(what, {process_crashes().front(), process_crashes().back(), {"agent-1", victim{"agent", 1}}});
  }
}
TROUPE_TEST("at every event of a resume of a tie, after a crash at any event") {
  crash_twice(tie(), process_crashes().back(), 29);
}
