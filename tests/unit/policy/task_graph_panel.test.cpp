#include "test.hpp"

#include "task_graph_driver.hpp"

TROUPE_SUITE(task_graph_panel)

using namespace troupe;
using namespace troupe::policy;
using namespace troupe::test;

namespace {

task_spec panel(std::string rule, std::string tie = "fail", std::vector<std::string> agents = {"x", "y", "z"}) {
  auto t = task("check", {}, "Is it so?");
  t.agent.clear();
  t.agents = std::move(agents);
  auto& made = t.resolve.emplace();
  made.by = std::move(rule);
  made.tie = std::move(tie);
  if (made.by == "arbiter" || made.tie == "arbiter")
    made.arbiter = "judge";
  return t;
}

/// What a process finds that takes the run up after `events` of them.
restored_state after(const run& r, std::size_t events) {
  return fold_tasks({r.journal.begin(), r.journal.begin() + static_cast<std::ptrdiff_t>(events)});
}

} // namespace

TROUPE_TEST("each agent gets the task; once a vote is sure the others are stopped, and then the task ends") {
  run r(workflow({panel("vote"), task("then", {}, "{{ tasks.check.output }}")}));
  CHECK_EQ(r.start(), (lines{"record check started#1", "record check(x) started#1", "start check(x)#1", "record check(y) started#1",
                             "start check(y)#1", "record check(z) started#1", "start check(z)#1"}));
  CHECK_EQ(r.succeeds("check(y)", 7), (lines{"record check(y) success"}));
  CHECK_EQ(r.succeeds("check(z)", 7), (lines{"record check(z) success", "record check success by vote: y", "cancel check(x) if harmless"}));
  CHECK_EQ(r.graph.running(), (std::vector<std::string>{"check(x)"}));
  CHECK_EQ(r.fails("check(x)", task_status::cancelled),
           (lines{"record check(x) cancelled decided", "record check success", "record then started#1", "start then#1"}));
  CHECK_EQ(r.instruction("then"), "7");
}

TROUPE_TEST("one that was not stopped, since its tools have effects, changes nothing any more") {
  run r(workflow({panel("vote")}));
  r.start();
  r.succeeds("check(x)", 7);
  r.succeeds("check(y)", 7);
  CHECK_EQ(r.succeeds("check(z)", 8), (lines{"record check(z) success", "record check success", "finish completed 7"}));
}

TROUPE_TEST("an arbiter is a task of its own; it is told the answers, and whose contracts hold") {
  run r(workflow({panel("vote", "arbiter")}), {}, "run-1");
  r.start();
  r.succeeds("check(x)", 1);
  r.succeeds("check(y)", 2);
  CHECK_EQ(r.succeeds("check(z)", 3), (lines{"record check(z) success", "record check differ, arbiter decides: judge",
                                             "record check(:arbiter) started#1", "start check(:arbiter)#1"}));
  const auto& order = std::get<start_task>(r.last.back());
  CHECK_EQ(order.agent, "judge");
  CHECK_EQ(order.arbitrates.size(), 3);
  CHECK(order.instruction.find("\"Is it so?\"") != std::string::npos);
  const auto first = order.instruction.find("\"number\":1");
  const auto line = order.instruction.substr(order.instruction.rfind('\n', first) + 1, 12);
  CHECK_EQ(r.succeeds("check(:arbiter)", {{"choice", 1}}).back(), std::string("finish completed ") + line[10]);
}

TROUPE_TEST("a human is asked where the rule says so, and who answered what stands there") {
  run r(workflow({panel("human", "fail", {"x", "y"})}), {}, "run-1");
  r.start();
  r.succeeds("check(x)", 1);
  CHECK_EQ(r.succeeds("check(y)", 2), (lines{"record check(y) success", "record check differ, human decides",
                                             "record check(:human) started#1", "ask check(:human)#1"}));
  CHECK_EQ(std::get<ask_human>(r.last.back()).answers.size(), 2);
  CHECK_EQ(r.succeeds("check(:human)", {{"answer", "neither"}}), (lines{"record check(:human) success", "record check success by human",
                                                                        "record check success", "finish completed \"neither\""}));
}

