#include "troupe/schema/values.hpp"

#include <cfloat>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "troupe/schema/canonical_json.hpp"
#include "troupe/util/redact.hpp"

namespace troupe::schema {
namespace {

__extension__ using uint128 = unsigned __int128;

// 64 bits of mantissa hold every int64, uint64 and double exactly, so that comparing needs no case by case.
static_assert(LDBL_MANT_DIG >= 64, "numbers are compared as long double");

long double number_of(const json& value) {
  if (value.is_number_unsigned())
    return static_cast<long double>(value.get<std::uint64_t>());
  if (value.is_number_integer())
    return static_cast<long double>(value.get<std::int64_t>());
  return static_cast<long double>(value.get<double>());
}

int rank(const json& value) {
  switch (value.type()) {
  case json::value_t::null:
  case json::value_t::discarded:
    return 0;
  case json::value_t::boolean:
    return 1;
  case json::value_t::number_integer:
  case json::value_t::number_unsigned:
  case json::value_t::number_float:
    return 2;
  case json::value_t::string:
    return 3;
  case json::value_t::binary:
    return 4;
  case json::value_t::array:
    return 5;
  case json::value_t::object:
    return 6;
  }
  return 0;
}

template <class T>
int order(const T& left, const T& right) {
  return left < right ? -1 : (right < left ? 1 : 0);
}

int compare_numbers(const json& left, const json& right) {
  const auto a = number_of(left);
  const auto b = number_of(right);
  if (std::isnan(a) || std::isnan(b)) // not JSON, but a value built in memory may hold it: one place in the order
    return order(!std::isnan(a), !std::isnan(b));
  return order(a, b);
}

/// digits · 10^exponent, without sign.
struct decimal {
  std::uint64_t digits = 0;
  int exponent = 0;
};

decimal decimal_of(const json& value) {
  if (value.is_number_unsigned())
    return {value.get<std::uint64_t>(), 0};
  if (value.is_number_integer()) {
    const auto number = value.get<std::int64_t>();
    return {number < 0 ? 0 - static_cast<std::uint64_t>(number) : static_cast<std::uint64_t>(number), 0};
  }
  char buffer[32];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, std::fabs(value.get<double>()), std::chars_format::scientific).ptr;
  decimal out;
  bool fraction = false;
  const char* at = buffer;
  for (; at != end && *at != 'e'; ++at) {
    if (*at == '.') {
      fraction = true;
      continue;
    }
    out.digits = out.digits * 10 + static_cast<std::uint64_t>(*at - '0'); // at most 17 digits
    out.exponent -= fraction ? 1 : 0;
  }
  int exponent = 0;
  if (at != end) {
    ++at;
    std::from_chars(*at == '+' ? at + 1 : at, end, exponent);
  }
  out.exponent += exponent;
  return out;
}

} // namespace

int compare(const json& left, const json& right) {
  const int kind = rank(left);
  if (const int other = rank(right); kind != other)
    return order(kind, other);
  switch (kind) {
  case 1:
    return order(left.get<bool>(), right.get<bool>());
  case 2:
    return compare_numbers(left, right);
  case 3:
    return left.get_ref<const std::string&>().compare(right.get_ref<const std::string&>());
  case 4:
    return order(static_cast<const std::vector<std::uint8_t>&>(left.get_binary()),
                 static_cast<const std::vector<std::uint8_t>&>(right.get_binary()));
  case 5: {
    if (left.size() != right.size())
      return order(left.size(), right.size());
    for (std::size_t i = 0; i < left.size(); ++i)
      if (const int item = compare(left[i], right[i]))
        return item;
    return 0;
  }
  case 6: {
    if (left.size() != right.size())
      return order(left.size(), right.size());
    auto b = right.begin();
    for (auto a = left.begin(); a != left.end(); ++a, ++b) {
      if (const int key = a.key().compare(b.key()))
        return key;
      if (const int member = compare(*a, *b))
        return member;
    }
    return 0;
  }
  default:
    return 0;
  }
}

bool is_integer(const json& value) {
  if (value.is_number_integer())
    return true;
  if (!value.is_number_float())
    return false;
  const auto number = value.get<double>();
  return std::isfinite(number) && std::trunc(number) == number;
}

bool is_multiple(const json& value, const json& divisor) {
  if (value.is_number_float() && !std::isfinite(value.get<double>()))
    return false;
  const auto a = decimal_of(value);
  const auto b = decimal_of(divisor);
  if (a.digits == 0)
    return true;
  if (b.digits == 0)
    return false;
  if (a.exponent >= b.exponent) {
    auto rest = static_cast<uint128>(a.digits % b.digits);
    for (int i = a.exponent - b.exponent; i > 0 && rest != 0; --i) // at most some 650 turns
      rest = rest * 10 % b.digits;
    return rest == 0;
  }
  const int scale = b.exponent - a.exponent;
  if (scale > 19) // 10^20 does not fit into a's 64 bits
    return false;
  auto product = static_cast<uint128>(b.digits);
  for (int i = 0; i < scale; ++i)
    product *= 10;
  return static_cast<uint128>(a.digits) % product == 0;
}

std::size_t depth_of(const json& value, std::size_t limit) {
  std::size_t deepest = 0;
  std::vector<std::pair<const json*, std::size_t>> open;
  if (value.is_structured())
    open.emplace_back(&value, 1);
  while (!open.empty()) {
    const auto [container, depth] = open.back();
    open.pop_back();
    deepest = std::max(deepest, depth);
    if (deepest > limit)
      break;
    for (const auto& child : *container)
      if (child.is_structured())
        open.emplace_back(&child, depth + 1);
  }
  return deepest;
}

bool larger_than(const json& value, std::size_t limit) {
  std::size_t count = 1;
  std::vector<const json*> open{&value};
  while (!open.empty()) {
    const auto* container = open.back();
    open.pop_back();
    if (!container->is_structured())
      continue;
    count += container->size();
    if (count > limit)
      return true;
    for (const auto& child : *container)
      if (child.is_structured())
        open.push_back(&child);
  }
  return count > limit;
}

std::string excerpt(const json& value) {
  constexpr std::size_t limit = 60;
  if (value.is_array() && value.size() > 8)
    return "an array of " + std::to_string(value.size()) + " items";
  if (value.is_object() && value.size() > 8)
    return "an object of " + std::to_string(value.size()) + " properties";
  if (value.is_string()) {
    const auto& text = value.get_ref<const std::string&>();
    if (text.size() > limit)
      return canonical_json(std::string(safe_prefix(text, limit)) + "…");
    return canonical_json(value);
  }
  if (value.is_structured() && (larger_than(value, 64) || depth_of(value, 8) > 8))
    return value.is_array() ? "an array" : "an object";
  auto text = canonical_json(value);
  return text.size() <= limit ? text : std::string(safe_prefix(text, limit)) + "…";
}

} // namespace troupe::schema
