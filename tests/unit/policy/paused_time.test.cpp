#include "test.hpp"

#include "troupe/policy/paused_time.hpp"
#include "troupe/policy/replay.hpp"

TROUPE_SUITE(paused_time)

using namespace troupe;

namespace {

event at(std::int64_t time_us, event_body body) {
  return event{.time_us = time_us, .run_id = "r", .body = std::move(body)};
}
event asked(std::int64_t time_us, std::string id, bool pause = true) {
  return at(time_us, approval_requested{.id = std::move(id), .pause_clock = pause});
}
event decided(std::int64_t time_us, std::string id) {
  return at(time_us, approval_decided{.id = std::move(id)});
}

std::int64_t paused(const std::vector<event>& events, std::int64_t until) {
  policy::paused_time time;
  for (const auto& e : events)
    time.apply(e);
  return time.until(until);
}

} // namespace

TROUPE_TEST("the clock stands still while something waits") {
  struct row {
    const char* rule;
    std::vector<event> events;
    std::int64_t until, expected;
  };
  const row rows[] = {
      {"nothing waits", {at(1, task_started{})}, 10, 0},
      {"one waits still", {asked(2, "a")}, 10, 8},
      {"one has waited", {asked(2, "a"), decided(5, "a")}, 10, 3},
      {"two at once count once", {asked(2, "a"), asked(3, "b"), decided(5, "a"), decided(7, "b")}, 10, 5},
      {"what was withdrawn waits no longer", {asked(2, "a"), at(5, approval_withdrawn{"a"})}, 10, 3},
      {"one after the other add up", {asked(2, "a"), decided(3, "a"), asked(5, "b"), decided(9, "b")}, 10, 5},
      {"without pause_clock it runs", {asked(2, "a", false), decided(5, "a")}, 10, 0},
      {"asked again is the same request", {asked(2, "a"), asked(4, "a"), decided(5, "a")}, 10, 3},
      {"what owners before waited is in their own time", {asked(2, "a"), at(6, run_resumed{})}, 10, 0},
      {"a clock that steps back takes nothing away", {asked(5, "a"), decided(3, "a")}, 10, 0},
  };
  for (const auto& r : rows) {
    IN_ROW(r.rule);
    CHECK_EQ(paused(r.events, r.until), r.expected);
  }
}

TROUPE_TEST("a run's used time is without it") {
  std::vector<event_ptr> events;
  for (auto e : {at(1'000'000, run_started{}), asked(2'000'000, "a"), decided(9'000'000, "a"), at(10'000'000, task_started{})}) {
    e.seq = static_cast<std::int64_t>(events.size()) + 1;
    events.push_back(std::make_shared<const event>(std::move(e)));
  }
  CHECK_EQ(policy::rebuild_run(events).owned_ms, 2'000);
}
