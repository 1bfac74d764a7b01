#include "troupe/tools/mcp_oauth.hpp"

#include <algorithm>
#include <cctype>

#include "troupe/tools/address_check.hpp"
#include "troupe/tools/mcp_message.hpp"
#include "troupe/util/suggest.hpp"
#include "troupe/util/utf8.hpp"

namespace troupe::tools {

namespace {

using nlohmann::json;

std::vector<std::string> texts_of(const json& from, const char* key) {
  std::vector<std::string> out;
  if (const auto found = from.is_object() ? from.find(key) : from.end(); from.is_object() && found != from.end() && found->is_array())
    for (const auto& each : *found)
      if (each.is_string())
        out.push_back(each.get<std::string>());
  return out;
}

std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> out;
  while (!text.empty()) {
    const auto end = std::min(text.find(' '), text.size());
    if (end > 0)
      out.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return out;
}

bool has(const std::vector<std::string>& list, std::string_view word) {
  return std::find(list.begin(), list.end(), word) != list.end();
}

tl::unexpected<error> unusable(std::string words) {
  return fail(error_code::invalid_argument, std::move(words));
}

/// The path of an address, without query and fragment; empty for the root.
std::string path_of(const std::string& url) {
  const auto start = url.find('/', url.find("://") == std::string::npos ? 0 : url.find("://") + 3);
  if (start == std::string::npos)
    return {};
  auto path = url.substr(start, url.find_first_of("?#", start) - start);
  while (!path.empty() && path.back() == '/')
    path.pop_back();
  return path;
}

std::string decoded(std::string_view text) {
  std::string out;
  const auto digit = [](char c) { return c <= '9' ? c - '0' : std::tolower(static_cast<unsigned char>(c)) - 'a' + 10; };
  for (std::size_t i = 0; i < text.size(); ++i)
    if (text[i] == '%' && i + 2 < text.size() && std::isxdigit(static_cast<unsigned char>(text[i + 1]))
        && std::isxdigit(static_cast<unsigned char>(text[i + 2]))) {
      out += static_cast<char>(digit(text[i + 1]) * 16 + digit(text[i + 2]));
      i += 2;
    } else {
      out += text[i] == '+' ? ' ' : text[i];
    }
  return out;
}

std::string encoded(std::string_view text) {
  std::string out;
  for (const unsigned char c : text)
    if (std::isalnum(c) != 0 || c == '-' || c == '.' || c == '_' || c == '~') {
      out += static_cast<char>(c);
    } else {
      out += '%';
      out += "0123456789ABCDEF"[c >> 4];
      out += "0123456789ABCDEF"[c & 15];
    }
  return out;
}

} // namespace

oauth_challenge parse_challenge(std::string_view header) {
  std::map<std::string, std::string> found;
  std::size_t at = 0;
  while (at < header.size()) {
    const auto equals = header.find('=', at);
    if (equals == std::string_view::npos)
      break;
    auto name_start = header.find_last_of(" ,\t", equals);
    name_start = name_start == std::string_view::npos || name_start < at ? at : name_start + 1;
    std::string name(header.substr(name_start, equals - name_start));
    std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    std::string value;
    at = equals + 1;
    if (at < header.size() && header[at] == '"') {
      for (++at; at < header.size() && header[at] != '"'; ++at) {
        if (header[at] == '\\' && at + 1 < header.size())
          ++at;
        value += header[at];
      }
      ++at;
    } else {
      const auto end = std::min(header.find_first_of(", \t", at), header.size());
      value = std::string(header.substr(at, end - at));
      at = end;
    }
    found.emplace(std::move(name), std::move(value));
  }
  return {found["resource_metadata"], found["scope"], found["error"]};
}

bool is_safe_address(const std::string& url) {
  const auto target = target_of(url);
  if (!target)
    return false;
  if (target->scheme == "https")
    return true;
  const auto& host = target->host;
  return host == "localhost" || host == "::1"
         || (host.substr(0, 4) == "127." && host.find_first_not_of("0123456789.") == std::string::npos);
}

std::string origin_of_address(const std::string& url) {
  const auto scheme = url.find("://");
  return scheme == std::string::npos ? std::string() : url.substr(0, url.find_first_of("/?#", scheme + 3));
}

std::vector<std::string> resource_metadata_addresses(const std::string& server_url) {
  const auto base = origin_of_address(server_url) + "/.well-known/oauth-protected-resource";
  const auto path = path_of(server_url);
  return path.empty() ? std::vector<std::string>{base} : std::vector<std::string>{base + path, base};
}

std::vector<std::string> issuer_metadata_addresses(const std::string& issuer) {
  const auto origin = origin_of_address(issuer);
  const auto path = path_of(issuer);
  std::vector<std::string> out{origin + "/.well-known/oauth-authorization-server" + path,
                               origin + "/.well-known/openid-configuration" + path};
  if (!path.empty())
    out.push_back(origin + path + "/.well-known/openid-configuration");
  return out;
}

expected<oauth_resource> read_resource_metadata(const json& from, const std::string& server_url) {
  oauth_resource out;
  out.resource = string_at(from, "resource");
  out.scopes = texts_of(from, "scopes_supported");
  // The resource is the server, or something above it on the same origin: a token for anything else is none of its business.
  const auto own = path_of(server_url), named = path_of(out.resource);
  const bool same_origin = origin_of_address(out.resource) == origin_of_address(server_url) && !origin_of_address(server_url).empty();
  if (!same_origin || (own != named && own.rfind(named + "/", 0) != 0))
    return unusable("its metadata is about " + in_quotes(out.resource) + ", and not about " + server_url);
  const auto issuers = texts_of(from, "authorization_servers");
  if (issuers.empty())
    return unusable("its metadata names no authorization server");
  out.issuer = issuers.front();
  if (!is_safe_address(out.issuer))
    return unusable("its authorization server " + in_quotes(out.issuer) + " is not reached by https");
  return out;
}

expected<oauth_issuer> read_issuer_metadata(const json& from, const std::string& issuer) {
  oauth_issuer out;
  out.issuer = string_at(from, "issuer");
  if (out.issuer != issuer)
    return unusable("the metadata of " + in_quotes(issuer) + " says that it is of " + in_quotes(out.issuer));
  out.authorization_endpoint = string_at(from, "authorization_endpoint");
  out.token_endpoint = string_at(from, "token_endpoint");
  out.registration_endpoint = string_at(from, "registration_endpoint");
  for (const auto* endpoint : {&out.authorization_endpoint, &out.token_endpoint})
    if (!is_safe_address(*endpoint))
      return unusable("an endpoint of " + in_quotes(issuer) + ", " + in_quotes(*endpoint) + ", is not reached by https");
  if (!out.registration_endpoint.empty() && !is_safe_address(out.registration_endpoint))
    out.registration_endpoint.clear();
  if (!has(texts_of(from, "code_challenge_methods_supported"), "S256"))
    return unusable("the authorization server " + in_quotes(issuer)
                    + " does not support PKCE with S256, without which a code could be stolen");
  out.scopes = texts_of(from, "scopes_supported");
  out.auth_methods = texts_of(from, "token_endpoint_auth_methods_supported");
  out.client_metadata = from.value("client_id_metadata_document_supported", json()) == true;
  out.tells_issuer = from.value("authorization_response_iss_parameter_supported", json()) == true;
  return out;
}

std::string scope_to_ask(const oauth_challenge& challenge, const std::vector<std::string>& configured, const oauth_resource& resource,
                         const oauth_issuer& issuer, const std::string& before) {
  auto words = !challenge.scope.empty() ? words_of(challenge.scope) : !configured.empty() ? configured : resource.scopes;
  for (const auto& each : words_of(before))
    words.push_back(each);
  if (has(issuer.scopes, "offline_access"))
    words.emplace_back("offline_access");
  std::string out;
  std::vector<std::string> seen;
  for (const auto& each : words)
    if (!has(seen, each)) {
      seen.push_back(each);
      out += (out.empty() ? "" : " ") + each;
    }
  return out;
}

std::string method_for_secret(const oauth_issuer& issuer) {
  // RFC 8414: absent means basic.
  if (issuer.auth_methods.empty() || has(issuer.auth_methods, "client_secret_basic"))
    return "client_secret_basic";
  return has(issuer.auth_methods, "client_secret_post") ? "client_secret_post" : "none";
}

json registration_request(const std::string& redirect_uri, const oauth_issuer& issuer) {
  const bool open = issuer.auth_methods.empty() || has(issuer.auth_methods, "none");
  return {{"client_name", "troupe"},         {"application_type", "native"},
          {"redirect_uris", {redirect_uri}}, {"grant_types", {"authorization_code", "refresh_token"}},
          {"response_types", {"code"}},      {"token_endpoint_auth_method", open ? "none" : method_for_secret(issuer)}};
}

expected<oauth_client> read_registration(const json& from, const oauth_issuer& issuer) {
  oauth_client out{string_at(from, "client_id"), string_at(from, "client_secret"), string_at(from, "token_endpoint_auth_method")};
  if (out.id.empty())
    return unusable("the authorization server registered us without a client_id");
  if (out.secret.empty())
    out.method = "none";
  else if (out.method != "client_secret_basic" && out.method != "client_secret_post" && out.method != "none")
    out.method = method_for_secret(issuer);
  return out;
}

std::string form_text(const oauth_form& form) {
  std::string out;
  for (const auto& [name, value] : form)
    out += (out.empty() ? "" : "&") + encoded(name) + "=" + encoded(value);
  return out;
}

std::string authorization_address(const oauth_issuer& issuer, const oauth_form& parameters) {
  const auto& base = issuer.authorization_endpoint;
  return base + (base.find('?') == std::string::npos ? "?" : "&") + form_text(parameters);
}

expected<std::string> code_of_callback(std::string_view target, const oauth_issuer& issuer, const std::string& state) {
  std::map<std::string, std::string> found;
  auto query = target.find('?') == std::string_view::npos ? std::string_view{} : target.substr(target.find('?') + 1);
  while (!query.empty()) {
    const auto end = std::min(query.find('&'), query.size());
    const auto pair = query.substr(0, end);
    const auto equals = std::min(pair.find('='), pair.size());
    found.emplace(decoded(pair.substr(0, equals)), equals < pair.size() ? decoded(pair.substr(equals + 1)) : std::string());
    query.remove_prefix(std::min(end + 1, query.size()));
  }
  const auto denied = [](std::string words) { return fail(error_code::permission_denied, std::move(words)); };
  if (found["state"] != state)
    return denied("the answer in the browser belongs to another login");
  const auto told = found.find("iss");
  if (told == found.end() ? issuer.tells_issuer : told->second != issuer.issuer)
    return denied("the answer in the browser does not come from " + in_quotes(issuer.issuer) + "; nothing of it is believed");
  if (const auto problem = found.find("error"); problem != found.end())
    return denied("the authorization server says " + in_quotes(mended_utf8(problem->second))
                  + (found["error_description"].empty() ? "" : ": " + in_quotes(mended_utf8(found["error_description"]))));
  if (found["code"].empty())
    return denied("the answer in the browser has no code");
  return found["code"];
}

expected<oauth_tokens> read_tokens(const json& from) {
  oauth_tokens out{string_at(from, "access_token"), string_at(from, "refresh_token"), string_at(from, "scope"), 0};
  auto type = string_at(from, "token_type");
  std::transform(type.begin(), type.end(), type.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (out.access.empty() || (!type.empty() && type != "bearer"))
    return unusable("the authorization server answered without a bearer token");
  if (const auto expires = from.find("expires_in");
      expires != from.end() && expires->is_number() && expires->get<double>() > 0 && expires->get<double>() < 1e10)
    out.expires_in_s = static_cast<std::int64_t>(expires->get<double>());
  return out;
}

} // namespace troupe::tools
