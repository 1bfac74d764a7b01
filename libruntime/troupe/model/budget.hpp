#pragma once
// Limits, and what counts against them (SEMANTICS 3).

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include <boost/describe.hpp>

#include "troupe/model/money.hpp"

namespace troupe {

/// The three limits of one scope; absent: unlimited there.
struct limits {
  std::optional<usd> money;
  std::optional<std::chrono::milliseconds> time;
  std::optional<std::int64_t> steps;
  friend bool operator==(const limits&, const limits&) = default;
};
BOOST_DESCRIBE_STRUCT(limits, (), (money, time, steps))

/// Kind by kind: what `own` leaves unsaid, `rest` says.
inline limits completed(limits own, const limits& rest) {
  if (!own.money)
    own.money = rest.money;
  if (!own.time)
    own.time = rest.time;
  if (!own.steps)
    own.steps = rest.steps;
  return own;
}

/// An amount of what a budget is made of: money and steps (LLM requests sent).
struct spend {
  usd money;
  std::int64_t steps = 0;
  friend bool operator==(const spend&, const spend&) = default;
  friend spend operator+(spend a, spend b) { return {a.money + b.money, a.steps + b.steps}; }
  friend spend operator-(spend a, spend b) { return {a.money - b.money, a.steps - b.steps}; }
};
BOOST_DESCRIBE_STRUCT(spend, (), (money, steps))

enum class limit_kind { money, time, steps };
BOOST_DESCRIBE_ENUM(limit_kind, money, time, steps)

} // namespace troupe
