#include "troupe/policy/loop_texts.hpp"

#include <algorithm>
#include <unordered_map>

#include "troupe/model/described.hpp"
#include "troupe/util/suggest.hpp"
#include "troupe/util/utf8.hpp"

namespace troupe::policy {

namespace {

constexpr std::size_t arguments_bytes_max = 160;
constexpr std::size_t outcome_bytes_max = 240;
constexpr std::size_t action_bytes_max = 2'000;
constexpr std::size_t first_lines = 5;
constexpr std::size_t last_lines = 25;

std::string on_one_line(std::string_view text, std::size_t bytes_max) {
  auto out = shortened(text, bytes_max);
  std::replace(out.begin(), out.end(), '\n', ' ');
  return out;
}

std::string call_text(const tool_call& call) {
  const auto arguments = normalised_text(call.arguments) == "{}" ? std::string() : on_one_line(call.arguments, arguments_bytes_max);
  return on_one_line(call.name, 64) + "(" + arguments + ")";
}

std::string times(std::int64_t count) {
  return std::to_string(count) + " times";
}

/// "called grep({…}) 3 times with the same result"
std::string what_happened(const loop_found& found, const tool_call& call) {
  switch (found.kind) {
  case loop_kind::repeat:
    return "called " + call_text(call) + " " + times(found.count)
           + (found.same_result ? " with the same result" : " with the same arguments");
  case loop_kind::no_progress:
    return "called " + on_one_line(call.name, 64) + " " + times(found.count) + " with different arguments and the same result";
  case loop_kind::cycle:
    return "gone round the same calls " + times(found.count) + ", always with the same results, up to " + call_text(call);
  case loop_kind::monologue:
    break;
  }
  return "given the same answer " + times(found.count);
}

std::string list_of(const std::vector<std::string>& names) {
  std::string out;
  for (const auto& name : names)
    out += (out.empty() ? "" : ", ") + in_quotes(name);
  return out;
}

std::string what_is_left(const std::vector<std::string>& others) {
  return others.empty() ? " You have no other tools: say what you know." : " Tools that you have: " + list_of(others) + ".";
}

} // namespace

std::string loop_text(const loop_found& found, loop_rung rung, const tool_call& call) {
  std::string text = "You are looping: you have " + what_happened(found, call) + ". Do something different.";
  if (rung == loop_rung::told && found.kind != loop_kind::monologue)
    text += " " + call_text(call) + " is refused from now on.";
  if (rung == loop_rung::tool_taken)
    text += " The tool " + in_quotes(call.name) + " is taken away from you for the rest of this task.";
  return text;
}

std::string loop_failure_text(const loop_found& found, const tool_call& call) {
  return "it was looping: it had " + what_happened(found, call) + ", after it had been told, had lost a tool, and had been restarted";
}

std::string loop_excuse_text(const loop_found& found, const tool_call& call, const std::string& reviewer, const std::string& comment) {
  return "You are looping: you have " + what_happened(found, call) + ". " + (reviewer.empty() ? "Somebody" : reviewer)
         + " has seen that and lets you go on" + (comment.empty() ? "" : ": " + comment) + (comment.ends_with('.') ? "" : ".")
         + " No tool and no call is refused to you any more. Do something different.";
}

json loop_action(const loop_found& found, const tool_call& call) {
  return {{"loop", name_of(found.kind)},
          {"tool", on_one_line(call.name, 64)},
          {"arguments", on_one_line(call.arguments, action_bytes_max)},
          {"count", found.count}};
}

std::string loop_refusal_text(call_ruling ruling, const tool_call& call, const std::vector<std::string>& others) {
  if (ruling == call_ruling::refused_tool)
    return "The tool " + in_quotes(call.name)
           + " was taken away from you for the rest of this task, because you were looping. Nothing was run." + what_is_left(others);
  return "You were looping with " + call_text(call)
         + ", so it is refused for the rest of this task. Nothing was run. Do something different.";
}

std::string loop_digest(const conversation& messages, const loop_found& found, const tool_call& call,
                        const std::vector<std::string>& taken) {
  struct done {
    std::string what;
    std::string outcome;
    std::int64_t count = 0;
  };
  std::vector<done> all;
  std::unordered_map<std::uint64_t, std::size_t> known;   // by sign: a call that comes again is one line
  std::unordered_map<std::string_view, std::size_t> open; // by id
  for (const auto& message : messages) {
    if (message->from == role::assistant) {
      if (message->tool_calls.empty())
        all.push_back({"you said", on_one_line(message->text, outcome_bytes_max), 1});
      for (const auto& asked : message->tool_calls) {
        const auto [at, is_new] = known.try_emplace(call_sign(asked.name, asked.arguments), all.size());
        if (is_new)
          all.push_back({call_text(asked), "did not run", 0});
        ++all[at->second].count;
        open[asked.id] = at->second;
      }
    } else if (message->from == role::tool) {
      if (const auto at = open.find(message->tool_call_id); at != open.end() && !(message->is_error && all[at->second].count > 1))
        all[at->second].outcome = (message->is_error ? "failed: " : "") + on_one_line(message->text, outcome_bytes_max);
    }
  }
  std::string text = "You have worked on this before, and were started anew because you were looping: you had " + what_happened(found, call)
                     + ". This is what you did, each call once:";
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (all.size() > first_lines + last_lines && i == first_lines) {
      i = all.size() - last_lines;
      text += "\n- … " + std::to_string(i - first_lines) + " more …";
    }
    text += "\n- " + all[i].what + (all[i].count > 1 ? ", " + times(all[i].count) : "") + ": " + all[i].outcome;
  }
  text += "\nGo on from what this has brought, in another way. " + call_text(call) + " is refused for the rest of this task.";
  if (!taken.empty())
    text += " Taken away from you: " + list_of(taken) + ".";
  return text;
}

} // namespace troupe::policy
