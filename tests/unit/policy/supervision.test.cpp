#include "test.hpp"

#include "supervision_driver.hpp"
#include "troupe/model/described.hpp"

TROUPE_SUITE(supervision)

using namespace troupe;
using namespace troupe::policy;
using namespace troupe::test;

namespace {

constexpr auto alone = restart_strategy::one_for_one;
constexpr auto all = restart_strategy::one_for_all;
constexpr auto rest = restart_strategy::rest_for_one;
constexpr auto permanent = restart_type::permanent;
constexpr auto transient = restart_type::transient;
constexpr auto temporary = restart_type::temporary;

supervisor_spec abc(restart_strategy strategy) {
  return supervisor(strategy, {child("a"), child("b"), child("c")});
}
child_spec significant(std::string id, restart_type restart = transient) {
  auto c = child(std::move(id), restart);
  c.significant = true;
  return c;
}

} // namespace

// --- validation ----------------------------------------------------------------------------------------------------

TROUPE_TEST("a table of trees that are refused before anything starts") {
  struct row {
    const char* name;
    void (*change)(supervisor_spec&);
    const char* message;
  };
  const row rows[] = {
      {"duplicate ids",
       [](supervisor_spec& s) {
         s.children = {child("a"), child("a")};
       },
       "two children have the name \"a\""},
      {"a pool's member named like a sibling",
       [](supervisor_spec& s) {
         s.children = {child("a/2"), child("a")};
         s.children[1].kind = child_kind::pool;
         s.children[1].size = 2;
       },
       "two children have the name \"a/2\""},
      {"a child without a name", [](supervisor_spec& s) { s.children = {child("")}; }, "a child without a name"},
      {"negative max_restarts", [](supervisor_spec& s) { s.max_restarts = -1; }, "max_restarts is -1; it must not be negative"},
      {"no time at all", [](supervisor_spec& s) { s.within = milliseconds{0}; }, "within is 0 ms; it must be more than nothing"},
      {"a negative shutdown",
       [](supervisor_spec& s) {
         s.children = {child("a")};
         s.children[0].shutdown.time = milliseconds{-1};
       },
       "shutdown is -1 ms; it must not be negative"},
      {"an empty pool",
       [](supervisor_spec& s) {
         s.children = {child("a")};
         s.children[0].size = 0;
       },
       "size is 0; it must be from 1 to 100000"},
      {"significant without auto_shutdown", [](supervisor_spec& s) { s.children = {significant("a")}; },
       "a significant child needs auto_shutdown: any_significant or all_significant"},
      {"a permanent significant child",
       [](supervisor_spec& s) {
         s.auto_shutdown = auto_shutdown_type::any_significant;
         s.children = {significant("a", permanent)};
       },
       "a significant child cannot be permanent: it would always be restarted; make it transient or temporary"},
      {"a supervisor without its description",
       [](supervisor_spec& s) {
         s.children = {child("a")};
         s.children[0].kind = child_kind::supervisor;
       },
       "a child that is a supervisor has exactly one description of it, any other has none"},
      {"an error in an inner supervisor",
       [](supervisor_spec& s) {
         s.children = {child("inner")};
         s.children[0].kind = child_kind::supervisor;
         s.children[0].supervisor = {supervisor(alone, {child("x"), child("x")})};
       },
       "two children have the name \"x\""},
  };
  for (const auto& r : rows) {
    IN_ROW(r.name);
    supervisor_spec s;
    r.change(s);
    const auto errors = validate(s);
    REQUIRE(errors.size() == 1);
    CHECK_EQ(errors[0].message, r.message);
  }
  CHECK(validate(abc(all)).empty());
}

TROUPE_TEST("all errors of a tree come at once, and endless nesting is bounded") {
  auto s = supervisor(alone, {child("a"), child("a")});
  s.max_restarts = -1;
  CHECK_EQ(validate(s).size(), 2u);
  auto nested = supervisor(alone, {});
  for (int n = 0; n < 40; ++n) {
    auto c = child("s");
    c.kind = child_kind::supervisor;
    c.supervisor = {nested};
    nested = supervisor(alone, {c});
  }
  CHECK_EQ(validate(nested).size(), 1u);
}

// --- boot and stop -------------------------------------------------------------------------------------------------

