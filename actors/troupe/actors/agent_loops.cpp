#include "troupe/actors/agent_loops.hpp"

#include <algorithm>
#include <utility>

#include "troupe/actors/context.hpp"
#include "troupe/policy/approval.hpp"

namespace troupe::actors {

namespace {

bool has(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

bool is_called(const conversation& messages, const std::string& tool) {
  return std::any_of(messages.begin(), messages.end(), [&](const message_ptr& message) {
    return std::any_of(message->tool_calls.begin(), message->tool_calls.end(), [&](const tool_call& call) { return call.name == tool; });
  });
}

} // namespace

void agent_loops::stand(loop_rung rung, const std::string& tool) {
  told = told || rung >= loop_rung::told;
  if (rung != loop_rung::tool_taken)
    return;
  force_other = true;
  if (!has(taken, tool))
    taken.push_back(tool);
}

void agent_loops::begin_anew(const loop_spec& spec, std::string told_to_it) {
  *this = {};
  restored = std::make_shared<const policy::loop_watch>(policy::rules_of(spec));
  excuse = std::move(told_to_it);
}

std::optional<double> agent_loops::temperature(std::optional<double> configured) const {
  return configured && told ? *configured / 2 : configured;
}

std::vector<std::string> agent_loops::left(const std::vector<std::string>& tools) const {
  std::vector<std::string> out;
  for (const auto& tool : tools)
    if (!has(taken, tool))
      out.push_back(tool);
  return out;
}

tool_declarations agent_loops::declared(const tool_declarations& all, const conversation& messages) const {
  if (taken.empty())
    return all;
  auto kept = std::make_shared<std::vector<tool_declaration>>();
  for (const auto& tool : *all)
    if (!has(taken, tool.name) || is_called(messages, tool.name))
      kept->push_back(tool);
  return kept;
}

std::string agent_loops::choice(const std::vector<std::string>& tools, const tool_declarations& declared) {
  if (!std::exchange(force_other, false) || declared->empty())
    return {};
  const auto others = left(tools);
  return others.empty() ? "none" : others.size() == 1 ? others.front() : "required";
}

approval_ask loop_request(const task_assignment& of, std::int64_t step, const policy::loop_found& found, const tool_call& call,
                          const std::string& text) {
  return {.run = of.run,
          .task = of.task,
          .agent = of.agent,
          .kind = approval_kind::loop,
          .subject = of.agent,
          .moment = step_of(of, step),
          .action = policy::loop_action(found, call),
          .details = {{"why", text}},
          .risk_level = risk::medium,
          .needed = policy::approvals_needed(of.run->config->checkpoint, risk::medium)};
}

} // namespace troupe::actors
