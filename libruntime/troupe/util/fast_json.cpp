#include "troupe/util/fast_json.hpp"

#include <algorithm>
#include <array>
#include <string>

// The program's one copy of the library, which is made of headers.
#include <boost/json/src.hpp>

namespace troupe {

nlohmann::json to_nlohmann(const boost::json::value& from) {
  switch (from.kind()) {
  case boost::json::kind::null:
    break;
  case boost::json::kind::bool_:
    return from.get_bool();
  case boost::json::kind::int64: // never negative integers are unsigned ones there
    if (const auto number = from.get_int64(); number < 0)
      return number;
    else
      return static_cast<std::uint64_t>(number);
  case boost::json::kind::uint64:
    return from.get_uint64();
  case boost::json::kind::double_:
    return from.get_double();
  case boost::json::kind::string:
    return std::string(from.get_string());
  case boost::json::kind::array: {
    nlohmann::json::array_t list;
    list.reserve(from.get_array().size());
    for (const auto& each : from.get_array())
      list.push_back(to_nlohmann(each));
    return list;
  }
  case boost::json::kind::object: {
    nlohmann::json::object_t members;
    for (const auto& each : from.get_object())
      members.insert_or_assign(std::string(each.key()), to_nlohmann(each.value()));
    return members;
  }
  }
  return nullptr;
}

bool has_real_number(const boost::json::value& in) {
  if (const auto* list = in.if_array())
    return std::any_of(list->begin(), list->end(), &has_real_number);
  if (const auto* members = in.if_object())
    return std::any_of(members->begin(), members->end(), [](const auto& each) { return has_real_number(each.value()); });
  return in.is_double();
}

std::optional<nlohmann::json> parse_fast(std::string_view text, std::size_t depth_max) {
  std::array<unsigned char, 16u << 10> first;
  boost::json::monotonic_resource memory(first.data(), first.size());
  boost::json::parse_options options;
  options.max_depth = depth_max;
  boost::json::error_code failed;
  const auto value = boost::json::parse({text.data(), text.size()}, failed, &memory, options);
  if (failed || has_real_number(value))
    return std::nullopt;
  return to_nlohmann(value);
}

} // namespace troupe
