#include "troupe/config/core_schema.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>

#include "troupe/util/suggest.hpp"

namespace troupe::config {

namespace {

using json = nlohmann::json;

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool all_digits(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), is_digit);
}

bool is_null(std::string_view t) {
  return t.empty() || t == "~" || t == "null" || t == "Null" || t == "NULL";
}
bool is_true(std::string_view t) {
  return t == "true" || t == "True" || t == "TRUE";
}
bool is_false(std::string_view t) {
  return t == "false" || t == "False" || t == "FALSE";
}

std::string_view without_sign(std::string_view t) {
  return !t.empty() && (t.front() == '-' || t.front() == '+') ? t.substr(1) : t;
}

bool is_infinity_or_nan(std::string_view t) {
  const auto bare = without_sign(t);
  return bare == ".inf" || bare == ".Inf" || bare == ".INF" || t == ".nan" || t == ".NaN" || t == ".NAN";
}

/// [-+]? ( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )?
bool is_float(std::string_view text) {
  auto t = without_sign(text);
  const auto skip_digits = [&] {
    std::size_t n = 0;
    while (n < t.size() && is_digit(t[n]))
      ++n;
    t.remove_prefix(n);
    return n;
  };
  const bool whole = skip_digits() > 0;
  if (!t.empty() && t.front() == '.') {
    t.remove_prefix(1);
    if (skip_digits() == 0 && !whole)
      return false;
  } else if (!whole) {
    return false;
  }
  if (t.empty())
    return true;
  if (t.front() != 'e' && t.front() != 'E')
    return false;
  return all_digits(without_sign(t.substr(1)));
}

json double_of(std::string_view text, std::string& problem) {
  if (text.front() == '+')
    text.remove_prefix(1);
  double value = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (code != std::errc{} || end != text.data() + text.size() || !std::isfinite(value)) {
    problem = in_quotes(text) + " is beyond what a number can hold; write it in quotes when text is meant";
    return nullptr;
  }
  return value;
}

json integer_of(std::string_view digits, int base, bool negative, std::string_view whole_text, std::string& problem) {
  std::uint64_t value = 0;
  const auto [end, code] = std::from_chars(digits.data(), digits.data() + digits.size(), value, base);
  constexpr std::uint64_t most = INT64_MAX;
  if (code == std::errc{} && value <= most)
    return negative ? -static_cast<std::int64_t>(value) : static_cast<std::int64_t>(value);
  if (code == std::errc{} && negative && value == most + 1)
    return INT64_MIN;
  if (base == 10)
    return double_of(whole_text, problem);
  problem = in_quotes(whole_text) + " is an integer beyond 64 bits; write it in quotes when text is meant";
  return nullptr;
}

} // namespace

json plain_scalar(const std::string& text, std::string& problem) {
  const std::string_view t = text;
  if (is_null(t))
    return nullptr;
  const char first = t.front();
  if (!is_digit(first) && first != '-' && first != '+' && first != '.') {
    if (is_true(t))
      return true;
    if (is_false(t))
      return false;
    return text;
  }
  if (const auto digits = without_sign(t); all_digits(digits))
    return integer_of(digits, 10, first == '-', t, problem);
  const auto is_octal = [](char c) { return c >= '0' && c <= '7'; };
  const auto is_hex = [](char c) { return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); };
  if (t.size() > 2 && t.substr(0, 2) == "0o" && std::all_of(t.begin() + 2, t.end(), is_octal))
    return integer_of(t.substr(2), 8, false, t, problem);
  if (t.size() > 2 && t.substr(0, 2) == "0x" && std::all_of(t.begin() + 2, t.end(), is_hex))
    return integer_of(t.substr(2), 16, false, t, problem);
  if (is_float(t))
    return double_of(t, problem);
  if (is_infinity_or_nan(t)) {
    problem = in_quotes(t) + " is no number that JSON knows; write it in quotes when text is meant";
    return nullptr;
  }
  return text;
}

json tagged_scalar(std::string_view tag, const std::string& text, std::string& problem) {
  if (tag == "str")
    return text;
  auto value = plain_scalar(text, problem);
  if (!problem.empty())
    return nullptr;
  if (tag == "float" && value.is_number())
    return value.get<double>();
  const bool fits =
      (tag == "int" && value.is_number_integer()) || (tag == "bool" && value.is_boolean()) || (tag == "null" && value.is_null());
  if (fits)
    return value;
  problem = in_quotes(text) + " is not of the type that its tag !!" + std::string(tag) + " says";
  return nullptr;
}

} // namespace troupe::config
