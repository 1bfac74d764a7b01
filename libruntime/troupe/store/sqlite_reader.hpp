#pragma once
// Reads runs from a journal file and checks what it reads. One thread at a time.

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "troupe/store/journal.hpp"
#include "troupe/store/sqlite_db.hpp"

namespace troupe::store {

/// The good beginning of a run whose last rows are damaged or missing: what is kept when they are cut.
struct torn_tail {
  std::int64_t row = 0; ///< of `runs`
  std::int64_t last_seq = 0;
  std::uint32_t checksum = 0;
  std::string note; ///< for people
};

struct run_read {
  std::vector<event_ptr> events;
  std::optional<torn_tail> torn;
};

class sqlite_reader {
public:
  static expected<sqlite_reader> make(database& db);

  /// See `journal::read_run`; nothing is changed.
  expected<run_read> read(const std::string& run_id, std::int64_t after_seq);
  /// Whether the last event of a run is whole: `corrupt` where it is not. Within a transaction of the caller.
  expected<void> check_end(const std::string& run_id, std::int64_t last_seq);
  /// `owned` is left to the caller.
  expected<std::vector<run_row>> list(std::size_t limit);
  expected<run_row> find(const std::string& run_id);
  expected<std::vector<std::string>> wishes();
  /// Of all runs, those after this one; or all of one run.
  expected<std::vector<decision_row>> decisions_after(std::int64_t id);
  expected<std::vector<decision_row>> decisions_of(const std::string& run_id);

private:
  explicit sqlite_reader(database& db) : db_(&db) {}
  expected<std::vector<decision_row>> decisions_from(statement& rows);
  expected<run_read> read_rows(const std::string& run_id, std::int64_t after_seq);

  database* db_;
  statement begin_, end_, run_, base_, events_, list_, find_, wishes_, new_decisions_, decisions_;
};

} // namespace troupe::store
