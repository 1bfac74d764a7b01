#pragma once
// Crash at every event. A scenario is played once to count its events, then again and again with one crash at event 0, 1, 2 … until a play
// ends without it (as YDB's RunTestWithReboots does). After each play everything that Troupe promises is checked from outside.
//
// A point that fails prints its name. That point alone, with each event that led to it and all that was recorded:
//   TROUPE_CRASH="SCENARIO KIND NUMBER" build/dev/tests/test_simulation
// Another order of what happens at once, for all points: TROUPE_SEED=2.
// (A KIND that ends in "-twice" has two numbers.)

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "actors/company.hpp"
#include "simulation/process.hpp"
#include "troupe/metrics/run_summary.hpp"

namespace troupe::simulation {

struct scenario {
  std::string name; ///< one word
  std::string config, script;
  std::string workflow = "main";
  json input = json::object();
  std::map<std::string, tool_work> tools;
  std::uint64_t seed = 1;
  bool any_latency = false; ///< see `surroundings`
  std::map<std::string, milliseconds> latency_of{};
  std::optional<std::int64_t> cancel_at; ///< the user cancels the run at this event of its first process
  /// What is wrong with this end of the run; empty: nothing. No function: it must be completed, with the result of an undisturbed play.
  std::function<std::string(const run_summary&)> judge;
};

/// Who crashes. No victim: the whole process, whose last appends were written or not.
struct crash_kind {
  std::string name;
  std::optional<victim> whom;
  last_words kept = last_words::lost;
  bool may_fail = false; ///< the run may end as failed, with a reason: what died is a service that nobody restarts
};
struct crash_point {
  crash_kind kind;
  std::int64_t at = 0; ///< event of the process that it strikes
};

/// All that a play left behind.
struct play_result {
  std::vector<event_ptr> events;
  run_summary summary;
  std::vector<std::string> broken;   ///< promises
  std::vector<std::int64_t> lengths; ///< events of each process
  std::size_t crashes = 0;           ///< that came to be
  std::uint64_t digest = 0;
  std::vector<std::string> trace;
  std::map<std::string, std::int64_t> starts_of_call, starts_of_tool;
};

/// A scenario with its files read, to be played any number of times.
class stage {
public:
  explicit stage(scenario what);
  /// Crashes strike in their order: after the process has crashed, the next one strikes the process that takes the run up.
  play_result play(const std::vector<crash_point>& crashes = {}, bool keep_trace = false) const;
  const scenario& of() const { return what_; }

private:
  scenario what_;
  test::folder files_;
  surroundings around_;
};

/// kill -9 with the last appends lost, the first of them written, all of them written.
std::vector<crash_kind> process_crashes();

/// Plays a scenario with one crash of each kind at each event. CHECKs inside; returns how many plays there were.
std::int64_t crash_everywhere(const scenario& what, const std::vector<crash_kind>& kinds);

/// The process is killed at every `stride`-th event, and the one that takes the run up at every event.
std::int64_t crash_twice(const scenario& what, const crash_kind& kind, std::int64_t stride);

/// Everything that a run's events say against the promises of SEMANTICS 1, 3, 4 and 9.
std::vector<std::string> broken_promises(const std::vector<event_ptr>& events, const world& seen);

} // namespace troupe::simulation
