#include "troupe/model/described.hpp"
#include "troupe/policy/loop_watch.hpp"

#include "test.hpp"

TROUPE_SUITE(loop_detector)

using namespace troupe;
using namespace troupe::policy;

namespace {

observed_call reading(std::uint64_t sign, std::uint64_t tool = 1) {
  return {sign, tool, true, false};
}
observed_call writing(std::uint64_t sign, std::uint64_t tool = 2) {
  return {sign, tool, false, false};
}
observed_call asking(std::uint64_t sign, std::uint64_t tool = 5) { // an agent that can change nothing
  return {sign, tool, false, false, true};
}
observed_result came(std::uint64_t outcome) {
  return {outcome, true, true, false};
}
constexpr observed_result failed{99, false, true, false};
constexpr observed_result refused{98, false, false, false};

/// One call, its outcome, and what was found.
std::optional<loop_found> play(loop_detector& d, const observed_call& asked, const observed_result& result) {
  d.begin_step();
  if (auto found = d.call(asked))
    return found;
  return d.result(0, result);
}

} // namespace

TROUPE_TEST("the third same call is found, not the second, and the count goes on") {
  loop_detector d;
  CHECK(!play(d, reading(7), came(1)));
  CHECK(!play(d, reading(7), came(1)));
  CHECK(play(d, reading(7), refused) == (loop_found{loop_kind::repeat, 0, 3, true}));
  CHECK(!d.result(0, refused));
  CHECK(play(d, reading(7), refused) == (loop_found{loop_kind::repeat, 0, 4, true}));
}

TROUPE_TEST("only what the calls brought themselves makes them the same result") {
  loop_detector d;
  CHECK(!play(d, reading(7), came(1)));
  CHECK(!play(d, reading(7), came(2)));
  CHECK(play(d, reading(7), refused) == (loop_found{loop_kind::repeat, 0, 3, false}));
  loop_detector restarted; // the agent was restarted instead of running the second call
  CHECK(!play(restarted, reading(7), came(1)));
  CHECK(!play(restarted, reading(7), {}));
  CHECK(play(restarted, reading(7), refused) == (loop_found{loop_kind::repeat, 0, 3, true}));
  loop_detector at_once;
  at_once.begin_step();
  CHECK(!at_once.call(reading(7)));
  CHECK(!at_once.call(reading(7)));
  CHECK(at_once.call(reading(7)) == (loop_found{loop_kind::repeat, 2, 3, false}));
}

TROUPE_TEST("the window holds the last twelve calls, the judged one included") {
  for (const std::uint64_t between : {4u, 5u}) {
    loop_detector d;
    std::uint64_t next = 100;
    const auto others = [&](std::uint64_t n) {
      for (std::uint64_t i = 0; i < n; ++i, ++next)
        CHECK(!play(d, reading(next), came(next)));
    };
    CHECK(!play(d, reading(7), came(1)));
    others(between);
    CHECK(!play(d, reading(7), came(1)));
    others(5);
    CHECK_EQ(play(d, reading(7), came(1)).has_value(), between == 4); // 1 + 4 + 1 + 5 + 1
  }
}

TROUPE_TEST("repeats and window are what the configuration says") {
  loop_detector d({.repeats = 2, .window = 3});
  CHECK(!play(d, reading(1), came(1)));
  CHECK(!play(d, reading(2), came(2)));
  CHECK(play(d, reading(1), came(1)));
  loop_detector narrow({.repeats = 2, .window = 3});
  CHECK(!play(narrow, reading(1), came(1)));
  CHECK(!play(narrow, reading(2), came(2)));
  CHECK(!play(narrow, reading(3), came(3)));
  CHECK(!play(narrow, reading(1), came(1))); // the first one is out of the window
  CHECK(!play(narrow, reading(4), came(4)));
  CHECK(play(narrow, reading(1), came(1))); // the last one is just in it
  loop_detector wide({.repeats = 4, .window = 100});
  for (std::uint64_t i = 0; i < 3; ++i) {
    CHECK(!play(wide, reading(1), came(1)));
    for (std::uint64_t k = 0; k < 20; ++k)
      CHECK(!play(wide, reading(10 + i * 20 + k), came(10 + i * 20 + k)));
  }
  CHECK(play(wide, reading(1), came(1)));
}

