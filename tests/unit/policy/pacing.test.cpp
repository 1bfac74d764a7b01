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
  pace.sent(400);
  CHECK(pace.earliest(600, now) == now);
  CHECK(pace.earliest(601, now) == now + 10s);
  pace.sent(10);
  CHECK(pace.earliest(1, now) == now + 10s);
  CHECK(pace.earliest(1, now + 10s) == now + 10s);
  CHECK(pace.earliest(1, now + 11s) == now + 11s);
  pace.observe({5, {}, 1s, {}}, now); // says nothing about tokens
  CHECK(pace.earliest(1, now) == now);
  CHECK(pace.earliest(600, now) == now + 10s);
}
