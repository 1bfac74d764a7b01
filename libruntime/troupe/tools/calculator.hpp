#pragma once
// Arithmetic for models, which are bad at it: + - * / % ^ ( ), functions, pi and e. Pure.

#include <cstddef>
#include <string>
#include <string_view>

#include "troupe/model/error.hpp"

namespace troupe::tools {

constexpr std::size_t expression_bytes_max = 4'096;
constexpr int expression_depth_max = 100;

/// The value of an expression as text. Whole numbers are exact within 64 bits; others have at most 15 significant digits, so that
/// 0.1 + 0.2 is 0.3. `^` (or `**`) binds to the right and closer than a sign (-2^2 is -4); `%` is the remainder with the dividend's sign. `invalid_argument`
/// names the position, counted from 1, and what was expected; also for division by zero and what is no real number. Linear time.
expected<std::string> calculate(std::string_view expression);

} // namespace troupe::tools