TROUPE_TEST("a successful write resets other calls; one that failed, was refused or reads does not") {
  struct row {
    const char* name;
    observed_call between;
    observed_result result;
    bool found;
  };
  const row rows[] = {{"a write", writing(50), came(5), false},
                      {"a write that failed", writing(50), failed, true},
                      {"a write that was refused", writing(50), refused, true},
                      {"a write that succeeded and has no outcome yet", writing(50), {}, true},
                      {"something read", reading(50, 3), came(5), true},
                      {"an agent that can change nothing", asking(50), came(5), true},
                      {"a polling tool", {50, 4, false, true}, came(5), true}};
  for (const auto& r : rows) {
    IN_ROW(r.name);
    loop_detector d;
    CHECK(!play(d, reading(7), came(1)));
    CHECK(!play(d, reading(7), came(1)));
    CHECK(!play(d, r.between, r.result));
    CHECK_EQ(play(d, reading(7), came(1)).has_value(), r.found);
  }
}

TROUPE_TEST("a write does not reset itself") {
  loop_detector d;
  CHECK(!play(d, writing(7), came(1)));
  CHECK(!play(d, writing(7), came(1)));
  CHECK(play(d, writing(7), came(1)));
}

TROUPE_TEST("a polling tool has twenty times, while its outcome is the same") {
  const observed_call poll{7, 1, true, true};
  loop_detector d;
  for (int i = 0; i < 12; ++i)
    CHECK(!play(d, poll, came(1)));
  for (int i = 0; i < 19; ++i)
    CHECK(!play(d, poll, came(2)));
  CHECK(play(d, poll, refused) == (loop_found{loop_kind::repeat, 0, 20, true}));
  CHECK(play(d, poll, refused) == (loop_found{loop_kind::repeat, 0, 20, true})); // a refusal neither resets nor counts
  loop_detector other;
  for (int i = 0; i < 19; ++i) {
    if (i > 0)
      CHECK(!play(other, poll, refused)); // for another reason, such as a limit of its own
    CHECK(!play(other, poll, came(1)));
  }
  CHECK(play(other, poll, came(1)) == (loop_found{loop_kind::repeat, 0, 20, true}));
}

TROUPE_TEST("cycles of two, three and four calls are found in their third round, of five not at all") {
  for (std::uint64_t period = 2; period <= 5; ++period) {
    loop_detector d;
    std::optional<loop_found> found;
    std::uint64_t at = 0;
    for (; at < 4 * period && !found; ++at)
      found = play(d, writing(10 + at % period), came(at % period + 1));
    CHECK_EQ(found.has_value(), period <= 4);
    if (found) {
      CHECK_EQ(at, 3 * period);
      CHECK(found->kind == loop_kind::cycle);
    }
  }
}

TROUPE_TEST("a polling tool is part of no cycle, wherever it stands in it") {
  for (std::uint64_t polled = 0; polled < 3; ++polled) {
    loop_detector d;
    for (std::uint64_t i = 0; i < 18; ++i)
      CHECK(!play(d, {10 + i % 3, i % 3 + 1, i % 3 == polled, i % 3 == polled}, came(i % 3 + 1)));
  }
}

TROUPE_TEST("calls in the same order that bring other outcomes are no cycle") {
  loop_detector d;
  for (std::uint64_t i = 0; i < 30; ++i)
    CHECK(!play(d, writing(10 + i % 2), came(i + 1)));
  loop_detector broken; // one other call breaks it
  for (std::uint64_t i = 0; i < 5; ++i)
    CHECK(!play(broken, writing(10 + i % 2), came(1)));
  CHECK(!play(broken, writing(99), came(1)));
  CHECK(!play(broken, writing(11), came(1)));
}

TROUPE_TEST("no progress: the sixth step of one tool with one outcome, however many calls each has") {
  loop_detector d;
  std::uint64_t sign = 1;
  for (int step = 1; step <= 5; ++step) {
    d.begin_step();
    for (std::size_t i = 0; i < 4; ++i)
      CHECK(!d.call(reading(sign++)));
    CHECK_EQ(d.waits_for_results(), false);
    for (std::size_t i = 0; i < 4; ++i)
      CHECK(!d.result(i, came(1)));
  }
  d.begin_step();
  CHECK(!d.call(reading(sign++)));
  CHECK(d.waits_for_results());
  CHECK(d.result(0, came(1)) == (loop_found{loop_kind::no_progress, 0, 6, true}));
}

