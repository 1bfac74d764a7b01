#include "troupe/policy/circuit_breaker.hpp"

#include "test.hpp"

TROUPE_SUITE(circuit_breaker)

using namespace troupe;
using namespace troupe::policy;
using namespace std::chrono_literals;

namespace {

struct fixture : caf_test_case_auto_fixture {
  time_point now{100s};
  circuit_breaker breaker{breaker_spec{5, 15s}};

  std::optional<breaker_state> call(bool success) {
    auto permit = breaker.acquire(now).permit;
    return success ? permit.succeeded(now) : permit.failed(now);
  }
  void open() {
    for (int i = 0; i < 5; ++i)
      (void) call(false);
  }
};

} // namespace

TROUPE_TEST_WITH(fixture, "five failures in a row open it, and the fifth says so") {
  for (int i = 0; i < 4; ++i)
    CHECK(!call(false).has_value());
  CHECK(breaker.admits(now));
  CHECK(call(false) == breaker_state::open);
  CHECK(!breaker.admits(now));
  CHECK(!breaker.acquire(now).permit);
  CHECK(breaker.next_probe(now) == now + 15s);
}

TROUPE_TEST_WITH(fixture, "a success in between starts the row anew") {
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < 4; ++i)
      (void) call(false);
    if (round < 2) // 15 calls stay below the rate's 20
      (void) call(true);
  }
  CHECK(breaker.state(now) == breaker_state::closed);
}

TROUPE_TEST_WITH(fixture, "half of at least 20 calls in 30 s open it") {
  for (int i = 0; i < 19; ++i)
    (void) call(i % 2 == 0);
  CHECK(breaker.state(now) == breaker_state::closed);
  CHECK(call(false) == breaker_state::open);
}

TROUPE_TEST_WITH(fixture, "fewer than half do not") {
  for (int i = 0; i < 300; ++i)
    (void) call(i % 5 != 0 && i % 5 != 2);
  CHECK(breaker.state(now) == breaker_state::closed);
}

TROUPE_TEST_WITH(fixture, "calls older than 30 s do not count for the rate") {
  for (int i = 0; i < 40; ++i) {
    (void) call(i % 2 == 0);
    now += 2s; // at most 15 in any 30 s
  }
  CHECK(breaker.state(now) == breaker_state::closed);
}

TROUPE_TEST_WITH(fixture, "after 15 s one probe is let through, and no second one beside it") {
  open();
  now += 15s - 1ms;
  CHECK(!breaker.admits(now));
  now += 1ms;
  CHECK(breaker.state(now) == breaker_state::half_open);
  auto probe = breaker.acquire(now);
  CHECK(static_cast<bool>(probe.permit));
  CHECK(probe.changed == breaker_state::half_open);
  CHECK(!breaker.acquire(now).permit);
  CHECK(breaker.next_probe(now) == now + 15s);
  now += 1h; // however long it takes
  CHECK(!breaker.acquire(now).permit);
  CHECK(probe.permit.succeeded(now) == breaker_state::closed);
  CHECK(breaker.admits(now));
}

TROUPE_TEST_WITH(fixture, "a probe that fails opens it again for 15 s") {
  open();
  now += 20s;
  auto probe = breaker.acquire(now).permit;
  now += 3s;
  CHECK(probe.failed(now) == breaker_state::open);
  CHECK(breaker.next_probe(now) == now + 15s);
}

TROUPE_TEST_WITH(fixture, "a probe that is abandoned makes room for the next one") {
  open();
  now += 20s;
  {
    auto probe = breaker.acquire(now).permit;
    CHECK(!breaker.admits(now));
  }
  CHECK(breaker.state(now) == breaker_state::half_open);
  auto second = breaker.acquire(now);
  CHECK(static_cast<bool>(second.permit));
  CHECK(!second.changed.has_value()); // it was half-open before
}

TROUPE_TEST_WITH(fixture, "a call that began before it opened says nothing about the probe") {
  auto early_success = breaker.acquire(now).permit;
  auto early_failure = breaker.acquire(now).permit;
  open();
  CHECK(!early_success.succeeded(now).has_value());
  CHECK(breaker.state(now) == breaker_state::open);
  now += 20s;
  auto probe = breaker.acquire(now).permit;
  CHECK(!early_failure.failed(now).has_value());
  CHECK(breaker.state(now) == breaker_state::half_open);
  CHECK(probe.succeeded(now) == breaker_state::closed);
}

TROUPE_TEST_WITH(fixture, "a closed breaker forgets what opened it") {
  open();
  now += 20s;
  CHECK(call(true) == breaker_state::closed);
  for (int i = 0; i < 4; ++i)
    CHECK(!call(false).has_value());
  CHECK(call(false) == breaker_state::open);
}

TROUPE_TEST_WITH(fixture, "a permit that moves settles once") {
  auto first = breaker.acquire(now).permit;
  auto second = std::move(first);
  CHECK(!first);
  CHECK(static_cast<bool>(second));
  (void) second.failed(now);
  CHECK(!second.failed(now).has_value());
  for (int i = 0; i < 3; ++i)
    (void) call(false);
  CHECK(breaker.state(now) == breaker_state::closed); // four in all
}

TROUPE_TEST_WITH(fixture, "the half minute has thirty seconds: what was called in the first of them counts") {
  (void) call(false);
  now += 29s;
  for (int i = 0; i < 18; ++i)
    CHECK(!call(i % 2 == 0).has_value());    // nine of each
  CHECK(call(false) == breaker_state::open); // the twentieth, and the eleventh failure
}

TROUPE_TEST_WITH(fixture, "calls of more than 30 s ago count no more") {
  for (int i = 0; i < 19; ++i)
    (void) call(i % 2 == 0);
  now += 40s;
  CHECK(!call(false).has_value()); // the twentieth, and the tenth failure, but the only one of this half minute
  CHECK(breaker.state(now) == breaker_state::closed);
}
