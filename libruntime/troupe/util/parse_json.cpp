#include "troupe/util/parse_json.hpp"

#include <string>

#include "troupe/util/redact.hpp"
#include "troupe/util/utf8.hpp"

namespace troupe {

expected<nlohmann::json> parse_bounded(std::string_view text, std::size_t max_depth) {
  std::size_t depth = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\')
        ++i;
      else if (c == '"')
        in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      if (++depth > max_depth)
        return fail(error_code::invalid_argument,
                    "nests deeper than " + std::to_string(max_depth) + " levels at byte " + std::to_string(i));
    } else if ((c == '}' || c == ']') && depth > 0) {
      --depth;
    }
  }
  try {
    return nlohmann::json::parse(text);
  } catch (const nlohmann::json::exception& problem) {
    std::string_view words = problem.what();
    if (const auto end = words.find("] "); end != std::string_view::npos)
      words.remove_prefix(end + 2);
    return fail(error_code::invalid_argument, mended_utf8(safe_prefix(words, 300)));
  }
}

} // namespace troupe