TROUPE_TEST("children start left to right, each after the one before it is up, and stop right to left") {
  tree t(abc(alone));
  CHECK_EQ(t.start(), (said{"start a#1"}));
  CHECK_EQ(t.up("a"), (said{"start b#1"}));
  CHECK_EQ(t.up("b"), (said{"start c#1"}));
  CHECK_EQ(t.up("c"), (said{"booted"}));
  CHECK_EQ(t.stop(), (said{"stop c#1", "timer 5000"}));
  CHECK_EQ(t.stops("c"), (said{"stop b#1", "timer 5000"}));
  CHECK_EQ(t.stops("b"), (said{"stop a#1", "timer 5000"}));
  CHECK_EQ(t.stops("a"), (said{"end shutdown"}));
  CHECK(t.machine.phase() == supervisor_phase::ended);
}

TROUPE_TEST("a supervisor without children boots and ends at once; it starts and stops once") {
  tree t(supervisor(all, {}));
  CHECK_EQ(t.start(), (said{"booted"}));
  CHECK(t.start().empty());
  CHECK_EQ(t.stop(), (said{"end shutdown"}));
  CHECK(t.stop().empty());
}

TROUPE_TEST("a pool is started as its members, and an agent of a size too") {
  auto pool = child("r");
  pool.kind = child_kind::pool;
  pool.size = 2;
  tree t(supervisor(alone, {pool}));
  CHECK_EQ(t.start(), (said{"start r/1#1"}));
  CHECK_EQ(t.up("r/1"), (said{"start r/2#1"}));
  CHECK_EQ(t.up("r/2"), (said{"booted"}));
  CHECK_EQ(t.crashes("r/2"), (said{"report terminated r/2: boom", "timer 50"}));
}

TROUPE_TEST("a child that fails at boot stops those already started, in reverse, and the error names it") {
  for (auto strategy : {alone, all, rest}) {
    tree t(abc(strategy));
    t.start();
    t.up("a");
    t.up("b");
    CHECK_EQ(t.not_up("c", "no such model"), (said{"report start_error c: no such model", "stop b#1", "timer 5000"}));
    CHECK_EQ(t.stops("b"), (said{"stop a#1", "timer 5000"}));
    CHECK_EQ(t.stops("a"), (said{"end boot_failed"}));
    CHECK_EQ(t.end_text, "supervisor \"root\": child \"c\" did not start: no such model");
  }
}

TROUPE_TEST("a child that exits while it starts at boot did not start") {
  tree t(abc(alone));
  t.start();
  CHECK_EQ(t.crashes("a"), (said{"report start_error a: boom", "end boot_failed"}));
}

TROUPE_TEST("what crashes during the boot is restarted after it") {
  tree t(abc(alone));
  t.start();
  t.up("a");
  CHECK(t.crashes("a").empty());
  CHECK_EQ(t.up("b"), (said{"start c#1"}));
  CHECK_EQ(t.up("c"), (said{"booted", "report terminated a: boom", "timer 50"}));
  CHECK_EQ(t.fires(), (said{"start a#2"}));
}

TROUPE_TEST("a stop during the boot stops what is starting too") {
  tree t(abc(alone));
  t.start();
  t.up("a");
  CHECK_EQ(t.stop(), (said{"stop b#1", "timer 5000"}));
  CHECK(t.up("b").empty()); // too late
  CHECK_EQ(t.stops("b"), (said{"stop a#1", "timer 5000"}));
  CHECK_EQ(t.stops("a"), (said{"end shutdown"}));
}

TROUPE_TEST("a table of shutdowns: asked, then killed after its time; infinity never killed; brutal_kill at once") {
  auto make = [](shutdown_spec how) {
    auto c = child("a");
    c.shutdown = how;
    return supervisor(alone, {c});
  };
  tree timed(make({false, false, milliseconds{200}}));
  timed.boot();
  CHECK_EQ(timed.stop(), (said{"stop a#1", "timer 200"}));
  CHECK_EQ(timed.fires(), (said{"kill a#1"}));
  CHECK_EQ(timed.exits("a", exit_kind::crash, "killed"),
           (said{"report shutdown_error a: killed: it did not stop within 200 ms", "end shutdown"}));
  tree endless(make({false, true, {}}));
  endless.boot();
  CHECK_EQ(endless.stop(), (said{"stop a#1"}));
  tree brutal(make({true, false, {}}));
  brutal.boot();
  CHECK_EQ(brutal.stop(), (said{"kill a#1"}));
  CHECK_EQ(brutal.exits("a", exit_kind::crash, "killed"), (said{"end shutdown"}));
}

TROUPE_TEST("a child that crashes while it is asked to stop is reported, not restarted") {
  tree t(abc(alone));
  t.boot();
  t.stop();
  CHECK_EQ(t.crashes("c"), (said{"report shutdown_error c: boom", "stop b#1", "timer 5000"}));
}

// --- restart types -------------------------------------------------------------------------------------------------

