#include "troupe/tools/mcp_tool.hpp"

#include <algorithm>
#include <cctype>
#include <cstring>
#include <functional>

#include "troupe/schema/canonical_json.hpp"
#include "troupe/schema/schema.hpp"
#include "troupe/tools/mcp_digest.hpp"
#include "troupe/tools/mcp_message.hpp"
#include "troupe/util/redact.hpp"
#include "troupe/util/suggest.hpp"
#include "troupe/util/utf8.hpp"

namespace troupe::tools {

namespace {

constexpr std::size_t name_bytes_max = 128;
constexpr std::size_t provider_name_max = 64;
constexpr std::size_t description_bytes_max = 64u << 10;
constexpr std::string_view header_mark = "x-mcp-header";

bool is_token(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || (c != 0 && std::strchr("!#$%&'*+-.^_`|~", c) != nullptr);
  });
}

std::string lowered(std::string text) {
  for (auto& c : text)
    c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

std::size_t count_marks(const json& schema) {
  std::size_t marks = 0;
  if (schema.is_object())
    for (const auto& [key, value] : schema.items())
      marks += (key == header_mark ? 1 : 0) + count_marks(value);
  else if (schema.is_array())
    for (const auto& each : schema)
      marks += count_marks(each);
  return marks;
}

/// Gathers the marks that a chain of `properties` reaches; what is wrong with one, or nothing.
std::string gather_marks(const json& schema, std::vector<std::string>& path, mcp_tool& into) {
  const auto properties = schema.is_object() ? schema.find("properties") : schema.end();
  if (!schema.is_object() || properties == schema.end() || !properties->is_object())
    return {};
  for (const auto& [name, each] : properties->items()) {
    path.push_back(name);
    if (each.is_object()) {
      if (const auto mark = each.find(header_mark); mark != each.end()) {
        const auto type = each.find("type");
        if (!mark->is_string() || !is_token(mark->get<std::string>()))
          return "the x-mcp-header of " + in_quotes(name) + " is no header's name";
        if (type == each.end() || (*type != "string" && *type != "integer" && *type != "boolean"))
          return "the x-mcp-header of " + in_quotes(name) + " is at a parameter that is no string, integer or boolean";
        into.headers.emplace_back(path, mark->get<std::string>());
      }
      if (auto problem = gather_marks(each, path, into); !problem.empty())
        return problem;
    }
    path.pop_back();
  }
  return {};
}

std::string read_marks(mcp_tool& into) {
  const auto marks = count_marks(into.input_schema);
  if (marks == 0)
    return {};
  std::vector<std::string> path;
  if (auto problem = gather_marks(into.input_schema, path, into); !problem.empty())
    return problem;
  if (into.headers.size() != marks)
    return "an x-mcp-header stands where no chain of properties leads";
  std::set<std::string> seen;
  for (const auto& [where, name] : into.headers)
    if (!seen.insert(lowered(name)).second)
      return "two parameters have the x-mcp-header " + in_quotes(name);
  return {};
}

json as_2020_12(json schema);

/// Schemas by name: the names are the server's own, whatever keyword they look like.
json each_as_2020_12(json schemas) {
  if (schemas.is_object())
    for (auto& [name, schema] : schemas.items())
      schema = as_2020_12(std::move(schema));
  return schemas;
}

/// Most servers still write JSON Schema draft 7. What differs in what they use is spelled as 2020-12 has it; other dialects are refused
/// later.
json as_2020_12(json schema) {
  if (schema.is_array()) {
    for (auto& each : schema)
      each = as_2020_12(std::move(each));
    return schema;
  }
  if (!schema.is_object())
    return schema;
  json out = json::object();
  const bool tuple = schema.contains("items") && schema["items"].is_array();
  for (auto& [key, value] : schema.items()) {
    if (key == "enum" || key == "const" || key == "default" || key == "examples") {
      out[key] = std::move(value);
    } else if (key == "properties" || key == "patternProperties" || key == "definitions" || key == "$defs") {
      out[key == "definitions" ? "$defs" : key] = each_as_2020_12(std::move(value));
    } else if (key == "$ref" && value.is_string() && value.get<std::string>().rfind("#/definitions/", 0) == 0) {
      out[key] = "#/$defs/" + value.get<std::string>().substr(std::strlen("#/definitions/"));
    } else if (key == "dependencies" && value.is_object()) {
      for (auto& [name, needs] : value.items()) {
        auto& into = out[needs.is_array() ? "dependentRequired" : "dependentSchemas"][name]; // before `needs` is moved
        into = as_2020_12(std::move(needs));
      }
    } else {
      const auto spelled = key == "items" && tuple ? "prefixItems" : key == "additionalItems" && tuple ? "items" : key;
      out[spelled] = as_2020_12(std::move(value));
    }
  }
  return out;
}

json schema_of(json schema) {
  const auto dialect = schema.find("$schema");
  if (dialect == schema.end() || !dialect->is_string()
      || dialect->get<std::string>().find("json-schema.org/draft-07/") == std::string::npos)
    return schema;
  schema.erase("$schema");
  return as_2020_12(std::move(schema));
}

bool hint(const json& annotations, const char* key) {
  const auto found = annotations.is_object() ? annotations.find(key) : annotations.end();
  return annotations.is_object() && found != annotations.end() && found->is_boolean() && found->get<bool>();
}

std::size_t base64_bytes(std::string_view text) {
  return text.size() / 4 * 3;
}

/// One item of `content`, for a model.
std::string content_text(const json& item) {
  const auto type = string_at(item, "type");
  if (type == "text")
    return string_at(item, "text");
  const auto kind = string_at(item, "mimeType");
  if (type == "image" || type == "audio")
    return "[" + type + (kind.empty() ? "" : " " + kind) + ", about " + std::to_string(base64_bytes(string_at(item, "data")))
           + " bytes, not shown]";
  if (type == "resource_link")
    return "[resource " + string_at(item, "uri") + (string_at(item, "name").empty() ? "" : " (" + string_at(item, "name") + ")") + "]";
  if (type == "resource") {
    const auto inner = item.find("resource");
    if (inner == item.end() || !inner->is_object())
      return "[an empty resource]";
    if (inner->contains("text"))
      return "[resource " + string_at(*inner, "uri") + "]\n" + string_at(*inner, "text");
    return "[resource " + string_at(*inner, "uri") + (string_at(*inner, "mimeType").empty() ? "" : " " + string_at(*inner, "mimeType"))
           + ", about " + std::to_string(base64_bytes(string_at(*inner, "blob"))) + " bytes, not shown]";
  }
  return "[content of the unknown type " + in_quotes(type) + ", not shown]";
}

/// Why structured content breaks the tool's own output schema; empty: it does not.
std::string structure_problem(const mcp_tool& tool, const json& result, bool failed) {
  if (tool.output_schema.is_null() || failed)
    return {};
  const auto structured = result.find("structuredContent");
  if (structured == result.end())
    return "it declares an output schema and answered without structured content";
  const auto compiled = schema::compiled_schema::compile(tool.output_schema);
  if (!compiled)
    return {}; // a schema that we cannot read says nothing
  const auto broken = compiled->validate(*structured);
  return broken.empty() ? std::string()
                        : "its structured content breaks its output schema: " + broken.front().pointer + ": " + broken.front().message;
}

std::string provider_name(std::string_view name) {
  std::string out;
  for (const unsigned char c : name)
    out += std::isalnum(c) != 0 || c == '_' || c == '-' ? static_cast<char>(c) : '_';
  if (out.size() > provider_name_max)
    out = out.substr(0, provider_name_max - 9) + "_" + sha256_hex(name).substr(0, 8);
  return out;
}

} // namespace

