#pragma once
// What `run` and `resume` share: one run in this process, live, with its result at the end.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "signal_watch.hpp"
#include "troupe/actors/runtime.hpp"
#include "troupe/model/config.hpp"
#include "troupe/store/journal.hpp"

namespace troupe::cli {

struct run_arguments {
  std::string config;
  std::string workflow;
  std::string run_id;
  std::string tenant = "default";
  std::string input_file;
  std::vector<std::string> pairs;
  bool as_json = false;
  bool logs = false; ///< asked for: plain lines then, also on a terminal
  bool yes = false;
  double add_usd = 0;
  std::int64_t add_steps = 0;
  std::string add_time;
};

using beginning = std::function<expected<actors::started_run>(actors::runtime&)>;

/// Drives the run that `begin` starts to its end, and tells of it; answers the exit status.
int drive(const run_arguments& arguments, std::shared_ptr<const configuration> config, const std::shared_ptr<store::journal>& journal,
          signal_watch& signals, const beginning& begin);

} // namespace troupe::cli
