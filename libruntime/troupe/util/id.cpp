#include "troupe/util/id.hpp"

#include <cerrno>
#include <system_error>

#include <sys/random.h>

namespace troupe {

random_source system_random() {
  return [] {
    std::uint64_t bits = 0;
    while (::getrandom(&bits, sizeof bits, 0) != static_cast<ssize_t>(sizeof bits))
      if (errno != EINTR)
        throw std::system_error(errno, std::generic_category(), "no random numbers from the kernel");
    return bits;
  };
}

std::string ulid_text(std::int64_t time_ms, const std::array<std::uint8_t, 10>& random) {
  static constexpr char alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
  constexpr std::int64_t latest = (std::int64_t{1} << 48) - 1;
  std::uint64_t time = static_cast<std::uint64_t>(time_ms < 0 ? 0 : time_ms > latest ? latest : time_ms);
  std::string text(26, '0');
  for (std::size_t i = 10; i-- > 0; time >>= 5)
    text[i] = alphabet[time & 31];
  // 80 bits are two groups of 40, each 8 characters.
  for (std::size_t half = 0; half < 2; ++half) {
    std::uint64_t bits = 0;
    for (std::size_t i = 0; i < 5; ++i)
      bits = bits << 8 | random[half * 5 + i];
    for (std::size_t i = 8; i-- > 0; bits >>= 5)
      text[10 + half * 8 + i] = alphabet[bits & 31];
  }
  return text;
}

id_maker::id_maker(random_source random) : random_(std::move(random)) {}

std::string id_maker::next(std::int64_t now_ms) {
  const std::lock_guard guard(mutex_);
  if (now_ms > last_ms_) {
    last_ms_ = now_ms;
    const std::uint64_t parts[2] = {random_(), random_()};
    for (std::size_t i = 0; i < last_.size(); ++i)
      last_[i] = static_cast<std::uint8_t>(parts[i / 8] >> (i % 8 * 8));
  } else {
    std::size_t i = last_.size();
    while (i > 0 && ++last_[i - 1] == 0)
      --i;
    if (i == 0)
      ++last_ms_; // 2^80 ids in one millisecond: the next one borrows from the future
  }
  return ulid_text(last_ms_, last_);
}

bool is_run_id(std::string_view text) {
  if (text.empty() || text.size() > 64)
    return false;
  for (const char c : text)
    if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-'))
      return false;
  return true;
}

} // namespace troupe
