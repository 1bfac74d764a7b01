#pragma once
// JSON Schema 2020-12, compiled once. Written here because the packaged validators ignore keywords silently and recurse into
// std::regex on hostile text (docs/json-schema.md, which also lists every keyword). Patterns run in linear time (RE2).
// `format` and the content keywords are annotations. Compiling refuses what is not supported.

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "troupe/model/error.hpp"

namespace troupe::schema {

using json = nlohmann::json;

/// One broken rule: where in the value (JSON pointer, "" is the whole), which keyword, and words for people and models.
struct violation {
  std::string pointer;
  std::string rule;
  std::string message;
  friend bool operator==(const violation&, const violation&) = default;

  /// "/facts/2/source: required property "url" is missing"; the message alone where the whole value is meant.
  std::string text() const { return pointer.empty() ? message : pointer + ": " + message; }
};

/// A schema that others may refer to by its absolute URI. Nothing is ever fetched.
struct document {
  std::string uri;
  json schema;
};

/// Bounds on what is hostile: a schema from an MCP server, a value from a model.
inline constexpr std::size_t max_schema_nodes = 100'000; ///< JSON values in the schema
inline constexpr std::size_t max_schema_depth = 128;
inline constexpr std::size_t max_value_depth = 512; ///< a deeper value is a violation of the rule "depth"
inline constexpr std::size_t max_pattern_bytes = 10'000;
inline constexpr std::size_t max_pattern_cost = 1'000'000; ///< instructions of all patterns of a schema together (RE2; 16 bytes each)
inline constexpr std::size_t max_steps =
    20'000'000; ///< schema nodes visited in one validation; beyond: a violation of the rule "complexity"

class compiled_schema {
public:
  /// Compiles; `invalid_argument` with the pointer into the schema (`where`) when it is no valid schema or uses something
  /// unsupported: another draft, a reference to a document that is neither in `documents` nor the 2020-12 metaschema, a pattern
  /// that RE2 cannot run, a `$ref` loop, a schema beyond the bounds above.
  static expected<compiled_schema> compile(const json& schema, const std::vector<document>& documents = {});

  /// The same, with every problem that it is refused for: at most 20, at least one. What its patterns took of `max_pattern_cost` is
  /// added to `pattern_cost`, refused or not.
  static tl::expected<compiled_schema, std::vector<error>> compile_or_all_problems(const json& schema, std::size_t& pattern_cost);

  /// All violations, at most `limit` (at least 1); empty: valid. Any thread. Subschemas that are used from several places are
  /// evaluated once for each value, so that time stays in the order of value × schema; what needs more than `max_steps` is a
  /// violation. Stack use is bounded whatever schema and value are.
  std::vector<violation> validate(const json& value, std::size_t limit = 20) const;
  bool is_valid(const json& value) const;

  /// What compiles but is probably meant otherwise, "pointer: words": misspelt keywords (the specification has unknown ones
  /// ignored). For `troupe validate`.
  const std::vector<std::string>& warnings() const;

  struct impl; // defined in the source

private:
  std::shared_ptr<const impl> impl_;
};

} // namespace troupe::schema
