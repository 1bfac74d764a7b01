#pragma once
// From a launch plan to a process: vfork and exec, in a session of its own, with no descriptor and no signal setting of ours.
// Who forks the reaper, and from what: fork_server.hpp.

#include <cstdint>
#include <string>
#include <vector>

#include <sys/types.h>

#include "troupe/model/error.hpp"

namespace troupe::tools {

struct launch {
  std::string program;                  ///< absolute path
  std::vector<std::string> arguments;   ///< argv, the name included
  std::vector<std::string> environment; ///< "NAME=value", nothing else
  std::string folder;                   ///< working folder
  std::vector<int> descriptors;         ///< ours, which the program gets as 0, 1, 2, …
  std::int64_t memory_bytes = 0;        ///< RLIMIT_AS; 0: as it is
  std::int64_t cpu_seconds = 0;         ///< RLIMIT_CPU: SIGXCPU there, SIGKILL two seconds later
  int cgroup_procs = -1;                ///< joined before exec where it is no -1
  std::int64_t tasks_max = 0;           ///< the reaper counts processes and threads, and kills all where there are more; 0: it does not
};

/// What a child could not do, and errno. `none`: the program runs.
struct launch_failure {
  enum class step : std::int32_t { none, fork, descriptors, cgroup, folder, limits, exec };
  step at = step::none;
  std::int32_t number = 0;
};

/// "the folder cannot be entered: No such file or directory".
std::string describe(const launch_failure& failure);

/// What the reaper writes to its report pipe, in this form.
struct reaper_report {
  enum class kind : std::int32_t {
    failed,   ///< `failure`: nothing ran
    started,  ///< `value`: the program's pid
    ended,    ///< `value`: the program's status, as waitpid gives it
    too_many, ///< more than `tasks_max`: all are killed
  };
  kind what = kind::failed;
  std::int32_t value = 0;
  launch_failure failure;
};

/// A launch for those who must not allocate: it points into memory of somebody else.
struct launch_view {
  const char* program = nullptr;
  char* const* arguments = nullptr; ///< ends with a null pointer, as the next
  char* const* environment = nullptr;
  const char* folder = nullptr;
  std::int64_t memory_bytes = 0;
  std::int64_t cpu_seconds = 0;
  std::int64_t tasks_max = 0;
  const int* descriptors = nullptr;
  std::size_t descriptor_count = 0;
  int cgroup_procs = -1;
};

/// What one program may get of descriptors, beside lifeline, report pipe and control group.
constexpr std::size_t launch_descriptors_max = 8;

/// The life of a reaper, in a process that was forked for it with every signal blocked: it calls nothing but the kernel. It is a subreaper,
/// so that whoever descends from the program, daemons included, stays its descendant; it kills all of them when the program ends, or when
/// `lifeline` is closed (its writer has died); and it ends itself when nobody is left. A byte in `lifeline` makes it send SIGTERM to all,
/// and leave those who outlive the program alone until `lifeline` is closed. What happens it writes to `report`. bubblewrap needs it too:
/// where its parent dies while it sets up, the init of its namespace waits for ever.
[[noreturn]] void reap(launch_view plan, int lifeline, int report);

/// Makes `from[i]` descriptor i, and closes all others. Calls nothing but the kernel. False: errno says why.
bool take_descriptors(const int* from, std::size_t count);

} // namespace troupe::tools
