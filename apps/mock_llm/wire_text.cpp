#include "mock_llm/wire.hpp"

#include <algorithm>
#include <charconv>
#include <vector>

namespace troupe::mock_llm {

namespace {

constexpr std::array<bool, 256> escape_table() {
  std::array<bool, 256> table{};
  for (std::size_t c = 0; c < 0x20; ++c)
    table[c] = true;
  table['"'] = true;
  table['\\'] = true;
  return table;
}
constexpr auto needs_escape = escape_table();

} // namespace

void append_escaped(std::string& out, std::string_view text) {
  static constexpr char digits[] = "0123456789abcdef";
  std::size_t begin = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (!needs_escape[c])
      continue;
    out.append(text, begin, i - begin);
    begin = i + 1;
    switch (c) {
    case '"':
      out += "\\\"";
      break;
    case '\\':
      out += "\\\\";
      break;
    case '\n':
      out += "\\n";
      break;
    case '\r':
      out += "\\r";
      break;
    case '\t':
      out += "\\t";
      break;
    default:
      out += "\\u00";
      out += digits[c >> 4];
      out += digits[c & 15];
    }
  }
  out.append(text, begin, text.size() - begin);
}

void append_hex(std::string& out, std::uint64_t value) {
  static constexpr char digits[] = "0123456789abcdef";
  for (int shift = 60; shift >= 0; shift -= 4)
    out += digits[(value >> shift) & 15];
}

void append_number(std::string& out, std::int64_t value) {
  char digits[24];
  out.append(digits, std::to_chars(digits, digits + sizeof digits, value).ptr);
}

std::vector<std::string_view> pieces_of(std::string_view text) {
  constexpr std::size_t usual = 12;
  constexpr std::size_t most = 16;
  std::vector<std::string_view> pieces;
  const auto wanted = std::min(most, std::max<std::size_t>(2, text.size() / usual));
  const auto step = (text.size() + wanted - 1) / wanted;
  pieces.reserve(wanted);
  while (!text.empty()) {
    auto size = std::min(std::max<std::size_t>(step, 1), text.size());
    while (size < text.size() && (static_cast<unsigned char>(text[size]) & 0xC0) == 0x80)
      ++size;
    pieces.push_back(text.substr(0, size));
    text.remove_prefix(size);
  }
  return pieces;
}

void body_writer::event(std::string_view text) {
  if (chunked) {
    char size[20];
    out.append(size, std::to_chars(size, size + sizeof size, text.size(), 16).ptr).append("\r\n");
  }
  out.append(text);
  if (chunked)
    out.append("\r\n");
}

void body_writer::end() {
  if (chunked)
    out.append("0\r\n\r\n");
}

} // namespace troupe::mock_llm