TROUPE_TEST("a table of exits: which are restarted, which are reported, which are forgotten") {
  struct row {
    restart_type type;
    exit_kind kind;
    bool restarted, reported, kept;
  };
  const row rows[] = {
      {permanent, exit_kind::normal, true, true, true},     {permanent, exit_kind::shutdown, true, true, true},
      {permanent, exit_kind::crash, true, true, true},      {transient, exit_kind::normal, false, false, true},
      {transient, exit_kind::shutdown, false, false, true}, {transient, exit_kind::crash, true, true, true},
      {temporary, exit_kind::normal, false, false, false},  {temporary, exit_kind::shutdown, false, false, false},
      {temporary, exit_kind::crash, false, true, false},
  };
  for (const auto& r : rows) {
    IN_ROW(name_of(r.type));
    tree t(supervisor(alone, {child("x", r.type)}));
    t.boot();
    const auto out = t.exits("x", r.kind);
    CHECK_EQ(std::count(out.begin(), out.end(), "report terminated x: why"), r.reported ? 1 : 0);
    CHECK_EQ(t.state("x") == child_state::restarting, r.restarted);
    CHECK_EQ(t.knows("x"), r.kept);
    if (r.restarted) {
      CHECK_EQ(t.fires(), (said{"start x#2"}));
      CHECK_EQ(t.up("x"), (said{"restarted x#1"}));
    }
  }
}

// --- strategies ----------------------------------------------------------------------------------------------------

TROUPE_TEST("one_for_one restarts the one that crashed and touches no other") {
  tree t(abc(alone));
  t.boot();
  CHECK_EQ(t.crashes("b"), (said{"report terminated b: boom", "timer 50"}));
  CHECK_EQ(t.fires(), (said{"start b#2"}));
  CHECK_EQ(t.up("b"), (said{"restarted b#1"}));
}

TROUPE_TEST("one_for_all stops all right to left, waits, and starts all left to right, for one restart") {
  tree t(abc(all));
  t.boot();
  CHECK_EQ(t.crashes("b"), (said{"report terminated b: boom", "stop c#1", "timer 5000"}));
  CHECK_EQ(t.stops("c"), (said{"stop a#1", "timer 5000"}));
  CHECK_EQ(t.stops("a"), (said{"timer 50"}));
  CHECK_EQ(t.fires(), (said{"start a#2"}));
  CHECK_EQ(t.up("a"), (said{"restarted a#1", "start b#2"}));
  CHECK_EQ(t.up("b"), (said{"restarted b#1", "start c#2"}));
  CHECK_EQ(t.up("c"), (said{"restarted c#1"}));
  CHECK_EQ(t.machine.describe().restarts, 1);
}

TROUPE_TEST("rest_for_one leaves earlier ones untouched") {
  tree t(abc(rest));
  t.boot();
  CHECK_EQ(t.crashes("b"), (said{"report terminated b: boom", "stop c#1", "timer 5000"}));
  CHECK_EQ(t.stops("c"), (said{"timer 50"}));
  CHECK_EQ(t.fires(), (said{"start b#2"}));
  CHECK_EQ(t.up("b"), (said{"restarted b#1", "start c#2"}));
  CHECK_EQ(t.up("c"), (said{"restarted c#1"}));
  CHECK(t.state("a") == child_state::running);
  CHECK_EQ(t.incarnation["a"], 1);
}

TROUPE_TEST("a temporary child is stopped by its sibling's one_for_all and not started again") {
  tree t(supervisor(all, {child("a"), child("tmp", temporary)}));
  t.boot();
  CHECK_EQ(t.crashes("a"), (said{"report terminated a: boom", "stop tmp#1", "timer 5000"}));
  CHECK_EQ(t.stops("tmp"), (said{"timer 50"}));
  CHECK(!t.knows("tmp"));
  CHECK_EQ(t.fires(), (said{"start a#2"}));
  CHECK_EQ(t.up("a"), (said{"restarted a#1"}));
}

TROUPE_TEST("a temporary child that ends by itself while its siblings are stopped is forgotten too") {
  tree t(supervisor(all, {child("a"), child("tmp", temporary), child("c")}));
  t.boot();
  CHECK_EQ(t.crashes("a"), (said{"report terminated a: boom", "stop c#1", "timer 5000"}));
  CHECK_EQ(t.crashes("tmp"), (said{"report terminated tmp: boom"}));
  CHECK(!t.knows("tmp"));
  const auto gone = t.machine.take_gone();
  REQUIRE(gone.size() == 1u);
  CHECK_EQ(gone[0].id, "tmp");
  CHECK_EQ(t.stops("c"), (said{"timer 50"}));
  CHECK_EQ(t.fires(), (said{"start a#2"}));
  CHECK_EQ(t.up("a"), (said{"restarted a#1", "start c#2"}));
}

