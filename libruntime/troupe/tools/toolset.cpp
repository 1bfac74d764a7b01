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

/// Whether brackets outside of strings nest deeper than the limit. A look at the bytes, before any parser spends memory on them.
bool too_deep(std::string_view text) {
  std::size_t depth = 0;
  bool in_string = false;
  for (std::size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    if (in_string) {
      at += c == '\\' ? 1 : 0;
      in_string = c != '"';
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      if (++depth > argument_depth_max)
        return true;
    } else if (depth > 0 && (c == '}' || c == ']')) {
      --depth;
    }
  }
  return false;
}

/// Where and what is wrong with a text that is no JSON, in words for a model.
std::string syntax_problem(std::string_view text, const json::exception& problem) {
  const auto* syntax = dynamic_cast<const json::parse_error*>(&problem);
  if (syntax && syntax->byte > text.size())
    return "the JSON ends too early, after " + std::to_string(text.size())
           + " bytes: it was cut off; send the whole call again, shorter if need be";
  std::string words = problem.what();
  if (const auto name_end = words.find("] "); name_end != std::string::npos)
    words.erase(0, name_end + 2); // the library's number for it
  return "the arguments are not JSON: " + words.substr(0, 300);
}

tl::unexpected<error> wrong(std::string_view tool, std::string words) {
  mend_utf8(words);
  return fail(error_code::invalid_argument, "tool \"" + std::string(tool) + "\" was not called: " + words);
}

/// One line for each broken rule.
std::string words_of(const std::vector<schema::violation>& broken) {
  std::string out = "the arguments break the tool's schema:";
  for (const auto& each : broken)
    out.append("\n  ").append(each.pointer.empty() ? "/" : each.pointer).append(": ").append(each.message);
  return out;
}

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

expected<json> check_arguments(const schema::compiled_schema& arguments, std::string_view tool, std::string_view text) {
  if (text.size() > argument_bytes_max)
    return wrong(tool, "the arguments have " + std::to_string(text.size()) + " bytes, and at most " + std::to_string(argument_bytes_max)
                           + " are taken");
  if (!is_valid_utf8(text))
    return wrong(tool, "the arguments are not valid UTF-8");
  json value = json::object();
  if (text.find_first_not_of(" \t\r\n") != std::string_view::npos) {
    if (too_deep(text))
      return wrong(tool, "the arguments are nested deeper than " + std::to_string(argument_depth_max) + " levels");
    try {
      value = json::parse(text.begin(), text.end());
    } catch (const json::exception& problem) {
      return wrong(tool, syntax_problem(text, problem));
    }
  }
  if (!value.is_object())
    return wrong(tool, std::string("the arguments must be one JSON object, and are ") + value.type_name());
  if (const auto broken = arguments.validate(value); !broken.empty())
    return wrong(tool, words_of(broken));
  return value;
}

expected<json> check_arguments(const prepared_tool& tool, std::string_view text) {
  return check_arguments(tool.arguments, tool.spec.name, text);
}

} // namespace troupe::tools
