#pragma once
// Described structs straight into JSON text, without a document in between: what a journal does once an event.
// The text is that of `to_document(value).dump()`: members in the order of their names, no white space. Text that is not UTF-8 (which
// `dump` refuses with an exception) is mended with U+FFFD.

#include <algorithm>
#include <array>
#include <charconv>
#include <string>
#include <string_view>
#include <utility>

#include "troupe/model/described.hpp"

namespace troupe {

/// Appends a JSON string literal, quotes included.
void write_json_string(std::string_view text, std::string& out);
/// Appends a document as compact JSON.
void write_json(const json& document, std::string& out);

namespace detail {

/// The positions of a struct's members, ordered by their names: the order in which nlohmann's objects print.
template <class T>
constexpr auto members_by_name() {
  constexpr std::size_t count = boost::mp11::mp_size<members_of<T>>::value;
  std::array<std::string_view, count> names{};
  std::array<std::size_t, count> order{};
  [&]<std::size_t... I>(std::index_sequence<I...>) {
    ((names[I] = boost::mp11::mp_at_c<members_of<T>, I>::name), ...);
    ((order[I] = I), ...);
  }
  (std::make_index_sequence<count>{});
  for (std::size_t i = 1; i < count; ++i)
    for (std::size_t j = i; j > 0 && names[order[j]] < names[order[j - 1]]; --j) {
      const auto moved = order[j];
      order[j] = order[j - 1];
      order[j - 1] = moved;
    }
  return order;
}

template <class T>
struct member_order {
  static constexpr auto value = members_by_name<T>();
};

} // namespace detail

/// Appends `value` as compact JSON.
template <class T>
void write_document(const T& value, std::string& out);

namespace detail {

/// `,"name":` of a member, put together by the compiler.
template <class D>
struct member_key {
  static constexpr std::string_view name = D::name;
  static constexpr auto text = [] {
    std::array<char, name.size() + 4> out{',', '"'};
    std::copy(name.begin(), name.end(), out.begin() + 2);
    out[name.size() + 2] = '"';
    out[name.size() + 3] = ':';
    return out;
  }();
};

template <class D, class T>
void write_member(const T& value, std::string& out, bool& first) {
  const auto& member = value.*D::pointer;
  using member_type = std::remove_cvref_t<decltype(member)>;
  if constexpr (is_optional<member_type>::value || is_shared<member_type>::value) {
    if (!member)
      return;
  }
  constexpr const auto& key = member_key<D>::text;
  out.append(first ? key.data() + 1 : key.data(), key.data() + key.size());
  first = false;
  write_document(member, out);
}

} // namespace detail

template <class T>
void write_document(const T& value, std::string& out) {
  if constexpr (std::is_same_v<T, json>) {
    write_json(value, out);
  } else if constexpr (std::is_same_v<T, bool>) {
    out += value ? "true" : "false";
  } else if constexpr (std::is_integral_v<T>) {
    std::array<char, 24> digits;
    const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr;
    out.append(digits.data(), end);
  } else if constexpr (std::is_floating_point_v<T>) {
    write_json(json(value), out);
  } else if constexpr (std::is_same_v<T, std::string>) {
    write_json_string(value, out);
  } else if constexpr (std::is_same_v<T, usd>) {
    write_document(value.micro, out);
  } else if constexpr (detail::described_enum<T>) {
    write_json_string(name_of(value), out);
  } else if constexpr (detail::is_duration<T>::value) {
    write_document(value.count(), out);
  } else if constexpr (detail::is_optional<T>::value || detail::is_shared<T>::value) {
    if (value)
      write_document(*value, out);
    else
      out += "null";
  } else if constexpr (detail::is_vector<T>::value) {
    out += '[';
    bool first = true;
    for (const auto& element : value) {
      if (!first)
        out += ',';
      first = false;
      write_document(element, out);
    }
    out += ']';
  } else if constexpr (detail::is_string_map<T>::value) {
    out += '{';
    bool first = true;
    for (const auto& [key, element] : value) {
      if (!first)
        out += ',';
      first = false;
      write_json_string(key, out);
      out += ':';
      write_document(element, out);
    }
    out += '}';
  } else {
    static_assert(detail::described_struct<T>, "describe it with BOOST_DESCRIBE_STRUCT");
    out += '{';
    [&]<std::size_t... I>(std::index_sequence<I...>) {
      [[maybe_unused]] bool first = true;
      (detail::write_member<boost::mp11::mp_at_c<detail::members_of<T>, detail::member_order<T>::value[I]>>(value, out, first), ...);
    }
    (std::make_index_sequence<boost::mp11::mp_size<detail::members_of<T>>::value>{});
    out += '}';
  }
}

} // namespace troupe
