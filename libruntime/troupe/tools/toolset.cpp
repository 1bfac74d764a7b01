#include "troupe/tools/toolset.hpp"

#include <cstdint>
#include <utility>

#include "troupe/model/described.hpp"
#include "troupe/tools/http.hpp"
#include "troupe/tools/mcp_host.hpp"
#include "troupe/tools/process.hpp"
#include "troupe/util/utf8.hpp"

namespace troupe::tools {

namespace {

using make_function = expected<std::unique_ptr<runner>> (*)(const tool_spec& spec, environment& shared);

expected<std::unique_ptr<runner>> refuse_kind(const tool_spec& spec, environment&) {
  return fail(error_code::invalid_argument,
              std::string("this build does not run tools of kind `") + name_of(spec.kind)
                  + "` yet; take it out, or use a `process` tool in its place",
              "tool \"" + spec.name + "\"");
}

struct kind_row {
  tool_kind kind;
  make_function make;
};

/// What makes the runners of each kind.
constexpr kind_row kinds[] = {
    {tool_kind::builtin, &make_builtin_runner},
    {tool_kind::process, &make_process_runner},
    {tool_kind::http, &make_http_runner},
    {tool_kind::mcp, &make_mcp_runner},
};

const json any_object = {{"type", "object"}};

} // namespace

expected<tool_declaration> declaration_of(const tool_spec& spec) {
  tool_declaration out{spec.name, spec.description, spec.parameters, spec.effect, spec.risk};
  if (spec.kind == tool_kind::builtin) {
    auto builtin = builtin_declaration(spec.builtin.empty() ? spec.name : spec.builtin);
    if (!builtin) {
      builtin.error().where = "tool \"" + spec.name + "\"";
      return builtin;
    }
    out.parameters = std::move(builtin->parameters); // what it takes is not the file's to say
    if (out.description.empty())
      out.description = std::move(builtin->description);
  }
  if (!out.parameters.is_object())
    out.parameters = any_object;
  return out;
}

expected<std::unique_ptr<runner>> make_runner(const tool_spec& spec, environment& shared) {
  for (const auto& row : kinds)
    if (row.kind == spec.kind)
      return row.make(spec, shared);
  return refuse_kind(spec, shared);
}

expected<prepared_tool> prepare(const tool_spec& spec, environment& shared) {
  auto run = make_runner(spec, shared);
  if (!run)
    return tl::unexpected(run.error());
  return prepare(spec, std::move(*run));
}

expected<prepared_tool> prepare(const tool_spec& spec, std::unique_ptr<runner> run) {
  auto declaration = declaration_of(spec);
  if (!declaration)
    return tl::unexpected(declaration.error());
  auto arguments = schema::compiled_schema::compile(declaration->parameters);
  if (!arguments) {
    arguments.error().where = "tool \"" + spec.name + "\": parameters";
    return tl::unexpected(arguments.error());
  }
  prepared_tool out{spec, std::move(*declaration), std::move(*arguments), std::move(run)};
  out.spec.parameters = out.declaration.parameters;
  out.spec.description = out.declaration.description;
  return out;
}

expected<json> check_arguments(const prepared_tool& tool, std::string_view text) {
  return check_arguments(tool.arguments, tool.spec.name, text);
}

} // namespace troupe::tools
