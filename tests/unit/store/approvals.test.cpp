#include "test.hpp"

#include "store/journal_support.hpp"
#include "troupe/store/approvals.hpp"

TROUPE_SUITE(approvals)

using namespace troupe;
using namespace troupe::test;
using policy::approval_choice;

namespace {

constexpr std::int64_t deadline = 1'000'000'000;

approval_requested request(std::string id) {
  return {.id = std::move(id),
          .subject = "deploy",
          .action = {{"to", "production"}},
          .details = {{"schema", {{"type", "object"}, {"required", {"to"}}}}},
          .deadline_us = deadline};
}

/// Journals a run that asked for these, in this order.
void ask(store::journal& in, const std::string& run_id, const std::vector<std::string>& ids) {
  std::vector<event_ptr> events{start_of(run_id)};
  for (const auto& id : ids)
    events.push_back(make_event(run_id, static_cast<std::int64_t>(events.size()) + 1, request(id), "a", "worker"));
  REQUIRE(append(in, std::move(events)).has_value());
}

policy::approval_decision by_ana(approval_choice choice, json action = nullptr) {
  return {choice, "ana", {}, std::move(action)};
}

expected<store::approval_row> approve(store::journal& in, const std::string& id, std::int64_t at = 10) {
  return store::decide(in, id, by_ana(approval_choice::approve), at);
}

} // namespace

TROUPE_TEST("a table of ids: which request one names, and what is said of one that names none or several") {
  const auto journal = store::open_memory();
  ask(*journal, "r", {"r-0a1b2c3d", "r-11112222"});
  ask(*journal, "s", {"s-0a1b2c3d", "s-33334444"});
  REQUIRE(append(*journal, {make_event("s", 4, approval_decided{.id = "s-33334444", .pending = 1}, "a", "worker")}).has_value());
  struct row {
    const char* name;
    std::string id;
    error_code code;
    std::string found;
  };
  const row rows[] = {{"the whole of it", "s-0a1b2c3d", error_code::none, "s-0a1b2c3d"},
                      {"its digits", "11112222", error_code::none, "r-11112222"},
                      {"the whole of one that is decided", "s-33334444", error_code::none, "s-33334444"},
                      {"the digits of one that is decided: only what waits is looked through", "33334444", error_code::not_found, {}},
                      {"digits that two requests end with", "0a1b2c3d", error_code::conflict, {}},
                      {"a part of the digits", "2222", error_code::not_found, {}},
                      {"of a run that is not there", "t-0a1b2c3d", error_code::not_found, {}},
                      {"nothing", "", error_code::not_found, {}}};
  for (const auto& r : rows) {
    IN_ROW(r.name);
    const auto found = store::find_approval(*journal, r.id);
    CHECK_EQ(code_of(found), r.code);
    if (found)
      CHECK_EQ(found->request.what().id, r.found);
  }
  const auto refused = approve(*journal, "0a1b2c3d");
  REQUIRE(code_of(refused) == error_code::conflict);
  CHECK_EQ(refused.error().message, std::string("several requests end with \"0a1b2c3d\"; give the whole id"));
  CHECK_EQ(journal->decisions("r")->size() + journal->decisions("s")->size(), 0u);
}

TROUPE_TEST("a table of ends: whose run still takes a decision about what was left waiting") {
  struct row {
    const char* name;
    event_body end;
    error_code code;
  };
  const row rows[] = {{"completed", run_finished{.status = run_status::completed}, error_code::conflict},
                      {"failed", run_finished{.status = run_status::failed}, error_code::conflict},
                      {"aborted: it asks anew when it is resumed", run_finished{.status = run_status::aborted}, error_code::conflict},
                      {"interrupted", run_interrupted{}, error_code::none}};
  for (const auto& r : rows) {
    IN_ROW(r.name);
    const auto journal = store::open_memory();
    ask(*journal, "r", {"r-0a1b2c3d"});
    REQUIRE(append(*journal, {make_event("r", 3, r.end)}).has_value());
    CHECK_EQ(store::pending_approvals(*journal)->size(), r.code == error_code::none ? 1u : 0u); // what is refused is not listed
    const auto decided = approve(*journal, "r-0a1b2c3d");
    CHECK_EQ(code_of(decided), r.code);
    CHECK_EQ(journal->decisions("r")->size(), r.code == error_code::none ? 1u : 0u);
    if (!decided)
      CHECK(decided.error().message.starts_with("run r has ended"));
  }
}

TROUPE_TEST("what a resumed run asks anew is decided by its new deadline") {
  const auto journal = store::open_memory();
  ask(*journal, "r", {"r-0a1b2c3d"});
  auto anew = request("r-0a1b2c3d");
  anew.deadline_us = 2 * deadline;
  REQUIRE(append(*journal, {make_event("r", 3, run_finished{.status = run_status::aborted}), make_event("r", 4, run_resumed{}),
                            make_event("r", 5, anew, "a", "worker")})
              .has_value());
  REQUIRE(store::pending_approvals(*journal)->size() == 1u);
  CHECK_EQ(store::pending_approvals(*journal)->front().request.what().deadline_us, 2 * deadline);
  CHECK(approve(*journal, "r-0a1b2c3d", deadline + 1).has_value());
}

TROUPE_TEST("what a human puts in its place must satisfy the tool's schema, and stays pending where it does not") {
  const auto journal = store::open_memory();
  ask(*journal, "r", {"r-0a1b2c3d"});
  for (const auto& wrong : {json(7), json{{"from", "here"}}}) {
    const auto refused = store::decide(*journal, "r-0a1b2c3d", by_ana(approval_choice::modify, wrong), 10);
    CHECK_EQ(code_of(refused), error_code::invalid_argument);
  }
  CHECK(store::find_approval(*journal, "r-0a1b2c3d")->request.pending());
  const auto decided = store::decide(*journal, "r-0a1b2c3d", by_ana(approval_choice::modify, {{"to", "staging"}}), 10);
  REQUIRE(decided.has_value());
  CHECK_EQ(decided->request.end()->modified_action, (json{{"to", "staging"}}));
}

TROUPE_TEST("of a task its instruction is modified, and who writes more is told that it would not count") {
  const auto journal = store::open_memory();
  auto task = request("r-0a1b2c3d");
  task.kind = approval_kind::task;
  REQUIRE(append(*journal, {start_of("r"), make_event("r", 2, task, "a", "worker")}).has_value());
  for (const auto& wrong : {json(7), json{{"instruction", 1}}, json{{"instruction", "new"}, {"timeout", "5s"}}})
    CHECK_EQ(code_of(store::decide(*journal, "r-0a1b2c3d", by_ana(approval_choice::modify, wrong), 10)), error_code::invalid_argument);
  CHECK(store::decide(*journal, "r-0a1b2c3d", by_ana(approval_choice::modify, {{"instruction", "new"}}), 10).has_value());
}

TROUPE_TEST("what was decided once is not decided again, nor after its deadline") {
  const auto journal = store::open_memory();
  ask(*journal, "r", {"r-0a1b2c3d", "r-11112222"});
  REQUIRE(approve(*journal, "r-0a1b2c3d").has_value());
  const auto again = store::decide(*journal, "r-0a1b2c3d", {approval_choice::reject, "bob", {}, nullptr}, 11);
  CHECK_EQ(code_of(again), error_code::conflict);
  CHECK_EQ(code_of(approve(*journal, "r-11112222", deadline + 1)), error_code::timeout);
  CHECK_EQ(journal->decisions("r")->size(), 1u);
}
