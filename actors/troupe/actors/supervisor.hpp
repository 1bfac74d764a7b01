#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "troupe/actors/interfaces.hpp"
#include "troupe/actors/services.hpp"

namespace troupe::actors {

/// What a supervision tree is built with; shared by its supervisors.
struct tree_setup {
  /// Makes one member of an agent's pool, which tells its steps to this supervisor. May throw: then the child did not start.
  std::function<agent_actor(const std::string& agent, const std::string& member, const supervisor_actor& supervisor)> make_agent;
  pool_services pools;
  std::uint64_t seed = 0;
};

/// Names of the members that a tree will have, by agent.
std::map<std::string, std::vector<std::string>> members_of(const supervisor_spec& spec);

supervisor_actor spawn_supervisor(caf::actor_system& system, supervisor_spec spec, std::shared_ptr<const tree_setup> setup);

} // namespace troupe::actors
