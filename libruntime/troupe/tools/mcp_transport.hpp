#pragma once
// How messages travel to one MCP server: over a process's standard streams, or by HTTP. Everything here is on the loop's thread.

#include <functional>
#include <memory>
#include <string>

#include "troupe/model/config.hpp"
#include "troupe/model/error.hpp"
#include "troupe/tools/environment.hpp"
#include "troupe/tools/mcp_session.hpp"

namespace troupe::tools {

/// What a transport tells, on the loop's thread, never within a call of its own members.
struct mcp_transport_events {
  std::function<void(mcp_message)> on_message;
  std::function<void(std::string)> on_garbage;
  std::function<void(std::int64_t id)> on_taken;                    ///< HTTP: a notification with an id was accepted
  std::function<void(std::int64_t id, mcp_http_failure)> on_failed; ///< HTTP: of one request
  std::function<void(error)> on_lost;                               ///< the transport is gone
};

class mcp_transport {
public:
  virtual ~mcp_transport() = default;
  virtual void send(mcp_send what) = 0;
  /// HTTP: the response of this request is not wanted any more.
  virtual void drop(std::int64_t id) = 0;
  /// HTTP, handshake era: opens the stream for what the server says by itself.
  virtual void follow() = 0;
  /// Ends it: gently where there is time, else at once. `ended` is called once nothing of it is left; nothing else is told after this call.
  virtual void close(bool gently, std::function<void()> ended) = 0;
};

/// A server process, started now. `invalid_argument`, `not_found`, `unavailable`: it cannot be.
expected<std::shared_ptr<mcp_transport>> start_mcp_process(const tool_spec& spec, environment& shared, mcp_transport_events events);

/// Where a remote server's bearer tokens come from. Any thread.
class mcp_authorizer {
public:
  virtual ~mcp_authorizer() = default;
  /// The token as it is now; empty: none.
  virtual std::string token() = 0;
  /// The server refused `refused` (401): `then` gets another one, or "" where a human has to log in. May be called within this call.
  virtual void renew(std::string refused, std::function<void(std::string)> then) = 0;
  /// What a human does about it.
  virtual std::string advice(const std::string& challenge) = 0;
};

/// A remote server. `authorizer` may be null.
expected<std::shared_ptr<mcp_transport>> open_mcp_http(const tool_spec& spec, environment& shared,
                                                       std::shared_ptr<mcp_authorizer> authorizer, mcp_transport_events events);

} // namespace troupe::tools
