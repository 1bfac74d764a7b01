#include "troupe/llm/request_view.hpp"

#include <algorithm>
#include <cstring>
#include <span>

namespace troupe::llm {

namespace {

constexpr bool is_word(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
}

constexpr char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
}

bool has_word(std::string_view text, std::string_view word) {
  if (word.empty() || text.size() < word.size())
    return false;
  for (std::size_t at = 0; at + word.size() <= text.size(); ++at) {
    std::size_t same = 0;
    while (same < word.size() && lower(text[at + same]) == lower(word[same]))
      ++same;
    if (same == word.size() && (at == 0 || !is_word(text[at - 1])) && (at + same == text.size() || !is_word(text[at + same])))
      return true;
  }
  return false;
}

std::uint64_t mixed(std::uint64_t a, std::uint64_t b) {
  __extension__ using wide = unsigned __int128;
  const wide product = static_cast<wide>(a) * b;
  return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

view_message seen(const chat_message& message) {
  view_message made;
  made.from = message.from;
  made.text = message.text;
  made.call_id = message.tool_call_id;
  made.calls.reserve(message.tool_calls.size());
  for (const auto& call : message.tool_calls)
    made.calls.push_back({call.id, call.name, call.arguments});
  return made;
}

void name_results(std::vector<view_message>& messages) {
  // A result answers a call of the nearest assistant message before it; ids may be used again later.
  std::size_t asked = messages.size();
  for (std::size_t i = 0; i < messages.size(); ++i) {
    if (messages[i].from == role::assistant)
      asked = i;
    if (messages[i].from != role::tool || asked == messages.size())
      continue;
    // Results come in the order of the calls as a rule: begin where that one stands, so that many calls are not quadratic.
    const auto& calls = messages[asked].calls;
    for (std::size_t step = 0; step < calls.size(); ++step) {
      const auto& call = calls[(i - asked - 1 + step) % calls.size()];
      if (call.id == messages[i].call_id) {
        messages[i].tool = call.name;
        break;
      }
    }
  }
}

} // namespace

std::int64_t count_characters(std::string_view text) {
  std::int64_t count = 0;
  for (const char c : text)
    count += (static_cast<unsigned char>(c) & 0xC0) != 0x80 ? 1 : 0;
  return count;
}

std::uint64_t stable_hash(std::string_view bytes, std::uint64_t seed) {
  constexpr std::uint64_t k0 = 0xA0761D6478BD642FULL;
  constexpr std::uint64_t k1 = 0xE7037ED1A0B428DBULL;
  std::uint64_t state = mixed(seed ^ k0, bytes.size() ^ k1);
  while (bytes.size() >= 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes.data(), 8);
    state = mixed(state ^ word, k1);
    state ^= state >> 29;
    bytes.remove_prefix(8);
  }
  std::uint64_t rest = 0;
  if (!bytes.empty())
    std::memcpy(&rest, bytes.data(), bytes.size());
  return mixed(mixed(state ^ rest, k1) ^ k0, k1 ^ seed);
}

const std::vector<view_message>& request_view::all() const {
  if (source && messages.empty() && source->size() > source_begin) {
    messages.reserve(source->size() - source_begin);
    for (auto i = source_begin; i < source->size(); ++i)
      messages.push_back(seen(*(*source)[i]));
    name_results(messages);
  }
  return messages;
}

std::string_view request_view::newest_result(std::string_view tool) const {
  if (!source) {
    for (auto message = messages.rbegin(); message != messages.rend(); ++message)
      if (message->from == role::tool && message->tool == tool)
        return message->text;
    return {};
  }
  // From the end, one exchange after the other: an answer and the results of its calls.
  for (auto end = source->size(); end > source_begin;) {
    auto asked = end - 1;
    while (asked > source_begin && (*source)[asked]->from != role::assistant)
      --asked;
    const auto& calls = (*source)[asked]->tool_calls;
    for (auto i = end; i > asked + 1; --i) {
      const auto& message = *(*source)[i - 1];
      if (message.from == role::tool && std::any_of(calls.begin(), calls.end(), [&](const tool_call& call) {
            return call.name == tool && call.id == message.tool_call_id;
          }))
        return message.text;
    }
    end = asked;
  }
  return {};
}

