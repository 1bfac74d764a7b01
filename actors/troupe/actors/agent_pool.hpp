#pragma once

#include <string>
#include <vector>

#include "troupe/actors/agent.hpp"

namespace troupe::actors {

/// Spawns the pool of one agent. `expected`: members that supervisors will start; tasks wait for them. `crashes`: deaths that one task may
/// cause. `max_queue`: a longer line is refused. `peers`: whom its members work with.
agent_pool_actor spawn_agent_pool(caf::actor_system& system, std::string agent, std::vector<std::string> expected,
                                  std::shared_ptr<const agent_peers> peers, std::int64_t crashes, std::size_t max_queue = 10'000);

} // namespace troupe::actors
