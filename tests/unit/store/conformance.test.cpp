// One suite for every journal: what the interface promises, whoever keeps it.
#include "test.hpp"

#include <functional>
#include <thread>

#include "store/journal_support.hpp"

TROUPE_SUITE(journal_conformance)

using namespace troupe;
using namespace troupe::test;

namespace {

/// A place that several journals open, as several processes would.
struct place {
  temporary_folder folder;
  std::shared_ptr<store::memory_file> file = store::make_memory_file();
};

struct backend {
  const char* name;
  std::function<std::unique_ptr<store::journal>(const place&)> open;
};

const std::vector<backend>& backends() {
  static const std::vector<backend> all{
      {"sqlite",
       [](const place& at) {
         auto made = store::open_sqlite({.path = at.folder / "sub/journal.db"});
         if (!made)
           CAF_FAIL(made.error().text());
         return std::move(*made);
       }},
      {"memory", [](const place& at) { return store::open_memory(at.file); }},
  };
  return all;
}

} // namespace

#define FOR_EACH_BACKEND(title)                                                                                                            \
  void CAF_UNIQUE(with_backend)(const backend& of);                                                                                        \
  TROUPE_TEST(title) {                                                                                                                     \
    for (const auto& each : backends()) {                                                                                                  \
      IN_ROW(each.name);                                                                                                                   \
      CAF_UNIQUE(with_backend)(each);                                                                                                      \
    }                                                                                                                                      \
  }                                                                                                                                        \
  void CAF_UNIQUE(with_backend)(const backend& of)

FOR_EACH_BACKEND("what was appended is read again, whole and in order") {
  place at;
  std::vector<event_ptr> written{start_of("r", {{"agents", {{"a", {{"system", std::string(500, 's')}}}}}}),
                                 make_event("r", 2, task_started{.instruction = "go\n\"now\"", .items = 2}, "t[1]", "a"),
                                 make_event("r", 3,
                                            llm_responded{.step_id = "s",
                                                          .message = std::make_shared<const chat_message>(
                                                              chat_message{role::assistant, "hé\x01", {{"c", "n", "{"}}, "", false}),
                                                          .cost = usd{7}},
                                            "t[1]", "a"),
                                 make_event("r", 4, run_finished{run_status::failed, "loop", {{"k", 1.5}}})};
  {
    auto journal = of.open(at);
    REQUIRE(append(*journal, {written[0], written[1]}).has_value());
    REQUIRE(append(*journal, {written[2]}).has_value());
    REQUIRE(append(*journal, {written[3]}).has_value());
  }
  auto journal = of.open(at);
  const auto read = journal->read_run("r");
  REQUIRE(read.has_value());
  REQUIRE(read->size() == written.size());
  for (std::size_t i = 0; i < written.size(); ++i)
    CHECK(same(*(*read)[i], *written[i]));
  const auto later = journal->read_run("r", 2);
  REQUIRE(later.has_value());
  REQUIRE(later->size() == 2u);
  CHECK_EQ(later->front()->seq, 3);
  CHECK_EQ(journal->read_run("r", 4)->size(), 0u);
  CHECK_EQ(journal->read_run("r", 400)->size(), 0u);
  CHECK(journal->notes("r").empty());
  CHECK_EQ(code_of(journal->read_run("other")), error_code::not_found);
}

FOR_EACH_BACKEND("a gap and a repeated sequence are refused, and the run goes on from its last event") {
  place at;
  auto journal = of.open(at);
  REQUIRE(append(*journal, run_of("r", 1, 3)).has_value());
  CHECK_EQ(code_of(append(*journal, run_of("r", 5, 5))), error_code::internal);
  CHECK_EQ(code_of(append(*journal, run_of("r", 3, 4))), error_code::conflict);
  CHECK_EQ(code_of(append(*journal, {filler("r", 4), filler("r", 6)})), error_code::internal);
  CHECK_EQ(code_of(append(*journal, {filler("r", 4), filler("s", 5)})), error_code::internal);
  CHECK_EQ(code_of(append(*journal, {filler("not a run id", 1)})), error_code::internal);
  CHECK_EQ(code_of(append(*journal, {nullptr})), error_code::internal);
  CHECK(append(*journal, {}).has_value());
  CHECK(append(*journal, run_of("r", 4, 5)).has_value());
  CHECK_EQ(journal->read_run("r")->size(), 5u);
}