TROUPE_TEST("the first that holds wins; all of its rivals are stopped") {
  run r(workflow({panel("first")}));
  r.start();
  CHECK_EQ(r.fails("check(x)"), (lines{"record check(x) error broken"}));
  CHECK_EQ(r.succeeds("check(z)", 3),
           (lines{"record check(z) success", "record check success by first: z", "cancel check(y) if harmless"}));
  CHECK_EQ(r.fails("check(y)", task_status::cancelled).back(), "finish completed 3");
}

TROUPE_TEST("a conflict is a failed task, which may be tried again with all of its agents") {
  auto t = panel("vote", "fail", {"x", "y"});
  t.attempts = 2;
  run r(workflow({t}));
  r.start();
  r.succeeds("check(x)", 1);
  CHECK_EQ(r.succeeds("check(y)", 2),
           (lines{"record check(y) success", "record check conflict by vote", "record check retried#2", "record check started#2",
                  "record check(x) started#2", "start check(x)#2", "record check(y) started#2", "start check(y)#2"}));
  CHECK_EQ(r.instruction("check(x)"), std::string("Is it so?\n\n") + next_attempt_words);
  r.succeeds("check(x)", 1);
  CHECK_EQ(r.succeeds("check(y)", 2),
           (lines{"record check(y) success", "record check conflict by vote", "record check conflict conflict", "finish failed conflict"}));
}

TROUPE_TEST("elements of a for_each have their own panels") {
  auto t = panel("vote", "fail", {"x", "y"});
  t.for_each = "{{ input.l }}";
  t.instruction = "about {{ item }}";
  t.parallel = 1;
  run r(workflow({t}));
  r.start({{"l", {"p", "q"}}});
  CHECK_EQ(r.instruction("check[0](y)"), "about p");
  r.succeeds("check[0](x)", 1);
  CHECK_EQ(r.succeeds("check[0](y)", 1), (lines{"record check[0](y) success", "record check[0] success by vote: x",
                                                "record check[0] success", "record check[1] started#1", "record check[1](x) started#1",
                                                "start check[1](x)#1", "record check[1](y) started#1", "start check[1](y)#1"}));
  r.succeeds("check[1](x)", 2);
  CHECK_EQ(r.succeeds("check[1](y)", 2).back(), "finish completed [1,2]");
}

TROUPE_TEST("templates read the run's state when a task starts, and a task that is taken up keeps its words") {
  const auto make = [] { return workflow({task("a", {}, "{{ state.n }}"), task("b", {"a"}, "{{ state.n }}")}, "{{ state.n }}"); };
  json state{{"n", 1}};
  run r(make());
  r.graph.read_state([&] { return state; });
  r.start();
  CHECK_EQ(r.instruction("a"), "1");
  state["n"] = 2;
  r.succeeds("a");
  CHECK_EQ(r.instruction("b"), "2");
  state["n"] = 3;
  run again(make());
  again.graph.read_state([&] { return state; });
  again.start({}, fold_tasks(r.journal));
  CHECK_EQ(again.instruction("b"), "2");
  again.succeeds("b");
  CHECK_EQ(line_of(again.last.back()), "finish completed 3");
}

TROUPE_TEST("an abort stops all who are at work; a run that is resumed goes on with those that had not answered") {
  run r(workflow({panel("vote", "arbiter")}));
  r.start();
  r.succeeds("check(x)", 1);
  CHECK_EQ(r.take(r.graph.abort(abort_reason::cancelled)), (lines{"cancel check(y)", "cancel check(z)"}));
  r.fails("check(y)", task_status::cancelled);
  CHECK_EQ(r.fails("check(z)", task_status::cancelled),
           (lines{"record check(z) cancelled cancelled", "record check cancelled cancelled", "finish aborted cancelled"}));
  run again(workflow({panel("vote", "arbiter")}));
  CHECK_EQ(again.start({}, fold_tasks(r.journal)), (lines{"start check(y)#1 resumed", "start check(z)#1 resumed"}));
  again.succeeds("check(y)", 2);
  CHECK_EQ(again.succeeds("check(z)", 1),
           (lines{"record check(z) success", "record check success by vote: x", "record check success", "finish completed 1"}));
}

TROUPE_TEST("who was stopped by an abort has not voted: the task is unfinished, not a conflict") {
  run r(workflow({panel("vote")}));
  r.start();
  r.succeeds("check(x)", 1);
  r.take(r.graph.abort(abort_reason::cancelled));
  r.fails("check(y)", task_status::cancelled);
  CHECK_EQ(r.fails("check(z)", task_status::cancelled),
           (lines{"record check(z) cancelled cancelled", "record check cancelled cancelled", "finish aborted cancelled"}));
}

