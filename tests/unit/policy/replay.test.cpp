#include "test.hpp"

#include "troupe/model/described.hpp"
#include "troupe/policy/replay.hpp"

TROUPE_SUITE(replay)

using namespace troupe;
using namespace troupe::policy;

namespace {

struct script {
  std::vector<event_ptr> events;
  std::int64_t now_us = 1'000'000'000;

  script& add(event_body body, std::string task = "t", std::string agent = "a", std::int64_t after_us = 1'000'000) {
    if (!events.empty())
      now_us += after_us;
    events.push_back(std::make_shared<const event>(
        event{static_cast<std::int64_t>(events.size()) + 1, now_us, "r", std::move(task), std::move(agent), std::move(body)}));
    return *this;
  }
  task_history task() const { return rebuild(events); }
  run_history run() const { return rebuild_run(events); }
};

message_ptr say(std::string text, std::vector<std::string> calls = {}) {
  chat_message m{role::assistant, std::move(text), {}, "", false};
  for (auto& id : calls)
    m.tool_calls.push_back({id, "grep", "{}"});
  return std::make_shared<const chat_message>(std::move(m));
}

llm_responded answer(std::string step, message_ptr message) {
  return {.step_id = std::move(step), .message = std::move(message), .finish = finish_reason::tool_calls, .cost = usd{10}};
}

/// "A:text(calls) T:id=text U:text", in order.
std::string told(const conversation& messages) {
  std::string out;
  for (const auto& m : messages) {
    if (!out.empty())
      out += ' ';
    switch (m->from) {
    case role::assistant:
      out += "A:" + m->text + "(" + std::to_string(m->tool_calls.size()) + ")";
      break;
    case role::tool:
      out += std::string(m->is_error ? "E:" : "T:") + m->tool_call_id + "=" + m->text;
      break;
    case role::user:
      out += "U:" + m->text;
      break;
    case role::system:
      out += "S";
      break;
    }
  }
  return out;
}

script begun() {
  script s;
  s.add(task_started{.instruction = "find"});
  return s;
}

} // namespace

TROUPE_TEST("a conversation is rebuilt with the results in the order asked, and injected messages behind them") {
  auto s = begun();
  s.add(llm_requested{.step_id = "s1"}).add(answer("s1", say("look", {"c1", "c2"})));
  s.add(tool_finished{.call_id = "c2", .tool = "grep", .text = "two"});
  s.add(message_injected{"be quick", "intervention"});
  s.add(tool_finished{.call_id = "c1", .status = tool_status::failed, .text = "one"});
  CHECK_EQ(told(s.task().assembled()), "A:look(2) E:c1=one T:c2=two U:be quick");
  s.add(llm_requested{.step_id = "s2"}).add(answer("s2", say("done"))).add(message_injected{"not JSON", "contract"});
  const auto h = s.task();
  CHECK_EQ(told(h.assembled()), "A:look(2) E:c1=one T:c2=two U:be quick A:done(0) U:not JSON");
  CHECK_EQ(told(h.messages), told(h.assembled()));
  CHECK(h.unresolved.empty());
  CHECK_EQ(h.steps, 2);
  CHECK_EQ(h.instruction, "find");
  CHECK_EQ(h.agent, "a");
}

