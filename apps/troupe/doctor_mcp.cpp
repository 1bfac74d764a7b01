// MCP servers: each is connected to as a run would do it, and asked for its tools. None is called, and nothing is let in.

#include <algorithm>
#include <chrono>
#include <future>

#include "doctor.hpp"
#include "timeline.hpp"
#include "troupe/tools/mcp_host.hpp"
#include "troupe/tools/mcp_login.hpp"
#include "troupe/tools/mcp_pins.hpp"
#include "troupe/util/clock.hpp"
#include "troupe/util/suggest.hpp"

namespace troupe::cli {

namespace {

/// What a server said, and after how long.
struct told {
  expected<tools::mcp_listing> listing;
  std::int64_t took_us = 0;
};

std::string list_of(const std::vector<std::string>& names) {
  constexpr std::size_t shown_max = 5;
  std::string words;
  for (std::size_t i = 0; i < std::min(names.size(), shown_max); ++i)
    words += (i == 0 ? "" : " ") + names[i];
  return words + (names.size() > shown_max ? " and " + std::to_string(names.size() - shown_max) + " more" : "");
}

std::string plural(std::size_t count, const std::string& one) {
  return std::to_string(count) + " " + one + (count == 1 ? "" : "s");
}

finding failed_row(const tool_spec& server, const error& why, const tools::stored_authorizer* authorizer) {
  const auto who = "MCP server " + in_quotes(server.name);
  auto words = why.message;
  if (words.rfind(who, 0) == 0)
    words = words.substr(std::min(words.size(), words.find_first_not_of(": ", who.size())));
  finding out{"tool", server.name, health::fail, "it is an MCP server: " + words, {}};
  if (why.code == error_code::permission_denied && authorizer != nullptr)
    out.todo = "troupe mcp login CONFIG " + server.name;
  else if (why.code == error_code::permission_denied)
    out.todo = server.mcp.token_env.empty() ? "it has to come from an https address, so that a token can be sent"
                                            : "set " + server.mcp.token_env + " to a token that it takes";
  else if (why.code == error_code::not_found && !server.command.empty())
    out.todo = "install it, or correct command; env_from names what it needs of the environment";
  else if (why.code == error_code::not_found)
    out.todo = "set the variable, or correct token_env";
  else if (!server.command.empty())
    out.todo = "start it by hand and see what it says; in its sandbox it has no network and may not write unless sandbox allows it, and "
               "start_timeout is its time ("
               + duration_text(server.mcp.start_timeout.count() * 1'000) + ")";
  else
    out.todo = "see whether url is right and the server can be reached from here; start_timeout is its time ("
               + duration_text(server.mcp.start_timeout.count() * 1'000) + ")";
  return out;
}

finding listed_row(const tool_spec& server, const told& by, const tools::mcp_pins& pins) {
  const auto& listing = *by.listing;
  finding out{"tool", server.name, health::ok, {}, {}};
  std::vector<std::string_view> names;
  std::vector<std::string> held, missing;
  const auto source = tools::mcp_source(server);
  const auto is_wanted = [&](const std::string& name) {
    return server.mcp_tools.empty() || std::find(server.mcp_tools.begin(), server.mcp_tools.end(), name) != server.mcp_tools.end();
  };
  for (const auto& tool : listing.tools) {
    names.push_back(tool.name);
    if (server.mcp.hold_changes && is_wanted(tool.name) && pins.judge(server.name, source, tool) == tools::pin_verdict::changed)
      held.push_back(tool.name);
  }
  for (const auto& name : server.mcp_tools)
    if (std::find(names.begin(), names.end(), name) == names.end())
      missing.push_back(name);
  out.seen =
      "an MCP server with " + plural(listing.tools.size(), "tool") + ", speaks " + listing.version + ", after " + duration_text(by.took_us);
  if (!missing.empty()) {
    out.state = health::fail;
    out.seen += "; it offers no tool named " + in_quotes(missing.front()) + did_you_mean(missing.front(), names);
    out.todo = "correct tools; what it offers: troupe mcp tools CONFIG " + server.name;
  } else if (!held.empty()) {
    out.state = health::warn;
    out.seen += "; described differently than when a human let them in, and held: " + list_of(held);
    out.todo = "look at them with troupe mcp tools CONFIG " + server.name + ", let them in with troupe mcp approve CONFIG " + server.name;
  } else if (!listing.refused.empty()) {
    out.state = health::warn;
    out.seen += "; " + plural(listing.refused.size(), "tool") + " cannot be offered: " + listing.refused.front();
  }
  return out;
}

} // namespace

findings check_mcp(doctor_kit& kit) {
  std::vector<tool_spec> entries;
  for (const auto& [name, tool] : kit.config.tools)
    if (tool.kind == tool_kind::mcp)
      entries.push_back(tool);
  if (entries.empty())
    return {};
  const auto state = tools::mcp_state_folder(kit.config);
  const auto pins = tools::mcp_pins::load(tools::mcp_pins_path(state));
  if (!pins)
    return {{"tool", entries.front().name, health::fail, pins.error().text(), "restore it, or remove it: all tools are new then"}};
  tools::mcp_servers servers(kit.environment, state); // each is gone when this is
  std::vector<std::future<told>> answers;
  for (const auto& entry : entries) { // at once: each may take its start_timeout
    const auto answer = std::make_shared<std::promise<told>>();
    answers.push_back(answer->get_future());
    servers.add(entry)->open([answer, began = monotonic_now()](expected<tools::mcp_listing> listing) {
      answer->set_value({std::move(listing), std::chrono::duration_cast<std::chrono::microseconds>(monotonic_now() - began).count()});
    });
  }
  findings out;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const auto answer = answers[i].get();
    out.push_back(answer.listing ? listed_row(entries[i], answer, *pins)
                                 : failed_row(entries[i], answer.listing.error(), servers.authorizer(entries[i].name).get()));
  }
  return out;
}

} // namespace troupe::cli
