#include <algorithm>

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
  worker: { model: m, tools: [look, put, pay], max_tokens: 300, )"
         + worker_keys + R"( }
  writer: { model: m, max_tokens: 300 }
supervision: { name: root, children: [ { supervisor: { name: workers, children: [ { pool: worker, size: 2 } ] } }, { agent: writer } ] }
)" + more + "workflows:\n"
         + workflows;
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
          .config = company("  main: { tasks: [ { id: a, agent: worker, instruction: Begin }, { id: b, agent: writer, needs: [a], "
                            "instruction: \"Write {{ tasks.a.output }}\" } ] }\n"),
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

/// The first model is slow, so that the second one is asked too: it answers before the first does, at the same time, or after it.
scenario hedged(milliseconds first_takes) {
  auto what = plain();
  what.name = "hedged_" + std::to_string(first_takes.count());
  const std::string before = "retry: {";
  what.config.insert(what.config.find(before), "hedge: { after: 100ms }\n    ");
  what.latency_of = {{"p", first_takes}};
  return what;
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

/// What has effect once gives no answer, and may have taken effect: the tool in its place stumbles, waits and answers.
scenario alternative(const std::string& in_its_place) {
  auto what = parallel_tools();
  what.name = "alternative_" + in_its_place;
  const std::string pays = "command: [pay], ";
  what.config.insert(what.config.find(pays) + pays.size(), "timeout: 1s, alternative: " + in_its_place + ", ");
  what.tools["pay"] = [](const invocation&, std::int64_t) {
    tool_outcome late;
    late.status = tool_status::timed_out;
    late.error = "no answer in 1 s";
    return late;
  };
  return what;
}

/// Three calls of a tool that has one place.
scenario one_place() {
  auto what = parallel_tools();
  what.name = "one_place";
  const std::string looks = "command: [look], ";
  what.config.insert(what.config.find(looks) + looks.size(), "max_parallel: 1, ");
  what.script = R"(version: 1
rules:
  - when: { turn: 1 }
    reply: { tool_calls: [ { name: look, arguments: { at: here } }, { name: look, arguments: { at: there } }, { name: look, arguments: { at: bank } } ] }
    usage: { input: 40, output: 10 }
  - when: { any: true }
    reply: { text: "All three have answered" }
    usage: { input: 90, output: 10 }
)";
  return what;
}

scenario for_each() {
  return {.name = "for_each",
          .config = company("  main: { tasks: [ { id: all, agent: worker, for_each: \"{{ input.list }}\", parallel: 2, instruction: \"Do "
                            "{{ item }}\" } ] }\n"),
          .script = R"(version: 1
rules:
  - when: { any: true }
    reply: { text: "Done: {{ last }}" }
    usage: { input: 40, output: 10 }
)",
          .input = {{"list", {1, 2, 3}}}};
}

scenario sub_workflow() {
  return {
      .name = "sub_workflow",
      .config = company(
          R"(  main: { tasks: [ { id: a, workflow: below, with: { what: "{{ input.what }}" } }, { id: b, agent: writer, needs: [a], instruction: "Write {{ tasks.a.output }}" } ] }
  below: { input: { schema: { type: object } }, tasks: [ { id: x, agent: worker, instruction: "Do {{ input.what }}" } ] }
)"),
      .script = one_tool_then_answer,
      .input = {{"what", "it"}}};
}

/// Two tasks spend without end. The task "greedy" has little money, the run more, the process the least but one: whoever asks meets
/// several limits at once, and waits for what others hold.
scenario two_budgets() {
  return {
      .name = "two_budgets",
      .config = company(
          R"(  main: { budget: { usd: 0.34, steps: 40 }, tasks: [ { id: greedy, agent: worker, budget: { usd: 0.12 }, on_failure: continue, instruction: Spend }, { id: endless, agent: worker, instruction: Spend } ] }
)",
          "budget: { usd: 0.30 }\n"),
      .script = R"(version: 1
rules:
  - when: { any: true }
    reply: { tool_calls: [ { name: look, arguments: { at: "turn {{ turn }}" } } ] }
    usage: { input: 200, output: 100 }
)",
      .judge = [](const run_summary& summary) -> std::string {
        if (summary.status != run_status::aborted || summary.reason != "budget_exceeded")
          return std::string("the run ended as ") + name_of(summary.status) + " (" + summary.reason + ")";
        return summary.results.at(0).status == task_status::budget_exceeded ? "" : "the task had more than its limit";
      }};
}

