#include "test.hpp"

#include "troupe/util/timer_queue.hpp"

TROUPE_SUITE(timer_queue)

using namespace std::chrono_literals;
using troupe::timer_queue;
using keys = std::vector<int>;

namespace {
constexpr troupe::time_point start{1'000s};
}

TROUPE_TEST("a wake-up is asked for once, and again only for an earlier deadline") {
  timer_queue<int> timers;
  CHECK(!timers.to_ask());
  timers.set(1, start + 60s);
  CHECK(timers.to_ask() == start + 60s);
  CHECK(!timers.to_ask());
  for (int key = 2; key < 1'000; ++key) {
    timers.set(key, start + 60s + std::chrono::seconds(key));
    CHECK(!timers.to_ask());
  }
  timers.set(7, start + 5s);
  CHECK(timers.to_ask() == start + 5s);
}

TROUPE_TEST("who is due comes in the order of time, once, and the next wake-up is asked for then") {
  timer_queue<int> timers;
  timers.set(1, start + 3s);
  timers.set(2, start + 1s);
  timers.set(3, start + 9s);
  CHECK(timers.to_ask() == start + 1s);
  CHECK(timers.woken(start + 3s) == keys({2, 1}));
  CHECK(timers.woken(start + 3s) == keys{});
  CHECK(timers.to_ask() == start + 9s);
  CHECK_EQ(timers.size(), 1u);
}

TROUPE_TEST("a key has one deadline, and none once it is dropped: the wake-up that comes all the same finds nobody") {
  timer_queue<int> timers;
  timers.set(1, start + 1s);
  timers.set(1, start + 4s);
  timers.set(2, start + 2s);
  CHECK(timers.to_ask() == start + 2s);
  timers.drop(2);
  CHECK(timers.woken(start + 2s) == keys{});
  CHECK(timers.to_ask() == start + 4s);
  CHECK(timers.woken(start + 4s) == keys({1}));
  CHECK(!timers.to_ask());
}

TROUPE_TEST("a wake-up that comes too early is not taken for the one that is under way") {
  timer_queue<int> timers;
  timers.set(1, start + 9s);
  CHECK(timers.to_ask() == start + 9s);
  timers.set(2, start + 1s);
  CHECK(timers.to_ask() == start + 1s); // two are under way now
  CHECK(timers.woken(start + 1s) == keys({2}));
  CHECK(timers.to_ask() == start + 9s); // asked for twice, which is no harm
  CHECK(timers.woken(start + 9s) == keys({1}));
  CHECK(timers.woken(start + 9s) == keys{});
}
