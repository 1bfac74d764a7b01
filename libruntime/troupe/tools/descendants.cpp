#include "troupe/tools/descendants.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace troupe::tools {

namespace {

/// "/proc/123/task": no allocation, no stdio.
struct task_path {
  explicit task_path(pid_t pid) {
    char digits[12];
    std::size_t n = 0;
    for (auto left = static_cast<std::uint32_t>(pid); n == 0 || left > 0; left /= 10)
      digits[n++] = static_cast<char>('0' + left % 10);
    std::memcpy(text, "/proc/", 6);
    std::size_t at = 6;
    while (n > 0)
      text[at++] = digits[--n];
    std::memcpy(text + at, "/task", 6);
  }
  char text[32];
};

/// Reads the pids of one `children` file into `into`, from `count` on.
void read_children(int tasks_fd, const char* tid, std::span<pid_t> into, std::size_t& count) noexcept {
  char name[32];
  const auto length = std::min(std::strlen(tid), std::size_t{20});
  std::memcpy(name, tid, length); // NOLINT(bugprone-not-null-terminated-result): the next one brings the end
  std::memcpy(name + length, "/children", 10);
  const int fd = ::openat(tasks_fd, name, O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return;
  char buffer[1024];
  pid_t pid = 0;
  ssize_t got = 0;
  while (count < into.size() && (got = ::read(fd, buffer, sizeof buffer)) > 0) {
    for (ssize_t i = 0; i < got && count < into.size(); ++i) {
      if (buffer[i] >= '0' && buffer[i] <= '9') {
        pid = pid * 10 + (buffer[i] - '0');
      } else if (pid > 0) {
        into[count++] = pid;
        pid = 0;
      }
    }
  }
  ::close(fd);
}

} // namespace

process_census descendants_of(pid_t root, std::span<pid_t> into) noexcept {
  process_census found;
  std::size_t next = 0; // of `into`: whose children are read next; the root comes before all
  for (bool at_root = true; at_root || next < found.processes; at_root = false) {
    const pid_t parent = at_root ? root : into[next++];
    const int tasks_fd = ::open(task_path(parent).text, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (tasks_fd < 0)
      continue; // it is gone; its children are the root's now
    alignas(dirent64) char buffer[2048];
    long got = 0;
    while ((got = ::syscall(SYS_getdents64, tasks_fd, buffer, sizeof buffer)) > 0) {
      for (long at = 0; at < got;) {
        const auto* entry = reinterpret_cast<const dirent64*>(buffer + at);
        at += entry->d_reclen;
        if (entry->d_name[0] == '.')
          continue;
        found.tasks += at_root ? 0 : 1;
        read_children(tasks_fd, entry->d_name, into, found.processes);
      }
    }
    ::close(tasks_fd);
  }
  return found;
}

std::size_t signal_descendants(pid_t root, int signal) noexcept {
  std::array<pid_t, 8192> pids;
  const auto found = descendants_of(root, pids);
  for (std::size_t i = 0; i < found.processes; ++i)
    ::kill(pids[i], signal);
  return found.processes;
}

void kill_descendants(pid_t root, pid_t session) noexcept {
  std::array<pid_t, 8192> pids;
  const auto found = descendants_of(root, pids);
  pid_t before = 0;
  for (std::size_t i = 0; i < found.processes; ++i) {
    // A pid that somebody else has by now is of another session.
    const pid_t group = session > 1 && ::getsid(pids[i]) == session ? ::getpgid(pids[i]) : 0;
    if (group > 1 && group != before)
      ::kill(-group, SIGKILL);
    before = group;
    ::kill(pids[i], SIGKILL);
  }
}

} // namespace troupe::tools
