#pragma once
// What the actors of one process, and of one run, share.

#include <algorithm>
#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>

#include "troupe/actors/interfaces.hpp"
#include "troupe/llm/provider.hpp"
#include "troupe/policy/replay.hpp"
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

/// What the tasks of a run have cost, by path; a task's costs stand in each path above it too. The gateway writes it, before it answers
/// who asked for the call; anybody reads.
class task_costs {
public:
  /// By earlier owners.
  void put(const std::string& path, usd cost) {
    const std::lock_guard lock(mutex_);
    costs_[path] = cost;
  }
  void add(std::string_view path, usd cost) {
    const std::lock_guard lock(mutex_);
    for (; !path.empty(); path = policy::parent_path(path))
      costs_[std::string(path)] += cost;
  }
  usd of(const std::string& path) const {
    const std::lock_guard lock(mutex_);
    const auto known = costs_.find(path);
    return known == costs_.end() ? usd{} : known->second;
  }

private:
  mutable std::mutex mutex_;
  std::map<std::string, usd> costs_;
};

/// The run's requests that wait for humans, by id: first what the journal knew when the run was taken up, whoever asks again when. Only the
/// checkpoint touches it, and its successor goes on with it.
using waiting_requests = std::set<std::string>;

/// What all actors of one run share; immutable while the run is owned, but for what guards itself.
struct run_context {
  std::string run_id;
  std::string tenant;
  std::shared_ptr<const configuration> config;
  budget_guard_actor guard;
  clock_point deadline;                        ///< when the run's own time is up, unless waiting for humans gives some back
  clock_point above = clock_point::max();      ///< when the tenant's or the process's is, which wait for nobody
  bool approve_all = false;                    ///< `--yes`: every risky action is approved
  bool humans_may_wait = false;                ///< then limits of time may move while calls are under way
  std::shared_ptr<policy::shared_state> state; ///< what the run's agents share; guards itself
  std::shared_ptr<clock_pause> pause = std::make_shared<clock_pause>();
  mutable task_costs costs;         ///< guards itself
  mutable waiting_requests waiting; ///< the checkpoint's
  /// A limit of the run, or above it, has been met: what is in flight may finish, and nothing else begins.
  mutable std::atomic<bool> winding_down{false};
};

/// What waiting for humans has given this run's time back by now.
inline std::chrono::nanoseconds paused(const clock_pause& pause, clock_point now) {
  const auto since = pause.since_ns.load();
  const auto now_ns = std::chrono::duration_cast<std::chrono::nanoseconds>(now.time_since_epoch()).count();
  return std::chrono::nanoseconds(pause.total_ns.load() + (since == 0 ? 0 : now_ns - since));
}

/// Until when a call that begins now may take, as far as the run's time goes. An end that may still move is no bound for it: the
/// orchestrator, which knows where it has moved to, ends what is under way then.
inline clock_point fixed_deadline_of(const run_context& run) {
  return run.humans_may_wait && run.config->checkpoint.pause_clock ? run.above : std::min(run.deadline, run.above);
}

/// When the run's time is up, with what waiting has given back by now.
inline clock_point deadline_of(const run_context& run, clock_point now) {
  return run.deadline == clock_point::max() ? run.above : std::min(run.above, run.deadline + paused(*run.pause, now));
}

} // namespace troupe::actors
