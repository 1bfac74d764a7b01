// Tools: the program of each in its own sandbox, folders, hosts.

#include <algorithm>
#include <filesystem>
#include <future>

#include <unistd.h>

#include "doctor.hpp"
#include "troupe/model/described.hpp"
#include "troupe/tools/builtin.hpp"
#include "troupe/tools/cgroup.hpp"
#include "troupe/tools/http.hpp"
#include "troupe/tools/process.hpp"
#include "troupe/tools/toolset.hpp"
#include "troupe/tools/web_call.hpp"
#include "troupe/util/clock.hpp"

namespace troupe::cli {

namespace {

namespace fs = std::filesystem;

constexpr std::chrono::milliseconds probe_within{10'000};

/// Runs the program of `tool` once, as a call with these arguments would.
tool_outcome run_now(doctor_kit& kit, const tool_spec& tool, json arguments = json::object()) {
  const auto runner = tools::make_process_runner(tool, kit.environment);
  if (!runner)
    return {tool_status::not_started, {}, runner.error().message, 0, false};
  const auto promise = std::make_shared<std::promise<tool_outcome>>();
  auto outcome = promise->get_future();
  (*runner)->start({"doctor", "doctor", std::move(arguments), "doctor", probe_within},
                   [promise](tool_outcome out) { promise->set_value(std::move(out)); });
  return outcome.get();
}

/// An outcome's words without the tool's name in front: the row has it.
std::string words_of(const tool_outcome& outcome, const std::string& tool) {
  const auto name = "tool \"" + tool + "\": ";
  return outcome.error.rfind(name, 0) == 0 ? outcome.error.substr(name.size()) : outcome.error;
}

// --- programs ------------------------------------------------------------------------------------------------------

/// Where its program is, as the tool would find it: in its sandbox, along its PATH, without its secrets; empty: nowhere. `error`: it cannot
/// be looked for.
expected<std::string> find_inside(doctor_kit& kit, const tool_spec& tool) {
  auto probe = tool;
  probe.command = {"test", "-f", "{{ place }}", "-a", "-x", "{{ place }}"};
  probe.stdin_template.clear();
  probe.env_from.clear();
  probe.success = {0, 1};
  for (const auto& place : tools::program_places(tool.command.front(), kit.config.folder)) {
    std::error_code ignored;
    if (!fs::exists(place, ignored))
      continue; // a sandbox shows less than there is, never more
    const auto outcome = run_now(kit, probe, {{"place", place}});
    if (outcome.status != tool_status::ok)
      return fail(error_code::unavailable, words_of(outcome, tool.name));
    if (outcome.exit_status == 0)
      return place;
  }
  return std::string();
}

finding program_row(doctor_kit& kit, std::string kind, std::string name, const tool_spec& tool) {
  finding out{std::move(kind), std::move(name), health::ok, {}, {}};
  const auto& program = tool.command.front();
  if (program.find("{{") != std::string::npos) {
    out.state = health::warn;
    out.seen = "not tried: an argument names its program";
    return out;
  }
  const auto place = find_inside(kit, tool);
  if (!place) {
    out.state = health::fail;
    out.seen = place.error().message;
  } else if (place->empty()) {
    out.state = health::fail;
    out.seen = "there is no program \"" + program + "\" " + (tool.sandbox.enabled ? "inside of its sandbox" : "on this machine");
    out.todo = "install it, or correct command";
  } else {
    out.seen = shown(kit.config, *place) + (tool.sandbox.enabled ? ", in its sandbox" : ", without a sandbox");
    if (!tool.sandbox.enabled) {
      out.state = health::warn;
      out.todo = "it can read and write whatever this user can; take sandbox: off out where that is not needed";
    }
  }
  return out;
}

finding tool_row(doctor_kit& kit, const tool_spec& tool) {
  auto out = program_row(kit, "tool", tool.name, tool);
  const auto& program = tool.command.front();
  if (!out.todo.empty() && out.state == health::fail && tool.sandbox.enabled && program.front() == '/')
    out.todo = "install it, or show its folder to the tool: sandbox: { read: [" + fs::path(program).parent_path().string() + "] }";
  return out;
}

/// The programs that look at answers (`output.command`): they run as tools do, in the sandbox that a tool has by default.
findings contract_rows(doctor_kit& kit) {
  findings out;
  for (const auto& [name, agent] : kit.config.agents) {
    if (!agent.output || agent.output->command.empty())
      continue;
    tool_spec check;
    check.name = "contract of " + name;
    check.kind = tool_kind::process;
    check.command = agent.output->command;
    auto& row = out.emplace_back(program_row(kit, "contract", name, check));
    if (!row.todo.empty() && row.state == health::fail)
      row.todo = "install it, or correct output: { command }; it sees the system's programs and the configuration's folder";
  }
  return out;
}

// --- hosts ---------------------------------------------------------------------------------------------------------

/// Asks for the headers of "/", from an allowed address; what it answers does not matter.
tool_outcome knock(doctor_kit& kit, const std::string& name, const std::string& origin, tools::allow_list allowed) {
  llm::http_request request;
  request.method = "HEAD";
  request.url = origin + "/";
  request.timeout = probe_within;
  if (const auto may = tools::confine(request, std::move(allowed)); !may)
    return {tool_status::failed, {}, may.error().message, 0, false};
  request.on_redirect = nullptr;
  const auto promise = std::make_shared<std::promise<llm::http_result>>();
  auto result = promise->get_future();
  request.on_done = [promise](llm::http_result got) { promise->set_value(std::move(got)); };
  kit.http.submit(std::move(request));
  tools::web_answer_rules rules{.tool = name, .head = true};
  for (std::int64_t status = 100; status < 600; ++status)
    rules.success.push_back(status);
  return tools::outcome_of(rules, result.get(), probe_within, utc_now_us());
}

finding host_row(const std::string& tool, const std::string& name, const std::string& origin, const tool_outcome& outcome) {
  finding out{"tool", name, health::ok, {}, {}};
  if (outcome.status == tool_status::ok) {
    out.seen = origin + " answers (status " + std::to_string(outcome.exit_status) + ")";
    return out;
  }
  out.state = health::fail;
  out.seen = origin + ": " + words_of(outcome, tool);
  out.todo = outcome.error.find("not allowed") != std::string::npos
                 ? "it is an address of an own network; say allow_private: true where that is meant"
                 : "see whether the host's name is right and can be reached from here";
  return out;
}

finding http_row(doctor_kit& kit, const tool_spec& tool) {
  const auto request = policy::request_template::compile(tools::request_source_of(tool));
  const auto hosts =
      request ? tools::allowed_hosts_of(tool, *request) : expected<std::vector<tools::allowed_host>>(tl::unexpected(request.error()));
  if (!hosts)
    return {"tool", tool.name, health::fail, hosts.error().message, {}};
  if (const auto secrets = tools::secrets_of(tool, kit.environment); !secrets)
    return {"tool", tool.name, health::fail, secrets.error().message, {}};
  const auto outcome = knock(kit, tool.name, request->origin(), std::make_shared<const std::vector<tools::allowed_host>>(*hosts));
  return host_row(tool.name, tool.name, request->origin(), outcome);
}

void fetch_rows(doctor_kit& kit, const tool_spec& tool, findings& out) {
  const auto hosts = tools::parse_allowed_hosts(tool.allow_hosts, tool.allow_private);
  if (!hosts) {
    out.push_back({"tool", tool.name, health::fail, hosts.error().message, {}});
    return;
  }
  const auto allowed = std::make_shared<const std::vector<tools::allowed_host>>(*hosts);
  for (std::size_t i = 0; i < hosts->size(); ++i) {
    const auto& host = (*hosts)[i];
    const auto name = tool.name + " " + tool.allow_hosts[i];
    if (host.below) {
      out.push_back({"tool", name, health::ok, "not tried: any name below " + host.host, {}});
      continue;
    }
    const auto literal = host.host.find(':') != std::string::npos ? "[" + host.host + "]" : host.host;
    const auto at = literal + (host.port != 0 ? ":" + std::to_string(host.port) : "");
    auto origin = "https://" + at;
    auto outcome = knock(kit, tool.name, origin, allowed);
    if (outcome.status != tool_status::ok && host.port != 443) // it may speak plain HTTP only
      if (auto plain = knock(kit, tool.name, "http://" + at, allowed); plain.status == tool_status::ok) {
        origin = "http://" + at;
        outcome = std::move(plain);
      }
    out.push_back(host_row(tool.name, name, origin, outcome));
  }
}

// --- builtins ------------------------------------------------------------------------------------------------------

finding folder_row(const configuration& config, const tool_spec& tool) {
  finding out{"tool", tool.name, health::ok, shown(config, tool.root), {}};
  const bool writes = tool.builtin == "write_file";
  std::error_code ignored;
  auto there = fs::path(tool.root);
  while (writes && !fs::exists(there, ignored) && there.has_relative_path())
    there = there.parent_path(); // a run makes what is missing
  if (!fs::is_directory(there, ignored)) {
    out.state = health::fail;
    out.seen = "there is no folder \"" + shown(config, there.string()) + "\"";
    out.todo = "make it, or correct root";
  } else if (::access(there.c_str(), writes ? W_OK | X_OK : R_OK | X_OK) != 0) {
    out.state = health::fail;
    out.seen = "the folder \"" + shown(config, there.string()) + "\" cannot be " + (writes ? "written" : "read") + " by this user";
    out.todo = writes ? "allow it, or choose another root" : "allow it";
  }
  return out;
}

void builtin_rows(doctor_kit& kit, const tool_spec& tool, findings& out) {
  if (tool.builtin == "http_fetch")
    fetch_rows(kit, tool, out);
  else if (!tool.root.empty())
    out.push_back(folder_row(kit.config, tool));
  else
    out.push_back({"tool", tool.name, health::ok, "built in", {}});
}

} // namespace

findings check_tools(doctor_kit& kit) {
  findings out;
  for (const auto& [name, tool] : kit.config.tools) {
    switch (tool.kind) {
    case tool_kind::process:
      out.push_back(tool_row(kit, tool));
      break;
    case tool_kind::http:
      out.push_back(http_row(kit, tool));
      break;
    case tool_kind::builtin:
      builtin_rows(kit, tool, out);
      break;
    case tool_kind::mcp: // all of them at once, below
      break;
    }
  }
  auto servers = check_mcp(kit);
  out.insert(out.end(), std::make_move_iterator(servers.begin()), std::make_move_iterator(servers.end()));
  for (auto& each : out)
    if (each.state == health::fail && kit.used.tools.count(each.name.substr(0, each.name.find(' '))) == 0) {
      each.state = health::warn;
      each.seen += " (no agent uses it)";
    }
  auto contracts = contract_rows(kit);
  out.insert(out.end(), std::make_move_iterator(contracts.begin()), std::make_move_iterator(contracts.end()));
  return out;
}

findings check_sandbox(doctor_kit& kit) {
  const auto& agents = kit.config.agents;
  bool sandboxed = std::any_of(agents.begin(), agents.end(),
                               [](const auto& each) { return each.second.output && !each.second.output->command.empty(); });
  bool programs = sandboxed;
  for (const auto& [name, tool] : kit.config.tools) {
    const bool is_program = tool.kind == tool_kind::process || (tool.kind == tool_kind::mcp && !tool.command.empty());
    programs = programs || is_program;
    sandboxed = sandboxed || (is_program && tool.sandbox.enabled);
  }
  if (!programs)
    return {};
  findings out;
  if (sandboxed) {
    tool_spec probe;
    probe.name = "sandbox";
    probe.kind = tool_kind::process;
    probe.command = {"sh", "-c", "exit 0"};
    const auto began = monotonic_now();
    const auto outcome = run_now(kit, probe);
    const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(monotonic_now() - began).count();
    if (outcome.status == tool_status::ok)
      out.push_back({"sandbox", "bubblewrap", health::ok, "starts a program in " + std::to_string(took) + " ms", {}});
    else
      out.push_back({"sandbox", "bubblewrap", health::fail, outcome.error,
                     "install bubblewrap and allow user namespaces, or say sandbox: off for tools that you trust"});
  }
  if (const auto group = tools::cgroup::create(8, std::int64_t{64} << 20))
    out.push_back({"sandbox", "control groups", health::ok, "the kernel holds tools to their limits of processes", {}});
  else
    out.push_back({"sandbox", "control groups", health::ok, "none can be made here: troupe counts the processes of tools itself", {}});
  return out;
}

} // namespace troupe::cli
