// The builtin `calculator`.
#include "troupe/tools/builtin_parts.hpp"
#include "troupe/tools/calculator.hpp"

namespace troupe::tools {

namespace {

tool_declaration declare_calculator() {
  return {
      "calculator",
      "The value of an arithmetic expression: + - * / % ^ ( ), decimals, pi, e, sqrt cbrt abs round floor ceil trunc exp ln log log2 log10 "
      "sin cos tan asin acos atan (radians), min max pow mod. Numbers without thousands separators.",
      {{"type", "object"},
       {"required", {"expression"}},
       {"properties",
        {{"expression", {{"type", "string"}, {"description", "for example (2.5 + 4) * 3^2"}, {"maxLength", expression_bytes_max}}}}},
       {"additionalProperties", false}},
      effect::none,
      risk::low};
}

expected<std::unique_ptr<runner>> make_calculator(const tool_spec& spec, environment&) {
  return answering_runner([tool = spec.name](const json& arguments) {
    const auto expression = arguments.find("expression");
    if (expression == arguments.end() || !expression->is_string())
      return builtin_failure(tool, "it needs `expression`, a text");
    auto value = calculate(expression->get_ref<const std::string&>());
    return value ? tool_outcome{tool_status::ok, std::move(*value), {}, 0, false} : builtin_failure(tool, value.error());
  });
}

} // namespace

const builtin_row calculator_row{"calculator", &declare_calculator, &make_calculator};

} // namespace troupe::tools
