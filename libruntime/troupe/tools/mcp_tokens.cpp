// Where the tokens of remote MCP servers are kept, and how they are renewed.

#include <chrono>
#include <utility>

#include <spdlog/spdlog.h>

#include "troupe/model/described.hpp"
#include "troupe/tools/mcp_digest.hpp"
#include "troupe/tools/mcp_login.hpp"
#include "troupe/tools/mcp_pins.hpp"
#include "troupe/util/clock.hpp"
#include "troupe/util/parse_json.hpp"
#include "troupe/util/redact.hpp"
#include "troupe/util/suggest.hpp"

namespace troupe::tools {

namespace {

expected<json> load_all(const std::string& path) {
  const auto text = read_private_file(path);
  if (!text)
    return tl::unexpected(text.error());
  if (text->empty())
    return json::object();
  auto document = parse_bounded(*text);
  if (!document || !document->is_object())
    return fail(error_code::corrupt, "it is not a list of tokens; remove it and log in again", path);
  return std::move(*document);
}

void keep_secret(const mcp_credentials& what) {
  for (const auto* each : {&what.access, &what.refresh, &what.client_secret})
    secrets().add(*each);
}

std::int64_t now_s() {
  return utc_now_us() / 1'000'000;
}

} // namespace

expected<mcp_credentials> load_credentials(const std::string& path, const tool_spec& server) {
  const auto all = load_all(path);
  if (!all)
    return tl::unexpected(all.error());
  mcp_credentials out;
  if (const auto found = all->find(server.name); found != all->end()) {
    auto read = from_document<mcp_credentials>(*found);
    if (read && read->source == server.url)
      out = std::move(*read);
  }
  keep_secret(out);
  return out;
}

expected<void> save_credentials(const std::string& path, const std::string& server, const mcp_credentials& what) {
  keep_secret(what);
  const file_guard guard(path);
  auto all = load_all(path);
  if (!all)
    return tl::unexpected(all.error());
  (*all)[server] = to_document(what);
  return write_private_file(path, all->dump(2) + "\n");
}

expected<bool> forget_credentials(const std::string& path, const std::string& server) {
  const file_guard guard(path);
  auto all = load_all(path);
  if (!all)
    return tl::unexpected(all.error());
  if (all->erase(server) == 0)
    return false;
  if (auto saved = write_private_file(path, all->dump(2) + "\n"); !saved)
    return tl::unexpected(saved.error());
  return true;
}

stored_authorizer::stored_authorizer(std::string path, const tool_spec& server, llm::http_client& http)
    : path_(std::move(path)), server_(server), http_(http) {
  reload();
}

void stored_authorizer::reload() {
  auto found = load_credentials(path_, server_);
  if (!found)
    spdlog::warn("{}", found.error().text());
  const std::lock_guard guard(mutex_);
  now_ = found ? std::move(*found) : mcp_credentials{};
}

std::string stored_authorizer::token() {
  const std::lock_guard guard(mutex_);
  return now_.access;
}

std::string stored_authorizer::last_challenge() const {
  const std::lock_guard guard(mutex_);
  return challenge_;
}

std::string stored_authorizer::advice(const std::string& challenge) {
  const std::lock_guard guard(mutex_);
  challenge_ = challenge;
  const auto scope = parse_challenge(challenge).scope;
  return "log in by `troupe mcp login CONFIG " + server_.name + "`"
         + (scope.empty() ? std::string() : "; it asks for the scope " + in_quotes(scope));
}

void stored_authorizer::renew(std::string refused, std::function<void(std::string)> then) {
  {
    const std::lock_guard guard(mutex_);
    waiting_.push_back(std::move(then));
    if (waiting_.size() > 1)
      return;
  }
  reload(); // another process may have done it
  mcp_credentials with;
  {
    const std::lock_guard guard(mutex_);
    with = now_;
  }
  if (with.access != refused || with.refresh.empty() || !is_safe_address(with.token_endpoint)) {
    answer(with.access != refused ? with.access : std::string());
    return;
  }
  oauth_form form{{"grant_type", "refresh_token"}, {"refresh_token", with.refresh}, {"resource", with.resource}};
  auto request = token_request(with, std::move(form));
  request.address_filter = oauth_address_filter(server_.url, with.token_endpoint);
  request.on_done = [self = shared_from_this(), refused = std::move(refused)](const llm::http_result& result) {
    self->renewed(result, refused);
  };
  http_.submit(std::move(request));
}

void stored_authorizer::renewed(const llm::http_result& result, const std::string& refused) {
  const auto document = result.status == 200 ? parse_bounded(result.body) : expected<json>(fail(error_code::unavailable, {}));
  const auto tokens = document ? read_tokens(*document) : expected<oauth_tokens>(fail(error_code::unavailable, {}));
  if (!tokens) {
    reload(); // another process may have exchanged the same one, and was first
    if (const auto now = token(); now != refused) {
      answer(now);
      return;
    }
    spdlog::warn("MCP server {}: its token could not be renewed (status {}); {}", in_quotes(server_.name), result.status, advice({}));
    answer({});
    return;
  }
  mcp_credentials next;
  {
    const std::lock_guard guard(mutex_);
    now_.access = tokens->access;
    if (!tokens->refresh.empty())
      now_.refresh = tokens->refresh;
    now_.expires_s = tokens->expires_in_s > 0 ? now_s() + tokens->expires_in_s : 0;
    next = now_;
  }
  if (auto saved = save_credentials(path_, server_.name, next); !saved)
    spdlog::warn("{}", saved.error().text());
  answer(next.access);
}

void stored_authorizer::answer(const std::string& token) {
  std::vector<std::function<void(std::string)>> all;
  {
    const std::lock_guard guard(mutex_);
    all.swap(waiting_);
  }
  for (const auto& each : all)
    each(token);
}

} // namespace troupe::tools
