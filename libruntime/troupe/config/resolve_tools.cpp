// Tools: commands, addresses, effects, alternatives.

#include <algorithm>
#include <array>

#include "troupe/config/graph.hpp"
#include "troupe/config/resolver.hpp"
#include "troupe/model/described.hpp"
#include "troupe/policy/approval.hpp"
#include "troupe/util/suggest.hpp"

namespace troupe::config {

namespace {

constexpr std::int64_t memory_least = 1 << 20; ///< of a process: fewer bytes are a number whose unit was forgotten
constexpr std::array<std::string_view, 8> builtins{"read_file",  "write_file", "list_files", "http_fetch",
                                                   "calculator", "clock",      "state_get",  "state_set"};

bool is_file_builtin(std::string_view name) {
  return name == "read_file" || name == "write_file" || name == "list_files";
}

effect default_effect(const tool_spec& spec) {
  if (spec.kind == tool_kind::builtin)
    return spec.builtin == "write_file" || spec.builtin == "state_set" ? effect::idempotent : effect::none;
  if (spec.kind == tool_kind::http)
    return spec.method == "GET" || spec.method == "HEAD" ? effect::none : effect::once;
  return effect::once;
}

} // namespace

void resolver::tools() {
  root_["tools"].each_member([&](const std::string& name, const view& from) {
    auto& into = out_.tools[name];
    into.name = name;
    tool(name, from, into);
  });
  for (const auto& [name, spec] : out_.tools)
    if (!spec.alternative.empty() && out_.tools.count(spec.alternative) == 0)
      unknown(root_["tools"][name]["alternative"], "tool", out_.tools);
    else if (const auto other = out_.tools.find(spec.alternative); other != out_.tools.end() && other->second.kind == tool_kind::mcp)
      root_["tools"][name]["alternative"].wrong(
          in_quotes(spec.alternative) + " is a server with tools of its own, and no tool; an alternative takes the same arguments");
  alternative_cycles();
}

void resolver::tool(const std::string& name, const view& from, tool_spec& into) {
  from["kind"].read(into.kind);
  from["description"].read(into.description);
  from["timeout"].read_positive(into.timeout);
  from["retries"].read(into.retries);
  from["alternative"].read(into.alternative);
  from["risk"].read(into.risk);
  from["max_calls"].read(into.max_calls);
  from["max_parallel"].read(into.max_parallel);
  from["polling"].read(into.polling);
  from["loop_ignore"].read(into.loop_ignore);
  from["command"].read(into.command);
  from["stdin"].read(into.stdin_template);
  from["env_from"].read(into.env_from);
  from["url"].read(into.url);
  from["headers"].read(into.headers);
  from["allow_hosts"].read(into.allow_hosts);
  from["tools"].read(into.mcp_tools);
  if (into.kind == tool_kind::http)
    into.method = "GET";
  from["method"].read(into.method);
  from["allow_private"].read(into.allow_private);
  if (const auto success = from["success"]; success.is_array()) {
    into.success.clear();
    success.each_element([&](std::size_t, const view& each) {
      std::int64_t status = 0;
      each.read(status);
      into.success.push_back(status);
    });
  }
  const auto sandbox = from["sandbox"];
  into.sandbox.enabled = !sandbox.is_string();
  sandbox["network"].read(into.sandbox.network);
  sandbox["read"].read_paths(into.sandbox.read);
  sandbox["write"].read_paths(into.sandbox.write);
  const auto limits = from["limits"];
  limits["memory"].read_size(into.limits.memory_bytes);
  if (limits["memory"].present() && into.limits.memory_bytes > 0 && into.limits.memory_bytes < memory_least)
    limits["memory"].wrong("no program runs in " + std::to_string(into.limits.memory_bytes) + " bytes; write a unit, as in 512MB");
  limits["output"].read_size(into.limits.output_bytes);
  limits["processes"].read(into.limits.processes);
  if (limits["cpu"].present()) {
    milliseconds time{into.limits.cpu_seconds * 1'000};
    limits["cpu"].read_positive(time);
    into.limits.cpu_seconds = (time.count() + 999) / 1'000; // the kernel counts whole seconds
  }
  if (into.kind == tool_kind::builtin) {
    const auto builtin = from["builtin"];
    into.builtin = name;
    builtin.read(into.builtin);
    const std::vector<std::string_view> known(builtins.begin(), builtins.end());
    if (std::find(known.begin(), known.end(), into.builtin) == known.end()) {
      if (builtin.present())
        unknown(builtin, "builtin", known);
      else
        from.wrong_key("no builtin named " + in_quotes(name) + did_you_mean(name, known)
                       + "; name the tool after one, or add builtin: with one of read_file write_file list_files http_fetch calculator "
                         "clock state_get state_set");
    }
    from["root"].read_path(into.root);
    if (into.root.empty() && is_file_builtin(into.builtin))
      into.root = in_.folder;
    if (from["root"].present() && !is_file_builtin(into.builtin))
      from["root"].wrong("the builtin " + in_quotes(into.builtin)
                         + " has no root; only read_file, write_file and list_files are confined to a folder");
    for (const auto* key : {"allow_hosts", "allow_private"})
      if (from[key].present() && into.builtin != "http_fetch")
        from[key].wrong("the builtin " + in_quotes(into.builtin) + " reaches no hosts; only http_fetch does");
    if (into.builtin == "http_fetch" && into.allow_hosts.empty())
      from.wrong_key("http_fetch reads only from the hosts that allow_hosts names; add allow_hosts: [example.com]");
  } else {
    const auto parameters = from["parameters"];
    schema(parameters, into.parameters);
    if (parameters.is_object() && parameters["type"].present()
        && (!parameters["type"].is_string() || *parameters["type"].text() != "object"))
      parameters["type"].wrong("arguments are named: the type of parameters is \"object\"");
    if (parameters.present() && parameters.value().is_boolean())
      parameters.wrong("arguments are named: parameters are a schema of an object");
    if (into.kind != tool_kind::mcp && !parameters.present())
      into.parameters = {{"type", "object"}, {"properties", json::object()}, {"additionalProperties", false}};
  }
  into.effect = default_effect(into);
  from["effect"].read(into.effect);
  if (into.kind == tool_kind::builtin && into.builtin == "state_set") {
    if (into.effect == effect::none)
      from["effect"].wrong("a write to the run's state has an effect: it is idempotent");
    if (!from["retries"].present())
      into.retries = 0; // what it answers is what the agent has to see
  }
  if (into.kind == tool_kind::process && !from["effect"].present())
    from.warn_key("its effect is unsaid, so that it counts as once and is never retried; add effect: none, idempotent or once");
  if (into.kind != tool_kind::mcp && into.effect == effect::once && from["retries"].present() && into.retries > 0)
    from["retries"].warn("a tool with effect once is never retried; say effect: none or idempotent where a repeat does no harm");
  if (into.kind == tool_kind::mcp) {
    mcp_server(from, into);
  } else {
    tool_templates(from);
    if (into.kind == tool_kind::http)
      http_tool(from, into);
  }
}

/// Commands and standard input read the call's arguments, which `parameters` name.
void resolver::tool_templates(const view& from) {
  const auto properties = from["parameters"]["properties"];
  std::vector<std::string_view> known; // in order: an object's members are
  if (properties.is_object())
    for (const auto& [name, each] : properties.value().items())
      known.emplace_back(name);
  const auto is_known = [&](std::string_view name) { return std::binary_search(known.begin(), known.end(), name); };
  // Without `properties` but with a schema, any argument may come.
  const bool open = from["parameters"].present() && !properties.is_object();
  const auto check = [&](const view& text) {
    const auto parsed = parse_template(text);
    if (!parsed || open)
      return;
    for (const auto& path : parsed->paths())
      if (!is_known(path.front()) && !in_.issues.errors_full())
        text.wrong("no parameter named " + in_quotes(path.front())
                   + (known.empty() ? std::string("; describe it in parameters") : did_you_mean(path.front(), known)));
  };
  from["command"].each_element([&](std::size_t, const view& each) { check(each); });
  check(from["stdin"]);
  from["loop_ignore"].each_element([&](std::size_t, const view& each) {
    if (!open && !known.empty() && each.is_string() && !is_known(*each.text()))
      unknown(each, "parameter", known);
  });
}

void resolver::alternative_cycles() {
  std::map<std::string_view, std::size_t> numbers;
  std::vector<std::string> names;
  for (const auto& [name, spec] : out_.tools) {
    numbers.emplace(name, names.size());
    names.push_back(name);
  }
  graph alternatives(names.size());
  for (const auto& [name, spec] : out_.tools)
    if (const auto found = numbers.find(spec.alternative); found != numbers.end())
      alternatives[numbers.at(name)].push_back(found->second);
  for (const auto& cycle : find_cycles(alternatives)) {
    const auto at = root_["tools"][names[cycle.front()]]["alternative"];
    if (cycle.size() == 1) {
      at.wrong("a tool cannot stand in for itself");
      continue;
    }
    std::string way;
    for (std::size_t i = 0; i < std::min<std::size_t>(cycle.size(), 10); ++i)
      way += in_quotes(names[cycle[i]]) + " → ";
    at.wrong("alternatives go in a circle: " + way + (cycle.size() > 10 ? "… → " : "") + in_quotes(names[cycle.front()]));
  }
}

/// Whoever agrees to a call agrees to what may run in its place: such a tool asks more often than its own risk says.
void resolver::asking_alternatives() {
  for (const auto& [name, spec] : out_.tools) {
    const auto other = out_.tools.find(spec.alternative);
    if (other == out_.tools.end())
      continue;
    const auto needed = policy::approvals_needed(out_.checkpoint, other->second.risk);
    if (needed > policy::approvals_needed(out_.checkpoint, spec.risk))
      root_["tools"][name]["alternative"].warn(in_quotes(other->first) + ", of risk " + name_of(other->second.risk) + ", runs where "
                                               + in_quotes(name) + " fails, so that "
                                               + (needed == 1 ? std::string("a human is") : std::to_string(needed) + " humans are")
                                               + " asked before each call that may come to it");
  }
}

} // namespace troupe::config