TROUPE_TEST("a temporary child that dies while others are started does not come back with the next one_for_all") {
  tree t(supervisor(all, {child("a"), child("tmp", temporary), child("c")}));
  t.boot();
  t.crashes("c");
  t.stops("tmp");
  t.stops("a");
  t.fires();
  CHECK(!t.knows("tmp"));
  tree other(supervisor(rest, {child("tmp", temporary), child("b"), child("c")}));
  other.boot();
  other.crashes("b");
  other.stops("c");
  other.fires();                            // b starts
  CHECK_EQ(other.crashes("tmp"), (said{})); // seen when that is over
  CHECK_EQ(other.up("b"), (said{"restarted b#1", "start c#2"}));
  CHECK_EQ(other.up("c"), (said{"restarted c#1", "report terminated tmp: boom"}));
  CHECK(!other.knows("tmp"));
}

TROUPE_TEST("a temporary child whose death was noted is forgotten by a wider restart, and whoever waits for it is told") {
  tree t(supervisor(rest, {child("a"), child("tmp", temporary), child("c"), child("d")}));
  t.boot();
  t.crashes("c");
  t.stops("d");
  t.fires(); // c starts
  CHECK(t.crashes("a").empty());
  CHECK(t.crashes("tmp").empty()); // both are seen to when d is up
  t.up("c");
  CHECK_EQ(t.up("d"), (said{"restarted d#1", "report terminated a: boom", "stop d#2", "timer 5000"}));
  CHECK_EQ(t.stops("d"), (said{"stop c#2", "timer 5000"}));
  t.stops("c");
  CHECK(!t.knows("tmp"));
  const auto gone = t.machine.take_gone();
  REQUIRE(gone.size() == 1u);
  CHECK_EQ(gone[0].id, "tmp");
  CHECK_EQ(t.fires(), (said{"start a#2"}));
  CHECK_EQ(t.up("a"), (said{"restarted a#1", "start c#3"}));
}

TROUPE_TEST("one_for_all starts a transient sibling again that had ended normally, as OTP does") {
  tree t(supervisor(all, {child("a"), child("b", transient)}));
  t.boot();
  t.exits("b", exit_kind::normal);
  CHECK_EQ(t.crashes("a"), (said{"report terminated a: boom", "timer 50"}));
  t.fires();
  CHECK_EQ(t.up("a"), (said{"restarted a#1", "start b#2"}));
}

TROUPE_TEST("siblings that die while all are being stopped count no restart of their own") {
  auto s = abc(all);
  s.max_restarts = 2;
  tree t(s);
  t.boot();
  t.crashes("b");
  CHECK_EQ(t.crashes("a"), (said{"report terminated a: boom"})); // c is being stopped, a was not asked yet
  CHECK_EQ(t.stops("c"), (said{"timer 50"}));
  CHECK_EQ(t.machine.describe().restarts, 1);
  t.fires();
  for (const auto* id : {"a", "b", "c"})
    t.up(id);
  CHECK_EQ(t.crashes("b"), (said{"report terminated b: boom", "stop c#2", "timer 5000"})); // the second that counts
}

TROUPE_TEST("an earlier child that crashes while rest_for_one waits widens the restart, and counts") {
  tree t(abc(rest));
  t.boot();
  t.crashes("c");
  const auto old_timer = t.timers.back();
  CHECK_EQ(t.crashes("b"), (said{"report terminated b: boom", "timer 50"}));
  CHECK(t.take(t.machine.timer_fired(old_timer.timer, t.now)).empty());
  CHECK_EQ(t.fires(), (said{"start b#2"}));
  CHECK_EQ(t.up("b"), (said{"restarted b#1", "start c#2"}));
  CHECK_EQ(t.machine.describe().restarts, 2);
}

TROUPE_TEST("a child that crashes while its siblings are being started again is seen to when they are up") {
  tree t(abc(all));
  t.boot();
  t.crashes("b");
  t.stops("c");
  t.stops("a");
  t.fires();
  t.up("a");
  CHECK(t.crashes("a").empty()); // b is being started
  CHECK_EQ(t.up("b"), (said{"restarted b#1", "start c#2"}));
  CHECK_EQ(t.up("c"), (said{"restarted c#1", "report terminated a: boom", "stop c#2", "timer 5000"}));
  CHECK_EQ(t.machine.describe().restarts, 2);
}

