#pragma once
// Which request meets which `--fault`. A probability's chance is drawn from the seed, the request's content and how often that content was
// seen, so that it does not depend on the order in which requests arrive; a count goes to the first requests that do arrive.

#include <atomic>
#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <vector>

#include "mock_llm/server.hpp"

namespace troupe::mock_llm {

/// Any thread.
class fault_plan {
public:
  fault_plan(const std::vector<fault_spec>& faults, std::uint64_t seed);

  bool empty() const { return counted_.empty() && chances_.empty(); }
  std::optional<llm::fault> next(std::uint64_t content);

private:
  struct counted {
    llm::fault what;
    std::int64_t count;
    std::atomic<std::int64_t> met{0};
  };
  struct chance {
    llm::fault what;
    double below; ///< it happens when the draw is below this, and not below an earlier one's
  };

  std::deque<counted> counted_;
  std::vector<chance> chances_;
  std::uint64_t seed_;
  std::mutex mutex_;
  std::unordered_map<std::uint64_t, std::uint32_t> seen_; ///< at most a million contents; then all are new again
};

} // namespace troupe::mock_llm
