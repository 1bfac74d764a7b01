#pragma once
// Ids of runs: ULIDs made here and nowhere else, and the rule for those that people choose themselves.

#include <array>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>

namespace troupe {

/// Gives 64 random bits at each call. Tests pass a seeded one.
using random_source = std::function<std::uint64_t()>;

/// The kernel's random numbers (getrandom). Any thread.
random_source system_random();

/// The 26 characters of a ULID (Crockford's base 32, upper case): 48 bits of Unix milliseconds, then 80 random bits. Sorts as its time
/// does. A time outside of 48 bits is clamped.
std::string ulid_text(std::int64_t time_ms, const std::array<std::uint8_t, 10>& random);

/// Makes ULIDs that never repeat and always grow within one process: within one millisecond, and when the clock steps back, the last one's
/// random part is counted up (the ULID specification's monotonic factory). Any thread.
class id_maker {
public:
  explicit id_maker(random_source random = system_random());
  /// `now_ms` is UTC, milliseconds since the epoch.
  std::string next(std::int64_t now_ms);

private:
  std::mutex mutex_;
  random_source random_;
  std::int64_t last_ms_ = -1;
  std::array<std::uint8_t, 10> last_{};
};

/// Whether text may name a run (`--id`, the API's path): [A-Za-z0-9._-]{1,64}. ULIDs are run ids too.
bool is_run_id(std::string_view text);

} // namespace troupe
