#pragma once

#include <string>
#include <vector>

#include "troupe/model/error.hpp"
#include "troupe/model/event.hpp"

namespace troupe::cli {

/// The input of a run: `--input FILE` (JSON or YAML, "-" is standard input), then each `-i key=value` over it. A value is a string where
/// the input's schema allows one for that key, else JSON. `invalid_argument` says which word is wrong.
expected<json> read_input(const std::string& file, const std::vector<std::string>& pairs, const json& schema);

} // namespace troupe::cli
