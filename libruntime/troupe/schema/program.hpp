#pragma once
// What a schema is compiled to: one node for each subschema, its keywords parsed and its references resolved. Inside this floor
// only. A node refers to others by index; pointers into the schema documents stay valid because the program owns them.

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>
#include <re2/re2.h>

#include "troupe/schema/schema.hpp"

namespace troupe::schema {

using node_id = std::uint32_t;
inline constexpr node_id no_node = 0xFFFFFFFF;

/// Bits of `node::types`. An integer is also a number.
enum type_bit : std::uint8_t {
  type_null = 1,
  type_boolean = 2,
  type_integer = 4,
  type_number = 8,
  type_string = 16,
  type_array = 32,
  type_object = 64,
};

struct number_rules {
  const json* minimum = nullptr;
  const json* maximum = nullptr;
  const json* exclusive_minimum = nullptr;
  const json* exclusive_maximum = nullptr;
  const json* multiple_of = nullptr;
};

struct string_rules {
  std::size_t min_length = 0;
  std::optional<std::size_t> max_length;
  std::shared_ptr<const RE2> pattern;
  std::string pattern_text;
};

struct array_rules {
  std::vector<node_id> prefix;
  node_id items = no_node;
  node_id contains = no_node;
  std::size_t min_contains = 1;
  std::optional<std::size_t> max_contains;
  std::size_t min_items = 0;
  std::optional<std::size_t> max_items;
  bool unique = false;
};

struct pattern_property {
  std::shared_ptr<const RE2> pattern;
  node_id node;
};

struct object_rules {
  std::vector<std::pair<std::string, node_id>> properties; ///< sorted by name
  std::vector<pattern_property> patterns;
  node_id additional = no_node;
  node_id names = no_node;
  std::vector<std::string> required;
  std::vector<std::pair<std::string, std::vector<std::string>>> dependent_required;
  std::vector<std::pair<std::string, node_id>> dependent_schemas;
  std::size_t min_properties = 0;
  std::optional<std::size_t> max_properties;
};

/// Keywords that apply other schemas to the same value.
struct in_place_rules {
  std::vector<node_id> all_of;
  std::vector<node_id> any_of;
  std::vector<node_id> one_of;
  node_id negation = no_node;
  node_id condition = no_node;
  node_id then = no_node;
  node_id otherwise = no_node;
  node_id ref = no_node;
  node_id dynamic_ref = no_node;               ///< where it leads without a dynamic scope
  std::optional<std::uint32_t> dynamic_anchor; ///< index of the anchor's name, where the scope decides
  node_id unevaluated_items = no_node;
  node_id unevaluated_properties = no_node;
};

struct node {
  enum class kind : std::uint8_t { accept, reject, rules } what = kind::rules;
  std::uint8_t types = 0; ///< type_bit mask; 0: any
  bool shared = false;    ///< reached from several places: its results are remembered
  std::uint32_t resource = 0;
  const json* constant = nullptr;
  std::unique_ptr<std::vector<const json*>> enumeration; ///< in the order of `compare`
  const json* enumeration_source = nullptr;              ///< in the schema's order, for messages
  std::unique_ptr<number_rules> number;
  std::unique_ptr<string_rules> string;
  std::unique_ptr<array_rules> array;
  std::unique_ptr<object_rules> object;
  std::unique_ptr<in_place_rules> in_place;
};

/// A schema resource: what `$id` (or the document itself) delimits. Dynamic references look these up.
struct resource_scope {
  std::vector<std::pair<std::uint32_t, node_id>> dynamic_anchors; ///< index of the name, node
};

struct compiled_schema::impl {
  std::vector<std::unique_ptr<const json>> documents;
  std::vector<node> nodes;
  std::vector<resource_scope> resources;
  std::uint32_t dynamic_names = 0; ///< how many names of dynamic anchors references ask for; 0: no dynamic scope is kept
  node_id root = no_node;
  std::vector<std::string> warnings;
  std::size_t pattern_cost = 0;
};

/// Compiles into `out`; returns the problems (empty: compiled).
std::vector<error> compile_program(const json& schema, const std::vector<document>& documents, compiled_schema::impl& out);

/// Runs a program on a value.
std::vector<violation> run_program(const compiled_schema::impl& program, const json& value, std::size_t limit);

/// The embedded 2020-12 metaschema and its vocabularies, by URI; null pointer for any other URI. Parsed at first use.
const json* metaschema(std::string_view uri);

} // namespace troupe::schema
