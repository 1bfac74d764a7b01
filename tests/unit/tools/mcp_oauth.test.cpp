// What OAuth for MCP servers believes, asks for and refuses.
#include "troupe/tools/mcp_oauth.hpp"

#include <string>
#include <vector>

#include <arpa/inet.h>
#include <netinet/in.h>

#include "test.hpp"
#include "tools/fixture.hpp"
#include "troupe/tools/mcp_login.hpp"

using namespace troupe;
using namespace troupe::tools;
using nlohmann::json;

TROUPE_SUITE(mcp_oauth)

namespace {

const std::string server = "https://mcp.example.com/public/mcp";

json issuer_document(const std::string& issuer = "https://auth.example.com") {
  return {{"issuer", issuer},
          {"authorization_endpoint", issuer + "/authorize"},
          {"token_endpoint", issuer + "/token"},
          {"code_challenge_methods_supported", {"S256"}}};
}

oauth_issuer issuer_of(json more = json::object()) {
  auto document = issuer_document();
  document.update(more);
  const auto read = read_issuer_metadata(document, "https://auth.example.com");
  REQUIRE(read.has_value());
  return *read;
}

bool believed(json more) {
  auto document = issuer_document();
  document.update(more);
  return read_issuer_metadata(document, "https://auth.example.com").has_value();
}

json resource(const std::string& of, const std::string& issuer = "https://auth.example.com") {
  return {{"resource", of}, {"authorization_servers", {issuer}}};
}

/// A server to which a login has brought a token.
struct with_token {
  tools::test::temporary_folder folder;
  std::string path = folder.path + "/mcp-tokens.json";
  tool_spec entry;
  mcp_credentials kept;
  with_token() {
    entry.name = "s";
    entry.url = server;
    kept.source = server;
    kept.access = "an access token";
  }
};

} // namespace

TROUPE_TEST("a challenge is read with quotes, spaces and several parts") {
  const auto read = parse_challenge("Bearer error=\"insufficient_scope\", scope=\"files:read files:write\",\n "
                                    "resource_metadata=\"https://x/y?a=b\", error_description=\"say \\\"please\\\"\"");
  CHECK_EQ(read.error, "insufficient_scope");
  CHECK_EQ(read.scope, "files:read files:write");
  CHECK_EQ(read.resource_metadata, "https://x/y?a=b");
  CHECK_EQ(parse_challenge("Bearer").scope, "");
  CHECK_EQ(parse_challenge("Bearer scope=a").scope, "a");
  CHECK_EQ(parse_challenge("Bearer scope=\"unended").scope, "unended");
}

TROUPE_TEST("metadata is looked for in the order of the specification") {
  CHECK(resource_metadata_addresses(server)
        == std::vector<std::string>({"https://mcp.example.com/.well-known/oauth-protected-resource/public/mcp",
                                     "https://mcp.example.com/.well-known/oauth-protected-resource"}));
  CHECK(issuer_metadata_addresses("https://auth.example.com/tenant1")
        == std::vector<std::string>({"https://auth.example.com/.well-known/oauth-authorization-server/tenant1",
                                     "https://auth.example.com/.well-known/openid-configuration/tenant1",
                                     "https://auth.example.com/tenant1/.well-known/openid-configuration"}));
  CHECK(issuer_metadata_addresses("https://auth.example.com")
        == std::vector<std::string>({"https://auth.example.com/.well-known/oauth-authorization-server",
                                     "https://auth.example.com/.well-known/openid-configuration"}));
}

TROUPE_TEST("metadata of something else is not believed") {
  CHECK(read_resource_metadata(resource(server), server).has_value());
  CHECK(read_resource_metadata(resource("https://mcp.example.com"), server).has_value());
  CHECK(read_resource_metadata(resource("https://mcp.example.com/public"), server).has_value());
  CHECK(!read_resource_metadata(resource("https://evil.example.com/public/mcp"), server).has_value());
  CHECK(!read_resource_metadata(resource("https://mcp.example.com/public/m"), server).has_value());
  CHECK(!read_resource_metadata(resource(""), server).has_value());
  CHECK(!read_resource_metadata(resource(server, "http://auth.example.com"), server).has_value());
  CHECK(!read_resource_metadata({{"resource", server}}, server).has_value());
}

