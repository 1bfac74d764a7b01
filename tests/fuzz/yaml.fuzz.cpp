// Bytes -> the reader (YAML and JSON), and the whole load from memory. The first byte chooses; "include" leads back to the same bytes.

#include <cstddef>
#include <cstdint>
#include <string>

#include "troupe/config/load.hpp"
#include "troupe/config/yaml_reader.hpp"

using namespace troupe;
using namespace troupe::config;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0)
    return 0;
  const std::string text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const auto formats = {text_format::automatic, text_format::as_yaml, text_format::as_json};
  if (data[0] % 4 < 3) {
    problem_list problems;
    const auto document = read_text(text, "f", problems, *(formats.begin() + data[0] % 4));
    for (const auto& each : problems.sorted())
      (void) each.text();
    if (problems.empty() && document.value.is_object())
      (void) document.value.dump(); // throws on text that is no UTF-8
    return 0;
  }
  const file_access files{[&](const std::string& path, std::size_t) -> expected<std::string> {
                            if (path.size() > 10)
                              return fail(error_code::not_found, "no such file");
                            return text;
                          },
                          [](const std::string&) { return true; }};
  const environment variables = [](const std::string& name) -> std::optional<std::string> {
    return name.size() < 4 ? std::optional<std::string>(name) : std::nullopt;
  };
  const auto result = load("/f.yaml", variables, files);
  (void) result.text();
  if (result.ok() && !resolve(result.value->source, result.value->file, variables))
    __builtin_trap(); // what was accepted once is accepted again
  return 0;
}
