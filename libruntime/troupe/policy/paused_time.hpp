#pragma once
// The part of a run's time that does not count because it waited for humans (`checkpoint.pause_clock`), as its events tell it. Of its last
// owner: what owners before used is recorded in `run_resumed`.

#include <cstdint>
#include <set>
#include <string>

#include "troupe/model/event.hpp"

namespace troupe::policy {

class paused_time {
public:
  void apply(const event& e) {
    if (std::holds_alternative<run_resumed>(e.body)) {
      *this = {};
    } else if (const auto* asked = std::get_if<approval_requested>(&e.body)) {
      if (asked->pause_clock && waiting_.insert(asked->id).second && waiting_.size() == 1)
        since_us_ = e.time_us;
    } else if (const auto* decided = std::get_if<approval_decided>(&e.body)) {
      end(decided->id, e.time_us);
    } else if (const auto* withdrawn = std::get_if<approval_withdrawn>(&e.body)) {
      end(withdrawn->id, e.time_us);
    }
  }

  /// Up to an event's time.
  std::int64_t until(std::int64_t time_us) const { return total_us_ + (waiting_.empty() || time_us < since_us_ ? 0 : time_us - since_us_); }

private:
  void end(const std::string& id, std::int64_t time_us) {
    if (waiting_.erase(id) != 0 && waiting_.empty())
      total_us_ += time_us > since_us_ ? time_us - since_us_ : 0;
  }

  std::set<std::string> waiting_;
  std::int64_t since_us_ = 0;
  std::int64_t total_us_ = 0;
};

} // namespace troupe::policy
