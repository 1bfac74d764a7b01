#pragma once
// Text -> JSON value with places. YAML 1.2 (core schema: `no` is a string, `"1"` stays one) through yaml-cpp's events, JSON through
// nlohmann's parser. The text is hostile: it is bounded in bytes, depth, nodes and alias expansion, and ends in a problem, never a crash.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "troupe/config/located.hpp"
#include "troupe/config/problem.hpp"

namespace troupe::config {

struct read_limits {
  std::size_t bytes = 4u << 20;           ///< of the text
  std::size_t depth = 100;                ///< of nested mappings and sequences, after alias expansion
  std::size_t nodes = 200'000;            ///< scalars, mappings and sequences, after alias expansion
  std::size_t expanded_bytes = 16u << 20; ///< of all scalars and keys, after alias expansion
  std::size_t pointer_bytes = 4'096;      ///< of all keys on the way to a value
  document_size before;                   ///< of the files read before, which count too
};

enum class text_format {
  automatic, ///< JSON where it begins with `{` or `[` and is JSON; else YAML
  as_yaml,
  as_json
};

/// JSON for a name that ends in `.json`, automatic for all others.
text_format format_of(std::string_view file_name);

/// Reads one document. What is wrong is added to `problems` under `name`: everything that is not printable UTF-8, NUL (also escaped),
/// tabs as indentation, several documents, duplicate keys, keys that are no scalars, merge keys (`<<`), tags outside of the core
/// schema, `.inf` and `.nan`, cycles, and whatever the syntax forbids. Integers beyond 64 bits become doubles, as in JSON. Several
/// problems may come from one text; the value is what could be read around them, and null where nothing could. An empty text is null
/// without a problem.
/// Any thread, no I/O; time is linear in the text's length.
located_document read_text(std::string_view text, const std::string& name, problem_list& problems,
                           text_format format = text_format::automatic, const read_limits& limits = {});

} // namespace troupe::config