TROUPE_TEST("a crash that was noted is forgotten when its child was started anew meanwhile") {
  tree t(abc(all));
  t.boot();
  t.crashes("b");
  t.stops("c");
  t.stops("a");
  t.fires();
  t.up("a");
  t.crashes("a"); // noted
  CHECK_EQ(t.not_up("b"), (said{"report start_error b: why", "timer 100"}));
  CHECK_EQ(t.fires(), (said{"start a#3"})); // not stopped before: it was dead
  t.up("a");
  t.up("b");
  CHECK_EQ(t.up("c"), (said{"restarted c#1"}));
  CHECK_EQ(t.machine.describe().restarts, 2);
}

// --- failing while being restarted ---------------------------------------------------------------------------------

TROUPE_TEST("a child that fails while being restarted is tried again, each attempt counted, until it escalates") {
  tree t(supervisor(alone, {child("a"), child("b")}));
  t.boot();
  t.crashes("b");
  t.fires();
  CHECK_EQ(t.not_up("b"), (said{"report start_error b: why", "timer 100"}));
  t.fires();
  CHECK_EQ(t.not_up("b"), (said{"report start_error b: why", "timer 200"}));
  t.fires();
  CHECK_EQ(t.not_up("b"), (said{"report start_error b: why", "report intensity b: why", "stop a#1", "timer 5000"}));
  CHECK_EQ(t.stops("a"), (said{"end escalation"}));
  CHECK_EQ(t.end_text,
           "supervisor \"root\" gave up: child \"b\" would be restart number 4 within 5000 ms (max_restarts: 3); its last reason: why");
}

TROUPE_TEST("a child that fails while one_for_all restarts stops those that are up, and all are tried again") {
  tree t(abc(all));
  t.boot();
  t.crashes("a");
  t.stops("c");
  t.stops("b");
  t.fires();
  t.up("a");
  CHECK_EQ(t.not_up("b"), (said{"report start_error b: why", "stop a#2", "timer 5000"}));
  CHECK_EQ(t.stops("a"), (said{"timer 50"}));
  CHECK_EQ(t.fires(), (said{"start a#3"}));
}

TROUPE_TEST("a child that fails while rest_for_one restarts is tried again without stopping those before it") {
  tree t(abc(rest));
  t.boot();
  t.crashes("a");
  t.stops("c");
  t.stops("b");
  t.fires();
  t.up("a");
  CHECK_EQ(t.not_up("b"), (said{"report start_error b: why", "timer 50"}));
  CHECK_EQ(t.fires(), (said{"start b#3"}));
  CHECK_EQ(t.incarnation["a"], 2);
}

// --- intensity -----------------------------------------------------------------------------------------------------

TROUPE_TEST("a table of ages: a restart whose age is exactly `within` counts, a microsecond more and it does not") {
  struct row {
    const char* name;
    std::int64_t fourth_at_us;
    bool escalates;
  };
  const row rows[] = {
      {"the fourth within the time", 4'000'000, true},
      {"the fourth when the first is exactly as old", 5'000'000, true},
      {"the fourth a microsecond later", 5'000'001, false},
  };
  for (const auto& r : rows) {
    IN_ROW(r.name);
    tree t(supervisor(alone, {child("a")}));
    t.boot();
    for (int n = 0; n < 3; ++n) {
      t.now.now = time_point{} + milliseconds{n};
      t.crashes("a");
      t.fires();
      t.up("a");
    }
    t.now.now = time_point{} + microseconds{r.fourth_at_us};
    const auto out = t.crashes("a");
    CHECK_EQ(out.back() == "end escalation", r.escalates);
  }
}

TROUPE_TEST("max_restarts 0 escalates at the first crash") {
  auto s = abc(alone);
  s.max_restarts = 0;
  tree t(s);
  t.boot();
  CHECK_EQ(t.crashes("b"), (said{"report terminated b: boom", "report intensity b: boom", "stop c#1", "timer 5000"}));
}

TROUPE_TEST("a crash that does not count restarts without counting") {
  auto s = supervisor(alone, {child("a")});
  s.max_restarts = 0;
  tree t(s);
  t.boot();
  for (int n = 2; n < 10; ++n) {
    CHECK_EQ(t.crashes("a", false).nth(0), "report terminated a: boom");
    CHECK_EQ(t.fires(), (said{"start a#" + std::to_string(n)}));
    t.up("a");
  }
  CHECK_EQ(t.crashes("a").back(), "end escalation");
}

TROUPE_TEST("crashes of different children count together") {
  tree t(supervisor(alone, {child("a"), child("b"), child("c"), child("d")}));
  t.boot();
  t.crashes("a");
  t.crashes("b");
  t.crashes("c");
  CHECK_EQ(t.crashes("d").nth(1), "report intensity d: boom");
}

