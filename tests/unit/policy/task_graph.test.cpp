#include "test.hpp"

#include "task_graph_driver.hpp"

TROUPE_SUITE(task_graph)

using namespace troupe;
using namespace troupe::policy;
using namespace troupe::test;

namespace {

task_spec with(task_spec t, void (*change)(task_spec&)) {
  change(t);
  return t;
}
task_spec each(std::string id, std::string over, std::int64_t parallel = 8) {
  auto t = task(std::move(id), {}, "about {{ item }} at {{ index }}");
  t.for_each = std::move(over);
  t.parallel = parallel;
  return t;
}

} // namespace

TROUPE_TEST("a workflow that cannot run is refused, and the error says why and where") {
  struct row {
    const char* name;
    workflow_spec w;
    const char* where;
    const char* message;
  };
  const row rows[] = {
      {"a need that is no task", workflow({task("a", {"b"})}), "w/a", "it needs \"b\", but there is no task of that name"},
      {"a template that reads no task", workflow({task("a", {}, "{{ tasks.zz.output }}")}), "w/a",
       "it needs \"zz\", but there is no task of that name"},
      {"needing oneself", workflow({task("a", {}, "{{ tasks.a.output }}")}), "w", "tasks need each other in a cycle: a -> a"},
      {"a cycle, one half of it implied by a template", workflow({task("x"), task("a", {"b"}), task("b", {}, "{{ tasks.a.output }}")}), "w",
       "tasks need each other in a cycle: b -> a -> b"},
      {"two tasks of one id", workflow({task("a"), task("a")}), "w/a", "two tasks have the id \"a\""},
      {"a task without an id", workflow({task("")}), "w", "task 1 has no id"},
      {"a task that names no agent", workflow({with(task("a"), [](task_spec& t) { t.agent.clear(); })}), "w/a",
       "a task names exactly one of `agent`, `agents`, `workflow`"},
      {"a task that names agent and workflow", workflow({with(task("a"), [](task_spec& t) { t.workflow = "v"; })}), "w/a",
       "a task names exactly one of `agent`, `agents`, `workflow`"},
      {"a result that reads no task", workflow({task("a")}, "{{ tasks.b.output }}"), "w", "result: there is no task \"b\""},
  };
  for (const auto& r : rows) {
    IN_ROW(r.name);
    auto graph = task_graph::create(r.w);
    REQUIRE(!graph.has_value());
    CHECK_EQ(graph.error().where, r.where);
    CHECK_EQ(graph.error().message, r.message);
  }
  auto bad_text = workflow({task("a", {}, "{{ unclosed")});
  CHECK(!task_graph::create(bad_text).has_value());
  auto bad_schema = workflow({task("a"), with(task("b"), [](task_spec& t) { t.when = when_spec{"a", json{{"type", 7}}}; })});
  CHECK(!task_graph::create(bad_schema).has_value());
}

TROUPE_TEST("a workflow without tasks is completed at once") {
  run r(workflow({}));
  CHECK_EQ(r.start(), (lines{"finish completed"}));
  CHECK(r.graph.finished());
}

TROUPE_TEST("tasks start once all that they need has ended, what is needed implicitly included, and the event comes before the start") {
  run r(workflow({task("a"), task("b"), task("c", {"a"}, "see {{ tasks.b.output }}")}));
  CHECK_EQ(r.start(), (lines{"record a started#1", "start a#1", "record b started#1", "start b#1"}));
  CHECK_EQ(r.succeeds("a"), (lines{"record a success"}));
  CHECK_EQ(r.succeeds("b", "seen"), (lines{"record b success", "record c started#1", "start c#1"}));
  CHECK_EQ(r.instruction("c"), "see seen");
  CHECK_EQ(r.succeeds("c", 7), (lines{"record c success", "finish completed 7"}));
  CHECK_EQ(r.graph.total_tasks(), 3);
  CHECK_EQ(r.graph.completed_tasks(), 3);
}

TROUPE_TEST("the result is its template's value, without one the last task's output") {
  run templated(workflow({task("a"), task("b")}, "{{ tasks.a.output }}"));
  templated.start();
  templated.succeeds("a", json{{"x", 1}});
  CHECK_EQ(templated.succeeds("b").back(), "finish completed {\"x\":1}");
  run last(workflow({task("a"), task("b")}));
  last.start();
  last.succeeds("b", "B");
  CHECK_EQ(last.succeeds("a", "A").back(), "finish completed \"B\"");
}

TROUPE_TEST("templates read the run's input") {
  run r(workflow({task("a", {}, "Collect {{ input.topic }}.")}));
  r.start({{"topic", "rain"}});
  CHECK_EQ(r.instruction("a"), "Collect rain.");
}

TROUPE_TEST("a condition that does not hold skips the task, and who needs it runs without its output") {
  const auto w = workflow({task("a"),
                           with(task("b"),
                                [](task_spec& t) {
                                  t.when = when_spec{"a", json{{"required", {"facts"}}}};
                                }),
                           task("c", {}, "[{{ tasks.b.output }}]")});
  run skipped(w);
  CHECK_EQ(skipped.start(), (lines{"record a started#1", "start a#1"}));
  CHECK_EQ(skipped.succeeds("a", json::object()), (lines{"record a success", "record b skipped", "record c started#1", "start c#1"}));
  CHECK_EQ(skipped.instruction("c"), "[]");
  CHECK_EQ(skipped.succeeds("c").back(), "finish completed");
  CHECK_EQ(skipped.graph.completed_tasks(), 3);
  run held(w);
  held.start();
  CHECK_EQ(held.succeeds("a", {{"facts", 1}}), (lines{"record a success", "record b started#1", "start b#1"}));
}

