#include "test.hpp"

#include <future>

#include "company.hpp"
#include "troupe/model/described.hpp"
#include "troupe/policy/replay.hpp"

// Those that nobody makes again: what a run whose journal, guard or orchestrator dies comes to (docs/what-survives-what.md).

TROUPE_SUITE(deaths)

using namespace troupe;

namespace {

const std::string config = R"(version: 1
providers: { p: { kind: scripted, script: script.yaml } }
models: { m: { chain: [ { provider: p } ] } }
tools: { calculator: { kind: builtin } }
agents: { worker: { model: m, tools: [calculator] } }
workflows: { job: { budget: { time: 20s }, tasks: [ { id: task, agent: worker, instruction: go } ] } }
)";
const std::string script = R"(version: 1
rules:
  - when: { turn: 1 }
    latency: 50ms
    reply: { tool_calls: [ { name: calculator, arguments: { expression: "6 * 7" } } ] }
  - when: { any: true }
    reply: { text: "It is {{ last }}" }
)";

struct killer_state {
  explicit killer_state(actors::event_sink_actor::pointer) {}
  caf::actor victim;
};

/// Kills somebody when the first request has left.
actors::event_sink_actor::behavior_type killer(actors::event_sink_actor::stateful_pointer<killer_state> self, caf::actor victim) {
  actors::state_of(self).victim = std::move(victim);
  return {[self](const actors::published& group) {
    for (const auto& e : group.events)
      if (std::holds_alternative<llm_requested>(e->body))
        caf::anon_send(actors::state_of(self).victim, caf::exit_msg{self->address(), actors::crash_error("died in a test")});
  }};
}

struct outcome {
  std::string answer; ///< the status, or why there was none
  actors::run_ended end;
};

/// Plays a run in which `who` dies while its first call is in flight.
outcome play(test::company& company, const std::function<caf::actor(actors::runtime&, const actors::started_run&)>& who) {
  auto& runtime = company.runtime();
  auto run = runtime.start_run({.run_id = "R1", .workflow = "job"});
  if (!run)
    return {run.error().text(), {}};
  caf::anon_send(runtime.journal(), actors::subscribe{company.system().spawn(killer, who(runtime, *run)), "R1"});
  caf::scoped_actor self{company.system()};
  outcome out;
  self->request(run->orchestrator, std::chrono::seconds(10), actors::start_run{})
      .receive(
          [&](const actors::run_ended& end) {
            out.answer = end.failure.code == error_code::none ? name_of(end.status) : end.failure.text();
            out.end = end;
          },
          [&](const caf::error& reason) { out.answer = "no answer: " + actors::text_of(reason); });
  runtime.finish_run("R1");
  return out;
}

} // namespace

TROUPE_TEST("a table of deaths: whoever waits for the run is answered, and the run can be resumed") {
  struct row {
    const char* name;
    std::function<caf::actor(actors::runtime&, const actors::started_run&)> who;
    const char* answer;
  };
  const std::vector<row> rows{
      {"the journal", [](auto& r, auto&) { return caf::actor_cast<caf::actor>(r.journal()); }, "journal: "},
      {"the budget guard", [](auto&, auto& run) { return caf::actor_cast<caf::actor>(run.guard); }, "running"},
      {"the orchestrator", [](auto&, auto& run) { return caf::actor_cast<caf::actor>(run.orchestrator); }, "run R1: its orchestrator died"},
      {"the metrics collector", [](auto& r, auto&) { return caf::actor_cast<caf::actor>(r.metrics()); }, "completed"}};
  for (const auto& r : rows) {
    IN_ROW(r.name);
    test::company company(config, script);
    const auto out = play(company, r.who);
    CHECK_EQ(out.answer.substr(0, std::string(r.answer).size()), std::string(r.answer));
    const bool ended = policy::rebuild_run(*company.journal().read_run("R1")).ended;
    CHECK_EQ(ended, out.answer == "completed");
  }
}

namespace {

const std::string slow_config = R"(version: 1
providers: { p: { kind: scripted, script: script.yaml } }
models: { m: { chain: [ { provider: p } ] } }
tools: { slow: { kind: process, description: x, effect: none, sandbox: off, command: [sleep, "60"] } }
agents: { worker: { model: m, tools: [slow] } }
workflows: { job: { tasks: [ { id: tool, agent: worker, instruction: tool }, { id: model, agent: worker, instruction: model } ] } }
supervision: { children: [ { pool: worker, size: 2 } ] }
)";
const std::string slow_script = R"(version: 1
rules:
  - when: { last: "^tool" }
    reply: { tool_calls: [ { name: slow, arguments: {} } ] }
  - when: { any: true }
    latency: 60s
    reply: { text: late }
)";

struct witness_state {
  explicit witness_state(actors::event_sink_actor::pointer) {}
  int tools = 0, requests = 0;
};

/// Tells when a tool runs and two requests have left.
actors::event_sink_actor::behavior_type witness(actors::event_sink_actor::stateful_pointer<witness_state> self,
                                                std::shared_ptr<std::promise<void>> under_way) {
  return {[self, under_way](const actors::published& group) {
    auto& seen = actors::state_of(self);
    for (const auto& e : group.events) {
      seen.tools += std::holds_alternative<tool_started>(e->body);
      seen.requests += std::holds_alternative<llm_requested>(e->body);
    }
    if (seen.tools == 1 && seen.requests == 2 && under_way.use_count() > 0)
      under_way->set_value(), seen.tools = -1;
  }};
}

} // namespace

TROUPE_TEST("a runtime that ends while a run goes on leaves it to be resumed, and whoever still holds the run harms nobody") {
  const std::shared_ptr<store::journal> journal = store::open_memory();
  test::company company(slow_config, slow_script, journal);
  auto run = company.runtime().start_run({.run_id = "R1", .workflow = "job"});
  REQUIRE(run.has_value());
  const auto under_way = std::make_shared<std::promise<void>>();
  caf::anon_send(company.runtime().journal(), actors::subscribe{company.system().spawn(witness, under_way), "R1"});
  caf::scoped_actor self{company.system()};
  auto answer = self->request(run->orchestrator, std::chrono::seconds(30), actors::start_run{});
  under_way->get_future().wait();
  const auto began = std::chrono::steady_clock::now();
  company.end_runtime();
  CHECK(std::chrono::steady_clock::now() - began < std::chrono::seconds(8));
  answer.receive([](const actors::run_ended& end) { CHECK(end.status == run_status::running); },
                 [](const caf::error& reason) { CHECK_EQ(actors::text_of(reason), ""); });
  const auto history = policy::rebuild_run(*journal->read_run("R1"));
  CHECK(!history.ended);
  CHECK(history.unanswered.empty()); // ended and settled
}
