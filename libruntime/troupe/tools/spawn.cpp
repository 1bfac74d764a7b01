#include "troupe/tools/spawn.hpp"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "troupe/tools/descendants.hpp"

namespace troupe::tools {

namespace {

constexpr int first_spare_fd = 64;
constexpr std::size_t descriptors_max = launch_descriptors_max + 3; // lifeline, report, control group

bool limit(decltype(RLIMIT_AS) what, rlim_t soft, rlim_t hard) {
  const rlimit wanted{soft, hard};
  return ::setrlimit(what, &wanted) == 0;
}

/// Never above what we have ourselves: only root could.
bool lower_limit(decltype(RLIMIT_AS) what, rlim_t soft, rlim_t hard) {
  rlimit now{};
  if (::getrlimit(what, &now) != 0)
    return false;
  hard = std::min(hard, now.rlim_max);
  return limit(what, std::min(soft, hard), hard);
}

bool set_limits(const launch_view& plan) {
  const auto as_limit = [](std::int64_t value) { return static_cast<rlim_t>(value); };
  if (!limit(RLIMIT_CORE, 0, 0) || !lower_limit(RLIMIT_NOFILE, 1'024, 4'096))
    return false;
  if (plan.memory_bytes > 0 && !lower_limit(RLIMIT_AS, as_limit(plan.memory_bytes), as_limit(plan.memory_bytes)))
    return false;
  return plan.cpu_seconds <= 0 || lower_limit(RLIMIT_CPU, as_limit(plan.cpu_seconds), as_limit(plan.cpu_seconds) + 2);
}

/// Every signal as a new program expects it. The kernel is asked directly: in a vfork child the C library's (and a sanitizer's) books
/// are the parent's.
void reset_signals() {
  struct {
    void* handler;
    unsigned long flags;
    void* restorer;
    std::uint64_t mask;
  } standard{};
  for (int signal = 1; signal <= 64; ++signal)
    if (signal != SIGKILL && signal != SIGSTOP)
      ::syscall(SYS_rt_sigaction, signal, &standard, nullptr, sizeof standard.mask);
  const std::uint64_t none = 0;
  ::syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, nullptr, sizeof none);
}

/// In the child: becomes the program, or says what kept it from that.
void become(const launch_view& plan, launch_failure& failure) {
  using step = launch_failure::step;
  const auto give_up = [&failure](step at) { failure = {at, errno}; };
  ::setsid();
  if (plan.cgroup_procs >= 0 && ::write(plan.cgroup_procs, "0", 1) != 1)
    return give_up(step::cgroup);
  if (!take_descriptors(plan.descriptors, plan.descriptor_count))
    return give_up(step::descriptors);
  if (::chdir(plan.folder) != 0)
    return give_up(step::folder);
  if (!set_limits(plan))
    return give_up(step::limits);
  reset_signals();
  ::execve(plan.program, plan.arguments, plan.environment);
  give_up(step::exec);
}

/// The child shares our memory until it execs, so its failure is simply seen here.
[[gnu::noinline]] pid_t vfork_and_become(const launch_view& plan, launch_failure& failure) {
  // posix_spawn knows no limits and no control groups.
  const pid_t pid = ::vfork(); // NOLINT(clang-analyzer-security.insecureAPI.vfork)
  if (pid == 0) {
    become(plan, failure); // NOLINT(clang-analyzer-unix.Vfork): system calls alone
    ::_exit(127);
  }
  return pid;
}

void report_to(int fd, const reaper_report& report) {
  // One write below PIPE_BUF: whole or not at all. Where nobody reads any more, nobody misses it.
  [[maybe_unused]] const auto written = ::write(fd, &report, sizeof report);
}

/// How often a tool's processes are counted where the kernel does not keep their number down: here, since nobody else is sure to get a turn
/// while a bomb goes off.
constexpr int census_ms = 10;

std::int64_t count_descendants(pid_t root) {
  pid_t pids[4096];
  return static_cast<std::int64_t>(descendants_of(root, pids).tasks);
}

} // namespace

std::string describe(const launch_failure& failure) {
  const auto why = std::string(": ") + std::strerror(failure.number);
  switch (failure.at) {
  case launch_failure::step::none:
    return "it runs";
  case launch_failure::step::fork:
    return "the system starts no more processes" + why;
  case launch_failure::step::descriptors:
    return "its pipes cannot be set up" + why;
  case launch_failure::step::cgroup:
    return "its control group cannot be joined" + why;
  case launch_failure::step::folder:
    return "its working folder cannot be entered" + why;
  case launch_failure::step::limits:
    return "its limits cannot be set" + why;
  case launch_failure::step::exec:
    return failure.number == ENOEXEC ? "it is neither a program for this machine nor a script with a #! line"
                                     : "it cannot be executed" + why;
  }
  return "?";
}

