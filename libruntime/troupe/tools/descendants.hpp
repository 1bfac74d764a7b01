#pragma once
// Who descends from a process, as /proc says: sessions and process groups do not matter, so a daemon is found too, as long as its
// orphans go to the root (the init of a PID namespace, or a subreaper). Allocates nothing: also for a child between fork and exec.

#include <cstddef>
#include <span>

#include <sys/types.h>

namespace troupe::tools {

struct process_census {
  std::size_t processes = 0; ///< found, without the root; the first ones of `into`
  std::size_t tasks = 0;     ///< their threads, which is what the kernel's limits count
};

/// Fills `into` with the descendants of `root`, parents before their children, as many as fit. A picture that is old when it is seen: who
/// must get all of them asks again until nobody is left. Linear in what it finds.
process_census descendants_of(pid_t root, std::span<pid_t> into) noexcept;

/// Sends a signal to each descendant of `root`; answers how many there were. Not to `root`.
std::size_t signal_descendants(pid_t root, int signal) noexcept;

/// SIGKILL to them, and to the process groups of `session`, which only they can be in (spawn.hpp gives a program one): a group dies as a
/// whole, also who is being forked into it, where one by one a fork bomb may be faster. Those in further sessions die one by one.
void kill_descendants(pid_t root, pid_t session) noexcept;

} // namespace troupe::tools
