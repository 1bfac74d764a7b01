#include "troupe/policy/budget_scope.hpp"

#include "test.hpp"

#include "troupe/model/config.hpp"

TROUPE_SUITE(budget_scope)

using namespace troupe;
using namespace troupe::policy;

TROUPE_TEST("the end of a task's or an agent's limit ends the task; of all that is above, the run") {
  CHECK(!ends_the_run(task_scope("all[3]/deep")));
  CHECK(!ends_the_run(agent_scope("worker")));
  CHECK(ends_the_run(run_scope));
  CHECK(ends_the_run(tenant_scope("task force")));
  CHECK(ends_the_run(process_scope));
}

namespace {

limits steps(std::int64_t count) {
  return {{}, {}, count};
}

task_spec task(std::string id, limits budget, std::string workflow = {}, std::string for_each = {}) {
  task_spec made;
  made.id = std::move(id);
  made.budget = budget;
  made.workflow = std::move(workflow);
  made.for_each = std::move(for_each);
  return made;
}

/// main: plain (1 step), calls (sub; 1 dollar), each (sub, for each; 20 steps) · sub: inner (2), list (3, for each), deep (leaf) · leaf:
/// own (4)
configuration company() {
  configuration made;
  auto& main = made.workflows["main"];
  main.tasks = {task("plain", steps(1)), task("free", {}), task("calls", {usd{1'000'000}, {}, {}}, "sub"),
                task("each", steps(20), "sub", "{{ input.l }}")};
  auto& sub = made.workflows["sub"];
  sub.budget = {usd{7}, milliseconds{70}, 70};
  sub.tasks = {task("inner", steps(2)), task("list", steps(3), {}, "{{ input.x }}"), task("deep", {}, "leaf")};
  auto& leaf = made.workflows["leaf"];
  leaf.budget = steps(8);
  leaf.tasks = {task("own", steps(4))};
  return made;
}

} // namespace

TROUPE_TEST("which limits what a task's path names has") {
  struct row {
    const char* rule;
    const char* path;
    limits wanted;
  };
  const limits none, of_sub{usd{7}, milliseconds{70}, 70};
  const row rows[] = {
      {"a task's own", "plain", steps(1)},
      {"a task without", "free", none},
      {"its answers of several agents count for it alone", "plain(writer)", none},
      {"so does whom its agent asks", "plain>helper", none},
      {"kind by kind, what the task does not say its sub-workflow says", "calls", {usd{1'000'000}, milliseconds{70}, 70}},
      {"a task inside", "calls/inner", steps(2)},
      {"an element has none of its own", "calls/list[3]", none},
      {"its list has", "calls/list", steps(3)},
      {"a sub-workflow's own hold without any of the task", "calls/deep", steps(8)},
      {"two levels down", "calls/deep/own", steps(4)},
      {"for each: the task's are all elements' together", "each", steps(20)},
      {"… and the sub-workflow's each element's", "each[3]", of_sub},
      {"inside of an element as anywhere", "each[3]/inner", steps(2)},
      {"for each in for each", "each[3]/list", steps(3)},
      {"below an element, two levels down", "each[12]/deep/own", steps(4)},
      {"whom an element's agent asks counts for the element", "each[3]>helper", none},
      {"a name nobody has", "nobody", none},
      {"a path below what runs no workflow", "plain/inner", none},
      {"nothing", "", none},
  };
  const auto config = company();
  for (const auto& each : rows) {
    IN_ROW(each.rule);
    CHECK(limits_of_task(config, "main", each.path) == each.wanted);
  }
  CHECK(limits_of_task(config, "nobody", "plain") == none);
}

TROUPE_TEST("whether any task has limits is known without looking below") {
  configuration config;
  config.workflows["w"].tasks = {task("a", {}), task("b", {})};
  CHECK(!any_task_has_limits(config, "w"));
  config.workflows["w"].tasks[1].workflow = "other"; // a workflow always has some
  CHECK(any_task_has_limits(config, "w"));
  config.workflows["w"].tasks[1] = task("b", steps(1));
  CHECK(any_task_has_limits(config, "w"));
  CHECK(!any_task_has_limits(config, "nobody"));
}
