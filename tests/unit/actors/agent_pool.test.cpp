#include "troupe/actors/agent_pool.hpp"

#include "test.hpp"

#include "stage.hpp"
#include "troupe/actors/human_time.hpp"

// An agent's pool in virtual time: its members answer when the test says so, and die.

TROUPE_SUITE(agent_pool)

using namespace troupe;
using namespace troupe::actors;
using std::chrono::seconds;

namespace {

struct pool_stage : test::stage {
  pool_stage() {
    agent_spec worker;
    worker.name = "worker";
    worker.tools = {"look"};
    auto config = std::make_shared<configuration>();
    config->agents["worker"] = worker;
    context->run_id = "R1";
    context->config = config;
    auto peers = std::make_shared<agent_peers>();
    peers->journal = add(system->spawn(test::desk, &written));
    peers->gateway = std::make_shared<service<llm_gateway_actor>>(add(system->spawn(test::idle_gateway, &of_gateway)));
    peers->hosts["look"] = std::make_shared<service<tool_host_actor>>(add(system->spawn(test::idle_host, &of_host)));
    pool = add(spawn_agent_pool(*system, "worker", {"worker/1"}, peers, 3));
    go();
  }
  ~pool_stage() {
    member.tasks.clear();
    clear();
  }

  agent_actor join() {
    const auto made = add(system->spawn(test::idle_member, &member));
    tell(pool, member_joined{"worker/1", made, "root"});
    return made;
  }
  void crash(const agent_actor& who) {
    caf::anon_send_exit(who, caf::exit_reason::unhandled_exception);
    go();
  }
  task_assignment task(milliseconds timeout = {}) {
    return {.run = context,
            .task = "a",
            .agent = "worker",
            .given = mark(human, now()),
            .human = human,
            .deadline = timeout.count() > 0 ? now() + timeout : clock_point::max(),
            .desk = {}};
  }
  void submit(task_assignment order) {
    ask<task_result>(pool, std::move(order), [this](const task_result& came) { result = came; });
  }
  void cancel(bool timed_out = false) { tell(pool, cancel_task{"R1", "a", timed_out}); }

  test::paper written;
  test::ended_calls of_gateway, of_host;
  test::given_work member; ///< of whichever has joined
  std::shared_ptr<run_context> context = std::make_shared<run_context>();
  std::shared_ptr<human_time> human = std::make_shared<human_time>();
  agent_pool_actor pool;
  std::optional<task_result> result;
};

constexpr const char* over_in_line = "the task's time is over before a member of its pool was free";

} // namespace

TROUPE_TEST_WITH(pool_stage, "a task that is cancelled after its agent died ends the calls of that one, and says that some may be left") {
  const auto first = join();
  submit(task());
  REQUIRE(member.tasks.size() == 1);
  kill(first);
  CHECK(!result);
  cancel();
  REQUIRE(result.has_value());
  CHECK(result->status == task_status::cancelled);
  CHECK_EQ(result->error, "its agent was gone");
  CHECK(result->abandoned);
  CHECK(of_gateway.of == std::vector<std::string>{"R1 a"});
  CHECK(of_host.of == std::vector<std::string>{"R1 a"});
}

TROUPE_TEST_WITH(pool_stage, "so does one that fails because no member is left") {
  const auto first = join();
  submit(task());
  REQUIRE(member.tasks.size() == 1);
  kill(first);
  CHECK(of_gateway.of.empty()); // its next member goes on with them
  tell(pool, member_gone{"worker/1"});
  REQUIRE(result.has_value());
  CHECK_EQ(result->reason, "no_member");
  CHECK(result->abandoned);
  CHECK(of_gateway.of == std::vector<std::string>{"R1 a"});
  CHECK(of_host.of == std::vector<std::string>{"R1 a"});
  // One that a pool which died had before: it is taken up by nobody.
  auto order = task();
  order.task = "b";
  order.resumed = true;
  submit(order);
  CHECK(of_gateway.of == std::vector<std::string>({"R1 a", "R1 b"}));
  CHECK(result->abandoned); // the run's end waits for what they cost
}