TROUPE_TEST("an issuer's metadata is its own, has PKCE, and only safe endpoints") {
  CHECK(believed(json::object()));
  CHECK(!believed({{"issuer", "https://auth.example.com/"}}));
  CHECK(!believed({{"issuer", "https://honest.example"}}));
  CHECK(!believed({{"code_challenge_methods_supported", {"plain"}}}));
  CHECK(!believed({{"code_challenge_methods_supported", nullptr}}));
  CHECK(!believed({{"token_endpoint", "http://auth.example.com/token"}}));
  CHECK(!believed({{"token_endpoint", "file:///etc/passwd"}}));
  CHECK(believed({{"token_endpoint", "http://127.0.0.1:8080/token"}}));
  CHECK_EQ(issuer_of({{"registration_endpoint", "http://evil/register"}}).registration_endpoint, "");
}

TROUPE_TEST("scopes: the challenge, else the file, else all; with those before, and offline_access where it is known") {
  oauth_resource of;
  of.scopes = {"a", "b"};
  CHECK_EQ(scope_to_ask({"", "w", ""}, {"f"}, of, issuer_of(), ""), "w");
  CHECK_EQ(scope_to_ask({"", "w", ""}, {"f"}, of, issuer_of(), "r w"), "w r");
  CHECK_EQ(scope_to_ask({}, {"f"}, of, issuer_of(), ""), "f");
  CHECK_EQ(scope_to_ask({}, {}, of, issuer_of({{"scopes_supported", {"offline_access"}}}), ""), "a b offline_access");
  CHECK_EQ(scope_to_ask({}, {}, {}, issuer_of(), ""), "");
}

TROUPE_TEST("what comes back in the browser is believed only from the issuer, for this login") {
  const auto silent = issuer_of();
  const auto telling = issuer_of({{"authorization_response_iss_parameter_supported", true}});
  const std::string iss = "&iss=https%3A%2F%2Fauth.example.com";
  CHECK_EQ(code_of_callback("/callback?code=a%20b&state=s", silent, "s").value_or("none"), "a b");
  CHECK_EQ(code_of_callback("/callback?code=c&state=s" + iss, telling, "s").value_or("none"), "c");
  CHECK_EQ(code_of_callback("/callback?code=c&state=s" + iss, silent, "s").value_or("none"), "c");
  CHECK(!code_of_callback("/callback?code=c&state=s", telling, "s").has_value());
  CHECK(!code_of_callback("/callback?code=c&state=s" + iss + "%2F", telling, "s").has_value());
  CHECK(!code_of_callback("/callback?code=c&state=s&iss=https%3A%2F%2Fevil", silent, "s").has_value());
  CHECK(!code_of_callback("/callback?code=c&state=other" + iss, telling, "s").has_value());
  CHECK(!code_of_callback("/callback?error=access_denied&state=s" + iss, telling, "s").has_value());
  CHECK(!code_of_callback("/callback?state=s" + iss, telling, "s").has_value());
  // An error from somebody else is not even repeated.
  CHECK(code_of_callback("/callback?error=SAY_THIS&state=s&iss=https%3A%2F%2Fevil", telling, "s").error().message.find("SAY_THIS")
        == std::string::npos);
}

