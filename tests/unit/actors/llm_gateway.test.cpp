#include "troupe/actors/llm_gateway.hpp"

#include "test.hpp"

#include "stage.hpp"

// The gateway in virtual time, with a guard that grants when the test says so.

TROUPE_SUITE(llm_gateway)

using namespace troupe;
using namespace troupe::actors;
using std::chrono::seconds;

namespace {

/// Counts what is sent to it, and keeps silent.
class silent_provider final : public llm::provider {
public:
  llm::transfer_id start(llm_request, llm::on_outcome) override { return ++started; }
  void cancel(llm::transfer_id) override {}
  std::int64_t input_token_bound(const llm_request&) const override { return 100; }
  std::int64_t input_token_estimate(const llm_request&) const override { return 50; }
  llm::transfer_id started = 0;
};

budget_guard_actor::behavior_type granting_guard(budget_guard_actor::pointer, test::guarded* log) {
  return {
      [log](const reserve& wanted) {
        log->reserved.push_back(wanted.id);
        return reserve_answer{.granted = true};
      },
      [log](const settle& done) { log->settled.push_back(done.id); },
      [log](const release& back) { log->released.push_back(back.id); },
      [](const budget_query&) { return budget_report{}; },
      [](const time_check&) { return time_checked{}; },
  };
}

struct gateway_stage : test::stage {
  gateway_stage() {
    auto config = std::make_shared<configuration>();
    config->providers["p"].name = "p";
    model_spec model;
    model.name = "m";
    model.chain.push_back({.provider = "p", .model = "first", .price = {}});
    config->models["m"] = model;
    context->run_id = "R1";
    context->config = config;
    context->deadline = clock_point::max();
    context->guard = add(system->spawn(test::slow_guard, &guard));
    journal = add(system->spawn(test::desk, &written));
    gateway = add(spawn_llm_gateway(*system, journal, {{"p", provider}}, 1));
  }
  ~gateway_stage() {
    guard.waiting.clear();
    written.waiting.clear();
    clear();
  }

  void ask_model(bool recovering = false) {
    ask<llm_answer>(gateway,
                    llm_ask{.run = context,
                            .task = "a",
                            .agent = "worker",
                            .step_id = "a@1/1",
                            .model = "m",
                            .deadline = now() + seconds(10),
                            .recovering = recovering},
                    [this](const llm_answer& came) { answer = came; });
  }

  test::paper written;
  test::guarded guard;
  std::shared_ptr<silent_provider> provider = std::make_shared<silent_provider>();
  std::shared_ptr<run_context> context = std::make_shared<run_context>();
  journal_actor journal;
  llm_gateway_actor gateway;
  std::optional<llm_answer> answer;
};

} // namespace

TROUPE_TEST_WITH(gateway_stage, "a step that is given up while it waits in the guard's line leaves the line") {
  struct row {
    const char* name;
    std::function<void()> end;
    task_status status;
  };
  for (const auto& r : {row{"cancelled",
                            [this] {
                              tell(gateway, cancel_calls{"R1", "a"});
                            },
                            task_status::cancelled},
                        row{"its time is up", [this] { pass(seconds(11)); }, task_status::timeout}}) {
    IN_ROW(r.name);
    guard = {};
    answer.reset();
    ask_model();
    REQUIRE(guard.reserved.size() == 1);
    CHECK(!answer);
    r.end();
    REQUIRE(answer.has_value());
    CHECK(answer->status == r.status);
    CHECK(guard.released == guard.reserved);
    CHECK(guard.settled.empty());
  }
  CHECK_EQ(provider->started, 0u);
}

TROUPE_TEST_WITH(gateway_stage, "a request that no journal records any more is not sent, and gives back what was reserved for it") {
  context->guard = add(system->spawn(granting_guard, &guard));
  kill(journal);
  ask_model();
  REQUIRE(answer.has_value());
  CHECK_EQ(answer->reason, "journal_unavailable");
  CHECK_EQ(guard.reserved.size(), 1u);
  CHECK(guard.released == guard.reserved);
  CHECK(guard.settled.empty());
  CHECK_EQ(provider->started, 0u);
}

TROUPE_TEST_WITH(gateway_stage, "a step that may have been answered before is not sent while the journal cannot be read") {
  context->guard = add(system->spawn(granting_guard, &guard));
  written.unreadable = {error_code::unavailable, "disk I/O error", "journal"};
  ask_model(true);
  REQUIRE(answer.has_value());
  CHECK_EQ(answer->reason, "journal_unavailable");
  CHECK(guard.reserved.empty());
  CHECK_EQ(provider->started, 0u);
}

TROUPE_TEST_WITH(gateway_stage, "once its run winds down, a step that is granted its money sends nothing, and gives it back") {
  ask_model();
  REQUIRE(guard.waiting.size() == 1);
  context->winding_down = true;
  guard.grant = true;
  tell(context->guard, time_check{});
  REQUIRE(answer.has_value());
  CHECK(answer->status == task_status::cancelled);
  CHECK(guard.released == guard.reserved);
  // Nor does it ask for any.
  answer.reset();
  ask_model();
  REQUIRE(answer.has_value());
  CHECK(answer->status == task_status::cancelled);
  CHECK_EQ(guard.reserved.size(), 1u);
  CHECK_EQ(provider->started, 0u);
}
