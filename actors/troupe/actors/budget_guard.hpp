#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "troupe/actors/context.hpp"
#include "troupe/actors/interfaces.hpp"
#include "troupe/actors/services.hpp"

namespace troupe::actors {

/// A scope inside of a guard's own.
struct inner_scope {
  limits limit; ///< of an agent; a task's are looked up when it first spends
  spend spent;  ///< by earlier owners
};

/// What a guard starts with.
struct guard_setup {
  std::string scope = "run"; ///< "run", "tenant NAME", "process"
  limits limit;
  std::map<std::string, inner_scope> inner; ///< "agent NAME", "task PATH": of those that have limits, or have spent
  /// Of what a task's path names; null: no task has any.
  std::function<limits(std::string_view path)> limits_of_task;
  spend spent;               ///< by earlier owners
  milliseconds time_used{0}; ///< by earlier owners
  std::optional<budget_guard_actor> parent;
  std::shared_ptr<const clock_pause> pause; ///< of a run: its time stands still meanwhile; null: never
  std::optional<journal_actor> journal;     ///< where warnings go
  gateway_service gateway;                  ///< of a run's guard: who asks it (of others that ask, each is monitored); null: each is
  std::string run_id;                       ///< of a run's guard; above, the run whose reservation brought them is told
};

budget_guard_actor spawn_budget_guard(caf::actor_system& system, guard_setup setup);

} // namespace troupe::actors
