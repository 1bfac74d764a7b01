#include "test.hpp"

#include "stage.hpp"
#include "troupe/actors/tool_host.hpp"
#include "troupe/policy/tool_call.hpp"

// The tool host and its gate in virtual time: each append is durable, and each tool ends, when the test says so.

TROUPE_SUITE(tool_host)

using namespace troupe;
using namespace troupe::actors;

namespace {

/// Runs until the test, or who cancels it, says how it ended.
class held_tool final : public tools::runner {
public:
  held_tool(std::map<std::string, std::vector<tools::on_outcome>>& running, std::vector<milliseconds>& timeouts)
      : running_(running), timeouts_(timeouts) {}
  tools::running_id start(invocation call, tools::on_outcome done) override {
    auto& of_tool = running_[call.tool];
    of_tool.push_back(std::move(done));
    timeouts_.push_back(call.timeout);
    name_ = call.tool;
    return of_tool.size();
  }
  void cancel(tools::running_id id) override {
    if (auto done = std::exchange(running_[name_].at(id - 1), nullptr))
      done({tool_status::cancelled, {}, "cancelled", 0, false});
  }

private:
  std::map<std::string, std::vector<tools::on_outcome>>& running_;
  std::vector<milliseconds>& timeouts_;
  std::string name_;
};

struct bench : test::stage {
  bench() {
    journal = stage::add(system->spawn(test::desk, &written));
    gate = std::make_shared<service<tool_gate_actor>>(stage::add(spawn_tool_gate(*system)));
    context->run_id = "R1";
    go();
  }
  ~bench() {
    for (const auto& each : hosts)
      kill(each);
    running.clear();
    written.waiting.clear();
    clear();
  }

  void add(const std::string& name, effect what, std::string alternative = {}, std::int64_t at_once = 16) {
    tool_spec spec;
    spec.name = name;
    spec.kind = tool_kind::process;
    spec.command = {name};
    spec.description = name;
    spec.parameters = {{"type", "object"}};
    spec.effect = what;
    spec.alternative = std::move(alternative);
    spec.max_parallel = at_once;
    auto ready = tools::prepare(spec, std::make_unique<held_tool>(running, timeouts));
    REQUIRE(ready.has_value());
    tools->specs[name] = spec;
    tools->prepared.emplace(name, std::move(*ready));
  }
  tool_host_actor host() {
    hosts.push_back(spawn_tool_host(*system, journal, gate, tools, 1));
    return hosts.back();
  }

  /// Asks for a call; what is answered stands in `answers`.
  void ask_for(const tool_host_actor& at, const std::string& tool, const std::string& call_id, bool recovering = false,
               clock_point::duration time = std::chrono::hours(1)) {
    invoke wanted{.run = context,
                  .task = "t",
                  .agent = "a",
                  .step_id = "t@1/1",
                  .tool = tool,
                  .call_id = call_id,
                  .arguments = json::object(),
                  .deadline = now() + time,
                  .agent_tools = {tool},
                  .recovering = recovering,
                  .quota = std::make_shared<policy::tool_quota>()};
    ask<tool_answer>(at, wanted, [this, call_id](const tool_answer& came) { answers[call_id] = came; });
  }
  /// The gate dies, and the keeper does its part.
  void gate_dies(bool for_good = false) {
    const auto dead = gate->now();
    kill(dead);
    if (for_good)
      gate->give_up();
    else
      gate->replace(stage::add(spawn_tool_gate(*system)));
    gate->tell_all(caf::down_msg{dead.address(), crash_error("died in a test")}, for_good);
    go();
  }
  void cancel_all(const tool_host_actor& at) { tell(at, cancel_calls{"R1", ""}); }
  /// The oldest append is durable.
  void write() {
    REQUIRE(!written.waiting.empty());
    tell(journal, groups_written{});
  }
  void finish(const std::string& tool, std::size_t which, tool_status status) {
    std::exchange(running[tool].at(which), nullptr)({status, "done", status == tool_status::ok ? "" : "it said no", 0, false});
    go();
  }
  std::size_t starts(const std::string& tool) { return running[tool].size(); }
  tool_status status_of(const std::string& call_id) {
    REQUIRE(answers.count(call_id) == 1);
    return answers[call_id].status;
  }

  test::paper written;
  std::map<std::string, std::vector<tools::on_outcome>> running; ///< by tool, in the order of their starts
  std::vector<milliseconds> timeouts;                            ///< of all starts, in their order
  std::shared_ptr<toolset> tools = std::make_shared<toolset>();
  std::shared_ptr<run_context> context = std::make_shared<run_context>();
  std::map<std::string, tool_answer> answers;
  journal_actor journal;
  gate_service gate;
  std::vector<tool_host_actor> hosts;
};

} // namespace

