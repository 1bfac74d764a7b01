#include "test.hpp"

#include <random>

#include "troupe/policy/budget_ledger.hpp"
#include "troupe/policy/reservation.hpp"
#include "troupe/util/assert.hpp"

TROUPE_SUITE(budget_ledger)

using namespace troupe;
using namespace troupe::policy;
using std::chrono::milliseconds;

namespace {

using names = std::vector<std::string>;

time_point at(std::int64_t ms) {
  return time_point{} + milliseconds(ms);
}
spend money(std::int64_t micro) {
  return {{micro}, 1};
}
limits dollars(std::int64_t micro) {
  limits out;
  out.money = usd{micro};
  return out;
}
bool granted(const reserve_answer& a) {
  return std::holds_alternative<budget_granted>(a);
}
bool waits(const reserve_answer& a) {
  return std::holds_alternative<budget_waiting>(a);
}
bool refused(const reserve_answer& a) {
  return std::holds_alternative<budget_refusal>(a);
}
const budget_refusal& refusal(const reserve_answer& a) {
  return std::get<budget_refusal>(a);
}

struct fixture {
  budget_ledger ledger;
  reserve_answer ask(const std::string& id, std::int64_t micro, names scopes = {"run"}, std::optional<spend> least = {}) {
    auto answer = ledger.reserve(id, scopes, money(micro), least, at(0));
    ledger.check();
    return answer;
  }
  ledger_changes settle(const std::string& id, std::int64_t micro) {
    auto changes = ledger.settle(id, money(micro));
    ledger.check();
    return changes;
  }
  std::vector<std::string> ids(const ledger_changes& c) {
    std::vector<std::string> out;
    for (const auto& [id, g] : c.granted)
      out.push_back(id);
    return out;
  }
};

} // namespace

TROUPE_TEST("a table of first answers: what fits is granted, what others still hold is waited for, what could never fit is refused") {
  struct row {
    const char* name;
    std::int64_t limit, committed, held, asked;
    std::optional<std::int64_t> least;
    int expected; // 0 granted, 1 waiting, 2 refused
  };
  const row rows[] = {
      {"an empty ledger grants up to the limit exactly", 100, 0, 0, 100, {}, 0},
      {"one micro-dollar more than the limit is refused", 100, 0, 0, 101, {}, 2},
      {"what is left beside a hold is granted exactly", 100, 0, 60, 40, {}, 0},
      {"one micro-dollar more than is left beside a hold waits", 100, 0, 60, 41, {}, 1},
      {"what fits only without the hold waits", 100, 30, 60, 70, {}, 1},
      {"what does not fit beside what is committed is refused, hold or not", 100, 30, 60, 71, {}, 2},
      {"where the worst case can never fit but less is useful, and others hold, waiting comes before lowering", 100, 30, 10, 71, 20, 1},
      {"where the worst case can never fit but less is useful, what is left is granted", 100, 30, 0, 71, 20, 0},
      {"where not even the least fits, it is refused", 100, 90, 0, 71, 20, 2},
      {"a free call is granted in an exhausted budget", 100, 100, 0, 0, {}, 0},
      {"negative amounts count as zero", 100, 100, 0, -5, {}, 0},
      {"the largest number overflows nothing", 100, 50, 50, std::numeric_limits<std::int64_t>::max(), {}, 2},
  };
  for (const auto& r : rows) {
    IN_ROW(r.name);
    fixture f;
    f.ledger.define("run", dollars(r.limit));
    if (r.committed > 0) {
      CHECK(granted(f.ask("before", r.committed)));
      f.settle("before", r.committed);
    }
    if (r.held > 0)
      CHECK(granted(f.ask("other", r.held)));
    const auto answer = f.ask("me", r.asked, {"run"}, r.least ? std::optional(money(*r.least)) : std::nullopt);
    CHECK_EQ(answer.index(), static_cast<std::size_t>(r.expected));
  }
}

