#pragma once
// From other threads to an actor, many at once: what arrives while the actor is busy waits here, and one message tells it to look.

#include <mutex>
#include <utility>
#include <vector>

namespace troupe::actors {

template <class T>
class outbox {
public:
  /// True: the actor has to be told; it was not before. Any thread.
  [[nodiscard]] bool put(T value) {
    const std::lock_guard guard(mutex_);
    waiting_.push_back(std::move(value));
    return waiting_.size() == 1;
  }
  /// All that waits, in the order of arrival. Whoever takes must deal with all of it: the next `put` tells anew.
  std::vector<T> take() {
    const std::lock_guard guard(mutex_);
    return std::exchange(waiting_, {});
  }

private:
  std::mutex mutex_;
  std::vector<T> waiting_;
};

} // namespace troupe::actors
