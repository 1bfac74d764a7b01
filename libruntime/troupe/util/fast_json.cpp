#include "troupe/util/fast_json.hpp"

#include <array>
#include <string>

// The program's one copy of the library, which is made of headers.
#include <boost/json/src.hpp>

namespace troupe {

namespace {

/// False: a real number is in it.
bool convert(const boost::json::value& from, nlohmann::json& into) {
  switch (from.kind()) {
  case boost::json::kind::null:
    into = nullptr;
    return true;
  case boost::json::kind::bool_:
    into = from.get_bool();
    return true;
  case boost::json::kind::int64: // never negative integers are unsigned ones there
    if (const auto number = from.get_int64(); number < 0)
      into = number;
    else
      into = static_cast<std::uint64_t>(number);
    return true;
  case boost::json::kind::uint64:
    into = from.get_uint64();
    return true;
  case boost::json::kind::double_:
    return false;
  case boost::json::kind::string: {
    const auto& text = from.get_string();
    into = std::string(text.data(), text.size());
    return true;
  }
  case boost::json::kind::array: {
    auto list = nlohmann::json::array_t(from.get_array().size());
    std::size_t i = 0;
    for (const auto& each : from.get_array())
      if (!convert(each, list[i++]))
        return false;
    into = std::move(list);
    return true;
  }
  case boost::json::kind::object: {
    nlohmann::json::object_t members;
    for (const auto& each : from.get_object())
      if (!convert(each.value(), members[std::string(each.key().data(), each.key().size())]))
        return false;
    into = std::move(members);
    return true;
  }
  }
  return false;
}

} // namespace

std::optional<nlohmann::json> parse_fast(std::string_view text, std::size_t depth_max) {
  std::array<unsigned char, 16u << 10> first;
  boost::json::monotonic_resource memory(first.data(), first.size());
  boost::json::parse_options options;
  options.max_depth = depth_max;
  boost::json::error_code failed;
  const auto value = boost::json::parse({text.data(), text.size()}, failed, &memory, options);
  nlohmann::json out;
  if (failed || !convert(value, out))
    return std::nullopt;
  return out;
}

} // namespace troupe
