#pragma once
// File name patterns: `*` and `?` within one component, `**` across components, `[a-z]` and `[!a-z]` for one character. Pure.

#include <string_view>

namespace troupe::tools {

/// Whether all of `text` matches. In time proportional to both lengths' product, whatever the pattern. Bytes, not code points, but that `?`
/// and a bracket take a whole UTF-8 character. An unclosed bracket stands for itself.
bool glob_matches(std::string_view pattern, std::string_view text);

} // namespace troupe::tools