TROUPE_TEST("what was refused is kept by its beginning once its exchange is over, what ran is kept whole") {
  const std::string huge = "{\"x\":\"" + std::string(1'000'000, 'x') + "\"}";
  chat_message m{role::assistant, "", {{"ran", "grep", huge}, {"refused", "grep", huge}}, "", false};
  script s;
  s.add(task_started{1, "do it", {}}).add(answer("t@1/1", std::make_shared<const chat_message>(m)));
  s.add(tool_finished{"ran", "grep", tool_status::ok, "fine", 0}).add(tool_finished{"refused", "", tool_status::not_started, "no", 0});
  CHECK_EQ(s.task().messages.back()->tool_calls[1].arguments.size(), huge.size()); // it is judged again after a crash
  s.add(answer("t@1/2", say("and")));
  const auto first = s.task().messages[0];
  const auto& kept = first->tool_calls;
  CHECK(kept[0].arguments == huge);
  CHECK(kept[1].arguments.size() < 4'096);
  CHECK_EQ(told(s.task().assembled()), "A:(2) T:ran=fine E:refused=no A:and(0)");
}

TROUPE_TEST("calls without a result are listed, those that were started with their effect") {
  auto s = begun();
  s.add(llm_requested{.step_id = "s1"}).add(answer("s1", say("", {"c1", "c2", "c3"})));
  s.add(tool_started{.call_id = "c1", .tool = "pay", .arguments = {{"x", 1}}, .effect = effect::once});
  s.add(tool_started{.call_id = "c2", .tool = "grep"}).add(tool_finished{.call_id = "c2", .tool = "grep", .text = "ok"});
  const auto h = s.task();
  REQUIRE(h.unresolved.size() == 2u);
  CHECK_EQ(h.unresolved[0].id, "c1");
  CHECK_EQ(h.unresolved[1].id, "c3");
  REQUIRE(h.open_calls.size() == 1u);
  CHECK_EQ(h.open_calls[0].tool, "pay");
  CHECK_EQ(h.open_calls[0].effect, effect::once);
  CHECK_EQ(h.open_calls[0].arguments, json({{"x", 1}}));
  CHECK(!h.open_calls[0].failure && !h.open_calls[0].told);
  REQUIRE(h.results.size() == 3u);
  CHECK(!h.results[0] && h.results[1] && !h.results[2]);
  CHECK_EQ(told(h.assembled()), "A:(3) T:c2=ok");
}

TROUPE_TEST("a call keeps the attempt of its last start, and says that its failure is known") {
  auto s = begun();
  s.add(answer("s1", say("", {"c1"})));
  s.add(tool_started{.call_id = "c1", .tool = "grep"}).add(tool_failed{.call_id = "c1", .tool = "grep", .error = "no", .next = "retry"});
  CHECK_EQ(s.task().open_calls.at(0).failure.value().next, "retry");
  s.add(tool_started{.call_id = "c1", .tool = "ripgrep", .attempt = 2, .instead_of = "grep"});
  auto h = s.task();
  CHECK_EQ(h.open_calls.at(0).attempt, 2);
  CHECK_EQ(h.open_calls.at(0).instead_of, "grep");
  CHECK(!h.open_calls.at(0).failure);
  REQUIRE(h.open_calls.at(0).tried.size() == 2u);
  CHECK_EQ(h.open_calls.at(0).tried[0].error, "no");
  CHECK_EQ(h.open_calls.at(0).tried[1].tool, "ripgrep");
  CHECK_EQ(h.open_calls.at(0).tried[1].attempts, 2);
  CHECK_EQ(h.calls_of.size(), 0u); // it has not ended: whoever goes on with it counts it
  s.add(outcome_unknown{.id = "c1"});
  CHECK(s.task().open_calls.at(0).told);
  s.add(tool_finished{.call_id = "c1", .status = tool_status::in_doubt, .text = "nobody knows"});
  h = s.task();
  CHECK(h.open_calls.empty());
  CHECK_EQ(h.calls_of["grep"], 1);
  CHECK_EQ(h.calls_of["ripgrep"], 1);
  CHECK_EQ(told(h.assembled()), "A:(1) E:c1=nobody knows");
}

TROUPE_TEST("a call that the end of its attempt cut off was made: the next one counts it") {
  auto s = begun();
  s.add(answer("s1", say("", {"c1"})));
  s.add(tool_started{.call_id = "c1", .tool = "pay"});
  s.add(task_retried{2, "its time is up"});
  auto h = s.task();
  CHECK(h.open_calls.empty());
  CHECK_EQ(h.calls_of["pay"], 1);
}

TROUPE_TEST("a tool that a call turned to and that could not be started is where the call goes on") {
  auto s = begun();
  s.add(answer("s1", say("", {"c1"})));
  s.add(tool_started{.call_id = "c1", .tool = "pay", .effect = effect::once});
  s.add(tool_failed{.call_id = "c1", .tool = "pay", .next = "alternative"});
  s.add(tool_failed{.call_id = "c1", .tool = "ask", .next = "retry"}); // its start was not recorded
  const auto call = s.task().open_calls.at(0);
  CHECK_EQ(call.tool, "ask");
  CHECK_EQ(call.failure.value().next, "retry");
  CHECK_EQ(call.tried.size(), 2u);
}

TROUPE_TEST("what is recorded of a call: its end, or how far it came, in the last step only") {
  auto s = begun();
  const auto found = [&](const std::string& id) { return record_of(s.events, id); };
  s.add(answer("s1", say("", {"c1", "c2", "c3"})));
  s.add(tool_started{.call_id = "c1", .tool = "grep"}).add(tool_started{.call_id = "c2", .tool = "pay"});
  s.add(tool_finished{.call_id = "c1", .tool = "grep", .text = "two lines"});
  CHECK_EQ(found("c1").end.value().text, "two lines");
  CHECK(!found("c1").open);
  CHECK(!found("c2").end);
  CHECK_EQ(found("c2").open.value().tool, "pay");
  CHECK(!found("c3").end && !found("c3").open);
  s.add(answer("s2", say("", {"c1", "c2"}))); // the same ids again
  for (const auto* id : {"c1", "c2"})
    CHECK(!found(id).end && !found(id).open);
}

context_cut cut_of(context_cut_kind kind, std::int64_t messages) {
  context_cut cut;
  cut.kind = kind;
  cut.step = 2;
  cut.window = 700;
  cut.messages = messages;
  cut.summary = "in short";
  return cut;
}

TROUPE_TEST("a cut is made again where it was made: behind the results that it saw") {
  auto s = begun();
  s.add(answer("t@1/1", say("", {"c1"}))).add(tool_finished{.call_id = "c1", .text = std::string(500, 'x')});
  s.add(answer("t@1/2", say("", {"c2"}))).add(tool_finished{.call_id = "c2", .text = std::string(500, 'y')});
  s.add(cut_of(context_cut_kind::results_noted, 2));
  const auto h = s.task();
  CHECK(h.results.empty());
  CHECK_EQ(told(h.assembled()), "A:(1) T:c1=[result removed to make room: 500 bytes] A:(1) T:c2=" + std::string(500, 'y'));
  CHECK_EQ(h.steps, 2);
  CHECK_EQ(h.last_input_tokens, 0);
}

TROUPE_TEST("the answer of a summarising call is no part of the conversation; the cut that follows it is") {
  auto s = begun();
  s.add(answer("t@1/1", say("", {"c1"}))).add(tool_finished{.call_id = "c1", .text = "one"});
  s.add(answer("t@1/2", say("", {"c2"}))).add(tool_finished{.call_id = "c2", .text = "two"});
  s.add(llm_requested{.step_id = "t@1/3/summary"}).add(answer("t@1/3/summary", say("in short")));
  CHECK_EQ(told(s.task().assembled()), "A:(1) T:c1=one A:(1) T:c2=two");
  CHECK_EQ(s.task().steps, 2);
  CHECK(s.task().unanswered.empty());
  s.add(cut_of(context_cut_kind::summarised, 2));
  CHECK_EQ(told(s.task().assembled()), "U:in short A:(1) T:c2=two");
  CHECK_EQ(s.task().summaries, 1);
  CHECK_EQ(s.task().last_summary_step, 2);
  s.add(answer("t@1/3", say("done")));
  CHECK_EQ(told(s.task().assembled()), "U:in short A:(1) T:c2=two A:done(0)");
  s.add(task_retried{.next_attempt = 2});
  CHECK_EQ(s.task().summaries, 0);
}

TROUPE_TEST("where a task's requests go, and what refusals have shown, is remembered") {
  auto s = begun();
  auto refused = cut_of(context_cut_kind::results_noted, 0);
  refused.refused = true;
  s.add(refused);
  CHECK_EQ(s.task().learned_window, 700);
  auto over = cut_of(context_cut_kind::failed_over, 0);
  over.link = 2;
  s.add(over);
  CHECK_EQ(s.task().link, 2u);
  CHECK_EQ(s.task().learned_window, 0);
}

TROUPE_TEST("an agent that crashed goes on in the same conversation; a new attempt begins without it") {
  auto s = begun();
  s.add(answer("s1", say("one"))).add(agent_crashed{.member = "a/1", .crashes = 1}).add(task_started{.instruction = "find"});
  s.add(contract_violated{.repair = 1});
  auto h = s.task();
  CHECK_EQ(told(h.assembled()), "A:one(0)");
  CHECK_EQ(h.crashes, 1);
  CHECK_EQ(h.repairs, 1);
  CHECK_EQ(h.last_step_id, "s1");
  s.add(llm_requested{.step_id = "s2", .worst_case = usd{99}}).add(task_retried{2, "quality"});
  h = s.task();
  CHECK_EQ(h.attempt, 2);
  CHECK(h.assembled().empty());
  CHECK_EQ(h.repairs, 0);
  CHECK_EQ(h.crashes, 1);
  CHECK_EQ(h.unanswered.size(), 1u); // money of the old attempt is money still
  s.add(task_started{.attempt = 2}).add(answer("s3", say("two")));
  CHECK_EQ(told(s.task().assembled()), "A:two(0)");
}

TROUPE_TEST("a request is unanswered until its response, its failure, or the word that nobody knows") {
  struct row {
    const char* name;
    event_body end;
    bool answered;
  };
  const std::vector<row> rows{{"a response", answer("s1", say("x")), true},
                              {"a failure", llm_failed{.step_id = "s1"}, true},
                              {"outcome_unknown", outcome_unknown{.id = "s1#1", .charged = usd{7}}, true},
                              {"another request's failure", llm_failed{.step_id = "s1", .request = 2}, false},
                              {"another step's response", answer("s2", say("x")), false},
                              {"a crash", agent_crashed{}, false}};
  for (const auto& r : rows) {
    IN_ROW(r.name);
    auto s = begun();
    s.add(llm_requested{.step_id = "s1", .provider = "p", .model = "m", .worst_case = usd{7}}).add(r.end);
    CHECK_EQ(s.task().unanswered.empty(), r.answered);
    CHECK_EQ(s.run().unanswered.empty(), r.answered);
    if (!r.answered)
      CHECK_EQ(s.task().unanswered.at(0).id(), "s1#1");
  }
}

TROUPE_TEST("a history stays well formed whatever was recorded twice, late, or never") {
  auto s = begun();
  s.add(answer("s1", say("a", {"c1", "c1", "c2"})));
  s.add(tool_finished{.call_id = "ghost", .text = "?"});
  s.add(tool_finished{.call_id = "c1", .text = "1"})
      .add(tool_finished{.call_id = "c1", .text = "2"})
      .add(tool_finished{.call_id = "c1", .text = "3"});
  s.add(answer("s1", say("late twin"))); // a hedged request's second answer
  s.add(answer("s2", nullptr));
  s.add(answer("s3", say("b")));
  CHECK_EQ(told(s.task().assembled()), "A:a(3) T:c1=1 T:c1=2 E:c2=No result of this call was recorded. A:b(0)");
}

TROUPE_TEST("events of other tasks are ignored, and by_task sorts them apart") {
  script s;
  s.add(run_started{}, "", "")
      .add(task_started{}, "t")
      .add(task_started{.items = 2}, "u")
      .add(answer("s", say("x")), "t")
      .add(answer("s", say("y")), "u[1]");
  task_fold fold("t");
  for (const auto& e : s.events)
    fold.apply(*e);
  CHECK_EQ(told(fold.history().assembled()), "A:x(0)");
  auto parts = by_task(s.events);
  CHECK_EQ(parts.size(), 4u);
  CHECK_EQ(told(rebuild(parts["u[1]"]).assembled()), "A:y(0)");
}

TROUPE_TEST("a run's spending counts what was charged, and the worst case of what is unanswered") {
  script s;
  s.add(run_started{.budget = {usd{1000}, {}, 50}}, "", "");
  s.add(llm_requested{.step_id = "s1", .worst_case = usd{100}}, "x[1]", "a").add(answer("s1", say("k")), "x[1]", "a");
  s.add(llm_requested{.step_id = "s2", .worst_case = usd{100}}, "x[1]/y", "b");
  s.add(llm_failed{.step_id = "s2", .counted = false}, "x[1]/y", "b"); // 429
  s.add(llm_requested{.step_id = "s2", .request = 2, .worst_case = usd{100}}, "x[1]/y", "b");
  s.add(llm_failed{.step_id = "s2", .request = 2, .charged = usd{100}}, "x[1]/y", "b"); // timeout
  s.add(llm_requested{.step_id = "s3", .worst_case = usd{400}}, "z", "b");
  auto h = s.run();
  CHECK_EQ(h.spent, (spend{usd{510}, 3}));
  CHECK_EQ(h.spent_by_task["x[1]/y"], (spend{usd{100}, 1}));
  CHECK_EQ(h.spent_by_task["x[1]"], (spend{usd{110}, 2}));
  CHECK_EQ(h.spent_by_task["x"], (spend{usd{110}, 2}));
  CHECK_EQ(h.spent_by_task["z"], (spend{usd{400}, 1}));
  CHECK_EQ(h.spent_by_agent["a"], (spend{usd{10}, 1}));
  CHECK_EQ(h.spent_by_agent["b"], (spend{usd{500}, 2}));
  REQUIRE(h.unanswered.size() == 1u);
  CHECK_EQ(h.unanswered[0].task, "z");
  CHECK_EQ(h.unanswered[0].worst_case, usd{400});
  // Recording that nobody knows changes nothing of it, whoever records it.
  s.add(outcome_unknown{.id = "s3#1", .charged = usd{400}}, "z", "");
  h = s.run();
  CHECK_EQ(h.spent, (spend{usd{510}, 3}));
  CHECK_EQ(h.spent_by_agent["b"], (spend{usd{500}, 2}));
  CHECK(h.unanswered.empty());
  s.add(outcome_unknown{.id = "c1", .charged = usd{}}, "z", "b"); // of a tool: no step
  CHECK_EQ(s.run().spent, (spend{usd{510}, 3}));
}

TROUPE_TEST("a run's tasks are where they stopped") {
  script s;
  s.add(run_started{.workflow = "w", .total_tasks = 2}, "", "").add(task_started{.items = 3}, "x");
  s.add(task_started{}, "x[2]").add(task_started{}, "x[0]").add(task_finished{.output = 5}, "x[0]").add(task_started{}, "x[2]");
  s.add(task_started{}, "y", "b").add(agent_crashed{.crashes = 2}, "y", "b").add(task_retried{2, "why"}, "y", "b");
  auto h = s.run();
  CHECK(h.started && !h.ended);
  CHECK_EQ(h.start.workflow, "w");
  CHECK_EQ(h.tasks.at("x").items_started, (std::vector<std::int64_t>{0, 2}));
  CHECK_EQ(*h.tasks.at("x").items, 3);
  CHECK(h.tasks.at("x[0]").finished);
  CHECK_EQ(h.tasks.at("x[0]").output, 5);
  CHECK(!h.tasks.at("x[2]").finished);
  CHECK_EQ(h.tasks.at("y").attempt, 2);
  CHECK_EQ(h.tasks.at("y").crashes, 2);
  CHECK_EQ(h.last_seq, 9);
  s.add(run_finished{run_status::failed, "loop", nullptr}, "", "");
  h = s.run();
  CHECK(h.ended);
  CHECK_EQ(h.end.reason, "loop");
}

TROUPE_TEST("owned time is summed over the owners, and time between them does not count") {
  script s;
  s.add(run_started{.budget = {{}, std::chrono::milliseconds(1000), {}}}, "", "").add(task_started{}); // 1 s
  CHECK_EQ(s.run().owned_ms, 1000);
  s.add(run_resumed{.owned_before_ms = 1000, .added_money = usd{5}, .added_time_ms = 500}, "", "", 9'000'000'000);
  CHECK_EQ(s.run().owned_ms, 1000);
  CHECK_EQ(s.run().budget.time->count(), 1500);
  CHECK(!s.run().budget.money.has_value()); // no limit stays no limit
  s.add(message_injected{}, "t", "a", 250'000).add(message_injected{}, "t", "a", -50'000'000);
  CHECK_EQ(s.run().owned_ms, 1250);
}

TROUPE_TEST("taking a run up again without getting anywhere is counted, until something new is recorded") {
  script s;
  s.add(run_started{}, "", "");
  CHECK_EQ(s.run().idle_resumes, 0);
  s.add(run_resumed{}, "", "")
      .add(outcome_unknown{.id = "x#1"})
      .add(run_interrupted{"SIGINT"}, "", "")
      .add(run_resumed{}, "", "")
      .add(run_resumed{}, "", "");
  CHECK_EQ(s.run().idle_resumes, 3);
  CHECK(!s.run().interrupted);
  s.add(llm_requested{.step_id = "s1"});
  CHECK_EQ(s.run().idle_resumes, 0);
}

TROUPE_TEST("paths tell what stands below what") {
  CHECK(is_within("a", "a") && is_within("a[1]", "a") && is_within("a/b", "a") && is_within("a", ""));
  CHECK(!is_within("ab", "a") && !is_within("a", "a[1]") && !is_within("b", "a"));
  CHECK_EQ(parent_path("a[1]/b"), std::string_view("a[1]"));
  CHECK_EQ(parent_path("a[1]"), std::string_view("a"));
  CHECK_EQ(parent_path("a"), std::string_view(""));
  CHECK_EQ(element_index("a/b[12]").value_or(-1), 12);
  for (const char* none : {"a", "a[1]/b", "a[]", "a[x]", "a[-1]", "a[1", "", "a[99999999999999999999]"})
    CHECK(!element_index(none).has_value());
}

TROUPE_TEST("what a resume adds is added to the limits of the run, and no limit stays none") {
  script s;
  s.add(run_started{.budget = {usd{100}, {}, 7}}, "", "");
  s.add(run_resumed{.added_money = usd{50}, .added_steps = 3}, "", "").add(run_resumed{.added_money = usd{1}, .added_steps = 1}, "", "");
  const auto budget = s.run().budget;
  CHECK_EQ(budget.money->micro, 151);
  CHECK_EQ(*budget.steps, 11);
  CHECK(!budget.time.has_value());
}

TROUPE_TEST("a task that is started with another attempt begins anew, with the same one it goes on") {
  script s;
  s.add(task_started{1}).add(answer("s1", say("one", {"c1"})));
  s.add(task_started{1});
  CHECK_EQ(s.task().steps, 1);
  s.add(task_started{2});
  CHECK_EQ(s.task().steps, 0);
  CHECK(s.task().messages.empty());
  CHECK_EQ(s.task().attempt, 2);
  // Of a sub-workflow that begins anew: the same attempt of the same path, once it had ended.
  s.add(answer("s2", say("two"))).add(task_finished{2, task_status::success, {}, {}, "two"}).add(task_started{2});
  CHECK_EQ(s.task().steps, 0);
  CHECK(!s.task().finished);
}
