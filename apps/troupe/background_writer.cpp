#include "background_writer.hpp"

#include <algorithm>
#include <cerrno>
#include <utility>

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

namespace troupe::cli {

namespace {

/// A pipe takes this much at once when it is writable at all (PIPE_BUF).
constexpr std::size_t piece_bytes = 4'096;

} // namespace

background_writer::background_writer(int descriptor, limits most)
    : descriptor_(descriptor), limits_(most), poke_(::eventfd(0, EFD_CLOEXEC)), thread_([this] { loop(); }) {}

background_writer::~background_writer() {
  finish();
  {
    const std::lock_guard guard(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto written = ::write(poke_, &one, sizeof one);
  thread_.join();
  ::close(poke_);
}

void background_writer::write(std::string_view text) {
  {
    const std::lock_guard guard(mutex_);
    if (waiting_.size() + text.size() > limits_.waiting_bytes) {
      ++dropped_;
      return;
    }
    if (dropped_ != 0)
      waiting_ += "(" + std::to_string(std::exchange(dropped_, 0)) + " lines were dropped: nobody read standard error)\n";
    waiting_ += text;
  }
  changed_.notify_all();
}

bool background_writer::idle() const {
  const std::lock_guard guard(mutex_);
  return waiting_.empty();
}

void background_writer::finish() {
  std::unique_lock lock(mutex_);
  while (!waiting_.empty() && !gave_up_) {
    const auto before = taken_;
    gave_up_ = !changed_.wait_for(lock, limits_.patience, [&] { return waiting_.empty() || taken_ != before; });
  }
}

bool background_writer::writable() {
  pollfd ready[2] = {{descriptor_, POLLOUT, 0}, {poke_, POLLIN, 0}};
  while (::poll(ready, 2, -1) < 0)
    if (errno != EINTR)
      return false;
  return ready[1].revents == 0;
}

void background_writer::loop() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [&] { return stopping_ || !waiting_.empty(); });
    if (stopping_)
      return;
    lock.unlock();
    const bool more = writable();
    lock.lock();
    if (!more)
      return;
    const auto piece = waiting_.substr(0, piece_bytes);
    lock.unlock();
    const auto written = ::write(descriptor_, piece.data(), piece.size());
    const bool lost = written < 0 && errno != EINTR && errno != EAGAIN;
    lock.lock();
    if (lost) // nobody will ever read it
      waiting_.clear();
    else if (written > 0)
      waiting_.erase(0, static_cast<std::size_t>(written));
    ++taken_;
    gave_up_ = false;
    changed_.notify_all();
  }
}

} // namespace troupe::cli
