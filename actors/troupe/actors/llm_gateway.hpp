#pragma once

#include <map>
#include <memory>
#include <string>

#include "troupe/actors/context.hpp"
#include "troupe/actors/interfaces.hpp"

namespace troupe::actors {

using providers = std::map<std::string, std::shared_ptr<llm::provider>>;

/// Spawns the gateway over these providers (by their names in the configuration). `seed` drives its jitter.
llm_gateway_actor spawn_llm_gateway(caf::actor_system& system, journal_actor journal, providers known, std::uint64_t seed);

} // namespace troupe::actors
