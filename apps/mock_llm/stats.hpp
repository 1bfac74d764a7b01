#pragma once
// What /stats tells. Each thread counts for itself, so that counting costs no fight over a cache line.

#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "troupe/model/llm.hpp"

namespace troupe::mock_llm {

/// The counts of one thread. Any thread may read them.
class stats_shard {
public:
  /// A request that was answered (or not: status 0 with a reason, "reset" or "timeout").
  void count(std::string_view agent, int status, const char* unanswered, const token_usage& usage);
  void add_to(nlohmann::json& total) const;

private:
  mutable std::mutex mutex_;
  std::int64_t requests_ = 0;
  std::map<int, std::int64_t> by_status_;
  std::map<std::string, std::int64_t, std::less<>> unanswered_;
  std::map<std::string, std::int64_t, std::less<>> by_agent_; ///< at most 1,000 names, then "other"
  token_usage tokens_;
};

/// How many requests are between their last byte and the last byte of their answer, and the most there ever were.
class flight_counter {
public:
  void enter() {
    const auto now = current_.fetch_add(1, std::memory_order_relaxed) + 1;
    auto most = most_.load(std::memory_order_relaxed);
    while (now > most && !most_.compare_exchange_weak(most, now, std::memory_order_relaxed)) {
    }
  }
  void leave() { current_.fetch_sub(1, std::memory_order_relaxed); }
  std::int64_t most() const { return most_.load(std::memory_order_relaxed); }

private:
  std::atomic<std::int64_t> current_{0};
  std::atomic<std::int64_t> most_{0};
};

} // namespace troupe::mock_llm