json mcp_tool::definition() const {
  return {{"name", name},
          {"description", description},
          {"inputSchema", input_schema},
          {"outputSchema", output_schema},
          {"annotations", annotations}};
}

json without_secrets(json of) {
  if (of.is_string()) {
    of = redacted(std::move(of.get_ref<std::string&>()));
  } else if (of.is_array()) {
    for (auto& each : of)
      each = without_secrets(std::move(each));
  } else if (of.is_object()) {
    json out = json::object();
    for (auto& [key, value] : of.items())
      out[redacted(key)] = without_secrets(std::move(value));
    return out;
  }
  return of;
}

expected<mcp_tool> read_mcp_tool(const json& as_told, bool http) {
  const auto wrong = [](std::string words) { return fail(error_code::invalid_argument, std::move(words)); };
  if (!as_told.is_object())
    return wrong("a tool that is no object");
  if (const auto name = string_at(as_told, "name"); redacted(name) != name)
    return wrong("a tool with a secret in its name");
  const auto from = without_secrets(as_told);
  mcp_tool out;
  out.name = string_at(from, "name");
  if (out.name.empty() || out.name.size() > name_bytes_max)
    return wrong("a tool without a name, or with one over " + std::to_string(name_bytes_max) + " bytes");
  out.description = string_at(from, "description");
  if (out.description.empty())
    out.description = string_at(from, "title");
  if (out.description.size() > description_bytes_max)
    return wrong("the description of " + in_quotes(out.name) + " has more than " + std::to_string(description_bytes_max) + " bytes");
  const auto input = from.find("inputSchema");
  if (input == from.end() || !input->is_object())
    return wrong("tool " + in_quotes(out.name) + " has no input schema");
  out.input_schema = schema_of(*input);
  if (const auto compiled = schema::compiled_schema::compile(out.input_schema); !compiled)
    return wrong("the input schema of tool " + in_quotes(out.name) + ": " + compiled.error().text());
  if (const auto output = from.find("outputSchema"); output != from.end() && output->is_object())
    out.output_schema = schema_of(*output);
  if (const auto notes = from.find("annotations"); notes != from.end() && notes->is_object())
    out.annotations = *notes;
  if (http)
    if (auto problem = read_marks(out); !problem.empty())
      return wrong("tool " + in_quotes(out.name) + ": " + problem);
  return out;
}

