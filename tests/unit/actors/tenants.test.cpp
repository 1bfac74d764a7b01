// A tenant's limit is one for all processes of a journal: one of them counts at a time, and knows all that was spent before.
#include "test.hpp"

#include "company.hpp"
#include "troupe/model/event_types.hpp"

TROUPE_SUITE(tenants)

using namespace troupe;

namespace {

/// A call costs a dollar; its worst case is a little more.
const std::string config = R"(version: 1
providers: { p: { kind: scripted, script: script.yaml } }
models: { m: { chain: [ { provider: p, usd_per_mtok: { input: 1000, output: 1000 } } ] } }
agents: { worker: { model: m, system: You work., max_tokens: 1000 } }
tenants: { acme: { budget: { usd: 2.20 } }, other: { budget: { steps: 1 } }, free: {} }
workflows: { one: { budget: { usd: 10 }, tasks: [ { id: task, agent: worker, instruction: go } ] } }
)";

const std::string script = R"(version: 1
rules: [ { when: { any: true }, reply: { text: fine }, usage: { input: 10, output: 990 } } ]
)";

/// Two processes with one journal.
struct two {
  std::shared_ptr<store::memory_file> file = store::make_memory_file();
  test::company first{config, script, store::open_memory(file)};
  test::company second{config, script, store::open_memory(file)};
};

expected<actors::started_run> start(test::company& in, const std::string& run_id, const std::string& tenant) {
  return in.runtime().start_run({.run_id = run_id, .workflow = "one", .tenant = tenant});
}

actors::run_ended play(test::company& in, const actors::started_run& run) {
  actors::run_ended end;
  caf::scoped_actor self{in.system()};
  self->request(run.orchestrator, std::chrono::seconds(10), actors::start_run{})
      .receive([&](const actors::run_ended& came) { end = came; },
               [&](const caf::error& why) { end.failure.message = actors::text_of(why); });
  in.runtime().finish_run(run.run_id);
  return end;
}

template <class T>
error_code code_of(const expected<T>& result) {
  return result ? error_code::none : result.error().code;
}

} // namespace

TROUPE_TEST_WITH(two, "one process counts for a tenant that has limits, and others are refused meanwhile, by name and with the reason") {
  const auto a = start(first, "A", "acme");
  REQUIRE(a.has_value());
  const auto b = start(second, "B", "acme");
  CHECK_EQ(code_of(b), error_code::conflict);
  const auto words = b ? "" : b.error().text();
  for (const char* part : {"tenant acme", "this process", "counted by one process at a time", "wait"})
    CHECK(words.find(part) != std::string::npos);
  CHECK(!second.journal().find_run("B").has_value());
  CHECK(second.journal().own("B").has_value());     // given back
  CHECK(start(second, "C", "other").has_value());   // another tenant
  CHECK(start(second, "D", "default").has_value()); // one without limits
  CHECK(start(first, "E", "default").has_value());
  CHECK(start(first, "F", "free").has_value()); // listed, without limits: anybody may count
  CHECK(start(second, "G", "free").has_value());
}

TROUPE_TEST_WITH(two, "runs of one process share the tenant, which is free after the last of them and knows what all have spent") {
  const auto a = start(first, "A", "acme");
  const auto b = start(first, "B", "acme");
  REQUIRE(a.has_value() && b.has_value());
  CHECK_EQ(play(first, *a).status, run_status::completed);
  CHECK_EQ(code_of(start(second, "C", "acme")), error_code::conflict);
  CHECK_EQ(play(first, *b).status, run_status::completed);
  const auto c = start(second, "C", "acme");
  REQUIRE(c.has_value());
  const auto end = play(second, *c);
  CHECK_EQ(end.status, run_status::aborted);
  CHECK_EQ(end.reason, std::string("budget_exceeded"));
  // And back: what others spent meanwhile counts here too.
  const auto d = start(first, "D", "acme");
  REQUIRE(d.has_value());
  CHECK_EQ(play(first, *d).reason, std::string("budget_exceeded"));
}

TROUPE_TEST_WITH(two, "a run is resumed by who counts for its tenant alone") {
  const auto a = start(first, "A", "acme");
  REQUIRE(a.has_value());
  caf::scoped_actor self{first.system()};
  self->send(a->orchestrator, actors::suspend_run{});
  self->request(a->orchestrator, std::chrono::seconds(10), actors::start_run{})
      .receive([](const actors::run_ended&) {}, [](const caf::error&) {});
  first.runtime().finish_run("A");
  const auto b = start(second, "B", "acme");
  REQUIRE(b.has_value());
  CHECK_EQ(code_of(first.runtime().resume_run("A", {})), error_code::conflict);
  CHECK(!first.journal().find_run("A")->owned);
  CHECK_EQ(play(second, *b).status, run_status::completed);
  const auto resumed = first.runtime().resume_run("A", {});
  REQUIRE(resumed.has_value());
  CHECK_EQ(play(first, *resumed).status, run_status::completed);
}

TROUPE_TEST("a runtime that ends gives its tenants back, whatever became of their runs") {
  const auto file = store::make_memory_file();
  const std::shared_ptr<store::journal> kept = store::open_memory(file);
  {
    test::company company(config, script, kept);
    REQUIRE(start(company, "A", "acme").has_value());
  }
  test::company company(config, script, store::open_memory(file));
  CHECK(start(company, "B", "acme").has_value());
}

TROUPE_TEST("a run whose end nobody recorded keeps its tenant with the process that may still be at work for it") {
  const auto file = store::make_memory_file();
  test::company first(config, script.substr(0, script.find("usage")) + "latency: 60s } ]\n", store::open_memory(file));
  test::company second(config, script, store::open_memory(file));
  const auto a = start(first, "A", "acme");
  REQUIRE(a.has_value());
  caf::anon_send(a->orchestrator, actors::start_run{});
  while (!first.journal().find_run("A"))
    std::this_thread::yield();
  caf::scoped_actor self{first.system()};
  self->monitor(a->orchestrator);
  self->send_exit(a->orchestrator, caf::exit_reason::kill);
  self->receive([](const caf::down_msg&) {});
  first.runtime().finish_run("A");
  CHECK_EQ(code_of(start(second, "B", "acme")), error_code::conflict);
}
