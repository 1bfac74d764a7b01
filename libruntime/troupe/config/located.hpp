#pragma once
// A JSON value together with the place of each of its parts in the text that it was read from.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

namespace troupe::config {

using json = nlohmann::json;

/// From 1, columns in code points; 0: unknown.
struct position {
  std::uint32_t line = 0;
  std::uint32_t column = 0;
  friend bool operator==(const position&, const position&) = default;
};

/// The places of one value and of what is in it. A tree and no map of pointers, so that its size is linear in the text's.
struct place {
  std::string name; ///< of a member: its key
  position key;     ///< of a member: where its key stands
  position value;
  std::uint32_t file = 0; ///< index into `located_document::files`
  bool is_array = false;
  std::vector<place> children; ///< elements in order; members sorted by name

  const place* member(std::string_view wanted) const;
};

/// What a document takes, aliases counted with all that they stand for.
struct document_size {
  std::uint64_t nodes = 0; ///< scalars, mappings and sequences
  std::uint64_t bytes = 0; ///< of scalars and keys
};

struct located_document {
  json value;
  place root;
  std::vector<std::string> files{std::string()}; ///< names as the user knows them
  document_size size;

  struct found_place {
    const place* at = nullptr; ///< never null: the deepest part on the pointer's way that exists
    bool exact = false;        ///< the pointer's own part exists
  };
  found_place find(std::string_view pointer) const;
  /// Where the value stands (of the deepest part that exists).
  position position_of(std::string_view pointer) const { return find(pointer).at->value; }
  /// Where its key stands; of an element or the whole: the value's place.
  position key_position_of(std::string_view pointer) const;
};

} // namespace troupe::config
