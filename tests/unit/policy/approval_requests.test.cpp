#include "test.hpp"

#include "troupe/model/described.hpp"
#include "troupe/policy/approval_requests.hpp"

TROUPE_SUITE(approval_requests)

using namespace troupe;
using policy::approval_choice;

namespace {

constexpr std::int64_t deadline = 1'000;

approval_requested request(std::int64_t needed = 1) {
  return {.id = "run-0a1b2c3d",
          .kind = approval_kind::tool,
          .subject = "deploy",
          .action = {{"to", "production"}},
          .needed = needed,
          .deadline_us = deadline};
}

struct given {
  policy::approval_decision decision;
  std::int64_t at = 10;
};

struct row {
  const char* rule;
  std::int64_t needed;
  std::vector<given> before;
  given last;
  std::optional<error_code> refused;                 ///< of the last one
  approval_status status = approval_status::pending; ///< after all of them
  std::int64_t approvals = 0;
};

policy::approval_decision approve(std::string who, std::string digits = {}) {
  return {approval_choice::approve, std::move(who), {}, nullptr, std::move(digits)};
}
policy::approval_decision reject(std::string who, std::string why = {}) {
  return {approval_choice::reject, std::move(who), std::move(why), nullptr, {}};
}
policy::approval_decision modify(std::string who, json action = {{"to", "staging"}}) {
  return {approval_choice::modify, std::move(who), {}, std::move(action), {}};
}
/// Of what `modify` makes of it.
std::string changed_digits() {
  policy::approval_request one(request(2));
  static_cast<void>(one.apply(modify("somebody"), 1));
  return policy::digits_of_approval(one.id());
}
const policy::approval_decision expire{approval_choice::expire, {}, {}, nullptr, {}};

const row rows[] = {
    {"one approval is enough where one is asked for", 1, {}, {approve("ana")}, {}, approval_status::approved, 1},
    {"spaces around a name are none of it", 2, {{approve("ana")}}, {approve(" ana\t")}, error_code::conflict, approval_status::pending, 1},
    {"a name of spaces is none", 1, {}, {approve(" \t ")}, error_code::invalid_argument, approval_status::pending, 0},
    {"a rejection ends it", 1, {}, {reject("ana", "not on a Friday")}, {}, approval_status::rejected, 0},
    {"a modification is an approval of another action", 1, {}, {modify("ana")}, {}, approval_status::modified, 1},
    {"a modification without an action is refused and it stays pending",
     1,
     {},
     {modify("ana", nullptr)},
     error_code::invalid_argument,
     approval_status::pending,
     0},
    {"a decision without a name is refused", 1, {}, {approve("")}, error_code::invalid_argument, approval_status::pending, 0},
    {"the first decision wins: a later rejection is refused",
     1,
     {{approve("ana")}},
     {reject("bob")},
     error_code::conflict,
     approval_status::approved,
     1},
    {"the first decision wins: a later approval is refused",
     1,
     {{reject("ana")}},
     {approve("bob")},
     error_code::conflict,
     approval_status::rejected,
     0},
    {"one of two approvals leaves it pending", 2, {}, {approve("ana")}, {}, approval_status::pending, 1},
    {"two different reviewers approve", 2, {{approve("ana")}}, {approve("bob")}, {}, approval_status::approved, 2},
    {"the same reviewer counts once", 2, {{approve("ana")}}, {approve("ana")}, error_code::conflict, approval_status::pending, 1},
    {"one rejection ends it whatever was approved before",
     3,
     {{approve("ana")}, {approve("bob")}},
     {reject("eva")},
     {},
     approval_status::rejected,
     2},
    {"who has approved may still reject", 2, {{approve("ana")}}, {reject("ana")}, {}, approval_status::rejected, 1},
    {"a modification first, then others approve what it has become",
     2,
     {{modify("ana")}},
     {approve("bob", changed_digits())},
     {},
     approval_status::modified,
     2},
    {"who has not seen the modification does not approve it",
     2,
     {{modify("ana")}},
     {approve("bob")},
     error_code::conflict,
     approval_status::pending,
     1},
    {"nor by the id of what was asked for",
     2,
     {{modify("ana")}},
     {approve("bob", "0a1b2c3d")},
     error_code::conflict,
     approval_status::pending,
     1},
    {"who has not seen it may still reject", 2, {{modify("ana")}}, {reject("bob")}, {}, approval_status::rejected, 1},
    {"what others have approved is not modified under them",
     2,
     {{approve("ana")}},
     {modify("bob")},
     error_code::invalid_argument,
     approval_status::pending,
     1},
    {"a decision at the deadline counts", 1, {}, {approve("ana"), deadline}, {}, approval_status::approved, 1},
    {"a decision after the deadline does not", 1, {}, {approve("ana"), deadline + 1}, error_code::timeout, approval_status::pending, 0},
    {"it expires after its deadline", 1, {}, {expire, deadline + 1}, {}, approval_status::rejected, 0},
    {"it does not expire at its deadline", 1, {}, {expire, deadline}, error_code::timeout, approval_status::pending, 0},
    {"what is decided does not expire", 1, {{approve("ana")}}, {expire, deadline + 1}, error_code::conflict, approval_status::approved, 1},
    {"too few approvals at the deadline are a rejection", 2, {{approve("ana")}}, {expire, deadline + 1}, {}, approval_status::rejected, 1},
    {"what has expired is decided",
     1,
     {{expire, deadline + 1}},
     {approve("ana"), deadline + 2},
     error_code::conflict,
     approval_status::rejected,
     0},
};

} // namespace

