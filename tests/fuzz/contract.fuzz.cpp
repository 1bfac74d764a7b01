// An answer of any bytes is judged without a crash; what is accepted is valid, and is accepted again when it is given alone.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "troupe/policy/contract.hpp"
#include "troupe/util/utf8.hpp"

namespace {

troupe::contract made(const char* schema) {
  troupe::output_spec spec;
  if (schema != nullptr)
    spec.schema = nlohmann::json::parse(schema);
  spec.max_length = 2'000;
  spec.not_matches = "forbidden|(a|b)*c{3}";
  if (schema == nullptr)
    spec.must_mention = {"x"};
  return *troupe::contract::compile(spec);
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const auto any = made("true");
  static const auto strict =
      made(R"({"type": "object", "required": ["a"], "properties": {"a": {"type": ["string", "array"]}}, "additionalProperties": false})");
  static const auto text_only = made(nullptr);
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  for (const auto* rules : {&any, &strict, &text_only}) {
    const auto verdict = rules->check(text);
    if (!troupe::is_valid_utf8(troupe::feedback_text(verdict.violations, rules->expects_json())))
      std::abort();
    if (verdict.accepted() && rules->expects_json() && rules->check(verdict.output.dump()).output != verdict.output)
      std::abort();
  }
  return 0;
}
