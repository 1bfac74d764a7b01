#include "test.hpp"

#include "company.hpp"

TROUPE_SUITE(runtime)

using namespace troupe;

namespace {

std::string config(const std::string& agent_keys = "", const std::string& supervision = "", const std::string& workflow_keys = "") {
  return R"(version: 1
providers: { p: { kind: scripted, script: script.yaml } }
models:
  m: { chain: [ { provider: p, model: first, usd_per_mtok: { input: 1000, output: 1000 } }, { provider: p, model: second, usd_per_mtok: { input: 1000, output: 1000 } } ] }
tools: { calculator: { kind: builtin } }
agents:
  worker: { model: m, system: You work., tools: [calculator], max_tokens: 300, )"
         + agent_keys + R"( }
)" + supervision
         + R"(
workflows:
  one: { )"
         + workflow_keys + R"( tasks: [ { id: task, agent: worker, instruction: "Do {{ input.what }}" } ] }
  many: { )"
         + workflow_keys
         + R"( tasks: [ { id: task, agent: worker, for_each: "{{ input.list }}", parallel: 4, instruction: "Do {{ item }}" } ] }
)";
}

const std::string tool_then_answer = R"(version: 1
rules:
  - when: { turn: 1 }
    reply: { tool_calls: [ { name: calculator, arguments: { expression: "6 * 7" } } ] }
  - when: { any: true }
    reply: { text: "It is {{ last }}" }
)";

} // namespace

TROUPE_TEST("a run goes from its model over a tool and back, and its events tell all of it") {
  test::company company(config(), tool_then_answer);
  const auto summary = company.run("one", {{"what", "it"}});
  CHECK_EQ(summary.status, run_status::completed);
  CHECK_EQ(summary.llm_calls, 2);
  CHECK_EQ(summary.tool_calls, 1);
  CHECK_EQ(summary.result, json("It is 42"));
  for (std::size_t i = 0; i < company.events.size(); ++i)
    CHECK_EQ(company.events[i]->seq, i + 1);
}

TROUPE_TEST("an agent that dies is restarted, and its task goes on without repeating a recorded step") {
  test::company company(config(), R"(version: 1
rules:
  - when: { turn: 1 }
    reply: { tool_calls: [ { name: calculator, arguments: { expression: "6 * 7" } } ] }
  - when: { any: true }
    reply: { text: "It is {{ last }}" }
    fault: { crash: true, times: 2 }
)");
  const auto summary = company.run("one", {{"what", "it"}});
  CHECK_EQ(summary.status, run_status::completed);
  CHECK_EQ(summary.result, json("It is 42"));
  CHECK_EQ(company.count<agent_crashed>(), 2u);
  CHECK_EQ(company.count<agent_restarted>(), 2u);
  CHECK_EQ(company.count<tool_finished>(), 1u);
}

TROUPE_TEST("a task that kills its agent a fourth time is poison: it fails, and its supervisor does not escalate") {
  test::company company(config(), R"(version: 1
rules:
  - when: { last: "Do bad" }
    reply: { text: never }
    fault: { crash: true, times: 1000 }
  - when: { any: true }
    reply: { text: fine }
)");
  const auto bad = company.run("one", {{"what", "bad"}});
  CHECK_EQ(bad.status, run_status::failed);
  CHECK_EQ(bad.reason, std::string("poison"));
  CHECK_EQ(company.count<agent_crashed>(), 4u);
  const auto good = company.run("one", {{"what", "good"}});
  CHECK_EQ(good.status, run_status::completed);
}

TROUPE_TEST("when the root gives up, waiting tasks fail instead of waiting for ever") {
  test::company company(config("", "supervision: { name: root, max_restarts: 0, within: 5s, children: [ { agent: worker } ] }"),
                        R"(version: 1
rules:
  - when: { any: true }
    reply: { text: never }
    fault: { crash: true, times: 1000 }
)");
  const auto summary = company.run("one", {{"what", "it"}});
  CHECK_EQ(summary.status, run_status::failed);
  CHECK_EQ(summary.reason, std::string("no_member"));
}