TROUPE_TEST("what becomes of a request") {
  for (const auto& r : rows) {
    IN_ROW(r.rule);
    policy::approval_request one(request(r.needed));
    for (const auto& [decision, at] : r.before)
      CHECK(one.apply(decision, at).has_value());
    const auto effect = one.apply(r.last.decision, r.last.at);
    CHECK_EQ(effect.has_value(), !r.refused.has_value());
    if (!effect && r.refused)
      CHECK_EQ(effect.error().code, *r.refused);
    CHECK_EQ(one.pending(), r.status == approval_status::pending);
    if (one.end())
      CHECK_EQ(name_of(one.end()->status), std::string(name_of(r.status)));
    CHECK_EQ(one.approvals(), r.approvals);
  }
}

TROUPE_TEST("a timeout is never recorded as a human's") {
  policy::approval_request one(request());
  REQUIRE(one.apply(expire, deadline + 1).has_value());
  CHECK(!one.end()->by_human);
  CHECK_EQ(one.end()->reviewer, "");
  CHECK_EQ(one.end()->comment, "Auto-rejected: approval timeout");
}

TROUPE_TEST("who comes late is told who decided, and why") {
  policy::approval_request one(request());
  CHECK(one.apply(reject("ana", "not on a Friday"), 1).has_value());
  const auto late = one.apply(approve("bob"), 2);
  REQUIRE(!late.has_value());
  CHECK_EQ(late.error().message, "already decided: ana rejected it: not on a Friday");
}

TROUPE_TEST("the hash is of the canonical action at its moment in its run") {
  const policy::approval_subject one{"run", "t", approval_kind::tool, "deploy", "t@1/1 a", json::parse(R"({"b":1.0,"a":"x"})")};
  auto same = one;
  same.action = json::parse(R"({ "a": "x", "b": 1 })");
  CHECK_EQ(policy::approval_hash(one), policy::approval_hash(same));
  CHECK_EQ(policy::approval_hash(one).size(), 64u);
  const auto differs = [&](auto change) {
    auto other = one;
    change(other);
    return policy::approval_hash(other) != policy::approval_hash(one);
  };
  CHECK(differs([](auto& s) { s.action["b"] = 2; }));
  CHECK(differs([](auto& s) { s.moment = "t@1/2 a"; }));
  CHECK(differs([](auto& s) { s.run_id = "other"; }));
  CHECK(differs([](auto& s) { s.task = "u"; }));
  CHECK(differs([](auto& s) { s.subject = "delete"; }));
  CHECK(differs([](auto& s) { s.kind = approval_kind::task; }));
}

TROUPE_TEST("an approval's id names its run, whatever the run is called") {
  for (const std::string run : {"01J9ZK", "deploy-1", "a.b_c-0a1b2c3d"}) {
    const auto id = policy::approval_id(run, policy::approval_hash({run, "t", approval_kind::task, "t", "1", nullptr}));
    CHECK_EQ(policy::run_of_approval(id), run);
  }
  for (const std::string no : {"", "run", "run-", "-0a1b2c3d", "run-0a1b2c3", "run-0a1b2c3g", "run-0a1b2c3d4"})
    CHECK_EQ(policy::run_of_approval(no), "");
}

TROUPE_TEST("only decisions about this request are folded into it") {
  const auto row_of = [](std::int64_t seq, const char* about, const policy::approval_decision& what) {
    return decision_row{seq, "run", about, policy::text_of(what), 10};
  };
  const auto other = row_of(1, "run-ffffffff", reject("bob")), own = row_of(2, "run-0a1b2c3d", approve("ana"));
  CHECK(policy::folded(request(), {other}).pending());
  const auto decided = policy::folded(request(), {other, own});
  REQUIRE(decided.end().has_value());
  CHECK_EQ(decided.end()->reviewer, "ana");
  CHECK(policy::admission_of(request(), approve("eva"), 20)({other}).has_value());
  CHECK(!policy::admission_of(request(), approve("eva"), 20)({other, own}).has_value());
}