TROUPE_TEST("to its own supervisor an escalation is a shutdown, as in OTP, a failed boot a crash") {
  CHECK(exit_of(end_reason::escalation) == exit_kind::shutdown);
  CHECK(exit_of(end_reason::shutdown) == exit_kind::shutdown);
  CHECK(exit_of(end_reason::boot_failed) == exit_kind::crash);
}

TROUPE_TEST("children that were waiting for their restart when it escalates are not started") {
  tree t(supervisor(alone, {child("a"), child("b")}));
  t.boot();
  t.crashes("a");
  const auto timer = t.timers.back();
  t.crashes("b");
  t.fires();
  t.up("b");
  t.crashes("b");
  t.fires();
  t.up("b");
  CHECK_EQ(t.crashes("b").back(), "end escalation");
  CHECK(t.take(t.machine.timer_fired(timer.timer, t.now)).empty());
}

TROUPE_TEST("a supervisor that ends says of no child that it will not come back, but for those that were added to it") {
  tree t(supervisor(alone, {child("a"), child("tmp", temporary)}));
  t.boot();
  t.take(t.machine.add_child(child("more", temporary), t.now));
  t.up("more");
  t.stop();
  t.stops("more");
  const auto gone = t.machine.take_gone();
  REQUIRE(gone.size() == 1u);
  CHECK_EQ(gone[0].id, "more");
  t.stops("tmp");
  CHECK_EQ(t.stops("a"), (said{"end shutdown"}));
  CHECK(t.machine.take_gone().empty());
}

// --- back-off ------------------------------------------------------------------------------------------------------

