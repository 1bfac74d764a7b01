#pragma once
// `troupe doctor`: what each check found, and what it is made with. The checks are doctor_*.cpp.

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "troupe/llm/http_client.hpp"
#include "troupe/model/config.hpp"
#include "troupe/model/money.hpp"
#include "troupe/tools/environment.hpp"
#include "troupe/tools/io_loop.hpp"
#include "troupe/tools/worker_pool.hpp"

namespace troupe::cli {

enum class health { ok, warn, fail };
BOOST_DESCRIBE_ENUM(health, ok, warn, fail)

/// One row of the table.
struct finding {
  std::string kind; ///< environment, journal, sandbox, tool, contract, model
  std::string name;
  health state = health::ok;
  std::string seen; ///< what is, in words
  std::string todo; ///< what to do; empty: nothing
};
BOOST_DESCRIBE_STRUCT(finding, (), (kind, name, state, seen, todo))
using findings = std::vector<finding>;

/// What some agent can reach. Something else that does not work is a warning: no run needs it.
struct reachable {
  explicit reachable(const configuration& config);
  std::set<std::string> tools, models, providers;
};

/// What tools and providers are tried with, as a run would have it.
struct doctor_kit {
  explicit doctor_kit(const configuration& from);

  const configuration& config;
  const reachable used;
  llm::http_client http;
  tools::io_loop loop;
  tools::worker_pool workers{2};
  tools::environment environment;
};

/// Variables that the configuration names and nobody has set. Before anything reads a secret: reading one empties its variable.
findings check_environment(const configuration& config);
/// The journal opens, and the disk below it takes and syncs what is written. Nothing is left there.
findings check_journal(const configuration& config);
/// bubblewrap and control groups, where a tool or a contract needs them.
findings check_sandbox(doctor_kit& kit);
/// Each tool: its program in its sandbox, its folder, its hosts, its MCP server; and the program of each contract.
findings check_tools(doctor_kit& kit);
/// Each MCP server tells its tools. No process is left.
findings check_mcp(doctor_kit& kit);

/// One request that would be made: one model of one provider, with all that it can cost.
struct model_trial {
  std::string provider, model;
  token_price price;
  bool free = false; ///< nothing to ask for
  usd at_most;
};
/// Every model of every chain, each once.
std::vector<model_trial> plan_models(doctor_kit& kit, findings& unusable);
/// Asks each for one token. `spent` is what the answers cost.
findings try_models(doctor_kit& kit, const std::vector<model_trial>& trials, usd& spent);

/// As the user would write it: relative to the configuration's folder.
std::string shown(const configuration& config, const std::string& path);

/// The table, for `columns` of a terminal.
std::string render_findings(const findings& all, std::size_t columns, bool colour);

} // namespace troupe::cli
