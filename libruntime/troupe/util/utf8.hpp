#pragma once
// UTF-8 at the doors: what comes from models, tools and files is bytes until it has passed through here. Everything inside
// (events, JSON, pages) may then rely on valid text. Pure functions, any thread. Source: Unicode 15, section 3.9, table 3-7.

#include <cstddef>
#include <string>
#include <string_view>

namespace troupe {

/// Whether `text` is well-formed UTF-8: no overlong forms, no surrogates, nothing above U+10FFFF, no cut sequence.
bool is_valid_utf8(std::string_view text);

/// `text` with each ill-formed sequence (its maximal subpart, as web browsers do it) replaced by one U+FFFD. Valid text is
/// copied as it is; use `mend_utf8` where not even that copy is wanted.
std::string mended_utf8(std::string_view text);

/// Mends in place; valid text is neither copied nor changed. Returns whether something was replaced.
bool mend_utf8(std::string& text);

/// The number of code points of valid UTF-8 (what JSON Schema's minLength counts). In ill-formed text stray continuation
/// bytes do not count.
std::size_t code_point_count(std::string_view text);

/// The longest prefix of at most `max_bytes` bytes that does not cut a code point.
std::string_view utf8_prefix(std::string_view text, std::size_t max_bytes);

/// That prefix, with " […]" behind it where something is cut off.
std::string shortened(std::string_view text, std::size_t max_bytes);

/// Appends a code point in UTF-8; a surrogate or a value above U+10FFFF becomes U+FFFD.
void append_code_point(std::string& out, char32_t code_point);

} // namespace troupe
