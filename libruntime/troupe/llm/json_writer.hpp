#pragma once
// JSON text written straight into a request's body: no document is built of a conversation that is only sent.

#include <array>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace troupe::llm {

/// A sink that only counts.
struct byte_counter {
  std::size_t bytes = 0;
  void append(std::string_view text) { bytes += text.size(); }
  void push_back(char) { ++bytes; }
};

namespace detail {

/// Bytes of the well-formed UTF-8 sequence at the start of `text`, whose first byte is not ASCII; 0: ill-formed.
inline std::size_t utf8_sequence(std::string_view text) {
  const auto at = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U; };
  const auto tail = [&](std::size_t i) { return (at(i) & 0xC0U) == 0x80U; };
  const unsigned first = at(0);
  if (first >= 0xC2 && first <= 0xDF)
    return tail(1) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    const unsigned low = first == 0xE0 ? 0xA0 : 0x80;
    const unsigned high = first == 0xED ? 0x9F : 0xBF;
    return at(1) >= low && at(1) <= high && tail(2) ? 3 : 0;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    const unsigned low = first == 0xF0 ? 0x90 : 0x80;
    const unsigned high = first == 0xF4 ? 0x8F : 0xBF;
    return at(1) >= low && at(1) <= high && tail(2) && tail(3) ? 4 : 0;
  }
  return 0;
}

} // namespace detail

/// Appends JSON to a sink (std::string or `byte_counter`). The caller writes the structure with `raw`.
template <class Sink>
class json_writer {
public:
  explicit json_writer(Sink& out) : out_(out) {}

  /// JSON text as it is.
  json_writer& raw(std::string_view text) {
    out_.append(text);
    return *this;
  }

  /// A string with its quotes. Ill-formed UTF-8 becomes U+FFFD, so that what is written is always JSON.
  json_writer& string(std::string_view text) {
    out_.push_back('"');
    characters(text);
    out_.push_back('"');
    return *this;
  }

  /// A part of a string: the caller writes the quotes.
  json_writer& characters(std::string_view text) {
    std::size_t from = 0;
    for (std::size_t i = 0; i < text.size();) {
      const auto byte = static_cast<unsigned char>(text[i]);
      if (byte >= 0x20 && byte < 0x80 && byte != '"' && byte != '\\') {
        ++i;
        continue;
      }
      if (byte >= 0x80) {
        if (const auto length = detail::utf8_sequence(text.substr(i))) {
          i += length;
          continue;
        }
      }
      out_.append(text.substr(from, i - from));
      escape(byte);
      from = ++i;
    }
    out_.append(text.substr(from));
    return *this;
  }

  json_writer& number(std::int64_t value) {
    std::array<char, 24> digits{};
    const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value);
    out_.append(std::string_view(digits.data(), static_cast<std::size_t>(end.ptr - digits.data())));
    return *this;
  }

  /// The shortest text that reads back as the same number; `value` must be finite.
  json_writer& number(double value) {
    std::array<char, 32> digits{};
    const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value);
    out_.append(std::string_view(digits.data(), static_cast<std::size_t>(end.ptr - digits.data())));
    return *this;
  }

private:
  void escape(unsigned char byte) {
    constexpr char hex[] = "0123456789abcdef";
    switch (byte) {
    case '"':
      out_.append("\\\"");
      break;
    case '\\':
      out_.append("\\\\");
      break;
    case '\n':
      out_.append("\\n");
      break;
    case '\r':
      out_.append("\\r");
      break;
    case '\t':
      out_.append("\\t");
      break;
    case '\b':
      out_.append("\\b");
      break;
    case '\f':
      out_.append("\\f");
      break;
    default:
      if (byte >= 0x80) {
        out_.append("\\ufffd");
      } else {
        out_.append("\\u00");
        out_.push_back(hex[byte >> 4]);
        out_.push_back(hex[byte & 15]);
      }
    }
  }

  Sink& out_;
};

} // namespace troupe::llm
