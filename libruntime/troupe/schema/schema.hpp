#pragma once
// JSON Schema 2020-12, compiled once. Written here because the packaged validators ignore keywords silently and recurse into
// std::regex on hostile text (docs/decisions). Patterns run in linear time (RE2). Compiling refuses what is not supported.

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
};

class compiled_schema {
public:
  /// Compiles; `invalid_argument` with the pointer into the schema when it is no valid schema or uses something unsupported
  /// (remote references, patterns that RE2 cannot run). Bounded: at most 100,000 nodes, depth 128.
  static expected<compiled_schema> compile(const json& schema);

  /// All violations, at most `limit`; empty: valid. Time is linear in value × schema; depth is bounded by the value's own (the reader's limit).
  std::vector<violation> validate(const json& value, std::size_t limit = 20) const;
  bool is_valid(const json& value) const { return validate(value, 1).empty(); }

  struct impl; // defined in the source

private:
  std::shared_ptr<const impl> impl_;
};

} // namespace troupe::schema
