#pragma once
// What a tool may see, as bubblewrap's arguments: the system's programs read-only, the configuration's folder, /tmp of its own, its own
// processes, no network unless allowed, and never the journal.

#include <string>
#include <vector>

#include "troupe/model/config.hpp"
#include "troupe/model/error.hpp"

namespace troupe::tools {

/// Descriptors that bubblewrap itself gets, beside 0, 1 and 2.
constexpr int sandbox_status_fd = 3; ///< it writes there: the init's pid, and the program's exit status once it ran
constexpr int sandbox_gate_fd = 4;   ///< it waits there before it starts the program
constexpr int sandbox_passwd_fd = 5; ///< /etc/passwd as the program sees it

struct sandbox_plan {
  std::string bwrap;  ///< absolute path
  std::string folder; ///< absolute: read-only unless below something of `access.write`
  sandbox_spec access;
  std::vector<std::string> hidden; ///< absolute: nothing is there for the program, under whatever name it would reach it
  std::int64_t scratch_bytes = 0;  ///< size of /tmp and /dev/shm, which is memory
};

/// bubblewrap's argv up to and including "--". Reads the file system: what is there, and what links where. `not_found` when a path of
/// `access` is not there, `invalid_argument` when the program could see everything (`/`) or what it must not.
expected<std::vector<std::string>> sandbox_arguments(const sandbox_plan& plan);

/// The one line of /etc/passwd that a program inside needs.
std::string sandbox_passwd();

} // namespace troupe::tools
