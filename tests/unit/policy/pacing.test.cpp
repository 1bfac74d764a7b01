#include "troupe/policy/pacing.hpp"

#include "test.hpp"

TROUPE_SUITE(pacing)

using namespace troupe;
using namespace troupe::policy;
using namespace std::chrono_literals;
using std::chrono::milliseconds;

TROUPE_TEST("headers tell when the next call may leave") {
  struct row {
    const char* says;
    rate_limits limits;
    std::int64_t tokens;
    milliseconds wait;
  };
  const time_point now{1'000s};
  for (const auto& row : std::vector<row>{
           {"nothing known: now", {}, 100, 0s},
           {"requests left: now", {1, {}, 5s, {}}, 100, 0s},
           {"none left: when they are reset", {0, {}, 5s, {}}, 100, 5s},
           {"tokens for it left: now", {{}, 100, {}, 5s}, 100, 0s},
           {"too few tokens: when they are reset", {{}, 99, {}, 5s}, 100, 5s},
           {"the later of both", {0, 0, 3s, 8s}, 100, 8s},
           {"none left, but nobody says until when: now", {0, {}, {}, {}}, 100, 0s},
           {"a negative reset is not believed", {0, {}, -5s, {}}, 100, 0s},
           {"nor is a far-away one", {0, {}, 25h, {}}, 100, 0s},
           {"nor is a negative rest", {-1, {}, 5s, {}}, 100, 0s},
       }) {
    IN_ROW(row.says);
    pacing pace;
    pace.observe(row.limits, now);
    CHECK(pace.earliest(row.tokens, now) == now + row.wait);
  }
}

TROUPE_TEST("what leaves is counted until the next answer says, and a reset that is past is forgotten") {
  const time_point now{1'000s};
  pacing pace;
  pace.observe({2, 1'000, 10s, 10s}, now);
  pace.sent(400, now);
  CHECK(pace.earliest(600, now) == now);
  CHECK(pace.earliest(601, now) == now + 10s);
  pace.sent(10, now);
  CHECK(pace.earliest(1, now) == now + 10s);
  CHECK(pace.earliest(1, now + 10s) == now + 10s);
  CHECK(pace.earliest(1, now + 11s) == now + 11s);
  pace.observe({5, {}, 1s, {}}, now); // says nothing about tokens
  CHECK(pace.earliest(1, now) == now);
  CHECK(pace.earliest(600, now) == now + 10s);
}

namespace {

/// How many of those that ask at this time may go, each leaving at once.
int leave(pacing& pace, time_point now, std::int64_t tokens = 1) {
  int left = 0;
  while (left < 100 && pace.earliest(tokens, now) <= now) {
    pace.sent(tokens, now);
    ++left;
  }
  return left;
}

rate_limits requests(std::int64_t remaining, milliseconds reset, std::optional<std::int64_t> limit = {}) {
  return {remaining, {}, reset, {}, limit, {}};
}

} // namespace

TROUPE_TEST("after a reset that was waited for, as many go as the limit says, and one where nothing says") {
  struct row {
    const char* says;
    rate_limits limits;
    std::int64_t tokens;
    int leave;
  };
  const time_point now{1'000s};
  for (const auto& row : std::vector<row>{
           {"the limit is known", requests(0, 1s, 5), 1, 5},
           {"it is not", requests(0, 1s), 1, 1},
           {"a limit of none lets one go", requests(0, 1s, 0), 1, 1},
           {"as many as had been left", requests(7, 1s), 1, 7},
           {"tokens of a known limit", {{}, 0, {}, 1s, {}, 1'000}, 400, 2},
           {"tokens of an unknown one", {{}, 0, {}, 1s, {}, {}}, 400, 1},
           {"a request larger than the limit goes alone", {{}, 0, {}, 1s, {}, 100}, 400, 1},
       }) {
    IN_ROW(row.says);
    pacing pace;
    pace.observe(row.limits, now);
    CHECK_EQ(leave(pace, now + 1s, row.tokens), row.leave);
    CHECK(pace.earliest(row.tokens, now + 1s) == now + 1s + pacing::look_again);
    // None of them is ever answered.
    CHECK(pace.earliest(row.tokens, now + 1s + pacing::answer_patience - 1ms) == now + 1s + pacing::answer_patience);
    CHECK(leave(pace, now + 1s + pacing::answer_patience, row.tokens) >= 1);
  }
}

TROUPE_TEST("the one that went after a reset lets others go, or keeps them, by what becomes of it") {
  const time_point now{1'000s};
  const auto later = now + 2s;
  const auto one_under_way = [&](std::optional<std::int64_t> limit = {}) {
    pacing pace;
    pace.observe(requests(0, 1s, limit), now);
    CHECK_EQ(leave(pace, now + 1s), static_cast<int>(limit.value_or(1)));
    return pace;
  };
  auto pace = one_under_way();
  pace.observe(requests(3, 10s), later);
  CHECK_EQ(leave(pace, later), 3);
  CHECK(pace.earliest(1, later) == later + 10s);
  pace = one_under_way();
  pace.observe({}, later); // answered, without headers: nothing is known any more
  CHECK_EQ(leave(pace, later), 100);
  pace = one_under_way();
  pace.unanswered(later); // cancelled, say: the next one goes in its place
  CHECK_EQ(leave(pace, later), 1);
  pace = one_under_way(5);
  pace.unanswered(later); // nobody knows whether it counted
  CHECK_EQ(leave(pace, later), 0);
}

TROUPE_TEST("answers of requests that left together give nothing back that has left, in whatever order they come") {
  const time_point now{1'000s};
  pacing pace;
  pace.observe(requests(0, 1s, 5), now);
  CHECK_EQ(leave(pace, now + 1s), 5);
  for (const std::int64_t remaining : {4, 1, 3, 0, 2}) {
    pace.observe(requests(remaining, 900ms, 5), now + 1100ms);
    CHECK_EQ(leave(pace, now + 1100ms), 0);
    CHECK(pace.earliest(1, now + 1100ms) == now + 2s);
  }
  CHECK_EQ(leave(pace, now + 2s), 5);
  // A reset that moves on with each answer, as of a bucket that fills, is believed as it comes.
  pace.observe(requests(3, 10s, 5), now + 3s);
  CHECK_EQ(leave(pace, now + 3s), 0);
  pace.observe(requests(3, 11s, 5), now + 3s);
  CHECK_EQ(leave(pace, now + 3s), 3);
}
