// Supervision through real actors, under virtual time (SEMANTICS 8). The reference is OTP's supervisor_SUITE; its cases are covered as
// follows.
//
// here                                   sup_start_normal sup_start_fail sup_start_child_returns_error tree order_of_children: boot and
// stop
//                                        sup_stop_timeout sup_stop_brutal_kill sup_stop_infinity and their _dynamic forms: shutdown times
//                                        permanent_normal … temporary_abnormal (nine), faulty_application_shutdown: the table of ends
//                                        temporary_bystander, nonsignificant_temporary, nonsignificant_transient
//                                        one_for_one, one_for_all, rest_for_one, each with _escalation and _other_child_fails_restart
//                                        multiple_restarts: intensity, at its exact edge
//                                        simple_one_for_one, simple_one_for_one_escalation, simple_one_for_one_shutdown: a pool
//                                        hanging_restart_loop, _rest_for_one, _simple: it answers and stops while it restarts
//                                        significant_temporary, significant_transient, significant_simple, significant_bystander,
//                                        significant_escalation
//                                        count_children, count_children_supervisor, count_restarting_children, which_children and its
//                                        _simple_one_for_one form: describe
//                                        child_unlink: a supervisor monitors, so that nobody can slip away
//                                        child_adm, child_adm_simple, sup_start_restart_child: children at run time
// policy/supervision.test.cpp            sup_stop_*_dynamic; sup_start_map_faulty_specs, child_specs, sup_flags: what is refused
// policy/supervision_property.test.cpp   scale_start_stop_many_children, simple_one_for_one_scale_many_temporary_children
// do not apply                           sup_start_ignore_* and simple_one_for_one_restart_ignore (a member starts or does not),
//                                        sup_start_error_return, extra_return, get_callback_module, already_started_outside_supervisor
//                                        (no callback modules), simple_one_for_one_extra (members have no arguments of their own),
//                                        simple_one_for_one_corruption, do_not_save_* (what a specification stores),
//                                        simple_global_supervisor (registered names), code_change_*, significant_upgrade_* (a run keeps
//                                        its configuration), format_log_* (reports go to the log as text)
#include "test.hpp"

#include "simulation/theatre.hpp"
#include "troupe/model/described.hpp"

TROUPE_SUITE(supervision_tree)

using namespace troupe;
using namespace troupe::simulation;
using namespace std::chrono_literals;

namespace {

child_spec child(const std::string& id, restart_type restart = restart_type::permanent) {
  child_spec made;
  made.id = id;
  made.restart = restart;
  return made;
}

child_spec below(supervisor_spec spec, restart_type restart = restart_type::permanent) {
  child_spec made;
  made.id = spec.name;
  made.kind = child_kind::supervisor;
  made.restart = restart;
  made.shutdown.infinity = true;
  made.supervisor.push_back(std::move(spec));
  return made;
}

supervisor_spec supervisor(const std::string& name, std::vector<child_spec> children,
                           restart_strategy strategy = restart_strategy::one_for_one, std::int64_t max_restarts = 3) {
  supervisor_spec made;
  made.name = name;
  made.strategy = strategy;
  made.max_restarts = max_restarts;
  made.children = std::move(children);
  return made;
}

/// Booted, and its boot forgotten.
struct booted : theatre {
  explicit booted(supervisor_spec spec) : theatre(std::move(spec)) {
    CHECK_EQ(boot(), std::string());
    said();
  }
  std::string after(const std::string& member, ending how, std::chrono::microseconds time = 1s) {
    end(member, how);
    go(time);
    return said();
  }
};

} // namespace

// --- boot and stop -------------------------------------------------------------------------------------------------

TROUPE_TEST("a tree starts left to right, through its levels, and stops right to left") {
  theatre tree(supervisor("root", {child("a"), below(supervisor("inner", {child("b"), child("c")})), child("d")}));
  CHECK_EQ(tree.boot(), std::string());
  CHECK_EQ(tree.said(), std::string("start a, start b, start c, start d"));
  tree.stop();
  tree.go();
  CHECK_EQ(tree.said(), std::string("end d shutdown, end c shutdown, end b shutdown, end a shutdown, root ended: shutdown"));
}

