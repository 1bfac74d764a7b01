#pragma once

#include <map>
#include <memory>
#include <string>

#include "troupe/actors/context.hpp"
#include "troupe/actors/interfaces.hpp"
#include "troupe/actors/services.hpp"
#include "troupe/tools/toolset.hpp"

namespace troupe::actors {

/// All tools of a configuration, ready to run; shared by their hosts and by the agents, who check arguments.
struct toolset {
  std::map<std::string, tools::prepared_tool> prepared;
  std::map<std::string, tool_spec> specs; ///< the same, as the policies take them
};
using toolset_ptr = std::shared_ptr<const toolset>;

tool_gate_actor spawn_tool_gate(caf::actor_system& system);

/// Spawns the host of one tool of the set. `seed` drives its jitter.
tool_host_actor spawn_tool_host(caf::actor_system& system, journal_actor journal, gate_service gate, toolset_ptr tools, std::uint64_t seed);

} // namespace troupe::actors