TROUPE_TEST("clients register as native ones, and authenticate as the issuer can") {
  CHECK_EQ(registration_request("http://127.0.0.1:1/callback", issuer_of())["application_type"], "native");
  CHECK_EQ(registration_request(
               "x", issuer_of({{"token_endpoint_auth_methods_supported", {"client_secret_post"}}}))["token_endpoint_auth_method"],
           "client_secret_post");
  CHECK_EQ(registration_request("x", issuer_of({{"token_endpoint_auth_methods_supported", {"none"}}}))["token_endpoint_auth_method"],
           "none");
  CHECK_EQ(read_registration({{"client_id", "i"}, {"client_secret", "s"}}, issuer_of())->method, "client_secret_basic");
  CHECK_EQ(read_registration({{"client_id", "i"}}, issuer_of())->method, "none");
  CHECK(!read_registration({{"client_secret", "s"}}, issuer_of()).has_value());
}

TROUPE_TEST("only bearer tokens are taken") {
  CHECK_EQ(read_tokens({{"access_token", "t"}, {"token_type", "bearer"}, {"expires_in", 60}})->expires_in_s, 60);
  CHECK(!read_tokens({{"access_token", "t"}, {"token_type", "DPoP"}}).has_value());
  CHECK(!read_tokens({{"error", "invalid_grant"}}).has_value());
}

TROUPE_TEST_WITH(with_token, "tokens go to the address that they were got for, and to no other of the same name") {
  REQUIRE(save_credentials(path, "s", kept).has_value());
  CHECK_EQ(load_credentials(path, entry)->access, "an access token");
  entry.url = "https://evil.example.com/public/mcp";
  CHECK_EQ(load_credentials(path, entry)->access, "");
}

TROUPE_TEST("addresses that a server names lead out, to its own host, or from this machine to this machine") {
  struct row {
    const char* name;
    const char* server;
    const char* named;
    const char* resolved;
    bool allowed;
  };
  const row rows[] = {{"out", "https://a.example", "https://b.example", "93.184.216.34", true},
                      {"into a private network", "https://a.example", "https://b.example", "10.0.0.1", false},
                      {"to the metadata of a cloud", "https://a.example", "http://b.example", "169.254.169.254", false},
                      {"to this machine", "https://a.example", "http://127.0.0.1:8080", "127.0.0.1", false},
                      {"its own host, wherever that is", "https://a.example", "https://a.example/token", "10.0.0.1", true},
                      {"both on this machine", "http://localhost:1", "http://127.0.0.1:2", "127.0.0.1", true}};
  for (const auto& r : rows) {
    IN_ROW(r.name);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    REQUIRE(::inet_pton(AF_INET, r.resolved, &address.sin_addr) == 1);
    CHECK_EQ(oauth_address_filter(r.server, r.named)(reinterpret_cast<const sockaddr*>(&address)), r.allowed);
  }
}

TROUPE_TEST("a request for a token proves who asks, as the issuer wants it") {
  mcp_credentials client;
  client.token_endpoint = "https://auth.example.com/token";
  client.client_id = "me";
  client.client_secret = "s3cret";
  client.method = "client_secret_basic";
  auto sent = token_request(client, {{"resource", "r"}});
  CHECK_EQ(sent.body, "resource=r");
  CHECK_EQ(sent.headers.back().second, "Basic bWU6czNjcmV0");
  client.method = "client_secret_post";
  CHECK_EQ(token_request(client, {{"resource", "r"}}).body, "resource=r&client_id=me&client_secret=s3cret");
  client.method = "none";
  CHECK_EQ(token_request(client, {{"resource", "r"}}).body, "resource=r&client_id=me");
}

TROUPE_TEST_WITH(with_token, "a refresh token is sent to no endpoint that others can listen to") {
  kept.refresh = "a refresh token";
  kept.token_endpoint = "http://auth.example.com/token";
  REQUIRE(save_credentials(path, "s", kept).has_value());
  llm::http_client http;
  const auto answer = std::make_shared<std::string>("it was asked");
  std::make_shared<stored_authorizer>(path, entry, http)->renew(kept.access, [answer](std::string token) { *answer = std::move(token); });
  CHECK_EQ(*answer, std::string()); // at once: nobody was asked
}