TROUPE_TEST("no progress is over with another outcome, an empty one, or a new write; not with a refusal or an old write") {
  struct row {
    const char* name;
    observed_call between;
    observed_result result;
    bool found;
  };
  const row rows[] = {{"another outcome", reading(50), came(5), false}, {"an empty outcome", reading(50), {5, true, true, true}, false},
                      {"a new write", writing(50), came(5), false},     {"a write that failed", writing(50), failed, true},
                      {"a refusal", reading(50), refused, true},        {"the same arguments again", reading(13), came(1), true},
                      {"another tool", reading(50, 3), came(5), true}};
  for (const auto& r : rows) {
    IN_ROW(r.name);
    loop_detector d;
    for (std::uint64_t i = 0; i < 5; ++i)
      CHECK(!play(d, reading(10 + i), came(1)));
    CHECK(!play(d, r.between, r.result));
    CHECK_EQ(play(d, reading(60), came(1)).has_value(), r.found);
  }
}

TROUPE_TEST("empty outcomes are no progress however often they come: a search may find nothing for a long time") {
  constexpr observed_result nothing{5, true, true, true};
  loop_detector d;
  for (std::uint64_t i = 0; i < 20; ++i)
    CHECK(!play(d, reading(10 + i), nothing));
  for (std::uint64_t i = 0; i < 5; ++i) // and count for none that comes after them
    CHECK(!play(d, reading(50 + i), came(1)));
  CHECK(play(d, reading(60), came(1)) == (loop_found{loop_kind::no_progress, 0, 6, true}));
}

TROUPE_TEST("no progress is not asked of tools that change something, nor of other agents") {
  loop_detector d;
  for (std::uint64_t i = 0; i < 20; ++i) {
    CHECK(!play(d, writing(10 + i), came(1)));
    CHECK(!play(d, asking(50 + i), came(1)));
  }
}

TROUPE_TEST(
    "no progress that was found goes on with each call of the tool that was taken away; not with a mistake, nor once it is long ago") {
  struct row {
    const char* name;
    bool taken;
    observed_result before; ///< of the calls that brought nothing
    std::uint64_t between;  ///< steps of other work
    bool goes_on;
  };
  for (const auto& r :
       {row{"at once", true, came(1), 0, true}, row{"after calls that were refused", true, {96, false, false, false}, 0, true},
        row{"within the window", true, came(1), 11, true}, row{"long ago", true, came(1), 12, false},
        row{"a mistake in the arguments", false, came(1), 0, false},
        row{"a mistake that is another one", false, {96, false, false, false}, 0, false}}) {
    IN_ROW(r.name);
    loop_detector d({.window = 12});
    for (std::uint64_t i = 0; i < 5; ++i)
      CHECK(!play(d, reading(10 + i), r.before));
    CHECK(play(d, reading(20), r.before) == (loop_found{loop_kind::no_progress, 0, 6, true}));
    for (std::uint64_t i = 0; i < r.between; ++i)
      CHECK(!play(d, reading(100 + i, 3), came(100 + i)));
    auto call = reading(30);
    call.taken = r.taken;
    d.begin_step();
    CHECK(!d.call(call));
    CHECK(d.waits_for_results());
    CHECK_EQ(d.result(0, refused) == (loop_found{loop_kind::no_progress, 0, 7, true}), r.goes_on);
    call.sign = 10; // asked before, and told otherwise
    CHECK_EQ(play(d, call, {97, false, false, false}) == (loop_found{loop_kind::no_progress, 0, 8, true}), r.goes_on);
  }
}

TROUPE_TEST("a tool that was taken away for something else has a streak of refusals of its own") {
  loop_detector d;
  for (std::uint64_t i = 0; i < 3; ++i)
    CHECK(!play(d, reading(10 + i), came(1)));
  auto call = reading(20);
  call.taken = true;
  for (; call.sign < 25; ++call.sign)
    CHECK(!play(d, call, refused));
  CHECK(play(d, call, refused) == (loop_found{loop_kind::no_progress, 0, 6, true}));
}

