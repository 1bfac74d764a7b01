#include "troupe/tools/mcp_host.hpp"

#include <chrono>
#include <filesystem>
#include <future>
#include <utility>

#include "troupe/tools/mcp_login.hpp"
#include "troupe/tools/mcp_pins.hpp"
#include "troupe/util/suggest.hpp"

namespace troupe::tools {

namespace {

constexpr std::chrono::seconds closing_max{10}; ///< every part of it has a bound of its own; this is the last

class mcp_runner : public runner {
public:
  mcp_runner(std::shared_ptr<mcp_server> server, std::string tool) : server_(std::move(server)), tool_(std::move(tool)) {}
  running_id start(invocation call, on_outcome done) override { return server_->call(tool_, std::move(call), std::move(done)); }
  void cancel(running_id id) override { server_->cancel(id); }

private:
  std::shared_ptr<mcp_server> server_;
  std::string tool_;
};

} // namespace

std::string mcp_state_folder(const configuration& config) {
  if (!config.journal.path.empty())
    return std::filesystem::path(config.journal.path).parent_path().string();
  return config.folder + "/.troupe";
}

std::string mcp_pins_path(const std::string& state) {
  return state + "/mcp-tools.json";
}
std::string mcp_tokens_path(const std::string& state) {
  return state + "/mcp-tokens.json";
}

mcp_servers::mcp_servers(environment& shared, std::string state) : shared_(shared), state_(std::move(state)) {}

mcp_servers::~mcp_servers() {
  std::vector<std::future<void>> ends;
  for (const auto& [name, server] : servers_) {
    auto closed = std::make_shared<std::promise<void>>();
    ends.push_back(closed->get_future());
    server->close([closed] { closed->set_value(); });
  }
  const auto until = std::chrono::steady_clock::now() + closing_max;
  for (const auto& end : ends)
    end.wait_until(until);
}

std::shared_ptr<mcp_server> mcp_servers::add(const tool_spec& entry) {
  std::shared_ptr<stored_authorizer> authorizer;
  if (!entry.url.empty() && entry.mcp.token_env.empty() && shared_.http != nullptr && is_safe_address(entry.url)) {
    authorizer = std::make_shared<stored_authorizer>(mcp_tokens_path(state_), entry, *shared_.http);
    authorizers_[entry.name] = authorizer;
  }
  auto server = std::make_shared<mcp_server>(entry, shared_, authorizer);
  servers_[entry.name] = server;
  return server;
}

expected<std::map<std::string, mcp_offered>> mcp_servers::open(const std::vector<tool_spec>& entries) {
  std::vector<std::future<expected<mcp_listing>>> listings;
  for (const auto& entry : entries) {
    const auto server = add(entry);
    auto told = std::make_shared<std::promise<expected<mcp_listing>>>();
    listings.push_back(told->get_future());
    server->open([told](expected<mcp_listing> listing) { told->set_value(std::move(listing)); });
  }
  std::map<std::string, mcp_offered> out;
  error problems;
  const auto add = [&](const error& why) {
    if (problems.code != error_code::permission_denied)
      problems.code = why.code;
    problems.message += (problems.message.empty() ? "" : "\n") + why.text();
  };
  for (std::size_t i = 0; i < entries.size(); ++i) {
    auto listing = listings[i].get();
    if (!listing) {
      add(listing.error());
      continue;
    }
    auto admitted = mcp_pins::admit(mcp_pins_path(state_), entries[i], listing->tools);
    if (!admitted) {
      add(admitted.error());
      continue;
    }
    servers_.at(entries[i].name)->approve(*admitted);
    out.emplace(entries[i].name, mcp_offered{std::move(*listing), std::move(*admitted)});
  }
  if (problems.code != error_code::none)
    return tl::unexpected(std::move(problems));
  return out;
}

std::shared_ptr<mcp_server> mcp_servers::find(const std::string& name) const {
  const auto found = servers_.find(name);
  return found == servers_.end() ? nullptr : found->second;
}

std::shared_ptr<stored_authorizer> mcp_servers::authorizer(const std::string& name) const {
  const auto found = authorizers_.find(name);
  return found == authorizers_.end() ? nullptr : found->second;
}

expected<std::unique_ptr<runner>> mcp_servers::runner_of(const tool_spec& spec) const {
  auto server = find(spec.mcp.server);
  if (!server)
    return fail(error_code::not_found, "the MCP server " + in_quotes(spec.mcp.server) + " is not open", "tool \"" + spec.name + "\"");
  return std::make_unique<mcp_runner>(std::move(server), spec.mcp.tool);
}

expected<std::unique_ptr<runner>> make_mcp_runner(const tool_spec& spec, environment& shared) {
  if (shared.mcp == nullptr)
    return fail(error_code::invalid_argument, "this runtime was started without MCP servers", "tool \"" + spec.name + "\"");
  return shared.mcp->runner_of(spec);
}

} // namespace troupe::tools
