#pragma once
// Many deadlines, one wake-up under way: a timer that an actor asks for stays in the system until it fires, however early its cause ends.

#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "troupe/util/time_point.hpp"

namespace troupe {

/// Whoever holds it asks for a wake-up when `to_ask` says so, and calls `woken` when that comes.
template <class Key>
class timer_queue {
public:
  /// One deadline a key: a later call replaces the earlier.
  void set(const Key& key, time_point at) {
    drop(key);
    by_key_.emplace(key, at);
    by_time_.emplace(at, key);
  }
  void drop(const Key& key) {
    const auto found = by_key_.find(key);
    if (found == by_key_.end())
      return;
    by_time_.erase({found->second, key});
    by_key_.erase(found);
  }

  /// When a wake-up is wanted; nothing where none is, or one is under way that comes in time. It counts as asked for.
  std::optional<time_point> to_ask() {
    if (by_time_.empty() || (asked_ && *asked_ <= by_time_.begin()->first))
      return std::nullopt;
    asked_ = by_time_.begin()->first;
    return asked_;
  }

  /// A wake-up came: the keys whose time has come, the earliest first; they are dropped. An older wake-up that was overtaken is no harm.
  std::vector<Key> woken(time_point now) {
    if (asked_ && *asked_ <= now)
      asked_.reset();
    std::vector<Key> due;
    while (!by_time_.empty() && by_time_.begin()->first <= now) {
      due.push_back(by_time_.begin()->second);
      by_key_.erase(due.back());
      by_time_.erase(by_time_.begin());
    }
    return due;
  }

  std::size_t size() const { return by_key_.size(); }

private:
  std::map<Key, time_point> by_key_;
  std::set<std::pair<time_point, Key>> by_time_;
  std::optional<time_point> asked_;
};

} // namespace troupe
