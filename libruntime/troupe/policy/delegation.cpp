#include "troupe/policy/delegation.hpp"

#include <algorithm>
#include <set>

#include "troupe/model/described.hpp"
#include "troupe/policy/loop_sign.hpp"
#include "troupe/policy/tool_arguments.hpp"
#include "troupe/schema/schema.hpp"
#include "troupe/util/suggest.hpp"
#include "troupe/util/utf8.hpp"

namespace troupe::policy {

namespace {

constexpr std::string_view delegate_prefix = "agent_";
constexpr std::string_view handoff_prefix = "handoff_to_";

bool has_name(const std::vector<std::string>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

json parameters_of(const char* first, const char* of_first, const char* of_context) {
  return {{"type", "object"},
          {"properties",
           {{first, {{"type", "string"}, {"minLength", 1}, {"description", of_first}}},
            {"context", {{"type", "string"}, {"description", of_context}}}}},
          {"required", json::array({first})},
          {"additionalProperties", false}};
}

const json& delegate_parameters() {
  static const json made = parameters_of("task", "What the agent shall do, complete in itself: it sees nothing of this conversation.",
                                         "What it needs to know for it: facts, texts, results so far.");
  return made;
}

const json& handoff_parameters() {
  static const json made = parameters_of("reason", "Why the task goes to this agent, and what it shall do next.",
                                         "What it needs to know beyond this conversation.");
  return made;
}

const schema::compiled_schema& compiled(bool handoff) {
  static const auto of_delegate = *schema::compiled_schema::compile(delegate_parameters());
  static const auto of_handoff = *schema::compiled_schema::compile(handoff_parameters());
  return handoff ? of_handoff : of_delegate;
}

bool is_silent(const json& output) {
  return output.is_null() || (output.is_string() && output.get_ref<const std::string&>().find_first_not_of(" \t\r\n") == std::string::npos);
}

} // namespace

std::string delegate_tool(std::string_view agent) {
  return std::string(delegate_prefix) + std::string(agent);
}

std::string handoff_tool(std::string_view agent) {
  return std::string(handoff_prefix) + std::string(agent);
}

// --- rights --------------------------------------------------------------------------------------------------------

agent_rights rights_of(const agent_spec& agent, const std::optional<std::vector<std::string>>& granted) {
  agent_rights has{agent.tools, agent.delegates, agent.handoffs};
  if (granted) {
    std::erase_if(has.tools, [&](const auto& tool) { return !has_name(*granted, tool); });
    std::erase_if(has.delegates, [&](const auto& each) { return !has_name(*granted, std::string(agent_tool_prefix) + each); });
  }
  return has;
}

agent_rights rights_of_reviewer(const agent_spec& agent) {
  return {agent.tools, {}, {}};
}

std::vector<std::string> granted_by(const agent_spec& caller, const agent_rights& has, const agent_spec& asked) {
  std::vector<std::string> granted;
  for (const auto& tool : asked.tools)
    if (caller.delegate.own_rights || has_name(has.tools, tool))
      granted.push_back(tool);
  for (const auto& each : asked.delegates)
    if (caller.delegate.own_rights || has_name(has.delegates, each))
      granted.push_back(std::string(agent_tool_prefix) + each);
  return granted;
}

namespace {

/// A tool, and what takes its place when it fails.
bool has_effect(const std::map<std::string, tool_spec>& tools, const std::string& name) {
  std::size_t steps = 0;
  for (const auto* next = &name; !next->empty() && steps <= tools.size(); ++steps) { // alternatives may go round
    const auto tool = tools.find(*next);
    if (tool == tools.end() || tool->second.effect != effect::none)
      return true;
    next = &tool->second.alternative;
  }
  return false;
}

/// All that an agent has, as rights are granted.
std::vector<std::string> all_of(const agent_spec& agent) {
  auto all = agent.tools;
  for (const auto& each : agent.delegates)
    all.push_back(std::string(agent_tool_prefix) + each);
  return all;
}

} // namespace

bool can_change(const std::map<std::string, agent_spec>& agents, const std::map<std::string, tool_spec>& tools, const agent_spec& caller,
                const agent_rights& has, const std::string& asked) {
  std::map<std::string, std::set<std::string>> granted; // by agent, over all ways to it: each look at it has more, so this ends
  std::vector<std::map<std::string, agent_spec>::const_iterator> open;
  const auto reach = [&](const std::string& name, const auto& rights_for) {
    const auto found = agents.find(name);
    if (found == agents.end())
      return; // it cannot be asked
    const auto [at, is_new] = granted.try_emplace(name);
    const auto before = at->second.size();
    for (auto& each : rights_for(found->second))
      at->second.insert(each);
    if (is_new || at->second.size() > before)
      open.push_back(found);
  };
  reach(asked, [&](const agent_spec& to) { return granted_by(caller, has, to); });
  while (!open.empty()) {
    const auto& agent = open.back()->second;
    const auto& rights = granted.at(open.back()->first);
    open.pop_back();
    const std::vector<std::string> may(rights.begin(), rights.end());
    const auto own = rights_of(agent, may);
    for (const auto& tool : own.tools)
      if (has_effect(tools, tool))
        return true;
    for (const auto& each : own.delegates)
      reach(each, [&](const agent_spec& to) { return granted_by(agent, own, to); });
    for (const auto& each : agent.handoffs) // the rights of a part stay with it
      reach(each, [&](const agent_spec&) { return std::vector(may); });
    if (agent.output && !agent.output->reviewer.empty())
      reach(agent.output->reviewer, all_of);
  }
  return false;
}

// --- paths ---------------------------------------------------------------------------------------------------------

std::string delegated_path(std::string_view task, std::string_view to, std::int64_t attempt, std::int64_t step, std::size_t call) {
  std::string path = std::string(task) + ">" + std::string(to) + "#";
  if (attempt > 1)
    path += "a" + std::to_string(attempt) + ".";
  path += std::to_string(step);
  if (call > 0)
    path += "." + std::to_string(call + 1);
  return path;
}

std::int64_t depth_of(std::string_view path) {
  return std::count(path.begin(), path.end(), '>');
}

// --- calls ---------------------------------------------------------------------------------------------------------

std::vector<tool_declaration> colleague_declarations(const std::map<std::string, agent_spec>& agents, const agent_rights& has) {
  std::vector<tool_declaration> out;
  const auto words = [&](const std::string& name) {
    const auto found = agents.find(name);
    return found == agents.end() || found->second.description.empty() ? std::string() : " " + found->second.description;
  };
  for (const auto& each : has.delegates)
    out.push_back({delegate_tool(each), "Asks the agent " + in_quotes(each) + " to do a task, and waits for its answer." + words(each),
                   delegate_parameters()});
  for (const auto& each : has.handoffs)
    out.push_back({handoff_tool(each),
                   "Gives this whole task to the agent " + in_quotes(each) + ", which goes on with it in your place." + words(each),
                   handoff_parameters()});
  return out;
}

std::string colleague_call::instruction() const {
  return context.empty() ? task : task + "\n\nContext:\n" + context;
}

std::optional<expected<colleague_call>> read_colleague_call(const agent_rights& has, const std::string& name,
                                                            const std::string& arguments) {
  colleague_call call;
  const auto is = [&](const std::vector<std::string>& names, std::string (*tool)(std::string_view)) {
    const auto found = std::find_if(names.begin(), names.end(), [&](const auto& each) { return tool(each) == name; });
    if (found != names.end())
      call.agent = *found;
    return found != names.end();
  };
  if (!is(has.delegates, delegate_tool)) {
    if (!is(has.handoffs, handoff_tool))
      return std::nullopt;
    call.handoff = true;
  }
  auto given = check_arguments(compiled(call.handoff), name, arguments);
  if (!given)
    return tl::unexpected(given.error());
  call.task = given->at(call.handoff ? "reason" : "task").get<std::string>();
  call.context = given->value("context", std::string());
  return call;
}

std::string too_deep_text(const std::string& agent, std::int64_t depth_max) {
  return "Agent " + in_quotes(agent) + " cannot be asked from here: agents ask each other at most " + std::to_string(depth_max)
         + " levels deep (delegate/depth). Nothing was started. Do the work yourself, or say what you could not do.";
}

// --- outcomes ------------------------------------------------------------------------------------------------------

delegated_outcome outcome_of(task_status status, const std::string& reason, const std::string& error, const json& output) {
  const bool silent = is_silent(output);
  std::string said_status = name_of(status);
  std::string why = error;
  if (status == task_status::success && silent) {
    said_status = name_of(task_status::error);
    why = "it said nothing";
  } else if (status != task_status::success && !silent) {
    said_status = "partial";
    why = std::string(name_of(status)) + (reason.empty() || reason == name_of(status) ? "" : " (" + reason + ")")
          + (error.empty() ? "" : ": " + error);
  } else if (status != task_status::success && why.empty()) {
    why = reason.empty() ? said_status : reason;
  }
  nlohmann::ordered_json told{{"status", said_status}};
  if (!silent) {
    told["output"] = output;
    if (const auto text = output.is_string() ? output.get<std::string>() : output.dump(-1, ' ', false, json::error_handler_t::replace);
        text.size() > delegated_output_bytes_max) {
      told["output"] = std::string(utf8_prefix(text, delegated_output_bytes_max));
      told["cut"] = "the output has " + std::to_string(text.size()) + " bytes; this is its beginning";
    }
  }
  if (said_status != name_of(task_status::success))
    told["error"] = why;
  delegated_outcome made{told.dump(-1, ' ', false, json::error_handler_t::replace), tool_status::ok};
  if (said_status != name_of(task_status::success))
    made.status = status == task_status::timeout     ? tool_status::timed_out
                  : status == task_status::cancelled ? tool_status::cancelled
                                                     : tool_status::failed;
  return made;
}

// --- hand-offs -----------------------------------------------------------------------------------------------------

std::string handoff_text(const std::string& from, const colleague_call& call, const conversation& turn) {
  constexpr std::size_t one_max = 4'000, all_max = 16'000;
  std::string head = "Agent " + in_quotes(from) + " worked on this task before you and hands it to you: " + shortened(call.task, one_max);
  if (!call.context.empty())
    head += "\n\nContext:\n" + shortened(call.context, one_max);
  std::vector<std::string> lines; // the latest first
  std::size_t bytes = 0;
  bool cut = false;
  for (auto at = turn.rbegin(); at != turn.rend() && !cut; ++at) {
    const auto& message = **at;
    std::string line;
    if (message.from == role::tool)
      line = (message.is_error ? "- it failed: " : "- it brought: ") + shortened(message.text, one_max);
    else if (message.from == role::user)
      line = "- " + in_quotes(from) + " was told: " + shortened(message.text, one_max);
    else if (message.from == role::assistant) {
      if (!message.text.empty())
        line = "- " + in_quotes(from) + " said: " + shortened(message.text, one_max);
      for (const auto& each : message.tool_calls)
        if (!each.name.starts_with(handoff_prefix))
          line += (line.empty() ? "" : "\n") + std::string("- ") + in_quotes(from) + " called " + shortened(each.name, 64) + "("
                  + shortened(each.arguments, 400) + ")";
    }
    if (line.empty())
      continue;
    bytes += line.size();
    cut = bytes > all_max;
    if (!cut)
      lines.push_back(std::move(line));
  }
  if (!lines.empty() || cut)
    head += "\n\nWhat was said and done so far:";
  if (cut)
    head += "\n- […]";
  for (auto at = lines.rbegin(); at != lines.rend(); ++at)
    head += "\n" + *at;
  return head;
}

turn_sign sign_of(const colleague_call& call, const conversation& turn) {
  std::string said = call.task + "\n" + call.context, brought;
  bool any = false;
  for (const auto& message : turn) {
    if (message->from == role::assistant)
      said += "\n" + message->text;
    if (message->from == role::tool && !message->is_error) {
      brought += std::to_string(outcome_sign(message->text)) + " ";
      any = true;
    }
  }
  return {sketch_of(said).whole, any ? outcome_sign(brought) : 0};
}

} // namespace troupe::policy
