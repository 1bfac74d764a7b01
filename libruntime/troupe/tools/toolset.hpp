#pragma once
// From a tool's specification to something that can be offered to a model, checked and run: one table row a kind.

#include <memory>
#include <string>
#include <string_view>

#include "troupe/model/config.hpp"
#include "troupe/model/error.hpp"
#include "troupe/policy/tool_arguments.hpp"
#include "troupe/schema/schema.hpp"
#include "troupe/tools/builtin.hpp"
#include "troupe/tools/environment.hpp"
#include "troupe/tools/runner.hpp"

namespace troupe::tools {

/// A tool that is ready: immutable but for its runner, shared by all who call it. Any thread.
struct prepared_tool {
  tool_spec spec; ///< with the builtin's defaults filled in
  tool_declaration declaration;
  schema::compiled_schema arguments;
  std::unique_ptr<runner> run;
};

/// What a model is told: the specification's words where it has some, the builtin's else. Pure.
expected<tool_declaration> declaration_of(const tool_spec& spec);

/// The runner of a tool's kind. `invalid_argument` names the tool and what to change; kinds that this build cannot run are refused
/// here, so at start.
expected<std::unique_ptr<runner>> make_runner(const tool_spec& spec, environment& shared);

/// Declaration, compiled schema and runner in one.
expected<prepared_tool> prepare(const tool_spec& spec, environment& shared);
/// The same with a runner of the caller's own.
expected<prepared_tool> prepare(const tool_spec& spec, std::unique_ptr<runner> run);

using policy::argument_bytes_max;
using policy::argument_depth_max;
using policy::check_arguments;

/// What a model wrote, as arguments of the tool; or an error whose message the model can correct itself by: not JSON (and where), cut
/// off, no object, too large or deep, or each broken rule with its pointer. An empty text is no arguments. Never throws. Any thread.
expected<json> check_arguments(const prepared_tool& tool, std::string_view text);

} // namespace troupe::tools
