#pragma once
// Byte offsets of a text -> lines and columns, in amortised constant time for offsets that mostly grow.

#include <algorithm>
#include <cstddef>
#include <string_view>

#include "troupe/config/located.hpp"

namespace troupe::config {

class text_cursor {
public:
  /// `text` must outlive the cursor and be valid UTF-8.
  explicit text_cursor(std::string_view text) : text_(text) {}

  /// An offset beyond the end is the end.
  position at(std::size_t offset) {
    offset = std::min(offset, text_.size());
    while (offset_ < offset) {
      if (text_[offset_] == '\n') {
        ++at_.line;
        at_.column = 1;
      } else if (!is_continuation(text_[offset_])) {
        ++at_.column;
      }
      ++offset_;
    }
    if (offset == offset_)
      return at_;
    // Backwards: parsers look back a token or two, and mostly stay within the line.
    auto line = at_.line;
    for (std::size_t i = offset_; i > offset; --i)
      line -= text_[i - 1] == '\n' ? 1u : 0u;
    std::uint32_t column = 1;
    for (std::size_t i = offset; i > 0 && text_[i - 1] != '\n' && column < 10'000; --i)
      column += is_continuation(text_[i - 1]) ? 0u : 1u;
    return {line, column};
  }

private:
  static bool is_continuation(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }

  std::string_view text_;
  std::size_t offset_ = 0;
  position at_{1, 1};
};

} // namespace troupe::config