TROUPE_TEST_WITH(bench, "a failure and the result that it comes to are recorded in one piece") {
  add("pay", effect::once);
  ask_for(host(), "pay", "c1");
  write();
  finish("pay", 0, tool_status::failed);
  CHECK_EQ(written.said(), "tool_started, tool_failed (report) + tool_finished");
  CHECK(status_of("c1") == tool_status::failed);
}

TROUPE_TEST_WITH(bench, "a call that is cancelled while it waits for its place is not recorded, and runs when it is asked for again") {
  add("pay", effect::once, {}, 1);
  const auto first = host();
  ask_for(first, "pay", "c1");
  ask_for(first, "pay", "c2");
  write();
  CHECK_EQ(starts("pay"), 1);
  cancel_all(first);
  CHECK(status_of("c1") == tool_status::cancelled);
  CHECK(status_of("c2") == tool_status::cancelled);
  CHECK_EQ(written.said(), "tool_started");
  const auto second = host();
  ask_for(second, "pay", "c1", true);
  CHECK(status_of("c1") == tool_status::in_doubt);
  ask_for(second, "pay", "c2", true);
  write();
  finish("pay", 1, tool_status::ok);
  CHECK(status_of("c2") == tool_status::ok);
}

TROUPE_TEST_WITH(bench, "a call that is cancelled while its start is being recorded did not begin, and runs when it is asked for again") {
  add("pay", effect::once);
  const auto first = host();
  ask_for(first, "pay", "c1");
  cancel_all(first);
  write();
  CHECK_EQ(starts("pay"), 0);
  CHECK(status_of("c1") == tool_status::cancelled);
  CHECK_EQ(written.said(), "tool_started, tool_failed (retry)");
  ask_for(host(), "pay", "c1", true);
  write();
  REQUIRE(starts("pay") == 1);
  finish("pay", 0, tool_status::ok);
  CHECK(status_of("c1") == tool_status::ok);
}

TROUPE_TEST_WITH(bench, "once its run winds down no call begins, and it runs when it is asked for again") {
  add("pay", effect::once);
  context->winding_down = true;
  ask_for(host(), "pay", "c1");
  CHECK(status_of("c1") == tool_status::cancelled);
  CHECK_EQ(written.said(), "");
  CHECK_EQ(starts("pay"), 0u);
  context->winding_down = false;
  ask_for(host(), "pay", "c1", true);
  write();
  finish("pay", 0, tool_status::ok);
  CHECK(status_of("c1") == tool_status::ok);
}

TROUPE_TEST_WITH(bench, "a call that ended well before it heard of its cancel is recorded: it is not in doubt") {
  add("pay", effect::once);
  const auto at = host();
  ask_for(at, "pay", "c1");
  write();
  const auto done = std::exchange(running["pay"].at(0), nullptr); // it has ended; a cancel finds nothing any more
  cancel_all(at);
  done({tool_status::ok, "paid", "", 0, false});
  go();
  CHECK_EQ(written.said(), "tool_started, tool_finished");
  CHECK(status_of("c1") == tool_status::ok);
}

TROUPE_TEST_WITH(bench, "a tool of effect `once` that failed is not turned to again: its alternative goes on") {
  add("pay", effect::once, "look");
  add("look", effect::none);
  const auto first = host();
  ask_for(first, "pay", "c1");
  write();
  finish("pay", 0, tool_status::timed_out);
  CHECK_EQ(starts("look"), 1);
  kill(first);
  ask_for(host(), "pay", "c1", true);
  CHECK_EQ(starts("pay"), 1);
  REQUIRE(starts("look") == 2);
  finish("look", 1, tool_status::ok);
  CHECK(status_of("c1") == tool_status::ok);
}

TROUPE_TEST_WITH(bench, "nothing is begun that may have been begun before, when the journal cannot be read") {
  add("pay", effect::once);
  written.unreadable = error{error_code::unavailable, "the disk is gone", "journal"};
  ask_for(host(), "pay", "c1", true);
  CHECK(status_of("c1") == tool_status::not_started);
  CHECK(written.groups.empty());
  CHECK_EQ(starts("pay"), 0);
}

