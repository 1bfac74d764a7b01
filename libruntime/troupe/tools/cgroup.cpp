#include "troupe/tools/cgroup.hpp"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <string_view>
#include <vector>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace troupe::tools {

namespace {

namespace fs = std::filesystem;

bool write_file(const std::string& path, const std::string& text) {
  const unique_fd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  return fd && ::write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
}

/// "troupe-PID-N": of which process a group is, or 0.
pid_t owner_of(std::string_view name) {
  constexpr std::string_view prefix = "troupe-";
  pid_t pid = 0;
  if (name.substr(0, prefix.size()) == prefix)
    std::from_chars(name.data() + prefix.size(), name.data() + name.size(), pid);
  return pid;
}

/// Groups of processes that were killed before they could remove them.
void remove_leftovers(const std::string& base) {
  std::error_code ignored;
  for (fs::directory_iterator it(base, ignored), end; !ignored && it != end; it.increment(ignored)) {
    const auto pid = owner_of(it->path().filename().native());
    if (pid > 0 && ::kill(pid, 0) != 0 && errno == ESRCH)
      ::rmdir(it->path().c_str());
  }
}

/// The folder in which groups with a pids controller can be made, or empty. The lines of /proc/self/cgroup are "id:controllers:path".
std::string find_base() {
  std::ifstream lines("/proc/self/cgroup");
  for (std::string line; std::getline(lines, line);) {
    const auto first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos)
      continue;
    const auto controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    const auto own = line.substr(second + 1) == "/" ? std::string() : line.substr(second + 1);
    std::string base;
    if (controllers.find(",pids,") != std::string::npos)
      base = "/sys/fs/cgroup/pids" + own;
    else if (controllers == ",,") // version 2: children have a pids.max where it is delegated to them
      base = "/sys/fs/cgroup" + own;
    else
      continue;
    const auto probe = base + "/troupe-" + std::to_string(::getpid()) + "-probe";
    if (::mkdir(probe.c_str(), 0700) != 0)
      continue;
    const bool good = write_file(probe + "/pids.max", "64");
    ::rmdir(probe.c_str());
    if (good) {
      remove_leftovers(base);
      return base;
    }
  }
  return {};
}

/// Groups of this process that somebody was still in when their call ended.
class leftover_list {
public:
  void add(std::string path) {
    const std::lock_guard lock(mutex_);
    paths_.push_back(std::move(path));
  }
  void retry() {
    const std::lock_guard lock(mutex_);
    std::erase_if(paths_, [](const std::string& path) { return ::rmdir(path.c_str()) == 0 || errno == ENOENT; });
  }
  ~leftover_list() { retry(); }

private:
  std::mutex mutex_;
  std::vector<std::string> paths_;
};

leftover_list leftovers;

} // namespace

std::unique_ptr<cgroup> cgroup::create(std::int64_t tasks, std::int64_t memory_bytes) {
  static const std::string base = find_base();
  static std::atomic<std::uint64_t> next{1};
  if (base.empty())
    return nullptr;
  leftovers.retry();
  auto path = base + "/troupe-" + std::to_string(::getpid()) + "-" + std::to_string(next.fetch_add(1));
  if (::mkdir(path.c_str(), 0700) != 0)
    return nullptr;
  std::unique_ptr<cgroup> made(new cgroup(std::move(path)));
  if (!write_file(made->path_ + "/pids.max", std::to_string(tasks)))
    return nullptr;
  write_file(made->path_ + "/memory.max", std::to_string(memory_bytes)); // where the controller is there; RLIMIT_AS holds anyway
  made->procs_.reset(::open((made->path_ + "/cgroup.procs").c_str(), O_WRONLY | O_CLOEXEC));
  return made->procs_ ? std::move(made) : nullptr;
}

cgroup::~cgroup() {
  if (::rmdir(path_.c_str()) != 0 && errno != ENOENT)
    leftovers.add(std::move(path_));
}

void cgroup::kill_members() const {
  for (int round = 0; round < 100; ++round) { // whoever forks meanwhile is in the next round
    std::ifstream members(path_ + "/cgroup.procs");
    bool any = false;
    for (pid_t pid = 0; members >> pid;) {
      any = true;
      ::kill(pid, SIGKILL);
    }
    if (!any)
      return;
  }
}

bool cgroup::was_full() const {
  std::ifstream events(path_ + "/pids.events");
  std::string word;
  for (std::int64_t count = 0; events >> word >> count;)
    if (word == "max")
      return count > 0;
  return false;
}

} // namespace troupe::tools
