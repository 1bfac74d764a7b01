#pragma once
// A noun is described once (Boost.Describe); its JSON form comes from here. Enums are their names, optionals are absent when empty,
// durations are integers in their own unit, money is micro-dollars, a variant of described structs is { "type": NAME, … }.

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <variant>
#include <vector>

#include <boost/describe.hpp>
#include <boost/mp11.hpp>
#include <nlohmann/json.hpp>

#include "troupe/model/error.hpp"
#include "troupe/model/money.hpp"

namespace troupe {

using json = nlohmann::json;

namespace detail {

template <class T>
struct is_optional : std::false_type {};
template <class T>
struct is_optional<std::optional<T>> : std::true_type {};
template <class T>
struct is_vector : std::false_type {};
template <class T>
struct is_vector<std::vector<T>> : std::true_type {};
template <class T>
struct is_string_map : std::false_type {};
template <class T>
struct is_string_map<std::map<std::string, T>> : std::true_type {};
template <class T>
struct is_duration : std::false_type {};
template <class R, class P>
struct is_duration<std::chrono::duration<R, P>> : std::true_type {};
template <class T>
struct is_shared : std::false_type {};
template <class T>
struct is_shared<std::shared_ptr<T>> : std::true_type {};

template <class T>
concept described_struct = boost::describe::has_describe_members<T>::value && !std::is_union_v<T>;
template <class T>
concept described_enum = boost::describe::has_describe_enumerators<T>::value;

template <class T>
using members_of = boost::describe::describe_members<T, boost::describe::mod_public | boost::describe::mod_inherited>;

} // namespace detail

/// The enumerator's name; "?" for a value outside of the enum.
template <detail::described_enum E>
const char* name_of(E value) {
  return boost::describe::enum_to_string(value, "?");
}

template <detail::described_enum E>
std::optional<E> enum_named(std::string_view name) {
  std::optional<E> found;
  boost::mp11::mp_for_each<boost::describe::describe_enumerators<E>>([&](auto d) {
    if (name == d.name)
      found = d.value;
  });
  return found;
}

template <class T>
json to_document(const T& value) {
  if constexpr (std::is_same_v<T, json> || std::is_arithmetic_v<T> || std::is_same_v<T, std::string>) {
    return json(value);
  } else if constexpr (std::is_same_v<T, usd>) {
    return json(value.micro);
  } else if constexpr (detail::described_enum<T>) {
    return json(name_of(value));
  } else if constexpr (detail::is_duration<T>::value) {
    return json(value.count());
  } else if constexpr (detail::is_optional<T>::value || detail::is_shared<T>::value) {
    return value ? to_document(*value) : json(nullptr);
  } else if constexpr (detail::is_vector<T>::value) {
    json out = json::array();
    for (const auto& element : value)
      out.push_back(to_document(element));
    return out;
  } else if constexpr (detail::is_string_map<T>::value) {
    json out = json::object();
    for (const auto& [key, element] : value)
      out[key] = to_document(element);
    return out;
  } else {
    static_assert(detail::described_struct<T>, "describe it with BOOST_DESCRIBE_STRUCT");
    json out = json::object();
    boost::mp11::mp_for_each<detail::members_of<T>>([&](auto d) {
      const auto& member = value.*d.pointer;
      using member_type = std::remove_cvref_t<decltype(member)>;
      if constexpr (detail::is_optional<member_type>::value || detail::is_shared<member_type>::value) {
        if (member)
          out[d.name] = to_document(*member);
      } else {
        out[d.name] = to_document(member);
      }
    });
    return out;
  }
}

/// Why a document could not be read, and where in it (a JSON Pointer, which is put together only once something is wrong).
struct document_problem {
  std::string pointer;
  std::string what;

  /// Tells the place as seen from one level above. Returns false, as what read the part did.
  bool below(std::string_view name) {
    pointer.insert(0, name).insert(0, 1, '/');
    return false;
  }
};

/// Reads what `to_document` wrote. Unknown keys are ignored and absent ones keep their defaults, so that an older file reads; a value
/// of another type is an error that names its pointer. Returns false and fills `problem` then.
template <class T>
bool read_document(const json& from, T& into, document_problem& problem) {
  const auto wrong = [&](const char* wanted) {
    problem.what.append("expected ").append(wanted).append(", found ").append(from.type_name());
    return false;
  };
  if constexpr (std::is_same_v<T, json>) {
    into = from;
    return true;
  } else if constexpr (std::is_same_v<T, bool>) {
    if (!from.is_boolean())
      return wrong("a boolean");
    into = from.get<bool>();
    return true;
  } else if constexpr (std::is_integral_v<T>) {
    if (!from.is_number_integer())
      return wrong("an integer");
    into = from.get<T>();
    return true;
  } else if constexpr (std::is_floating_point_v<T>) {
    if (!from.is_number())
      return wrong("a number");
    into = from.get<T>();
    return true;
  } else if constexpr (std::is_same_v<T, std::string>) {
    if (!from.is_string())
      return wrong("a string");
    into = from.get_ref<const std::string&>();
    return true;
  } else if constexpr (std::is_same_v<T, usd>) {
    return read_document(from, into.micro, problem);
  } else if constexpr (detail::described_enum<T>) {
    if (!from.is_string())
      return wrong("a name");
    if (auto found = enum_named<T>(from.get_ref<const std::string&>())) {
      into = *found;
      return true;
    }
    problem.what.append("unknown name \"").append(from.get_ref<const std::string&>()).append("\"");
    return false;
  } else if constexpr (detail::is_duration<T>::value) {
    typename T::rep count{};
    if (!read_document(from, count, problem))
      return false;
    into = T(count);
    return true;
  } else if constexpr (detail::is_optional<T>::value) {
    if (from.is_null()) {
      into.reset();
      return true;
    }
    return read_document(from, into.emplace(), problem);
  } else if constexpr (detail::is_shared<T>::value) {
    auto made = std::make_shared<std::remove_const_t<typename T::element_type>>();
    if (!read_document(from, *made, problem))
      return false;
    into = std::move(made);
    return true;
  } else if constexpr (detail::is_vector<T>::value) {
    if (!from.is_array())
      return wrong("an array");
    into.clear();
    into.reserve(from.size());
    for (std::size_t i = 0; i < from.size(); ++i)
      if (!read_document(from[i], into.emplace_back(), problem))
        return problem.below(std::to_string(i));
    return true;
  } else if constexpr (detail::is_string_map<T>::value) {
    if (!from.is_object())
      return wrong("an object");
    into.clear();
    for (const auto& [key, element] : from.items())
      if (!read_document(element, into[key], problem))
        return problem.below(key);
    return true;
  } else {
    static_assert(detail::described_struct<T>, "describe it with BOOST_DESCRIBE_STRUCT");
    if (!from.is_object())
      return wrong("an object");
    bool good = true;
    boost::mp11::mp_for_each<detail::members_of<T>>([&](auto d) {
      if (!good)
        return;
      const auto found = from.find(d.name);
      if (found != from.end())
        good = read_document(*found, into.*d.pointer, problem) || problem.below(d.name);
    });
    return good;
  }
}

template <class T>
expected<T> from_document(const json& from) {
  T value{};
  document_problem problem;
  if (!read_document(from, value, problem))
    return fail(error_code::corrupt, (problem.pointer.empty() ? "/" : problem.pointer) + ": " + problem.what);
  return value;
}

} // namespace troupe
