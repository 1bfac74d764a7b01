#pragma once
// What a process has used, for the tables of the benchmarks.

#include <sys/resource.h>
#include <sys/time.h>

namespace bench {

/// CPU of this process so far, user and system.
inline double cpu_seconds() {
  rusage used{};
  ::getrusage(RUSAGE_SELF, &used);
  const auto seconds = [](const timeval& t) { return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6; };
  return seconds(used.ru_utime) + seconds(used.ru_stime);
}

/// The most memory that it ever held, in MiB.
inline double peak_memory_mb() {
  rusage used{};
  ::getrusage(RUSAGE_SELF, &used);
  return static_cast<double>(used.ru_maxrss) / 1024;
}

} // namespace bench
