#pragma once
// A small process that forks the reapers of tools (spawn.hpp), as a zygote or Python's forkserver does: forked once, while this process has
// not much, and with one thread. A fork of this process itself would copy the page tables of all its conversations, and make each of its
// threads pay a page fault for whatever it writes next.

#include <mutex>

#include <sys/types.h>

#include <tl/expected.hpp>

#include "troupe/tools/spawn.hpp"
#include "troupe/util/unique_fd.hpp"

namespace troupe::tools {

struct reaper_process {
  pid_t pid = -1;
  unique_fd pidfd; ///< readable once it has ended. It is no child of ours
};

struct launch_refusal {
  bool may_have_run = false; ///< the server went away between the order and its answer: closing the lifeline ends whatever runs
  int number = 0;            ///< errno
};

class fork_server {
public:
  fork_server() = default;
  ~fork_server();
  fork_server(const fork_server&) = delete;
  fork_server& operator=(const fork_server&) = delete;

  /// Forks the server, unless it is there: early is cheap. A failure shows, and is tried again, at the next launch. Any thread.
  void start();

  /// Starts the program below a reaper, which gets copies of `lifeline` and `report`. A server that somebody killed is replaced.
  /// Waits for a fork, a millisecond or so. Any thread.
  tl::expected<reaper_process, launch_refusal> launch_below_reaper(const launch& plan, int lifeline, int report);

private:
  bool run();
  void end();

  std::mutex mutex_;
  unique_fd socket_;
  pid_t pid_ = -1;
};

} // namespace troupe::tools
