#pragma once
// Digests and encodings that MCP and OAuth write down. Pure.

#include <string>
#include <string_view>

namespace troupe::tools {

std::string sha256_bytes(std::string_view text);
/// 64 hexadecimal digits.
std::string sha256_hex(std::string_view text);
/// RFC 4648, with padding.
std::string base64(std::string_view bytes);
/// RFC 4648 section 5, without padding.
std::string base64url(std::string_view bytes);

} // namespace troupe::tools
