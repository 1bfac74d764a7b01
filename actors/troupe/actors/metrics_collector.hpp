#pragma once

#include "troupe/actors/interfaces.hpp"

namespace troupe::actors {

/// Spawns the metrics collector; the caller subscribes it to the journal.
metrics_collector_actor spawn_metrics_collector(caf::actor_system& system);

} // namespace troupe::actors
