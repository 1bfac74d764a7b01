#pragma once

#include <string>

#include "troupe/llm/script.hpp"
#include "troupe/model/error.hpp"

namespace troupe::llm {

/// Reads and compiles a script file (YAML or JSON). `invalid_argument` tells every problem, a line each, as `file:line:column: /pointer:
/// …`. Blocks on the file.
expected<script_ptr> load_script_file(const std::string& path);

} // namespace troupe::llm
