#pragma once
// What waiting for humans gives back to a task's limits of time (SEMANTICS 7): the time in which anybody of the task waits.

#include <chrono>
#include <memory>
#include <mutex>
#include <utility>

#include "troupe/actors/interfaces.hpp"

namespace troupe::actors {

/// One for all elements, members and attempts of a task. Any thread.
class human_time {
public:
  void begin(clock_point now) {
    const std::lock_guard guard(mutex_);
    if (waiting_++ == 0)
      since_ = now;
  }
  void end(clock_point now) {
    const std::lock_guard guard(mutex_);
    if (--waiting_ == 0 && now > since_)
      total_ += now - since_;
  }
  std::chrono::nanoseconds until(clock_point now) const {
    const std::lock_guard guard(mutex_);
    return total_ + (waiting_ > 0 && now > since_ ? std::chrono::nanoseconds(now - since_) : std::chrono::nanoseconds{0});
  }

private:
  mutable std::mutex mutex_; // guards what follows
  std::int64_t waiting_ = 0;
  clock_point since_{};
  std::chrono::nanoseconds total_{0};
};

inline time_mark mark(const std::shared_ptr<human_time>& human, clock_point now) {
  return {now, human ? human->until(now) : std::chrono::nanoseconds{0}};
}

/// When a time after a mark is over, as far as is known now.
inline clock_point moved(clock_point end, const time_mark& since, const std::shared_ptr<human_time>& human, clock_point now) {
  return human && end != clock_point::max() ? end + (human->until(now) - since.human) : end;
}

/// One wait. It ends with whoever waits, too.
class human_time_guard {
public:
  human_time_guard(std::shared_ptr<human_time> of, caf::actor_clock& clock) : of_(std::move(of)), clock_(clock) {
    of_->begin(clock_.now());
  }
  human_time_guard(const human_time_guard&) = delete;
  human_time_guard& operator=(const human_time_guard&) = delete;
  ~human_time_guard() { of_->end(clock_.now()); }

private:
  std::shared_ptr<human_time> of_;
  caf::actor_clock& clock_;
};

} // namespace troupe::actors