bool take_descriptors(const int* from, std::size_t count) {
  int spare[descriptors_max];
  for (std::size_t i = 0; i < count; ++i)
    if ((spare[i] = ::fcntl(from[i], F_DUPFD, first_spare_fd)) < 0)
      return false;
  for (std::size_t i = 0; i < count; ++i)
    if (::dup2(spare[i], static_cast<int>(i)) < 0)
      return false;
  return ::close_range(static_cast<unsigned>(count), ~0U, 0) == 0;
}

void reap(launch_view plan, int lifeline, int report) {
  ::prctl(PR_SET_NAME, "troupe-reaper");
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  ::setsid();
  // Where it may: thousands of a fork bomb must not keep it from its turn. What it starts has the ordinary priority.
  const sched_param first{.sched_priority = 1};
  ::sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &first);
  int kept[descriptors_max];
  std::size_t count = 0;
  while (count < plan.descriptor_count) {
    kept[count] = plan.descriptors[count];
    ++count;
  }
  kept[count++] = lifeline;
  kept[count++] = report;
  const bool joins = plan.cgroup_procs >= 0;
  if (joins)
    kept[count++] = plan.cgroup_procs;
  reaper_report news;
  if (!take_descriptors(kept, count)) {
    news.failure = {launch_failure::step::descriptors, errno};
    report_to(report, news);
    ::_exit(0);
  }
  const auto base = static_cast<int>(plan.descriptor_count);
  lifeline = base;
  report = base + 1;
  int places[launch_descriptors_max];
  for (int i = 0; i < base; ++i)
    places[i] = i;
  plan.descriptors = places;
  plan.cgroup_procs = joins ? base + 2 : -1;

  launch_failure failure;
  const pid_t program = vfork_and_become(plan, failure);
  if (program < 0)
    failure = {launch_failure::step::fork, errno};
  if (failure.at != launch_failure::step::none) {
    if (program > 0)
      ::waitpid(program, nullptr, 0); // it would be left to the init, which in a container may be troupe
    news.failure = failure;
    report_to(report, news);
    ::_exit(0);
  }
  news.what = reaper_report::kind::started;
  news.value = program;
  report_to(report, news);
  for (int i = 0; i < base; ++i)
    ::close(i); // the pipes end with the program's own, not with us
  sigset_t child_signal;
  sigemptyset(&child_signal);
  sigaddset(&child_signal, SIGCHLD);
  const int deaths = ::signalfd(-1, &child_signal, SFD_NONBLOCK | SFD_CLOEXEC);
  bool killing = false, terminating = false;
  for (;;) {
    for (;;) {
      int status = 0;
      const pid_t dead = ::waitpid(-1, &status, WNOHANG);
      if (dead < 0 && errno == ECHILD)
        ::_exit(0); // nobody is left
      if (dead <= 0)
        break;
      if (dead == program) {
        killing = killing || !terminating; // the others have their grace too
        news.what = reaper_report::kind::ended;
        news.value = status;
        report_to(report, news);
      }
    }
    if (killing)
      kill_descendants(::getpid(), program);
    pollfd ready[2] = {{deaths, POLLIN, 0}, {killing ? -1 : lifeline, POLLIN, 0}};
    const bool counts = !killing && plan.tasks_max > 0;
    ::poll(ready, 2, killing ? 1 : counts ? census_ms : -1); // while killing: look again, somebody may have forked meanwhile
    if (counts && count_descendants(::getpid()) > plan.tasks_max) {
      killing = true;
      news.what = reaper_report::kind::too_many;
      report_to(report, news);
      continue;
    }
    signalfd_siginfo ignored;
    while (::read(deaths, &ignored, sizeof ignored) > 0) {
    }
    if (ready[1].revents != 0) {
      char order = 0;
      const auto got = ::read(lifeline, &order, 1);
      if (got > 0) {
        terminating = true;
        signal_descendants(::getpid(), SIGTERM);
      } else if (got == 0 || errno != EAGAIN) {
        killing = true;
      }
    }
  }
}

} // namespace troupe::tools
