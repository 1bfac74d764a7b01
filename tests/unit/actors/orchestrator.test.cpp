#include "troupe/actors/orchestrator.hpp"

#include "test.hpp"

#include "company.hpp"
#include "stage.hpp"
#include "troupe/actors/human_time.hpp"

// The orchestrator in virtual time, with pools that answer when the test says so.

TROUPE_SUITE(orchestrator)

using namespace troupe;
using namespace troupe::actors;
using std::chrono::seconds;

namespace {

const std::string config_text = R"(version: 1
providers: { p: { kind: scripted, script: script.yaml } }
models: { m: { chain: [ { provider: p } ] } }
agents: { lead: { model: m, tools: ["agent:writer"] }, writer: { model: m, tools: ["agent:editor"] }, editor: { model: m } }
workflows: { main: { tasks: [ { id: a, agent: lead, instruction: go } ] } }
)";

struct run_stage : test::stage {
  explicit run_stage(const std::string& text = config_text, const std::string& workflow = "main", json input = json::object()) {
    const test::folder files({{"troupe.yaml", text}, {"script.yaml", "version: 1\nrules: []\n"}});
    auto loaded = config::load(files.file("troupe.yaml"));
    if (!loaded.value)
      throw std::runtime_error(loaded.text());
    auto context = std::make_shared<run_context>();
    context->run_id = "R1";
    context->config = std::make_shared<const configuration>(std::move(*loaded.value));
    context->guard = add(system->spawn(test::slow_guard, &guard));
    context->deadline = clock_point::max();
    for (const auto* agent : {"lead", "writer", "editor"})
      (*pools)[agent] = std::make_shared<service<agent_pool_actor>>(add(system->spawn(test::idle_pool, &work[agent])));
    written.at_once = true;
    orchestrator_setup setup;
    setup.run = context;
    setup.workflow = workflow;
    setup.input = std::move(input);
    setup.opening.emplace_back(run_started{});
    setup.pools = pools;
    setup.journal = add(system->spawn(test::desk, &written));
    setup.gateway = std::make_shared<service<llm_gateway_actor>>(add(system->spawn(test::idle_gateway, &of_gateway)));
    setup.plans = std::make_shared<made_once<policy::graph_plan>>(context->config);
    orchestrator = add(spawn_orchestrator(*system, std::move(setup)));
    ask<run_ended>(orchestrator, start_run{}, [this](const run_ended& came) { end = came; });
  }
  ~run_stage() {
    for (auto& [agent, has] : work)
      has.tasks.clear();
    clear();
  }

  /// An agent asks another one; its own task, which may take until `own_end`, then waits for that.
  void ask_colleague(const std::string& from, const std::string& task, const std::string& to, const std::string& path,
                     clock_point deadline = clock_point::max(), clock_point own_end = clock_point::max()) {
    tell(orchestrator,
         delegate{.task = task, .call_id = "c of " + task, .to = to, .path = path, .instruction = "help", .deadline = deadline});
    task_result waits;
    waits.pause = std::make_shared<const task_pause>(task_pause{{}, own_end});
    answer(from, waits);
  }
  void answer(const std::string& agent, task_result with) {
    work[agent].next = std::move(with);
    tell(pools->at(agent)->now(), line_timer{});
  }

  test::paper written;
  test::guarded guard;
  test::ended_calls of_gateway;
  std::map<std::string, test::given_work> work; ///< by agent
  std::shared_ptr<pool_services> pools = std::make_shared<pool_services>();
  orchestrator_actor orchestrator;
  std::optional<run_ended> end;
};

/// Sub-workflows whose input does not hold: they end in the instant in which they begin.
const std::string at_once_text = R"(version: 1
providers: { p: { kind: scripted, script: script.yaml } }
models: { m: { chain: [ { provider: p } ] } }
agents: { lead: { model: m }, writer: { model: m }, editor: { model: m } }
workflows:
  wrong:
    input: { schema: { type: object, properties: { n: { type: integer } } } }
    tasks: [ { id: x, agent: writer, instruction: never } ]
  lists:
    tasks:
      - { id: all, workflow: wrong, for_each: "{{ input.list }}", with: { n: "{{ item }}" }, on_failure: continue }
      - { id: slow, agent: lead, instruction: go }
  fails:
    tasks:
      - { id: bad, workflow: wrong, with: { n: x } }
      - { id: slow, agent: lead, instruction: go }
)";

