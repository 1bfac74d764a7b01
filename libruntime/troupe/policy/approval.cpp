#include "troupe/policy/approval.hpp"

#include <algorithm>

#include "troupe/model/described.hpp"
#include "troupe/policy/tool_call.hpp"
#include "troupe/util/suggest.hpp"

namespace troupe::policy {

std::int64_t approvals_needed(const checkpoint_spec& checkpoint, risk how_bad) {
  const auto found = checkpoint.approvals.find(name_of(how_bad));
  return found == checkpoint.approvals.end() ? 1 : std::max<std::int64_t>(0, found->second);
}

call_approval approval_of_call(const checkpoint_spec& checkpoint, const std::map<std::string, tool_spec>& tools, const std::string& tool) {
  call_approval all;
  all.alternatives = chain_of(tools, tool);
  for (const auto* each : all.alternatives) {
    all.needed = std::max(all.needed, approvals_needed(checkpoint, each->risk));
    all.how_bad = std::max(all.how_bad, each->risk);
  }
  if (!all.alternatives.empty())
    all.alternatives.erase(all.alternatives.begin()); // the tool itself
  return all;
}

bool may_ask_humans(const configuration& config) {
  const auto any = [](const auto& all, const auto& asks) {
    return std::any_of(all.begin(), all.end(), [&](const auto& each) { return asks(each.second); });
  };
  return any(config.tools, [&](const tool_spec& tool) { return approvals_needed(config.checkpoint, tool.risk) > 0; })
         || any(config.agents, [](const agent_spec& agent) { return agent.loop.human || (agent.output && agent.output->human); })
         || any(config.workflows, [](const workflow_spec& workflow) {
              return std::any_of(workflow.tasks.begin(), workflow.tasks.end(), [](const task_spec& task) {
                return task.approval || (task.resolve && (task.resolve->by == "human" || task.resolve->tie == "human"));
              });
            });
}

std::string doubt_question(const std::string& tool) {
  return "an earlier attempt of " + in_quotes(tool)
         + " was interrupted after it began: it may have taken effect, nobody knows. Find out: approve to make the call again, "
           "reject (and say in the comment what you found) to tell the agent instead.";
}

std::string not_again_text(const std::string& reviewer, const std::string& comment) {
  const auto why =
      (reviewer.empty() ? "A human was asked" : reviewer + " does not let it be made again") + (comment.empty() ? "" : ": " + comment);
  return why.back() == '.' ? why : why + ".";
}

std::string rejected_text(const std::string& tool, const std::string& reviewer, const std::string& comment) {
  const auto why = reviewer.empty() ? comment : reviewer + " rejected it" + (comment.empty() ? "" : ": " + comment);
  return "Rejected: the call of " + in_quotes(tool) + " was not run. " + why + (why.empty() || why.back() == '.' ? "" : ".")
         + " Do not try the same again: find another way, or say what you could not do.";
}

} // namespace troupe::policy