TROUPE_TEST("an arbiter that failed before a kill is asked anew by the next attempt") {
  auto t = panel("arbiter", "fail", {"x", "y"});
  t.attempts = 2;
  run r(workflow({t}));
  r.start();
  r.succeeds("check(x)", 1);
  r.succeeds("check(y)", 2);
  r.note("check(:arbiter)", task_finished{1, task_status::error, "broken", "it broke", nullptr}); // then it was killed
  run again(workflow({t}));
  CHECK_EQ(again.start({}, fold_tasks(r.journal)),
           (lines{"record check conflict by arbiter", "record check retried#2", "record check started#2", "record check(x) started#2",
                  "start check(x)#2", "record check(y) started#2", "start check(y)#2"}));
  again.succeeds("check(x)", 1);
  CHECK_EQ(again.succeeds("check(y)", 2), (lines{"record check(y) success", "record check differ, arbiter decides: judge",
                                                 "record check(:arbiter) started#2", "start check(:arbiter)#2"}));
}

TROUPE_TEST("within the grace of an abort a vote may still come to its end, but nobody new is asked") {
  run r(workflow({panel("vote", "arbiter")}));
  r.start();
  r.succeeds("check(x)", 1);
  r.take(r.graph.abort(abort_reason::budget_exceeded));
  r.succeeds("check(y)", 2);
  CHECK_EQ(r.succeeds("check(z)", 3),
           (lines{"record check(z) success", "record check budget_exceeded budget_exceeded", "finish aborted budget_exceeded"}));
  run again(workflow({panel("vote", "arbiter")}));
  CHECK_EQ(again.start({}, fold_tasks(r.journal)),
           (lines{"record check differ, arbiter decides: judge", "record check(:arbiter) started#1", "start check(:arbiter)#1"}));
}

TROUPE_TEST("a run whose process died after any event comes to the same end, and nobody who answered is asked again") {
  struct row {
    const char* name;
    task_spec task;
    std::vector<json> answers;
  };
  const row rows[] = {
      {"a vote", panel("vote"), {1, 1, 2}},
      {"a vote without a winner", panel("vote"), {1, 2, 3}},
      {"a tie that an arbiter breaks", panel("vote", "arbiter"), {1, 2, 3}},
      {"a tie that a human breaks", panel("vote", "human"), {1, 2, 3}},
      {"a race", panel("first"), {1, 2, 3}},
      {"an arbiter without work", panel("arbiter"), {1, 1, 1}},
  };
  for (const auto& row : rows) {
    IN_ROW(row.name);
    const std::map<std::string, json> said{{"check(x)", row.answers[0]},
                                           {"check(y)", row.answers[1]},
                                           {"check(z)", row.answers[2]},
                                           {"check(:arbiter)", {{"answer", 9}}},
                                           {"check(:human)", {{"choice", 1}}}};
    // Everybody answers in the order of their paths' ends, as a race would have it: z, y, x.
    const auto drive = [&](run& r) {
      while (!r.graph.finished()) {
        const auto who = r.graph.running().back();
        r.succeeds(who, said.at(who));
      }
    };
    run whole(workflow({row.task}), {}, "run-1");
    whole.start();
    drive(whole);
    const auto end = lines{line_of(whole.last.back())}.back();
    for (std::size_t cut = 0; cut < whole.journal.size(); ++cut) {
      run again(workflow({row.task}), {}, "run-1");
      again.journal.assign(whole.journal.begin(), whole.journal.begin() + static_cast<std::ptrdiff_t>(cut));
      again.start({}, after(whole, cut));
      drive(again);
      CHECK_EQ(line_of(again.last.back()), end);
      std::map<std::string, int> finished, decided;
      for (const auto& e : again.journal) {
        finished[e->task] += std::holds_alternative<task_finished>(e->body) ? 1 : 0;
        decided[e->task] += std::holds_alternative<answers_resolved>(e->body) || std::holds_alternative<answers_differ>(e->body) ? 1 : 0;
      }
      for (const auto& [path, times] : finished)
        CHECK(times <= 1);
      CHECK(decided["check"] <= 2);
    }
  }
}
