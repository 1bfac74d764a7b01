// What a model is told when its tool call did not work: words to replan from.

#include <string_view>

#include "troupe/policy/tool_call.hpp"
#include "troupe/util/suggest.hpp"
#include "troupe/util/utf8.hpp"

namespace troupe::policy {

namespace {

constexpr std::size_t names_max = 40;
constexpr std::size_t error_bytes_max = 2'000;
constexpr std::size_t output_bytes_max = 4'000;

/// `"a", "b" and 3 more`; those for which `without` says yes are left out.
template <class Without>
std::string list_of(const std::vector<std::string>& names, Without without) {
  std::string out;
  std::size_t shown = 0, hidden = 0;
  for (const auto& name : names) {
    if (without(name))
      continue;
    if (shown == names_max) {
      ++hidden;
      continue;
    }
    out += (shown++ == 0 ? "" : ", ") + in_quotes(name);
  }
  return hidden == 0 ? out : out + " and " + std::to_string(hidden) + " more";
}

std::string available(const std::vector<std::string>& agent_tools) {
  const auto list = list_of(agent_tools, [](const auto&) { return false; });
  return list.empty() ? "You have no tools." : "Tools that you have: " + list + ".";
}

std::string times(std::int64_t count) {
  return count == 1 ? "once" : std::to_string(count) + " times";
}

} // namespace

std::string unknown_tool_text(const std::string& name, const std::string& suggestion, const std::vector<std::string>& agent_tools) {
  return "There is no tool named " + in_quotes(name) + (suggestion.empty() ? "." : "; did you mean " + in_quotes(suggestion) + "?")
         + " Nothing was run. " + available(agent_tools);
}

std::string tool_not_allowed_text(const std::string& name, const std::vector<std::string>& agent_tools) {
  return "You may not use the tool " + in_quotes(name) + ". Nothing was run. " + available(agent_tools);
}

std::string arguments_cut_off_text(const std::string& tool) {
  return "The arguments for " + in_quotes(tool)
         + " were cut off because the answer reached its length limit. Nothing was run. "
           "Call it again with shorter arguments, or split the work into several calls.";
}

std::string arguments_invalid_text(const std::string& tool, const std::vector<std::string>& violations) {
  std::string list;
  for (const auto& violation : violations) {
    if (list.size() > error_bytes_max)
      break;
    list += "\n- " + violation;
  }
  return "The arguments for " + in_quotes(tool) + " do not fit its parameters. Nothing was run. What is wrong:"
         + shortened(list, error_bytes_max) + "\nCorrect this and call it again.";
}

std::string max_calls_text(const tool_spec& tool) {
  return "The tool " + in_quotes(tool.name) + " may be called " + times(tool.max_calls)
         + " in a task, and that is used up. Nothing was run. Go on with what you know, or with another tool.";
}

std::string tool_failure_text(const std::string& tool, tool_status status, const std::vector<tried_tool>& tried, const std::string& output,
                              const std::vector<std::string>& agent_tools) {
  if (status == tool_status::cancelled)
    return "The call of " + in_quotes(tool) + " was cancelled.";
  std::string text = "The tool " + in_quotes(tool) + " gave no result. What was tried:";
  for (const auto& one : tried) {
    text += "\n- " + in_quotes(one.tool) + (one.tool == tool ? "" : " in its place") + ", "
            + (one.attempts == 0 ? std::string("not run") : "run " + times(one.attempts)) + ": "
            + shortened(one.error.empty() ? "cancelled" : std::string_view(one.error), error_bytes_max);
  }
  if (!output.empty())
    text += "\nThe last one wrote:\n" + shortened(output, output_bytes_max);
  const auto others = list_of(agent_tools, [&](const auto& name) {
    for (const auto& one : tried)
      if (one.tool == name)
        return true;
    return false;
  });
  text += others.empty() ? "\nYou have no other tools. Change the arguments, or go on without it."
                         : "\nOther tools that you have: " + others + ". Change the arguments, use another tool, or go on without it.";
  return text;
}

std::string outcome_unknown_text(const std::string& tool, const std::string& words) {
  return "The call of " + in_quotes(tool)
         + " was interrupted after it began: it may or may not have taken effect, nobody knows, and it was not "
           "repeated because a repeat could do it twice. "
         + (words.empty() ? "" : words + " ") + "Find out whether it took effect before you call it again.";
}

} // namespace troupe::policy
