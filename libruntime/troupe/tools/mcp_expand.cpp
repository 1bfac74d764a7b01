#include "troupe/tools/mcp_expand.hpp"

#include <algorithm>

#include "troupe/util/suggest.hpp"

namespace troupe::tools {

namespace {

bool is_server(const tool_spec& spec) {
  return spec.kind == tool_kind::mcp && spec.mcp.server.empty();
}

/// Those of a server's tools that the entry offers, in the entry's order where it names them.
expected<std::vector<const mcp_tool*>> offered_tools(const tool_spec& entry, const mcp_listing& listing) {
  std::vector<const mcp_tool*> out;
  if (entry.mcp_tools.empty()) {
    for (const auto& each : listing.tools)
      out.push_back(&each);
    return out;
  }
  std::vector<std::string_view> known;
  for (const auto& each : listing.tools)
    known.push_back(each.name);
  for (const auto& name : entry.mcp_tools) {
    const auto found = std::find_if(listing.tools.begin(), listing.tools.end(), [&](const mcp_tool& each) { return each.name == name; });
    if (found == listing.tools.end()) {
      std::string words = "MCP server " + in_quotes(entry.name) + " offers no tool named " + in_quotes(name) + did_you_mean(name, known);
      for (const auto& why : listing.refused)
        if (why.find(in_quotes(name)) != std::string::npos)
          words += ": " + why;
      return fail(error_code::invalid_argument, words, "tool \"" + entry.name + "\"");
    }
    out.push_back(&*found);
  }
  return out;
}

tool_spec spec_of(const tool_spec& entry, const mcp_tool& tool, const std::string& name, bool held) {
  tool_spec out = entry;
  out.name = name;
  out.mcp.server = entry.name;
  out.mcp.tool = tool.name;
  out.mcp_tools.clear();
  if (held) {
    out.description =
        "This tool is held: its server describes it differently than before, and a human has not approved that yet. It cannot be called.";
    out.parameters = {{"type", "object"}, {"properties", json::object()}};
    out.effect = effect::once;
    return out;
  }
  out.description = tool.description;
  out.parameters = tool.input_schema;
  apply_annotations(tool, entry.mcp, out);
  return out;
}

} // namespace

std::set<std::string> mcp_servers_in_use(const configuration& config) {
  std::set<std::string> out;
  for (const auto& [name, agent] : config.agents)
    for (const auto& tool : agent.tools)
      if (const auto found = config.tools.find(tool); found != config.tools.end() && is_server(found->second))
        out.insert(tool);
  return out;
}

expected<configuration> with_mcp_tools(const configuration& config, const std::map<std::string, mcp_offered>& servers) {
  std::map<std::string, std::vector<const mcp_tool*>> tools;
  std::vector<mcp_offer> offers;
  for (const auto& [name, offered] : servers) {
    const auto& entry = config.tools.at(name);
    auto chosen = offered_tools(entry, offered.listing);
    if (!chosen)
      return tl::unexpected(chosen.error());
    auto& offer = offers.emplace_back(mcp_offer{name, {}, entry.mcp.prefix});
    for (const auto* each : *chosen)
      offer.tools.push_back(each->name);
    tools.emplace(name, std::move(*chosen));
  }
  std::set<std::string> taken;
  for (const auto& [name, spec] : config.tools)
    if (!is_server(spec))
      taken.insert(name);
  const auto names = mcp_names(offers, taken);
  if (!names)
    return tl::unexpected(names.error());

  configuration out = config;
  std::map<std::string, std::vector<std::string>> named;
  for (const auto& [server, chosen] : tools) {
    out.tools.erase(server);
    for (const auto* each : chosen) {
      const auto& name = names->at({server, each->name});
      named[server].push_back(name);
      out.tools[name] = spec_of(config.tools.at(server), *each, name, servers.at(server).admitted.count(each->name) == 0);
    }
  }
  for (auto& [agent, spec] : out.agents) {
    std::vector<std::string> list;
    for (const auto& tool : spec.tools)
      if (servers.count(tool) == 0)
        list.push_back(tool);
      else if (const auto found = named.find(tool); found != named.end())
        list.insert(list.end(), found->second.begin(), found->second.end());
    spec.tools = std::move(list);
  }
  return out;
}

} // namespace troupe::tools