TROUPE_TEST_WITH(bench, "a host that dies ends what it runs, and leaves its places at the gate and those that it waited for") {
  add("look", effect::none, {}, 2);
  const auto dead = host(), alive = host();
  for (const auto* call : {"c1", "c2", "c3"})
    ask_for(dead, "look", call);
  for (const auto* call : {"d1", "d2", "d3"})
    ask_for(alive, "look", call);
  CHECK_EQ(starts("look"), 2); // both of the one that dies
  kill(dead);
  CHECK(!running["look"][0]);
  CHECK(!running["look"][1]);
  REQUIRE(starts("look") == 4);
  finish("look", 2, tool_status::ok);
  CHECK(status_of("d1") == tool_status::ok);
  REQUIRE(starts("look") == 5);
  finish("look", 3, tool_status::ok);
  finish("look", 4, tool_status::ok);
  CHECK(status_of("d3") == tool_status::ok);
}

TROUPE_TEST_WITH(bench, "what a call waited for its place is taken from the time that its tool has") {
  add("look", effect::none, {}, 1);
  const auto one = host();
  const auto minute = std::chrono::minutes(1);
  ask_for(one, "look", "c1", false, minute);
  ask_for(one, "look", "c2", false, minute);
  pass(std::chrono::seconds(20));
  ask_for(one, "look", "c3", false, minute);
  pass(std::chrono::seconds(30));
  finish("look", 0, tool_status::ok);
  finish("look", 1, tool_status::ok);
  pass(minute);
  REQUIRE(timeouts.size() == 3);
  CHECK(timeouts[0] == std::chrono::seconds(30)); // the tool's own
  CHECK(timeouts[1] == std::chrono::seconds(10)); // what is left of its task's
  CHECK(timeouts[2] == std::chrono::seconds(30));
}

TROUPE_TEST_WITH(bench,
                 "a gate that dies takes no place along: what runs keeps its own with the next one, and what waits goes on waiting") {
  add("look", effect::none, {}, 2);
  const auto one = host(); // the only one of its tool, as in a runtime
  for (const auto* call : {"c1", "c2", "c3"})
    ask_for(one, "look", call);
  ask_for(one, "look", "d1");
  CHECK_EQ(starts("look"), 2);
  gate_dies();
  CHECK_EQ(starts("look"), 2);
  ask_for(one, "look", "d2");
  CHECK_EQ(starts("look"), 2);
  finish("look", 0, tool_status::ok);
  CHECK_EQ(starts("look"), 3);
  gate_dies();
  gate_dies();
  CHECK_EQ(starts("look"), 3);
  for (std::size_t i = 1; i < 5; ++i) {
    REQUIRE(starts("look") > i);
    finish("look", i, tool_status::ok);
  }
  for (const auto* call : {"c1", "c2", "c3", "d1", "d2"})
    CHECK(status_of(call) == tool_status::ok);
  ask_for(one, "look", "c4"); // no place was lost on the way
  ask_for(one, "look", "d3");
  CHECK_EQ(starts("look"), 7);
}

TROUPE_TEST_WITH(bench, "a call that ends while the next gate is told of it gives its place back") {
  add("look", effect::none, {}, 1);
  const auto one = host();
  ask_for(one, "look", "c1");
  const auto dead = gate->now();
  kill(dead);
  gate->replace(stage::add(spawn_tool_gate(*system)));
  caf::anon_send(caf::actor_cast<caf::actor>(one), caf::down_msg{dead.address(), crash_error("died in a test")});
  std::exchange(running["look"].at(0), nullptr)({tool_status::ok, "done", "", 0, false}); // both messages wait for the host now
  go();
  CHECK(status_of("c1") == tool_status::ok);
  ask_for(one, "look", "c2");
  CHECK_EQ(starts("look"), 2);
}

TROUPE_TEST_WITH(bench, "without a gate that comes back nothing more is let in, what runs ends, and the agent is told") {
  add("look", effect::none, {}, 1);
  const auto one = host();
  ask_for(one, "look", "c1");
  ask_for(one, "look", "c2");
  gate_dies(true);
  pass(std::chrono::minutes(1)); // its retries
  CHECK(status_of("c2") == tool_status::not_started);
  finish("look", 0, tool_status::ok);
  CHECK(status_of("c1") == tool_status::ok);
  ask_for(one, "look", "c3");
  pass(std::chrono::minutes(1));
  CHECK(status_of("c3") == tool_status::not_started);
  CHECK_EQ(starts("look"), 1);
}

TROUPE_TEST_WITH(bench, "a gate that ends with its runtime, neither replaced nor given up, is not asked again and again") {
  add("look", effect::none, {}, 1);
  const auto one = host();
  ask_for(one, "look", "c1");
  ask_for(one, "look", "c2");
  const auto ended = gate->now();
  kill(ended);
  gate->tell_all(caf::down_msg{ended.address(), caf::exit_reason::user_shutdown}, true);
  go();
  pass(std::chrono::minutes(1)); // its retries
  CHECK(status_of("c2") == tool_status::not_started);
}
