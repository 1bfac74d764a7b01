#include "test.hpp"

#include "company.hpp"
#include "stage.hpp"
#include "troupe/actors/agent.hpp"
#include "troupe/model/described.hpp"
#include "troupe/policy/approval_requests.hpp"
#include "troupe/policy/history.hpp"

// An agent in a whole runtime, and a human who answers at once; and one in virtual time, whose tools end when the test says so.

TROUPE_SUITE(agent)

using namespace troupe;

namespace {

struct human_state {
  explicit human_state(actors::event_sink_actor::pointer) {}
};

/// Puts these arguments in the place of whatever waits to be begun. No door has looked at them: another process may have other schemas.
actors::event_sink_actor::behavior_type human(actors::event_sink_actor::stateful_pointer<human_state>, store::journal* journal,
                                              json instead) {
  return {[journal, instead](const actors::published& group) {
    for (const auto& e : group.events)
      if (const auto* asked = std::get_if<approval_requested>(&e->body))
        journal->add_decision(
            {0, e->run_id, asked->id, policy::text_of(policy::approval_decision{policy::approval_choice::modify, "ana", {}, instead}),
             e->time_us},
            [](const auto&) { return expected<void>{}; }, [](const expected<void>&) {});
  }};
}

const std::string config = R"(version: 1
providers: { p: { kind: scripted, script: script.yaml } }
models: { m: { chain: [ { provider: p } ] } }
tools: { calculator: { kind: builtin, risk: high } }
agents: { worker: { model: m, tools: [calculator] } }
workflows: { one: { tasks: [ { id: task, agent: worker, instruction: go } ] } }
)";
const std::string script = R"(version: 1
rules:
  - when: { turn: 1 }
    reply: { tool_calls: [ { name: calculator, arguments: { expression: "6 * 7" } } ] }
  - when: { any: true }
    reply: { text: fine }
)";

} // namespace

TROUPE_TEST("arguments that a human put in a call's place are looked at as the model's are") {
  struct row {
    const char* name;
    json instead;
    tool_status status;
    const char* told;
  };
  for (const auto& r : std::vector<row>{{"they hold", {{"expression", "6 * 8"}}, tool_status::ok, "48"},
                                        {"of another type", {{"expression", 48}}, tool_status::not_started, "do not hold"},
                                        {"one is missing", json::object(), tool_status::not_started, "do not hold"}}) {
    IN_ROW(r.name);
    test::company company(config, script);
    caf::anon_send(company.runtime().journal(), actors::subscribe{company.system().spawn(human, &company.journal(), r.instead), ""});
    CHECK_EQ(company.run("one").status, run_status::completed);
    CHECK_EQ(company.count<tool_started>(), r.status == tool_status::ok ? 1u : 0u);
    REQUIRE(company.count<tool_finished>() == 1);
    for (const auto& e : company.events)
      if (const auto* end = std::get_if<tool_finished>(&e->body)) {
        CHECK_EQ(end->status, r.status);
        CHECK(end->text.find(r.told) != std::string::npos);
      }
  }
}

