#pragma once
// What a model wrote as arguments of a call, checked before anything runs (SEMANTICS 4).

#include <cstddef>
#include <string_view>

#include "troupe/model/error.hpp"
#include "troupe/model/tool.hpp"
#include "troupe/schema/schema.hpp"

namespace troupe::policy {

/// The most that one call's arguments may be.
constexpr std::size_t argument_bytes_max = 1u << 20;
constexpr std::size_t argument_depth_max = 64;

/// The arguments; or an error whose message the model can correct itself by: not JSON (and where), cut off, no object, too large or deep,
/// or each broken rule with its pointer. An empty text is no arguments. Never throws. Any thread.
expected<json> check_arguments(const schema::compiled_schema& arguments, std::string_view tool_name, std::string_view text);

} // namespace troupe::policy
