#pragma once
// Money is an integer number of micro-dollars; a double never decides whether a limit holds.

#include <cmath>
#include <compare>
#include <cstdint>
#include <limits>
#include <string>

namespace troupe {

/// An amount of US dollars, kept as micro-dollars (USD 1 = 1'000'000).
struct usd {
  std::int64_t micro = 0;

  static constexpr usd max() { return {std::numeric_limits<std::int64_t>::max()}; }
  static constexpr usd min() { return {std::numeric_limits<std::int64_t>::min()}; }
  /// The nearest micro-dollar, at most `max` and at least `min`; of NaN nothing. For text from people, never inside arithmetic.
  static usd from_dollars(double dollars) {
    constexpr double beyond = 9'223'372'036'854'775'808.0; // 2^63: the first that an integer does not hold
    const double micro = dollars * 1e6;
    if (std::isnan(micro))
      return {};
    return micro >= beyond ? max() : micro < -beyond ? min() : usd{std::llround(micro)};
  }
  double dollars() const { return static_cast<double>(micro) / 1e6; }

  friend constexpr auto operator<=>(usd, usd) = default; // NOLINT(modernize-use-nullptr): its 0 is no pointer
  // What no integer holds is the largest or smallest amount: a limit that is added to never turns round.
  friend constexpr usd operator+(usd a, usd b) {
    usd sum;
    return __builtin_add_overflow(a.micro, b.micro, &sum.micro) ? (b.micro > 0 ? max() : min()) : sum;
  }
  friend constexpr usd operator-(usd a, usd b) {
    usd rest;
    return __builtin_sub_overflow(a.micro, b.micro, &rest.micro) ? (b.micro < 0 ? max() : min()) : rest;
  }
  usd& operator+=(usd other) { return *this = *this + other; }
  usd& operator-=(usd other) { return *this = *this - other; }
};

/// "$1.23" with two to six digits: as many as the amount needs.
std::string to_string(usd amount);

} // namespace troupe
