#include "troupe/policy/json_in_text.hpp"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "troupe/util/json_text.hpp"
#include "troupe/util/parse_json.hpp"
#include "troupe/util/trim.hpp"

namespace troupe {
namespace {

constexpr std::string_view white = " \t\r\n";

struct fenced_text {
  std::vector<std::string_view> inside; ///< the contents of closed ``` fences
  std::vector<std::string_view> around; ///< what stands before, between and behind those
};

fenced_text fenced(std::string_view text) {
  fenced_text out;
  std::size_t begin = std::string_view::npos;
  std::size_t opened = 0, closed = 0;
  for (std::size_t at = 0; at < text.size();) {
    const auto end = std::min(text.find('\n', at), text.size());
    auto line = text.substr(at, end - at);
    const auto indent = line.find_first_not_of(" \t");
    line = indent == std::string_view::npos ? std::string_view{} : line.substr(indent);
    if (line.substr(0, 3) == "```") {
      if (begin == std::string_view::npos) {
        begin = std::min(end + 1, text.size());
        opened = at;
      } else if (trimmed(line.substr(3)).empty()) {
        out.inside.push_back(trimmed(text.substr(begin, at - begin)));
        out.around.push_back(text.substr(closed, opened - closed));
        begin = std::string_view::npos;
        closed = std::min(end + 1, text.size());
      }
    }
    at = end + 1;
  }
  out.around.push_back(text.substr(closed));
  return out;
}

bool opens(char c) {
  return c == '{' || c == '[';
}

/// Where the bracket at the front closes, brackets in strings not counted; nullopt where it does not. `scanned` is how far it looked.
std::optional<std::size_t> extent(std::string_view text, std::size_t& scanned) {
  std::size_t depth = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '"') {
      i = closing_quote(text, i);
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

/// Whether what begins here is meant as JSON and not, say, a word in brackets.
bool looks_like_json(std::string_view text) {
  const auto next = text.find_first_not_of(white, 1);
  if (next == std::string_view::npos)
    return false;
  const char c = text[next];
  return c == '"' || (text.front() == '[' && opens(c));
}

tl::unexpected<error> several() {
  return fail(error_code::invalid_argument, "holds more than one JSON object or array; which one is the answer is unclear");
}

constexpr std::size_t rounds = 32; // of looking at the whole text: what is nested deeper in broken brackets is not found

/// Whether an object or array stands in a text that is meant as JSON, and not a word or a number in brackets.
bool holds_json(std::string_view text) {
  auto left = rounds * text.size() + 4'096;
  for (std::size_t at = text.find_first_of("{["); at != std::string_view::npos; at = text.find_first_of("{[", at)) {
    const auto rest = text.substr(at++);
    if (!looks_like_json(rest))
      continue;
    std::size_t scanned = 0;
    const auto length = extent(rest, scanned);
    if (scanned > left)
      return false;
    left -= scanned;
    if (length && parse_bounded(rest.substr(0, *length)))
      return true;
    at += length ? *length - 1 : 0; // a part of what does not parse is nothing by itself
  }
  return false;
}

/// The one object or array in a text. What looks like JSON and breaks off or does not parse is not skipped: a whole part inside
/// it is not the answer.
expected<found_json> value_in(std::string_view text) {
  std::optional<found_json> found;
  auto left = rounds * text.size() + 4'096;
  for (std::size_t at = text.find_first_of("{["); at != std::string_view::npos; at = text.find_first_of("{[", at)) {
    const auto rest = text.substr(at);
    std::size_t scanned = 0;
    const auto length = extent(rest, scanned);
    if (scanned > left)
      break;
    left -= scanned;
    const auto candidate = rest.substr(0, length.value_or(rest.size()));
    const bool meant = looks_like_json(rest);
    if (length || meant) {
      auto value = parse_bounded(candidate);
      if (value && found)
        return several();
      if (value) {
        found = found_json{std::move(*value), candidate};
        at += candidate.size();
        continue;
      }
      if (meant)
        return fail(error_code::invalid_argument,
                    (length ? "holds JSON that is not valid: " : "holds JSON that breaks off before it is closed: ")
                        + value.error().message);
    }
    ++at;
  }
  if (!found)
    return fail(error_code::invalid_argument, "is no JSON, and holds no JSON object or array");
  return *std::move(found);
}

expected<found_json> find_json(std::string_view text) {
  const auto whole = trimmed(text);
  auto parsed = parse_bounded(whole);
  if (parsed)
    return found_json{std::move(*parsed), whole};
  std::optional<found_json> found;
  const auto parts = fenced(text);
  for (const auto block : parts.inside) {
    if (block.empty() || !opens(block.front()))
      continue;
    auto value = parse_bounded(block);
    if (!value)
      continue;
    if (found)
      return several();
    found = found_json{std::move(*value), block};
  }
  if (!found)
    return value_in(text);
  if (std::any_of(parts.around.begin(), parts.around.end(), holds_json))
    return several();
  return *std::move(found);
}

} // namespace

expected<found_json> json_in_text(std::string_view text) {
  auto found = find_json(text);
  if (found)
    if (const auto number = inexact_integer(found->text))
      return fail(error_code::invalid_argument, "holds the number " + std::string(number->substr(0, 100))
                                                    + ", which has more digits than can be kept; write it as a string, if that is allowed");
  return found;
}

} // namespace troupe
