#include "troupe/actors/checkpoint.hpp"

#include "test.hpp"

#include "stage.hpp"
#include "troupe/policy/approval_requests.hpp"
#include "troupe/store/memory.hpp"

// The checkpoint in virtual time: what it reads and what it writes is there when the test says so.

TROUPE_SUITE(checkpoint)

using namespace troupe;
using namespace troupe::actors;

namespace {

struct checkpoint_stage : test::stage {
  checkpoint_stage() {
    context->run_id = "R1";
    context->config = std::make_shared<configuration>();
    written.at_once = true;
    journal = add(system->spawn(test::desk, &written));
    made = open();
  }
  ~checkpoint_stage() {
    written.reads.clear();
    clear();
  }

  checkpoint_actor open() {
    return add(spawn_checkpoint(*system, journal, table, [] { return std::int64_t{1'000'000}; }));
  }
  void ask_to_pay(std::int64_t needed = 1) {
    approval_ask wanted{.run = context, .task = "a", .agent = "worker", .subject = "pay", .moment = "a@1/1 c1"};
    wanted.action = {{"to", "ana"}};
    wanted.needed = needed;
    ask<approval_answer>(made, wanted, [this](const approval_answer& came) { answer = came; });
  }
  void approve(const std::string& id, const std::string& reviewer = "ana") {
    const policy::approval_decision decision{policy::approval_choice::approve, reviewer, "fine", nullptr, {}};
    tell(made, decision_arrived{"R1", id, policy::text_of(decision), 1'000'001});
  }

  test::paper written;
  std::shared_ptr<store::journal> table = store::open_memory(); ///< of decisions
  std::shared_ptr<run_context> context = std::make_shared<run_context>();
  journal_actor journal;
  checkpoint_actor made;
  std::optional<approval_answer> answer;
};

} // namespace

TROUPE_TEST_WITH(checkpoint_stage, "what was decided is answered to whoever asks again, and is not recorded twice") {
  ask_to_pay();
  REQUIRE(written.said() == "approval_requested");
  const auto id = written.last<approval_requested>()->id;
  approve(id);
  REQUIRE(answer.has_value());
  CHECK(answer->status == approval_status::approved);
  CHECK_EQ(written.said(), "approval_requested, approval_decided");
  kill(made);
  answer.reset();
  made = open();
  approve(id); // its successor is told of all decisions from the start
  ask_to_pay();
  REQUIRE(answer.has_value());
  CHECK(answer->status == approval_status::approved);
  CHECK_EQ(answer->reviewer, "ana");
  CHECK_EQ(written.said(), "approval_requested, approval_decided");
}

TROUPE_TEST_WITH(checkpoint_stage, "what is withdrawn while the journal is asked about it is asked of nobody") {
  written.reads_wait = true;
  ask_to_pay();
  tell(made, cancel_calls{"R1", "a"});
  REQUIRE(answer.has_value());
  CHECK(answer->status == approval_status::pending);
  tell(journal, events_read{});
  CHECK_EQ(written.said(), "");
  CHECK(context->waiting.empty());
  // Nothing of it is left: who asks later does so anew.
  answer.reset();
  ask_to_pay();
  tell(journal, events_read{});
  CHECK(!answer);
  CHECK_EQ(written.said(), "approval_requested");
}

TROUPE_TEST_WITH(checkpoint_stage, "what is decided while an abort is undone counts when it is asked again") {
  ask_to_pay();
  const auto id = written.last<approval_requested>()->id;
  tell(made, cancel_calls{"R1", "a"}); // the run is aborted, and its process dies before that is recorded
  written.groups.push_back({task_finished{1, task_status::timeout, "timeout", {}, {}}});
  kill(made);
  made = open();
  answer.reset();
  approve(id); // it is listed as one that waits
  ask_to_pay();
  REQUIRE(answer.has_value());
  CHECK(answer->status == approval_status::approved);
}

TROUPE_TEST_WITH(checkpoint_stage, "a vote counts for no later asking, however late and often it is told of") {
  for (const bool known_before : {false, true}) {
    const char* when = known_before ? "told of before it is asked again" : "told of later";
    IN_ROW(when);
    written.groups.clear();
    kill(made);
    made = open();
    answer.reset();
    ask_to_pay(2);
    const auto id = written.last<approval_requested>()->id;
    approve(id);
    REQUIRE(written.last<approval_voted>() != nullptr);
    tell(made, cancel_calls{"R1", "a"}); // the run is aborted
    written.groups.push_back({task_finished{1, task_status::timeout, "timeout", {}, {}}});
    kill(made);
    made = open();
    answer.reset();
    if (known_before)
      approve(id);
    ask_to_pay(2);
    CHECK_EQ(written.last<approval_requested>()->void_decisions, 1);
    approve(id);
    approve(id, "bob");
    approve(id, "bob"); // the same one once more: its run was taken up again in this process
    CHECK(!answer);
    approve(id, "eva");
    REQUIRE(answer.has_value());
    CHECK(answer->status == approval_status::approved);
    CHECK_EQ(answer->reviewer, "eva");
  }
}
