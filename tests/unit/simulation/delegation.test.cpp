#include "test.hpp"

#include "simulation/scenario.hpp"
#include "troupe/model/described.hpp"

TROUPE_SUITE(crash_while_agents_ask_each_other)

using namespace troupe;
using namespace troupe::simulation;

namespace {

std::string company(const std::string& agents) {
  return R"(version: 1
providers: { p: { kind: scripted, script: script.yaml } }
models: { m: { chain: [ { provider: p, model: first, usd_per_mtok: { input: 100, output: 100 } } ], retry: { attempts: 2, base: 100ms, cap: 1s } } }
tools:
  look: { kind: process, description: Looks, command: [look], effect: none, retries: 1, parameters: { type: object, properties: { at: { type: string } } } }
  put: { kind: process, description: Puts, command: [put], effect: idempotent, retries: 1, parameters: { type: object, properties: { at: { type: string } } } }
agents:
)" + agents
         + "workflows: { main: { tasks: [ { id: a, agent: lead, instruction: Begin } ] } }\n";
}

/// Two are asked at once beside a tool; one of them uses a tool, the other asks a third one.
scenario asking() {
  return {.name = "asking",
          .config = company(R"(  lead: { model: m, tools: [look, put, "agent:writer", "agent:editor"], max_tokens: 300 }
  writer: { model: m, tools: [put], max_tokens: 300 }
  editor: { model: m, tools: ["agent:writer"], max_tokens: 300 }
)"),
          .script = R"(version: 1
rules:
  - when: { agent: lead, turn: 1 }
    reply: { tool_calls: [ { name: agent_writer, arguments: { task: put it } }, { name: look, arguments: { at: here } }, { name: agent_editor, arguments: { task: have it put } } ] }
    usage: { input: 40, output: 10 }
  - when: { agent: editor, turn: 1 }
    reply: { tool_calls: [ { name: agent_writer, arguments: { task: put it too } } ] }
    usage: { input: 40, output: 10 }
  - when: { agent: writer, turn: 1 }
    reply: { tool_calls: [ { name: put, arguments: { at: "{{ first }}" } } ] }
    usage: { input: 40, output: 10 }
  - when: { any: true }
    reply: { text: "Seen: {{ last }}" }
    usage: { input: 60, output: 10 }
)"};
}

/// A hand-off beside a tool's call, and the next agent hands it back.
scenario handing_on() {
  return {.name = "handing_on",
          .config = company(R"(  lead: { model: m, tools: [look], handoffs: [writer], max_tokens: 300 }
  writer: { model: m, tools: [put], handoffs: [lead], max_tokens: 300 }
)"),
          .script = R"(version: 1
rules:
  - when: { agent: lead, last: "You have put it" }
    reply: { text: "All done" }
    usage: { input: 60, output: 10 }
  - when: { agent: lead }
    reply: { tool_calls: [ { name: handoff_to_writer, arguments: { reason: "Put it." } }, { name: look, arguments: { at: here } } ] }
    usage: { input: 40, output: 10 }
  - when: { agent: writer, has_tool_result: put }
    reply: { tool_calls: [ { name: handoff_to_lead, arguments: { reason: "You have put it" } } ] }
    usage: { input: 40, output: 10 }
  - when: { agent: writer }
    reply: { tool_calls: [ { name: put, arguments: { at: there } } ] }
    usage: { input: 40, output: 10 }
)"};
}

std::vector<crash_kind> agents(std::size_t count) {
  std::vector<crash_kind> kinds;
  for (std::size_t i = 0; i < count; ++i)
    kinds.push_back({"agent-" + std::to_string(i), victim{"agent", i}});
  return kinds;
}

std::vector<crash_kind> services() {
  return {{"pool-0", victim{"agent_pool", 0}},
          {"pool-1", victim{"agent_pool", 1}},
          {"gateway", victim{"llm_gateway", 0}},
          {"host-0", victim{"tool_host", 0}},
          {"host-1", victim{"tool_host", 1}}};
}

void check_all(const scenario& what) {
  crash_everywhere(what, process_crashes());
  crash_everywhere(what, agents(3));
  crash_everywhere(what, services());
}

} // namespace

TROUPE_TEST("at every event of a run whose agents ask each other") {
  check_all(asking());
}
TROUPE_TEST("at every event of a run that is handed on, and back") {
  check_all(handing_on());
}
TROUPE_TEST("at every event while agents ask each other, where answers arrive at any time") {
  for (std::uint64_t seed = 1; seed <= 2; ++seed) {
    auto what = asking();
    what.name += "_any_" + std::to_string(seed);
    what.any_latency = true;
    what.seed = seed;
    crash_everywhere(what, agents(3));
    crash_everywhere(what, {process_crashes().front()});
  }
}
TROUPE_TEST("at every event of a run that is cancelled while agents ask each other") {
  for (const std::int64_t at : {30, 60, 90, 120}) {
    auto what = asking();
    what.name = "asking_cancel_at_" + std::to_string(at);
    what.cancel_at = at;
    what.judge = [](const run_summary& summary) -> std::string {
      if (summary.status == run_status::completed || (summary.status == run_status::aborted && summary.reason == "cancelled"))
        return "";
      return std::string("the run ended as ") + name_of(summary.status) + " (" + summary.reason + ")";
    };
    crash_everywhere(what, agents(2));
    crash_everywhere(what, {process_crashes().back()});
  }
}
