#include "test.hpp"

#include "troupe/metrics/run_summary.hpp"
#include "troupe/model/described.hpp"

TROUPE_SUITE(run_summary)

using namespace troupe;

namespace {

/// Events in their order, one second apart unless a time is given.
struct script {
  std::vector<event> events;
  std::int64_t now_us = 1'000'000'000;

  script& add(event_body body, std::string task = {}, std::string agent = {}, std::int64_t after_us = 1'000'000) {
    if (!events.empty())
      now_us += after_us;
    events.push_back({static_cast<std::int64_t>(events.size()) + 1, now_us, "r1", std::move(task), std::move(agent), std::move(body)});
    return *this;
  }
  run_summary fold() const {
    metrics::run_fold f;
    for (const auto& e : events)
      f.apply(e);
    return f.summary();
  }
};

message_ptr say(std::string text) {
  return std::make_shared<const chat_message>(chat_message{role::assistant, std::move(text), {}, "", false});
}

run_started start(std::int64_t tasks = 2) {
  return {.workflow = "report",
          .tenant = "default",
          .input = json::object(),
          .budget = {usd{5'000'000}, std::chrono::minutes(5), 50},
          .total_tasks = tasks};
}

script two_tasks() {
  script s;
  s.add(start())
      .add(task_started{}, "research", "researcher")
      .add(llm_requested{.step_id = "s1", .worst_case = usd{90'000}}, "research", "researcher")
      .add(llm_failed{.step_id = "s1", .reason = "llm_rate_limited", .http_status = 429, .counted = false}, "research", "researcher")
      .add(llm_requested{.step_id = "s1", .request = 2, .worst_case = usd{90'000}}, "research", "researcher")
      .add(llm_responded{.step_id = "s1", .request = 2, .message = say(""), .usage = {100, 40, 7, 20}, .cost = usd{3'000}}, "research",
           "researcher")
      .add(tool_started{.call_id = "c1", .tool = "grep"}, "research", "researcher")
      .add(tool_failed{.call_id = "c1", .tool = "grep", .next = "alternative"}, "research", "researcher")
      .add(tool_started{.call_id = "c1", .tool = "ripgrep", .attempt = 2, .instead_of = "grep"}, "research", "researcher")
      .add(tool_finished{.call_id = "c1", .tool = "ripgrep", .text = "x"}, "research", "researcher")
      .add(tool_finished{.call_id = "c2", .status = tool_status::not_started, .text = "refused"}, "research", "researcher")
      .add(llm_requested{.step_id = "s2"}, "research", "researcher")
      .add(llm_responded{.step_id = "s2", .message = say("{}"), .usage = {200, 0, 0, 30}, .cost = usd{1'000}}, "research", "researcher")
      .add(task_finished{.output = {{"facts", json::array()}}}, "research", "researcher")
      .add(task_started{}, "write", "writer")
      .add(llm_requested{.step_id = "s3"}, "write", "writer")
      .add(llm_responded{.step_id = "s3", .message = say("done"), .usage = {10, 0, 0, 5}, .cost = usd{8'300}}, "write", "writer")
      .add(task_finished{.output = "done"}, "write", "writer")
      .add(run_finished{.result = "done"});
  return s;
}

} // namespace

TROUPE_TEST("the result document has the fields of the interface, by their exact names") {
  const auto document = result_document(two_tasks().fold());
  const auto wanted = json::parse(R"({
    "run_id": "r1", "workflow": "report", "tenant": "default", "workflow_status": "completed", "reason": null,
    "completed_tasks": 2, "total_tasks": 2, "total_cost_usd": 0.0123, "duration_seconds": 18.0,
    "llm_calls": 3, "tool_calls": 1, "tokens": { "input": 310, "cached_input": 40, "output": 55 }, "human_approvals": 0,
    "agents_used": ["researcher", "writer"],
    "failures": [ { "task_id": "research", "agent": "researcher", "reason": "llm_rate_limited" },
                  { "task_id": "research", "agent": "researcher", "reason": "tool_failed" } ],
    "results": [ { "task_id": "research", "agent": "researcher", "status": "success", "attempts": 1, "cost_usd": 0.004,
                   "output": { "facts": [] }, "error": null },
                 { "task_id": "write", "agent": "writer", "status": "success", "attempts": 1, "cost_usd": 0.0083,
                   "output": "done", "error": null } ],
    "result": "done" })");
  CHECK_EQ(document, wanted);
}

TROUPE_TEST("an agent whose task was skipped, had no elements or never got to ask was not used") {
  script s;
  s.add(start(4))
      .add(task_finished{.status = task_status::skipped}, "publish", "publisher")
      .add(task_started{.items = 0}, "sections", "writer")
      .add(task_finished{.output = json::array()}, "sections", "writer")
      .add(task_started{}, "check", "checker")
      .add(budget_refused{.scope = "run"}, "check", "checker")
      .add(task_finished{.status = task_status::budget_exceeded}, "check", "checker")
      .add(task_started{}, "research", "researcher")
      .add(llm_requested{.step_id = "s1"}, "research", "researcher")
      .add(llm_requested{.step_id = "s1", .request = 2}, "research", "researcher");
  CHECK_EQ(json(s.fold().agents_used), json({"researcher"}));
}

TROUPE_TEST("every prefix of a run has a summary, and counts never shrink") {
  const auto whole = two_tasks();
  metrics::run_fold fold;
  CHECK_EQ(fold.summary().status, run_status::running);
  run_summary before;
  for (const auto& e : whole.events) {
    fold.apply(e);
    const auto now = fold.summary();
    CHECK(now.total_cost >= before.total_cost);
    CHECK(now.llm_calls >= before.llm_calls);
    CHECK(now.owned_us >= before.owned_us);
    CHECK(now.results.size() >= before.results.size());
    CHECK(!result_document(now).dump().empty());
    before = now;
  }
}

TROUPE_TEST("a request of unknown outcome costs its worst case, is a step, and is no part of the tokens") {
  script s;
  s.add(start()).add(task_started{}, "t", "a").add(llm_requested{.step_id = "s1", .worst_case = usd{500}}, "t", "a");
  CHECK_EQ(s.fold().llm_calls, 0);
  CHECK_EQ(s.fold().total_cost, usd{0});
  s.add(run_resumed{.owned_before_ms = 2'000}).add(outcome_unknown{.id = "s1#1", .charged = usd{500}}, "t", "a");
  const auto sum = s.fold();
  CHECK_EQ(sum.total_cost, usd{500});
  CHECK_EQ(sum.llm_calls, 1);
  CHECK_EQ(sum.in_doubt, 0);
  CHECK_EQ(sum.tokens, token_usage{});
}

TROUPE_TEST("a tool call of unknown outcome is in doubt once, however often it is told") {
  script s;
  s.add(start()).add(task_started{}, "t", "a").add(tool_started{.call_id = "c#1", .tool = "pay", .effect = effect::once}, "t", "a");
  s.add(outcome_unknown{.id = "c#1"}, "t", "a").add(tool_finished{.call_id = "c#1", .status = tool_status::in_doubt}, "t", "a");
  CHECK_EQ(s.fold().in_doubt, 1);
  CHECK_EQ(s.fold().llm_calls, 0);
  CHECK_EQ(json(result_document(s.fold())["in_doubt"]), json(1));
}

TROUPE_TEST("a call with an effect that is under way at the run's end is in doubt; one that failed or can be repeated is not") {
  script s;
  s.add(start()).add(task_started{}, "t", "a");
  for (const auto* id : {"open", "failed", "done"})
    s.add(tool_started{.call_id = id, .tool = "pay", .effect = effect::once}, "t", "a");
  s.add(tool_started{.call_id = "put", .tool = "put", .effect = effect::idempotent}, "t", "a");
  s.add(tool_failed{.call_id = "failed", .tool = "pay"}, "t", "a").add(tool_finished{.call_id = "done", .tool = "pay"}, "t", "a");
  CHECK_EQ(s.fold().in_doubt, 0);
  s.add(task_finished{.status = task_status::timeout}, "t", "a").add(run_finished{.status = run_status::failed});
  CHECK_EQ(s.fold().in_doubt, 1);
  // Whoever goes on with the run finds it once more.
  s.add(run_resumed{}).add(outcome_unknown{.id = "open"}, "t", "a");
  CHECK_EQ(s.fold().in_doubt, 1);
}

TROUPE_TEST("a call that was cut off is in doubt though the next attempt makes one of the same id") {
  script s;
  const tool_started pay{.call_id = "c#1", .tool = "pay", .effect = effect::once};
  s.add(start()).add(task_started{}, "t", "a").add(pay, "t", "a").add(pay, "other", "a").add(task_retried{.next_attempt = 2}, "t", "a");
  CHECK_EQ(s.fold().in_doubt, 1);
  s.add(task_started{.attempt = 2}, "t", "a").add(pay, "t", "a").add(tool_finished{.call_id = "c#1", .tool = "pay"}, "t", "a");
  CHECK_EQ(s.fold().in_doubt, 1);
  CHECK_EQ(s.fold().tool_calls, 3);
  s.add(pay, "t/below", "a").add(task_retried{.next_attempt = 3}, "t", "a"); // a sub-workflow's, too
  CHECK_EQ(s.fold().in_doubt, 2);
}

TROUPE_TEST("only a call that must not be repeated is in doubt, whatever its status says") {
  for (const auto what : {effect::none, effect::idempotent, effect::once}) {
    script s;
    s.add(start()).add(task_started{}, "t", "a").add(tool_started{.call_id = "c#1", .tool = "get", .effect = what}, "t", "a");
    if (what == effect::once) // as the tool host records it
      s.add(outcome_unknown{.id = "c#1"}, "t", "a");
    s.add(tool_finished{.call_id = "c#1", .tool = "get", .status = tool_status::in_doubt}, "t", "a");
    CHECK_EQ(s.fold().in_doubt, what == effect::once ? 1 : 0);
  }
}

TROUPE_TEST("usage that cannot be true is charged and not counted, whichever event comes first") {
  for (const bool rejected_first : {false, true}) {
    script s;
    s.add(start()).add(llm_requested{.step_id = "s1"}, "t", "a");
    if (rejected_first)
      s.add(usage_rejected{.step_id = "s1"}, "t", "a");
    s.add(llm_responded{.step_id = "s1", .message = say("x"), .usage = {1'000'000'000, 0, 0, 5}, .cost = usd{700}}, "t", "a");
    if (!rejected_first)
      s.add(usage_rejected{.step_id = "s1"}, "t", "a");
    CHECK_EQ(s.fold().tokens, token_usage{});
    CHECK_EQ(s.fold().total_cost, usd{700});
  }
}

TROUPE_TEST("the duration is the owners' time, without what passed between them") {
  script s;
  s.add(start()).add(task_started{}, "t", "a").add(run_interrupted{"SIGINT"}); // 2 s
  CHECK_EQ(s.fold().owned_us, 2'000'000);
  s.add(run_resumed{.owned_before_ms = 2'000}, {}, {}, 3'600'000'000)
      .add(task_finished{}, "t", "a")
      .add(run_finished{}); // an hour later: 2 s
  CHECK_EQ(s.fold().owned_us, 4'000'000);
  CHECK_EQ(json(result_document(s.fold())["duration_seconds"]), json(4.0));
  s.add(message_injected{}, {}, {}, -7'000'000'000); // a clock that jumps
  CHECK_EQ(s.fold().owned_us, 4'000'000);
}

TROUPE_TEST("a run that is resumed is running again, with the budget that was added") {
  script s;
  s.add(start(1))
      .add(task_started{}, "t", "a")
      .add(task_finished{.status = task_status::budget_exceeded, .reason = "budget_exceeded", .output = "half"}, "t", "a")
      .add(run_finished{run_status::aborted, "budget_exceeded", "half"});
  auto sum = s.fold();
  CHECK_EQ(json(result_document(sum)["reason"]), json("budget_exceeded"));
  CHECK_EQ(sum.completed_tasks, 0);
  CHECK_EQ(sum.results.at(0).output, "half");
  s.add(run_resumed{.owned_before_ms = 1, .added_money = usd{2'000'000}, .added_steps = 5, .added_time_ms = 1000});
  sum = s.fold();
  CHECK_EQ(sum.status, run_status::running);
  CHECK(result_document(sum)["reason"].is_null());
  CHECK_EQ(sum.budget.money->micro, 7'000'000);
  CHECK_EQ(*sum.budget.steps, 55);
  CHECK_EQ(sum.budget.time->count(), 301'000);
  s.add(task_started{.attempt = 1}, "t", "a").add(task_finished{.output = "whole"}, "t", "a").add(run_finished{.result = "whole"});
  sum = s.fold();
  CHECK_EQ(sum.results.size(), 1u);
  CHECK_EQ(sum.results.at(0).output, "whole");
  CHECK_EQ(sum.completed_tasks, 1);
}

TROUPE_TEST("a for_each task has a row an element, in their order, each with what it and all below it cost") {
  script s;
  s.add(start(1)).add(task_started{.items = 3}, "sections", "writer");
  const auto cost = [&](const char* task, std::int64_t micro) {
    s.add(llm_responded{.step_id = task, .message = say("x"), .cost = usd{micro}}, task, "writer");
  };
  cost("sections[2]", 30);
  cost("sections[0]", 10);
  cost("sections[2]/check", 5);
  s.add(task_finished{.output = "c"}, "sections[2]", "writer").add(task_finished{.output = "a"}, "sections[0]", "writer");
  s.add(task_finished{.status = task_status::error, .reason = "llm_timeout", .error = "no answer"}, "sections[1]", "writer");
  s.add(task_finished{.status = task_status::error, .reason = "llm_timeout", .output = json::array({"a", nullptr, "c"})}, "sections",
        "writer");
  const auto document = result_document(s.fold());
  CHECK_EQ(document["results"].size(), 1u);
  const auto& row = document["results"][0];
  CHECK_EQ(row["cost_usd"], 0.000045);
  CHECK_EQ(row["items"], json::parse(R"([ {"index":0,"status":"success","output":"a","cost_usd":0.00001},
    {"index":1,"status":"error","output":null,"cost_usd":0.0,"error":"no answer"},
    {"index":2,"status":"success","output":"c","cost_usd":0.000035} ])"));
  // The element failed; that its task failed for the same reason says nothing new.
  CHECK_EQ(document["failures"].size(), 1u);
}

TROUPE_TEST("a sub-workflow's tasks count for the task that runs it, not as tasks of their own") {
  script s;
  s.add(start(1)).add(task_started{}, "archive").add(task_started{}, "archive/publish", "writer");
  s.add(llm_responded{.step_id = "s", .message = say("x"), .cost = usd{40}}, "archive/publish", "writer");
  s.add(task_finished{.output = 1}, "archive/publish", "writer").add(task_finished{.output = 2}, "archive");
  const auto sum = s.fold();
  REQUIRE(sum.results.size() == 1u);
  CHECK_EQ(sum.results[0].task_id, "archive");
  CHECK_EQ(sum.results[0].cost, usd{40});
  CHECK_EQ(sum.completed_tasks, 1);
}

TROUPE_TEST("results stand in the order of the workflow where the kept configuration tells it") {
  script s;
  auto begin = start(3);
  begin.configuration =
      std::make_shared<const json>(json::parse(R"({"workflows":{"report":{"tasks":[{"id":"a"},{"id":"b"},{"id":7},"x",{"id":"c"}]}}})"));
  s.add(begin).add(task_started{}, "c").add(task_started{}, "a");
  s.add(task_finished{.status = task_status::skipped}, "b").add(task_finished{}, "c").add(task_finished{.attempt = 2}, "a");
  const auto sum = s.fold();
  REQUIRE(sum.results.size() == 3u);
  CHECK_EQ(sum.results[0].task_id, "a");
  CHECK_EQ(sum.results[0].attempts, 2);
  CHECK_EQ(sum.results[1].task_id, "b");
  CHECK_EQ(sum.results[2].task_id, "c");
  CHECK_EQ(sum.completed_tasks, 2);
  CHECK(sum.failures.empty());
}

TROUPE_TEST("amounts that nobody can have meant neither wrap around nor take anything back") {
  script s;
  const auto most = std::numeric_limits<std::int64_t>::max();
  s.add(start());
  for (int i = 0; i < 3; ++i)
    s.add(llm_responded{.step_id = std::to_string(i), .message = nullptr, .usage = {most, most, most, -9}, .cost = usd{i == 1 ? -5 : most}},
          "t", "a");
  s.add(run_resumed{.owned_before_ms = most, .added_money = usd{most}, .added_steps = most, .added_time_ms = most});
  const auto sum = s.fold();
  CHECK_EQ(sum.total_cost, usd{most});
  CHECK_EQ(sum.tokens.input, most);
  CHECK_EQ(sum.tokens.output, 0);
  CHECK(sum.owned_us > 0);
}

TROUPE_TEST("a list of failures is bounded") {
  script s;
  s.add(start());
  for (int i = 0; i < 1'200; ++i)
    s.add(agent_crashed{}, "t", "a");
  CHECK_EQ(s.fold().failures.size(), 1'000u);
}