void apply_annotations(const mcp_tool& tool, const mcp_spec& said, tool_spec& into) {
  const bool reads = hint(tool.annotations, "readOnlyHint");
  into.effect = reads ? effect::none : hint(tool.annotations, "idempotentHint") ? effect::idempotent : effect::once;
  if (!reads && hint(tool.annotations, "destructiveHint"))
    into.risk = risk::high;
  if (said.effect)
    into.effect = *said.effect;
  if (said.risk)
    into.risk = *said.risk;
  if (const auto own = said.overrides.find(tool.name); own != said.overrides.end()) {
    into.effect = own->second.effect.value_or(into.effect);
    into.risk = own->second.risk.value_or(into.risk);
  }
}

std::string mcp_header_value(std::string_view text) {
  const bool plain = std::all_of(text.begin(), text.end(), [](unsigned char c) { return (c >= 0x20 && c <= 0x7e) || c == '\t'; });
  const auto is_space = [](char c) { return c == ' ' || c == '\t'; };
  const bool padded = !text.empty() && (is_space(text.front()) || is_space(text.back()));
  const bool marked = text.size() >= 11 && text.substr(0, 9) == "=?base64?" && text.substr(text.size() - 2) == "?=";
  if (plain && !padded && !marked)
    return std::string(text);
  return "=?base64?" + base64(text) + "?=";
}

std::vector<std::pair<std::string, std::string>> mcp_argument_headers(const mcp_tool& tool, const json& arguments) {
  std::vector<std::pair<std::string, std::string>> out;
  for (const auto& [path, name] : tool.headers) {
    const json* at = &arguments;
    for (const auto& key : path) {
      const auto next = at->is_object() ? at->find(key) : at->end();
      at = at->is_object() && next != at->end() ? &*next : nullptr;
      if (at == nullptr)
        break;
    }
    if (at == nullptr || at->is_null())
      continue;
    const auto text = at->is_string() ? at->get<std::string>() : at->is_number() ? schema::canonical_json(*at) : at->dump();
    out.emplace_back("Mcp-Param-" + name, mcp_header_value(text));
  }
  return out;
}

tool_outcome mcp_outcome(const std::string& who, const mcp_tool& tool, const json& result, std::size_t bytes_max) {
  tool_outcome out;
  const auto failed_mark = result.find("isError");
  const bool failed = failed_mark != result.end() && failed_mark->is_boolean() && failed_mark->get<bool>();
  bool said_in_text = false;
  const auto structured = result.find("structuredContent");
  if (const auto content = result.find("content"); content != result.end() && content->is_array())
    for (const auto& item : *content) {
      if (!item.is_object())
        continue;
      auto text = content_text(item);
      if (structured != result.end() && !said_in_text)
        said_in_text = json::parse(text, nullptr, false) == *structured
                       || (structured->is_object() && structured->size() == 1 && structured->front() == text);
      out.output += (out.output.empty() ? "" : "\n") + text;
      if (out.output.size() > bytes_max)
        break;
    }
  if (structured != result.end() && !said_in_text)
    out.output += (out.output.empty() ? "" : "\n") + structured->dump(-1, ' ', false, json::error_handler_t::replace);
  out.output = redacted(std::move(out.output)); // before it is cut: a part of a secret is not found any more
  mend_utf8(out.output);
  if (out.output.size() > bytes_max) {
    const auto all = out.output.size();
    out.output.resize(utf8_prefix(out.output, bytes_max).size());
    out.output += "\n[cut: these are the first " + std::to_string(out.output.size()) + " of " + std::to_string(all) + " bytes or more]";
    out.truncated = true;
  }
  if (failed) {
    out.status = tool_status::failed;
    out.error = who + " says: " + (out.output.empty() ? "it failed, and not why" : out.output);
    out.output.clear();
  } else if (auto problem = structure_problem(tool, result, failed); !problem.empty()) {
    out.status = tool_status::failed;
    out.error = who + ": " + problem;
  }
  return out;
}

expected<std::map<std::pair<std::string, std::string>, std::string>> mcp_names(const std::vector<mcp_offer>& offers,
                                                                               const std::set<std::string>& taken) {
  std::map<std::string, int> plain;
  for (const auto& offer : offers)
    for (const auto& tool : offer.tools)
      ++plain[provider_name(tool)];
  std::map<std::pair<std::string, std::string>, std::string> out;
  std::map<std::string, std::string> owner;
  for (const auto& offer : offers)
    for (const auto& tool : offer.tools) {
      auto name = provider_name(tool);
      if (offer.prefix || plain.at(name) > 1 || taken.count(name) > 0)
        name = provider_name(offer.server + "_" + tool);
      const auto who = "tool " + in_quotes(tool) + " of server " + in_quotes(offer.server);
      if (taken.count(name) > 0)
        return fail(error_code::conflict,
                    who + " and the configuration's own tool are both named " + in_quotes(name) + "; rename one of them");
      if (const auto [at, fresh] = owner.emplace(name, who); !fresh)
        return fail(error_code::conflict,
                    who + " and " + at->second + " are both named " + in_quotes(name) + "; offer only one of them by `tools`");
      out.emplace(std::make_pair(offer.server, tool), std::move(name));
    }
  return out;
}

} // namespace troupe::tools
