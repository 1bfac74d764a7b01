#pragma once
// What the actors of one process, and of one run, share.

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "troupe/actors/interfaces.hpp"
#include "troupe/llm/provider.hpp"
#include "troupe/store/journal.hpp"
#include "troupe/tools/runner.hpp"

namespace troupe::actors {

/// What all actors of one run share; immutable while the run is owned.
struct run_context {
  std::string run_id;
  std::string tenant;
  std::shared_ptr<const configuration> config;
  budget_guard_actor guard;
  clock_point deadline;     ///< when the run's time is up
  bool approve_all = false; ///< `--yes`: every risky action is approved
};

} // namespace troupe::actors
