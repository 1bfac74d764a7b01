#include "test.hpp"

#include "simulation/scenario.hpp"
#include "troupe/model/described.hpp"

TROUPE_SUITE(crash_at_every_event)

using namespace troupe;
using namespace troupe::simulation;

namespace {

/// What the scenarios share: two models, three tools (one of each effect), a pool of two and a single agent.
std::string company(const std::string& workflows, const std::string& more = "", const std::string& worker_keys = "") {
  return R"(version: 1
providers: { p: { kind: scripted, script: script.yaml }, q: { kind: scripted, script: script.yaml } }
models:
  m:
    chain:
      - { provider: p, model: first, usd_per_mtok: { input: 100, output: 100 } }
      - { provider: q, model: second, usd_per_mtok: { input: 50, output: 50 } }
    retry: { attempts: 2, base: 100ms, cap: 1s }
tools:
  look: { kind: process, description: Looks, command: [look], effect: none, retries: 1, parameters: { type: object, properties: { at: { type: string } } } }
  put: { kind: process, description: Puts, command: [put], effect: idempotent, retries: 1, parameters: { type: object, properties: { at: { type: string } } } }
  pay: { kind: process, description: Pays, command: [pay], effect: once, parameters: { type: object, properties: { at: { type: string } } } }
agents:
  worker: { model: m, tools: [look, put, pay], max_tokens: 300, )" + worker_keys + R"( }
  writer: { model: m, max_tokens: 300 }
supervision: { name: root, children: [ { supervisor: { name: workers, children: [ { pool: worker, size: 2 } ] } }, { agent: writer } ] }
)" + more + "workflows:\n" + workflows;
}

const std::string one_tool_then_answer = R"(version: 1
rules:
  - when: { agent: worker, turn: 1 }
    reply: { tool_calls: [ { name: look, arguments: { at: here } } ] }
    usage: { input: 40, output: 10 }
  - when: { any: true }
    reply: { text: "Seen: {{ last }}" }
    usage: { input: 60, output: 10 }
)";

tool_outcome done(const invocation& call) {
  tool_outcome outcome;
  outcome.output = call.tool + " did " + call.arguments.dump();
  return outcome;
}

tool_outcome failed(const std::string& why) {
  tool_outcome outcome;
  outcome.status = tool_status::failed;
  outcome.error = why;
  return outcome;
}

scenario plain() {
  return {.name = "plain",
          .config = company("  main: { tasks: [ { id: a, agent: worker, instruction: Begin }, { id: b, agent: writer, needs: [a], instruction: \"Write {{ tasks.a.output }}\" } ] }\n"),
          .script = one_tool_then_answer};
}

scenario fail_over() {
  return {.name = "fail_over",
          .config = company("  main: { tasks: [ { id: a, agent: writer, instruction: Begin } ] }\n"),
          .script = R"(version: 1
rules:
  - when: { model: first }
    reply: { text: never }
    fault: { status: 503, times: 1000 }
  - when: { any: true }
    reply: { text: "second here" }
    usage: { input: 60, output: 10 }
)"};
}

/// Each tool once, all in one response; the reading and the idempotent one fail the first time.
scenario parallel_tools() {
  const auto stumbles = [](const invocation& call, std::int64_t n) { return n == 1 ? failed("not yet") : done(call); };
  return {.name = "parallel_tools",
          .config = company("  main: { tasks: [ { id: a, agent: worker, instruction: Begin } ] }\n"),
          .script = R"(version: 1
rules:
  - when: { turn: 1 }
    reply: { tool_calls: [ { name: look, arguments: { at: here } }, { name: put, arguments: { at: there } }, { name: pay, arguments: { at: bank } } ] }
    usage: { input: 40, output: 10 }
  - when: { any: true }
    reply: { text: "All three have answered" }
    usage: { input: 90, output: 10 }
)",
          .tools = {{"look", stumbles}, {"put", stumbles}}};
}

scenario for_each() {
  return {.name = "for_each",
          .config = company("  main: { tasks: [ { id: all, agent: worker, for_each: \"{{ input.list }}\", parallel: 2, instruction: \"Do {{ item }}\" } ] }\n"),
          .script = R"(version: 1
rules:
  - when: { any: true }
    reply: { text: "Done: {{ last }}" }
    usage: { input: 40, output: 10 }
)",
          .input = {{"list", {1, 2, 3}}}};
}

scenario sub_workflow() {
  return {.name = "sub_workflow",
          .config = company(R"(  main: { tasks: [ { id: a, workflow: below, with: { what: "{{ input.what }}" } }, { id: b, agent: writer, needs: [a], instruction: "Write {{ tasks.a.output }}" } ] }
  below: { input: { schema: { type: object } }, tasks: [ { id: x, agent: worker, instruction: "Do {{ input.what }}" } ] }
)"),
          .script = one_tool_then_answer,
          .input = {{"what", "it"}}};
}

/// The run has money for all, the task "greedy" has not: both limits are asked for the same requests.
scenario two_budgets() {
  return {.name = "two_budgets",
          .config = company(R"(  main: { budget: { usd: 1.00, steps: 9 }, tasks: [ { id: greedy, agent: worker, budget: { usd: 0.30, steps: 3 }, on_failure: continue, instruction: Spend }, { id: other, agent: writer, instruction: Save } ] }
)",
                            "budget: { usd: 0.90 }\n"),
          .script = R"(version: 1
rules:
  - when: { agent: worker }
    reply: { tool_calls: [ { name: look, arguments: { at: "{{ turn }}" } } ] }
    usage: { input: 400, output: 100 }
  - when: { any: true }
    reply: { text: "Saved" }
    usage: { input: 60, output: 10 }
)"};
}

} // namespace

TROUPE_TEST("kill -9 at every event: plain") { crash_everywhere(plain(), process_crashes()); }
TROUPE_TEST("kill -9 at every event: fail over") { crash_everywhere(fail_over(), process_crashes()); }
TROUPE_TEST("kill -9 at every event: parallel tools") { crash_everywhere(parallel_tools(), process_crashes()); }
TROUPE_TEST("kill -9 at every event: for_each") { crash_everywhere(for_each(), process_crashes()); }
TROUPE_TEST("kill -9 at every event: sub-workflow") { crash_everywhere(sub_workflow(), process_crashes()); }
TROUPE_TEST("kill -9 at every event: two budgets") { crash_everywhere(two_budgets(), process_crashes()); }
