// Takes values out of a conversation by pattern.
#include <unordered_set>

#include "troupe/llm/script_data.hpp"

namespace troupe::llm::detail {

namespace {

constexpr std::size_t most_matches = 5'000;
constexpr std::size_t most_source_bytes = 4u << 20;

/// The texts that a capture looks at, the oldest first.
std::vector<std::string_view> sources_of(const capture& how, const request_view& view) {
  std::vector<std::string_view> texts;
  switch (how.from) {
  case capture::source::last:
    texts.push_back(view.last());
    break;
  case capture::source::first:
    texts.push_back(view.first());
    break;
  case capture::source::system:
    texts.push_back(view.system);
    break;
  case capture::source::tool:
    for (const auto& message : view.all())
      if (message.from == role::tool && message.tool == how.tool)
        texts.push_back(message.text);
    break;
  case capture::source::conversation:
    texts.push_back(view.system);
    for (const auto& message : view.all())
      texts.push_back(message.text);
    break;
  }
  return texts;
}

std::string text_at(const re2::StringPiece& piece) {
  return std::string(piece.data() ? piece.data() : "", piece.size());
}

/// What one match is worth: an object of named groups, the text of the one group, or of the whole match.
json value_of(const capture& how, const std::vector<re2::StringPiece>& groups) {
  if (how.fields.empty())
    return text_at(groups[groups.size() > 1 ? 1 : 0]);
  json fields = json::object();
  for (std::size_t i = 0; i < how.fields.size(); ++i)
    fields[how.fields[i]] = text_at(groups[i + 1]);
  return fields;
}

/// The part of a JSON text that the pointer names. False where the text is no JSON or has no such part.
bool part_of(const capture& how, json& value) {
  if (!how.pointer)
    return true;
  const auto document = json::parse(value.get_ref<const std::string&>(), nullptr, false);
  if (document.is_discarded() || !document.contains(*how.pointer))
    return false;
  value = document.at(*how.pointer);
  return !value.is_null();
}

/// Adds the matches in one text, at most `wanted`.
void matches_in(const capture& how, std::string_view text, std::size_t wanted, std::vector<json>& found) {
  if (!how.pattern) {
    json value = std::string(text);
    if (part_of(how, value))
      found.push_back(std::move(value));
    return;
  }
  const re2::StringPiece whole(text.data(), text.size());
  std::vector<re2::StringPiece> groups(static_cast<std::size_t>(how.pattern->NumberOfCapturingGroups()) + 1);
  std::size_t at = 0;
  while (found.size() < wanted && at <= text.size()
         && how.pattern->Match(whole, at, text.size(), RE2::UNANCHORED, groups.data(), static_cast<int>(groups.size()))) {
    auto value = value_of(how, groups);
    if (part_of(how, value))
      found.push_back(std::move(value));
    const auto begin = static_cast<std::size_t>(groups[0].data() - text.data());
    at = begin + groups[0].size();
    if (groups[0].empty())
      for (++at; at < text.size() && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80;)
        ++at;
  }
}

} // namespace

json take(const capture& how, const request_view& view) {
  auto texts = sources_of(how, view);
  std::vector<json> found;
  std::size_t left = most_source_bytes;
  const auto look = [&](std::string_view text, std::size_t wanted) {
    text = text.substr(0, left);
    left -= text.size();
    if (text.data())
      matches_in(how, text, wanted, found);
  };
  if (!how.all) {
    // What was said last counts: from the newest text back, and the first match in it.
    for (auto text = texts.rbegin(); text != texts.rend() && found.empty(); ++text)
      look(*text, 1);
    return found.empty() ? json(nullptr) : std::move(found.front());
  }
  for (const auto text : texts)
    look(text, most_matches);
  if (found.empty())
    return nullptr;
  json list = json::array();
  std::unordered_set<std::string> seen;
  for (auto& value : found) {
    // A part of a JSON text that is a list brings its elements.
    const bool many = how.pointer && value.is_array();
    json one = many ? std::move(value) : json::array({std::move(value)});
    for (auto& element : one)
      if (!how.unique || seen.insert(element.dump(-1, ' ', false, json::error_handler_t::replace)).second)
        list.push_back(std::move(element));
  }
  return list;
}

} // namespace troupe::llm::detail
