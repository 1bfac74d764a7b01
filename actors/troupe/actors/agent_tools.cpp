#include "troupe/actors/agent_tools.hpp"

#include <algorithm>

#include "troupe/actors/context.hpp"

namespace troupe::actors {

std::shared_ptr<const agent_tools> tools_of(const configuration& config, const agent_spec& agent, policy::agent_rights has,
                                            const toolset& tools) {
  auto made = std::make_shared<agent_tools>();
  made->has = std::move(has);
  made->names = made->has.tools;
  auto declarations = std::make_shared<std::vector<tool_declaration>>();
  for (const auto& tool : made->has.tools)
    if (const auto found = tools.prepared.find(tool); found != tools.prepared.end())
      declarations->push_back(
          {found->second.declaration.name, found->second.declaration.description, found->second.declaration.parameters});
  for (auto& colleague : policy::colleague_declarations(config.agents, made->has)) {
    made->names.push_back(colleague.name);
    declarations->push_back(std::move(colleague));
  }
  for (const auto& each : made->has.delegates)
    if (!policy::can_change(config.agents, tools.specs, agent, made->has, each))
      made->idle.push_back(policy::delegate_tool(each));
  made->declared = std::move(declarations);
  made->meter = policy::token_meter(made->declared);
  return made;
}

policy::known_tool agent_tools::known(const toolset& tools, const std::string& name) const {
  const auto spec = tools.specs.find(name);
  return {spec == tools.specs.end() ? nullptr : &spec->second, std::find(idle.begin(), idle.end(), name) != idle.end()};
}

tl::expected<delegate, std::string> delegation_of(const task_assignment& asking, const agent_spec& agent, const agent_tools& may,
                                                  const policy::colleague_call& call, const std::string& call_id, std::int64_t step,
                                                  std::size_t index) {
  const auto& agents = asking.run->config->agents;
  const auto asked = agents.find(call.agent);
  if (asked == agents.end())
    return tl::unexpected("There is no agent \"" + call.agent + "\". Nothing was started.");
  delegate order{.task = asking.task,
                 .attempt = asking.attempt,
                 .call_id = call_id,
                 .to = call.agent,
                 .path = policy::delegated_path(asking.task, call.agent, asking.attempt, step, index),
                 .instruction = call.instruction(),
                 .tools = policy::granted_by(agent, may.has, asked->second),
                 .restricted = !agent.delegate.own_rights,
                 .deadline = {}};
  if (policy::depth_of(order.path) > agent.delegate.depth)
    return tl::unexpected(policy::too_deep_text(call.agent, agent.delegate.depth));
  return order;
}

} // namespace troupe::actors
