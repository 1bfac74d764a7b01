#include "input.hpp"

#include <fstream>
#include <iostream>
#include <iterator>

#include "troupe/config/yaml_reader.hpp"
#include "troupe/schema/schema.hpp"
#include "troupe/util/suggest.hpp"

namespace troupe::cli {

namespace {

constexpr std::size_t max_input_bytes = 16u << 20;

expected<json> read_document_file(const std::string& file) {
  std::string text;
  if (file == "-") {
    text.assign(std::istreambuf_iterator<char>(std::cin), {});
  } else {
    std::ifstream in(file, std::ios::binary);
    if (!in)
      return fail(error_code::invalid_argument, "the input file cannot be read; check its path", file);
    text.assign(std::istreambuf_iterator<char>(in), {});
  }
  if (text.size() > max_input_bytes)
    return fail(error_code::invalid_argument, "the input is larger than 16 MiB", file);
  config::problem_list problems;
  config::read_limits bounds;
  bounds.bytes = max_input_bytes;
  auto document = config::read_text(text, file == "-" ? "standard input" : file, problems, config::format_of(file), bounds);
  if (!problems.empty()) {
    std::string all;
    for (const auto& problem : problems.sorted())
      all += (all.empty() ? "" : "\n") + problem.text();
    return fail(error_code::invalid_argument, all);
  }
  if (!document.value.is_object())
    return fail(error_code::invalid_argument, "the input must be a mapping (an object), as in { topic: … }", file);
  return std::move(document.value);
}

/// Whether a string may stand at this key, judged by the key's own schema; without one it may.
bool takes_string(const json& schema, const std::string& key, const std::string& value) {
  const auto* properties = schema.is_object() && schema.contains("properties") ? &schema["properties"] : nullptr;
  if (properties == nullptr || !properties->is_object() || !properties->contains(key))
    return true;
  const auto compiled = schema::compiled_schema::compile((*properties)[key]);
  if (!compiled)
    return true;
  const auto& own = (*properties)[key];
  if (own.is_object() && own.contains("type")) {
    const auto& type = own["type"];
    return type == "string" || (type.is_array() && std::find(type.begin(), type.end(), "string") != type.end());
  }
  return compiled->is_valid(value);
}

} // namespace

expected<json> read_input(const std::string& file, const std::vector<std::string>& pairs, const json& schema) {
  json input = json::object();
  if (!file.empty()) {
    auto read = read_document_file(file);
    if (!read)
      return read;
    input = std::move(*read);
  }
  for (const auto& pair : pairs) {
    const auto equals = pair.find('=');
    if (equals == std::string::npos || equals == 0)
      return fail(error_code::invalid_argument, "-i takes key=value; " + in_quotes(pair) + " has no key and \"=\"");
    const auto key = pair.substr(0, equals);
    const auto value = pair.substr(equals + 1);
    if (takes_string(schema, key, value)) {
      input[key] = value;
      continue;
    }
    auto parsed = json::parse(value, nullptr, false);
    if (parsed.is_discarded())
      return fail(error_code::invalid_argument,
                  "-i " + key + ": the input's schema wants something else than a string, and " + in_quotes(value) + " is not JSON");
    input[key] = std::move(parsed);
  }
  return input;
}

} // namespace troupe::cli
