#include "troupe/policy/history.hpp"

#include <algorithm>
#include <deque>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "troupe/util/suggest.hpp"
#include "troupe/util/utf8.hpp"

namespace troupe::policy {

namespace {

using id_set = std::unordered_set<std::string>;

constexpr std::size_t name_bytes_max = 64;

bool portable(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
}

bool portable(std::string_view text, std::size_t bytes_max) {
  return !text.empty() && text.size() <= bytes_max && std::all_of(text.begin(), text.end(), [](char c) { return portable(c); });
}

bool usable_id(std::string_view id) {
  return portable(id, call_id_bytes_max);
}

/// An id that is in use by nobody: `stem`, or `stem` with a number.
template <class Taken>
std::string fresh_id(const std::string& stem, Taken is_taken) {
  auto id = stem;
  for (int n = 2; is_taken(id); ++n)
    id = stem + "-" + std::to_string(n);
  return id;
}

message_ptr with_id(const message_ptr& result, const std::string& id) {
  if (result->tool_call_id == id)
    return result;
  auto copy = *result;
  copy.tool_call_id = id;
  return std::make_shared<const chat_message>(std::move(copy));
}

/// Which result answers which call: by message and call, null where none does.
using answers = std::unordered_map<std::size_t, std::vector<message_ptr>>;

answers match_results(const conversation& messages) {
  /// Calls of one assistant message that have this id and no result yet.
  struct unanswered {
    std::size_t message;
    std::deque<std::size_t> calls;
  };
  answers found;
  std::unordered_map<std::string, std::vector<unanswered>> open;
  for (std::size_t i = 0; i < messages.size(); ++i) {
    const auto& message = messages[i];
    if (!message)
      continue;
    if (message->from == role::assistant && !message->tool_calls.empty()) {
      found[i].resize(message->tool_calls.size());
      for (std::size_t k = 0; k < message->tool_calls.size(); ++k) {
        auto& same_id = open[message->tool_calls[k].id];
        if (same_id.empty() || same_id.back().message != i)
          same_id.push_back({i, {}});
        same_id.back().calls.push_back(k);
      }
    } else if (message->from == role::tool) {
      const auto at = open.find(message->tool_call_id);
      if (at == open.end())
        continue;
      auto& latest = at->second.back();
      found[latest.message][latest.calls.front()] = message;
      latest.calls.pop_front();
      if (latest.calls.empty())
        at->second.pop_back();
      if (at->second.empty())
        open.erase(at);
    }
  }
  return found;
}

} // namespace

bool is_empty_answer(const chat_message& message) {
  return message.tool_calls.empty() && message.text.find_first_not_of(" \t\r\n\f\v") == std::string::npos;
}

conversation with_refusals_cut(const conversation& messages, const std::vector<bool>& refused) {
  if (messages.empty() || !messages.back() || messages.back()->tool_calls.size() != refused.size())
    return messages;
  const auto& calls = messages.back()->tool_calls;
  const auto is_long = [&](std::size_t i) { return refused[i] && calls[i].arguments.size() > refused_arguments_bytes_max; };
  std::size_t first = 0;
  while (first < calls.size() && !is_long(first))
    ++first;
  if (first == calls.size())
    return messages;
  auto copy = *messages.back();
  for (auto i = first; i < calls.size(); ++i)
    if (is_long(i)) {
      const auto begin = mended_utf8(utf8_prefix(calls[i].arguments, refused_arguments_bytes_max / 2));
      const json kept{{"note", "This call was refused. Its arguments had " + std::to_string(calls[i].arguments.size())
                                   + " bytes; only their beginning is kept here."},
                      {"began_with", begin}};
      copy.tool_calls[i].arguments = kept.dump(-1, ' ', false, json::error_handler_t::replace);
    }
  conversation made(messages.begin(), messages.end() - 1);
  made.push_back(std::make_shared<const chat_message>(std::move(copy)));
  return made;
}

std::optional<history_problem> well_formed(const conversation& messages) {
  id_set used;
  for (std::size_t i = 0; i < messages.size(); ++i) {
    if (!messages[i])
      return history_problem{i, "there is no message"};
    const auto& message = *messages[i];
    if (message.from == role::tool)
      return history_problem{i, "the result of call " + in_quotes(message.tool_call_id) + " does not stand behind its call"};
    if (message.from != role::assistant) {
      if (!message.tool_calls.empty())
        return history_problem{i, "a message that is not from an assistant calls tools"};
      continue;
    }
    if (is_empty_answer(message))
      return history_problem{i, "an assistant message has neither text nor tool call"};
    for (const auto& call : message.tool_calls) {
      if (!usable_id(call.id))
        return history_problem{i, "the id " + in_quotes(call.id) + " of a tool call is missing or not usable"};
      if (!used.insert(call.id).second)
        return history_problem{i, "the id " + in_quotes(call.id) + " of a tool call is used twice"};
    }
    const auto calls = i;
    for (const auto& call : messages[calls]->tool_calls) {
      const bool answered =
          i + 1 < messages.size() && messages[i + 1] && messages[i + 1]->from == role::tool && messages[i + 1]->tool_call_id == call.id;
      if (!answered)
        return history_problem{calls, "the tool call " + in_quotes(call.id) + " is not answered where its result belongs"};
      ++i;
    }
  }
  return std::nullopt;
}

conversation repaired(const conversation& messages, std::string_view note) {
  if (!well_formed(messages))
    return messages;
  const auto results = match_results(messages);
  conversation out;
  id_set used;
  for (std::size_t i = 0; i < messages.size(); ++i) {
    const auto& message = messages[i];
    if (!message || message->from == role::tool)
      continue; // results come with their calls
    if (message->from != role::assistant) {
      if (message->tool_calls.empty()) {
        out.push_back(message);
      } else {
        auto copy = *message;
        copy.tool_calls.clear();
        out.push_back(std::make_shared<const chat_message>(std::move(copy)));
      }
      continue;
    }
    if (is_empty_answer(*message))
      continue;
    std::vector<std::string> ids;
    bool renamed = false;
    for (std::size_t k = 0; k < message->tool_calls.size(); ++k) {
      auto id = message->tool_calls[k].id;
      if (!usable_id(id) || used.count(id) > 0) {
        id = fresh_id("call_" + std::to_string(i) + "_" + std::to_string(k), [&](const std::string& each) { return used.count(each) > 0; });
        renamed = true;
      }
      used.insert(id);
      ids.push_back(std::move(id));
    }
    if (renamed) {
      auto copy = *message;
      for (std::size_t k = 0; k < ids.size(); ++k)
        copy.tool_calls[k].id = ids[k];
      out.push_back(std::make_shared<const chat_message>(std::move(copy)));
    } else {
      out.push_back(message);
    }
    for (std::size_t k = 0; k < ids.size(); ++k) {
      if (const auto& result = results.at(i)[k])
        out.push_back(with_id(result, ids[k]));
      else
        out.push_back(std::make_shared<const chat_message>(chat_message{role::tool, std::string(note), {}, ids[k], true}));
    }
  }
  return out;
}

bool normalise_calls(chat_message& answer, const conversation& before, std::string_view step_id, const tool_declarations& declared) {
  if (answer.tool_calls.empty())
    return false;
  id_set used; // in this answer
  std::string stem = "call_";
  for (auto c : step_id.substr(step_id.size() - std::min<std::size_t>(step_id.size(), 18)))
    stem += portable(c) ? c : '_';
  const auto is_declared = [&](const std::string& name) {
    return std::any_of(declared->begin(), declared->end(), [&](const auto& tool) { return tool.name == name; });
  };
  bool changed = false;
  for (std::size_t k = 0; k < answer.tool_calls.size(); ++k) {
    auto& call = answer.tool_calls[k];
    const auto is_taken = [&](const std::string& id) { return used.count(id) > 0 || before.has_call(id); };
    if (!usable_id(call.id) || is_taken(call.id)) {
      call.id = fresh_id(stem + "_" + std::to_string(k), is_taken);
      changed = true;
    }
    used.insert(call.id);
    if (declared && !portable(call.name, name_bytes_max) && !is_declared(call.name)) {
      call.name.resize(std::min(call.name.size(), name_bytes_max));
      for (auto& c : call.name)
        c = portable(c) ? c : '_';
      if (call.name.empty())
        call.name = "unnamed";
      changed = true;
    }
  }
  return changed;
}

} // namespace troupe::policy
