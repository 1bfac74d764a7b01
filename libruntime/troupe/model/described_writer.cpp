#include "troupe/model/described_writer.hpp"

#include <cstdint>

namespace troupe {

namespace {

/// The length of the well-formed UTF-8 sequence at the start of `text`, whose first byte is not ASCII; 0: there is none.
std::size_t sequence_length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const auto continues = [&](std::size_t i) { return i < text.size() && (byte(i) & 0xC0) == 0x80; };
  const unsigned char first = byte(0);
  if (first >= 0xC2 && first <= 0xDF)
    return continues(1) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    if (!continues(1) || !continues(2))
      return 0;
    if ((first == 0xE0 && byte(1) < 0xA0) || (first == 0xED && byte(1) > 0x9F))
      return 0; // overlong, surrogate
    return 3;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    if (!continues(1) || !continues(2) || !continues(3))
      return 0;
    if ((first == 0xF0 && byte(1) < 0x90) || (first == 0xF4 && byte(1) > 0x8F))
      return 0; // overlong, beyond U+10FFFF
    return 4;
  }
  return 0;
}

void write_escape(unsigned char c, std::string& out) {
  switch (c) {
  case '"':
    out += "\\\"";
    return;
  case '\\':
    out += "\\\\";
    return;
  case '\b':
    out += "\\b";
    return;
  case '\f':
    out += "\\f";
    return;
  case '\n':
    out += "\\n";
    return;
  case '\r':
    out += "\\r";
    return;
  case '\t':
    out += "\\t";
    return;
  default:
    break;
  }
  static constexpr char digits[] = "0123456789abcdef";
  out += "\\u00";
  out += digits[c >> 4];
  out += digits[c & 15];
}

} // namespace

void write_json_string(std::string_view text, std::string& out) {
  out += '"';
  std::size_t copied = 0;
  for (std::size_t i = 0; i < text.size();) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (c >= 0x20 && c < 0x80 && c != '"' && c != '\\') {
      ++i;
      continue;
    }
    if (c >= 0x80) {
      if (const std::size_t length = sequence_length(text.substr(i, 4))) {
        i += length;
        continue;
      }
    }
    out.append(text.data() + copied, i - copied);
    if (c >= 0x80)
      out += "\xEF\xBF\xBD";
    else
      write_escape(c, out);
    copied = ++i;
  }
  out.append(text.data() + copied, text.size() - copied);
  out += '"';
}

void write_json(const json& document, std::string& out) {
  if (document.is_string())
    write_json_string(document.get_ref<const std::string&>(), out);
  else if (document.is_null())
    out += "null";
  else
    out += document.dump(-1, ' ', false, json::error_handler_t::replace);
}

} // namespace troupe