struct lists_stage : run_stage {
  lists_stage() : run_stage(at_once_text, "lists", {{"list", std::vector<std::string>(10'000, "x")}}) {}
};

struct failing_stage : run_stage {
  failing_stage() : run_stage(at_once_text, "fails") {}
};

} // namespace

TROUPE_TEST_WITH(lists_stage, "thousands of elements that end at once take no stack") {
  REQUIRE(work["lead"].tasks.size() == 1);
  CHECK(work["writer"].tasks.empty());
  answer("lead", {});
  REQUIRE(end.has_value());
  CHECK(end->status == run_status::completed);
}

TROUPE_TEST_WITH(failing_stage, "what begins beside a task that fails at once is cancelled") {
  REQUIRE(work["lead"].tasks.size() == 1);
  REQUIRE(work["lead"].wishes.size() == 1);
  CHECK_EQ(work["lead"].wishes[0].task, "slow");
  CHECK(!end);
  task_result stopped;
  stopped.status = task_status::cancelled;
  answer("lead", stopped);
  REQUIRE(end.has_value());
  CHECK(end->status == run_status::failed);
  CHECK_EQ(end->reason, "invalid_input");
}

TROUPE_TEST_WITH(run_stage, "a run that is cancelled ends after 20 s, though nobody answers") {
  REQUIRE(work["lead"].tasks.size() == 1);
  tell(orchestrator, cancel_run{"cancelled"});
  CHECK_EQ(work["lead"].wishes.size(), 1u);
  pass(std::chrono::milliseconds(19'999));
  CHECK(!end);
  pass(std::chrono::milliseconds(1));
  REQUIRE(end.has_value());
  CHECK(end->status == run_status::aborted);
  CHECK_EQ(end->reason, "cancelled");
}

TROUPE_TEST_WITH(run_stage, "who asked is told once: an agent that comes back and asks the same again is not heard") {
  ask_colleague("lead", "a", "writer", "a>writer#1");
  REQUIRE(work["writer"].tasks.size() == 1);
  task_result done;
  done.output = "helped";
  answer("writer", done);
  REQUIRE(work["lead"].tasks.size() == 1); // it goes on
  const auto said = written.said();
  CHECK_EQ(written.last<tool_finished>()->call_id, "c of a");
  tell(orchestrator,
       delegate{
           .task = "a", .call_id = "c of a", .to = "writer", .path = "a>writer#1", .instruction = "help", .deadline = clock_point::max()});
  CHECK(work["writer"].tasks.empty());
  CHECK_EQ(written.said(), said);
}

TROUPE_TEST_WITH(run_stage, "one who was asked and waits for a member until its time is up is late, not cancelled") {
  ask_colleague("lead", "a", "writer", "a>writer#1", now() + seconds(10));
  REQUIRE(work["writer"].tasks.size() == 1);
  pass(seconds(9));
  CHECK(work["writer"].wishes.empty());
  pass(seconds(1));
  REQUIRE(work["writer"].wishes.size() == 1);
  CHECK_EQ(work["writer"].wishes[0].task, "a>writer#1");
  CHECK(work["writer"].wishes[0].timed_out);
}

TROUPE_TEST_WITH(run_stage, "and so is one whose time is up while it waits for another one that it asked itself") {
  const auto end_of_writer = now() + seconds(10);
  ask_colleague("lead", "a", "writer", "a>writer#1", end_of_writer);
  ask_colleague("writer", "a>writer#1", "editor", "a>writer#1>editor#1", clock_point::max(), end_of_writer);
  REQUIRE(work["editor"].tasks.size() == 1);
  pass(seconds(10));
  REQUIRE(work["editor"].wishes.size() == 1);
  task_result stopped;
  stopped.status = task_status::cancelled;
  answer("editor", stopped);
  const auto* writer = written.last<task_finished>();
  REQUIRE(writer != nullptr);
  CHECK(writer->status == task_status::timeout);
  CHECK_EQ(writer->reason, "timeout");
  CHECK(written.last<tool_finished>()->text.find("timeout") != std::string::npos); // so it is told to who asked
  CHECK_EQ(work["lead"].tasks.size(), 1u);                                         // who goes on
}
