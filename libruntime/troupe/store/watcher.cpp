#include "troupe/store/watcher.hpp"

#include <array>
#include <cerrno>
#include <cstring>

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

namespace troupe::store {

namespace {

constexpr int deaf_look_ms = 1000;

void drain(int descriptor) {
  std::array<char, 4096> bytes;
  while (::read(descriptor, bytes.data(), bytes.size()) > 0) {
  }
}

} // namespace

expected<std::unique_ptr<watcher>> watcher::start(database db, const lock_file& locks) {
  std::unique_ptr<watcher> made(new watcher(std::move(db), locks));
  auto reader = sqlite_reader::make(made->db_);
  if (!reader)
    return tl::unexpected<error>(reader.error());
  made->reader_ = std::make_unique<sqlite_reader>(std::move(*reader));
  made->inotify_ = ::inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
  made->poke_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (made->poke_ < 0)
    return fail(error_code::unavailable, std::string("no descriptor is left: ") + std::strerror(errno) + "; see ulimit -n", locks.path());
  made->hears_ = made->inotify_ >= 0 && ::inotify_add_watch(made->inotify_, locks.path().c_str(), IN_ATTRIB) >= 0;
  made->thread_ = std::thread([self = made.get()] { self->loop(); });
  return made;
}

watcher::~watcher() {
  if (thread_.joinable()) {
    {
      const std::lock_guard guard(mutex_);
      stopping_ = true;
    }
    look();
    thread_.join();
  }
  for (const int descriptor : {inotify_, poke_})
    if (descriptor >= 0)
      ::close(descriptor);
}

void watcher::on_wish(wake_function wake) {
  {
    const std::lock_guard guard(mutex_);
    wake_ = wake ? std::make_shared<const wake_function>(std::move(wake)) : nullptr;
  }
  look();
}

void watcher::look() {
  const std::uint64_t one = 1;
  while (::write(poke_, &one, sizeof one) < 0 && errno == EINTR) {
  }
}

void watcher::on_decision(take_function take) {
  {
    const std::lock_guard guard(mutex_);
    take_ = take ? std::make_shared<const take_function>(std::move(take)) : nullptr;
    for (auto& [run_id, told] : told_decisions_)
      told.clear();
    from_the_start_ = true;
  }
  look();
}

void watcher::look_at(const std::string& run_id) {
  {
    const std::lock_guard guard(mutex_);
    taken_.push_back(run_id);
  }
  look();
}

void watcher::expect(const std::string& run_id) {
  const std::lock_guard guard(mutex_);
  told_decisions_.try_emplace(run_id);
}

void watcher::forget(const std::string& run_id) {
  const std::lock_guard guard(mutex_);
  told_.erase(run_id);
  told_decisions_.erase(run_id);
}

bool watcher::wait() {
  std::array<pollfd, 2> files{pollfd{poke_, POLLIN, 0}, pollfd{inotify_, POLLIN, 0}};
  // Where the kernel has no inotify instance left (128 a user), wishes are looked for: late is better than never.
  ::poll(files.data(), hears_ ? 2 : 1, hears_ ? -1 : deaf_look_ms);
  // Emptied before the wishes are read: what comes later wakes again.
  drain(poke_);
  if (hears_)
    drain(inotify_);
  const std::lock_guard guard(mutex_);
  return !stopping_;
}

void watcher::loop() {
  while (wait()) {
    tell();
    tell_decisions();
  }
}

void watcher::tell() {
  const auto wishes = reader_->wishes();
  if (!wishes)
    return; // the writer meets the same trouble, and has somebody to tell
  for (const auto& run_id : *wishes) {
    if (!locks_.mine(run_id))
      continue;
    std::shared_ptr<const wake_function> wake;
    {
      const std::lock_guard guard(mutex_);
      if (!wake_ || !told_.insert(run_id).second)
        continue;
      wake = wake_;
    }
    (*wake)(run_id);
  }
}

void watcher::tell_decisions() {
  std::vector<std::string> taken;
  std::shared_ptr<const take_function> take;
  {
    const std::lock_guard guard(mutex_);
    take = take_;
    taken.swap(taken_);
    for (const auto& run_id : taken)
      if (locks_.mine(run_id))
        told_decisions_.try_emplace(run_id);
    if (take && std::exchange(from_the_start_, false))
      last_decision_ = 0;
  }
  if (!take)
    return;
  const auto tell_new = [&](std::vector<decision_row>& rows) {
    for (auto& row : rows) {
      {
        const std::lock_guard guard(mutex_);
        // Of a run that was only just taken all are told at once, in their order, when it is looked at whole.
        const auto told = told_decisions_.find(row.run_id);
        if (told == told_decisions_.end() || !locks_.mine(row.run_id) || !told->second.insert(row.id).second)
          continue;
      }
      (*take)(std::move(row));
    }
  };
  for (const auto& run_id : taken)
    if (auto rows = reader_->decisions_of(run_id))
      tell_new(*rows);
  auto rows = reader_->decisions_after(last_decision_);
  if (!rows || rows->empty())
    return;
  last_decision_ = rows->back().id;
  tell_new(*rows);
}

} // namespace troupe::store
