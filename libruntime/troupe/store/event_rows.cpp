#include "troupe/store/event_rows.hpp"

#include <string>

namespace troupe::store {

namespace {

constexpr std::size_t sizes[] = {32, 8, 1};

void bind(statement& into, int at, const event_rows::row& one) {
  into.bind(at, one.run).bind(at + 1, one.of.seq).bind(at + 2, one.of.time_us);
  into.bind(at + 3, one.of.type).bind(at + 4, one.of.task).bind(at + 5, one.of.agent).bind(at + 6, one.of.body);
  if (one.blob)
    into.bind(at + 7, *one.blob);
  else
    into.bind_null(at + 7);
  into.bind(at + 8, static_cast<std::int64_t>(one.checksum));
}

} // namespace

expected<event_rows> event_rows::make(database& db) {
  event_rows made;
  for (const auto rows : sizes) {
    // OR FAIL: who undoes the transaction anyway needs no copy of each page from before the statement.
    std::string sql = "INSERT OR FAIL INTO events(run, seq, time_us, type, task, agent, body, blob, checksum) VALUES";
    for (std::size_t i = 0; i < rows; ++i)
      sql.append(i == 0 ? "" : ",").append("(?, ?, ?, ?, ?, ?, ?, ?, ?)");
    auto prepared = db.prepare(sql.c_str());
    if (!prepared)
      return tl::unexpected<error>(prepared.error());
    made.statements_.push_back({rows, std::move(*prepared)});
  }
  return made;
}

int event_rows::insert() {
  int code = SQLITE_OK;
  std::size_t done = 0;
  for (auto& [rows, insert] : statements_)
    for (; code == SQLITE_OK && rows_.size() - done >= rows; done += rows) {
      for (std::size_t i = 0; i < rows; ++i)
        bind(insert, static_cast<int>(1 + 9 * i), rows_[done + i]);
      code = insert.run();
    }
  rows_.clear();
  return code;
}

} // namespace troupe::store
