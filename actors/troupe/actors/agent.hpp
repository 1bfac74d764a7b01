#pragma once

#include <map>
#include <memory>
#include <string>

#include "troupe/actors/agent_tools.hpp"
#include "troupe/actors/interfaces.hpp"
#include "troupe/actors/made_once.hpp"
#include "troupe/actors/services.hpp"
#include "troupe/actors/tool_host.hpp"
#include "troupe/tools/toolset.hpp"

namespace troupe::actors {

/// Whom an agent works with; shared by all agents of a process.
struct agent_peers {
  journal_actor journal;
  gateway_service gateway;
  host_services hosts;
  toolset_ptr tools;
  pool_services pools;                                                 ///< whom an agent asks: a reviewer
  std::shared_ptr<service<checkpoint_actor>> checkpoint;               ///< null in tests without one
  std::map<std::string, std::shared_ptr<tools::prepared_tool>> checks; ///< by agent: its contract's command
  std::shared_ptr<made_once<agent_tools>> own_tools;                   ///< by agent: what it has where no task says otherwise
};

/// Ends the calls that a task of this agent has under way, whoever made them: each is answered with `cancelled` once nothing of it is left.
template <class Self>
void end_calls(Self self, const agent_peers& peers, const agent_spec& spec, const std::string& run_id, const std::string& task) {
  const cancel_calls all{run_id, task};
  tell(self, peers.gateway->now(), all);
  for (const auto& tool : spec.tools)
    if (const auto host = peers.hosts.find(tool); host != peers.hosts.end())
      tell(self, host->second->now(), all);
  if (peers.checkpoint)
    tell(self, peers.checkpoint->now(), all);
}

/// Spawns one member of an agent's pool ("researcher/2"). It knows its supervisor by address only: neither keeps the other.
agent_actor spawn_agent(caf::actor_system& system, std::string member, const supervisor_actor& supervisor,
                        std::shared_ptr<const agent_peers> peers);

} // namespace troupe::actors