FOR_EACH_BACKEND("answers come in the order of the appends, and reading sees what was appended before") {
  place at;
  auto journal = of.open(at);
  box<std::int64_t> answers;
  for (std::int64_t seq = 1; seq <= 200; ++seq)
    journal->append(run_of("r", seq, seq), [&, seq](expected<void> result) { answers.put(result ? seq : 0); });
  box<std::size_t> async;
  journal->read_run_async("r", 0, [&](expected<std::vector<event_ptr>> read) { async.put(read ? read->size() : 0); });
  CHECK_EQ(journal->read_run("r")->size(), 200u);
  CHECK_EQ(async.take(), 200u);
  for (std::int64_t seq = 1; seq <= 200; ++seq)
    CHECK_EQ(answers.take(), seq);
  CHECK_EQ(journal->stats().events, 200u);
  CHECK(journal->stats().commits <= 200u);
}

FOR_EACH_BACKEND("what was appended is written before the journal goes away") {
  place at;
  box<bool> answers;
  {
    auto journal = of.open(at);
    for (std::int64_t seq = 1; seq <= 50; ++seq)
      journal->append(run_of("r", seq, seq), [&](expected<void> result) { answers.put(result.has_value()); });
  }
  for (int i = 0; i < 50; ++i)
    CHECK(answers.take());
  CHECK_EQ(of.open(at)->read_run("r")->size(), 50u);
}

FOR_EACH_BACKEND("runs are listed newest first with what their events say") {
  place at;
  auto journal = of.open(at);
  CHECK(journal->list_runs(10)->empty());
  REQUIRE(append(*journal, run_of("one", 1, 2)).has_value());
  REQUIRE(append(*journal, run_of("two", 1, 1)).has_value());
  REQUIRE(append(*journal, {make_event("two", 2, run_finished{run_status::aborted, "timeout", nullptr})}).has_value());
  REQUIRE(append(*journal, run_of("three", 1, 1)).has_value());
  REQUIRE(append(*journal, {make_event("three", 2, run_interrupted{"SIGINT"})}).has_value());
  auto rows = journal->list_runs(10);
  REQUIRE(rows.has_value());
  REQUIRE(rows->size() == 3u);
  CHECK_EQ((*rows)[0].run_id, "three");
  CHECK_EQ((*rows)[0].status, run_status::running);
  CHECK_EQ((*rows)[0].reason, "SIGINT");
  CHECK_EQ((*rows)[1].status, run_status::aborted);
  CHECK_EQ((*rows)[1].reason, "timeout");
  CHECK_EQ((*rows)[2].run_id, "one");
  CHECK_EQ((*rows)[2].workflow, "report");
  CHECK_EQ((*rows)[2].tenant, "acme");
  CHECK_EQ((*rows)[2].started_us, 1'000'000);
  CHECK_EQ((*rows)[2].updated_us, 2'000'000);
  CHECK_EQ((*rows)[2].last_seq, 2);
  CHECK_EQ(journal->list_runs(1)->size(), 1u);
  REQUIRE(append(*journal, {make_event("two", 3, run_resumed{})}).has_value());
  const auto resumed = journal->find_run("two");
  REQUIRE(resumed.has_value());
  CHECK_EQ(resumed->status, run_status::running);
  CHECK_EQ(resumed->reason, "");
  CHECK_EQ(code_of(journal->find_run("four")), error_code::not_found);
}