TROUPE_TEST_WITH(pool_stage, "a task that is cancelled before it began has no calls to end") {
  submit(task());
  cancel();
  REQUIRE(result.has_value());
  CHECK(result->status == task_status::cancelled);
  CHECK_EQ(result->error, "it had not begun");
  CHECK(!result->abandoned);
  CHECK(of_gateway.of.empty());
  join();
  CHECK(member.tasks.empty());
}

TROUPE_TEST_WITH(pool_stage, "a crash counts, though its agent joins again before its pool hears of it") {
  const auto first = join();
  submit(task());
  const auto second = join();
  REQUIRE(member.tasks.size() == 2);
  CHECK(written.last<agent_crashed>() == nullptr);
  crash(first);
  REQUIRE(written.last<agent_crashed>() != nullptr);
  CHECK_EQ(written.last<agent_crashed>()->crashes, 1);
  CHECK(!result);
  auto alive = second;
  for (int crashes = 2; crashes <= 3; ++crashes) {
    crash(alive);
    CHECK(!result);
    alive = join();
  }
  crash(alive);
  REQUIRE(result.has_value());
  CHECK_EQ(result->reason, "poison");
  CHECK_EQ(result->crashes, 4);
  CHECK(of_gateway.of == std::vector<std::string>{"R1 a"}); // what it asked for last ends with it
}

TROUPE_TEST_WITH(pool_stage, "of several wishes to end a task the first one is its reason, whoever has to say it") {
  for (const bool late : {true, false}) {
    IN_ROW((late ? "its time was up" : "it was cancelled"));
    result.reset();
    const auto made = join();
    submit(task());
    cancel(late);
    cancel(!late);
    CHECK_EQ(member.wishes.size(), 2u);
    CHECK(!result); // its agent answers once nothing of it is under way
    kill(made);
    REQUIRE(result.has_value());
    CHECK(result->status == (late ? task_status::timeout : task_status::cancelled));
    CHECK_EQ(result->reason, late ? "timeout" : "cancelled");
    CHECK(result->abandoned);
    member = {};
  }
}

TROUPE_TEST_WITH(pool_stage, "a task's own time ends it while it waits for a member") {
  submit(task(seconds(10)));
  pass(seconds(9));
  CHECK(!result);
  pass(seconds(1));
  REQUIRE(result.has_value());
  CHECK(result->status == task_status::timeout);
  CHECK_EQ(result->reason, "timeout");
  CHECK_EQ(result->error, over_in_line);
  CHECK(!result->abandoned);
  join();
  CHECK(member.tasks.empty()); // it is in no line any more, and nobody is held for it
  auto other = task();
  other.task = "b";
  submit(other);
  CHECK_EQ(member.tasks.size(), 1u);
}

TROUPE_TEST_WITH(pool_stage, "and so does the latest that it may take") {
  auto order = task(seconds(20));
  order.deadline = now() + seconds(5);
  submit(order);
  pass(seconds(5));
  REQUIRE(result.has_value());
  CHECK_EQ(result->error, over_in_line);
}

TROUPE_TEST_WITH(pool_stage, "a task in line gets the time back that humans took, and not more") {
  submit(task(seconds(10)));
  pass(seconds(5));
  human->begin(now());
  pass(seconds(60));
  CHECK(!result);
  human->end(now());
  pass(seconds(4));
  CHECK(!result);
  pass(seconds(2)); // it does not look over and over while somebody waits
  REQUIRE(result.has_value());
  CHECK_EQ(result->error, over_in_line);
}

TROUPE_TEST_WITH(pool_stage, "with a member a task's time is that one's to watch; back in line it is the pool's again") {
  const auto first = join();
  submit(task(seconds(10)));
  pass(seconds(60));
  CHECK(!result);
  kill(first);
  REQUIRE(result.has_value());
  CHECK_EQ(result->error, over_in_line);
  CHECK(result->abandoned);
  CHECK(of_gateway.of == std::vector<std::string>{"R1 a"});
}
