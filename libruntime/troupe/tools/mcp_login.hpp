#pragma once
// Tokens of remote MCP servers: where they are kept (a file for this user only), how they are renewed, and how a human gets the first ones.

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "troupe/llm/http_client.hpp"
#include "troupe/tools/environment.hpp"
#include "troupe/tools/mcp_oauth.hpp"
#include "troupe/tools/mcp_transport.hpp"

namespace troupe::tools {

/// What is kept of one server. Nothing of it is ever logged: all secrets are known to the redactor.
struct mcp_credentials {
  std::string source; ///< the server's address: those of another one are not used
  std::string issuer; ///< whose client and tokens these are
  std::string resource, token_endpoint;
  std::string client_id, client_secret, method = "none";
  std::string redirect_uri; ///< that the client was registered with; empty: it was not registered here
  std::string access, refresh;
  std::string scope;          ///< what was asked for so far
  std::int64_t expires_s = 0; ///< UTC; 0: not known
};
BOOST_DESCRIBE_STRUCT(mcp_credentials, (),
                      (source, issuer, resource, token_endpoint, client_id, client_secret, method, redirect_uri, access, refresh, scope,
                       expires_s))

expected<mcp_credentials> load_credentials(const std::string& path, const tool_spec& server);
expected<void> save_credentials(const std::string& path, const std::string& server, const mcp_credentials& what);
/// True: there were some.
expected<bool> forget_credentials(const std::string& path, const std::string& server);

/// The tokens of one server, renewed by their refresh token when the server refuses them: once, however many calls were refused. Where
/// refresh tokens are exchanged (OAuth 2.1), one that is used twice ends the whole login.
class stored_authorizer : public mcp_authorizer, public std::enable_shared_from_this<stored_authorizer> {
public:
  stored_authorizer(std::string path, const tool_spec& server, llm::http_client& http);
  std::string token() override;
  void renew(std::string refused, std::function<void(std::string)> then) override;
  std::string advice(const std::string& challenge) override;
  /// The last challenge that nobody could answer.
  std::string last_challenge() const;
  /// Reads the file again.
  void reload();

private:
  void renewed(const llm::http_result& result, const std::string& refused);
  /// Answers all who wait for a renewal.
  void answer(const std::string& token);

  const std::string path_;
  const tool_spec server_;
  llm::http_client& http_;
  mutable std::mutex mutex_; // guards the rest
  mcp_credentials now_;
  std::string challenge_;
  std::vector<std::function<void(std::string)>> waiting_; ///< for the renewal that is under way; empty: none is
};

/// A request to the issuer's token endpoint, as this client authenticates there.
llm::http_request token_request(const mcp_credentials& client, oauth_form form);
/// Only addresses that the server's own place allows (SSRF): public ones, this machine where the server is on it, and the server's own
/// host.
std::function<bool(const sockaddr*)> oauth_address_filter(const std::string& server_url, const std::string& url);

struct login_order {
  tool_spec server;
  std::string tokens_path;
  std::string challenge; ///< of the server's refusal; empty: it is asked without a token
  std::string scope;     ///< more than that
  std::function<std::optional<std::string>(const std::string&)> secret;
  /// Shows a human where to go; the browser comes back by itself.
  std::function<void(const std::string& address)> open_browser;
  std::chrono::seconds patience{300};
};
/// The whole flow: metadata, registration, browser, code, tokens, which are stored. Blocks; not from the loop or a client's thread.
expected<void> log_in(const login_order& order, llm::http_client& http);

} // namespace troupe::tools
