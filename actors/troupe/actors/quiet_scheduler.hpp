#pragma once
// The scheduler of an actor system that is Troupe's alone: workers that sleep instead of polling, and timers that wake nobody before they
// are due.

#include <cstddef>

#include "troupe/actors/caf.hpp"

namespace troupe::actors {

/// Call before the actor system is made. `threads`: 0: one a core less one, since the journal and the HTTP clients have threads of their
/// own.
void use_quiet_scheduler(caf::actor_system_config& config, std::size_t threads = 0);

} // namespace troupe::actors