std::int64_t request_view::turn() const {
  if (source)
    return source->totals().answers + 1;
  std::int64_t turn = 1;
  for (const auto& message : messages)
    turn += message.from == role::assistant ? 1 : 0;
  return turn;
}

std::string_view request_view::last() const {
  if (source)
    return source->size() > source_begin ? std::string_view(source->back()->text) : std::string_view{};
  return messages.empty() ? std::string_view{} : messages.back().text;
}

std::string_view request_view::first() const {
  if (source) {
    for (auto i = source_begin; i < source->size(); ++i)
      if ((*source)[i]->from == role::user)
        return (*source)[i]->text;
    return {};
  }
  for (const auto& message : messages)
    if (message.from == role::user)
      return message.text;
  return {};
}

std::string_view request_view::first_line() const {
  std::string_view line = system.substr(0, system.find('\n'));
  constexpr std::string_view white = " \t\r";
  const auto begin = line.find_first_not_of(white);
  if (begin == std::string_view::npos)
    return {};
  return line.substr(begin, line.find_last_not_of(white) - begin + 1);
}

bool request_view::is_from(std::string_view name) const {
  return agent.empty() ? has_word(first_line(), name) : agent == name;
}

std::int64_t request_view::characters() const {
  if (source) // the system messages among them, without the blank lines between those
    return source->totals().characters + static_cast<std::int64_t>(source_begin > 1 ? 2 * (source_begin - 1) : 0);
  std::int64_t count = count_characters(system);
  for (const auto& message : messages) {
    count += count_characters(message.text);
    for (const auto& call : message.calls)
      count += count_characters(call.name) + count_characters(call.arguments);
  }
  return count;
}

std::uint64_t request_view::fingerprint() const {
  std::uint64_t hash = stable_hash(system, stable_hash(model, stable_hash(agent)));
  hash += static_cast<std::uint64_t>(turn()) * 0x9E3779B97F4A7C15ULL + static_cast<std::uint64_t>(characters());
  std::vector<view_message> made;
  std::span<const view_message> last_ones(messages);
  constexpr std::size_t looked_at = 4;
  if (source) {
    for (auto i = std::max(source_begin, source->size() - std::min(source->size(), looked_at)); i < source->size(); ++i)
      made.push_back(seen(*(*source)[i]));
    last_ones = made;
  }
  for (const auto& message : last_ones.last(std::min(last_ones.size(), looked_at))) {
    hash = stable_hash(message.text, hash + static_cast<std::uint64_t>(message.from));
    for (const auto& call : message.calls)
      hash = stable_hash(call.arguments, stable_hash(call.name, hash));
  }
  return hash;
}

void request_view::name_tool_results() {
  name_results(messages);
}

request_view view_of(const llm_request& request) {
  request_view view;
  view.agent = request.agent;
  view.model = request.model;
  view.max_tokens = request.max_tokens;
  view.source = &request.messages;
  std::string* joined = nullptr;
  for (; view.source_begin < request.messages.size() && request.messages[view.source_begin]->from == role::system; ++view.source_begin) {
    const auto& message = *request.messages[view.source_begin];
    if (view.source_begin == 0) {
      view.system = message.text;
      continue;
    }
    if (!joined)
      joined = &view.kept.emplace_back(view.system);
    joined->append("\n\n").append(message.text);
    view.system = *joined;
  }
  if (request.tools) {
    view.tools.reserve(request.tools->size());
    for (const auto& tool : *request.tools)
      view.tools.emplace_back(tool.name);
  }
  return view;
}

} // namespace troupe::llm
