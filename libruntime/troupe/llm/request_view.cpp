#include "troupe/llm/request_view.hpp"

#include <cstring>

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

std::int64_t request_view::turn() const {
  std::int64_t turn = 1;
  for (const auto& message : messages)
    turn += message.from == role::assistant ? 1 : 0;
  return turn;
}

std::string_view request_view::last() const {
  return messages.empty() ? std::string_view{} : messages.back().text;
}

std::string_view request_view::first() const {
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
  for (const auto& message : messages) {
    hash = stable_hash(message.text, hash + static_cast<std::uint64_t>(message.from));
    for (const auto& call : message.calls)
      hash = stable_hash(call.arguments, stable_hash(call.name, hash));
  }
  return hash;
}

void request_view::name_tool_results() {
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

request_view view_of(const llm_request& request) {
  request_view view;
  view.agent = request.agent;
  view.model = request.model;
  view.max_tokens = request.max_tokens;
  view.messages.reserve(request.messages.size());
  std::string* joined = nullptr;
  for (const auto& message : request.messages) {
    if (message->from == role::system) {
      if (view.system.empty()) {
        view.system = message->text;
        continue;
      }
      if (!joined)
        joined = &view.kept.emplace_back(view.system);
      joined->append("\n\n").append(message->text);
      view.system = *joined;
      continue;
    }
    auto& seen = view.messages.emplace_back();
    seen.from = message->from;
    seen.text = message->text;
    seen.call_id = message->tool_call_id;
    seen.calls.reserve(message->tool_calls.size());
    for (const auto& call : message->tool_calls)
      seen.calls.push_back({call.id, call.name, call.arguments});
  }
  if (request.tools) {
    view.tools.reserve(request.tools->size());
    for (const auto& tool : *request.tools)
      view.tools.emplace_back(tool.name);
  }
  view.name_tool_results();
  return view;
}

} // namespace troupe::llm
