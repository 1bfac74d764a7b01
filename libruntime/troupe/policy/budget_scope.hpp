#pragma once
// Names of the things that have limits (SEMANTICS 3), and what the end of each limit ends.
//
//   agent NAME, task PATH ⊂ run ⊂ tenant NAME ⊂ process

#include <string>
#include <string_view>

#include "troupe/model/budget.hpp"

namespace troupe {
struct configuration;
}

namespace troupe::policy {

inline constexpr std::string_view run_scope = "run";
inline constexpr std::string_view process_scope = "process";

inline std::string task_scope(std::string_view path) {
  return "task " + std::string(path);
}
inline std::string agent_scope(std::string_view name) {
  return "agent " + std::string(name);
}
inline std::string tenant_scope(std::string_view name) {
  return "tenant " + std::string(name);
}

/// A limit of a task or of an agent ends the task that met it; one of the run, or of what is above, ends the run.
inline bool ends_the_run(std::string_view scope) {
  return !scope.starts_with("task ") && !scope.starts_with("agent ");
}

/// The limits that the configuration gives to what a task's path names, in a run of `workflow`; none of them where it gives none.
/// A task's limits hold for all that it comes to: its elements, its sub-workflow, whom its agent asks. A sub-workflow's own limits hold for
/// each of its executions, as far as the task that runs it says nothing of that kind; a task that runs it for each element has its limits
/// for all elements together, and the sub-workflow's are each element's. A task inside of an element is another one in each.
limits limits_of_task(const configuration& config, const std::string& workflow, std::string_view path);

/// Whether any path in a run of `workflow` has limits.
bool any_task_has_limits(const configuration& config, const std::string& workflow);

} // namespace troupe::policy
