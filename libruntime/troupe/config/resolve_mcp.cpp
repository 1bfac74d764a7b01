// MCP servers: how they are reached, and what may be said over what they say. What they offer is known only when they run.

#include <algorithm>

#include "troupe/config/resolver.hpp"
#include "troupe/util/suggest.hpp"

namespace troupe::config {

namespace {

/// Whether an address is one to which a token may be sent: encrypted, or on this machine.
bool is_private_way(std::string_view url) {
  if (url.substr(0, 8) == "https://")
    return true;
  if (url.substr(0, 7) != "http://")
    return false;
  auto host = url.substr(7, url.find_first_of("/?#", 7) - 7);
  return is_loopback(host.find_last_of(':') == std::string_view::npos || host.back() == ']' ? std::string(host) + ":80" : std::string(host))
      .value_or(false);
}

} // namespace

void resolver::mcp_server(const view& from, tool_spec& into) {
  auto& mcp = into.mcp;
  from["protocol"].read(mcp.protocol);
  from["token_env"].read(mcp.token_env);
  from["elicitation"].read(mcp.elicitation);
  from["prefix"].read(mcp.prefix);
  from["hold_changes"].read(mcp.hold_changes);
  from["start_timeout"].read_positive(mcp.start_timeout);
  from["ping"].read_positive(mcp.ping);
  from["max_restarts"].read(mcp.max_restarts);
  if (from["effect"].present())
    mcp.effect = into.effect;
  if (from["risk"].present())
    mcp.risk = into.risk;
  from["overrides"].each_member([&](const std::string& name, const view& each) {
    auto& over = mcp.overrides[name];
    if (each["effect"].present())
      each["effect"].read(over.effect.emplace());
    if (each["risk"].present())
      each["risk"].read(over.risk.emplace());
    if (!into.mcp_tools.empty() && std::find(into.mcp_tools.begin(), into.mcp_tools.end(), name) == into.mcp_tools.end())
      each.wrong_key("tools does not offer " + in_quotes(name) + ", so that nothing can be said of it; add it there, or take this out");
  });
  // Where the file leaves the effect to the server, its read-only tools are retried.
  const bool all_once = mcp.effect == effect::once && std::none_of(mcp.overrides.begin(), mcp.overrides.end(), [](const auto& each) {
                          return each.second.effect.value_or(effect::once) != effect::once;
                        });
  if (all_once && from["retries"].present() && into.retries > 0)
    from["retries"].warn("by effect: once none of its tools is ever retried; say in overrides which ones a repeat does no harm to, or take "
                         "effect out: the server says which of its tools only read");
  if (const auto oauth = from["oauth"]; oauth.is_object()) {
    auto& how = mcp.oauth.emplace();
    oauth["client_id"].read(how.client_id);
    oauth["client_secret_env"].read(how.client_secret_env);
    oauth["client_metadata_url"].read(how.client_metadata_url);
    oauth["scopes"].read(how.scopes);
    oauth["redirect"].read(how.redirect);
    if (oauth["client_secret_env"].present() && !oauth["client_id"].present())
      oauth["client_secret_env"].wrong("a secret belongs to a client that is registered; add its client_id");
    if (from["token_env"].present())
      from["token_env"].wrong("a token is given by token_env or got by oauth, not both");
  }
  const bool by_command = from["command"].present();
  if (by_command == from["url"].present())
    from.wrong_key("an MCP server is reached by exactly one of command (a program) and url");
  if (!by_command)
    for (const auto* key : {"env_from", "sandbox", "limits"})
      if (from[key].present())
        from[key].wrong(std::string("only a server that is started (command) has ")
                        + (key == std::string_view("env_from")  ? "an environment"
                           : key == std::string_view("sandbox") ? "a sandbox"
                                                                : "limits"));
  if (by_command)
    for (const auto* key : {"headers", "token_env", "oauth"})
      if (from[key].present())
        from[key].wrong("only a remote server (url) is asked by HTTP; a program gets its secrets by env_from");
  if (const auto url = from["url"]; url.is_string()) {
    if (url.text()->substr(0, 7) != "http://" && url.text()->substr(0, 8) != "https://")
      url.wrong("the address of an MCP server begins with https:// or http://");
    else if ((from["token_env"].present() || from["oauth"].present()) && !is_private_way(*url.text()))
      url.wrong("a token would go over the network for all to read; use https://");
  }
}

} // namespace troupe::config
