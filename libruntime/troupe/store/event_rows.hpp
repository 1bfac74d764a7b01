#pragma once
// Rows of events on their way into a journal's table. Many go with one statement: to start and to end one costs as much as several rows do.

#include <cstdint>
#include <optional>
#include <vector>

#include "troupe/store/row.hpp"
#include "troupe/store/sqlite_db.hpp"

namespace troupe::store {

class event_rows {
public:
  struct row {
    std::int64_t run = 0; ///< of `runs`
    row_view of;          ///< its `blob` is not read
    std::optional<std::int64_t> blob;
    std::uint32_t checksum = 0;
  };

  event_rows() = default;
  static expected<event_rows> make(database& db);

  /// What it views must live until it is inserted or cleared.
  void add(const row& one) { rows_.push_back(one); }
  /// All that was added, in that order; none is left. SQLITE_OK or an extended error code: some may be in the table then, so the
  /// transaction has to be undone.
  int insert();
  void clear() { rows_.clear(); }

private:
  struct sized {
    std::size_t rows = 0;
    statement insert;
  };
  std::vector<sized> statements_; ///< the largest first; the last takes one row
  std::vector<row> rows_;
};

} // namespace troupe::store
