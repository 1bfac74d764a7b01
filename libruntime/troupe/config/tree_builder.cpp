#include "troupe/config/tree_builder.hpp"

#include <algorithm>

#include "troupe/util/json_pointer.hpp"
#include "troupe/util/suggest.hpp"

namespace troupe::config {

void tree_builder::report(position at, std::string message) {
  problems_.add({name_, at.line, at.column, pointer(), std::move(message)});
}

void tree_builder::stop(position at, std::string message) {
  report(at, std::move(message));
  throw reading_stopped{};
}

std::string tree_builder::pointer() const {
  constexpr std::size_t long_enough = 1'000;
  std::string out;
  for (std::size_t i = 0; i < open_.size() && out.size() <= long_enough; ++i) {
    const auto& container = nodes_[open_[i].node];
    const bool innermost = i + 1 == open_.size();
    if (container.is_array)
      out += "/" + std::to_string(container.children.size() - (innermost ? 0 : 1));
    else if (!innermost)
      append_token(out, std::string_view(nodes_[open_[i + 1].node].key).substr(0, long_enough));
    else if (open_[i].has_key)
      append_token(out, std::string_view(open_[i].key).substr(0, long_enough));
  }
  return out;
}

const std::string* tree_builder::string_of(node_id id) const {
  const auto& found = nodes_[id];
  return found.kind == node_kind::scalar && found.value.is_string() ? &found.value.get_ref<const std::string&>() : nullptr;
}

void tree_builder::account(std::uint64_t count, std::uint64_t bytes, position at) {
  total_.nodes += count;
  total_.bytes += bytes;
  const auto what = limits_.before.nodes > 0 ? std::string(" in all files together, aliases") : std::string(", aliases");
  if (total_.nodes > limits_.nodes)
    stop(at, "more than " + std::to_string(limits_.nodes) + " values" + what
                 + " counted with all that they stand for; a configuration needs fewer");
  if (total_.bytes > limits_.expanded_bytes)
    stop(at, "more than " + std::to_string(limits_.expanded_bytes >> 20) + " MiB of text" + what
                 + " counted with all that they stand for; drop aliases");
}

tree_builder::node_id tree_builder::add(entry made) {
  const auto id = static_cast<node_id>(nodes_.size());
  if (!open_.empty()) {
    auto& parent = open_.back();
    if (!nodes_[parent.node].is_array) {
      made.key = std::move(parent.key);
      made.key_at = parent.key_at;
      made.bytes += made.key.size();
      parent.key.clear();
      parent.has_key = false;
    }
    nodes_[parent.node].children.push_back(id);
  }
  nodes_.push_back(std::move(made));
  return id;
}

/// Each check and each message carries its pointer: long ones times many values would be too much memory.
void tree_builder::check_pointer(std::size_t bytes, position at) {
  if (bytes > limits_.pointer_bytes)
    stop(at, "the keys that lead here are longer than " + std::to_string(limits_.pointer_bytes) + " bytes together; shorten them");
}

void tree_builder::key(std::string text, position at) {
  account(0, text.size(), at);
  if (text.find('\0') != std::string::npos)
    report(at, "a key holds a NUL character; remove it");
  auto& mapping = open_.back();
  check_pointer(mapping.pointer_bytes + text.size(), at);
  mapping.key = std::move(text);
  mapping.key_at = at;
  mapping.has_key = true;
}

tree_builder::node_id tree_builder::scalar(json value, position at) {
  entry made;
  if (value.is_string()) {
    const auto& text = value.get_ref<const std::string&>();
    made.bytes = text.size();
    if (text.find('\0') != std::string::npos)
      report(at, "the text holds a NUL character, which programs and paths cannot carry; remove it");
  }
  account(1, made.bytes, at);
  made.value = std::move(value);
  made.at = at;
  return add(std::move(made));
}

tree_builder::node_id tree_builder::open(bool is_array, position at) {
  if (open_.size() >= limits_.depth)
    stop(at, "nested deeper than " + std::to_string(limits_.depth) + " levels; flatten it");
  account(1, 0, at);
  entry made;
  made.kind = is_array ? node_kind::array : node_kind::object;
  made.is_array = is_array;
  made.open = true;
  made.at = at;
  const auto id = add(std::move(made));
  const auto above = open_.empty() ? 0 : open_.back().pointer_bytes;
  open_.push_back({id, false, {}, {}, above + nodes_[id].key.size()});
  return id;
}

void tree_builder::close() {
  const auto id = open_.back().node;
  if (!nodes_[id].is_array)
    settle_names(id);
  open_.pop_back();
  auto& closed = nodes_[id];
  closed.open = false;
  for (const auto child : closed.children) {
    closed.count += nodes_[child].count;
    closed.bytes += nodes_[child].bytes;
    closed.height = std::max(closed.height, nodes_[child].height);
    closed.pointer_bytes = std::max(closed.pointer_bytes, nodes_[child].key.size() + nodes_[child].pointer_bytes);
  }
  ++closed.height;
}

/// Members in the order of their names, duplicates reported and dropped.
void tree_builder::settle_names(node_id object) {
  auto& members = nodes_[object].children;
  std::stable_sort(members.begin(), members.end(), [&](node_id a, node_id b) { return nodes_[a].key < nodes_[b].key; });
  for (std::size_t i = 1, first = 0; i < members.size(); ++i) {
    auto& later = nodes_[members[i]];
    const auto& earlier = nodes_[members[first]];
    if (later.key != earlier.key) {
      first = i;
      continue;
    }
    later.dropped = true;
    problems_.add({name_, later.key_at.line, later.key_at.column, child_of(pointer(), later.key.substr(0, 1'000)),
                   "the key " + in_quotes(later.key) + " stands twice; its first place is line " + std::to_string(earlier.key_at.line)
                       + ", column " + std::to_string(earlier.key_at.column)});
  }
  members.erase(std::remove_if(members.begin(), members.end(), [&](node_id each) { return nodes_[each].dropped; }), members.end());
}

void tree_builder::alias(node_id target, position at) {
  const auto& wanted = nodes_[target];
  if (wanted.open)
    stop(at, "an alias stands inside of what it names: a cycle");
  if (open_.size() + wanted.height > limits_.depth)
    stop(at, "nested deeper than " + std::to_string(limits_.depth) + " levels once this alias is expanded; flatten it");
  if (!open_.empty())
    check_pointer(open_.back().pointer_bytes + open_.back().key.size() + wanted.pointer_bytes, at);
  account(wanted.count, wanted.bytes, at);
  entry made;
  made.kind = node_kind::alias;
  // An alias of an alias cannot be: anchors stand on values.
  made.target = target;
  made.height = wanted.height;
  made.pointer_bytes = wanted.pointer_bytes;
  made.count = wanted.count;
  made.bytes = wanted.bytes;
  made.at = at;
  add(std::move(made));
}

located_document tree_builder::take() {
  located_document out;
  out.files = {name_};
  out.size = size();
  if (!nodes_.empty())
    build(0, out.value, out.root);
  return out;
}

void tree_builder::build(node_id from, json& value, place& where) const {
  const auto& source = nodes_[from];
  where.value = source.at;
  switch (source.kind) {
  case node_kind::scalar:
    value = source.value;
    return;
  case node_kind::alias: {
    build(source.target, value, where);
    where.value = source.at;
    return;
  }
  case node_kind::array: {
    where.is_array = true;
    value = json::array();
    auto& elements = value.get_ref<json::array_t&>();
    elements.resize(source.children.size());
    where.children.resize(source.children.size());
    for (std::size_t i = 0; i < source.children.size(); ++i)
      build(source.children[i], elements[i], where.children[i]);
    return;
  }
  case node_kind::object: {
    value = json::object();
    auto& members = value.get_ref<json::object_t&>();
    where.children.resize(source.children.size());
    for (std::size_t i = 0; i < source.children.size(); ++i) {
      const auto& child = nodes_[source.children[i]];
      auto& inner = where.children[i];
      build(source.children[i], members.emplace_hint(members.end(), child.key, nullptr)->second, inner);
      inner.name = child.key;
      inner.key = child.key_at;
    }
    return;
  }
  }
}

} // namespace troupe::config