FOR_EACH_BACKEND("a run has one owner, who is named, and is free again when that one goes away") {
  place at;
  auto first = of.open(at);
  auto second = of.open(at);
  REQUIRE(append(*first, run_of("r", 1, 1)).has_value());
  REQUIRE(first->own("r").has_value());
  const auto refused = second->own("r");
  CHECK_EQ(code_of(refused), error_code::conflict);
  CHECK(refused.error().text().find("this process") != std::string::npos);
  CHECK_EQ(code_of(first->own("r")), error_code::conflict);
  CHECK(second->own("another").has_value());
  CHECK(second->find_run("r")->owned);
  CHECK((*second->list_runs(1))[0].owned);
  CHECK(first->find_run("r")->owned);
  second->disown("r"); // not its own
  CHECK_EQ(code_of(second->own("r")), error_code::conflict);
  first->disown("r");
  CHECK(!second->find_run("r")->owned);
  CHECK(second->own("r").has_value());
  second.reset();
  CHECK(first->own("r").has_value());
  CHECK_EQ(code_of(first->own("no such\nid")), error_code::invalid_argument);
}

FOR_EACH_BACKEND("a tenant has one owner too, and is another thing than a run of its name") {
  place at;
  auto first = of.open(at);
  auto second = of.open(at);
  REQUIRE(first->own_tenant("acme").has_value());
  const auto refused = second->own_tenant("acme");
  CHECK_EQ(code_of(refused), error_code::conflict);
  for (const char* part : {"tenant acme", "this process", "one process at a time"})
    CHECK(refused.error().text().find(part) != std::string::npos);
  CHECK_EQ(code_of(first->own_tenant("acme")), error_code::conflict);
  CHECK(second->own_tenant("other").has_value());
  CHECK(second->own("acme").has_value());
  second->disown_tenant("acme"); // not its own
  second->disown("acme");
  CHECK_EQ(code_of(second->own_tenant("acme")), error_code::conflict);
  first->disown_tenant("acme");
  CHECK(second->own_tenant("acme").has_value());
  second.reset();
  CHECK(first->own_tenant("acme").has_value());
}

FOR_EACH_BACKEND("a new owner goes on where another one stopped") {
  place at;
  auto first = of.open(at);
  auto second = of.open(at);
  REQUIRE(first->own("r").has_value());
  REQUIRE(append(*first, run_of("r", 1, 2)).has_value());
  first->disown("r");
  REQUIRE(second->own("r").has_value());
  REQUIRE(append(*second, run_of("r", 3, 4)).has_value());
  second->disown("r");
  REQUIRE(first->own("r").has_value());
  CHECK_EQ(code_of(append(*first, run_of("r", 3, 3))), error_code::conflict);
  CHECK(append(*first, run_of("r", 5, 5)).has_value());
  CHECK_EQ(second->read_run("r")->size(), 5u);
}

FOR_EACH_BACKEND("the owner is told once that somebody wants its run cancelled, and nobody else is") {
  place at;
  auto owner = of.open(at);
  auto other = of.open(at);
  REQUIRE(append(*owner, run_of("r", 1, 1)).has_value());
  REQUIRE(append(*owner, run_of("s", 1, 1)).has_value());
  box<std::string> told, told_other;
  owner->on_cancel_request([&](std::string run_id) { told.put(std::move(run_id)); });
  other->on_cancel_request([&](std::string run_id) { told_other.put(std::move(run_id)); });
  REQUIRE(owner->own("r").has_value());
  REQUIRE(owner->own("s").has_value());
  REQUIRE(other->request_cancel("r").has_value());
  CHECK_EQ(told.take(), "r");
  REQUIRE(other->request_cancel("r").has_value()); // the same wish
  REQUIRE(other->request_cancel("s").has_value());
  CHECK_EQ(told.take(), "s");
  CHECK_EQ(told.count(), 2u);
  CHECK_EQ(told_other.count(), 0u);
  CHECK_EQ(code_of(other->request_cancel("t")), error_code::not_found);
}

