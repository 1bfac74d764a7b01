#pragma once
// A configuration whose MCP servers have told their tools: each server's entry is replaced by its tools, in the agents' lists too, so that
// everything else knows tools only. Pure.

#include <map>
#include <set>
#include <string>

#include "troupe/model/config.hpp"
#include "troupe/model/error.hpp"
#include "troupe/tools/mcp_server.hpp"

namespace troupe::tools {

struct mcp_offered {
  mcp_listing listing;
  std::map<std::string, std::string> admitted; ///< digests, by the server's names; the others are held
};

/// `invalid_argument`: `tools` of an entry names what its server does not offer. `conflict`: two tools of one name.
/// A held tool is declared by its name alone: what its server says of it now reaches no model.
expected<configuration> with_mcp_tools(const configuration& config, const std::map<std::string, mcp_offered>& servers);

/// The entries of `tools` that are MCP servers and that some agent may use.
std::set<std::string> mcp_servers_in_use(const configuration& config);

} // namespace troupe::tools
