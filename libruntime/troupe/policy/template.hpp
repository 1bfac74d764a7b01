#pragma once
// Templates `{{ path }}` of instructions, arguments, URLs and results (INTERFACES 1). A path is dotted: `input.topic`,
// `tasks.check.output.facts`, `item`, `index`; a number indexes an array. `{{ "{{" }}` writes two braces. What is rendered is
// never read as a template again: text of a model or a tool cannot reach other values.

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <nlohmann/json.hpp>

#include "troupe/model/error.hpp"

namespace troupe {

class text_template {
public:
  using path = std::vector<std::string>;

  text_template() = default; ///< the empty text

  /// `invalid_argument` with the offset in bytes, for unclosed braces, an empty path or segment, and what is no path.
  static expected<text_template> parse(std::string_view text);

  /// The text with each path replaced: a string as it is, anything else as compact JSON, an absent one as "".
  std::string render(const nlohmann::json& scope) const;

  /// As `render`, with each value's text passed through `encode`: what is put in cannot end what it stands in.
  std::string render_encoded(const nlohmann::json& scope, const std::function<std::string(std::string_view)>& encode) const;

  /// As `render`, with what `write` makes of each value (null pointer: absent). It is given the literal text since the last one, too.
  std::string render_each(const nlohmann::json& scope,
                          const std::function<std::string(std::string_view literal, const nlohmann::json* value)>& write) const;

  /// As `render`, but nullopt where the template is exactly one path and the scope does not have it, or has null there (how
  /// models leave out an argument that a strict schema makes them name): the argument is dropped.
  std::optional<std::string> render_argument(const nlohmann::json& scope) const;

  /// The value itself where the template is exactly one path (null when absent), else the rendered text. For `for_each`,
  /// `with` and `result`.
  nlohmann::json evaluate(const nlohmann::json& scope) const;

  /// The paths that it reads, in order, repeats included: `tasks.x` implies `needs: [x]`.
  const std::vector<path>& paths() const { return paths_; }

  /// Whether it is exactly one path.
  bool is_path() const { return parts_.size() == 1 && std::holds_alternative<std::size_t>(parts_.front()); }

private:
  std::vector<std::variant<std::string, std::size_t>> parts_; ///< literal text, or an index into `paths_`
  std::vector<path> paths_;
};

/// The value at a path, or null pointer where the scope has none.
const nlohmann::json* value_at(const nlohmann::json& scope, const text_template::path& path);

} // namespace troupe
