// Agents that ask each other, and that hand their tasks on (SEMANTICS 4).

#include <algorithm>

#include "troupe/config/graph.hpp"
#include "troupe/config/resolver.hpp"
#include "troupe/policy/delegation.hpp"
#include "troupe/util/suggest.hpp"

namespace troupe::config {

namespace {

constexpr std::size_t name_bytes_max = 64; // of a tool, for every provider

} // namespace

/// Tools, and agents as tools; whether those agents exist is seen once all agents are read.
void resolver::agent_tools(const view& from, agent_spec& into) {
  from["tools"].each_element([&](std::size_t, const view& each) {
    if (!each.is_string())
      return;
    const auto& name = *each.text();
    if (name.starts_with(policy::agent_tool_prefix)) {
      into.delegates.push_back(name.substr(policy::agent_tool_prefix.size()));
      return;
    }
    into.tools.push_back(name);
    if (out_.tools.count(name) > 0)
      return;
    if (root_["agents"][name].present())
      each.wrong("no tool named " + in_quotes(name) + "; the agent of this name is "
                 + in_quotes(std::string(policy::agent_tool_prefix) + name));
    else
      unknown(each, "tool", out_.tools);
  });
  from["handoffs"].read(into.handoffs);
  if (const auto delegate = from["delegate"]; delegate.present()) {
    if (const auto* rights = delegate["rights"].text())
      into.delegate.own_rights = *rights == "own";
    delegate["depth"].read(into.delegate.depth);
    if (into.delegates.empty())
      delegate.warn_key("no meaning without an agent among its tools (agent:NAME)");
  }
}

/// `name`: where it stands; it may have a prefix.
void resolver::asked_agent(const view& name, const std::string& agent) {
  if (out_.agents.count(agent) == 0) {
    auto words = "no agent named " + in_quotes(agent);
    if (const auto near = did_you_mean(agent, names_of(out_.agents)); !near.empty())
      words += near;
    name.wrong(std::move(words));
  } else if (tree_is_good_ && placed_.count(agent) == 0) {
    name.wrong("agent " + in_quotes(agent) + " has no place in the supervision tree; add { agent: " + agent + " } or { pool: " + agent
               + " } to supervision/children");
  }
}

void resolver::colleagues() {
  for (const auto& entry : out_.agents) {
    const auto& name = entry.first; // not bound together: clang 14 captures no structured bindings
    const auto& agent = entry.second;
    const auto from = root_["agents"][name];
    const auto declared = [&](const view& at, const std::string& tool) {
      if (tool.size() > name_bytes_max)
        at.wrong("the model would see it as " + in_quotes(tool) + ", and names of tools have at most " + std::to_string(name_bytes_max)
                 + " characters; give the agent a shorter name");
      else if (std::find(agent.tools.begin(), agent.tools.end(), tool) != agent.tools.end())
        at.wrong("the model would see it as " + in_quotes(tool) + ", which is a tool of this agent too; rename one of them");
    };
    from["tools"].each_element([&](std::size_t, const view& each) {
      if (!each.is_string() || !each.text()->starts_with(policy::agent_tool_prefix))
        return;
      const auto asked = each.text()->substr(policy::agent_tool_prefix.size());
      asked_agent(each, asked);
      declared(each, policy::delegate_tool(asked));
    });
    from["handoffs"].each_element([&](std::size_t, const view& each) {
      if (!each.is_string())
        return;
      if (*each.text() == name)
        each.wrong("an agent cannot hand a task to itself; name another one");
      else
        asked_agent(each, *each.text());
      declared(each, policy::handoff_tool(*each.text()));
    });
  }
  asking_circles();
}

/// Agents that can ask each other in a circle end at their depth, and not before: said, since it is seldom meant.
void resolver::asking_circles() {
  std::map<std::string_view, std::size_t> numbers;
  std::vector<const agent_spec*> agents;
  for (const auto& [name, agent] : out_.agents) {
    numbers.emplace(name, agents.size());
    agents.push_back(&agent);
  }
  graph asks(agents.size());
  for (std::size_t i = 0; i < agents.size(); ++i)
    for (const auto& next : agents[i]->delegates)
      if (const auto other = numbers.find(next); other != numbers.end())
        asks[i].push_back(other->second);
  const auto circles = find_cycles(asks);
  if (circles.empty())
    return;
  const auto& circle = circles.front();
  std::string words;
  for (const auto each : circle)
    words += in_quotes(agents[each]->name) + " -> ";
  const auto& first = *agents[circle.front()];
  root_["agents"][first.name]["tools"].warn("agents can ask each other in a circle: " + words + in_quotes(first.name) + "; it ends "
                                            + std::to_string(first.delegate.depth) + " levels deep (delegate/depth)");
}

} // namespace troupe::config
