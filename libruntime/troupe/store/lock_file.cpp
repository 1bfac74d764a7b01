#include "troupe/store/lock_file.hpp"

#include <array>
#include <cerrno>
#include <cstring>
#include <thread>
#include <utility>

#include <csignal>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/sha.h>

namespace troupe::store {

namespace {

// Who waits for the turn holds the queue's byte meanwhile; who had the turn must pass the queue to get it again.
constexpr off_t queue_byte = 0;
constexpr off_t turn_byte = 1;
constexpr off_t first_slot = 4096;
constexpr std::uint64_t slots = 4096;
constexpr off_t first_name = off_t{1} << 32;

std::uint64_t hash_of(const std::string& name) {
  std::array<unsigned char, SHA256_DIGEST_LENGTH> digest;
  SHA256(reinterpret_cast<const unsigned char*>(name.data()), name.size(), digest.data());
  std::uint64_t hash = 0;
  std::memcpy(&hash, digest.data(), sizeof hash);
  return hash;
}

/// 62 bits of the hash: two names share a byte once in ages, and then the second one is refused, never both let in.
off_t byte_of(std::uint64_t hash) {
  return first_name + static_cast<off_t>(hash >> 2 & 0x3FFF'FFFF'FFFF'FFFFULL);
}

struct slot {
  std::uint64_t hash = 0;
  std::int64_t pid = 0;
};

off_t slot_of(std::uint64_t hash) {
  return first_slot + static_cast<off_t>(hash % slots * sizeof(slot));
}

struct flock byte_lock(short type, off_t at) {
  struct flock wanted {};
  wanted.l_type = type;
  wanted.l_whence = SEEK_SET;
  wanted.l_start = at;
  wanted.l_len = 1;
  return wanted;
}

tl::unexpected<error> cannot_open(const std::string& path) {
  const int why = errno;
  const std::string words = std::string("the journal's lock file cannot be opened: ") + std::strerror(why);
  if (why == EROFS)
    return fail(error_code::permission_denied,
                words
                    + "; a disk that fails is remounted so by the kernel, whose log (dmesg) says why. What was recorded can still be looked"
                      " at, by `runs`, `show` and `approvals`",
                path);
  return fail(why == EACCES || why == EPERM ? error_code::permission_denied : error_code::unavailable,
              words + "; look at the owner and mode of the file and its folder", path);
}

} // namespace

expected<lock_file> lock_file::open(const std::string& path) {
  const int descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (descriptor < 0)
    return cannot_open(path);
  return lock_file(descriptor, path);
}

expected<lock_file> lock_file::look(const std::string& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (descriptor < 0 && errno != ENOENT)
    return cannot_open(path);
  return lock_file(descriptor, path);
}

lock_file::lock_file(lock_file&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)), path_(std::move(other.path_)), owned_(std::move(other.owned_)) {}

lock_file::~lock_file() {
  if (descriptor_ >= 0)
    ::close(descriptor_); // the locks go with it
}

bool lock_file::lock(off_t at) const {
  auto wanted = byte_lock(F_WRLCK, at);
  int result;
  do
    result = ::fcntl(descriptor_, F_OFD_SETLK, &wanted);
  while (result != 0 && errno == EINTR);
  return result == 0;
}

void lock_file::unlock(off_t at) const {
  auto wanted = byte_lock(F_UNLCK, at);
  while (::fcntl(descriptor_, F_OFD_SETLK, &wanted) != 0 && errno == EINTR) {
  }
}

bool lock_file::take_turn(std::chrono::milliseconds patience) {
  using clock = std::chrono::steady_clock;
  auto wait_for = [&, deadline = std::optional<clock::time_point>()](off_t at) mutable {
    auto pause = std::chrono::microseconds(50);
    while (!lock(at)) {
      const auto now = clock::now();
      if (!deadline)
        deadline = now + patience;
      if (now >= *deadline)
        return false;
      std::this_thread::sleep_for(pause);
      if (pause < std::chrono::milliseconds(2))
        pause *= 2;
    }
    return true;
  };
  if (!wait_for(queue_byte))
    return false;
  const bool got = wait_for(turn_byte);
  unlock(queue_byte);
  return got;
}

void lock_file::end_turn() {
  unlock(turn_byte);
}

std::optional<pid_t> lock_file::own(const std::string& name) {
  const auto hash = hash_of(name);
  const std::lock_guard guard(mutex_);
  if (owned_.contains(name))
    return ::getpid();
  if (lock(byte_of(hash))) {
    owned_.insert(name);
    const slot mine{hash, ::getpid()};
    // A hint only: where it cannot be written, the holder stays nameless.
    if (::pwrite(descriptor_, &mine, sizeof mine, slot_of(hash)) != static_cast<ssize_t>(sizeof mine))
      errno = 0;
    return std::nullopt;
  }
  slot other;
  if (::pread(descriptor_, &other, sizeof other, slot_of(hash)) != static_cast<ssize_t>(sizeof other) || other.hash != hash)
    return 0;
  // Between a lock and its hint stands the pid of who had it before.
  const auto holder = static_cast<pid_t>(other.pid);
  return holder > 0 && ::kill(holder, 0) != 0 && errno == ESRCH ? 0 : holder;
}

void lock_file::disown(const std::string& name) {
  const std::lock_guard guard(mutex_);
  if (owned_.erase(name) > 0)
    unlock(byte_of(hash_of(name)));
}

void lock_file::ring() const {
  ::futimens(descriptor_, nullptr);
}

bool lock_file::mine(const std::string& name) const {
  const std::lock_guard guard(mutex_);
  return owned_.contains(name);
}

bool lock_file::owned(const std::string& name) const {
  if (mine(name))
    return true;
  if (descriptor_ < 0)
    return false;
  auto probe = byte_lock(F_WRLCK, byte_of(hash_of(name)));
  return ::fcntl(descriptor_, F_OFD_GETLK, &probe) == 0 && probe.l_type != F_UNLCK;
}

} // namespace troupe::store
