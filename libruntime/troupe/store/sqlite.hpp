#pragma once
// The journal in one SQLite file (write-ahead log, one sync a commit), shared by all processes of one machine.

#include <chrono>
#include <memory>
#include <string>

#include "troupe/store/journal.hpp"

namespace troupe::store {

struct sqlite_options {
  std::string path;                               ///< of the database; `-wal`, `-shm` and `-lock` stand beside it
  bool create = true;                             ///< false: a file that is not there is `not_found` (for `runs`, `show`)
  std::chrono::milliseconds busy_timeout{10'000}; ///< how long to wait for other processes' turn at writing
};

/// Opens, or makes (folder 0700, file 0600), a journal. Errors: `corrupt` for a file that is no database, `invalid_argument` for a database
/// of another program or of a newer troupe, `unavailable` for what the system refuses, `not_found`. Several processes, and several
/// journals in one process, may open the same file at once.
expected<std::unique_ptr<journal>> open_sqlite(const sqlite_options& options);

/// Opens a journal that is only looked at, also where it may not be written (a file system that was mounted read-only, a folder that one
/// may only read): there whatever would write is refused as `permission_denied`. It is never made; errors as above.
expected<std::unique_ptr<journal>> open_sqlite_to_read(const sqlite_options& options);

/// The same of one that may be written, too, and that nobody here has written so far: nothing is made beside it, and whatever would write
/// is refused. It shows what stood there when it was opened.
expected<std::unique_ptr<journal>> look_at_sqlite(const sqlite_options& options);

} // namespace troupe::store
