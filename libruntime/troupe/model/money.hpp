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
  /// The nearest micro-dollar; for text from people, never inside arithmetic.
  static usd from_dollars(double dollars) { return {std::llround(dollars * 1e6)}; }
  double dollars() const { return static_cast<double>(micro) / 1e6; }

  friend constexpr auto operator<=>(usd, usd) = default;
  friend constexpr usd operator+(usd a, usd b) { return {a.micro + b.micro}; }
  friend constexpr usd operator-(usd a, usd b) { return {a.micro - b.micro}; }
  usd& operator+=(usd other) {
    micro += other.micro;
    return *this;
  }
  usd& operator-=(usd other) {
    micro -= other.micro;
    return *this;
  }
};

/// "$1.23" with two to six digits: as many as the amount needs.
std::string to_string(usd amount);

} // namespace troupe
