#pragma once
// Tools that are part of the runtime: read_file write_file list_files http_fetch calculator clock state_get state_set. File tools are
// confined to `root`.

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "troupe/model/config.hpp"
#include "troupe/model/error.hpp"
#include "troupe/tools/environment.hpp"
#include "troupe/tools/runner.hpp"

namespace troupe::tools {

/// What a model is told of a tool, and what `validate` fills into its specification where the file is silent.
struct tool_declaration {
  std::string name;
  std::string description;
  json parameters; ///< JSON Schema of the arguments, an object
  troupe::effect effect = effect::once;
  troupe::risk risk = risk::low;
};

/// The builtins' names, sorted.
const std::vector<std::string>& builtin_names();

/// The declaration of a builtin; `not_found` names the nearest one.
expected<tool_declaration> builtin_declaration(std::string_view name);

/// A runner for a tool of kind `builtin` (`spec.builtin`, or the tool's name where that is empty). `invalid_argument` when it can never
/// run: a file tool without an absolute `root`, http_fetch without `allow_hosts`.
expected<std::unique_ptr<runner>> make_builtin_runner(const tool_spec& spec, environment& shared);

} // namespace troupe::tools
