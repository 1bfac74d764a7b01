// What is cancelled ends, also where the agent that was told dies before it answers.
#include <algorithm>

#include "test.hpp"

#include "simulation/scenario.hpp"
#include "troupe/model/described.hpp"

TROUPE_SUITE(cancels)

using namespace troupe;
using namespace troupe::simulation;
using namespace std::chrono_literals;

namespace {

template <class Body>
std::int64_t count(const std::vector<event_ptr>& events, const std::string& task) {
  return std::count_if(events.begin(), events.end(),
                       [&](const event_ptr& e) { return e->task == task && std::holds_alternative<Body>(e->body); });
}

/// `bad` is poison: the run fails, and `good` is cancelled while its supervisor ends its agent for the sake of `one_for_all`.
scenario poisoned_sibling(std::uint64_t seed) {
  return {.name = "poisoned_sibling",
          .config = R"(version: 1
providers: { quick: { kind: scripted, script: script.yaml }, slow: { kind: scripted, script: script.yaml } }
models: { q: { chain: [ { provider: quick } ] }, s: { chain: [ { provider: slow } ] } }
agents: { good: { model: s }, bad: { model: q, crashes: 0 } }
supervision: { name: root, strategy: one_for_all, children: [ { agent: good }, { agent: bad } ] }
workflows: { main: { tasks: [ { id: a, agent: good, instruction: Begin }, { id: b, agent: bad, instruction: Begin } ] } }
)",
          .script = R"(version: 1
rules:
  - when: { agent: bad }
    reply: { text: never }
    fault: { crash: true, times: 1000 }
  - when: { any: true }
    reply: { text: fine }
)",
          .seed = seed,
          .latency_of = {{"quick", 400ms}, {"slow", 60s}}};
}

/// What takes a minute: the agent's model, its tool, or its reviewer.
struct at_work {
  const char* name;
  const char* agent;         ///< its keys
  const char* answer;        ///< its model's
  std::int64_t requests = 1; ///< that have left when the wish comes
  std::int64_t tools = 0;    ///< that run then
};

const std::vector<at_work> works{
    {"its model", "model: slow", "text: fine"},
    {"its tool", "model: quick, tools: [look]", "tool_calls: [ { name: look, arguments: {} } ]", 1, 1},
    {"its reviewer", "model: quick, output: { must_mention: [ gold ], reviewer: critic }", "text: lead", 2},
};

std::string company(const at_work& what) {
  return std::string(R"(version: 1
providers: { quick: { kind: scripted, script: script.yaml }, slow: { kind: scripted, script: script.yaml } }
models: { quick: { chain: [ { provider: quick } ] }, slow: { chain: [ { provider: slow } ] } }
tools: { look: { kind: process, description: Looks, command: [look], effect: none, timeout: 600s, parameters: { type: object } } }
agents:
  worker: { )")
         + what.agent + R"( }
  critic: { model: slow }
workflows: { main: { tasks: [ { id: a, agent: worker, instruction: Begin } ] } }
)";
}

std::string script(const at_work& what) {
  return std::string(R"(version: 1
rules:
  - when: { agent: critic }
    reply: { json: { verdict: accept } }
  - when: { any: true }
    reply: { )")
         + what.answer + " }\n";
}

struct wish {
  const char* name;
  bool suspend;
};

/// All that came of a wish while something was at work, and an agent died `after` so many events.
struct came {
  bool crashed = false;
  std::optional<actors::run_ended> end;
  std::chrono::nanoseconds took{0};
  std::int64_t requests = 0; ///< that left after the wish
  std::vector<event_ptr> events;
  std::vector<std::string> broken;
};

came play(const surroundings& around, const at_work& what, const wish& wanted, std::size_t who, std::int64_t after) {
  came out;
  world outside(around);
  process in(outside, 1 + static_cast<std::uint64_t>(after));
  in.start("simulated", "main", json::object());
  while ((outside.requests < what.requests || outside.starts_of_tool["look"] < what.tools) && in.step()) {
  }
  const auto began = in.system().clock().now();
  const auto requests = outside.requests;
  if (wanted.suspend)
    caf::anon_send(in.orchestrator(), actors::suspend_run{});
  else
    caf::anon_send(in.orchestrator(), actors::cancel_run{"cancelled"});
  for (std::int64_t n = 0; !in.ended(); ++n) {
    if (n == after)
      out.crashed = in.crash({"agent", who});
    if (!in.step())
      break;
  }
  out.end = in.ended();
  out.took = in.system().clock().now() - began;
  out.requests = outside.requests - requests;
  out.events = outside.disk["simulated"];
  out.broken = broken_promises(out.events, outside);
  return out;
}

} // namespace

TROUPE_TEST("a task that is cancelled while its supervisor ends its agent does not go on, and nothing is paid for it") {
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    IN_ROW(std::to_string(seed));
    const auto what = poisoned_sibling(seed);
    const auto played = stage(what).play();
    CHECK_EQ(played.summary.status, run_status::failed);
    CHECK_EQ(played.summary.reason, std::string("poison"));
    CHECK(played.summary.finished_us - played.summary.started_us < 1'000'000);
    CHECK_EQ(count<llm_responded>(played.events, "a"), 0);
    CHECK_EQ(count<llm_requested>(played.events, "a"), 1);
    CHECK_EQ(count<llm_failed>(played.events, "a"), 1);
    CHECK(played.broken.empty());
  }
}

TROUPE_TEST("a table of wishes: a run ends at once, after whichever event an agent dies, and nothing more is asked for") {
  for (const auto& what : works) {
    const test::folder files({{"troupe.yaml", company(what)}, {"script.yaml", script(what)}});
    auto loaded = config::load(files.file("troupe.yaml"));
    REQUIRE(loaded.value.has_value());
    surroundings around{std::make_shared<const configuration>(std::move(*loaded.value)), files.file("script.yaml"), {}};
    around.latency_of = {{"slow", 60s}};
    around.tool_latency = 60s;
    for (const auto& wanted : {wish{"cancel", false}, wish{"suspend", true}})
      for (std::size_t who = 0; who < 2; ++who) {
        std::int64_t after = 0;
        for (bool crashed = true; crashed; ++after) {
          IN_ROW(what.name << ", " << wanted.name << ", agent " << who << " dies after " << after);
          const auto out = play(around, what, wanted, who, after);
          crashed = out.crashed;
          REQUIRE(out.end.has_value());
          CHECK_EQ(out.end->status, wanted.suspend ? run_status::running : run_status::aborted);
          CHECK_EQ(out.end->reason, std::string(wanted.suspend ? "interrupted" : "cancelled"));
          CHECK(out.took < 5s);
          CHECK_EQ(out.requests, 0);
          CHECK(out.broken.empty());
        }
        CHECK(after > 5);
      }
  }
}
