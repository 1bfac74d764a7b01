#include "troupe/policy/backoff.hpp"

#include <limits>
#include <random>

#include "test.hpp"

#include "troupe/policy/retry_budget.hpp"

TROUPE_SUITE(backoff)

using namespace troupe;
using namespace troupe::policy;
using namespace std::chrono_literals;

TROUPE_TEST("the ceiling doubles from base to cap and never overflows") {
  struct row {
    const char* says;
    retry_spec spec;
    std::int64_t retry;
    milliseconds ceiling;
  };
  const milliseconds longest = milliseconds::max();
  for (const auto& row : std::vector<row>{
           {"the first retry has the base", {3, 1s, 30s}, 0, 1s},
           {"the second twice that", {3, 1s, 30s}, 1, 2s},
           {"the fifth sixteen times", {3, 1s, 30s}, 4, 16s},
           {"the sixth would be 32 s: the cap", {3, 1s, 30s}, 5, 30s},
           {"the thousandth too", {3, 1s, 30s}, 1'000, 30s},
           {"the last number there is", {3, 1s, 30s}, std::numeric_limits<std::int64_t>::max(), 30s},
           {"a base above the cap", {3, 60s, 30s}, 0, 30s},
           {"no base, no wait", {3, 0s, 30s}, 50, 0s},
           {"a negative base is none", {3, -5s, 30s}, 3, 0s},
           {"a negative cap is none", {3, 1s, -30s}, 3, 0s},
           {"a negative retry is the first", {3, 1s, 30s}, -1, 1s},
           {"the longest cap", {3, 1s, longest}, 62, longest},
       }) {
    IN_ROW(row.says);
    CHECK_EQ(backoff_ceiling(row.spec, row.retry).count(), row.ceiling.count());
  }
}

TROUPE_TEST("the wait is uniform between nothing and the ceiling") {
  const retry_spec spec{3, 1s, 30s};
  CHECK_EQ(backoff_wait(spec, 2, 0.0).count(), 0);
  CHECK_EQ(backoff_wait(spec, 2, 0.5).count(), 2'000);
  CHECK_EQ(backoff_wait(spec, 2, 1.0).count(), 4'000);
  CHECK_EQ(backoff_wait(spec, 2, 7.0).count(), 4'000);
  CHECK_EQ(backoff_wait(spec, 2, -1.0).count(), 0);
  CHECK_EQ(backoff_wait(spec, 2, std::numeric_limits<double>::quiet_NaN()).count(), 0);
  std::mt19937_64 dice(7);
  std::uniform_real_distribution<double> unit(0, 1);
  std::int64_t sum = 0, low = 0;
  for (int i = 0; i < 10'000; ++i) {
    const auto wait = backoff_wait(spec, 3, unit(dice)).count();
    sum += wait;
    low += wait < 800;
  }
  CHECK(sum / 10'000 > 3'900 && sum / 10'000 < 4'100);
  CHECK(low > 900 && low < 1'100); // full jitter: a tenth of the waits is below a tenth
}

TROUPE_TEST("a Retry-After that is negative or far away is not believed") {
  CHECK(is_believed(std::chrono::milliseconds(0)));
  CHECK(is_believed(retry_after_max));
  CHECK(!is_believed(std::nullopt));
  CHECK(!is_believed(std::chrono::milliseconds(-1)));
  CHECK(!is_believed(retry_after_max + std::chrono::milliseconds(1)));
}

TROUPE_TEST("Retry-After is a lower bound, and one too long fails over at once") {
  struct row {
    const char* says;
    double random;
    std::optional<milliseconds> retry_after, left, wait;
  };
  for (const auto& row : std::vector<row>{
           {"without one the jitter is the wait", 0.5, {}, {}, 500ms},
           {"the longer of the two: Retry-After", 0.5, 2s, {}, 2s},
           {"the longer of the two: jitter", 0.9, 100ms, {}, 900ms},
           {"as long as the cap is waited for", 0, 30s, {}, 30s},
           {"longer than the cap fails over", 0, 30'001ms, {}, std::nullopt},
           {"longer than the time left fails over", 0, 20s, 10s, std::nullopt},
           {"as long as the time left leaves no time for a request", 0, 10s, 10s, std::nullopt},
           {"within the time left is waited for", 0, 9s, 10s, 9s},
           {"a jitter beyond the time left fails over", 0.9, {}, 500ms, std::nullopt},
           {"a negative one is ignored", 0.5, -1s, {}, 500ms},
           {"one far away is ignored", 0.5, std::chrono::hours(24 * 400), {}, 500ms},
           {"0 means at once: the jitter is the wait", 0.5, 0s, {}, 500ms},
           {"an hour fails over", 0.5, 1h, {}, std::nullopt},
       }) {
    IN_ROW(row.says);
    const auto got = retry_wait({3, 1s, 30s}, 0, row.random, row.retry_after, row.left);
    CHECK_EQ(got.has_value(), row.wait.has_value());
    if (got && row.wait)
      CHECK_EQ(got->count(), row.wait->count());
  }
}

TROUPE_TEST("a retry budget is full at 10, a retry takes 1, a call adds 0.1") {
  retry_budget budget;
  for (int i = 0; i < 10; ++i)
    CHECK(budget.take_retry());
  CHECK(!budget.take_retry());
  for (int i = 0; i < 9; ++i)
    budget.add_call();
  CHECK(!budget.take_retry());
  budget.add_call();
  CHECK(budget.take_retry());
  CHECK(!budget.take_retry());
  for (int i = 0; i < 1'000; ++i)
    budget.add_call();
  CHECK_EQ(budget.tokens(), 10.0);
}
