#pragma once
// JSON from outside: models, tools, servers. nlohmann's parser does not recurse, but copying, printing and comparing a value do.

#include <cstddef>
#include <optional>
#include <string_view>

#include <nlohmann/json.hpp>

#include "troupe/model/error.hpp"

namespace troupe {

inline constexpr std::size_t max_json_depth = 512;

/// Parses untrusted JSON: nothing deeper than `max_depth`, no exceptions but bad_alloc. `invalid_argument` says where and why.
/// The strings in the result are valid UTF-8 (the parser refuses others).
expected<nlohmann::json> parse_bounded(std::string_view text, std::size_t max_depth = max_json_depth);

/// The first integer in a JSON text that neither 64 bits nor a double hold as it is; nullopt: there is none. A parser would go on with
/// another number, and account numbers look like that.
std::optional<std::string_view> inexact_integer(std::string_view json_text);
/// Whether a double holds the integer that these digits are, with a sign or without.
bool is_exact_double(std::string_view digits);

} // namespace troupe
