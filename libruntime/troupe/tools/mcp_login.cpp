// How a human logs in to a remote MCP server: everything that can be refused is refused before the browser is opened.

#include "troupe/tools/mcp_login.hpp"

#include <cerrno>
#include <cstring>
#include <future>
#include <utility>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "troupe/tools/address_check.hpp"
#include "troupe/tools/mcp_digest.hpp"
#include "troupe/tools/mcp_message.hpp"
#include "troupe/tools/mcp_session.hpp"
#include "troupe/util/clock.hpp"
#include "troupe/util/id.hpp"
#include "troupe/util/parse_json.hpp"
#include "troupe/util/redact.hpp"
#include "troupe/util/suggest.hpp"
#include "troupe/util/unique_fd.hpp"

namespace troupe::tools {

namespace {

using std::chrono::steady_clock;

constexpr std::size_t document_bytes_max = 1u << 20;
constexpr milliseconds request_timeout{20'000};

std::string random_text() {
  const auto source = system_random();
  std::string bytes;
  for (int i = 0; i < 4; ++i) {
    const auto word = source();
    bytes.append(reinterpret_cast<const char*>(&word), sizeof word);
  }
  return base64url(bytes); // 43 characters, as RFC 7636 wants at least
}

llm::http_result fetch(llm::http_client& http, llm::http_request request) {
  std::promise<llm::http_result> told;
  auto answer = told.get_future();
  request.timeout = request_timeout;
  request.max_response_bytes = document_bytes_max;
  request.on_done = [&](llm::http_result result) { told.set_value(std::move(result)); };
  http.submit(std::move(request));
  return answer.get();
}

/// Where the browser comes back: one connection at a time, one request, on this machine only.
class callback_door {
public:
  static expected<callback_door> open(const std::string& wanted) {
    callback_door out;
    out.fd_.reset(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<std::uint16_t>(wanted.empty() ? 0 : std::atoi(wanted.substr(wanted.rfind(':') + 1).c_str())));
    socklen_t size = sizeof address;
    const int yes = 1;
    if (!out.fd_ || ::setsockopt(out.fd_.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) != 0
        || ::bind(out.fd_.get(), reinterpret_cast<sockaddr*>(&address), size) != 0 || ::listen(out.fd_.get(), 8) != 0
        || ::getsockname(out.fd_.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0)
      return fail(error_code::unavailable, "the browser cannot come back to " + (wanted.empty() ? std::string("this machine") : wanted)
                                               + ": " + std::strerror(errno));
    out.port_ = ntohs(address.sin_port);
    return out;
  }

  std::string address() const { return "http://127.0.0.1:" + std::to_string(port_) + "/callback"; }

  /// The target of the request that comes to /callback; others are answered with 404.
  expected<std::string> wait(steady_clock::time_point until) {
    for (;;) {
      const auto left = std::chrono::duration_cast<milliseconds>(until - steady_clock::now()).count();
      pollfd waiting{fd_.get(), POLLIN, 0};
      if (left <= 0 || ::poll(&waiting, 1, static_cast<int>(left)) == 0)
        return fail(error_code::timeout, "nobody came back from the browser in time");
      unique_fd connection(::accept4(fd_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (!connection)
        continue;
      const auto target = read_target(connection.get());
      const bool good = target.rfind("/callback?", 0) == 0;
      answer(connection.get(), good);
      if (good)
        return target;
    }
  }

private:
  callback_door() = default;

  static std::string read_target(int fd) {
    const timeval limit{5, 0};
    ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    std::string head;
    char buffer[2048];
    while (head.find("\r\n\r\n") == std::string::npos && head.size() < 32u << 10) {
      const auto got = ::recv(fd, buffer, sizeof buffer, 0);
      if (got <= 0)
        break;
      head.append(buffer, static_cast<std::size_t>(got));
    }
    if (head.rfind("GET ", 0) != 0)
      return {};
    const auto end = head.find(' ', 4);
    return end == std::string::npos ? std::string() : head.substr(4, end - 4);
  }

  static void answer(int fd, bool good) {
    const std::string body = good ? "You can close this page and go back to the terminal.\n" : "There is nothing here.\n";
    const auto text = std::string("HTTP/1.1 ") + (good ? "200 OK" : "404 Not Found")
                      + "\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: " + std::to_string(body.size())
                      + "\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n" + body;
    [[maybe_unused]] const auto sent = ::send(fd, text.data(), text.size(), MSG_NOSIGNAL);
  }

  unique_fd fd_;
  std::uint16_t port_ = 0;
};

class login {
public:
  login(const login_order& order, llm::http_client& http) : order_(order), http_(http) {}

  expected<void> run() {
    if (auto done = discover(); !done)
      return done;
    auto door = callback_door::open(how().redirect);
    if (!door)
      return tl::unexpected(door.error());
    if (auto done = become_client(door->address()); !done)
      return done;
    const auto state = random_text(), verifier = random_text();
    const auto scope = scope_to_ask(challenge_, how().scopes, resource_, issuer_, with_.scope + " " + order_.scope);
    oauth_form ask{{"response_type", "code"},
                   {"client_id", with_.client_id},
                   {"redirect_uri", door->address()},
                   {"state", state},
                   {"code_challenge", base64url(sha256_bytes(verifier))},
                   {"code_challenge_method", "S256"},
                   {"resource", with_.resource}};
    if (!scope.empty())
      ask.emplace_back("scope", scope);
    if (scope.find("offline_access") != std::string::npos)
      ask.emplace_back("prompt", "consent");
    order_.open_browser(authorization_address(issuer_, ask));
    const auto target = door->wait(steady_clock::now() + order_.patience);
    if (!target)
      return tl::unexpected(target.error());
    const auto code = code_of_callback(*target, issuer_, state);
    if (!code)
      return tl::unexpected(code.error());
    secrets().add(*code);
    return exchange({{"grant_type", "authorization_code"},
                     {"code", *code},
                     {"redirect_uri", door->address()},
                     {"code_verifier", verifier},
                     {"resource", with_.resource}},
                    scope);
  }

private:
  mcp_oauth_spec how() const { return order_.server.mcp.oauth.value_or(mcp_oauth_spec{}); }

  error refused(std::string words) const {
    return {error_code::permission_denied, std::move(words), "MCP server \"" + order_.server.name + "\""};
  }

  /// The same for a service that said nothing at all: `unavailable`, so that trying later may help.
  error silent(std::string words) const {
    auto out = refused(std::move(words));
    out.code = error_code::unavailable;
    return out;
  }

  /// What a request that brought nothing useful is told as.
  error useless(const std::string& words, const llm::http_result& result) const {
    if (result.status == 0)
      return silent(words + result.message);
    return refused(words + "status " + std::to_string(result.status) + " " + in_quotes(safe_prefix(result.body, 300)));
  }

  /// A document from an address that somebody else named.
  expected<json> document_at(const std::string& url) {
    if (!is_safe_address(url))
      return fail(error_code::invalid_argument, in_quotes(url) + " is not reached by https");
    llm::http_request request;
    request.url = url;
    request.headers = {{"Accept", "application/json"}, {"MCP-Protocol-Version", mcp_modern_version}};
    request.address_filter = oauth_address_filter(order_.server.url, url);
    const auto result = fetch(http_, std::move(request));
    if (result.error != llm::http_error::none)
      return fail(error_code::unavailable, url + ": " + result.message);
    if (result.status != 200)
      return fail(error_code::not_found, url + " answered with status " + std::to_string(result.status));
    auto document = parse_bounded(result.body);
    if (!document || !document->is_object())
      return fail(error_code::invalid_argument, url + " is no JSON object");
    return document;
  }

  /// The server's own words for how it is protected, from a request without a token.
  expected<void> ask_server() {
    llm::http_request request;
    request.method = "POST";
    request.url = order_.server.url;
    request.headers = {{"Content-Type", "application/json"},
                       {"Accept", "application/json, text/event-stream"},
                       {"MCP-Protocol-Version", mcp_modern_version},
                       {"Mcp-Method", "server/discover"}};
    request.body = mcp_text(mcp_request(1, "server/discover",
                                        {{"_meta",
                                          {{"io.modelcontextprotocol/protocolVersion", mcp_modern_version},
                                           {"io.modelcontextprotocol/clientCapabilities", json::object()}}}}));
    const auto result = fetch(http_, std::move(request));
    if (result.status == 0)
      return tl::unexpected(silent("it cannot be reached: " + result.message + "; check its url, and whether it runs"));
    if (const auto* header = result.headers.find("www-authenticate"); header != nullptr && result.status == 401)
      challenge_ = parse_challenge(*header);
    return {};
  }

  expected<void> discover() {
    if (!order_.challenge.empty())
      challenge_ = parse_challenge(order_.challenge);
    else if (auto asked = ask_server(); !asked)
      return asked;
    auto places = challenge_.resource_metadata.empty() ? resource_metadata_addresses(order_.server.url)
                                                       : std::vector<std::string>{challenge_.resource_metadata};
    error last;
    bool found = false;
    for (const auto& place : places) {
      const auto document = document_at(place);
      if (!document) {
        last = document.error();
        continue;
      }
      auto resource = read_resource_metadata(*document, order_.server.url);
      if (!resource)
        return tl::unexpected(refused(resource.error().message));
      resource_ = std::move(*resource);
      found = true;
      break;
    }
    if (!found) { // servers of 2025-03-26 are their own issuers
      resource_.resource = order_.server.url;
      resource_.issuer = origin_of_address(order_.server.url);
    }
    for (const auto& place : issuer_metadata_addresses(resource_.issuer)) {
      const auto document = document_at(place);
      if (!document) {
        last = document.error();
        continue;
      }
      auto issuer = read_issuer_metadata(*document, resource_.issuer);
      if (!issuer)
        return tl::unexpected(refused(issuer.error().message));
      issuer_ = std::move(*issuer);
      return {};
    }
    const auto words = "nothing says how to log in to it: " + last.message;
    return tl::unexpected(last.code == error_code::unavailable ? silent(words) : refused(words));
  }

  /// By what the operator registered, by a document, by what was registered here before, or registered now.
  expected<void> become_client(const std::string& redirect) {
    auto kept = load_credentials(order_.tokens_path, order_.server);
    if (!kept)
      return tl::unexpected(kept.error());
    const bool same = kept->issuer == issuer_.issuer; // nothing of another issuer is of any use at this one
    with_.scope = same ? kept->scope : std::string();
    with_.source = order_.server.url;
    with_.issuer = issuer_.issuer;
    with_.resource = resource_.resource;
    with_.token_endpoint = issuer_.token_endpoint;
    const auto own = how();
    if (!own.client_id.empty()) {
      with_.client_id = own.client_id;
      if (!own.client_secret_env.empty()) {
        const auto secret = order_.secret(own.client_secret_env);
        if (!secret)
          return fail(error_code::not_found,
                      "`oauth.client_secret_env` names " + own.client_secret_env + ", which is not set in the environment; set it",
                      order_.server.name);
        with_.client_secret = *secret;
        with_.method = method_for_secret(issuer_);
      }
      return {};
    }
    if (issuer_.client_metadata && !own.client_metadata_url.empty()) {
      with_.client_id = own.client_metadata_url;
      return {};
    }
    if (same && !kept->client_id.empty() && kept->redirect_uri == redirect) {
      with_.client_id = kept->client_id;
      with_.client_secret = kept->client_secret;
      with_.method = kept->method;
      with_.redirect_uri = redirect;
      return {};
    }
    if (issuer_.registration_endpoint.empty())
      return tl::unexpected(refused("the authorization server " + in_quotes(issuer_.issuer)
                                    + " registers nobody by itself; register a client there and name it by oauth.client_id"));
    llm::http_request request;
    request.method = "POST";
    request.url = issuer_.registration_endpoint;
    request.headers = {{"Content-Type", "application/json"}, {"Accept", "application/json"}};
    request.body = registration_request(redirect, issuer_).dump();
    request.address_filter = oauth_address_filter(order_.server.url, request.url);
    const auto result = fetch(http_, std::move(request));
    const auto document =
        result.status == 200 || result.status == 201 ? parse_bounded(result.body) : expected<json>(fail(error_code::unavailable, {}));
    if (!document)
      return tl::unexpected(useless("the authorization server " + in_quotes(issuer_.issuer) + " did not register us: ", result));
    const auto client = read_registration(*document, issuer_);
    if (!client)
      return tl::unexpected(refused(client.error().message));
    with_.client_id = client->id;
    with_.client_secret = client->secret;
    with_.method = client->method;
    with_.redirect_uri = redirect;
    return {};
  }

  expected<void> exchange(oauth_form form, const std::string& scope) {
    auto request = token_request(with_, std::move(form));
    request.address_filter = oauth_address_filter(order_.server.url, request.url);
    const auto result = fetch(http_, std::move(request));
    const auto document = parse_bounded(result.body);
    if (result.status != 200 || !document)
      return tl::unexpected(useless("the authorization server gave no token: ", result));
    const auto tokens = read_tokens(*document);
    if (!tokens)
      return tl::unexpected(refused(tokens.error().message));
    with_.access = tokens->access;
    with_.refresh = tokens->refresh;
    with_.scope = scope;
    with_.expires_s = tokens->expires_in_s > 0 ? utc_now_us() / 1'000'000 + tokens->expires_in_s : 0;
    return save_credentials(order_.tokens_path, order_.server.name, with_);
  }

  const login_order& order_;
  llm::http_client& http_;
  oauth_challenge challenge_;
  oauth_resource resource_;
  oauth_issuer issuer_;
  mcp_credentials with_;
};

} // namespace

std::function<bool(const sockaddr*)> oauth_address_filter(const std::string& server_url, const std::string& url) {
  const auto server = target_of(server_url), target = target_of(url);
  const bool own_host = server && target && server->host == target->host;
  const auto local = [](const std::string& host) { return host == "localhost" || host == "::1" || host.substr(0, 4) == "127."; };
  const bool both_here = server && target && local(server->host) && local(target->host);
  return [own_host, both_here](const sockaddr* address) {
    return own_host || is_public_address(address) || (both_here && is_loopback_address(address));
  };
}

llm::http_request token_request(const mcp_credentials& client, oauth_form form) {
  llm::http_request out;
  out.method = "POST";
  out.url = client.token_endpoint;
  out.timeout = request_timeout;
  out.max_response_bytes = document_bytes_max;
  out.headers = {{"Content-Type", "application/x-www-form-urlencoded"}, {"Accept", "application/json"}};
  if (client.method == "client_secret_basic") {
    const auto id = form_text({{"", client.client_id}}).substr(1), secret = form_text({{"", client.client_secret}}).substr(1);
    out.headers.emplace_back("Authorization", "Basic " + base64(id + ":" + secret));
  } else {
    form.emplace_back("client_id", client.client_id);
    if (client.method == "client_secret_post")
      form.emplace_back("client_secret", client.client_secret);
  }
  out.body = form_text(form);
  return out;
}

expected<void> log_in(const login_order& order, llm::http_client& http) {
  return login(order, http).run();
}

} // namespace troupe::tools
