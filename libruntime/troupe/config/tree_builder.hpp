#pragma once
// Events of a YAML or JSON parser -> a located_document. Counts nodes, depth and bytes as they come (aliases with all that they expand
// to), so that a bomb ends where it crosses a limit and nothing is expanded before.

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "troupe/config/located.hpp"
#include "troupe/config/problem.hpp"
#include "troupe/config/yaml_reader.hpp"

namespace troupe::config {

/// Thrown through a parser when going on makes no sense; the problem was added before.
struct reading_stopped {};

class tree_builder {
public:
  using node_id = std::uint32_t;

  tree_builder(const std::string& name, problem_list& problems, const read_limits& limits)
      : name_(name), problems_(problems), limits_(limits), total_(limits.before) {}

  /// Whether the next scalar is a member's key.
  bool wants_key() const { return !open_.empty() && !nodes_[open_.back().node].is_array && !open_.back().has_key; }
  /// A duplicate is a problem; the value that follows is read and left out.
  void key(std::string text, position at);
  node_id scalar(json value, position at);
  node_id open(bool is_array, position at);
  void close();
  /// The value of `target` again.
  void alias(node_id target, position at);
  bool is_open(node_id node) const { return nodes_[node].open; }
  /// The text of a string scalar; null for anything else.
  const std::string* string_of(node_id node) const;

  void report(position at, std::string message);
  [[noreturn]] void stop(position at, std::string message);
  /// Where the parser is: pointer of the value that comes next.
  std::string pointer() const;

  bool has_root() const { return !nodes_.empty(); }
  /// What was read so far.
  document_size size() const { return {total_.nodes - limits_.before.nodes, total_.bytes - limits_.before.bytes}; }
  /// Once, after the last event. An empty text is null.
  located_document take();

private:
  enum class node_kind : std::uint8_t { scalar, array, object, alias };
  struct entry {
    node_kind kind = node_kind::scalar;
    bool is_array = false;
    bool open = false;
    bool dropped = false; ///< the value of a duplicate key
    std::uint32_t height = 0;
    std::uint64_t count = 1;
    std::size_t pointer_bytes = 0; ///< of the longest way of keys below it
    std::uint64_t bytes = 0;
    node_id target = 0;
    position at;
    position key_at;
    std::string key;
    json value;
    std::vector<node_id> children;
  };
  struct frame {
    node_id node;
    bool has_key = false;
    std::string key;
    position key_at;
    std::size_t pointer_bytes = 0; ///< of the keys on the way here
  };

  node_id add(entry made);
  void check_pointer(std::size_t bytes, position at);
  void account(std::uint64_t count, std::uint64_t bytes, position at);
  void settle_names(node_id object);
  void build(node_id from, json& value, place& where) const;

  std::string name_;
  problem_list& problems_;
  read_limits limits_;
  std::vector<entry> nodes_;
  std::vector<frame> open_;
  document_size total_;
};

} // namespace troupe::config
