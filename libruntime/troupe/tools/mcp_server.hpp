#pragma once
// One MCP server under supervision: its connection is opened again when it breaks, and only its own calls are told (SEMANTICS 4).
//
//   opening --tools told--> open --broken--> pausing (back-off) --> opening …
//      \--broken, more than max_restarts within a minute--> given up, until the first call after that minute
//
// A call that comes while it is opened, or while it is suspected to hang (mcp_session), waits for it, within its own time. A tool that is
// not what a human saw first is refused.

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "troupe/model/config.hpp"
#include "troupe/model/error.hpp"
#include "troupe/tools/environment.hpp"
#include "troupe/tools/mcp_tool.hpp"
#include "troupe/tools/mcp_transport.hpp"
#include "troupe/tools/runner.hpp"

namespace troupe::tools {

/// What a server offered when it was first opened.
struct mcp_listing {
  std::string version;
  std::vector<mcp_tool> tools;
  std::vector<std::string> refused; ///< not offered to anybody, with the reasons
};

class mcp_server : public std::enable_shared_from_this<mcp_server> {
public:
  mcp_server(const tool_spec& spec, environment& shared, std::shared_ptr<mcp_authorizer> authorizer);
  ~mcp_server();

  /// Opens it. `opened` is called once, on the loop's thread, with its tools or with why not; after a failure it stays closed.
  void open(std::function<void(expected<mcp_listing>)> opened);

  /// The digests of what may be called, by the server's names of tools: another definition is held. Before the first call.
  void approve(std::map<std::string, std::string> digests);

  /// As `runner`: any thread, `done` exactly once.
  running_id call(std::string tool, invocation wanted, on_outcome done);
  void cancel(running_id id);

  /// Ends it for good; what is in flight is answered with `cancelled`. `closed` is called on the loop's thread.
  void close(std::function<void()> closed);

  const std::string& name() const { return name_; }

private:
  struct impl;
  std::string name_;
  std::atomic<running_id> next_{1};
  std::atomic<bool> closed_{false};
  std::shared_ptr<impl> impl_;
};

/// SHA-256 of a tool's definition in canonical JSON.
std::string mcp_fingerprint(const mcp_tool& tool);

} // namespace troupe::tools
