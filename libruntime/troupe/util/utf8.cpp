#include "troupe/util/utf8.hpp"

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace troupe {
namespace {

constexpr std::string_view replacement = "\xEF\xBF\xBD"; // U+FFFD

unsigned char byte_at(std::string_view text, std::size_t at) {
  return static_cast<unsigned char>(text[at]);
}

struct sequence {
  bool valid;
  std::size_t length; ///< of the code point, or of the ill-formed part that one U+FFFD stands for
};

/// The sequence that starts at `at`, which is not ASCII.
sequence sequence_at(std::string_view text, std::size_t at) {
  const auto lead = byte_at(text, at);
  std::size_t length = 0;
  unsigned char low = 0x80;
  unsigned char high = 0xBF;
  if (lead >= 0xC2 && lead <= 0xDF) {
    length = 2;
  } else if (lead >= 0xE0 && lead <= 0xEF) {
    length = 3;
    if (lead == 0xE0)
      low = 0xA0; // overlong
    if (lead == 0xED)
      high = 0x9F; // surrogates
  } else if (lead >= 0xF0 && lead <= 0xF4) {
    length = 4;
    if (lead == 0xF0)
      low = 0x90; // overlong
    if (lead == 0xF4)
      high = 0x8F; // above U+10FFFF
  } else {
    return {false, 1};
  }
  for (std::size_t i = 1; i < length; ++i) {
    if (at + i >= text.size() || byte_at(text, at + i) < low || byte_at(text, at + i) > high)
      return {false, i};
    low = 0x80;
    high = 0xBF;
  }
  return {true, length};
}

/// Position of the first ill-formed sequence at or after `from`, or the size. ASCII passes eight bytes at a time.
std::size_t first_invalid(std::string_view text, std::size_t from) {
  auto at = from;
  while (at < text.size()) {
    if (at + 8 <= text.size()) {
      std::uint64_t word = 0;
      std::memcpy(&word, text.data() + at, 8);
      if ((word & 0x8080808080808080ULL) == 0) {
        at += 8;
        continue;
      }
    }
    if (byte_at(text, at) < 0x80) {
      ++at;
      continue;
    }
    const auto found = sequence_at(text, at);
    if (!found.valid)
      return at;
    at += found.length;
  }
  return text.size();
}

} // namespace

bool is_valid_utf8(std::string_view text) {
  return first_invalid(text, 0) == text.size();
}

std::string mended_utf8(std::string_view text) {
  auto bad = first_invalid(text, 0);
  if (bad == text.size())
    return std::string(text);
  std::string out;
  out.reserve(text.size() + 16);
  std::size_t done = 0;
  while (bad < text.size()) {
    out.append(text.substr(done, bad - done)).append(replacement);
    done = bad + sequence_at(text, bad).length;
    bad = first_invalid(text, done);
  }
  return out.append(text.substr(done));
}

bool mend_utf8(std::string& text) {
  if (is_valid_utf8(text))
    return false;
  text = mended_utf8(text);
  return true;
}

std::size_t code_point_count(std::string_view text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

std::string_view utf8_prefix(std::string_view text, std::size_t max_bytes) {
  if (text.size() <= max_bytes)
    return text;
  // A code point has at most three continuation bytes; further ones are no sequence and are not kept together.
  auto end = max_bytes;
  while (end > 0 && max_bytes - end < 3 && (byte_at(text, end) & 0xC0) == 0x80)
    --end;
  if ((byte_at(text, end) & 0xC0) == 0x80)
    end = max_bytes;
  return text.substr(0, end);
}

std::string shortened(std::string_view text, std::size_t max_bytes) {
  const auto kept = utf8_prefix(text, max_bytes);
  return std::string(kept) + (kept.size() < text.size() ? " […]" : "");
}

void append_code_point(std::string& out, char32_t code_point) {
  if (code_point > 0x10FFFF || (code_point >= 0xD800 && code_point <= 0xDFFF)) {
    out.append(replacement);
    return;
  }
  const auto push = [&out](char32_t value) { out.push_back(static_cast<char>(static_cast<unsigned char>(value))); };
  if (code_point < 0x80) {
    push(code_point);
  } else if (code_point < 0x800) {
    push(0xC0 | (code_point >> 6));
    push(0x80 | (code_point & 0x3F));
  } else if (code_point < 0x10000) {
    push(0xE0 | (code_point >> 12));
    push(0x80 | ((code_point >> 6) & 0x3F));
    push(0x80 | (code_point & 0x3F));
  } else {
    push(0xF0 | (code_point >> 18));
    push(0x80 | ((code_point >> 12) & 0x3F));
    push(0x80 | ((code_point >> 6) & 0x3F));
    push(0x80 | (code_point & 0x3F));
  }
}

} // namespace troupe