TROUPE_TEST("a child that fails at boot stops those already started, in reverse, at every level, and the error names it") {
  theatre tree(supervisor("root", {child("a"), below(supervisor("inner", {child("b"), child("c"), child("d")})), child("e")}));
  tree.starts_that_fail["c"] = 1;
  const auto failure = tree.boot();
  CHECK_EQ(tree.said().substr(0, 86),
           std::string("start a, start b, start c fails, end b shutdown, end a shutdown, root ended: superviso"));
  CHECK(failure.find("\"c\"") != std::string::npos);
  CHECK(failure.find("\"inner\"") != std::string::npos);
  CHECK(tree.alive().empty());
}

TROUPE_TEST("a pool of a hundred thousand starts and stops: no stack grows with the number of children") {
  auto many = child("a");
  many.kind = child_kind::pool;
  many.size = 100'000;
  theatre tree(supervisor("root", {many}));
  CHECK_EQ(tree.boot(), std::string());
  CHECK_EQ(tree.alive().size(), 100'000u);
  tree.stop();
  tree.go();
  CHECK(tree.alive().empty());
  CHECK(tree.ended());
}

TROUPE_TEST("a table of shutdowns: asked, killed after its time, killed at once, waited for without limit") {
  struct row {
    const char* name;
    bool stubborn;
    void (*set)(child_spec&);
    std::chrono::milliseconds gone_after;
    const char* said;
  };
  const std::vector<row> rows{
      {"one that obeys is gone at once", false, [](child_spec&) {}, 0ms, "end a shutdown, root ended: shutdown"},
      {"one that does not is killed after 5 s", true, [](child_spec&) {}, 5'000ms, "end a killed, root ended: shutdown"},
      {"… after its own time", true, [](child_spec& c) { c.shutdown.time = 200ms; }, 200ms, "end a killed, root ended: shutdown"},
      {"brutal_kill asks nobody", false, [](child_spec& c) { c.shutdown.brutal_kill = true; }, 0ms, "end a killed, root ended: shutdown"},
      {"infinity is never killed", true, [](child_spec& c) { c.shutdown.infinity = true; }, 0ms, ""},
  };
  for (const auto& each : rows) {
    IN_ROW(each.name);
    auto spec = child("a");
    each.set(spec);
    theatre tree(supervisor("root", {spec}));
    if (each.stubborn)
      tree.stubborn.insert("a");
    tree.boot();
    tree.said();
    tree.stop();
    if (each.gone_after > 0ms) {
      tree.go(each.gone_after - 1us);
      CHECK_EQ(tree.said(), std::string());
      tree.go(1us);
    } else {
      tree.go(std::string(each.said).empty() ? std::chrono::microseconds(1h) : 0us);
    }
    CHECK_EQ(tree.said(), std::string(each.said));
  }
}

TROUPE_TEST("a supervisor below has no limit of time: its children have theirs, one after the other") {
  theatre tree(supervisor("root", {child("a"), below(supervisor("inner", {child("b"), child("c")}))}));
  tree.stubborn = {"b", "c"};
  tree.boot();
  tree.said();
  tree.stop();
  tree.go(9'999ms);
  CHECK_EQ(tree.said(), std::string("end c killed"));
  tree.go(1ms);
  CHECK_EQ(tree.said(), std::string("end b killed, end a shutdown, root ended: shutdown"));
}

TROUPE_TEST("a supervisor that is killed takes its children with it, and its own supervisor starts it anew") {
  booted tree(supervisor("root", {child("a"), below(supervisor("inner", {child("b"), child("c")}))}));
  tree.kill_supervisor(1);
  tree.go(1s);
  CHECK_EQ(tree.said(), std::string("end b killed, end c killed, start b, start c"));
  tree.kill_supervisor(0);
  tree.go(1s);
  CHECK(tree.alive().empty());
  CHECK(tree.ended());
}

TROUPE_TEST("a supervisor that is told to end from outside stops its children in order, last to first") {
  booted tree(supervisor("root", {child("a"), below(supervisor("inner", {child("b"), child("c")}))}));
  tree.send_end(1);
  tree.go(1s);
  CHECK_EQ(tree.said(), std::string("end c shutdown, end b shutdown, start b, start c"));
  tree.send_end(0);
  tree.go(1s);
  CHECK_EQ(tree.said(), std::string("end c shutdown, end b shutdown, end a shutdown, root ended: shutdown"));
}

// --- restart types -------------------------------------------------------------------------------------------------

TROUPE_TEST("a table of ends: which children are started again") {
  struct row {
    const char* name;
    restart_type type;
    ending how;
    const char* said;
  };
  const std::vector<row> rows{
      {"permanent, normal", restart_type::permanent, ending::normal, "end a normal, start a"},
      {"permanent, shutdown", restart_type::permanent, ending::shutdown, "end a shutdown, start a"},
      {"permanent, crash", restart_type::permanent, ending::crash, "end a crashed, start a"},
      {"permanent, killed by somebody", restart_type::permanent, ending::kill, "end a killed, start a"},
      {"transient, normal", restart_type::transient, ending::normal, "end a normal, gone a"},
      {"transient, shutdown", restart_type::transient, ending::shutdown, "end a shutdown, gone a"},
      {"transient, crash", restart_type::transient, ending::crash, "end a crashed, start a"},
      {"transient, killed by somebody", restart_type::transient, ending::kill, "end a killed, start a"},
      {"temporary, normal", restart_type::temporary, ending::normal, "end a normal, gone a"},
      {"temporary, shutdown", restart_type::temporary, ending::shutdown, "end a shutdown, gone a"},
      {"temporary, crash", restart_type::temporary, ending::crash, "end a crashed, gone a"},
  };
  for (const auto& each : rows) {
    IN_ROW(each.name);
    booted tree(supervisor("root", {child("a", each.type), child("b")}));
    CHECK_EQ(tree.after("a", each.how), std::string(each.said));
    CHECK_EQ(tree.alive().count("b"), 1u);
  }
}

TROUPE_TEST("a temporary child is not restarted by its sibling's one_for_all, nor by rest_for_one") {
  for (const auto strategy : {restart_strategy::one_for_all, restart_strategy::rest_for_one}) {
    booted tree(supervisor("root", {child("a"), child("b", restart_type::temporary), child("c")}, strategy));
    CHECK_EQ(tree.after("a", ending::crash), std::string("end a crashed, end c shutdown, end b shutdown, gone b, start a, start c"));
  }
}

// --- strategies ----------------------------------------------------------------------------------------------------

TROUPE_TEST("a table of strategies: who is stopped and started again when the middle one of three crashes") {
  struct row {
    restart_strategy strategy;
    const char* said;
  };
  const std::vector<row> rows{
      {restart_strategy::one_for_one, "end b crashed, start b"},
      {restart_strategy::one_for_all, "end b crashed, end c shutdown, end a shutdown, start a, start b, start c"},
      {restart_strategy::rest_for_one, "end b crashed, end c shutdown, start b, start c"},
  };
  for (const auto& each : rows) {
    IN_ROW(name_of(each.strategy));
    booted tree(supervisor("root", {child("a"), child("b"), child("c")}, each.strategy));
    CHECK_EQ(tree.after("b", ending::crash), std::string(each.said));
  }
}

TROUPE_TEST("another child that fails while all are restarted stops those that are up, and all are tried again") {
  booted all(supervisor("root", {child("a"), child("b"), child("c")}, restart_strategy::one_for_all));
  all.starts_that_fail["b"] = 1;
  CHECK_EQ(all.after("c", ending::crash),
           std::string("end c crashed, end b shutdown, end a shutdown, start a, start b fails, end a shutdown, start a, start b, start c"));
  booted rest(supervisor("root", {child("a"), child("b"), child("c")}, restart_strategy::rest_for_one));
  rest.starts_that_fail["c"] = 1;
  CHECK_EQ(rest.after("b", ending::crash), std::string("end b crashed, end c shutdown, start b, start c fails, start c"));
}

TROUPE_TEST("with one_for_all a stubborn sibling delays the restart by its shutdown time, and no longer") {
  theatre tree(supervisor("root", {child("a"), child("b")}, restart_strategy::one_for_all));
  tree.stubborn.insert("a");
  tree.boot();
  tree.said();
  tree.end("b", ending::crash);
  tree.go(4'999ms);
  CHECK_EQ(tree.said(), std::string("end b crashed"));
  tree.go(1s);
  CHECK_EQ(tree.said(), std::string("end a killed, start a, start b"));
}

// --- intensity and escalation --------------------------------------------------------------------------------------

TROUPE_TEST("a table of ages: a restart whose age is exactly `within` counts, a microsecond more and it does not") {
  for (const auto strategy : {restart_strategy::one_for_one, restart_strategy::one_for_all, restart_strategy::rest_for_one})
    for (const bool edge : {true, false}) {
      IN_ROW(name_of(strategy));
      booted tree(supervisor("root", {child("a"), child("b")}, strategy, 1));
      tree.after("a", ending::crash, edge ? 5s : 5s + 1us);
      CHECK(!tree.ended());
      tree.after("a", ending::crash, 1s);
      CHECK_EQ(tree.ended(), edge);
      CHECK_EQ(tree.alive().size(), edge ? 0u : 2u);
    }
}

TROUPE_TEST("three crashes within 5 s are restarted, the fourth ends the root with a report, children last to first") {
  booted tree(supervisor("root", {child("a"), child("b"), child("c")}));
  for (const auto* who : {"a", "b", "c"}) {
    tree.after(who, ending::crash);
    CHECK_EQ(tree.alive().size(), 3u);
  }
  const auto said = tree.after("a", ending::crash, 0us);
  CHECK_EQ(said.substr(0, 67), std::string("end a crashed, end c shutdown, end b shutdown, root ended: supervis"));
  CHECK(said.find("\"a\" would be restart number 4 within 5000 ms") != std::string::npos);
}

TROUPE_TEST("max_restarts 0 escalates at the first crash, whatever the strategy") {
  for (const auto strategy : {restart_strategy::one_for_one, restart_strategy::one_for_all, restart_strategy::rest_for_one}) {
    booted tree(supervisor("root", {child("a"), child("b")}, strategy, 0));
    tree.after("b", ending::crash);
    CHECK(tree.ended());
    CHECK(tree.alive().empty());
  }
}

TROUPE_TEST("an escalation climbs: each supervisor is started anew by the one above, until the root gives up") {
  booted tree(supervisor("root",
                         {below(supervisor("middle", {below(supervisor("inner", {child("a")}, restart_strategy::one_for_one, 0))},
                                           restart_strategy::one_for_one, 1))},
                         restart_strategy::one_for_one, 1));
  // inner gives up at once; middle starts it again once, then gives up itself; so does the root.
  CHECK_EQ(tree.after("a", ending::crash, 100ms), std::string("end a crashed, start a"));
  CHECK_EQ(tree.after("a", ending::crash, 300ms), std::string("end a crashed, start a"));
  CHECK_EQ(tree.after("a", ending::crash, 100ms), std::string("end a crashed, start a"));
  CHECK(!tree.ended());
  tree.after("a", ending::crash, 1s);
  CHECK(tree.ended());
}

TROUPE_TEST("a temporary child comes back with its supervisor, and its pool is not told otherwise") {
  booted tree(supervisor("root", {child("a"), below(supervisor("inner", {child("b"), child("t", restart_type::temporary)},
                                                               restart_strategy::one_for_one, 0))}));
  CHECK_EQ(tree.after("b", ending::crash), std::string("end b crashed, end t shutdown, start b, start t"));
}

TROUPE_TEST("a transient supervisor that escalated is not restarted, as in OTP, and the pools of its members are told") {
  booted tree(supervisor("root", {child("a"), below(supervisor("inner", {child("b"), child("c")}, restart_strategy::one_for_one, 0),
                                                    restart_type::transient)}));
  CHECK_EQ(tree.after("b", ending::crash), std::string("end b crashed, end c shutdown, gone b, gone c"));
  CHECK_EQ(tree.alive(), (std::set<std::string>{"a"}));
}

TROUPE_TEST("a crash that is its task's fault, and a replaced member, are restarted without counting") {
  booted tree(supervisor("root", {child("a")}, restart_strategy::one_for_one, 0));
  for (int i = 0; i < 5; ++i)
    CHECK_EQ(tree.after("a", ending::poison), std::string("end a poisoned, start a"));
  tree.replace_members("a");
  tree.go(10s);
  CHECK_EQ(tree.said(), std::string("end a its pool died, start a"));
}

TROUPE_TEST("a new pool is told of the members that will not join it") {
  booted tree(supervisor("root", {child("b"), below(supervisor("inner", {child("a", restart_type::transient)}))}));
  tree.after("a", ending::normal);
  tree.replace_members("a");
  tree.go(1s);
  CHECK_EQ(tree.said(), std::string("gone a"));
}

// --- restarts that do not succeed ----------------------------------------------------------------------------------

TROUPE_TEST("a child that does not start while it is restarted is tried again, each attempt counted, until it escalates") {
  booted tree(supervisor("root", {child("a"), child("b")}));
  tree.starts_that_fail["b"] = 2;
  CHECK_EQ(tree.after("b", ending::crash, 3s), std::string("end b crashed, start b fails, start b fails, start b"));
  tree.go(6s);
  tree.starts_that_fail["b"] = 100;
  const auto said = tree.after("b", ending::crash, 5s);
  CHECK_EQ(said.substr(0, 84), std::string("end b crashed, start b fails, start b fails, start b fails, end a shutdown, root end"));
}

TROUPE_TEST("a supervisor answers while it restarts for ever, and can be stopped then") {
  for (const auto strategy : {restart_strategy::one_for_one, restart_strategy::one_for_all, restart_strategy::rest_for_one}) {
    IN_ROW(name_of(strategy));
    booted tree(supervisor("root", {child("a"), child("b")}, strategy, 1'000));
    tree.starts_that_fail["b"] = 1'000;
    tree.end("b", ending::crash);
    for (int i = 0; i < 10; ++i) {
      tree.go(7ms);
      const auto state = tree.state_of_node("b");
      CHECK(state == "restarting" || state == "stopped");
    }
    tree.stop();
    tree.go();
    CHECK(tree.ended());
    CHECK(tree.alive().empty());
  }
}

TROUPE_TEST("it is stopped while a stubborn child is on its way out, and waits for it") {
  theatre tree(supervisor("root", {child("a"), child("b")}, restart_strategy::one_for_all));
  tree.stubborn.insert("a");
  tree.boot();
  tree.said();
  tree.end("b", ending::crash);
  tree.go(2s);
  tree.stop();
  tree.go(2s);
  CHECK(!tree.ended());
  tree.go(1s);
  CHECK_EQ(tree.said(), std::string("end b crashed, end a killed, root ended: shutdown"));
}

// --- pools ---------------------------------------------------------------------------------------------------------

TROUPE_TEST("members of a pool are started, restarted and counted alone, and stopped last to first") {
  auto pool = child("w");
  pool.kind = child_kind::pool;
  pool.size = 3;
  booted tree(supervisor("root", {pool, child("z")}));
  CHECK_EQ(tree.after("w/2", ending::crash), std::string("end w/2 crashed, start w/2"));
  const auto described = tree.describe();
  REQUIRE(described.has_value());
  CHECK_EQ(described->children.size(), 4u);
  CHECK_EQ(described->restarts, 1);
  CHECK_EQ(described->children.at(1).restarts, 1);
  CHECK_EQ(described->children.at(0).restarts, 0);
  tree.after("w/1", ending::crash);
  tree.after("w/3", ending::crash);
  tree.after("w/1", ending::crash, 0us);
  CHECK(tree.ended());
}

TROUPE_TEST("children at run time: a member is added, stopped, started again and removed, at any supervisor of the tree") {
  using actors::child_change;
  auto pool = child("w");
  pool.kind = child_kind::pool;
  pool.size = 2;
  booted tree(supervisor("root", {child("a"), below(supervisor("inner", {pool}))}));
  CHECK_EQ(tree.change(child_change::add, child("w/3"), "inner"), std::string());
  CHECK_EQ(tree.said(), std::string("start w/3"));
  CHECK_EQ(tree.after("w/3", ending::crash), std::string("end w/3 crashed, start w/3"));
  CHECK_EQ(tree.change(child_change::add, child("w/3"), "inner"), std::string("supervisor \"inner\" has a child \"w/3\" already"));
  CHECK_EQ(tree.change(child_change::terminate, child("w/1"), "inner"), std::string());
  CHECK_EQ(tree.said(), std::string("end w/1 shutdown, gone w/1"));
  CHECK_EQ(tree.state_of_node("w/1"), std::string("stopped"));
  CHECK_EQ(tree.change(child_change::restart, child("w/1"), "inner"), std::string());
  CHECK_EQ(tree.said(), std::string("start w/1"));
  CHECK_EQ(tree.change(child_change::restart, child("w/1"), "inner"), std::string("child \"w/1\" is running"));
  CHECK_EQ(tree.change(child_change::remove, child("w/3"), "inner"), std::string());
  CHECK_EQ(tree.said(), std::string("end w/3 shutdown, gone w/3"));
  CHECK_EQ(tree.state_of_node("w/3"), std::string());
  CHECK_EQ(tree.change(child_change::remove, child("w/3"), "inner"), std::string("supervisor \"inner\" has no child \"w/3\""));
  CHECK_EQ(tree.change(child_change::add, child("x"), "nowhere"),
           std::string("supervisor \"root\" has no supervisor \"nowhere\" that runs"));
  CHECK_EQ(tree.change(child_change::add, child("x")), std::string("child \"x\" did not start: there is no agent \"x\""));
  tree.starts_that_fail["w/4"] = 1;
  CHECK_EQ(tree.change(child_change::add, child("w/4"), "inner"), std::string("child \"w/4\" did not start: it cannot start"));
  CHECK_EQ(tree.state_of_node("w/4"), std::string());
}

TROUPE_TEST("a child that waits for its restart is removed: it does not come back, and its pool is told") {
  using actors::child_change;
  booted tree(supervisor("root", {child("a"), child("b")}));
  tree.starts_that_fail["b"] = 1'000;
  tree.after("b", ending::crash, 0us);
  CHECK_EQ(tree.change(child_change::remove, child("b")), std::string());
  tree.go(10s);
  CHECK_EQ(tree.said(), std::string("gone b"));
}

// --- significant children ------------------------------------------------------------------------------------------

TROUPE_TEST("a table of auto_shutdown: when the ends of significant children end their supervisor") {
  struct step {
    const char* member;
    ending how;
    bool ends;
  };
  struct row {
    const char* name;
    auto_shutdown_type type;
    restart_type restart;
    std::vector<step> steps;
  };
  const std::vector<row> rows{
      {"any: the first transient one that ends normally",
       auto_shutdown_type::any_significant,
       restart_type::transient,
       {{"a", ending::normal, true}}},
      {"any: a crash of a transient one is restarted",
       auto_shutdown_type::any_significant,
       restart_type::transient,
       {{"a", ending::crash, false}, {"b", ending::shutdown, true}}},
      {"any: a temporary one, however it ends", auto_shutdown_type::any_significant, restart_type::temporary, {{"a", ending::crash, true}}},
      {"all: the last one",
       auto_shutdown_type::all_significant,
       restart_type::transient,
       {{"a", ending::normal, false}, {"b", ending::normal, true}}},
      {"all: the last temporary one",
       auto_shutdown_type::all_significant,
       restart_type::temporary,
       {{"b", ending::crash, false}, {"a", ending::kill, true}}},
      {"others do not matter",
       auto_shutdown_type::any_significant,
       restart_type::transient,
       {{"c", ending::normal, false}, {"a", ending::normal, true}}},
  };
  for (const auto& each : rows) {
    IN_ROW(each.name);
    auto spec = supervisor("root", {child("a", each.restart), child("b", each.restart), child("c", restart_type::transient)});
    spec.auto_shutdown = each.type;
    spec.children[0].significant = spec.children[1].significant = true;
    booted tree(spec);
    for (const auto& one : each.steps) {
      const auto said = tree.after(one.member, one.how);
      CHECK_EQ(tree.ended(), one.ends);
      if (one.ends)
        CHECK(said.find("root ended: shutdown") != std::string::npos);
    }
    CHECK(tree.alive().empty());
  }
}

TROUPE_TEST("a supervisor that ends with its significant child may be the significant child of the one above") {
  auto inner = supervisor("inner", {child("a", restart_type::transient), child("b")});
  inner.auto_shutdown = auto_shutdown_type::any_significant;
  inner.children[0].significant = true;
  auto spec = supervisor("root", {child("z"), below(inner, restart_type::transient)});
  spec.auto_shutdown = auto_shutdown_type::any_significant;
  spec.children[1].significant = true;
  booted tree(spec);
  const auto said = tree.after("a", ending::normal);
  CHECK(said.find("end b shutdown") < said.find("end z shutdown"));
  CHECK(said.find("root ended: shutdown") != std::string::npos);
}
