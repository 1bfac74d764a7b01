#pragma once
// The two parsers behind read_text. Both feed a tree_builder, take text that was checked (valid UTF-8, no control characters), and
// throw `reading_stopped` after they added a problem.

#include <string_view>

#include "troupe/config/tree_builder.hpp"

namespace troupe::config {

void read_yaml(std::string_view text, tree_builder& into);

/// False, without a problem, when the syntax is not JSON and `report_syntax` is not set.
bool read_json(std::string_view text, tree_builder& into, bool report_syntax);

} // namespace troupe::config
