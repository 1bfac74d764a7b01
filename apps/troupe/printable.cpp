// Text from models and tools, made safe for a terminal.

#include "troupe/timeline.hpp"

#include <array>
#include <utility>

#include "troupe/util/redact.hpp"

namespace troupe::cli {

namespace {

constexpr char32_t mended = 0xFFFD;

/// The code point at the start of `text`, and its length; U+FFFD and 1 where there is none.
std::pair<char32_t, std::size_t> code_point(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80)
    return {first, 1};
  const std::size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4 || text.size() < length)
    return {mended, 1};
  char32_t value = first & (0x7F >> length);
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80)
      return {mended, 1};
    value = value << 6 | (byte(i) & 0x3F);
  }
  constexpr std::array<char32_t, 5> least{0, 0, 0x80, 0x800, 0x10000};
  if (value < least[length] || value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF))
    return {mended, 1};
  return {value, length};
}

/// What a terminal acts upon, or hides, instead of showing it.
bool is_unprintable(char32_t c) {
  return c < 0x20 || (c >= 0x7F && c < 0xA0) || c == 0xAD || c == 0x61C || (c >= 0x200B && c <= 0x200F) || (c >= 0x2028 && c <= 0x202E)
         || (c >= 0x2060 && c <= 0x206F) || c == 0xFEFF || (c >= 0xFFF9 && c <= 0xFFFB) || (c >= 0xE0000 && c <= 0xE0FFF);
}

/// Part of how words of many scripts, and many emoji, are written.
bool is_joiner(char32_t c) {
  return c == 0x200C || c == 0x200D;
}

std::size_t columns_of(char32_t c) {
  if ((c >= 0x300 && c <= 0x36F) || is_joiner(c))
    return 0; // combining
  const bool wide = (c >= 0x1100 && c <= 0x115F) || (c >= 0x2E80 && c <= 0xA4CF) || (c >= 0xAC00 && c <= 0xD7A3)
                    || (c >= 0xF900 && c <= 0xFAFF) || (c >= 0xFE30 && c <= 0xFE6F) || (c >= 0xFF00 && c <= 0xFF60)
                    || (c >= 0xFFE0 && c <= 0xFFE6) || (c >= 0x1F300 && c <= 0x1FAFF) || (c >= 0x20000 && c <= 0x3FFFD);
  return wide ? 2 : 1;
}

std::string escape_of(char32_t c) {
  switch (c) {
  case '\n':
    return "\\n";
  case '\r':
    return "\\r";
  case '\t':
    return "\\t";
  default:
    break;
  }
  static constexpr char digits[] = "0123456789abcdef";
  std::string hex;
  for (char32_t rest = c; rest != 0 || hex.size() < 2; rest >>= 4)
    hex.insert(hex.begin(), digits[rest & 15]);
  return c < 0x100 ? "\\x" + hex : "\\u{" + hex + "}";
}

/// What a terminal shows as it is in a text of several lines.
bool is_text(char32_t c) {
  return c == '\n' || c == '\t' || is_joiner(c) || !is_unprintable(c);
}

std::string visible(std::string_view text, std::string (*escape)(char32_t)) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const auto [c, length] = code_point(text);
    if (c == mended)
      out += "\xEF\xBF\xBD";
    else if (is_text(c))
      out += text.substr(0, length);
    else
      out += escape(c);
    text.remove_prefix(length);
  }
  return out;
}

/// As JSON spells it: in two halves beyond 16 bits.
std::string json_escape_of(char32_t c) {
  if (c > 0xFFFF)
    return json_escape_of(0xD7C0 + (c >> 10)) + json_escape_of(0xDC00 + (c & 0x3FF));
  static constexpr char digits[] = "0123456789abcdef";
  std::string out = "\\u";
  for (int shift = 12; shift >= 0; shift -= 4)
    out += digits[c >> shift & 15];
  return out;
}

} // namespace

std::size_t shown_columns(std::string_view text) {
  std::size_t sum = 0;
  while (!text.empty()) {
    const auto [c, length] = code_point(text);
    sum += columns_of(c);
    text.remove_prefix(length);
  }
  return sum;
}

std::string printable_text(std::string_view text) {
  return visible(text, escape_of);
}

std::string printable_json(std::string_view text) {
  return visible(text, json_escape_of);
}

std::string printable(std::string_view raw, std::size_t columns) {
  const auto clean = secrets().empty() ? std::string() : redacted(std::string(raw)); // a part of a secret is not found any more
  auto text = secrets().empty() ? raw : std::string_view(clean);
  std::string out;
  std::size_t used = 0;
  std::size_t cut_at = 0; // where "…" still fits
  std::size_t marks = 0;  // combining characters in a row: one letter may not grow without bound
  while (!text.empty()) {
    const auto [c, length] = code_point(text);
    std::string piece;
    std::size_t wide = 1;
    if (is_unprintable(c) && !is_joiner(c)) {
      piece = escape_of(c);
      wide = piece.size();
    } else if (c == mended) {
      piece = "\xEF\xBF\xBD";
    } else {
      piece = text.substr(0, length);
      wide = columns_of(c);
    }
    text.remove_prefix(length);
    marks = wide == 0 ? marks + 1 : 0;
    if (marks > 4)
      continue;
    if (used + wide > columns) {
      out.resize(cut_at);
      if (columns > 0)
        out += "…";
      return out;
    }
    out += piece;
    used += wide;
    if (used < columns)
      cut_at = out.size();
  }
  return out;
}

} // namespace troupe::cli
