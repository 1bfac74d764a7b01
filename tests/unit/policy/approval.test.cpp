#include "test.hpp"

#include "troupe/policy/approval.hpp"
#include "troupe/policy/budget_scope.hpp"

TROUPE_SUITE(approval)

using namespace troupe;

TROUPE_TEST("by default low and medium risk run, high and critical ask one human") {
  const checkpoint_spec standard;
  CHECK_EQ(policy::approvals_needed(standard, risk::low), 0);
  CHECK_EQ(policy::approvals_needed(standard, risk::medium), 0);
  CHECK_EQ(policy::approvals_needed(standard, risk::high), 1);
  CHECK_EQ(policy::approvals_needed(standard, risk::critical), 1);
}

TROUPE_TEST("the policy's own numbers count, a negative one is none, and a risk that it does not name asks one") {
  checkpoint_spec own;
  own.approvals = {{"low", 1}, {"medium", -1}, {"critical", 2}};
  CHECK_EQ(policy::approvals_needed(own, risk::low), 1);
  CHECK_EQ(policy::approvals_needed(own, risk::medium), 0);
  CHECK_EQ(policy::approvals_needed(own, risk::high), 1);
  CHECK_EQ(policy::approvals_needed(own, risk::critical), 2);
}

TROUPE_TEST("a task's or an agent's limit ends the task, every other one the run") {
  CHECK(!policy::ends_the_run(policy::task_scope("a/b[3]")));
  CHECK(!policy::ends_the_run(policy::agent_scope("writer")));
  CHECK(policy::ends_the_run(policy::run_scope));
  CHECK(policy::ends_the_run(policy::tenant_scope("task force")));
  CHECK(policy::ends_the_run(policy::process_scope));
}

TROUPE_TEST("what the model reads of a rejection: who, why, and that the same is not to be tried again") {
  CHECK_EQ(
      policy::rejected_text("deploy", "ana", "not on a Friday"),
      "Rejected: the call of \"deploy\" was not run. ana rejected it: not on a Friday. Do not try the same again: find another way, or say "
      "what you could not do.");
  CHECK(policy::rejected_text("deploy", "ana", "").find("ana rejected it. Do not") != std::string::npos);
  CHECK(policy::rejected_text("deploy", "", "Auto-rejected: approval timeout").find("run. Auto-rejected: approval timeout. Do")
        != std::string::npos);
}