/// A conversation that outgrows its model: old results give way to notes.
scenario context() {
  auto config = company("  main: { tasks: [ { id: a, agent: worker, instruction: \"Look on. next: 1\" } ] }\n", "",
                        "context: { summary_tokens: 64 }");
  const std::string first = "model: first,";
  config.insert(config.find(first) + first.size(), " context: 900,");
  return {.name = "context",
          .config = config,
          .script = R"y(version: 1
rules:
  - when: { last: "^Summarise this conversation" }
    reply: { text: "It looked around." }
  - when: { last: "next: 6" }
    reply: { text: "Seen all." }
  - when: { any: true }
    capture: { next: { from: last, pattern: "next: (\\d+)", required: true } }
    reply: { tool_calls: [ { name: look, arguments: { at: "{{ captured.next }}" } } ] }
)y",
          .tools = {{"look", [](const invocation& call, std::int64_t) {
                       auto outcome = done(call);
                       outcome.output =
                           std::string(1'700, 'x') + " next: " + std::to_string(std::stoi(call.arguments.at("at").get<std::string>()) + 1);
                       return outcome;
                     }}}};
}

/// The user cancels while a model and a tool are at work.
scenario cancelled(std::int64_t at) {
  auto what = plain();
  what.name = "cancel_at_" + std::to_string(at);
  what.cancel_at = at;
  what.judge = [](const run_summary& summary) -> std::string {
    // Who died before the wish was heard never heard it: the run may then go on to its end.
    if (summary.status == run_status::completed || (summary.status == run_status::aborted && summary.reason == "cancelled"))
      return "";
    return std::string("the run ended as ") + name_of(summary.status) + " (" + summary.reason + ")";
  };
  return what;
}

/// An answer that never holds: the reviewer wants another one, then revises it itself.
scenario review() {
  return {.name = "review",
          .config = R"(version: 1
providers: { p: { kind: scripted, script: script.yaml } }
models: { m: { chain: [ { provider: p, model: first, usd_per_mtok: { input: 100, output: 100 } } ], retry: { attempts: 2, base: 100ms, cap: 1s } } }
agents:
  author: { model: m, max_tokens: 300, output: { must_mention: [ gold ], retries: 1, reviewer: critic } }
  critic: { model: m, max_tokens: 300 }
workflows: { main: { tasks: [ { id: a, agent: author, instruction: Begin } ] } }
)",
          .script = R"(version: 1
rules:
  - when: { agent: critic, contains: "second try" }
    reply: { json: { verdict: revise, revised_output: "all gold" } }
    usage: { input: 60, output: 10 }
  - when: { agent: critic }
    reply: { json: { verdict: revise, feedback: "try once more" } }
    usage: { input: 60, output: 10 }
  - when: { last: "once more" }
    reply: { text: "second try" }
    usage: { input: 60, output: 10 }
  - when: { any: true }
    reply: { text: "lead" }
    usage: { input: 40, output: 10 }
)"};
}

/// A task and a call of it that wait for a human, who approves both.
scenario approval() {
  return {.name = "approval",
          .config = company("  main: { tasks: [ { id: a, agent: worker, instruction: Begin, approval: { risk: low } } ] }\n",
                            "checkpoint: { policy: { low: ask } }\n"),
          .script = R"(version: 1
rules:
  - when: { turn: 1 }
    reply: { tool_calls: [ { name: put, arguments: { at: there } }, { name: pay, arguments: { at: bank } } ] }
    usage: { input: 40, output: 10 }
  - when: { any: true }
    reply: { text: "Both have answered" }
    usage: { input: 90, output: 10 }
)"};
}

std::vector<crash_kind> agents(std::size_t count) {
  std::vector<crash_kind> kinds;
  for (std::size_t i = 0; i < count; ++i)
    kinds.push_back({"agent-" + std::to_string(i), victim{"agent", i}});
  return kinds;
}

std::vector<crash_kind> services() {
  return {{"supervisor", victim{"supervisor", 1}},
          {"root", victim{"supervisor", 0}, last_words::lost, true}, // nobody restarts the root: its runs end and say so
          {"pool-0", victim{"agent_pool", 0}},
          {"pool-1", victim{"agent_pool", 1}},
          {"gateway", victim{"llm_gateway", 0}},
          {"gate", victim{"tool_gate", 0}},
          {"host-0", victim{"tool_host", 0}},
          {"host-1", victim{"tool_host", 1}},
          {"host-2", victim{"tool_host", 2}}};
}

void check_all(const scenario& what) {
  crash_everywhere(what, process_crashes());
  crash_everywhere(what, agents(3));
  crash_everywhere(what, services());
}

} // namespace

