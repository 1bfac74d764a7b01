#include "troupe/tools/glob.hpp"

#include <cstddef>
#include <vector>

namespace troupe::tools {

namespace {

enum class kind { character, any, set, star, deep_star, folders };

struct element {
  kind what = kind::character;
  char character = 0;
  std::string_view set; ///< between the brackets
  bool negated = false;
};

std::vector<element> parse(std::string_view pattern) {
  std::vector<element> out;
  for (std::size_t at = 0; at < pattern.size(); ++at) {
    const char c = pattern[at];
    if (c == '*') {
      std::size_t end = at;
      while (end + 1 < pattern.size() && pattern[end + 1] == '*')
        ++end;
      const bool deep = end > at, starts_component = at == 0 || pattern[at - 1] == '/';
      at = end;
      if (deep && starts_component && at + 1 < pattern.size() && pattern[at + 1] == '/') {
        ++at;
        out.push_back({kind::folders, 0, {}, false}); // "**/x" is also "x", but not "ax"
      } else {
        out.push_back({deep ? kind::deep_star : kind::star, 0, {}, false});
      }
    } else if (c == '?') {
      out.push_back({kind::any, 0, {}, false});
    } else if (c == '[') {
      const bool negated = at + 1 < pattern.size() && (pattern[at + 1] == '!' || pattern[at + 1] == '^');
      const auto from = at + (negated ? 2 : 1);
      const auto end = pattern.find(']', from + 1);
      if (end == std::string_view::npos) {
        out.push_back({kind::character, c, {}, false});
        continue;
      }
      out.push_back({kind::set, 0, pattern.substr(from, end - from), negated});
      at = end;
    } else {
      if (c == '\\' && at + 1 < pattern.size())
        ++at;
      out.push_back({kind::character, pattern[at], {}, false});
    }
  }
  return out;
}

bool in_set(const element& e, char c) {
  bool found = false;
  for (std::size_t at = 0; at < e.set.size(); ++at) {
    if (at + 2 < e.set.size() && e.set[at + 1] == '-') {
      found = found || (e.set[at] <= c && c <= e.set[at + 2]);
      at += 2;
    } else {
      found = found || e.set[at] == c;
    }
  }
  return found != e.negated;
}

bool is_continuation(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }

} // namespace

bool glob_matches(std::string_view pattern, std::string_view text) {
  const auto elements = parse(pattern);
  // now[i]: the text so far leads to before element i. Stars are entered and left without a character.
  std::vector<char> now(elements.size() + 1, 0), next;
  const auto close = [&elements](std::vector<char>& states, bool at_component) {
    for (std::size_t i = 0; i < elements.size(); ++i)
      if (states[i]
          && (elements[i].what == kind::star || elements[i].what == kind::deep_star || (elements[i].what == kind::folders && at_component)))
        states[i + 1] = 1;
  };
  now[0] = 1;
  close(now, true);
  for (std::size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    next.assign(elements.size() + 1, 0);
    for (std::size_t i = 0; i < elements.size(); ++i) {
      if (!now[i])
        continue;
      const auto& e = elements[i];
      switch (e.what) {
      case kind::character: next[i + 1] = static_cast<char>(next[i + 1] | (e.character == c)); break;
      case kind::star: next[i] = static_cast<char>(next[i] | (c != '/')); break;
      case kind::folders:
      case kind::deep_star: next[i] = 1; break;
      case kind::any:
      case kind::set:
        if (c != '/' && (e.what == kind::any || in_set(e, c))) {
          // Stay here until the character's last byte.
          const bool goes_on = at + 1 < text.size() && is_continuation(text[at + 1]) && (is_continuation(c) || (static_cast<unsigned char>(c) & 0xC0) == 0xC0);
          next[goes_on ? i : i + 1] = 1;
        }
        break;
      }
    }
    close(next, c == '/');
    now.swap(next);
  }
  return now[elements.size()] != 0;
}

} // namespace troupe::tools
