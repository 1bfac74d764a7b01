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

/// A journal, some of whose runs cannot be read for a while.
class dim_journal final : public store::journal {
public:
  std::atomic<bool> dark{false};

  expected<std::vector<event_ptr>> read_run(const std::string& run_id, std::int64_t after_seq) override {
    if (dark)
      return fail(error_code::corrupt, "event 2 is damaged", "run " + run_id);
    return whole_->read_run(run_id, after_seq);
  }
  void append(std::vector<event_ptr> events, store::on_durable done) override { whole_->append(std::move(events), std::move(done)); }
  void read_run_async(std::string run_id, std::int64_t after_seq, store::on_events done) override {
    whole_->read_run_async(std::move(run_id), after_seq, std::move(done));
  }
  std::vector<std::string> notes(const std::string& run_id) override { return whole_->notes(run_id); }
  expected<std::vector<store::run_row>> list_runs(std::size_t limit) override { return whole_->list_runs(limit); }
  expected<store::run_row> find_run(const std::string& run_id) override { return whole_->find_run(run_id); }
  expected<void> own(const std::string& run_id) override { return whole_->own(run_id); }
  void disown(const std::string& run_id) override { whole_->disown(run_id); }
  expected<void> own_tenant(const std::string& tenant) override { return whole_->own_tenant(tenant); }
  void disown_tenant(const std::string& tenant) override { whole_->disown_tenant(tenant); }
  expected<void> request_cancel(const std::string& run_id) override { return whole_->request_cancel(run_id); }
  void on_cancel_request(std::function<void(std::string)> wake) override { whole_->on_cancel_request(std::move(wake)); }
  void add_decision(store::decision_row row, store::admit_decision admit, store::on_durable done) override {
    whole_->add_decision(std::move(row), std::move(admit), std::move(done));
  }
  expected<std::vector<store::decision_row>> decisions(const std::string& run_id) override { return whole_->decisions(run_id); }
  void on_decision(std::function<void(store::decision_row)> take) override { whole_->on_decision(std::move(take)); }
  expected<std::int64_t> delete_ended(std::int64_t before_us) override { return whole_->delete_ended(before_us); }
  store::journal_stats stats() const override { return whole_->stats(); }

private:
  std::unique_ptr<store::journal> whole_ = store::open_memory();
};

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

TROUPE_TEST("a tenant whose past cannot be read is given back at once: who tries again is told why, and may run once it can be read") {
  const auto journal = std::make_shared<dim_journal>();
  test::company company(config, script, journal);
  const auto a = start(company, "A", "acme");
  REQUIRE(a.has_value());
  CHECK_EQ(play(company, *a).status, run_status::completed);
  journal->dark = true;
  for (const auto* run_id : {"B", "C"})
    CHECK_EQ(code_of(start(company, run_id, "acme")), error_code::corrupt);
  journal->dark = false;
  CHECK(start(company, "B", "acme").has_value());
}
