#include <caf/all.hpp>

#include "test.hpp"

#include "troupe/actors/budget_guard.hpp"
#include "troupe/actors/runtime.hpp"
#include "troupe/policy/budget_ledger.hpp"

TROUPE_SUITE(budget_guard)

using namespace troupe;

namespace {

limits dollars(std::int64_t whole) {
  limits made;
  made.money = usd{whole * 1'000'000};
  return made;
}

/// A run's guard with $1 below a process's with $2.
struct guards {
  guards() { actors::prepare(config); }
  caf::actor_system_config config;
  caf::actor_system system{config};
  actors::budget_guard_actor process = actors::spawn_budget_guard(system, {.scope = "process", .limit = dollars(2)});
  actors::budget_guard_actor run = actors::spawn_budget_guard(system, {.scope = "run", .limit = dollars(1), .parent = process});
  caf::scoped_actor self{system};

  actors::reserve_answer ask(const actors::budget_guard_actor& guard, const std::string& id, std::int64_t micro, bool waits) {
    actors::reserve_answer said;
    self->request(guard, std::chrono::seconds(10),
                  actors::reserve{.id = id, .task = "task", .agent = "agent", .worst_case = {usd{micro}, 1}, .waits = waits})
        .receive([&](const actors::reserve_answer& answer) { said = answer; },
                 [&](const caf::error& reason) { CAF_FAIL(caf::to_string(reason)); });
    return said;
  }
  policy::scope_usage usage(const actors::budget_guard_actor& guard) {
    policy::scope_usage own;
    self->request(guard, std::chrono::seconds(10), actors::budget_query{})
        .receive([&](const actors::budget_report& report) { own = report.scopes->front(); },
                 [&](const caf::error& reason) { CAF_FAIL(caf::to_string(reason)); });
    return own;
  }
  std::int64_t held(const actors::budget_guard_actor& guard) { return usage(guard).reserved.money.micro; }
};

} // namespace

TROUPE_TEST_WITH(guards, "who does not wait is refused where others would have to settle first, and leaves nothing behind") {
  CHECK(ask(run, "first", 700'000, true).granted);
  const auto refused = ask(run, "second", 400'000, false);
  CHECK(!refused.granted);
  CHECK_EQ(refused.scope, "run");
  CHECK_EQ(held(run), 700'000);
  CHECK(ask(run, "third", 300'000, false).granted); // there is room for this one
  CHECK_EQ(held(run), 1'000'000);
}

TROUPE_TEST_WITH(guards, "what is settled is spent in the whole chain, and the rest is given back there") {
  CHECK(ask(run, "first", 700'000, true).granted);
  self->send(run, actors::settle{"first", {usd{300'000}, 1}});
  self->request(run, std::chrono::seconds(10), actors::budget_query{})
      .receive(
          [&](const actors::budget_report& chain) {
            REQUIRE(chain.scopes->size() == 2);
            for (const auto& each : *chain.scopes) {
              CHECK_EQ(each.committed.money.micro, 300'000);
              CHECK_EQ(each.reserved.money.micro, 0);
            }
          },
          [&](const caf::error& reason) { CAF_FAIL(caf::to_string(reason)); });
}

TROUPE_TEST_WITH(guards, "nor does it wait further up") {
  CHECK(ask(process, "other", 1'500'000, true).granted);
  const auto refused = ask(run, "second", 600'000, false);
  CHECK(!refused.granted);
  CHECK_EQ(refused.scope, "process");
  CHECK_EQ(held(run), 0);
  CHECK_EQ(held(process), 1'500'000);
}

TROUPE_TEST_WITH(guards, "who dies pays for what was granted in the whole chain, not for what it still waits for further up") {
  CHECK(ask(process, "other", 1'500'000, true).granted);
  const auto becomes = [&](std::int64_t micro) {
    bool is_so = false;
    for (int i = 0; i < 100'000 && !is_so; ++i)
      is_so = held(run) == micro;
    return is_so;
  };
  const auto wanted = [](const char* id, std::int64_t micro) {
    return actors::reserve{.id = id, .task = "task", .agent = "agent", .worst_case = {usd{micro}, 1}};
  };
  {
    caf::scoped_actor holder{system};
    holder->send(run, wanted("waits", 600'000)); // has room in the run, not in the process
    CHECK(becomes(600'000));
  }
  CHECK(becomes(0));
  CHECK_EQ(usage(run).committed.money.micro, 0);
  {
    caf::scoped_actor holder{system};
    holder->request(run, std::chrono::seconds(10), wanted("sent", 400'000))
        .receive([](const actors::reserve_answer& said) { CHECK(said.granted); }, [](const caf::error&) { CHECK(false); });
  }
  CHECK(becomes(0));
  CHECK_EQ(usage(run).committed.money.micro, 400'000); // nobody knows what became of it
}