TROUPE_TEST("the wait before a restart is drawn from a range that doubles from 100 ms up to within / (2 · max_restarts)") {
  auto s = supervisor(alone, {child("a")});
  s.max_restarts = 10;
  s.within = milliseconds{10'000}; // cap 500 ms
  tree t(s);
  t.boot();
  t.now.random = 0.999999;
  for (std::int64_t upper : {100, 200, 400, 500, 500}) {
    t.crashes("a");
    const auto wait = t.timers.back().after;
    CHECK(wait < milliseconds{upper});
    CHECK(wait > milliseconds{upper - 1});
    t.fires();
    t.up("a");
  }
  t.now.random = 0;
  t.crashes("a");
  CHECK_EQ(t.timers.back().after.count(), 0);
}

TROUPE_TEST("the range starts anew once a child has run for `within`") {
  tree t(supervisor(alone, {child("a")}));
  t.boot();
  CHECK_EQ(t.crashes("a").back(), "timer 50");
  t.fires();
  t.up("a");
  CHECK_EQ(t.crashes("a").back(), "timer 100");
  t.fires();
  t.up("a");
  t.pass(milliseconds{5000});
  t.fires();
  CHECK_EQ(t.crashes("a").back(), "timer 50");
}

TROUPE_TEST("a start that fails has not run, however long ago the last one did") {
  tree t(supervisor(alone, {child("a")}));
  t.boot();
  t.pass(milliseconds{5000});
  CHECK_EQ(t.crashes("a").back(), "timer 50");
  t.fires();
  CHECK_EQ(t.not_up("a").back(), "timer 100");
}

TROUPE_TEST("with the longest waits the intensity can still be reached") {
  for (std::int64_t max : {1, 2, 3, 10, 100}) {
    auto s = supervisor(alone, {child("a")});
    s.max_restarts = max;
    tree t(s);
    t.boot();
    t.now.random = 0.999999;
    bool ended = false;
    for (std::int64_t n = 0; n <= max; ++n) {
      ended = t.crashes("a").back() == "end escalation";
      if (!ended) {
        t.pass(std::chrono::ceil<milliseconds>(t.timers.back().after));
        t.fires();
        t.up("a");
      }
    }
    CHECK(ended);
  }
}

TROUPE_TEST("it stops while it waits for a restart, and answers") {
  tree t(abc(alone));
  t.boot();
  t.crashes("c");
  CHECK(t.state("c") == child_state::restarting);
  CHECK_EQ(t.stop(), (said{"stop b#1", "timer 5000"}));
  t.stops("b");
  CHECK_EQ(t.stops("a"), (said{"end shutdown"}));
}

// --- significant children ------------------------------------------------------------------------------------------

TROUPE_TEST("any_significant ends the supervisor when one of its significant children ends by itself") {
  auto s = supervisor(alone, {child("a"), significant("b"), significant("c")});
  s.auto_shutdown = auto_shutdown_type::any_significant;
  tree t(s);
  t.boot();
  CHECK_EQ(t.exits("b", exit_kind::normal), (said{"stop c#1", "timer 5000"}));
  t.stops("c");
  CHECK_EQ(t.stops("a"), (said{"end shutdown"}));
}

TROUPE_TEST("a child that is not significant ends alone") {
  for (const auto how : {auto_shutdown_type::any_significant, auto_shutdown_type::all_significant}) {
    auto s = supervisor(alone, {child("a", transient), significant("b")});
    s.auto_shutdown = how;
    tree t(s);
    t.boot();
    CHECK(t.exits("a", exit_kind::normal).empty());
    CHECK_EQ(t.exits("b", exit_kind::normal), (said{"end shutdown"}));
  }
}

TROUPE_TEST("all_significant ends it when the last active one has ended") {
  auto s = supervisor(alone, {child("a"), significant("b"), significant("c", temporary)});
  s.auto_shutdown = auto_shutdown_type::all_significant;
  tree t(s);
  t.boot();
  CHECK(t.exits("b", exit_kind::normal).empty());
  CHECK_EQ(t.exits("c", exit_kind::crash), (said{"report terminated c: why", "stop a#1", "timer 5000"}));
}

TROUPE_TEST("all_significant: one that waits for its restart has not ended") {
  auto s = supervisor(alone, {child("a"), significant("b"), significant("c")});
  s.auto_shutdown = auto_shutdown_type::all_significant;
  tree t(s);
  t.boot();
  t.crashes("b");
  CHECK(t.exits("c", exit_kind::normal).empty());
  CHECK_EQ(t.fires(), (said{"start b#2"}));
  t.up("b");
  CHECK_EQ(t.exits("b", exit_kind::normal), (said{"stop a#1", "timer 5000"}));
}

TROUPE_TEST("a significant child that is restarted, or stopped by its supervisor, ends nothing") {
  auto s = supervisor(alone, {child("a"), significant("b")});
  s.auto_shutdown = auto_shutdown_type::any_significant;
  tree t(s);
  t.boot();
  CHECK_EQ(t.crashes("b").back(), "timer 50");
  t.fires();
  t.up("b");
  t.take(t.machine.terminate_child("b", t.now));
  CHECK_EQ(t.stops("b"), (said{"done b"}));
  CHECK(t.machine.phase() == supervisor_phase::running);
}

// --- children at run time ------------------------------------------------------------------------------------------

TROUPE_TEST("a child that is added starts, is supervised, and is not kept when it does not start") {
  tree t(abc(alone));
  t.boot();
  CHECK_EQ(t.take(t.machine.add_child(child("d"), t.now)), (said{"start d#1"}));
  CHECK_EQ(t.up("d"), (said{"done d"}));
  CHECK_EQ(t.crashes("d").back(), "timer 50");
  CHECK_EQ(t.take(t.machine.add_child(child("a"), t.now)), (said{"done a: supervisor \"root\" has a child \"a\" already"}));
  CHECK_EQ(t.take(t.machine.add_child(significant("s"), t.now)),
           (said{"done s: a significant child needs auto_shutdown: any_significant or all_significant"}));
  t.take(t.machine.add_child(child("e"), t.now));
  CHECK_EQ(t.not_up("e"), (said{"report start_error e: why", "done e: child \"e\" did not start: why"}));
  CHECK(!t.knows("e"));
}

TROUPE_TEST("terminate stops without removing, restart starts what is stopped, remove forgets") {
  tree t(abc(alone));
  t.boot();
  CHECK_EQ(t.take(t.machine.terminate_child("b", t.now)), (said{"stop b#1", "timer 5000"}));
  CHECK_EQ(t.take(t.machine.terminate_child("b", t.now)), (said{"done b: child \"b\" is stopping"}));
  CHECK_EQ(t.stops("b"), (said{"done b"}));
  CHECK(t.state("b") == child_state::stopped);
  CHECK_EQ(t.machine.take_gone().size(), 1u); // whoever waits for it is told: it comes back by a request only
  CHECK_EQ(t.take(t.machine.restart_child("b", t.now)), (said{"start b#2"}));
  CHECK_EQ(t.not_up("b"), (said{"report start_error b: why", "done b: child \"b\" did not start: why"}));
  CHECK(t.knows("b"));
  t.take(t.machine.restart_child("b", t.now));
  CHECK_EQ(t.up("b"), (said{"done b"}));
  CHECK_EQ(t.take(t.machine.restart_child("b", t.now)), (said{"done b: child \"b\" is running"}));
  t.take(t.machine.remove_child("b", t.now));
  CHECK_EQ(t.stops("b"), (said{"done b"}));
  CHECK(!t.knows("b"));
  CHECK_EQ(t.take(t.machine.remove_child("b", t.now)), (said{"done b: supervisor \"root\" has no child \"b\""}));
}

TROUPE_TEST("a child that waits for its restart can be terminated, and stays so") {
  tree t(abc(alone));
  t.boot();
  t.crashes("b");
  CHECK_EQ(t.take(t.machine.terminate_child("b", t.now)), (said{"done b"}));
  CHECK_EQ(t.machine.take_gone().size(), 1u);
  CHECK(t.fires().empty());
  // What it waited for is over: started by request it is told of once, and not tried again.
  CHECK_EQ(t.take(t.machine.restart_child("b", t.now)), (said{"start b#2"}));
  CHECK_EQ(t.not_up("b"), (said{"report start_error b: why", "done b: child \"b\" did not start: why"}));
  CHECK(t.state("b") == child_state::stopped);
}

TROUPE_TEST("a temporary child that is terminated is forgotten") {
  tree t(supervisor(alone, {child("a"), child("tmp", temporary)}));
  t.boot();
  t.take(t.machine.terminate_child("tmp", t.now));
  CHECK_EQ(t.stops("tmp"), (said{"done tmp"}));
  CHECK(!t.knows("tmp"));
  CHECK_EQ(t.machine.take_gone().size(), 1u);
}

TROUPE_TEST("a child that is terminated while others restart stays away, though it crashed before its turn came") {
  tree t(abc(rest));
  t.boot();
  t.crashes("c");
  t.fires(); // c starts
  CHECK(t.take(t.machine.terminate_child("a", t.now)).empty());
  CHECK(t.crashes("a").empty());
  CHECK_EQ(t.up("c"), (said{"restarted c#1", "done a"}));
  CHECK(t.state("a") == child_state::stopped);
}

TROUPE_TEST("requests during a restart of several are done after it; when the supervisor stops they are told so") {
  tree t(abc(all));
  t.boot();
  t.crashes("a");
  CHECK(t.take(t.machine.terminate_child("b", t.now)).empty());
  t.stops("c");
  t.stops("b");
  t.fires();
  t.up("a");
  t.up("b");
  CHECK_EQ(t.up("c"), (said{"restarted c#1", "stop b#2", "timer 5000"}));
  CHECK_EQ(t.stops("b"), (said{"done b"}));
  t.crashes("a");
  t.take(t.machine.remove_child("b", t.now));
  CHECK_EQ(t.stop(), (said{"done b: supervisor \"root\" stops"}));
  t.stops("c");
  CHECK_EQ(t.take(t.machine.add_child(child("x"), t.now)), (said{"done x: supervisor \"root\" is ended"}));
}

TROUPE_TEST("exits of old incarnations and of nobody are ignored") {
  tree t(abc(alone));
  t.boot();
  t.crashes("b");
  t.fires();
  CHECK(t.take(t.machine.child_exited("b", 1, exit_kind::crash, "late", t.now)).empty());
  CHECK(t.take(t.machine.child_start_failed("b", 1, "late", t.now)).empty());
  CHECK(t.take(t.machine.child_exited("zz", 1, exit_kind::crash, "late", t.now)).empty());
  CHECK(t.take(t.machine.timer_fired(999, t.now)).empty());
  CHECK(t.state("b") == child_state::starting);
}

TROUPE_TEST("a timer of an earlier stop neither kills a child that is stopped again nor ends the wait of one that is restarted") {
  tree again(abc(all));
  again.boot();
  again.crashes("b");
  const auto first = again.timers.back(); // c may take until then to stop
  again.stops("c");
  again.stops("a");
  again.fires();
  for (const auto* id : {"a", "b", "c"})
    again.up(id);
  CHECK_EQ(again.crashes("b"), (said{"report terminated b: boom", "stop c#2", "timer 5000"}));
  CHECK(again.take(again.machine.timer_fired(first.timer, again.now)).empty());
  CHECK_EQ(again.fires(), (said{"kill c#2"}));
  tree waits(abc(alone));
  waits.boot();
  waits.take(waits.machine.terminate_child("b", waits.now));
  const auto stop = waits.timers.back();
  waits.stops("b");
  waits.take(waits.machine.restart_child("b", waits.now));
  waits.up("b");
  waits.crashes("b");
  CHECK(waits.take(waits.machine.timer_fired(stop.timer, waits.now)).empty());
  CHECK_EQ(waits.fires(), (said{"start b#3"}));
}