TROUPE_TEST("a long chain of skipped tasks ends at once and needs no stack") {
  std::vector<task_spec> tasks{task("t0")};
  for (int n = 1; n < 10'000; ++n) {
    auto t = task("t" + std::to_string(n), {"t" + std::to_string(n - 1)});
    t.when = when_spec{"t0", json(false)};
    tasks.push_back(t);
  }
  run r(workflow(std::move(tasks)));
  r.start();
  CHECK_EQ(r.succeeds("t0").back(), "finish completed");
}

// --- for_each ------------------------------------------------------------------------------------------------------

TROUPE_TEST("a for_each starts at most `parallel` items, in order, and its output is theirs in order") {
  run r(workflow({task("a"), each("b", "{{ tasks.a.output }}", 2)}));
  r.start();
  CHECK_EQ(r.succeeds("a", {"x", "y", "z"}), (lines{"record a success", "record b started items=3", "record b[0] started#1", "start b[0]#1",
                                                    "record b[1] started#1", "start b[1]#1"}));
  CHECK_EQ(r.instruction("b[1]"), "about y at 1");
  CHECK_EQ(r.succeeds("b[1]", 11), (lines{"record b[1] success", "record b[2] started#1", "start b[2]#1"}));
  CHECK_EQ(r.graph.running(), (std::vector<std::string>{"b[0]", "b[2]"}));
  r.succeeds("b[2]", 12);
  CHECK_EQ(r.succeeds("b[0]", 10), (lines{"record b[0] success", "record b success", "finish completed [10,11,12]"}));
}

