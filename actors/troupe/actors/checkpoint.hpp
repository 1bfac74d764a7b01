#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "troupe/actors/interfaces.hpp"
#include "troupe/actors/services.hpp"
#include "troupe/store/journal.hpp"

namespace troupe::actors {

using checkpoint_service = std::shared_ptr<service<checkpoint_actor>>;

/// Spawns the CHECKPOINT of a process. `utc_now_us`: deadlines are UTC, they outlive processes. It hears of decisions through
/// `store::journal::on_decision`, which is the caller's to set (`hear_decisions`): its successor goes on under the same name.
checkpoint_actor spawn_checkpoint(caf::actor_system& system, journal_actor journal, std::shared_ptr<store::journal> store,
                                  std::function<std::int64_t()> utc_now_us);

/// Whoever serves as checkpoint is told of each decision that the journal takes; with null nobody is.
void hear_decisions(store::journal& from, const checkpoint_service& to);

} // namespace troupe::actors
