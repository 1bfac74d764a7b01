#pragma once
// What a provider sends, as JSON.

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <boost/json.hpp>

namespace troupe::llm {

/// JSON from outside. Ill-formed UTF-8 and lone surrogates in it are mended to U+FFFD; numbers that JSON or a double does not have (NaN,
/// Infinity, -Infinity, 1e999) to strings of the same spelling, so that one of them does not cost the whole answer and is still no number
/// to anybody. Its values are in memory of its own, and gone with it.
class hostile_document {
public:
  explicit hostile_document(std::string_view text);
  hostile_document(const hostile_document&) = delete;
  hostile_document& operator=(const hostile_document&) = delete;

  /// Null where the text does not parse, is deeper than 512 levels (what is read here is written again, by recursion), or has more than
  /// 200,000 values (each costs memory and time that its two bytes do not tell; counted as commas and opening brackets).
  const boost::json::value* root() const { return good_ ? &root_ : nullptr; }
  /// … or is no object.
  const boost::json::value* object() const { return good_ && root_.is_object() ? &root_ : nullptr; }

private:
  std::array<unsigned char, 16u << 10> first_;
  boost::json::monotonic_resource memory_;
  boost::json::value root_;
  bool good_ = false;
};

/// The value at `key`, or null. `object` may be anything.
inline const boost::json::value& value_at(const boost::json::value& object, std::string_view key) {
  static const boost::json::value none;
  const auto* members = object.if_object();
  const auto* found = members ? members->if_contains(key) : nullptr;
  return found ? *found : none;
}

/// The value at `key` if it is a string, else empty.
inline std::string_view text_at(const boost::json::value& object, std::string_view key) {
  const auto* text = value_at(object, key).if_string();
  return text ? std::string_view(text->data(), text->size()) : std::string_view();
}

/// The elements of the value at `key`, if that is an array.
inline const boost::json::array* list_at(const boost::json::value& object, std::string_view key) {
  return value_at(object, key).if_array();
}

/// A count of tokens. Present but no number: -1, so that whoever checks usage sees that it is absurd; absent or null: nothing.
std::optional<std::int64_t> token_count(const boost::json::value& object, std::string_view key);

/// Its JSON text, with sorted keys.
std::string text_of(const boost::json::value& value);

} // namespace troupe::llm
