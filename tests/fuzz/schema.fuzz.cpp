// The first line is a schema, the rest a value: whatever they are, compiling and validating end, and a check agrees with an explanation.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "troupe/schema/canonical_json.hpp"
#include "troupe/schema/schema.hpp"
#include "troupe/util/parse_json.hpp"
#include "troupe/util/utf8.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto line = text.find('\n');
  const auto schema = troupe::parse_bounded(text.substr(0, line));
  const auto value = troupe::parse_bounded(line == std::string_view::npos ? "{}" : text.substr(line + 1));
  if (!schema || !value)
    return 0;
  const auto canonical = troupe::schema::canonical_json(*value);
  const auto again = troupe::parse_bounded(canonical);
  if (!again || troupe::schema::canonical_json(*again) != canonical)
    std::abort();
  const auto compiled = troupe::schema::compiled_schema::compile(*schema);
  if (!compiled)
    return 0;
  const auto found = compiled->validate(*value);
  for (const auto& violation : found)
    if (!troupe::is_valid_utf8(violation.text()))
      std::abort();
  if (compiled->is_valid(*value) != found.empty())
    std::abort();
  return 0;
}
