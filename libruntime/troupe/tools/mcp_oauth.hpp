#pragma once
// OAuth 2.1 for remote MCP servers, the decisions of it: where metadata is, which of it may be believed, what is asked for. Pure.
// Sources: the specification's pages on authorization (2026-07-28); RFC 6749, 6750, 7636 (PKCE), 7591 (registration), 8414 and 9728
// (metadata), 8707 (resource), 9207 (iss).

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "troupe/model/config.hpp"
#include "troupe/model/error.hpp"

namespace troupe::tools {

/// What a server says with a 401 or 403 (WWW-Authenticate: Bearer …). Absent parts are empty.
struct oauth_challenge {
  std::string resource_metadata, scope, error;
};
oauth_challenge parse_challenge(std::string_view header);

/// Whether a token, a code or a secret may go there: https, or http to this machine.
bool is_safe_address(const std::string& url);

/// Where the metadata of a server is looked for when its challenge does not say: at its path, then at the root.
std::vector<std::string> resource_metadata_addresses(const std::string& server_url);
/// Where that of an authorization server is, in order: RFC 8414, OpenID Connect with the path inserted, and appended.
std::vector<std::string> issuer_metadata_addresses(const std::string& issuer);
/// scheme://host:port
std::string origin_of_address(const std::string& url);

/// What protects a server. `resource` is named in every request for a token.
struct oauth_resource {
  std::string resource;
  std::string issuer;
  std::vector<std::string> scopes;
};
/// `invalid_argument`: it is the metadata of something else, or names no authorization server that may be used.
expected<oauth_resource> read_resource_metadata(const nlohmann::json& from, const std::string& server_url);

struct oauth_issuer {
  std::string issuer, authorization_endpoint, token_endpoint, registration_endpoint;
  std::vector<std::string> scopes, auth_methods;
  bool client_metadata = false; ///< it reads a client's metadata document
  bool tells_issuer = false;    ///< its answers carry `iss`
};
/// `invalid_argument`: it is not what `issuer` would publish, or has no PKCE with S256, or an endpoint is not safe.
expected<oauth_issuer> read_issuer_metadata(const nlohmann::json& from, const std::string& issuer);

/// What is asked for: what the challenge says, else what the configuration says, else all that the server names; with what was asked for
/// before, and offline_access where the issuer has it, for a refresh token. Space-separated; empty: the parameter is left out.
std::string scope_to_ask(const oauth_challenge& challenge, const std::vector<std::string>& configured, const oauth_resource& resource,
                         const oauth_issuer& issuer, const std::string& before);

/// Who we are at one issuer.
struct oauth_client {
  std::string id, secret;
  std::string method = "none"; ///< none, client_secret_basic, client_secret_post
};
nlohmann::json registration_request(const std::string& redirect_uri, const oauth_issuer& issuer);
expected<oauth_client> read_registration(const nlohmann::json& from, const oauth_issuer& issuer);
/// How a client with a secret authenticates at this issuer.
std::string method_for_secret(const oauth_issuer& issuer);

using oauth_form = std::vector<std::pair<std::string, std::string>>;
std::string form_text(const oauth_form& form);
/// The address that a human opens.
std::string authorization_address(const oauth_issuer& issuer, const oauth_form& parameters);

/// What the browser brought back ("/callback?code=…"). The issuer is checked before anything else is believed; `permission_denied`.
expected<std::string> code_of_callback(std::string_view target, const oauth_issuer& issuer, const std::string& state);

struct oauth_tokens {
  std::string access, refresh, scope;
  std::int64_t expires_in_s = 0; ///< 0: it was not said
};
expected<oauth_tokens> read_tokens(const nlohmann::json& from);

} // namespace troupe::tools