TROUPE_TEST("at every event of a plain run") {
  check_all(plain());
}
TROUPE_TEST("at every event of the journal's actor, without which the run is left to the next process") {
  for (const auto& what : {plain(), parallel_tools(), for_each()})
    crash_everywhere(what, {{"journal", victim{"journal", 0}}});
}
TROUPE_TEST("at every event of a fail-over") {
  check_all(fail_over());
}
TROUPE_TEST("at every event of a run whose requests are hedged") {
  for (const auto takes : {milliseconds{250}, milliseconds{300}, milliseconds{400}}) {
    const auto what = hedged(takes);
    const auto undisturbed = stage(what).play();
    const auto count = [&](auto like) {
      return std::count_if(undisturbed.events.begin(), undisturbed.events.end(),
                           [&](const event_ptr& e) { return std::holds_alternative<decltype(like)>(e->body); });
    };
    CHECK_EQ(count(llm_hedged{}), undisturbed.summary.steps / 2);
    CHECK_EQ(count(llm_requested{}), undisturbed.summary.steps);
    CHECK(undisturbed.summary.failures.empty());
    check_all(what);
  }
}
TROUPE_TEST("at every event of parallel tools of each effect") {
  check_all(parallel_tools());
}
TROUPE_TEST("at every event of a tool that may have taken effect, and of the one in its place") {
  for (const auto* in_its_place : {"look", "put"}) {
    crash_everywhere(alternative(in_its_place), process_crashes());
    crash_everywhere(alternative(in_its_place), agents(3));
    crash_everywhere(alternative(in_its_place),
                     {{"host-0", victim{"tool_host", 0}}, {"host-1", victim{"tool_host", 1}}, {"host-2", victim{"tool_host", 2}}});
  }
}
TROUPE_TEST("at every event of a tool's host while calls wait for its one place") {
  crash_everywhere(one_place(), {{"gate", victim{"tool_gate", 0}},
                                 {"host-0", victim{"tool_host", 0}},
                                 {"host-1", victim{"tool_host", 1}},
                                 {"host-2", victim{"tool_host", 2}}});
}
TROUPE_TEST("at every event of a for_each") {
  check_all(for_each());
}
TROUPE_TEST("at every event of a sub-workflow") {
  check_all(sub_workflow());
}
TROUPE_TEST("at every event of a review") {
  crash_everywhere(review(), process_crashes());
  crash_everywhere(review(), agents(2));
  crash_everywhere(review(),
                   {{"pool-0", victim{"agent_pool", 0}}, {"pool-1", victim{"agent_pool", 1}}, {"gateway", victim{"llm_gateway", 0}}});
}
TROUPE_TEST("at every event of what waits for a human") {
  crash_everywhere(approval(), process_crashes());
}
TROUPE_TEST("at every event of an agent that waits for a human") {
  crash_everywhere(approval(), agents(3));
}
TROUPE_TEST("at every event of services while something waits for a human") {
  crash_everywhere(approval(),
                   {{"checkpoint", victim{"checkpoint", 0}}, {"pool-0", victim{"agent_pool", 0}}, {"host-1", victim{"tool_host", 1}}});
}
TROUPE_TEST("at every event of a conflict of two budgets") {
  check_all(two_budgets());
}
TROUPE_TEST("at every event of a conversation that is cut") {
  const auto undisturbed = stage(context()).play();
  const auto cuts = [&](context_cut_kind kind) {
    return std::count_if(undisturbed.events.begin(), undisturbed.events.end(), [&](const event_ptr& e) {
      const auto* cut = std::get_if<context_cut>(&e->body);
      return cut && cut->kind == kind;
    });
  };
  CHECK(cuts(context_cut_kind::results_noted) >= 2);
  check_all(context());
}
TROUPE_TEST("at every event of a run that is cancelled") {
  for (const std::int64_t at : {3, 20, 40, 60})
    check_all(cancelled(at));
}
TROUPE_TEST("at every event, where answers arrive at any time") {
  for (const auto& base : {plain(), parallel_tools(), for_each()})
    for (std::uint64_t seed = 1; seed <= 2; ++seed) {
      auto what = base;
      what.name += "_any_" + std::to_string(seed);
      what.any_latency = true;
      what.seed = seed;
      crash_everywhere(what, agents(3));
      crash_everywhere(what, {process_crashes().front(), services().front(), services().back()});
    }
}

TROUPE_TEST("at every event of a resume after a crash at any event") {
  for (const auto& what : {plain(), parallel_tools()})
    for (const auto& kind : process_crashes())
      crash_twice(what, kind, 31);
}
