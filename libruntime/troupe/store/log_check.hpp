#pragma once
// Looks at SQLite's write-ahead log before SQLite does. To SQLite a log ends at the first frame that does not hold, which is right for a
// write that was cut off: nobody was told of it. Where the log goes on behind that frame, what was told as durable goes with it, silently.
//
// Source of the format and its checksums: https://sqlite.org/fileformat2.html#the_write_ahead_log

#include <cstdint>
#include <string>
#include <string_view>

#include "troupe/model/error.hpp"

namespace troupe::store {

struct log_findings {
  std::int64_t frames = 0;   ///< that SQLite will read: up to the last whole commit
  std::int64_t left_out = 0; ///< bytes behind them
  bool damaged = false;      ///< among what is left out ends a commit of this log: it was whole once
};

/// `log`: all bytes of a -wal file.
log_findings check_log(std::string_view log);

/// Of the journal at `path`, while nobody writes to it. A damaged log is copied first, to a file beside it: SQLite overwrites what it does
/// not read. Warns of it through the logger, once, since the log is a good one from then on. An error when no copy can be kept.
expected<void> keep_damaged_log(const std::string& path, std::int64_t utc_us);

} // namespace troupe::store