namespace {

using namespace troupe::actors;

/// Calls of each tool, answered when the test says so.
struct held_calls {
  std::deque<caf::typed_response_promise<tool_answer>> waiting;
  std::size_t cancels = 0;
};

tool_host_actor::behavior_type held_host(tool_host_actor::pointer self, held_calls* log) {
  return {
      [self, log](invoke&) -> caf::result<tool_answer> {
        log->waiting.push_back(self->make_response_promise<tool_answer>());
        return log->waiting.back();
      },
      [log](const cancel_calls&) { ++log->cancels; },
      [log](const tool_ended&) {
        auto asker = log->waiting.front();
        log->waiting.pop_front();
        asker.deliver(tool_answer{"done"});
      },
      [](const call_timer&) {},
  };
}

// Function actors without arguments are undefined in CAF 0.17 (a null pointer to their tuple): these have one.

/// A model that calls both tools.
llm_gateway_actor::behavior_type calling_gateway(llm_gateway_actor::pointer, int) {
  return {
      [](llm_ask&) {
        auto message = std::make_shared<chat_message>();
        message->from = role::assistant;
        message->tool_calls = {{"c1", "one", "{}"}, {"c2", "two", "{}"}};
        return llm_answer{.message = message, .finish = finish_reason::tool_calls};
      },
      [](const cancel_calls&) {},
      [](const settle_calls&) { return calls_settled{}; },
      [](const transfers_ended&) {},
      [](const wake_up&) {},
  };
}

/// A model that answers what is too short.
llm_gateway_actor::behavior_type brief_gateway(llm_gateway_actor::pointer, int) {
  return {
      [](llm_ask&) {
        auto message = std::make_shared<chat_message>();
        message->from = role::assistant;
        message->text = "brief";
        return llm_answer{.message = message, .finish = finish_reason::stop};
      },
      [](const cancel_calls&) {},
      [](const settle_calls&) { return calls_settled{}; },
      [](const transfers_ended&) {},
      [](const wake_up&) {},
  };
}

supervisor_actor::behavior_type lenient_supervisor(supervisor_actor::pointer, int) {
  return {
      [](const start_tree&) { return tree_started{}; },
      [](const describe_tree&) { return tree_answer{}; },
      [](const stop_tree&) {},
      [](const change_child&) { return child_changed{}; },
      [](const replace_members&) {},
      [](const observation&) { return judgement{}; },
      [](const supervision_timer&) {},
  };
}

struct nothing_runs final : tools::runner {
  tools::running_id start(invocation, tools::on_outcome) override { return 1; }
  void cancel(tools::running_id) override {}
};

struct agent_stage : test::stage {
  /// `reviewed`: its answers break their contract and go to a reviewer; else it calls two tools.
  explicit agent_stage(bool reviewed = false) {
    auto whole = std::make_shared<configuration>();
    whole->providers["p"].name = "p";
    model_spec model;
    model.name = "m";
    model.chain.push_back({.provider = "p", .model = "first", .price = {}});
    whole->models["m"] = model;
    agent_spec worker;
    worker.name = "worker";
    worker.model = "m";
    auto tools = std::make_shared<toolset>();
    auto peers = std::make_shared<agent_peers>();
    if (reviewed) {
      auto& output = worker.output.emplace();
      output.min_length = 100;
      output.retries = 0;
      output.reviewer = "critic";
      whole->agents["critic"].name = "critic";
      reviewers = std::make_shared<service<agent_pool_actor>>(add(system->spawn(test::idle_pool, &reviews)));
      peers->pools["critic"] = reviewers;
    } else {
      worker.tools = {"one", "two"};
    }
    whole->agents["worker"] = worker;
    for (const auto* name : {"one", "two"}) {
      tool_spec spec;
      spec.name = name;
      spec.kind = tool_kind::process;
      spec.command = {name};
      spec.description = name;
      spec.parameters = {{"type", "object"}};
      whole->tools[name] = tools->specs[name] = spec;
      auto ready = tools::prepare(spec, std::make_unique<nothing_runs>());
      REQUIRE(ready.has_value());
      tools->prepared.emplace(name, std::move(*ready));
      hosts[name] = std::make_shared<service<tool_host_actor>>(add(system->spawn(held_host, &calls[name])));
      peers->hosts[name] = hosts[name];
    }
    context->run_id = "R1";
    context->config = whole;
    context->deadline = clock_point::max();
    written.at_once = true;
    peers->journal = add(system->spawn(test::desk, &written));
    peers->gateway = std::make_shared<service<llm_gateway_actor>>(add(system->spawn(reviewed ? brief_gateway : calling_gateway, 0)));
    peers->tools = tools;
    peers->own_tools = std::make_shared<made_once<agent_tools>>(whole);
    supervisor = add(system->spawn(lenient_supervisor, 0));
    worker_actor = add(spawn_agent(*system, "worker/1", supervisor, peers));
    go();
  }
  ~agent_stage() {
    for (auto& [name, held] : calls)
      held.waiting.clear();
    reviews.tasks.clear();
    clear();
  }
  void work() {
    ask<task_result>(worker_actor, task_assignment{.run = context, .task = "t", .agent = "worker", .instruction = "go"},
                     [this](const task_result& came) { end = came; });
  }
  /// It is about to be asked again: the run's limit has been met meanwhile.
  void host_dies_while_run_winds_down(const std::string& tool) {
    const auto dead = hosts[tool]->now();
    calls[tool].waiting.clear();
    hosts[tool]->replace(add(system->spawn(held_host, &calls[tool])));
    kill(dead);
    context->winding_down = true;
    pass(std::chrono::seconds(1));
  }
  void finish(const std::string& tool) { tell(hosts[tool]->now(), tool_ended{}); }

  test::paper written;
  test::given_work reviews;
  std::shared_ptr<service<agent_pool_actor>> reviewers;
  std::map<std::string, held_calls> calls;
  std::map<std::string, std::shared_ptr<service<tool_host_actor>>> hosts;
  std::shared_ptr<run_context> context = std::make_shared<run_context>();
  supervisor_actor supervisor;
  agent_actor worker_actor;
  std::optional<task_result> end;
};

} // namespace

TROUPE_TEST_WITH(agent_stage, "when its run winds down, an agent ends with what is in flight, though other calls were never begun") {
  work();
  REQUIRE(calls["one"].waiting.size() == 1 && calls["two"].waiting.size() == 1);
  host_dies_while_run_winds_down("one");
  CHECK_EQ(calls["one"].waiting.size(), 0u);
  CHECK(!end);
  finish("two");
  REQUIRE(end.has_value());
  CHECK(end->status == task_status::cancelled);
}

TROUPE_TEST_WITH(agent_stage, "an agent that leaves with its run ends what is in flight when it is told to") {
  work();
  host_dies_while_run_winds_down("one");
  CHECK_EQ(calls["two"].cancels, 0u);
  tell(worker_actor, cancel_task{"R1", "t", false}); // the grace is over
  CHECK_EQ(calls["two"].cancels, 1u);
}

namespace {

struct reviewed_stage : agent_stage {
  reviewed_stage() : agent_stage(true) {}
};

} // namespace

TROUPE_TEST_WITH(reviewed_stage, "a task that is cancelled before its dead reviewer's successor is asked ends all the same") {
  work();
  REQUIRE(reviews.tasks.size() == 1);
  const auto dead = reviewers->now();
  reviews.tasks.clear();
  reviewers->replace(add(system->spawn(test::idle_pool, &reviews)));
  kill(dead);
  CHECK(reviews.tasks.empty()); // a moment later it would be asked
  tell(worker_actor, cancel_task{"R1", "t", false});
  pass(std::chrono::seconds(1));
  CHECK(reviews.tasks.empty());
  REQUIRE(end.has_value());
  CHECK(end->status == task_status::cancelled);
}
