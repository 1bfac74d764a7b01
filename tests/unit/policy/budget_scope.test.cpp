#include "troupe/policy/budget_scope.hpp"

#include "test.hpp"

TROUPE_SUITE(budget_scope)

using namespace troupe::policy;

TROUPE_TEST("the end of a task's or an agent's limit ends the task; of all that is above, the run") {
  CHECK(!ends_the_run(task_scope("all[3]/deep")));
  CHECK(!ends_the_run(agent_scope("worker")));
  CHECK(ends_the_run(run_scope));
  CHECK(ends_the_run(tenant_scope("task force")));
  CHECK(ends_the_run(process_scope));
}
