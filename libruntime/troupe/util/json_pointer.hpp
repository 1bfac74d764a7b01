#pragma once
// Texts of JSON pointers (RFC 6901).

#include <string>
#include <string_view>

namespace troupe {

/// Adds "/" and the token, escaped.
inline void append_token(std::string& pointer, std::string_view token) {
  pointer += '/';
  for (const char c : token) {
    if (c == '~')
      pointer += "~0";
    else if (c == '/')
      pointer += "~1";
    else
      pointer += c;
  }
}

} // namespace troupe