FOR_EACH_BACKEND("a wish waits for an owner to come, and ends with the run") {
  place at;
  auto journal = of.open(at);
  auto other = of.open(at);
  REQUIRE(append(*other, run_of("r", 1, 1)).has_value());
  REQUIRE(other->request_cancel("r").has_value());
  box<std::string> told;
  journal->on_cancel_request([&](std::string run_id) { told.put(std::move(run_id)); });
  REQUIRE(journal->own("r").has_value());
  CHECK_EQ(told.take(), "r");
  REQUIRE(append(*journal, {make_event("r", 2, run_finished{run_status::aborted, "cancelled", nullptr})}).has_value());
  CHECK_EQ(code_of(other->request_cancel("r")), error_code::conflict);
  journal->disown("r");
  REQUIRE(append(*journal, run_of("s", 1, 1)).has_value());
  REQUIRE(journal->own("r").has_value()); // resumed: the old wish is gone
  REQUIRE(journal->own("s").has_value());
  REQUIRE(other->request_cancel("s").has_value());
  CHECK_EQ(told.take(), "s");
}

namespace {

expected<void> decide(store::journal& in, const std::string& run_id, const std::string& approval, const std::string& body,
                      store::admit_decision admit = {}) {
  box<expected<void>> answered;
  in.add_decision(
      {0, run_id, approval, body, 7}, admit ? std::move(admit) : [](const auto&) { return expected<void>{}; },
      [&](expected<void> done) { answered.put(std::move(done)); });
  return answered.take();
}

} // namespace

FOR_EACH_BACKEND("a decision of any process reaches the owner of its run once, and nobody else") {
  place at;
  auto owner = of.open(at);
  auto other = of.open(at);
  box<store::decision_row> told, told_other;
  owner->on_decision([&](store::decision_row row) { told.put(std::move(row)); });
  other->on_decision([&](store::decision_row row) { told_other.put(std::move(row)); });
  REQUIRE(owner->own("r").has_value());
  REQUIRE(decide(*other, "r", "r-1", "a").has_value());
  REQUIRE(decide(*owner, "r", "r-1", "b").has_value());
  const auto first = told.take();
  CHECK_EQ(first.body, "a");
  CHECK_EQ(first.run_id + first.approval_id, "rr-1");
  CHECK_EQ(first.time_us, 7);
  CHECK_EQ(told.take().body, "b");
  CHECK_EQ(told.count(), 2u);
  CHECK_EQ(told_other.count(), 0u);
  CHECK_EQ(other->decisions("r")->size(), 2u);
}

FOR_EACH_BACKEND("decisions wait for an owner to come, and each owner is told of all of them") {
  place at;
  auto journal = of.open(at);
  auto other = of.open(at);
  REQUIRE(decide(*other, "r", "r-1", "early").has_value());
  box<store::decision_row> told;
  journal->on_decision([&](store::decision_row row) { told.put(std::move(row)); });
  REQUIRE(journal->own("r").has_value());
  CHECK_EQ(told.take().body, "early");
  journal->disown("r");
  REQUIRE(decide(*other, "r", "r-1", "late").has_value());
  REQUIRE(journal->own("r").has_value());
  CHECK_EQ(told.take().body, "early");
  CHECK_EQ(told.take().body, "late");
}

FOR_EACH_BACKEND("a decision sees those about the same request before it, and is refused by what it sees") {
  place at;
  auto journal = of.open(at);
  REQUIRE(decide(*journal, "r", "r-1", "a").has_value());
  REQUIRE(decide(*journal, "r", "r-2", "b").has_value());
  std::vector<std::string> seen;
  const auto refused = decide(*journal, "r", "r-1", "c", [&](const std::vector<store::decision_row>& earlier) -> expected<void> {
    for (const auto& row : earlier)
      seen.push_back(row.body);
    return fail(error_code::conflict, "already decided");
  });
  CHECK_EQ(code_of(refused), error_code::conflict);
  CHECK_EQ(seen, std::vector<std::string>{"a"});
  CHECK_EQ(journal->decisions("r")->size(), 2u);
}

