#pragma once
// What the readers of both vendors share. Boost.JSON here, since it parses into memory that is reused, several times as fast as the parser
// that the rest of Troupe uses (bench/json_readers.cpp), and benchmarks stand on this server.

#include <boost/json.hpp>

#include "mock_llm/wire.hpp"

namespace troupe::mock_llm {

struct parse_memory::state {
  std::array<unsigned char, 128u << 10> first;
  std::optional<boost::json::monotonic_resource> resource;
  std::optional<boost::json::value> document;
};

inline std::string_view view_of(const boost::json::string& text) {
  return {text.data(), text.size()};
}

/// The member, or null where there is none or it is JSON's null.
inline const boost::json::value* member(const boost::json::object& from, std::string_view name) {
  const auto* found = from.if_contains(boost::json::string_view(name.data(), name.size()));
  return found && !found->is_null() ? found : nullptr;
}

/// The member as a text; nothing where it is something else.
inline std::optional<std::string_view> text_member(const boost::json::object& from, std::string_view name) {
  const auto* found = member(from, name);
  if (!found || !found->is_string())
    return std::nullopt;
  return view_of(found->get_string());
}

std::optional<wire_error> read_openai(const boost::json::object& body, wire_request& into);
std::optional<wire_error> read_anthropic(const boost::json::object& body, wire_request& into);

} // namespace troupe::mock_llm
