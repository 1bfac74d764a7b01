#include "troupe/policy/budget_scope.hpp"

#include <algorithm>

#include "troupe/model/config.hpp"
#include "troupe/policy/replay.hpp"

namespace troupe::policy {

namespace {

const workflow_spec* workflow_named(const configuration& config, const std::string& name) {
  const auto found = config.workflows.find(name);
  return found == config.workflows.end() ? nullptr : &found->second;
}

} // namespace

limits limits_of_task(const configuration& config, const std::string& workflow, std::string_view path) {
  const auto* within = workflow_named(config, workflow);
  while (within) {
    const auto slash = path.find('/');
    const auto name = path.substr(0, slash);
    const auto id = name.substr(0, name.find_first_of("[(>"));
    const auto task = std::find_if(within->tasks.begin(), within->tasks.end(), [&](const task_spec& each) { return each.id == id; });
    if (task == within->tasks.end())
      return {};
    const auto* below = workflow_named(config, task->workflow);
    if (slash != std::string_view::npos) {
      within = below;
      path.remove_prefix(slash + 1);
      continue;
    }
    const bool for_each = !task->for_each.empty();
    if (name.size() == id.size())
      return below && !for_each ? completed(task->budget, below->budget) : task->budget;
    return below && for_each && element_index(name) && parent_path(name) == id ? below->budget : limits{};
  }
  return {};
}

bool any_task_has_limits(const configuration& config, const std::string& workflow) {
  const auto* top = workflow_named(config, workflow);
  return top && std::any_of(top->tasks.begin(), top->tasks.end(), [](const task_spec& task) {
           return task.budget != limits{} || !task.workflow.empty(); // of which each may have some
         });
}

} // namespace troupe::policy
