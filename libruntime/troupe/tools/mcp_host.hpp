#pragma once
// All MCP servers of one process: opened together at the start, closed together at the end.

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "troupe/model/config.hpp"
#include "troupe/model/error.hpp"
#include "troupe/tools/environment.hpp"
#include "troupe/tools/mcp_expand.hpp"
#include "troupe/tools/mcp_server.hpp"
#include "troupe/tools/runner.hpp"

namespace troupe::tools {

class stored_authorizer;

class mcp_servers {
public:
  /// `state` is the folder of what is kept about them (approved tools, tokens). The environment outlives this.
  mcp_servers(environment& shared, std::string state);
  /// Closes all: each is asked to go, and is gone when this returns.
  ~mcp_servers();
  mcp_servers(const mcp_servers&) = delete;
  mcp_servers& operator=(const mcp_servers&) = delete;

  /// Opens these entries at once and waits for their tools; those that are new are pinned. Every failure in one error: `unavailable` where
  /// one cannot be reached, `permission_denied` where a human has to log in. Not from the loop's thread.
  expected<std::map<std::string, mcp_offered>> open(const std::vector<tool_spec>& entries);

  /// One that is not open yet; it is closed with the others.
  std::shared_ptr<mcp_server> add(const tool_spec& entry);

  /// The runner of one tool (`spec.mcp.server`, `spec.mcp.tool`) of a server that is open.
  expected<std::unique_ptr<runner>> runner_of(const tool_spec& spec) const;

  std::shared_ptr<mcp_server> find(const std::string& name) const;
  /// Of a remote server that gets its tokens by OAuth; else null.
  std::shared_ptr<stored_authorizer> authorizer(const std::string& name) const;

private:
  environment& shared_;
  std::string state_;
  std::map<std::string, std::shared_ptr<mcp_server>> servers_;
  std::map<std::string, std::shared_ptr<stored_authorizer>> authorizers_;
};

/// Beside the journal, or in .troupe of the configuration's folder.
std::string mcp_state_folder(const configuration& config);
std::string mcp_pins_path(const std::string& state);
std::string mcp_tokens_path(const std::string& state);

/// A runner of kind mcp, from `shared.mcp`.
expected<std::unique_ptr<runner>> make_mcp_runner(const tool_spec& spec, environment& shared);

} // namespace troupe::tools
