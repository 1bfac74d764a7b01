#pragma once
// What an agent may call in one task: tools, and other agents (SEMANTICS 4).

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "troupe/actors/interfaces.hpp"
#include "troupe/actors/tool_host.hpp"
#include "troupe/policy/context_fit.hpp"
#include "troupe/policy/delegation.hpp"
#include "troupe/policy/loop_history.hpp"

namespace troupe::actors {

struct agent_tools {
  policy::agent_rights has;
  std::vector<std::string> names; ///< as the model sees them
  tool_declarations declared;
  policy::token_meter meter;     ///< that counts them
  std::vector<std::string> idle; ///< of `names`: they ask agents that can change nothing

  /// What the loop detector knows of one of them.
  policy::known_tool known(const toolset& tools, const std::string& name) const;
};

std::shared_ptr<const agent_tools> tools_of(const configuration& config, const agent_spec& agent, policy::agent_rights has,
                                            const toolset& tools);

/// The order for a call of another agent; an error is what the model is told.
tl::expected<delegate, std::string> delegation_of(const task_assignment& asking, const agent_spec& agent, const agent_tools& may,
                                                  const policy::colleague_call& call, const std::string& call_id, std::int64_t step,
                                                  std::size_t index);

} // namespace troupe::actors
