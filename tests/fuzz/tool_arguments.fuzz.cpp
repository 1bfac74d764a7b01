// What a model writes: tool arguments, expressions, paths, patterns, URLs. Nothing of it may crash, leak or escape.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "troupe/schema/schema.hpp"
#include "troupe/tools/address_check.hpp"
#include "troupe/tools/builtin.hpp"
#include "troupe/tools/calculator.hpp"
#include "troupe/tools/confined.hpp"
#include "troupe/tools/glob.hpp"
#include "troupe/tools/toolset.hpp"
#include "troupe/util/utf8.hpp"

namespace {

using namespace troupe;

std::vector<schema::compiled_schema> make_schemas() {
  std::vector<schema::compiled_schema> out;
  for (const auto& name : tools::builtin_names())
    out.push_back(*schema::compiled_schema::compile(tools::builtin_declaration(name)->parameters));
  for (
      const char* text :
      {R"({"type":"object","properties":{"a":{"type":"string","pattern":"^(a|b)*$"},"b":{"type":"array","items":{"$ref":"#"},"uniqueItems":true}}})",
       R"({"type":"object","patternProperties":{"^x":{"enum":[1,"y",null]}},"additionalProperties":{"oneOf":[{"type":"integer"},{"minLength":2}]}})",
       R"({"type":"object","propertyNames":{"maxLength":3},"dependentRequired":{"a":["b"]},"unevaluatedProperties":false,"allOf":[{"properties":{"a":{"multipleOf":0.01}}}]})"})
    out.push_back(*schema::compiled_schema::compile(json::parse(text)));
  return out;
}

void must(bool condition) {
  if (!condition)
    std::abort();
}

void check_path(std::string_view text) {
  const auto relative = tools::relative_path("/data/root", text);
  if (!relative)
    return;
  must(!relative->empty() && relative->front() != '/' && relative->back() != '/' && relative->find('\0') == std::string::npos);
  for (std::size_t from = 0; from != std::string::npos;) {
    const auto end = relative->find('/', from);
    const auto part = relative->substr(from, end == std::string::npos ? end : end - from);
    must(part != ".." && !part.empty() && (part != "." || *relative == "."));
    from = end == std::string::npos ? end : end + 1;
  }
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const auto schemas = make_schemas();
  if (size < 1)
    return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] % 5) {
  case 0: {
    const auto& chosen = schemas[data[0] / 5 % schemas.size()];
    const auto arguments = tools::check_arguments(chosen, "tool", text);
    if (arguments)
      must(arguments->is_object());
    else
      must(is_valid_utf8(arguments.error().message));
    break;
  }
  case 1: {
    const auto value = tools::calculate(text);
    must(is_valid_utf8(value ? *value : value.error().message));
    break;
  }
  case 2:
    check_path(text);
    break;
  case 3: {
    const auto half = text.find('\n');
    if (half != std::string_view::npos && size < 2'000)
      tools::glob_matches(text.substr(0, half), text.substr(half + 1));
    break;
  }
  case 4: {
    static const auto allowed = *tools::parse_allowed_hosts({"example.com", "*.example.org", "127.0.0.1:8080", "[::1]:80"});
    if (const auto target = tools::target_of(std::string(text)))
      tools::entry_for(allowed, *target);
    tools::parse_allowed_hosts({std::string(text)}).map([](auto&&) {});
    break;
  }
  }
  return 0;
}
