#pragma once
// What the actors of one process, and of one run, share.

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "troupe/actors/interfaces.hpp"
#include "troupe/llm/provider.hpp"
#include "troupe/store/journal.hpp"
#include "troupe/tools/runner.hpp"

namespace troupe::policy {
class shared_state;
}

namespace troupe::actors {

/// What humans' decisions have taken of the run's time where `pause_clock` says so. The checkpoint writes it, anybody reads.
struct clock_pause {
  std::atomic<std::int64_t> total_ns{0}; ///< of what is over
  std::atomic<std::int64_t> since_ns{0}; ///< of the one that is under way, on the actors' clock; 0: none
};

/// What all actors of one run share; immutable while the run is owned.
struct run_context {
  std::string run_id;
  std::string tenant;
  std::shared_ptr<const configuration> config;
  budget_guard_actor guard;
  clock_point deadline;                        ///< when the run's time is up
  bool approve_all = false;                    ///< `--yes`: every risky action is approved
  std::shared_ptr<policy::shared_state> state; ///< what the run's agents share; guards itself
  std::shared_ptr<clock_pause> pause = std::make_shared<clock_pause>();
};

/// What waiting for humans has given this run's time back by now.
inline std::chrono::nanoseconds paused(const clock_pause& pause, clock_point now) {
  const auto since = pause.since_ns.load();
  const auto now_ns = std::chrono::duration_cast<std::chrono::nanoseconds>(now.time_since_epoch()).count();
  return std::chrono::nanoseconds(pause.total_ns.load() + (since == 0 ? 0 : now_ns - since));
}

/// When the run's time is up, with what waiting has given back by now.
inline clock_point deadline_of(const run_context& run, clock_point now) {
  return run.deadline == clock_point::max() ? run.deadline : run.deadline + paused(*run.pause, now);
}

} // namespace troupe::actors
