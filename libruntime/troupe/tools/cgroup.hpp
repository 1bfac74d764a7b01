#pragma once
// A control group of one call: where the process may make one, its `pids.max` binds root too (RLIMIT_NPROC does not, TRAPS).

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "troupe/util/unique_fd.hpp"

namespace troupe::tools {

class cgroup {
public:
  /// A new group below this process's own with at most `tasks` tasks, and `memory_bytes` of memory where its controllers reach that far
  /// (version 2). Null where none can be made: no permission, a read-only /sys, no pids controller. Cheap when that is known.
  static std::unique_ptr<cgroup> create(std::int64_t tasks, std::int64_t memory_bytes);

  cgroup(const cgroup&) = delete;
  cgroup& operator=(const cgroup&) = delete;

  /// Removes the group; one that still has somebody in it is tried again when the next one is made.
  ~cgroup();

  /// Where a process writes "0" to join.
  int procs_fd() const { return procs_.get(); }

  /// SIGKILL to whoever is in it. For what nothing else can name any more.
  void kill_members() const;

  /// Whether a fork was refused because of `tasks`.
  bool was_full() const;

private:
  explicit cgroup(std::string path) : path_(std::move(path)) {}

  std::string path_;
  unique_fd procs_;
};

} // namespace troupe::tools
