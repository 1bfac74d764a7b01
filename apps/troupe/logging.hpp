#pragma once

#include "command.hpp"

namespace troupe::cli {

/// Logs go to standard error through a bounded queue: a pipe that nobody reads drops lines, it never blocks a run.
void start_logging(const global_options& global);

} // namespace troupe::cli
