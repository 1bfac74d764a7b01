#pragma once
// The result document of a run (INTERFACES 2): what `run --json`, `show --json` and the API answer.

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <boost/describe.hpp>
#include <nlohmann/json.hpp>

#include "troupe/model/event.hpp"

namespace troupe {

/// One member's answer to a task that several agents did.
struct answer_result {
  std::string member; ///< "sceptic", "sceptic#2"
  std::string agent;
  task_status status = task_status::success;
  json output;
  usd cost;
  std::string error;
};
/// How they became one.
struct resolution_result {
  std::string by; ///< agreement vote arbiter first human; empty: not yet
  std::string chosen;
  std::string why;
  std::vector<answer_group> groups;
};
struct state_result {
  std::string key;
  std::int64_t version = 0;
  json value;
  std::string agent;
};

struct item_result {
  std::int64_t index = 0;
  task_status status = task_status::success;
  json output;
  usd cost;
  std::string error;
  std::vector<answer_result> answers; ///< of a task with `agents`
  std::optional<resolution_result> resolution;
};

struct task_result_row {
  std::string task_id;
  std::string agent;
  task_status status = task_status::success;
  std::int64_t attempts = 1;
  usd cost;
  json output;
  std::string error;
  std::optional<std::vector<item_result>> items;
  std::vector<answer_result> answers; ///< of a task with `agents`
  std::optional<resolution_result> resolution;
};

struct failure_row {
  std::string task_id;
  std::string agent;
  std::string reason;
};

/// A fold over a run's events; `metrics/run_summary` makes it.
struct run_summary {
  std::string run_id, workflow, tenant;
  run_status status = run_status::running;
  std::string reason;
  std::int64_t completed_tasks = 0, total_tasks = 0;
  usd total_cost;
  std::int64_t started_us = 0, finished_us = 0, last_us = 0; ///< UTC microseconds; finished 0: not yet
  std::int64_t owned_us = 0;                                 ///< the run's time that its owners have used: `duration_seconds`
  std::int64_t llm_calls = 0, tool_calls = 0, human_approvals = 0, in_doubt = 0, restarts = 0, fail_overs = 0, delegations = 0,
               handoffs = 0;
  std::int64_t steps = 0;
  token_usage tokens;
  std::vector<std::string> agents_used;
  std::vector<failure_row> failures;
  std::vector<task_result_row> results;
  json result;
  limits budget;
  std::vector<state_result> state; ///< shared by the run's agents, by key
  /// Calls of tools whose effect must not be repeated that have begun and have no result.
  std::int64_t effects_under_way = 0;
  bool left = false; ///< it has not ended, and nobody works on it: interrupted

  /// What became of the calls that were under way is not known.
  void is_left() {
    left = true;
    in_doubt += std::exchange(effects_under_way, 0);
  }
};

/// The document itself; field names are exact.
json result_document(const run_summary& summary);

} // namespace troupe