FOR_EACH_BACKEND("a run that waits for a human says so, until nothing of it waits any more") {
  place at;
  auto journal = of.open(at);
  REQUIRE(append(*journal,
                 {start_of("r"), make_event("r", 2, approval_requested{.id = "r-1"}), make_event("r", 3, approval_requested{.id = "r-2"})})
              .has_value());
  CHECK_EQ(name_of(journal->find_run("r")->status), std::string("waiting_approval"));
  REQUIRE(append(*journal, {make_event("r", 4, approval_decided{.id = "r-1", .pending = 1})}).has_value());
  CHECK_EQ(name_of(journal->find_run("r")->status), std::string("waiting_approval"));
  REQUIRE(append(*journal, {make_event("r", 5, run_resumed{})}).has_value()); // its new owner has not asked again yet
  CHECK_EQ(name_of(journal->find_run("r")->status), std::string("waiting_approval"));
  REQUIRE(append(*journal, {make_event("r", 6, approval_decided{.id = "r-2", .pending = 0})}).has_value());
  CHECK_EQ(name_of(journal->find_run("r")->status), std::string("running"));
  REQUIRE(
      append(*journal, {make_event("r", 7, run_finished{.status = run_status::aborted}), make_event("r", 8, run_resumed{})}).has_value());
  CHECK_EQ(name_of(journal->find_run("r")->status), std::string("running"));
  REQUIRE(append(*journal, {make_event("r", 9, approval_requested{.id = "r-3"}), make_event("r", 10, approval_requested{.id = "r-4"}),
                            make_event("r", 11, approval_withdrawn{"r-3", 1})})
              .has_value());
  CHECK_EQ(name_of(journal->find_run("r")->status), std::string("waiting_approval"));
  REQUIRE(append(*journal, {make_event("r", 12, approval_withdrawn{"r-4", 0})}).has_value());
  CHECK_EQ(name_of(journal->find_run("r")->status), std::string("running"));
}

FOR_EACH_BACKEND("retention deletes old runs that have ended, and no others") {
  place at;
  auto journal = of.open(at);
  const auto ended = [&](const std::string& id) {
    auto events = run_of(id, 1, 1);
    events.push_back(make_event(id, 2, run_finished{}));
    REQUIRE(append(*journal, std::move(events)).has_value());
  };
  ended("old");
  ended("owned");
  REQUIRE(journal->own("owned").has_value());
  REQUIRE(append(*journal, run_of("running", 1, 2)).has_value());
  auto young = run_of("young", 1, 3);
  young.push_back(make_event("young", 4, run_finished{}));
  REQUIRE(append(*journal, std::move(young)).has_value());
  const auto deleted = journal->delete_ended(3'000'000);
  REQUIRE(deleted.has_value());
  CHECK_EQ(*deleted, 1);
  CHECK_EQ(code_of(journal->read_run("old")), error_code::not_found);
  CHECK_EQ(journal->list_runs(10)->size(), 3u);
  ended("old"); // its name is free again
  CHECK_EQ(journal->read_run("old")->size(), 2u);
}

FOR_EACH_BACKEND("many threads append to many runs at once") {
  place at;
  auto journal = of.open(at);
  std::vector<std::thread> threads;
  box<bool> answers;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (std::int64_t seq = 1; seq <= 20; ++seq)
        for (int r = 0; r < 4; ++r) {
          const auto run_id = "r" + std::to_string(t) + "-" + std::to_string(r);
          journal->append(run_of(run_id, seq, seq), [&](expected<void> result) { answers.put(result.has_value()); });
        }
    });
  for (auto& thread : threads)
    thread.join();
  for (int t = 0; t < 4; ++t)
    for (int r = 0; r < 4; ++r)
      CHECK_EQ(journal->read_run("r" + std::to_string(t) + "-" + std::to_string(r))->size(), 20u);
  for (int i = 0; i < 320; ++i)
    CHECK(answers.take());
}
