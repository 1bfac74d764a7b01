#pragma once
// A look at the bytes of a JSON text, before any parser spends memory on it.

#include <cstddef>
#include <optional>
#include <string_view>

namespace troupe {

/// Where the string ends whose opening quote is at `quote`: the place of its closing quote, or the text's size where it has none.
constexpr std::size_t closing_quote(std::string_view text, std::size_t quote) {
  for (auto at = quote + 1; at < text.size(); ++at) {
    if (text[at] == '"')
      return at;
    at += text[at] == '\\' ? 1 : 0;
  }
  return text.size();
}

/// Where brackets outside of strings first nest deeper than `depth_max`; nullopt: nowhere.
constexpr std::optional<std::size_t> deeper_than(std::string_view text, std::size_t depth_max) {
  std::size_t depth = 0;
  for (std::size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    if (c == '"')
      at = closing_quote(text, at);
    else if (c == '{' || c == '[') {
      if (++depth > depth_max)
        return at;
    } else if ((c == '}' || c == ']') && depth > 0)
      --depth;
  }
  return std::nullopt;
}

} // namespace troupe
