#pragma once

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "troupe/actors/context.hpp"
#include "troupe/actors/interfaces.hpp"
#include "troupe/actors/made_once.hpp"
#include "troupe/actors/services.hpp"
#include "troupe/policy/handoff_watch.hpp"
#include "troupe/policy/task_graph.hpp"
#include "troupe/policy/task_graph_plan.hpp"

namespace troupe::actors {

/// The orchestrators of a runtime: it ends after them, since they hold its tools. Any thread.
class orchestrators_at_work {
public:
  void enter(const caf::actor_addr& who);
  /// It has begun: asked to stop, it leaves its run as it is, and ends.
  void begin(const caf::actor_addr& who);
  void leave(const caf::actor_addr& who);
  std::vector<caf::actor> all() const;
  /// Waits until those that have begun have ended. False: not in time.
  bool wait(std::chrono::milliseconds patience);

private:
  mutable std::mutex mutex_;
  std::condition_variable left_;
  std::map<caf::actor_addr, bool> who_; ///< whether it has begun
};

/// Of one orchestrator among them, for as long as this lives.
class place_at_work {
public:
  place_at_work(std::shared_ptr<orchestrators_at_work> among, caf::actor_addr who) : among_(std::move(among)), who_(std::move(who)) {
    among_->enter(who_);
  }
  place_at_work(const place_at_work&) = delete;
  place_at_work& operator=(const place_at_work&) = delete;
  ~place_at_work() { among_->leave(who_); }
  void begin() const { among_->begin(who_); }

private:
  std::shared_ptr<orchestrators_at_work> among_;
  caf::actor_addr who_;
};

/// What earlier owners of a run have left to this one.
struct earlier_owners {
  policy::restored_state restored;
  std::map<std::string, policy::handoff_watch> handoffs; ///< by path
  std::map<std::string, milliseconds> time_used;         ///< by scope
};
/// Of runs that begin here: there were none.
std::shared_ptr<const earlier_owners> no_earlier_owners();

struct orchestrator_setup {
  run_ptr run;
  std::string workflow;
  json input;
  std::vector<event_body> opening; ///< recorded first: run_started, or run_resumed and what it found
  std::vector<note> found;         ///< recorded next: what a resume found out about its tasks
  std::shared_ptr<const earlier_owners> before = no_earlier_owners();
  std::map<std::string, std::int64_t> crashes; ///< by path, before this owner and in attempts that have ended
  std::shared_ptr<const pool_services> pools;
  journal_actor journal;
  gateway_service gateway;
  std::shared_ptr<service<checkpoint_actor>> checkpoint; ///< null: nobody can be asked
  std::shared_ptr<made_once<policy::graph_plan>> plans;  ///< by workflow
  std::shared_ptr<orchestrators_at_work> at_work;        ///< null: nobody waits for its end
};

/// Spawns the orchestrator of one run. Its workflow must exist in the run's configuration.
orchestrator_actor spawn_orchestrator(caf::actor_system& system, orchestrator_setup setup);

} // namespace troupe::actors
