#include "checks_support.hpp"

TROUPE_SUITE(config_supervision)

using namespace troupe;
using namespace troupe::config;
using namespace troupe::config::checks;

TROUPE_TEST("the supervision tree follows OTP's rules") {
  const auto tree = [](const std::string& text) { return sections{{"supervision", text}}; };
  check({
      {"an agent twice", tree("{ children: [ { agent: writer }, { supervisor: { name: s, children: [ { pool: writer } ] } } ] }"),
       "/supervision/children/1/supervisor/children/0/pool: agent \"writer\" has a place in the tree already, at "
       "/supervision/children/0/agent"},
      {"a supervisor twice",
       tree("{ children: [ { agent: writer }, { supervisor: { name: s, children: [ { agent: editor } ] } }, { supervisor: { name: s, "
            "children: [ { agent: saver } ] } } ] }"),
       "/supervision/children/2/supervisor/name: \"s\" is the name of another node of the tree"},
      {"a supervisor named as an agent",
       tree("{ children: [ { agent: writer }, { supervisor: { name: writer, children: [ { agent: editor } ] } } ] }"),
       "/supervision/children/1/supervisor/name: "},
      {"no name", tree("{ children: [ { agent: writer }, { supervisor: { children: [ { agent: editor } ] } } ] }"),
       "/supervision/children/1/supervisor: a supervisor below another one needs a name"},
      {"nobody", tree("{ children: [ { agent: writer }, {} ] }"),
       "/supervision/children/1: a child names exactly one of agent, pool and supervisor"},
      {"two at once", tree("{ children: [ { agent: writer, pool: editor } ] }"),
       "/supervision/children/0: a child names exactly one of agent, pool and supervisor"},
      {"no children", tree("{ children: [] }"), "/supervision/children: is empty; at least one is needed"},
      {"missing an agent that a workflow uses", tree("{ children: [ { agent: editor } ] }"),
       "/workflows/report/tasks/0/agent: agent \"writer\" has no place in the supervision tree"},
      {"size of an agent", tree("{ children: [ { agent: writer, size: 2 } ] }"),
       "/supervision/children/0: the key \"pool\" is missing, which \"size\" needs beside it"},
      {"negative restarts", tree("{ max_restarts: -1, children: [ { agent: writer } ] }"),
       "/supervision/max_restarts: -1 is less than the minimum 0"},
      {"no time", tree("{ within: 0s, children: [ { agent: writer } ] }"), "/supervision/within: a time of zero"},
      {"negative time", tree("{ children: [ { agent: writer, shutdown: -1s } ] }"),
       "/supervision/children/0/shutdown: \"-1s\" is negative"},
      {"permanent and significant", tree("{ auto_shutdown: any_significant, children: [ { agent: writer, significant: true } ] }"),
       "/supervision/children/0/significant: a permanent child is always restarted"},
      {"significant without auto_shutdown", tree("{ children: [ { agent: writer, significant: true, restart: transient } ] }"),
       "/supervision/children/0/significant: no meaning without auto_shutdown"},
      {"auto_shutdown without significant", tree("{ auto_shutdown: all_significant, children: [ { agent: writer } ] }"),
       "/supervision/auto_shutdown: no child is significant"},
      {"a good one",
       tree("{ name: top, strategy: rest_for_one, auto_shutdown: any_significant, children: [ { pool: writer, size: 3, shutdown: "
            "brutal_kill }, { agent: editor, restart: transient, significant: true, shutdown: infinity } ] }"),
       ""},
  });
}

TROUPE_TEST("without a tree every agent has a pool of one under one_for_one") {
  const auto result = loaded({});
  REQUIRE(result.ok());
  const auto& tree = result.value->supervision;
  CHECK_EQ(tree.name, "root");
  CHECK(tree.strategy == restart_strategy::one_for_one);
  REQUIRE(tree.children.size() == 3);
  for (const auto& child : tree.children) {
    CHECK(child.kind == child_kind::pool);
    CHECK_EQ(child.size, 1);
  }
}

TROUPE_TEST("supervisors have all the time to stop, other children five seconds") {
  const auto result =
      loaded({{"supervision",
               "{ children: [ { agent: writer }, { supervisor: { name: s, children: [ { pool: editor, shutdown: 250ms } ] } } ] }"}});
  REQUIRE(result.ok());
  const auto& children = result.value->supervision.children;
  CHECK_EQ(children[0].shutdown.time.count(), 5'000);
  CHECK(children[1].shutdown.infinity);
  CHECK_EQ(children[1].supervisor.at(0).children.at(0).shutdown.time.count(), 250);
}
