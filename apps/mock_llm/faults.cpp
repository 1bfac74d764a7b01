#include "mock_llm/faults.hpp"

#include <charconv>
#include <cmath>

#include "troupe/model/described.hpp"
#include "troupe/util/suggest.hpp"

namespace troupe::mock_llm {

namespace {

constexpr std::size_t most_contents = 1'000'000;

std::optional<llm::fault> fault_named(std::string_view name) {
  llm::fault fault;
  int status = 0;
  const auto [end, problem] = std::from_chars(name.data(), name.data() + name.size(), status);
  if (problem == std::errc{} && end == name.data() + name.size()) {
    if (status < 400 || status > 599)
      return std::nullopt;
    fault.status = status;
    return fault;
  }
  const auto kind = enum_named<llm::fault_kind>(name);
  if (!kind || *kind == llm::fault_kind::status || *kind == llm::fault_kind::crash)
    return std::nullopt;
  fault.kind = *kind;
  return fault;
}

/// A number below 1 is a probability, a whole number from 1 on is a count.
bool read_amount(std::string_view text, fault_spec& into) {
  double value = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || problem != std::errc{} || end != text.data() + text.size() || !(value > 0) || !(value <= 1e12))
    return false;
  if (value < 1) {
    into.probability = value;
    return true;
  }
  into.count = static_cast<std::int64_t>(value);
  return static_cast<double>(into.count) == value;
}

} // namespace

expected<std::vector<fault_spec>> parse_faults(std::string_view text) {
  std::vector<fault_spec> specs;
  double sum = 0;
  constexpr std::string_view between = " \t\r\n,";
  while (true) {
    const auto begin = text.find_first_not_of(between);
    if (begin == std::string_view::npos)
      break;
    text.remove_prefix(begin);
    const auto part = text.substr(0, text.find_first_of(between));
    text.remove_prefix(part.size());
    const auto colon = part.find(':');
    const auto name = part.substr(0, colon);
    const auto kind = fault_named(name);
    if (!kind)
      return fail(error_code::invalid_argument,
                  "no fault is named " + in_quotes(name)
                      + did_you_mean(name, {"timeout", "reset", "truncate", "slow", "malformed", "empty", "error200"})
                      + " Known are: a status from 400 to 599, timeout, reset, truncate, slow, malformed, empty, error200",
                  "--fault");
    auto& spec = specs.emplace_back();
    spec.what = *kind;
    if (colon == std::string_view::npos || !read_amount(part.substr(colon + 1), spec))
      return fail(error_code::invalid_argument,
                  in_quotes(part) + " needs a probability below 1 or a whole count after the colon, as in 429:0.1 or 503:2", "--fault");
    sum += spec.probability;
  }
  if (sum > 1)
    return fail(error_code::invalid_argument, "the probabilities add up to more than 1", "--fault");
  return specs;
}

fault_plan::fault_plan(const std::vector<fault_spec>& faults, std::uint64_t seed) : seed_(seed) {
  double below = 0;
  for (const auto& spec : faults) {
    if (spec.count > 0) {
      auto& added = counted_.emplace_back();
      added.what = spec.what;
      added.count = spec.count;
    } else {
      below += spec.probability;
      chances_.push_back({spec.what, below});
    }
  }
}

std::optional<llm::fault> fault_plan::next(std::uint64_t content) {
  for (auto& fault : counted_)
    if (fault.met.load(std::memory_order_relaxed) < fault.count && fault.met.fetch_add(1, std::memory_order_relaxed) < fault.count)
      return fault.what;
  if (chances_.empty())
    return std::nullopt;
  std::uint32_t times = 0;
  {
    const std::lock_guard lock(mutex_);
    if (seen_.size() >= most_contents)
      seen_.clear();
    times = seen_[content]++;
  }
  const auto draw = llm::stable_hash({}, llm::stable_hash({}, content ^ seed_ * 0x9E3779B97F4A7C15ULL) + times);
  const double uniform = static_cast<double>(draw >> 11) * 0x1p-53;
  for (const auto& row : chances_)
    if (uniform < row.below)
      return row.what;
  return std::nullopt;
}

} // namespace troupe::mock_llm
