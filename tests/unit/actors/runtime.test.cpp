#include "test.hpp"

#include "company.hpp"
#include "troupe/model/event_types.hpp"
#include "troupe/util/id.hpp"

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

TROUPE_TEST("a run that is told to stop before it begins is recorded as it was wanted, and can be resumed") {
  test::company company(config(), tool_then_answer);
  auto& runtime = company.runtime();
  const auto play = [&](expected<actors::started_run> run, bool stops) {
    REQUIRE(run.has_value());
    caf::scoped_actor self{company.system()};
    if (stops)
      self->send(run->orchestrator, actors::suspend_run{}); // arrives first: it is of the same sender
    actors::run_ended end;
    self->request(run->orchestrator, std::chrono::seconds(10), actors::start_run{})
        .receive([&](const actors::run_ended& came) { end = came; },
                 [&](const caf::error& why) { end.failure.message = actors::text_of(why); });
    runtime.finish_run("R1");
    CHECK_EQ(end.failure.message, std::string());
    return end;
  };
  const auto stopped = play(runtime.start_run({.run_id = "R1", .workflow = "one", .input = {{"what", "it"}}}), true);
  CHECK_EQ(stopped.status, run_status::running);
  CHECK_EQ(stopped.reason, std::string("interrupted"));
  CHECK_EQ(company.journal().find_run("R1")->workflow, std::string("one"));
  CHECK_EQ(play(runtime.resume_run("R1", {}), true).reason, std::string("interrupted"));
  CHECK_EQ(play(runtime.resume_run("R1", {}), false).result, json("It is 42"));
  std::string types;
  const auto events = *company.journal().read_run("R1");
  for (const auto& e : events)
    if (e->task.empty())
      types += (types.empty() ? "" : " ") + std::string(event_type_names()[e->body.index()]);
  CHECK_EQ(types, std::string("run_started run_interrupted run_resumed run_interrupted run_resumed run_finished"));
}

TROUPE_TEST("a run that has ended is not resumed") {
  test::company company(config(), tool_then_answer);
  company.run("one", {{"what", "it"}});
  const auto& run_id = company.events.front()->run_id;
  const auto again = company.runtime().resume_run(run_id, {});
  REQUIRE(!again.has_value());
  CHECK(again.error().message.find("has ended") != std::string::npos);
  CHECK(!company.journal().find_run(run_id)->owned);
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

TROUPE_TEST("what a resume adds is bounded: no limit turns round") {
  test::company company(config("", "", "budget: { steps: 1, usd: 5, time: 1h },"), tool_then_answer);
  const auto before = company.run("one", {{"what", "it"}});
  CHECK_EQ(before.status, run_status::aborted);
  const auto after = company.resume(
      before.run_id, {.money = usd::max(), .steps = std::numeric_limits<std::int64_t>::max(), .time = std::chrono::milliseconds::max()});
  CHECK_EQ(after.status, run_status::completed);
}

TROUPE_TEST("an output that is taken by --yes does not count itself among those that wait") {
  test::company company(config("output: { min_length: 1000, retries: 0, human: true }"), tool_then_answer);
  const auto summary = company.run("one", {{"what", "it"}}, true);
  CHECK_EQ(summary.status, run_status::completed);
  REQUIRE(company.count<approval_decided>() == 1);
  for (const auto& e : company.events)
    if (const auto* end = std::get_if<approval_decided>(&e->body)) {
      CHECK_EQ(end->pending, 0);
      CHECK(!end->by_human);
    }
}

TROUPE_TEST("a tenant has a name, and where the configuration lists tenants a run is of one of them") {
  struct row {
    const char* name;
    std::string tenant;
    const char* words; ///< "": it may run
  };
  const auto refusal = [](test::company& company, const std::string& tenant) {
    const auto run = company.runtime().start_run({.workflow = "one", .tenant = tenant, .input = {{"what", "it"}}});
    if (run)
      company.runtime().finish_run(run->run_id);
    return run ? std::string() : run.error().text();
  };
  test::company listed("tenants: { acme: { budget: { usd: 1 } } }\n" + config(), tool_then_answer);
  test::company open(config(), tool_then_answer);
  for (const auto& each : {
           row{"one that is listed", "acme", ""},
           row{"the default", "default", ""},
           row{"a slip of the pen", "acmee",
               "no tenant named \"acmee\" among the configuration's `tenants`, which lists all that have runs; did you mean \"acme\"?"},
           row{"none", "", "a tenant's name is 1 to 64 letters, digits, '.', '_' or '-'; \"\" is not"},
           row{"a control character", "a\nb", "a tenant's name is 1 to 64 letters"},
           row{"no UTF-8", "a\xff", "a tenant's name is 1 to 64 letters"},
           row{"too long", std::string(65, 'a'), "a tenant's name is 1 to 64 letters"},
       }) {
    IN_ROW(each.name);
    CHECK_EQ(refusal(listed, each.tenant).substr(0, std::string(each.words).size()), each.words);
    CHECK_EQ(refusal(listed, each.tenant).empty(), *each.words == '\0');
    CHECK_EQ(refusal(open, each.tenant).empty(), is_run_id(each.tenant)); // nobody is listed: any name will do
  }
}
