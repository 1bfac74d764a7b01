#pragma once
// Names of the things that have limits (SEMANTICS 3), and what the end of each limit ends.
//
//   agent NAME, task PATH ⊂ run ⊂ tenant NAME ⊂ process

#include <string>
#include <string_view>

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

} // namespace troupe::policy
