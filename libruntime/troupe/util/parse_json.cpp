#include "troupe/util/parse_json.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <string>

#include "troupe/util/json_text.hpp"
#include "troupe/util/redact.hpp"
#include "troupe/util/utf8.hpp"

namespace troupe {

expected<nlohmann::json> parse_bounded(std::string_view text, std::size_t max_depth) {
  if (const auto at = deeper_than(text, max_depth))
    return fail(error_code::invalid_argument, "nests deeper than " + std::to_string(max_depth) + " levels at byte " + std::to_string(*at));
  try {
    return nlohmann::json::parse(text);
  } catch (const nlohmann::json::exception& problem) {
    std::string_view words = problem.what();
    if (const auto end = words.find("] "); end != std::string_view::npos)
      words.remove_prefix(end + 2);
    return fail(error_code::invalid_argument, mended_utf8(safe_prefix(words, 300)));
  }
}

bool is_exact_double(std::string_view digits) {
  digits.remove_prefix(digits.starts_with('-') || digits.starts_with('+') ? 1 : 0);
  digits.remove_prefix(std::min(digits.find_first_not_of('0'), digits.size()));
  double nearest = 0;
  if (digits.empty() || std::from_chars(digits.data(), digits.data() + digits.size(), nearest).ec != std::errc{})
    return digits.empty();
  std::array<char, 400> written; // the largest double has 309 digits
  const auto printed = std::to_chars(written.data(), written.data() + written.size(), nearest, std::chars_format::fixed);
  return std::string_view(written.data(), static_cast<std::size_t>(printed.ptr - written.data())) == digits;
}

namespace {

bool is_exact(std::string_view digits) {
  const auto* end = digits.data() + digits.size();
  std::int64_t with_sign = 0;
  std::uint64_t without = 0;
  return std::from_chars(digits.data(), end, with_sign).ec == std::errc{} || std::from_chars(digits.data(), end, without).ec == std::errc{}
         || is_exact_double(digits);
}

} // namespace

std::optional<std::string_view> inexact_integer(std::string_view text) {
  constexpr std::size_t always_exact = 18; // digits
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '"') {
      i = closing_quote(text, i);
    } else if (c == '-' || (c >= '0' && c <= '9')) {
      const auto number = text.substr(i, text.find_first_not_of("0123456789+-.eE", i) - i);
      i += number.size() - 1;
      if (number.size() > always_exact && number.find_first_of(".eE") == std::string_view::npos && !is_exact(number))
        return number;
    }
  }
  return std::nullopt;
}

} // namespace troupe
