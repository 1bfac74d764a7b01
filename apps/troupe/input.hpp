#pragma once

#include <string>
#include <vector>

#include "troupe/model/error.hpp"
#include "troupe/model/event.hpp"

namespace troupe::cli {

/// The input of a run: `--input FILE` (JSON or YAML, "-" is standard input; at most 16 MiB), then each `-i key=value` over it. A value is a
/// string where the input's schema allows one for that key, else JSON: the schema itself is asked, however it says so (a `$ref`, `allOf`,
/// `additionalProperties` …). `invalid_argument` says which word is wrong; whether the whole satisfies the schema is not judged here.
expected<json> read_input(const std::string& file, const std::vector<std::string>& pairs, const json& schema);

/// JSON on the command line, read as strictly as a configuration: a key that stands twice is refused. `name` is the option's.
expected<json> read_json_argument(const std::string& text, const std::string& name);

} // namespace troupe::cli