TROUPE_TEST("a table of journals: which requests of a run wait") {
  const auto at = [](const char* task, event_body body) {
    return std::make_shared<const event>(event{1, 1, "r", task, {}, std::move(body)});
  };
  const auto asks = [&](const char* task, const char* id) { return at(task, approval_requested{.id = id}); };
  const auto begins = [&](const char* task, std::int64_t attempt = 1) { return at(task, task_started{attempt, {}, {}}); };
  const auto ends = [&](const char* task, task_status status, const char* reason = "") {
    return at(task, task_finished{1, status, reason, {}, nullptr});
  };
  const auto decided = [&](const char* task, const char* id) { return at(task, approval_decided{.id = id}); };
  struct row {
    const char* name;
    std::vector<event_ptr> events;
    std::set<std::string> waiting;
  };
  const row rows[] = {
      {"nothing was asked", {begins("a")}, {}},
      {"two wait", {begins("a"), begins("b"), asks("a", "1"), asks("b", "2")}, {"1", "2"}},
      {"one was decided", {begins("a"), begins("b"), asks("a", "1"), asks("b", "2"), decided("a", "1")}, {"2"}},
      {"asked again by who takes the run up", {begins("a"), asks("a", "1"), at("", run_resumed{}), asks("a", "1")}, {"1"}},
      {"its task has ended", {begins("a"), asks("a", "1"), ends("a", task_status::error)}, {}},
      {"its agent was stopped, since the others had decided",
       {begins("a"), begins("a(x)"), asks("a(x)", "1"), ends("a(x)", task_status::cancelled, "decided")},
       {}},
      {"the task above has ended", {begins("a"), begins("a/b"), asks("a/b", "1"), ends("a", task_status::error)}, {}},
      {"a name that begins the same", {begins("a"), begins("ab"), asks("ab", "1"), ends("a", task_status::error)}, {"1"}},
      {"another attempt has begun", {begins("a"), asks("a", "1"), at("a", task_retried{2, {}}), begins("a", 2)}, {}},
      {"and asks itself", {begins("a"), asks("a", "1"), at("a", task_retried{2, {}}), begins("a", 2), asks("a", "2")}, {"2"}},
      {"the run has failed", {begins("a"), asks("a", "1"), at("", run_finished{run_status::failed, "x", nullptr})}, {}},
      {"the run was aborted, and may be resumed",
       {begins("a"), asks("a", "1"), ends("a", task_status::cancelled), at("", run_finished{run_status::aborted, "cancelled", nullptr})},
       {"1"}},
  };
  for (const auto& r : rows) {
    IN_ROW(r.name);
    CHECK(policy::open_requests(r.events) == r.waiting);
  }
}

TROUPE_TEST("a request that was changed goes by what it has become, and says who has changed it") {
  policy::approval_request one(request(2));
  CHECK_EQ(one.id(), "run-0a1b2c3d");
  const auto vote = one.apply(modify("mallory"), 1);
  REQUIRE(vote.has_value());
  CHECK_EQ(std::get<approval_voted>(*vote).modified_action, (json{{"to", "staging"}}));
  CHECK(one.id() != "run-0a1b2c3d");
  CHECK_EQ(policy::run_of_approval(one.id()), "run");
  CHECK_EQ(one.modified_by(), "mallory");
  const auto unseen = one.apply(approve("bob"), 2);
  REQUIRE(!unseen.has_value());
  CHECK(unseen.error().message.find("mallory has changed its action") == 0);
  CHECK(unseen.error().message.find(one.id()) != std::string::npos);
  REQUIRE(one.apply(approve("bob", policy::digits_of_approval(one.id())), 3).has_value());
  CHECK_EQ(one.end()->modified_by, "mallory");
  CHECK_EQ(policy::decided_words(*one.end()), "bob approved it as mallory has changed it");
}

TROUPE_TEST("one reviewer's modification changes no id: nobody decides after it") {
  policy::approval_request one(request());
  REQUIRE(one.apply(modify("ana"), 1).has_value());
  CHECK_EQ(one.id(), "run-0a1b2c3d");
  CHECK_EQ(policy::decided_words(*one.end()), "ana modified it");
}

TROUPE_TEST("a request that is asked anew begins without the votes of the one before") {
  auto what = request(2);
  const auto row = [](std::int64_t id, const policy::approval_decision& decision) {
    return decision_row{id, "run", "run-0a1b2c3d", policy::text_of(decision), 10};
  };
  const std::vector<decision_row> rows{row(1, modify("mallory")), row(2, approve("ana", "ffffffff")), row(3, approve("eva"))};
  what.void_decisions = 2;
  const auto now = policy::folded(what, rows);
  CHECK_EQ(now.approvals(), 1);
  CHECK_EQ(now.modified_by(), "");
  CHECK(policy::admission_of(what, approve("mallory"), 11)(rows).has_value());
  CHECK(!policy::admission_of(what, approve("eva"), 11)(rows).has_value());
}
