#include "troupe/policy/json_in_text.hpp"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "troupe/util/parse_json.hpp"

namespace troupe {
namespace {

constexpr std::string_view white = " \t\r\n";

std::string_view trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(white);
  if (first == std::string_view::npos)
    return {};
  return text.substr(first, text.find_last_not_of(white) - first + 1);
}

/// The contents of closed ``` fences.
std::vector<std::string_view> fenced(std::string_view text) {
  std::vector<std::string_view> out;
  std::size_t begin = std::string_view::npos;
  for (std::size_t at = 0; at < text.size();) {
    const auto end = std::min(text.find('\n', at), text.size());
    auto line = text.substr(at, end - at);
    const auto indent = line.find_first_not_of(" \t");
    line = indent == std::string_view::npos ? std::string_view{} : line.substr(indent);
    if (line.substr(0, 3) == "```") {
      if (begin == std::string_view::npos) {
        begin = std::min(end + 1, text.size());
      } else if (trimmed(line.substr(3)).empty()) {
        out.push_back(trimmed(text.substr(begin, at - begin)));
        begin = std::string_view::npos;
      }
    }
    at = end + 1;
  }
  return out;
}

bool opens(char c) {
  return c == '{' || c == '[';
}

/// Where the bracket at the front closes, brackets in strings not counted; nullopt where it does not. `scanned` is how far it looked.
std::optional<std::size_t> extent(std::string_view text, std::size_t& scanned) {
  std::size_t depth = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\')
        ++i;
      else if (c == '"')
        in_string = false;
      continue;
    }
    if (c == '"') {
      in_string = true;
    } else if (opens(c)) {
      ++depth;
    } else if ((c == '}' || c == ']') && --depth == 0) {
      scanned = i + 1;
      return i + 1;
    }
  }
  scanned = text.size();
  return std::nullopt;
}

/// Up to two objects or arrays in a text; more need not be told apart.
std::vector<found_json> values_in(std::string_view text) {
  std::vector<found_json> out;
  constexpr std::size_t rounds = 32; // of looking at the whole text: what is nested deeper in broken brackets is not found
  auto left = rounds * text.size() + 4'096;
  std::size_t at = 0;
  while (at < text.size() && out.size() < 2) {
    at = text.find_first_of("{[", at);
    if (at == std::string_view::npos)
      break;
    std::size_t scanned = 0;
    const auto length = extent(text.substr(at), scanned);
    if (scanned > left)
      break;
    left -= scanned;
    if (length) {
      if (auto value = parse_bounded(text.substr(at, *length))) {
        out.push_back({std::move(*value), text.substr(at, *length)});
        at += *length;
        continue;
      }
    }
    ++at;
  }
  return out;
}

tl::unexpected<error> several() {
  return fail(error_code::invalid_argument, "holds more than one JSON object or array; which one is the answer is unclear");
}

} // namespace

expected<found_json> json_in_text(std::string_view text) {
  const auto whole = trimmed(text);
  auto parsed = parse_bounded(whole);
  if (parsed)
    return found_json{std::move(*parsed), whole};
  std::optional<found_json> found;
  for (const auto block : fenced(text)) {
    if (block.empty() || !opens(block.front()))
      continue;
    auto value = parse_bounded(block);
    if (!value)
      continue;
    if (found)
      return several();
    found = found_json{std::move(*value), block};
  }
  if (found)
    return *std::move(found);
  auto values = values_in(text);
  if (values.size() > 1)
    return several();
  // An answer that begins like JSON and breaks off is broken; a complete part of it is not the answer.
  if (values.empty() || (!whole.empty() && opens(whole.front()) && values.front().text.data() != whole.data()))
    return fail(error_code::invalid_argument, !whole.empty() && opens(whole.front()) ? "is not valid JSON: " + parsed.error().message
                                                                                     : "holds no JSON object or array");
  return std::move(values.front());
}

} // namespace troupe