TROUPE_TEST("a table of arrays: what is no array is an error, an empty one a success, a too long one an error") {
  struct row {
    const char* name;
    json input;
    std::string ends;
    std::string status;
  };
  const row rows[] = {
      {"absent", json::object(), "finish failed for_each", "record b error for_each"},
      {"a string", {{"list", "abc"}}, "finish failed for_each", "record b error for_each"},
      {"an object", {{"list", json::object()}}, "finish failed for_each", "record b error for_each"},
      {"an empty array", {{"list", json::array()}}, "finish completed []", "record b success"},
      {"10,001 elements", {{"list", json(std::vector<int>(10'001))}}, "finish failed for_each", "record b error for_each"},
  };
  for (const auto& w : rows) {
    IN_ROW(w.name);
    run r(workflow({each("b", "{{ input.list }}")}));
    const auto out = r.start(w.input);
    CHECK_EQ(out.back(), w.ends);
    CHECK(std::count(out.begin(), out.end(), w.status) == 1);
  }
  run r(workflow({each("b", "{{ input.list }}", 100'000)}));
  CHECK_EQ(r.start({{"list", json(std::vector<int>(10'000))}}).size(), 20'001u);
}

TROUPE_TEST("an item that fails stops further items, those that run go on, and the task ends with the first failed item's status") {
  run r(workflow({each("b", "{{ input.l }}", 2)}));
  r.start({{"l", {1, 2, 3, 4}}});
  CHECK_EQ(r.fails("b[1]", task_status::quality_failed, "contract"), (lines{"record b[1] quality_failed contract"}));
  CHECK_EQ(r.succeeds("b[0]", "ok"), (lines{"record b[0] success", "record b quality_failed contract", "finish failed contract"}));
}

TROUPE_TEST("with on_failure: continue all items run, and the output has null for those that failed") {
  run r(workflow({with(each("b", "{{ input.l }}", 1), [](task_spec& t) { t.on_failure = on_failure_type::resume; }),
                  task("c", {}, "{{ tasks.b.output }}")}));
  r.start({{"l", {1, 2, 3}}});
  r.succeeds("b[0]", 10);
  CHECK_EQ(r.fails("b[1]"), (lines{"record b[1] error broken", "record b[2] started#1", "start b[2]#1"}));
  CHECK_EQ(r.succeeds("b[2]", 12), (lines{"record b[2] success", "record b error broken", "record c started#1", "start c#1"}));
  CHECK_EQ(r.instruction("c"), "[10,null,12]");
  CHECK_EQ(r.succeeds("c").back(), "finish completed");
}

TROUPE_TEST("items have their own attempts") {
  run r(workflow({with(each("b", "{{ input.l }}", 1), [](task_spec& t) { t.attempts = 2; })}));
  r.start({{"l", {1, 2}}});
  CHECK_EQ(r.fails("b[0]"), (lines{"record b[0] retried#2", "record b[0] started#2", "start b[0]#2"}));
  CHECK_EQ(r.instruction("b[0]"), "about 1 at 0\n\nPrevious attempt failed. Try a different approach.");
  r.succeeds("b[0]");
  CHECK_EQ(r.fails("b[1]"), (lines{"record b[1] retried#2", "record b[1] started#2", "start b[1]#2"}));
}

// --- attempts and failures -----------------------------------------------------------------------------------------

TROUPE_TEST("a table of failures: which are tried again") {
  struct row {
    const char* name;
    task_status status;
    bool fatal;
    bool again;
  };
  const row rows[] = {
      {"an error is tried again", task_status::error, false, true},
      {"an LLM error that is fatal for the task is not", task_status::error, true, false},
      {"a time-out is tried again", task_status::timeout, false, true},
      {"used-up tool retries are tried again", task_status::max_retries, false, true},
      {"an output that broke its contract is tried again", task_status::quality_failed, false, true},
      {"a conflict is tried again", task_status::conflict, false, true},
      {"a used-up budget is not", task_status::budget_exceeded, false, false},
      {"a rejection is not", task_status::rejected, false, false},
      {"a loop is not", task_status::loop, false, false},
      {"a cancelled task is not", task_status::cancelled, false, false},
  };
  for (const auto& w : rows) {
    IN_ROW(w.name);
    run r(workflow({with(task("a", {}, "Do it."), [](task_spec& t) { t.attempts = 2; })}));
    r.start();
    const auto first = r.fails("a", w.status, "why", w.fatal);
    if (w.again) {
      CHECK_EQ(first, (lines{"record a retried#2", "record a started#2", "start a#2"}));
      CHECK_EQ(r.instruction("a"), "Do it.\n\nPrevious attempt failed. Try a different approach.");
      CHECK_EQ(r.fails("a", w.status, "why").back(), "finish failed why"); // never a third
    } else {
      CHECK_EQ(first.back(), "finish failed why");
    }
  }
}

TROUPE_TEST("templates read how a task ended: its status, attempts, agent, error, cost and elements") {
  const auto make = [] {
    auto bad = with(task("bad"), [](task_spec& t) {
      t.attempts = 2;
      t.on_failure = on_failure_type::resume;
    });
    auto several = task("several");
    several.agent.clear();
    several.agents = {"x", "y"};
    return workflow(
        {bad, several, each("all", "{{ input.l }}")},
        "{{ tasks.bad.status }} {{ tasks.bad.attempts }} {{ tasks.bad.agent }}: {{ tasks.bad.error }}; {{ tasks.several.agent }} "
        "{{ tasks.several.cost_usd }}; {{ tasks.all.items }}<{{ tasks.all.error }}>");
  };
  const auto costs = [](const std::string& path) { return path == "several" ? usd{1'500'000} : usd{}; };
  const std::string told = "finish completed \"error 2 worker: it broke; x 1.5; [1,2]<>\"";
  run r(make());
  r.graph.read_costs(costs);
  r.start({{"l", {1, 2}}});
  r.fails("bad");
  r.fails("bad");
  r.succeeds("several(x)", 7);
  r.succeeds("several(y)", 7);
  r.succeeds("all[0]", 1);
  CHECK_EQ(r.succeeds("all[1]", 2).back(), told);
  const auto before = std::vector<event_ptr>(r.journal.begin(), r.journal.end() - 1);
  run again(make());
  again.graph.read_costs(costs);
  CHECK_EQ(again.start({{"l", {1, 2}}}, fold_tasks(before)).back(), told);
}

TROUPE_TEST("an output that a human rejected is not asked for again") {
  run r(workflow({with(task("a"), [](task_spec& t) { t.attempts = 2; })}));
  r.start();
  CHECK_EQ(r.fails("a", task_status::quality_failed, rejected_reason).back(), "finish failed rejected");
}

TROUPE_TEST("a table of sub-workflows: the end of the failed run says why, and whether another attempt makes sense") {
  struct row {
    const char* name;
    task_status status;
    bool fatal;
    bool again;
  };
  const row rows[] = {
      {"an error", task_status::error, false, true},
      {"a fatal LLM error", task_status::error, true, false},
      {"a used-up budget", task_status::budget_exceeded, false, false},
      {"a loop", task_status::loop, true, false},
      {"a time-out", task_status::timeout, false, true},
      {"a rejection", task_status::rejected, false, false},
      {"a broken contract", task_status::quality_failed, false, true},
  };
  for (const auto& w : rows) {
    IN_ROW(w.name);
    run inner(workflow({task("a"), task("b")}), "s/");
    inner.start();
    inner.fails("s/a", w.status, "why", w.fatal);
    inner.succeeds("s/b");
    const auto end = std::get<finish_run>(inner.last.back());
    CHECK_EQ(end.cause, w.status);
    CHECK_EQ(!end.fatal, w.again);
    auto t = task("s");
    t.agent.clear();
    t.workflow = "w";
    t.attempts = 2;
    run outer(workflow({t}));
    outer.start();
    CHECK_EQ(outer.ends("s", {end.cause, end.reason, end.error, nullptr, end.fatal}).back().rfind("sub s#2", 0) == 0, w.again);
  }
}

TROUPE_TEST("a failed task cancels those that run, nothing new starts, and the run has its reason") {
  run r(workflow({task("a"), task("b"), task("c", {"b"})}));
  r.start();
  CHECK_EQ(r.fails("a", task_status::error, "llm_rate_limited"), (lines{"record a error llm_rate_limited", "cancel b"}));
  CHECK_EQ(r.ends("b", {task_status::error, "other", "late", nullptr, false}),
           (lines{"record b error other", "finish failed llm_rate_limited"}));
  CHECK(std::get<finish_run>(r.last.back()).error == "it broke");
}

TROUPE_TEST("a task that succeeds while the run fails starts nothing") {
  run r(workflow({task("a"), task("b"), task("c", {"b"})}));
  r.start();
  r.fails("a");
  CHECK_EQ(r.succeeds("b"), (lines{"record b success", "finish failed broken"}));
}

TROUPE_TEST("a failure without a reason has its status as reason") {
  run r(workflow({task("a")}));
  r.start();
  CHECK_EQ(r.fails("a", task_status::timeout, ""), (lines{"record a timeout timeout", "finish failed timeout"}));
}

TROUPE_TEST("with on_failure: continue a failed task counts as done, without output") {
  run r(workflow({with(task("a"), [](task_spec& t) { t.on_failure = on_failure_type::resume; }), task("b", {}, "<{{ tasks.a.output }}>")}));
  r.start();
  CHECK_EQ(r.ends("a", {task_status::quality_failed, "contract", "no", "half an answer", false}),
           (lines{"record a quality_failed contract", "record b started#1", "start b#1"}));
  CHECK_EQ(r.instruction("b"), "<>");
  CHECK_EQ(r.succeeds("b").back(), "finish completed");
  CHECK_EQ(r.graph.completed_tasks(), 1);
}

TROUPE_TEST("late, repeated and unknown outcomes are ignored") {
  run r(workflow({with(task("a"), [](task_spec& t) { t.attempts = 2; }), each("b", "{{ input.l }}")}));
  r.start({{"l", {1}}});
  r.fails("a");
  CHECK(r.graph.task_ended("a", 1, {}).empty()); // of the first attempt
  r.succeeds("a");
  for (const char* path : {"a", "b", "b[1]", "b[99999999999999999999]", "b[", "b[]", "b[-1]", "[0]", "nobody", ""})
    CHECK(r.graph.task_ended(path, 2, {}).empty());
}

// --- sub-workflows -------------------------------------------------------------------------------------------------

TROUPE_TEST("a sub-workflow gets its input from `with`, whose strings are templates at any depth") {
  auto t = task("archive", {"a"});
  t.agent.clear();
  t.workflow = "store";
  t.with = {{"text", "{{ tasks.a.output }}"}, {"more", json{{"n", 3}, {"l", {"<{{ input.x }}>", nullptr}}}}};
  run r(workflow({task("a"), t}));
  r.start({{"x", "X"}});
  CHECK_EQ(r.succeeds("a", json{{"k", 1}}).back(), "sub archive#1 store {\"more\":{\"l\":[\"<X>\",null],\"n\":3},\"text\":{\"k\":1}}");
  CHECK_EQ(r.succeeds("archive", "stored").back(), "finish completed \"stored\"");
}

TROUPE_TEST("a sub-workflow's paths have its prefix, and outcomes without it are not its own") {
  run r(workflow({task("publish")}), "archive/");
  CHECK_EQ(r.start(), (lines{"record archive/publish started#1", "start archive/publish#1"}));
  CHECK(r.graph.task_ended("publish", 1, {}).empty());
  CHECK_EQ(r.succeeds("archive/publish").back(), "finish completed");
}

// --- aborts --------------------------------------------------------------------------------------------------------

TROUPE_TEST("a table of aborts: running tasks are cancelled, and the run and they have the abort's reason") {
  struct row {
    abort_reason reason;
    const char* cancel;
    const char* record;
    const char* finish;
  };
  const row rows[] = {
      {abort_reason::budget_exceeded, "cancel a in 5000", "record a budget_exceeded budget_exceeded", "finish aborted budget_exceeded"},
      {abort_reason::timeout, "cancel a", "record a timeout timeout", "finish aborted timeout"},
      {abort_reason::cancelled, "cancel a", "record a cancelled cancelled", "finish aborted cancelled"},
  };
  for (const auto& w : rows) {
    run r(workflow({with(task("a"), [](task_spec& t) { t.attempts = 3; }), task("b", {"a"})}));
    r.start();
    CHECK_EQ(r.take(r.graph.abort(w.reason)), (lines{w.cancel}));
    CHECK_EQ(r.fails("a", task_status::cancelled, ""), (lines{w.record, w.finish}));
  }
}

TROUPE_TEST("what a call in flight reaches within the grace counts, and nothing starts after it") {
  run r(workflow({task("a"), task("b", {"a"})}));
  r.start();
  r.graph.abort(abort_reason::budget_exceeded);
  CHECK_EQ(r.succeeds("a", 1), (lines{"record a success", "finish aborted budget_exceeded"}));
  CHECK_EQ(r.graph.completed_tasks(), 1);
}

TROUPE_TEST("what fails within the grace, and has attempts left, makes the next one when the run is resumed") {
  struct row {
    const char* name;
    std::int64_t attempts;
    task_status status;
    lines ended, resumed;
  };
  for (const auto& each : {row{"it has",
                               3,
                               task_status::quality_failed,
                               {"record a budget_exceeded budget_exceeded", "finish aborted budget_exceeded"},
                               {"start a#1 resumed"}},
                           row{"it has none",
                               1,
                               task_status::quality_failed,
                               {"record a quality_failed quality_failed", "finish aborted budget_exceeded"},
                               {"finish failed quality_failed"}},
                           row{"its failure lets none be made",
                               3,
                               task_status::loop,
                               {"record a loop loop", "finish aborted budget_exceeded"},
                               {"finish failed loop"}}}) {
    IN_ROW(each.name);
    auto tried = task("a");
    tried.attempts = each.attempts;
    auto w = workflow({tried});
    run first(w);
    first.start({});
    first.graph.abort(abort_reason::budget_exceeded);
    CHECK_EQ(first.fails("a", each.status, name_of(each.status)), each.ended);
    first.note({}, run_finished{run_status::aborted, "budget_exceeded", nullptr});
    run second(w);
    CHECK_EQ(second.start({}, fold_tasks(first.journal)), each.resumed);
  }
}

TROUPE_TEST("an aborted for_each starts no further item and keeps what it has") {
  run r(workflow({each("b", "{{ input.l }}", 1)}));
  r.start({{"l", {1, 2, 3}}});
  r.succeeds("b[0]", 10);
  CHECK_EQ(r.take(r.graph.abort(abort_reason::budget_exceeded)), (lines{"cancel b[1] in 5000"}));
  CHECK_EQ(r.succeeds("b[1]", 11),
           (lines{"record b[1] success", "record b budget_exceeded budget_exceeded", "finish aborted budget_exceeded"}));
  for (const auto& c : r.last)
    if (const auto* e = std::get_if<record_event>(&c); e && e->path == "b")
      CHECK_EQ(std::get<task_finished>(e->body).output, json({10, 11, nullptr}));
}

TROUPE_TEST("the time that runs out during the grace ends the grace, and the first reason stands") {
  run r(workflow({task("a")}));
  r.start();
  r.graph.abort(abort_reason::budget_exceeded);
  CHECK_EQ(r.take(r.graph.abort(abort_reason::timeout)), (lines{"cancel a"}));
  CHECK(r.graph.abort(abort_reason::budget_exceeded).empty());
  CHECK_EQ(r.take(r.graph.give_up()), (lines{"record a budget_exceeded budget_exceeded", "finish aborted budget_exceeded"}));
}

TROUPE_TEST("an abort with nothing running, or before the start, ends the run at once; after its end it has no effect") {
  run r(workflow({task("a")}));
  CHECK_EQ(r.take(r.graph.abort(abort_reason::cancelled)), (lines{"finish aborted cancelled"}));
  CHECK(r.start().empty());
  CHECK(r.graph.abort(abort_reason::timeout).empty());
  CHECK(r.graph.give_up().empty());
}

TROUPE_TEST("giving up takes what still runs for cancelled, also when the run failed") {
  run r(workflow({task("a"), task("b"), task("c")}));
  r.start();
  CHECK(r.graph.give_up().empty()); // nothing is being stopped
  r.fails("a");
  CHECK_EQ(r.take(r.graph.give_up()), (lines{"record b cancelled cancelled", "record c cancelled cancelled", "finish failed broken"}));
}

// --- resume --------------------------------------------------------------------------------------------------------

TROUPE_TEST("finished tasks are not started again, unfinished ones go on with the same attempt") {
  const auto w = workflow({task("a"), with(task("b"), [](task_spec& t) { t.attempts = 3; }), task("c", {}, "{{ tasks.a.output }}")});
  run first(w);
  first.start();
  first.succeeds("a", "A");
  first.fails("b");
  run second(w);
  CHECK_EQ(second.start({}, fold_tasks(first.journal)), (lines{"start b#2 resumed", "start c#1 resumed"}));
  CHECK_EQ(second.instruction("b"), std::string(next_attempt_words)); // said once
  CHECK_EQ(second.instruction("c"), "A");
  second.succeeds("b");
  CHECK_EQ(second.succeeds("c", "C").back(), "finish completed \"C\"");
}

TROUPE_TEST("a retry that was decided but not started begins as a new attempt") {
  auto w = workflow({with(task("a"), [](task_spec& t) { t.attempts = 3; })});
  run first(w);
  first.start();
  first.note("a", task_retried{2, "why"});
  run second(w);
  CHECK_EQ(second.start({}, fold_tasks(first.journal)), (lines{"record a started#2", "start a#2"}));
}

TROUPE_TEST("a failure that was recorded fails the run that is taken up, as it would have") {
  auto w = workflow({task("a"), task("b")});
  run first(w);
  first.start();
  first.fails("b"); // a is cancelled
  first.fails("a", task_status::cancelled, "");
  for (std::size_t killed_after : {3u, 4u}) {
    run second(w);
    const std::vector<event_ptr> kept(first.journal.begin(), first.journal.begin() + killed_after);
    CHECK_EQ(second.start({}, fold_tasks(kept)), (lines{"finish failed broken"}));
    CHECK_EQ(second.graph.completed_tasks(), 0);
  }
  run both(w); // the first that failed is why, wherever it stands
  both.start();
  both.fails("b", task_status::error, "earlier");
  both.fails("a", task_status::error, "later");
  run third(w);
  CHECK_EQ(third.start({}, fold_tasks(both.journal)), (lines{"finish failed earlier"}));
}

TROUPE_TEST("a for_each that is taken up runs its unfinished items only, within `parallel`") {
  auto w = workflow({each("b", "{{ input.l }}", 2)});
  const json input{{"l", {1, 2, 3, 4, 5}}};
  run first(w);
  first.start(input);
  first.succeeds("b[1]", 11); // b[0] and b[2] run
  run second(w);
  CHECK_EQ(second.start(input, fold_tasks(first.journal)), (lines{"start b[0]#1 resumed", "start b[2]#1 resumed"}));
  CHECK_EQ(second.succeeds("b[0]", 10), (lines{"record b[0] success", "record b[3] started#1", "start b[3]#1"}));
  second.succeeds("b[2]", 12);
  second.succeeds("b[3]", 13);
  CHECK_EQ(second.succeeds("b[4]", 14).back(), "finish completed [10,11,12,13,14]");
}

TROUPE_TEST("a for_each whose items had all ended, but not itself, ends when it is taken up") {
  auto w = workflow({each("b", "{{ input.l }}")});
  const json input{{"l", {1}}};
  run first(w);
  first.start(input);
  first.succeeds("b[0]", 10);
  first.journal.resize(3); // b opened, b[0] started, b[0] finished
  run second(w);
  CHECK_EQ(second.start(input, fold_tasks(first.journal)), (lines{"record b success", "finish completed [10]"}));
}

TROUPE_TEST("a for_each with another number of elements than before is an error, not a mixture") {
  auto w = workflow({each("b", "{{ input.l }}")});
  run first(w);
  first.start({{"l", {1, 2}}});
  run second(w);
  CHECK_EQ(second.start({{"l", {1}}}, fold_tasks(first.journal)).back(), "finish failed for_each");
}

TROUPE_TEST("what an abort ended goes on when the run is resumed with more money, what had ended by itself does not") {
  auto w =
      workflow({with(task("own"), [](task_spec& t) { t.on_failure = on_failure_type::resume; }), task("a"), each("b", "{{ input.l }}", 1)});
  const json input{{"l", {1, 2}}};
  run first(w);
  first.start(input);
  first.fails("own", task_status::budget_exceeded, "budget_exceeded"); // its own limit
  first.succeeds("b[0]", 10);                                          // b[1] starts
  first.graph.abort(abort_reason::budget_exceeded);
  first.fails("a", task_status::cancelled, "");
  CHECK_EQ(first.fails("b[1]", task_status::cancelled, "").back(), "finish aborted budget_exceeded");
  run second(w);
  CHECK_EQ(second.start(input, fold_tasks(first.journal)), (lines{"start a#1 resumed", "start b[1]#1 resumed"}));
  second.succeeds("a");
  CHECK_EQ(second.succeeds("b[1]", 11).back(), "finish completed [10,11]");
}

TROUPE_TEST("a review that an agent begins before it hears of an abort hides nothing of what the abort ended") {
  for (const auto why : {abort_reason::timeout, abort_reason::cancelled}) {
    IN_ROW(name_of(why));
    auto w = workflow({task("a"), task("b")});
    run first(w);
    first.start({});
    first.note("a", task_started{1, "x", {}}, "worker");
    first.graph.abort(why);
    first.fails("b", task_status::cancelled, "");
    first.note("a/review", task_started{1, "judge", {}}, "critic");
    first.fails("a", task_status::cancelled, "");
    first.note({}, run_finished{run_status::aborted, name_of(why), nullptr});
    run second(w);
    CHECK_EQ(second.start({}, fold_tasks(first.journal)), (lines{"start a#1 resumed", "start b#1 resumed"}));
  }
}

TROUPE_TEST("a table of aborts whose process died before the run's end was recorded: what they ended is unfinished") {
  struct row {
    const char* name;
    abort_reason why;
    std::vector<event_body> noted; ///< beside the tasks' ends
    bool resumes;
  };
  const budget_refused of_run{"run", limit_kind::money, ""}, of_task{"task a", limit_kind::money, ""};
  const std::vector<row> rows{
      {"a cancelled task goes on", abort_reason::cancelled, {}, true},
      {"the run's money had run out", abort_reason::budget_exceeded, {of_run}, true},
      {"and another task began before that was known here", abort_reason::budget_exceeded, {of_run, task_started{1, {}, {}}}, true},
      {"the task's own money had run out: it has ended", abort_reason::budget_exceeded, {of_task}, false},
      {"the task's own time was up: it has ended", abort_reason::timeout, {}, false},
  };
  for (const auto& each : rows) {
    IN_ROW(each.name);
    auto w = workflow({task("a"), task("b")});
    run first(w);
    first.start({});
    for (const auto& body : each.noted)
      first.note("a", body);
    first.graph.abort(each.why);
    first.fails("a", task_status::cancelled, ""); // b has not answered yet
    run second(w);
    const auto commands = second.start({}, fold_tasks(first.journal));
    CHECK_EQ(commands.front(), std::string(each.resumes ? "start a#1 resumed" : "finish failed " + std::string(name_of(each.why))));
  }
}

TROUPE_TEST("a table of waits for humans: a task that timed out by itself has ended, unless the run's own time was up") {
  struct row {
    const char* name;
    bool pause_clock;
    std::int64_t asked_ms, decided_ms, taken_up_ms; ///< 0: not
    std::int64_t timed_out_ms;
    bool goes_on;
  };
  const std::vector<row> rows{
      {"the wait did not count", true, 1'000, 31'000, 0, 32'000, false},
      {"it goes on, and does not count", true, 1'000, 0, 0, 32'000, false},
      {"it counted: the run's time was up", false, 1'000, 31'000, 0, 32'000, true},
      {"the run's time was up in spite of it", true, 1'000, 31'000, 0, 41'000, true},
      {"what the process before has waited is not in what it used", true, 1'000, 31'000, 40'000, 41'000, false},
      {"with what that one used the run's time was up", true, 1'000, 31'000, 40'000, 49'000, true},
  };
  for (const auto& each : rows) {
    IN_ROW(each.name);
    auto w = workflow({with(task("a"), [](task_spec& t) { t.on_failure = on_failure_type::resume; }), task("b")});
    run first(w);
    run_started begun;
    begun.budget.time = std::chrono::seconds(10);
    first.note({}, begun);
    first.start({});
    const auto at = [&](std::int64_t ms, const std::string& path, event_body body) {
      first.now_us = ms * 1'000;
      if (ms > 0)
        first.note(path, std::move(body));
    };
    at(each.asked_ms, "b", approval_requested{.id = "x", .pause_clock = each.pause_clock});
    at(each.decided_ms, "b", approval_decided{.id = "x"});
    at(each.taken_up_ms, {}, run_resumed{.owned_before_ms = 2'000});
    first.now_us = each.timed_out_ms * 1'000;
    first.fails("a", task_status::timeout, "timeout", true); // nothing starts after it, and then the process dies
    run second(w);
    CHECK_EQ(second.start({}, fold_tasks(first.journal)),
             (each.goes_on ? lines{"start a#1 resumed", "start b#1 resumed"} : lines{"start b#1 resumed"}));
  }
}

TROUPE_TEST("an item that failed by itself does not hide that an abort cut its siblings short") {
  auto w = workflow({with(each("b", "{{ input.l }}", 1), [](task_spec& t) { t.on_failure = on_failure_type::resume; })});
  const json input{{"l", {1, 2, 3}}};
  run first(w);
  first.start(input);
  first.fails("b[0]");
  first.graph.abort(abort_reason::timeout);
  CHECK_EQ(first.fails("b[1]", task_status::cancelled, ""),
           (lines{"record b[1] timeout timeout", "record b timeout timeout", "finish aborted timeout"}));
  run second(w);
  CHECK_EQ(second.start(input, fold_tasks(first.journal)), (lines{"start b[1]#1 resumed"}));
}

TROUPE_TEST("items and inputs that come of shared state are those that the run began with") {
  json shared{{"todo", {"red", "green", "blue"}}, {"who", "ana"}};
  auto sub = task("sub");
  sub.agent.clear();
  sub.workflow = "inner";
  sub.with["who"] = "{{ state.who }}";
  sub.with["what"] = "{{ input.what }}";
  auto w = workflow({each("paint", "{{ state.todo }}", 1), sub});
  const auto read = [&] { return shared; };
  run first(w);
  first.graph.read_state(read);
  CHECK_EQ(first.start({{"what", 7}}), (lines{"record paint started items=3", "record paint[0] started#1", "start paint[0]#1",
                                              "record sub started#1", "sub sub#1 inner {\"what\":7,\"who\":\"ana\"}"}));
  first.succeeds("paint[0]");
  shared = {{"todo", {"x"}}, {"who", "bob"}};
  run second(w);
  second.graph.read_state(read);
  CHECK_EQ(second.start({{"what", 7}}, fold_tasks(first.journal)),
           (lines{"start paint[1]#1 resumed", "sub sub#1 inner {\"what\":7,\"who\":\"ana\"} resumed"}));
  CHECK_EQ(second.succeeds("paint[1]"), (lines{"record paint[1] success", "record paint[2] started#1", "start paint[2]#1"}));
}

TROUPE_TEST("what does not come of shared state is not stored once more") {
  run r(workflow({each("paint", "{{ input.list }}", 1)}));
  r.start({{"list", {1, 2}}});
  for (const auto& e : r.journal)
    if (const auto* begun = std::get_if<task_started>(&e->body))
      CHECK(begun->given.is_null());
}

TROUPE_TEST("what the run's limit has ended goes on, though another task began before that was known") {
  auto w = workflow({task("a"), task("b"), task("c")});
  run first(w);
  first.start();
  first.note("a", budget_refused{.scope = "run"});
  first.note("a", task_finished{1, task_status::budget_exceeded, "budget_exceeded", {}, {}});
  first.note("b>helper#1", task_started{1, "help"});
  first.note("b>helper#1", task_finished{});
  first.note("b", task_finished{1, task_status::budget_exceeded, "budget_exceeded", {}, {}});
  first.note({}, run_finished{run_status::aborted, "budget_exceeded", nullptr});
  run second(w);
  CHECK_EQ(second.start({}, fold_tasks(first.journal)), (lines{"start a#1 resumed", "start b#1 resumed", "start c#1 resumed"}));
}

TROUPE_TEST("items at work when another one failed go on after a change of owners, and no further one begins") {
  const auto w = workflow({each("b", "{{ input.l }}", 3)});
  const json input{{"l", {1, 2, 3, 4}}};
  run first(w);
  first.start(input);
  CHECK_EQ(first.fails("b[0]"), (lines{"record b[0] error broken"}));
  run second(w);
  CHECK_EQ(second.start(input, fold_tasks(first.journal)), (lines{"start b[1]#1 resumed", "start b[2]#1 resumed"}));
  CHECK_EQ(second.succeeds("b[1]"), (lines{"record b[1] success"}));
  CHECK_EQ(second.succeeds("b[2]"), (lines{"record b[2] success", "record b error broken", "finish failed broken"}));
}

TROUPE_TEST("a sub-workflow's new attempt starts all of its tasks anew") {
  run r(workflow({task("x")}));
  r.note("archive", task_started{1, {}, {}});
  r.note("archive/publish", task_started{1, {}, {}});
  r.note("archive/publish", task_finished{1, task_status::error, {}, {}, {}});
  r.note("archive", task_retried{2, {}});
  const auto state = fold_tasks(r.journal);
  CHECK_EQ(state.size(), 1u);
  CHECK_EQ(state.at("archive").attempt, 2);
  CHECK(!state.at("archive").started);
}

TROUPE_TEST("what is started in another attempt of the tasks above is named after it, and goes on under the name that it has") {
  const auto w = workflow({with(task("a"),
                                [](task_spec& t) {
                                  t.agent.clear();
                                  t.agents = {"x", "y"};
                                }),
                           task("b")});
  const auto names = [](const run& r) {
    std::map<std::string, std::string> found;
    for (const auto& command : r.last)
      if (const auto* s = std::get_if<start_task>(&command))
        found[s->path] = s->within;
    return found;
  };
  const std::map<std::string, std::string> named{{"sub/a(x)", "sub@2/"}, {"sub/a(y)", "sub@2/"}, {"sub/b", "sub@2/"}};
  run first(w, "sub/");
  first.graph.belongs_to("sub@2/");
  first.start();
  CHECK_EQ(names(first), named);
  for (const auto& e : first.journal)
    CHECK_EQ(std::get<task_started>(e->body).within.value_or(""), "sub@2/");
  run second(w, "sub/");
  second.graph.belongs_to("sub@2/");
  second.start({}, fold_tasks(first.journal));
  CHECK_EQ(names(second), named);
  // As it was recorded before there were such names.
  run old(w, "sub/");
  old.start();
  for (const auto& e : old.journal)
    CHECK(!to_document(std::get<task_started>(e->body)).contains("within"));
  run third(w, "sub/");
  third.graph.belongs_to("sub@2/");
  third.start({}, fold_tasks(old.journal));
  CHECK_EQ(names(third), (std::map<std::string, std::string>{{"sub/a(x)", ""}, {"sub/a(y)", ""}, {"sub/b", ""}}));
}

TROUPE_TEST("a failure that was fatal is not tried again after a resume either; an older journal does not tell") {
  struct row {
    const char* name;
    workflow_spec w;
    const char* before; // fails for good before the process dies
    const char* after;  // so does this one after the resume; empty: what was before is enough
  };
  const auto several = with(task("a"), [](task_spec& t) {
    t.agent.clear();
    t.agents = {"x", "y"};
    t.resolve = resolve_spec{.by = "first", .tie = "fail"};
  });
  const row rows[] = {
      {"of several agents", workflow({several}), "a(x)", "a(y)"},
      {"an element of a list", workflow({each("a", "{{ input.l }}")}), "a[0]", "a[1]"},
      {"a task while the others are stopped", workflow({task("a"), task("b")}), "a", ""},
  };
  const json input{{"l", {1, 2}}};
  for (const auto& r : rows)
    for (const bool older : {false, true}) {
      IN_ROW((std::string(r.name) + (older ? ", as it was recorded before" : "")).c_str());
      run first(r.w);
      first.start(input);
      first.fails(r.before, task_status::error, "broken", true);
      if (older)
        for (auto& e : first.journal)
          if (const auto* end = std::get_if<task_finished>(&e->body)) {
            auto row = to_document(*end);
            row.erase("fatal");
            auto copy = *e;
            copy.body = from_document<task_finished>(row).value();
            e = std::make_shared<const event>(std::move(copy));
          }
      run second(r.w);
      second.start(input, fold_tasks(first.journal));
      if (*r.after != '\0')
        second.fails(r.after, task_status::error, "broken", true);
      REQUIRE(!second.last.empty());
      const auto* end = std::get_if<finish_run>(&second.last.back());
      REQUIRE(end != nullptr);
      CHECK_EQ(end->fatal, !older);
    }
}

TROUPE_TEST("of several elements that fail the first in the list is told, in whichever order they end") {
  run r(workflow({with(each("a", "{{ input.l }}"), [](task_spec& t) { t.on_failure = on_failure_type::resume; })}));
  r.start({{"l", {1, 2, 3}}});
  r.fails("a[1]", task_status::error, "second");
  r.fails("a[0]", task_status::error, "first");
  r.fails("a[2]", task_status::error, "third");
  const auto& end = std::get<task_finished>(r.journal[r.journal.size() - 2]->body);
  CHECK_EQ(end.reason, "first");
  CHECK(end.error.rfind("item 0: ", 0) == 0);
}

TROUPE_TEST("what an abort cut short begins again, and what it never started is not taken for started") {
  run first(workflow({task("a"), task("b")}));
  first.start();
  first.take(first.graph.abort(abort_reason::cancelled));
  first.fails("a", task_status::cancelled, "cancelled");
  first.fails("b", task_status::cancelled, "cancelled");
  run second(workflow({task("a"), task("b")}));
  CHECK_EQ(second.start({}, fold_tasks(first.journal)), (lines{"start a#1 resumed", "start b#1 resumed"}));

  run third(workflow({task("a"), each("b", "{{ tasks.a.output.nothing }}")}));
  third.start();
  third.succeeds("a");
  const auto folded = fold_tasks(third.journal);
  CHECK(folded.at("a").started);
  CHECK(!folded.at("b").started); // it ended without a start
}
