// Any text parses or is refused with an offset inside it; rendering is the text with its paths replaced once.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "troupe/policy/template.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const auto scope = nlohmann::json::parse(R"({"a": "{{ b }}", "b": [1, {"c": null}], "item": "x"})");
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto parsed = troupe::text_template::parse(text);
  if (!parsed)
    return 0;
  const auto rendered = parsed->render(scope);
  if (const auto argument = parsed->render_argument(scope); argument && *argument != rendered)
    std::abort();
  if (!parsed->is_path() && parsed->evaluate(scope) != nlohmann::json(rendered))
    std::abort();
  if (parsed->paths().empty() && text.find("{{") == std::string_view::npos && rendered != text)
    std::abort();
  return 0;
}