TROUPE_TEST("the budget of a run is never overshot, however many tasks spend at once, and its results are kept") {
  test::company company(
      config("", "supervision: { name: root, children: [ { pool: worker, size: 4 } ] }", "budget: { usd: 1.50, steps: 50 },"), R"(version: 1
rules:
  - when: { any: true }
    reply: { text: fine }
    usage: { input: 100, output: 20 }
)");
  json list = json::array();
  for (int i = 0; i < 40; ++i)
    list.push_back(i);
  const auto summary = company.run("many", {{"list", list}});
  CHECK_EQ(summary.status, run_status::aborted);
  CHECK_EQ(summary.reason, std::string("budget_exceeded"));
  CHECK(summary.total_cost <= usd{1'500'000});
  CHECK(summary.total_cost >= usd{600'000});
}

TROUPE_TEST("a limit of steps ends a run that would go on for ever") {
  test::company company(config("", "", "budget: { steps: 7 },"), R"(version: 1
rules:
  - when: { any: true }
    reply: { tool_calls: [ { name: calculator, arguments: { expression: "1 + {{ turn }}" } } ] }
)");
  const auto summary = company.run("one", {{"what", "it"}});
  CHECK_EQ(summary.status, run_status::aborted);
  CHECK_EQ(summary.reason, std::string("budget_exceeded"));
  CHECK_EQ(summary.steps, 7);
}

TROUPE_TEST("a model that refuses is failed over at once, and the next one answers") {
  test::company company(config(), R"(version: 1
rules:
  - when: { model: first }
    reply: { text: never }
    fault: { status: 401, times: 1000 }
  - when: { any: true }
    reply: { text: "second here" }
)");
  const auto summary = company.run("one", {{"what", "it"}});
  CHECK_EQ(summary.status, run_status::completed);
  CHECK_EQ(summary.result, json("second here"));
  CHECK_EQ(company.count<llm_failed_over>(), 1u);
}

TROUPE_TEST("an answer that breaks its contract is asked for again with what is wrong, then given up with the last one kept") {
  test::company repaired(config("output: { must_mention: [yes] },"), R"(version: 1
rules:
  - when: { last: "yes" }
    reply: { text: "yes indeed" }
  - when: { any: true }
    reply: { text: "no" }
)");
  CHECK_EQ(repaired.run("one", {{"what", "it"}}).status, run_status::completed);
  CHECK_EQ(repaired.count<contract_violated>(), 1u);
  test::company hopeless(config("output: { must_mention: [yes], retries: 1 },"), R"(version: 1
rules:
  - when: { any: true }
    reply: { text: "no" }
)");
  const auto summary = hopeless.run("one", {{"what", "it"}});
  CHECK_EQ(summary.status, run_status::failed);
  CHECK_EQ(summary.results.at(0).status, task_status::quality_failed);
  CHECK_EQ(summary.results.at(0).output, json("no"));
}

TROUPE_TEST("a tool that the agent does not have is refused in words, and costs nothing but the step") {
  test::company company(config(), R"(version: 1
rules:
  - when: { turn: 1 }
    reply: { tool_calls: [ { name: calculater, arguments: {} } ] }
  - when: { any: true }
    reply: { text: "{{ last }}" }
)");
  const auto summary = company.run("one", {{"what", "it"}});
  CHECK_EQ(summary.status, run_status::completed);
  CHECK(summary.result.get<std::string>().find("calculator") != std::string::npos);
  CHECK_EQ(summary.tool_calls, 0);
}

TROUPE_TEST("a model that nobody knows is an answer of the gateway, not a silence") {
  test::company company(config(), tool_then_answer);
  const auto gateway = actors::spawn_llm_gateway(company.system(), company.runtime().journal(), {}, 1);
  auto run = std::make_shared<actors::run_context>();
  run->run_id = "r";
  run->config = std::make_shared<const configuration>(company.runtime().config());
  caf::scoped_actor self{company.system()};
  std::string reason = "silence";
  self->request(gateway, std::chrono::seconds(5), actors::llm_ask{.run = run, .task = "t", .step_id = "t@1/1", .model = "nobody"})
      .receive([&](const actors::llm_answer& answer) { reason = answer.reason; }, [](const caf::error&) {});
  CHECK_EQ(reason, std::string("llm_not_found"));
}

TROUPE_TEST("several agents of whom one looped and no other may try again are not started anew") {
  test::company company(R"(version: 1
providers: { p: { kind: scripted, script: script.yaml } }
models: { m: { chain: [ { provider: p } ] } }
tools: { calculator: { kind: builtin } }
agents: { lost: { model: m }, stubborn: { model: m, tools: [calculator] } }
workflows: { one: { tasks: [ { id: task, agents: [lost, stubborn], resolve: { by: first }, attempts: 3, instruction: go } ] } }
)",
                        R"(version: 1
rules:
  - when: { agent: lost }
    reply: { text: never }
    fault: { status: 401, times: 1000 }
  - when: { any: true }
    reply: { tool_calls: [ { name: calculator, arguments: { expression: "6 * 7" } } ] }
)");
  const auto summary = company.run("one");
  CHECK_EQ(summary.status, run_status::failed);
  CHECK_EQ(company.count<task_retried>(), 0u);
  CHECK_EQ(company.count<loop_detected>(), 4u); // one ladder, to its end
}
