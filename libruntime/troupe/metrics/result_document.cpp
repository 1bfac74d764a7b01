// INTERFACES 2: the result document of a run. The names are exact.

#include "troupe/metrics/answer_rows.hpp"
#include "troupe/model/described.hpp"
#include "troupe/model/run.hpp"

namespace troupe {

namespace {

json text_or_null(const std::string& text) {
  return text.empty() ? json() : json(text);
}

json row_document(const task_result_row& row) {
  json out{{"task_id", row.task_id},          {"agent", text_or_null(row.agent)}, {"status", name_of(row.status)},
           {"attempts", row.attempts},        {"cost_usd", row.cost.dollars()},   {"output", row.output},
           {"error", text_or_null(row.error)}};
  metrics::add_answers(out, row.answers, row.resolution);
  if (!row.items)
    return out;
  auto& items = out["items"] = json::array();
  for (const auto& item : *row.items) {
    json each{{"index", item.index}, {"status", name_of(item.status)}, {"output", item.output}, {"cost_usd", item.cost.dollars()}};
    if (!item.error.empty())
      each["error"] = item.error;
    metrics::add_answers(each, item.answers, item.resolution);
    items.push_back(std::move(each));
  }
  return out;
}

} // namespace

json result_document(const run_summary& summary) {
  json failures = json::array();
  for (const auto& failure : summary.failures)
    failures.push_back({{"task_id", text_or_null(failure.task_id)}, {"agent", text_or_null(failure.agent)}, {"reason", failure.reason}});
  json results = json::array();
  for (const auto& row : summary.results)
    results.push_back(row_document(row));
  json out{{"run_id", summary.run_id},
           {"workflow", summary.workflow},
           {"tenant", summary.tenant},
           {"workflow_status", summary.left ? "interrupted" : name_of(summary.status)},
           {"reason", text_or_null(summary.reason)},
           {"completed_tasks", summary.completed_tasks},
           {"total_tasks", summary.total_tasks},
           {"total_cost_usd", summary.total_cost.dollars()},
           {"duration_seconds", static_cast<double>(summary.owned_us) / 1e6},
           {"llm_calls", summary.llm_calls},
           {"tool_calls", summary.tool_calls},
           {"tokens", {{"input", summary.tokens.input}, {"cached_input", summary.tokens.cached_input}, {"output", summary.tokens.output}}},
           {"human_approvals", summary.human_approvals},
           {"agents_used", summary.agents_used},
           {"failures", std::move(failures)},
           {"results", std::move(results)},
           {"result", summary.result}};
  for (const auto& entry : summary.state) // what the run's agents shared (SEMANTICS 6)
    out["state"][entry.key] = {{"value", entry.value}, {"version", entry.version}, {"by", entry.agent}};
  if (summary.in_doubt > 0)
    out["in_doubt"] = summary.in_doubt; // calls whose outcome nobody knows (SEMANTICS 4)
  if (summary.delegations > 0)
    out["delegations"] = summary.delegations;
  if (summary.handoffs > 0)
    out["handoffs"] = summary.handoffs;
  return out;
}

} // namespace troupe
