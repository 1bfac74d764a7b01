#pragma once
// A thread that deals with many things in one go tells of them once, when it is done with all.

#include <functional>
#include <utility>
#include <vector>

namespace troupe {

/// While one lives on this thread, `at_end` keeps what it is given until the outermost one ends. Not for what may throw.
class batch {
public:
  batch() noexcept : outer_(std::exchange(current_, this)) {}
  batch(const batch&) = delete;
  batch& operator=(const batch&) = delete;
  ~batch() {
    current_ = outer_;
    for (auto& act : acts_)
      at_end(std::move(act));
  }

  /// At the end of this thread's batch; at once where there is none.
  static void at_end(std::function<void()> act) {
    if (current_ != nullptr)
      current_->acts_.push_back(std::move(act));
    else
      act();
  }

private:
  static inline thread_local batch* current_ = nullptr;
  batch* outer_;
  std::vector<std::function<void()>> acts_;
};

} // namespace troupe
