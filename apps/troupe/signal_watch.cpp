#include "signal_watch.hpp"

#include <csignal>
#include <cstdint>
#include <utility>

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "command.hpp"

namespace troupe::cli {

namespace {

/// Says it where that does not wait for anybody: the program is to end.
void say_at_once(const std::string& text) {
  pollfd out{STDERR_FILENO, POLLOUT, 0};
  if (::poll(&out, 1, 0) != 1 || (out.revents & POLLOUT) == 0)
    return;
  [[maybe_unused]] const auto written = ::write(STDERR_FILENO, text.data(), text.size());
}

sigset_t watched_signals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGCONT);
  struct sigaction hang_up {};
  if (::sigaction(SIGHUP, nullptr, &hang_up) == 0 && hang_up.sa_handler != SIG_IGN) // nohup wants it to outlive its terminal
    sigaddset(&set, SIGHUP);
  return set;
}

} // namespace

signal_watch::signal_watch() {
  sigset_t wanted = watched_signals();
  ::pthread_sigmask(SIG_BLOCK, &wanted, nullptr);
  descriptor_ = ::signalfd(-1, &wanted, SFD_CLOEXEC);
  stop_ = ::eventfd(0, EFD_CLOEXEC);
  thread_ = std::thread([this] { watch(); });
}

signal_watch::~signal_watch() {
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto written = ::write(stop_, &one, sizeof one);
  thread_.join();
  ::close(descriptor_);
  ::close(stop_);
}

void signal_watch::graceful_end(std::function<void()> ask, std::string last_words) {
  const std::lock_guard guard(mutex_);
  ask_ = std::move(ask);
  last_words_ = std::move(last_words);
}

void signal_watch::watch() {
  for (;;) {
    pollfd ready[2] = {{descriptor_, POLLIN, 0}, {stop_, POLLIN, 0}};
    if (::poll(ready, 2, -1) < 0 || (ready[1].revents & POLLIN) != 0)
      return;
    signalfd_siginfo what{};
    if (::read(descriptor_, &what, sizeof what) != sizeof what)
      continue;
    if (what.ssi_signo == SIGCONT) {
      *continued_ = true;
      continue;
    }
    const std::lock_guard guard(mutex_);
    if (!ask_ || std::exchange(asked_, true)) {
      say_at_once(last_words_);
      ::_exit(status_interrupted);
    }
    ask_();
  }
}

} // namespace troupe::cli
