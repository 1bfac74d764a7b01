#include <deque>

#include <caf/scheduler/test_coordinator.hpp>

#include "test.hpp"

#include "simulation/function_actor.hpp"
#include "troupe/actors/runtime.hpp"
#include "troupe/actors/tool_host.hpp"
#include "troupe/policy/tool_call.hpp"

// The tool host and its gate in virtual time: each append is durable, and each tool ends, when the test says so.

TROUPE_SUITE(tool_host)

using namespace troupe;
using namespace troupe::actors;

namespace {

/// What the host gave to the journal.
struct paper {
  std::vector<std::vector<event_body>> groups; ///< as they came, each whole or not there
  std::deque<caf::typed_response_promise<appended>> waiting;
  error unreadable; ///< what a read answers

  std::string said() const {
    std::string out;
    for (const auto& group : groups) {
      std::string line;
      for (const auto& body : group) {
        event e;
        e.body = body;
        line += (line.empty() ? "" : " + ") + std::string(type_of(e));
        if (const auto* failure = std::get_if<tool_failed>(&body))
          line += " (" + failure->next + ")";
      }
      out += (out.empty() ? "" : ", ") + line;
    }
    return out;
  }
};

struct desk_state {
  explicit desk_state(journal_actor::pointer) {}
  static inline const char* name = "desk";
};

/// Stands where the journal stands.
journal_actor::behavior_type desk(journal_actor::stateful_pointer<desk_state> self, paper* on) {
  return {
      [self, on](append& wanted) -> caf::result<appended> {
        on->groups.push_back(std::move(wanted.bodies));
        on->waiting.push_back(self->make_response_promise<appended>());
        return on->waiting.back();
      },
      [on](note& wanted) { on->groups.push_back(std::move(wanted.bodies)); },
      [](const open_run&) {},
      [](const close_run&) {},
      [on](const read_task& wanted) {
        task_events recorded{on->unreadable, {}};
        for (const auto& group : on->groups)
          for (const auto& body : group)
            recorded.events.push_back(std::make_shared<const event>(event{1, 1, wanted.run_id, wanted.task, "a", body}));
        return recorded;
      },
      [](const subscribe&) {},
      [on](const groups_written&) {
        auto asker = on->waiting.front();
        on->waiting.pop_front();
        asker.deliver(appended{});
      },
      [](const events_read&) {},
  };
}

/// Runs until the test, or who cancels it, says how it ended.
class held_tool final : public tools::runner {
public:
  explicit held_tool(std::map<std::string, std::vector<tools::on_outcome>>& running) : running_(running) {}
  tools::running_id start(invocation call, tools::on_outcome done) override {
    auto& of_tool = running_[call.tool];
    of_tool.push_back(std::move(done));
    name_ = call.tool;
    return of_tool.size();
  }
  void cancel(tools::running_id id) override {
    if (auto done = std::exchange(running_[name_].at(id - 1), nullptr))
      done({tool_status::cancelled, {}, "cancelled", 0, false});
  }

private:
  std::map<std::string, std::vector<tools::on_outcome>>& running_;
  std::string name_;
};

struct bench {
  bench() {
    prepare(config);
    config.set("scheduler.policy", caf::atom("testing"));
    system = std::make_unique<caf::actor_system>(config);
    system->await_actors_before_shutdown(false);
    journal = system->spawn(desk, &written);
    gate = spawn_tool_gate(*system);
    context->run_id = "R1";
    go();
  }
  ~bench() {
    for (const auto& each : hosts)
      kill(each);
    running.clear();
    written.waiting.clear();
    caf::anon_send_exit(journal, caf::exit_reason::kill);
    caf::anon_send_exit(gate, caf::exit_reason::kill);
    go();
  }

  caf::scheduler::test_coordinator& scheduler() { return static_cast<caf::scheduler::test_coordinator&>(system->scheduler()); }
  void go() { scheduler().run(); }

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
    auto ready = tools::prepare(spec, std::make_unique<held_tool>(running));
    REQUIRE(ready.has_value());
    tools->specs[name] = spec;
    tools->prepared.emplace(name, std::move(*ready));
  }
  tool_host_actor host() {
    hosts.push_back(spawn_tool_host(*system, journal, gate, tools, 1));
    return hosts.back();
  }

  /// Asks for a call; what is answered stands in `answers`.
  void ask_for(const tool_host_actor& at, const std::string& tool, const std::string& call_id, bool recovering = false) {
    invoke wanted{.run = context,
                  .task = "t",
                  .agent = "a",
                  .step_id = "t@1/1",
                  .tool = tool,
                  .call_id = call_id,
                  .arguments = json::object(),
                  .deadline = scheduler().clock().now() + std::chrono::hours(1),
                  .agent_tools = {tool},
                  .recovering = recovering,
                  .quota = std::make_shared<policy::tool_quota>()};
    simulation::spawn_function(*system, [this, at, call_id, wanted](caf::event_based_actor* self) {
      ask(self, at, wanted).then([=, this](const tool_answer& came) { answers[call_id] = came; }, [](const caf::error&) {});
    });
    go();
  }
  void cancel_all(const tool_host_actor& at) {
    caf::anon_send(at, cancel_calls{"R1", ""});
    go();
  }
  /// The oldest append is durable.
  void write() {
    REQUIRE(!written.waiting.empty());
    caf::anon_send(journal, groups_written{});
    go();
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
  void kill(const tool_host_actor& which) {
    caf::anon_send_exit(which, caf::exit_reason::kill);
    go();
  }

  paper written;
  std::map<std::string, std::vector<tools::on_outcome>> running; ///< by tool, in the order of their starts
  std::shared_ptr<toolset> tools = std::make_shared<toolset>();
  std::shared_ptr<run_context> context = std::make_shared<run_context>();
  std::map<std::string, tool_answer> answers;
  caf::actor_system_config config;
  std::unique_ptr<caf::actor_system> system;
  journal_actor journal;
  tool_gate_actor gate;
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
