#pragma once
// What waiting for humans gives back to a task's limits of time (SEMANTICS 7): the time in which anybody of the task waits, also who works
// for it: agents that it has asked, reviewers, the tasks of its sub-workflow.

#include <algorithm>
#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "troupe/actors/interfaces.hpp"

namespace troupe::actors {

/// While somebody waits, an end that humans move is looked at again after this at the earliest.
inline constexpr std::chrono::seconds human_pause{1};

/// One for all elements, members and attempts of a task, and for those that it has asked. Any thread.
class human_time {
public:
  /// `above`: of the task whose sub-workflow this one's task is in; null: none.
  explicit human_time(std::shared_ptr<human_time> above = nullptr) : above_(std::move(above)) {}
  void begin(clock_point now) {
    const std::lock_guard guard(mutex_);
    if (waiting_++ != 0)
      return;
    since_ = now;
    if (above_)
      above_->begin(now);
  }
  void end(clock_point now) {
    const std::lock_guard guard(mutex_);
    if (--waiting_ != 0)
      return;
    if (now > since_)
      total_ += now - since_;
    if (above_)
      above_->end(now);
  }
  std::chrono::nanoseconds until(clock_point now) const {
    const std::lock_guard guard(mutex_);
    return total_ + (waiting_ > 0 && now > since_ ? std::chrono::nanoseconds(now - since_) : std::chrono::nanoseconds{0});
  }

  /// In how long what has this left is to be looked at.
  clock_point::duration next_look(clock_point::duration left) const {
    const std::lock_guard guard(mutex_);
    return std::max<clock_point::duration>(left, waiting_ > 0 ? clock_point::duration(human_pause) : clock_point::duration::zero());
  }

private:
  const std::shared_ptr<human_time> above_;
  mutable std::mutex mutex_; // guards what follows; taken before that of what is above
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

/// When a task's time is over, as far as is known now; its agent may have less.
inline clock_point end_of(const task_assignment& order, clock_point now) {
  return moved(order.deadline, order.given, order.human, now);
}

/// The ends of an agent's time and of its task's, for who asks again and again when they are; max: never. Any thread.
struct standing_ends {
  clock_point agent = clock_point::max(), task = clock_point::max(); ///< as known at these marks:
  time_mark begun, given;
  std::shared_ptr<human_time> human;
  clock_point of_agent(clock_point now) const { return moved(agent, begun, human, now); }
  clock_point of_task(clock_point now) const { return moved(task, given, human, now); }
};

/// In how long an end that humans may move is to be looked at; nothing: it has come.
inline std::optional<clock_point::duration> next_look(clock_point end, const std::shared_ptr<human_time>& human, clock_point now) {
  if (end <= now)
    return std::nullopt;
  return human ? human->next_look(end - now) : end - now;
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
