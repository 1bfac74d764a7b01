#pragma once
// The core schema of YAML 1.2 (section 10.3.2): what a plain scalar means.

#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

namespace troupe::config {

/// The value of a plain scalar. Words of YAML 1.1 (`yes`, `no`, `on`, `off`), sexagesimals and dates are strings. Integers beyond 64
/// bits become doubles. `problem` is set for what JSON cannot hold (`.inf`, `.nan`, 1e999).
nlohmann::json plain_scalar(const std::string& text, std::string& problem);

/// The value of a scalar with an explicit core tag ("int", "float", "bool", "null", "str"); `problem` is set when the text is none.
nlohmann::json tagged_scalar(std::string_view tag, const std::string& text, std::string& problem);

} // namespace troupe::config