TROUPE_TEST("a refusal names scope and kind and says what is left and what was needed") {
  fixture f;
  f.ledger.define("run", limits{usd{5'000'000}, {}, 2});
  CHECK(granted(f.ask("a", 4'980'000)));
  f.settle("a", 4'980'000);
  auto no_money = f.ask("b", 60'000);
  REQUIRE(refused(no_money));
  CHECK(refusal(no_money).kind == limit_kind::money);
  CHECK_EQ(refusal(no_money).scope, "run");
  CHECK_EQ(refusal(no_money).message, "the budget of $5.00 (run) has $0.02 left and the next step could cost $0.06");
  CHECK(granted(f.ask("c", 1)));
  f.settle("c", 1);
  auto no_steps = f.ask("d", 1);
  REQUIRE(refused(no_steps));
  CHECK(refusal(no_steps).kind == limit_kind::steps);
  CHECK_EQ(refusal(no_steps).message, "the limit of 2 steps (run) is used up");
}

TROUPE_TEST("a table of limits: which one stands in the way, innermost first, of a request that may be lowered") {
  struct row {
    const char* name;
    std::int64_t task, run; // what is left there
    std::int64_t steps;     // of the run
    std::string scope;      // empty: lowered, it fits all of them
    limit_kind kind = limit_kind::money;
  };
  const row rows[] = {
      {"the run's could be lowered to, the task's not: the task's", 240, 290, 9, "task t"},
      {"the other way round: the run's", 290, 240, 9, "run"},
      {"neither: the task's", 240, 200, 9, "task t"},
      {"both could be lowered to", 290, 260, 9, ""},
      {"what is left is exactly the least", 256, 256, 9, ""},
      {"no step of the run is left", 290, 290, 0, "run", limit_kind::steps},
      {"nor any money of the task", 240, 290, 0, "task t"},
  };
  for (const auto& r : rows) {
    IN_ROW(r.name);
    budget_ledger ledger;
    auto of_run = dollars(r.run);
    of_run.steps = r.steps;
    ledger.define("run", of_run);
    ledger.define("task t", dollars(r.task));
    const auto said = ledger.stands_in_the_way({"task t", "agent none", "run"}, money(300), money(256));
    CHECK_EQ(said.has_value(), !r.scope.empty());
    if (said) {
      CHECK_EQ(said->scope, r.scope);
      CHECK(said->kind == r.kind);
      CHECK(r.kind != limit_kind::money || said->message.ends_with("could cost $0.0003")); // what was asked for, not the least
    }
    CHECK_EQ(ledger.stands_in_the_way({"task t", "run"}, money(200), money(budget_unlimited)).has_value(), r.steps == 0);
  }
}

TROUPE_TEST("a reservation is held in all of its scopes or in none") {
  fixture f;
  f.ledger.define("run", dollars(100));
  f.ledger.define("task research", dollars(10));
  CHECK(refused(f.ask("a", 11, {"run", "task research"})));
  CHECK_EQ(f.ledger.left_now({"run"}).money.micro, 100);
  CHECK(granted(f.ask("b", 10, {"run", "task research"})));
  CHECK_EQ(f.ledger.left_now({"run"}).money.micro, 90);
  CHECK_EQ(f.ledger.left_now({"run", "task research"}).money.micro, 0);
  CHECK_EQ(f.ledger.left_if_all_settle({"run", "task research"}).money.micro, 10);
  CHECK(waits(f.ask("c", 1, {"run", "task research"})));
  CHECK_EQ(f.ledger.left_now({"run"}).money.micro, 90);
}

TROUPE_TEST("a scope that was never defined is unlimited, and naming one twice counts once") {
  fixture f;
  f.ledger.define("run", dollars(100));
  CHECK(granted(f.ask("a", 1'000'000, {"agent writer"})));
  CHECK(granted(f.ask("b", 100, {"run", "run"})));
  CHECK_EQ(f.ledger.left_now({"agent writer"}).money.micro, budget_unlimited);
}

TROUPE_TEST("settling commits what was spent, frees the rest and grants who waits") {
  fixture f;
  f.ledger.define("run", dollars(100));
  CHECK(granted(f.ask("a", 80)));
  CHECK(waits(f.ask("b", 50)));
  CHECK_EQ(f.ids(f.settle("a", 30)), (names{"b"}));
  const auto usage = f.ledger.usage(at(0));
  CHECK_EQ(usage[0].committed.money.micro, 30);
  CHECK_EQ(usage[0].reserved.money.micro, 50);
}

TROUPE_TEST("waiters become refused as soon as what was committed makes them impossible") {
  fixture f;
  f.ledger.define("run", dollars(100));
  CHECK(granted(f.ask("a", 80)));
  CHECK(waits(f.ask("big", 50)));
  CHECK(waits(f.ask("small", 15)));
  const auto changes = f.settle("a", 60);
  REQUIRE(changes.refused.size() == 1);
  CHECK_EQ(changes.refused[0].first, "big");
  CHECK_EQ(f.ids(changes), (names{"small"}));
}

TROUPE_TEST("a small one does not overtake a big one that waits for the same scope") {
  fixture f;
  f.ledger.define("run", dollars(100));
  CHECK(granted(f.ask("a", 50)));
  CHECK(granted(f.ask("b", 40)));
  CHECK(waits(f.ask("big", 60)));
  CHECK(waits(f.ask("small", 5)));        // would fit
  CHECK(f.ids(f.settle("b", 0)).empty()); // 50 are free: big still waits, and small behind it
  CHECK_EQ(f.ids(f.settle("a", 0)), (names{"big", "small"}));
}

TROUPE_TEST("nor does one with other scopes besides, as long as they share the one that is waited for") {
  fixture f;
  f.ledger.define("run", dollars(100));
  f.ledger.define("task x", dollars(100));
  CHECK(granted(f.ask("a", 50)));
  CHECK(granted(f.ask("b", 40)));
  CHECK(waits(f.ask("big", 60)));
  CHECK(waits(f.ask("small", 5, {"run", "task x"})));
  CHECK(f.ids(f.settle("b", 0)).empty());
  CHECK_EQ(f.ids(f.settle("a", 0)), (names{"big", "small"}));
}

TROUPE_TEST("who waits for one task's limit does not delay another task of the run") {
  fixture f;
  f.ledger.define("run", dollars(1000));
  f.ledger.define("task x", dollars(50));
  CHECK(granted(f.ask("a", 50, {"run", "task x"})));
  CHECK(waits(f.ask("b", 50, {"run", "task x"})));
  CHECK(granted(f.ask("c", 50, {"run", "task y"})));
  CHECK_EQ(f.ids(f.settle("a", 0)), (names{"b"}));
}

TROUPE_TEST("in an upper guard one tenant that waits does not delay another") {
  fixture f;
  f.ledger.define("process", dollars(1000));
  f.ledger.define("tenant a", dollars(100));
  f.ledger.define("tenant b", dollars(100));
  CHECK(granted(f.ask("a1", 90, {"tenant a", "process"})));
  CHECK(waits(f.ask("a2", 90, {"tenant a", "process"})));
  CHECK(granted(f.ask("b1", 90, {"tenant b", "process"})));
}

TROUPE_TEST("a waiter keeps its claim on every scope that was once too full, so that two crowds cannot starve it in turns") {
  fixture f;
  f.ledger.define("x", dollars(100));
  f.ledger.define("y", dollars(100));
  CHECK(granted(f.ask("x1", 100, {"x"})));
  CHECK(waits(f.ask("both", 100, {"x", "y"})));
  CHECK(granted(f.ask("y1", 100, {"y"})));
  CHECK(f.ids(f.settle("x1", 0)).empty()); // x is free, y is not
  CHECK(waits(f.ask("x2", 100, {"x"})));   // x stays claimed
  CHECK(waits(f.ask("y2", 100, {"y"})));
  CHECK_EQ(f.ids(f.settle("y1", 0)), (names{"both"}));
  CHECK_EQ(f.ids(f.settle("both", 0)), (names{"x2", "y2"}));
}

TROUPE_TEST("leaving the line lets those behind go on") {
  fixture f;
  f.ledger.define("run", dollars(100));
  CHECK(granted(f.ask("a", 50)));
  CHECK(waits(f.ask("big", 60)));
  CHECK(waits(f.ask("small", 5)));
  const auto changes = f.ledger.cancel_waiting("big");
  CHECK(changes.known);
  CHECK_EQ(f.ids(changes), (names{"small"}));
  CHECK(!f.ledger.cancel_waiting("a").known); // is held, stays
  CHECK_EQ(f.ledger.held(), 2u);
}

TROUPE_TEST("releasing frees everything, the worst case commits everything, both once") {
  fixture f;
  f.ledger.define("run", dollars(100));
  f.ask("a", 60);
  f.ask("b", 40);
  CHECK(f.ledger.release("a").known);
  CHECK(!f.ledger.release("a").known);
  CHECK_EQ(f.ledger.left_now({"run"}).money.micro, 60);
  CHECK(f.ledger.settle_worst_case("b").known);
  CHECK(!f.ledger.settle("b", money(1)).known);
  CHECK_EQ(f.ledger.left_now({"run"}).money.micro, 60);
  CHECK_EQ(f.ledger.held(), 0u);
}

TROUPE_TEST("a cost above what was held, or below zero, commits the worst case and says so") {
  for (std::int64_t actual : {41LL, -1LL, std::numeric_limits<long long>::max()}) {
    fixture f;
    f.ledger.define("run", dollars(100));
    f.ask("a", 40);
    const auto changes = f.settle("a", actual);
    CHECK(changes.clamped);
    CHECK_EQ(f.ledger.left_now({"run"}).money.micro, 60);
  }
}

TROUPE_TEST("asking again with the same id changes nothing and answers how it stands") {
  fixture f;
  f.ledger.define("run", dollars(100));
  CHECK(granted(f.ask("a", 60)));
  CHECK(granted(f.ask("a", 60)));
  CHECK(waits(f.ask("b", 60)));
  CHECK(waits(f.ask("b", 60)));
  CHECK_EQ(f.ledger.left_now({"run"}).money.micro, 40);
  CHECK_EQ(f.ledger.waiting(), 1u);
}

TROUPE_TEST("a parent that grants less reduces what is held here") {
  fixture f;
  f.ledger.define("run", dollars(100));
  f.ask("a", 80);
  CHECK(waits(f.ask("b", 50)));
  CHECK_EQ(f.ids(f.ledger.reduce("a", money(50))), (names{"b"}));
  CHECK(granted(f.ask("a", 80)));
  CHECK_EQ(f.ledger.usage(at(0))[0].reserved.money.micro, 100);
  CHECK(!f.ledger.reduce("nobody", money(1)).known);
}

TROUPE_TEST("lowering waits until nobody else holds what is missing, and grants all that is left") {
  fixture f;
  f.ledger.define("run", dollars(100));
  CHECK(granted(f.ask("a", 30)));
  f.settle("a", 30);
  CHECK(granted(f.ask("b", 20)));
  CHECK(waits(f.ask("me", 90, {"run"}, money(20))));
  const auto changes = f.settle("b", 5);
  REQUIRE(changes.granted.size() == 1);
  CHECK_EQ(changes.granted[0].second.amount.money.micro, 65);
}

TROUPE_TEST("warnings come at 50, 80 and 95 percent, each once for each scope and kind") {
  fixture f;
  f.ledger.define("run", limits{usd{1000}, {}, 10});
  f.ledger.define("task t", dollars(500));
  auto spend_now = [&f, n = 0](std::int64_t micro, names scopes) mutable {
    const auto id = std::to_string(n++);
    f.ask(id, micro, std::move(scopes));
    return f.settle(id, micro).warnings;
  };
  CHECK(spend_now(499, {"run"}).empty());
  auto at_half = spend_now(1, {"run"});
  REQUIRE(at_half.size() == 1);
  CHECK_EQ(at_half[0].percent, 50);
  CHECK(at_half[0].kind == limit_kind::money);
  CHECK(spend_now(1, {"run"}).empty());
  auto both = spend_now(299, {"run", "task t"}); // run 800, task 299 of 500
  REQUIRE(both.size() == 2);
  CHECK_EQ(both[0].percent, 80);
  CHECK_EQ(both[1].scope, "task t");
  auto steps = spend_now(0, {"run"}); // the fifth step of ten
  REQUIRE(steps.size() == 1);
  CHECK(steps[0].kind == limit_kind::steps);
  auto last = spend_now(200, {"run"});
  REQUIRE(last.size() == 1);
  CHECK_EQ(last[0].percent, 95);
}

TROUPE_TEST("one commit that crosses several thresholds tells each") {
  fixture f;
  f.ledger.define("run", dollars(100));
  f.ask("a", 100);
  CHECK_EQ(f.settle("a", 96).warnings.size(), 3u);
}

TROUPE_TEST("what an earlier owner spent is charged without asking, and raising the limit lets the run go on") {
  fixture f;
  f.ledger.define("run", dollars(100));
  f.ledger.charge({"run"}, {{120}, 3}); // more than the limit: it is gone all the same
  f.ledger.check();
  CHECK(refused(f.ask("a", 1)));
  f.ledger.raise("run", dollars(50));
  CHECK(granted(f.ask("a", 30)));
  CHECK(refused(f.ask("b", 31)));
}

TROUPE_TEST("raising the limit grants who waits") {
  fixture f;
  f.ledger.define("run", dollars(100));
  f.ask("a", 80);
  CHECK(waits(f.ask("b", 50)));
  CHECK_EQ(f.ids(f.ledger.raise("run", dollars(30))), (names{"b"}));
}

TROUPE_TEST("a charge that takes what others hold lets them settle and refuses who waits") {
  fixture f;
  f.ledger.define("tenant", dollars(100));
  f.ask("a", 80, {"tenant"});
  CHECK(waits(f.ask("b", 50, {"tenant"})));
  const auto changes = f.ledger.charge({"tenant"}, {{90}, 1});
  CHECK_EQ(changes.refused.size(), 1u);
  f.settle("a", 80);
  CHECK_EQ(f.ledger.usage(at(0))[0].committed.money.micro, 170);
  CHECK(refused(f.ask("c", 1, {"tenant"})));
}

TROUPE_TEST("a tenant's next period starts at zero, what is held stays held") {
  fixture f;
  f.ledger.define("tenant", dollars(100));
  f.ask("a", 60, {"tenant"});
  f.settle("a", 60);
  f.ask("b", 40, {"tenant"});
  f.ledger.start_period("tenant");
  f.ledger.check();
  CHECK_EQ(f.ledger.left_now({"tenant"}).money.micro, 60);
  CHECK_EQ(f.settle("b", 40).warnings.size(), 0u);
}

TROUPE_TEST("a line longer than its bound is refused") {
  budget_ledger ledger(1);
  ledger.define("run", dollars(10));
  CHECK(granted(ledger.reserve("a", {"run"}, money(10), {}, at(0))));
  CHECK(waits(ledger.reserve("b", {"run"}, money(10), {}, at(0))));
  CHECK(refused(ledger.reserve("c", {"run"}, money(10), {}, at(0))));
}

TROUPE_TEST("time is monotonic, summed over owners, and its end refuses") {
  fixture f;
  f.ledger.define("run", limits{{}, milliseconds{1000}, {}});
  f.ledger.start_clock("run", at(5'000), milliseconds{400});
  CHECK_EQ(f.ledger.time_left({"run"}, at(5'000))->count(), 600);
  CHECK_EQ(f.ledger.time_left({"run"}, at(4'000))->count(), 600); // a clock that jumps back expires nothing
  CHECK(granted(f.ledger.reserve("a", {"run"}, money(1), {}, at(5'599))));
  const auto late = f.ledger.reserve("b", {"run"}, money(1), {}, at(5'600));
  REQUIRE(refused(late));
  CHECK(refusal(late).kind == limit_kind::time);
  CHECK_EQ(f.ledger.time_left({"run"}, at(9'000))->count(), 0);
  CHECK(!f.ledger.time_left({"agent x"}, at(0)).has_value());
}

TROUPE_TEST("a paused clock stands still") {
  fixture f;
  f.ledger.define("run", limits{{}, milliseconds{1000}, {}});
  f.ledger.start_clock("run", at(0));
  f.ledger.pause_clock("run", at(100));
  CHECK_EQ(f.ledger.time_left({"run"}, at(10'000))->count(), 900);
  f.ledger.start_clock("run", at(10'000));
  CHECK_EQ(f.ledger.time_left({"run"}, at(10'100))->count(), 800);
  CHECK_EQ(f.ledger.time_used("run", at(10'100)).count(), 200);
}

TROUPE_TEST("time warns at 50, 80 and 95 percent once each, and says when to look again") {
  fixture f;
  f.ledger.define("run", limits{{}, milliseconds{1000}, {}});
  f.ledger.start_clock("run", at(0));
  CHECK_EQ(f.ledger.next_time_warning(at(100))->count(), 400);
  CHECK(f.ledger.time_warnings(at(499)).empty());
  CHECK_EQ(f.ledger.time_warnings(at(500)).size(), 1u);
  CHECK(f.ledger.time_warnings(at(500)).empty());
  CHECK_EQ(f.ledger.next_time_warning(at(500))->count(), 300);
  CHECK_EQ(f.ledger.time_warnings(at(5000)).size(), 2u);
  CHECK(!f.ledger.next_time_warning(at(5000)).has_value());
}

// --- properties ----------------------------------------------------------------------------------------------------

TROUPE_TEST("random work in random scopes never overshoots, leaves no reservation and drains the line") {
  for (unsigned seed = 0; seed < 60; ++seed) {
    std::mt19937 random(seed);
    auto pick = [&](int n) { return std::uniform_int_distribution<int>(0, n - 1)(random); };
    budget_ledger ledger;
    const names all{"run", "task a", "task b", "agent x", "agent y"};
    ledger.define("run", limits{usd{2000}, {}, 400});
    for (std::size_t i = 1; i < all.size(); ++i)
      ledger.define(all[i], limits{usd{200 + pick(1500)}, {}, 20 + pick(200)});
    std::vector<std::string> held, line;
    auto take = [&](const ledger_changes& c) {
      for (const auto& [id, g] : c.granted) {
        line.erase(std::find(line.begin(), line.end(), id));
        held.push_back(id);
      }
      for (const auto& [id, r] : c.refused)
        line.erase(std::find(line.begin(), line.end(), id));
      ledger.check();
    };
    for (int n = 0; n < 600; ++n) {
      if (held.size() < 64 && pick(3) != 0) {
        names scopes{"run"};
        scopes.push_back(all[static_cast<std::size_t>(1 + pick(2))]);
        if (pick(2) == 0)
          scopes.push_back(all[static_cast<std::size_t>(3 + pick(2))]);
        const auto id = std::to_string(n);
        std::optional<spend> least;
        if (pick(4) == 0)
          least = spend{{pick(10)}, 1};
        const auto answer = ledger.reserve(id, scopes, {{pick(60)}, 1}, least, at(0));
        if (granted(answer))
          held.push_back(id);
        else if (waits(answer))
          line.push_back(id);
      } else if (!held.empty() && pick(5) != 0) {
        const auto i = static_cast<std::size_t>(pick(static_cast<int>(held.size())));
        const auto id = held[i];
        held.erase(held.begin() + static_cast<std::ptrdiff_t>(i));
        const int how = pick(5);
        take(how == 0 ? ledger.release(id) : how == 1 ? ledger.settle_worst_case(id) : ledger.settle(id, {{pick(30)}, 1}));
      } else if (!line.empty()) {
        const auto id = line[static_cast<std::size_t>(pick(static_cast<int>(line.size())))];
        line.erase(std::find(line.begin(), line.end(), id));
        take(ledger.cancel_waiting(id));
      }
      ledger.check();
      CHECK(line.empty() || !held.empty()); // nobody waits for nothing
    }
    while (!held.empty()) {
      const auto id = held.back();
      held.pop_back();
      take(ledger.settle(id, {{pick(60)}, 1}));
    }
    CHECK(line.empty());
    CHECK_EQ(ledger.held(), 0u);
    CHECK_EQ(ledger.waiting(), 0u);
    for (const auto& u : ledger.usage(at(0))) {
      CHECK_EQ(u.reserved, spend{});
      CHECK(u.committed.money <= *u.limit.money);
    }
  }
}

TROUPE_TEST("an exhausted run has really spent at least 85 percent of its money, from 1 to 64 calls at once") {
  for (int concurrency : {1, 2, 4, 8, 16, 32, 64}) {
    for (unsigned seed = 0; seed < 20; ++seed) {
      std::mt19937 random(seed * 100 + static_cast<unsigned>(concurrency));
      constexpr std::int64_t limit = 5'000'000, worst = 240'000; // 4.8 %
      budget_ledger ledger;
      ledger.define("run", dollars(limit));
      std::vector<std::string> in_flight;
      int asked = 0;
      bool exhausted = false;
      auto ask = [&] {
        const auto id = std::to_string(asked++);
        const auto answer = ledger.reserve(id, {"run"}, money(worst), {}, at(0));
        if (granted(answer))
          in_flight.push_back(id);
        exhausted = exhausted || refused(answer);
      };
      for (int i = 0; i < concurrency; ++i)
        ask();
      while (!in_flight.empty()) {
        const auto i = random() % in_flight.size();
        const auto id = in_flight[i];
        in_flight.erase(in_flight.begin() + static_cast<std::ptrdiff_t>(i));
        const std::int64_t actual = static_cast<std::int64_t>(random() % (worst / (1 + seed % 8)));
        const auto changes = ledger.settle(id, money(actual));
        ledger.check();
        for (const auto& [waiter, g] : changes.granted)
          in_flight.push_back(waiter);
        exhausted = exhausted || !changes.refused.empty();
        if (!exhausted)
          ask();
      }
      CHECK(exhausted);
      const auto spent = ledger.usage(at(0))[0].committed.money.micro;
      CHECK(spent <= limit);
      CHECK(spent * 100 >= limit * 85);
    }
  }
}

TROUPE_TEST("a chain of guards holds in the whole chain or nowhere, and no interleaving gets stuck") {
  // Three runs of two tenants in one process; a guard asks its parent after it has granted, and answers travel in random order.
  for (unsigned seed = 0; seed < 40; ++seed) {
    std::mt19937 random(seed);
    auto pick = [&](std::size_t n) { return static_cast<std::size_t>(random() % n); };
    std::map<std::string, budget_ledger> guards;
    const std::map<std::string, std::string> parent{{"r1", "ta"}, {"r2", "ta"}, {"r3", "tb"}, {"ta", "p"}, {"tb", "p"}, {"p", ""}};
    const std::map<std::string, std::int64_t> limit{{"r1", 500}, {"r2", 300}, {"r3", 600}, {"ta", 600}, {"tb", 400}, {"p", 800}};
    for (const auto& [name, amount] : limit)
      guards[name].define(name, dollars(amount));
    struct call {
      std::string run;
      std::vector<std::string> holds; // guards that granted, upward
      bool in_flight = false;
    };
    std::map<std::string, call> calls;
    std::vector<std::function<void()>> mail;
    std::function<void(const ledger_changes&, const std::string&)> apply;
    std::function<void(const std::string&, const std::string&)> on_granted, on_refused, ask;
    on_granted = [&](const std::string& guard, const std::string& id) {
      calls[id].holds.push_back(guard);
      const auto up = parent.at(guard);
      if (up.empty())
        calls[id].in_flight = true;
      else
        mail.push_back([&, up, id] { ask(up, id); });
    };
    on_refused = [&](const std::string&, const std::string& id) {
      auto holds = calls[id].holds;
      calls.erase(id);
      for (const auto& g : holds)
        mail.push_back([&, g, id] { apply(guards[g].release(id), g); });
    };
    apply = [&](const ledger_changes& c, const std::string& g) {
      guards[g].check();
      for (const auto& [id, grant] : c.granted)
        on_granted(g, id);
      for (const auto& [id, why] : c.refused)
        on_refused(g, id);
    };
    ask = [&](const std::string& guard, const std::string& id) {
      const auto answer =
          guards[guard].reserve(id, {guard}, money(20 + static_cast<std::int64_t>(std::hash<std::string>{}(id) % 30)), {}, at(0));
      guards[guard].check();
      if (granted(answer))
        on_granted(guard, id);
      else if (refused(answer))
        on_refused(guard, id);
    };
    int asked = 0;
    for (int n = 0; n < 4000; ++n) {
      if (asked < 300 && calls.size() < 64) {
        const auto id = std::to_string(asked++);
        const char* runs[] = {"r1", "r2", "r3"};
        calls[id].run = runs[pick(3)];
        mail.push_back([&, id] { ask(calls[id].run, id); });
      }
      std::vector<std::string> flying;
      for (const auto& [id, c] : calls)
        if (c.in_flight)
          flying.push_back(id);
      if (!mail.empty() && (flying.empty() || pick(2) == 0)) {
        const auto i = pick(mail.size());
        auto job = std::move(mail[i]);
        mail.erase(mail.begin() + static_cast<std::ptrdiff_t>(i));
        job();
      } else if (!flying.empty()) {
        const auto id = flying[pick(flying.size())];
        const auto holds = calls[id].holds;
        calls.erase(id);
        const auto actual = money(static_cast<std::int64_t>(random() % 20));
        for (const auto& g : holds)
          mail.push_back([&, g, id, actual] { apply(guards[g].settle(id, actual), g); });
      } else if (mail.empty() && asked == 300) {
        break;
      }
    }
    CHECK(mail.empty());
    CHECK(calls.empty()); // nobody waits for ever
    for (auto& [name, g] : guards) {
      CHECK_EQ(g.held(), 0u);
      CHECK_EQ(g.waiting(), 0u);
      CHECK(g.usage(at(0))[0].committed.money.micro <= limit.at(name));
    }
  }
}

// --- the value -----------------------------------------------------------------------------------------------------

TROUPE_TEST("a reservation gives itself back exactly once, whatever becomes of it") {
  std::vector<std::int64_t> given;
  auto make = [&] { return reservation("id", money(50), [&](const std::string&, spend actual) { given.push_back(actual.money.micro); }); };
  { auto unsent = make(); }
  {
    auto unknown = make();
    unknown.sent();
  }
  {
    auto settled = make();
    settled.sent();
    settled.settle(money(7));
    settled.settle(money(8));
  }
  {
    auto released = make();
    released.release();
  }
  {
    auto moved = make();
    auto target = std::move(moved);
    target.settle(money(9));
    CHECK(!moved);
  }
  {
    auto first = make();
    first.sent();
    first = make();
    first.settle(money(10));
  }
  CHECK_EQ(given, (std::vector<std::int64_t>{0, 50, 7, 0, 9, 50, 10}));
}

TROUPE_TEST("a threshold is reached by what is at least that share, never by less") {
  struct row {
    std::int64_t limit, used;
    std::size_t warnings;
  };
  for (const auto& [limit, used, warnings] :
       std::vector<row>{{3, 1, 0}, {3, 2, 1}, {3, 3, 3}, {7, 3, 0}, {7, 4, 1}, {7, 5, 1}, {7, 6, 2}, {200, 189, 2}, {200, 190, 3}}) {
    IN_ROW(std::to_string(used) + " of " + std::to_string(limit));
    fixture f;
    f.ledger.define("run", {{}, {}, limit});
    CHECK_EQ(f.ledger.charge({"run"}, {{}, used}).warnings.size(), warnings);
  }
}

TROUPE_TEST("a settlement of a negative number of steps is charged as the worst case") {
  fixture f;
  f.ledger.define("run", {{}, {}, 2});
  (void) f.ask("a", 0);
  CHECK(f.ledger.settle("a", {{0}, -1}).clamped);
  f.ledger.check();
  CHECK_EQ(f.ledger.left_now({"run"}).steps, 1);
}

TROUPE_TEST("more of each of the three is added to the limit, and thresholds are warned of anew") {
  fixture f;
  f.ledger.define("run", {usd{100}, milliseconds{1'000}, 10});
  f.ledger.start_clock("run", at(0));
  CHECK_EQ(f.ledger.charge({"run"}, {{96}, 10}).warnings.size(), 6u);
  CHECK_EQ(f.ledger.time_warnings(at(960)).size(), 3u);
  f.ledger.raise("run", {usd{100}, milliseconds{1'000}, 10});
  CHECK_EQ(f.ledger.left_now({"run"}), (spend{{104}, 10}));
  CHECK_EQ(f.ledger.time_left({"run"}, at(960))->count(), 1'040);
  CHECK_EQ(f.ledger.charge({"run"}, {{64}, 6}).warnings.size(), 3u); // money: 50 and 80; steps: 80, since 50 is reached still
}

TROUPE_TEST("the time that is left is the least of the scopes'") {
  fixture f;
  f.ledger.define("run", {{}, milliseconds{900}, {}});
  f.ledger.define("task t", {{}, milliseconds{300}, {}});
  f.ledger.define("tenant x", {{}, milliseconds{600}, {}});
  for (const auto* scope : {"run", "task t", "tenant x"})
    f.ledger.start_clock(scope, at(0));
  CHECK_EQ(f.ledger.time_left({"run", "task t", "tenant x"}, at(100))->count(), 200);
  CHECK_EQ(f.ledger.time_left({"tenant x", "run"}, at(100))->count(), 500);
}

TROUPE_TEST("one that waits and gives up leaves the line, and nothing of it is held") {
  fixture f;
  f.ledger.define("run", dollars(100));
  CHECK(granted(f.ask("a", 80)));
  CHECK(waits(f.ask("b", 50)));
  CHECK(waits(f.ask("c", 15)));
  CHECK_EQ(f.ids(f.ledger.release("b")), (names{"c"}));
  f.ledger.check();
  CHECK_EQ(f.ids(f.settle("a", 0)), (names{}));
  CHECK(granted(f.ask("b", 85)));
}
