#pragma once
// Kernel locks that die with their process (OFD locks, so that two journals of one process exclude each other too), all in one file beside
// the journal. Bytes of it are locked, not written: nothing is left behind. Only the pid of an owner is written, as a hint for people.

#include <chrono>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_set>

#include <sys/types.h>

#include "troupe/model/error.hpp"

namespace troupe::store {

class lock_file {
public:
  /// Opens or makes `path` (0600).
  static expected<lock_file> open(const std::string& path);
  /// Only to ask what is owned, where nothing may be written. Where there is no such file nothing is.
  static expected<lock_file> look(const std::string& path);
  lock_file(lock_file&& other) noexcept;
  lock_file& operator=(lock_file&&) = delete;
  ~lock_file();

  /// The turn at writing. Processes that want it at once get it one after the other: who waits is served before who had it last. Waiting
  /// polls, for at most `patience`: a stopped process must not stop all others for good.
  bool take_turn(std::chrono::milliseconds patience);
  void end_turn();

  /// Owns what has this name (a run's id, or what can be none), or tells the pid of who does (0: unknown).
  std::optional<pid_t> own(const std::string& name);
  void disown(const std::string& name);
  /// Tells every process that watches the file (inotify, IN_ATTRIB) that there is something to read. Call it after the commit.
  void ring() const;
  const std::string& path() const { return path_; }

  /// Whether this object owns it.
  bool mine(const std::string& name) const;
  /// Whether anybody does.
  bool owned(const std::string& name) const;

private:
  lock_file(int descriptor, std::string path) : descriptor_(descriptor), path_(std::move(path)) {}
  bool lock(off_t at) const;
  void unlock(off_t at) const;

  int descriptor_ = -1;
  std::string path_;
  mutable std::mutex mutex_; // guards owned_
  std::unordered_set<std::string> owned_;
};

/// Holds a turn until it goes out of scope.
class turn {
public:
  turn(lock_file& locks, std::chrono::milliseconds patience) : locks_(locks), held_(locks.take_turn(patience)) {}
  turn(const turn&) = delete;
  turn& operator=(const turn&) = delete;
  ~turn() {
    if (held_)
      locks_.end_turn();
  }
  explicit operator bool() const { return held_; }

private:
  lock_file& locks_;
  bool held_;
};

} // namespace troupe::store
