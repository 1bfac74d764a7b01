#pragma once

#include <functional>
#include <memory>

#include "troupe/actors/interfaces.hpp"
#include "troupe/store/journal.hpp"

namespace troupe::actors {

/// Spawns the journal actor over a store. `utc_now_us` stamps events.
journal_actor spawn_journal(caf::actor_system& system, std::shared_ptr<store::journal> store, std::function<std::int64_t()> utc_now_us);

} // namespace troupe::actors