TROUPE_TEST("memory is bounded, whatever names and arguments are made up") {
  loop_detector d;
  for (std::uint64_t i = 1; i < 100'000; ++i)
    CHECK(!play(d, {i * 2, i, i % 3 != 0, i % 5 == 0}, i % 7 == 0 ? refused : came(i)));
  CHECK(sizeof(loop_detector) < 1024);
}

TROUPE_TEST("three same messages with the same reply; a call that ran between begins anew") {
  const auto a = sketch_of("I have nothing to say about this."), b = sketch_of("Something else entirely is true.");
  loop_detector d;
  CHECK(!d.said(a, 1));
  CHECK(!d.said(a, 1));
  CHECK(d.said(a, 1));
  CHECK(!d.said(b, 1));
  CHECK(!d.said(b, 1));
  CHECK(!d.said(b, 2)); // what is wrong with it is something else now
  loop_detector other;
  CHECK(!other.said(a, 1));
  CHECK(!other.said(a, 1));
  CHECK(!play(other, reading(1), refused));
  CHECK(other.said(a, 1));
  CHECK(!play(other, reading(2), came(1)));
  CHECK(!other.said(a, 1));
}

// --- the ladder ----------------------------------------------------------------------------------------------------

TROUPE_TEST("each further call of a streak is one rung, until the task fails") {
  loop_watch watch;
  std::vector<std::string> seen;
  for (std::int64_t step = 1; step <= 7; ++step) {
    const auto verdict = watch.observe({.number = step,
                                        .earlier = {step == 1  ? observed_result{}
                                                    : step < 4 ? came(1)
                                                               : refused},
                                        .calls = {reading(7)}});
    seen.push_back(verdict.found
                       ? std::to_string(static_cast<int>(verdict.rung)) + ":" + std::to_string(static_cast<int>(verdict.rulings.at(0)))
                       : "-");
    CHECK(!verdict.again);
  }
  CHECK(seen == (std::vector<std::string>{"-", "-", "1:3", "2:3", "3:3", "5:3", "5:3"}));
}

TROUPE_TEST("each further call of a tool that brings nothing is one rung, also once it is taken away") {
  for (const auto& brought : {came(1), observed_result{96, false, false, false}}) {
    loop_watch watch;
    std::vector<std::string> seen;
    for (std::int64_t step = 1; step <= 9; ++step) {
      const auto called = watch.observe({.number = step, .calls = {reading(static_cast<std::uint64_t>(100 + step))}});
      CHECK(!called.found);
      const bool runs = called.rulings.empty();
      CHECK_EQ(runs, step <= 7);
      CHECK_EQ(called.report_results, step >= 6);
      const auto verdict = watch.observe({.number = step, .results = {runs ? brought : refused}});
      seen.push_back(verdict.found ? name_of(verdict.rung) + std::string(" ") + std::to_string(verdict.found->count) : "-");
    }
    CHECK(seen == (std::vector<std::string>{"-", "-", "-", "-", "-", "told 6", "tool_taken 7", "restarted 8", "failed 9"}));
  }
}

TROUPE_TEST("what was taken away goes on bringing nothing when the watch is made from the journal") {
  loop_watch watch;
  for (std::int64_t step = 1; step <= 8; ++step) {
    const auto asked = reading(static_cast<std::uint64_t>(100 + step));
    if (step >= 6)
      watch.recorded(step == 6 ? loop_rung::told : step == 7 ? loop_rung::tool_taken : loop_rung::restarted, step, asked);
    watch.replay({.number = step, .calls = {asked}, .results = {step <= 7 ? came(1) : refused}});
  }
  const auto verdict = watch.observe({.number = 9, .calls = {reading(200)}, .results = {refused}});
  REQUIRE(verdict.found);
  CHECK(*verdict.found == (loop_found{loop_kind::no_progress, 0, 9, true}));
  CHECK(verdict.rung == loop_rung::failed);
}

TROUPE_TEST("with a human the fourth rung asks, and a step that is judged again asks the same") {
  loop_watch before({.human = true}), after({.human = true});
  std::vector<loop_rung> rungs;
  for (std::int64_t step = 1; step <= 6; ++step)
    rungs.push_back(before.observe({.number = step, .calls = {reading(7)}}).rung);
  CHECK(rungs
        == (std::vector<loop_rung>{loop_rung::none, loop_rung::none, loop_rung::told, loop_rung::tool_taken, loop_rung::restarted,
                                   loop_rung::asked}));
  for (std::int64_t step = 1; step <= 5; ++step)
    after.observe({.number = step, .calls = {reading(7)}});
  after.recorded(loop_rung::asked, 6, reading(7));
  auto again = after.observe({.number = 6, .calls = {reading(7)}});
  CHECK(again.rung == loop_rung::asked);
  CHECK(again.again);
  after.recorded(loop_rung::failed, 6, reading(7)); // a human said no
  again = after.observe({.number = 6, .calls = {reading(7)}});
  CHECK(again.rung == loop_rung::failed);
  CHECK(again.again);
}

TROUPE_TEST("one response brings one rung, however often it loops") {
  loop_watch watch;
  loop_step step{.number = 1, .calls = std::vector<observed_call>(9, reading(7))};
  const auto verdict = watch.observe(step);
  CHECK(verdict.rung == loop_rung::told);
  CHECK_EQ(verdict.found->call, 2u);
  CHECK(verdict.rulings[1] == call_ruling::run);
  CHECK(verdict.rulings[2] == call_ruling::looping);
  CHECK(verdict.rulings[8] == call_ruling::looping);
}

TROUPE_TEST("the call that looped is refused from now on, its tool only from the second rung") {
  loop_watch watch;
  for (std::int64_t step = 1; step <= 3; ++step)
    watch.observe({.number = step, .calls = {reading(7)}});
  auto verdict = watch.observe({.number = 4, .calls = {reading(8), writing(3)}});
  CHECK(verdict.rulings.empty());
  for (std::int64_t step = 5; step < 20; ++step) // out of the window
    verdict = watch.observe({.number = step, .calls = {writing(static_cast<std::uint64_t>(100 + step))}});
  CHECK(verdict.rulings.empty());
  verdict = watch.observe({.number = 20, .calls = {writing(200), reading(7)}});
  CHECK(!verdict.found);
  CHECK(verdict.rulings == (std::vector<call_ruling>{call_ruling::run, call_ruling::refused_call}));
  watch.observe({.number = 21, .calls = {reading(7)}});
  CHECK(watch.observe({.number = 22, .calls = {reading(7)}}).rung == loop_rung::tool_taken);
  verdict = watch.observe({.number = 23, .calls = {reading(9), writing(5)}});
  CHECK(verdict.rulings == (std::vector<call_ruling>{call_ruling::refused_tool, call_ruling::run}));
}

TROUPE_TEST("a step that is judged again, after a crash, brings the same rung") {
  loop_watch before, after;
  for (std::int64_t step = 1; step <= 2; ++step) {
    before.observe({.number = step, .calls = {reading(7)}});
    after.observe({.number = step, .calls = {reading(7)}});
  }
  const auto first = before.observe({.number = 3, .calls = {reading(7)}});
  after.recorded(loop_rung::told, 3, reading(7));
  const auto second = after.observe({.number = 3, .calls = {reading(7)}});
  CHECK(first.rung == second.rung);
  CHECK(second.again);
  CHECK(after.observe({.number = 4, .calls = {reading(7)}}).rung == loop_rung::tool_taken);
}

TROUPE_TEST("a monologue is told, and takes no rung") {
  loop_watch watch;
  const auto text = sketch_of("the same");
  CHECK(!watch.observe({.number = 1, .said = text}).found);
  CHECK(!watch.observe({.number = 2, .said = text}).found);
  const auto verdict = watch.observe({.number = 3, .said = text});
  CHECK(verdict.found->kind == loop_kind::monologue);
  CHECK(verdict.rung == loop_rung::none);
}

// --- what is none ---------------------------------------------------------------------------------------------------

TROUPE_TEST("one call again and again is no cycle: it is left to its limit of repeats") {
  loop_detector d({.repeats = 100, .window = 100});
  for (int i = 0; i < 50; ++i)
    CHECK(!play(d, reading(7), came(1)));
}

TROUPE_TEST("what was refused says nothing of the world: it breaks no cycle") {
  loop_detector d;
  for (std::uint64_t i = 0; i < 5; ++i)
    CHECK(!play(d, writing(10 + i % 2), i == 3 ? refused : came(i % 2 + 1)));
  CHECK(play(d, writing(11), came(2)) == (loop_found{loop_kind::cycle, 0, 3, true}));
}

TROUPE_TEST("the same write once more is no progress, another one is") {
  for (const bool same : {true, false}) {
    loop_detector d;
    CHECK(!play(d, writing(50), came(5)));
    for (std::uint64_t i = 0; i < 5; ++i)
      CHECK(!play(d, reading(10 + i), came(1)));
    CHECK(!play(d, writing(same ? 50 : 51), came(5)));
    CHECK_EQ(play(d, reading(60), came(1)).has_value(), same);
  }
}

TROUPE_TEST("a call that got through ends a streak of refusals of its tool, of another tool does not") {
  for (const bool own : {true, false}) {
    loop_detector d;
    for (std::uint64_t i = 0; i < 5; ++i)
      CHECK(!play(d, writing(10 + i), refused));
    CHECK(!play(d, reading(50, own ? 2 : 3), came(1)));
    CHECK_EQ(play(d, writing(60), refused).has_value(), !own);
  }
}
