#include "troupe/schema/canonical_json.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <string_view>
#include <vector>

#include "troupe/util/utf8.hpp"

namespace troupe::schema {
namespace {

using json = nlohmann::json;

/// UTF-8 in the order of its UTF-16 code units: as bytes, but what needs surrogates (lead bytes from 0xF0) comes before
/// U+E000 to U+FFFF (lead bytes 0xEE and 0xEF).
bool utf16_less(std::string_view left, std::string_view right) {
  const auto [a, b] = std::mismatch(left.begin(), left.end(), right.begin(), right.end());
  if (a == left.end() || b == right.end())
    return a == left.end() && b != right.end();
  const auto x = static_cast<unsigned char>(*a);
  const auto y = static_cast<unsigned char>(*b);
  const bool x_last = x == 0xEE || x == 0xEF;
  const bool y_last = y == 0xEE || y == 0xEF;
  if (x_last != y_last && x >= 0xE0 && y >= 0xE0)
    return (x_last ? 0xFF : x) < (y_last ? 0xFF : y);
  return x < y;
}

void write_string(std::string& out, std::string_view raw) {
  constexpr char hex[] = "0123456789abcdef";
  std::string mended;
  if (!is_valid_utf8(raw)) {
    mended = mended_utf8(raw);
    raw = mended;
  }
  out.push_back('"');
  std::size_t done = 0;
  for (std::size_t i = 0; i < raw.size(); ++i) {
    const auto c = static_cast<unsigned char>(raw[i]);
    if (c >= 0x20 && c != '"' && c != '\\')
      continue;
    out.append(raw.substr(done, i - done));
    done = i + 1;
    switch (c) {
    case '"':
      out.append("\\\"");
      break;
    case '\\':
      out.append("\\\\");
      break;
    case '\b':
      out.append("\\b");
      break;
    case '\t':
      out.append("\\t");
      break;
    case '\n':
      out.append("\\n");
      break;
    case '\f':
      out.append("\\f");
      break;
    case '\r':
      out.append("\\r");
      break;
    default:
      out.append("\\u00").push_back(hex[c >> 4]);
      out.push_back(hex[c & 15]);
    }
  }
  out.append(raw.substr(done)).push_back('"');
}

template <class Integer>
void write_integer(std::string& out, Integer number) {
  char buffer[24];
  out.append(buffer, std::to_chars(buffer, buffer + sizeof buffer, number).ptr);
}

void write(std::string& out, const json& value);

void write_object(std::string& out, const json& object) {
  std::vector<json::const_iterator> members;
  members.reserve(object.size());
  bool ascii = true;
  for (auto member = object.begin(); member != object.end(); ++member) {
    members.push_back(member);
    ascii = ascii && std::all_of(member.key().begin(), member.key().end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
  }
  if (!ascii) // byte order, which the map has, is UTF-16 order among ASCII names
    std::stable_sort(members.begin(), members.end(), [](const auto& a, const auto& b) { return utf16_less(a.key(), b.key()); });
  out.push_back('{');
  for (std::size_t i = 0; i < members.size(); ++i) {
    if (i > 0)
      out.push_back(',');
    write_string(out, members[i].key());
    out.push_back(':');
    write(out, *members[i]);
  }
  out.push_back('}');
}

void write(std::string& out, const json& value) {
  switch (value.type()) {
  case json::value_t::boolean:
    out.append(value.get<bool>() ? "true" : "false");
    break;
  case json::value_t::number_unsigned:
    write_integer(out, value.get<std::uint64_t>());
    break;
  case json::value_t::number_integer:
    write_integer(out, value.get<std::int64_t>());
    break;
  case json::value_t::number_float:
    out.append(ecmascript_number(value.get<double>()));
    break;
  case json::value_t::string:
    write_string(out, value.get_ref<const std::string&>());
    break;
  case json::value_t::array:
    out.push_back('[');
    for (std::size_t i = 0; i < value.size(); ++i) {
      if (i > 0)
        out.push_back(',');
      write(out, value[i]);
    }
    out.push_back(']');
    break;
  case json::value_t::object:
    write_object(out, value);
    break;
  case json::value_t::null:
  case json::value_t::discarded:
  case json::value_t::binary:
    out.append("null");
    break;
  }
}

} // namespace

std::string ecmascript_number(double value) {
  if (!std::isfinite(value))
    return "null";
  if (value == 0)
    return "0"; // also of -0
  char buffer[32];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, std::fabs(value), std::chars_format::scientific).ptr;
  const std::string_view shortest(buffer, static_cast<std::size_t>(end - buffer));
  const auto e = shortest.find('e');
  std::string digits(1, shortest.front());
  if (e > 2)
    digits.append(shortest.substr(2, e - 2));
  int exponent = 0;
  const auto* from = shortest.data() + e + 1;
  std::from_chars(*from == '+' ? from + 1 : from, end, exponent);

  // ECMA-262, Number::toString: the value is 0.digits · 10^point.
  const int count = static_cast<int>(digits.size());
  const int point = exponent + 1;
  std::string out = value < 0 ? "-" : "";
  if (count <= point && point <= 21) {
    out.append(digits).append(static_cast<std::size_t>(point - count), '0');
  } else if (0 < point && point <= 21) {
    out.append(digits, 0, static_cast<std::size_t>(point)).append(".").append(digits, static_cast<std::size_t>(point));
  } else if (-6 < point && point <= 0) {
    out.append("0.").append(static_cast<std::size_t>(-point), '0').append(digits);
  } else {
    out.push_back(digits.front());
    if (count > 1)
      out.append(".").append(digits, 1);
    out.append(point > 0 ? "e+" : "e-").append(std::to_string(std::abs(point - 1)));
  }
  return out;
}

std::string canonical_json(const json& value) {
  std::string out;
  write(out, value);
  return out;
}

} // namespace troupe::schema
