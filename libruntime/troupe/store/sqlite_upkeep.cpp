// What the writer does beside appending: cuts a torn tail, keeps wishes, deletes old runs.

#include "troupe/model/described.hpp"
#include "troupe/store/row.hpp"
#include "troupe/store/sqlite_writer.hpp"

namespace troupe::store {

namespace {

/// Runs deleted in one transaction: others get their turn in between.
constexpr std::size_t deleted_at_once = 64;

} // namespace

expected<void> sqlite_writer::cut(const std::string& run_id, const torn_tail& tail, const std::vector<event_ptr>& kept) {
  auto drop = db_.prepare("DELETE FROM events WHERE run = ? AND seq > ?");
  auto mend = db_.prepare("UPDATE runs SET updated_us = ?, last_seq = ?, checksum = ?, status = ?, reason = ? WHERE id = ?");
  if (!drop || !mend)
    return tl::unexpected<error>((drop ? mend : drop).error());
  run_change last{run_status::running, {}};
  for (const auto& e : kept)
    if (auto change = change_of(e->body); change.status && !(change.unless_waiting && last.status == run_status::waiting_approval))
      last = std::move(change);
  drop_state(run_id);
  failed_.erase(run_id);
  return transaction("cutting damaged events of run " + run_id, [&] {
    if (const int code = drop->bind(1, tail.row).bind(2, tail.last_seq).run(); code != SQLITE_OK)
      return code;
    mend->bind(1, kept.empty() ? 0 : kept.back()->time_us).bind(2, tail.last_seq).bind(3, static_cast<std::int64_t>(tail.checksum));
    return mend->bind(4, name_of(*last.status)).bind(5, last.reason).bind(6, tail.row).run();
  });
}

expected<void> sqlite_writer::add_wish(const std::string& run_id) {
  const auto found = reader_->find(run_id);
  if (!found)
    return tl::unexpected<error>(found.error());
  if (has_ended(found->status))
    return fail(error_code::conflict, std::string("it has ended already (") + name_of(found->status) + ")", "run " + run_id);
  // It may have ended since it was looked at, and its end has dropped what was wished: a wish made now would be the next owner's.
  auto insert = db_.prepare("INSERT OR REPLACE INTO wishes(run_id, wish) SELECT run_id, 'cancel' FROM runs WHERE run_id = ?"
                            " AND status NOT IN ('completed', 'failed', 'aborted')");
  if (!insert)
    return tl::unexpected<error>(insert.error());
  bool late = false;
  auto done = transaction("asking to cancel run " + run_id, [&] {
    const int code = insert->bind(1, run_id).run();
    late = code == SQLITE_OK && sqlite3_changes(db_.handle()) == 0;
    return code;
  });
  if (done && late)
    return fail(error_code::conflict, "it has ended already", "run " + run_id);
  if (done)
    locks_.ring();
  return done;
}

expected<void> sqlite_writer::add_decision(const decision_row& row, const admit_decision& admit) {
  auto insert = db_.prepare("INSERT INTO decisions(run_id, approval_id, time_us, body) VALUES(?, ?, ?, ?)");
  if (!insert)
    return tl::unexpected<error>(insert.error());
  std::optional<error> refused;
  auto done = transaction("deciding about " + row.approval_id, [&] {
    auto earlier = reader_->decisions_of(row.run_id);
    if (!earlier) {
      refused = earlier.error();
      return SQLITE_ABORT;
    }
    std::erase_if(*earlier, [&](const decision_row& one) { return one.approval_id != row.approval_id; });
    if (auto may = admit(*earlier); !may) {
      refused = may.error();
      return SQLITE_ABORT;
    }
    return insert->bind(1, row.run_id).bind(2, row.approval_id).bind(3, row.time_us).bind(4, row.body).run();
  });
  if (refused)
    return tl::unexpected<error>(*refused);
  if (done)
    locks_.ring();
  return done;
}

expected<std::int64_t> sqlite_writer::delete_ended(std::int64_t before_us) {
  auto find = db_.prepare("SELECT id, run_id FROM runs WHERE status IN ('completed', 'failed', 'aborted') AND updated_us < ?");
  auto drop_events = db_.prepare("DELETE FROM events WHERE run = ?");
  auto drop_run = db_.prepare("DELETE FROM runs WHERE id = ? AND status IN ('completed', 'failed', 'aborted')");
  auto drop_decisions = db_.prepare("DELETE FROM decisions WHERE run_id = ?");
  for (auto* prepared : {&find, &drop_events, &drop_run, &drop_decisions})
    if (!*prepared)
      return tl::unexpected<error>(prepared->error());
  std::vector<std::pair<std::int64_t, std::string>> old;
  {
    const rows_of rows(*find);
    find->bind(1, before_us);
    int code;
    while ((code = find->step()) == SQLITE_ROW)
      old.emplace_back(find->integer(0), std::string(find->text(1)));
    if (code != SQLITE_DONE)
      return tl::unexpected<error>(db_.failure(code, "looking for old runs"));
  }
  std::int64_t deleted = 0;
  for (std::size_t begin = 0; begin < old.size(); begin += deleted_at_once) {
    const std::size_t end = std::min(begin + deleted_at_once, old.size());
    std::vector<std::string> held; // so that nobody resumes them meanwhile
    std::int64_t gone = 0;
    const auto done = transaction("deleting old runs", [&] {
      for (std::size_t i = begin; i < end; ++i) {
        const auto& [row, run_id] = old[i];
        if (locks_.own(run_id))
          continue; // somebody is at it
        held.push_back(run_id);
        if (const int code = drop_run->bind(1, row).run(); code != SQLITE_OK)
          return code;
        if (sqlite3_changes(db_.handle()) == 0)
          continue; // it was resumed since
        if (const int code = drop_events->bind(1, row).run(); code != SQLITE_OK)
          return code;
        if (const int code = drop_decisions->bind(1, run_id).run(); code != SQLITE_OK)
          return code;
        drop_state(run_id);
        ++gone;
      }
      return db_.exec("DELETE FROM blobs WHERE NOT EXISTS (SELECT 1 FROM events WHERE events.blob = blobs.id)");
    });
    for (const auto& run_id : held)
      locks_.disown(run_id);
    if (!done)
      return tl::unexpected<error>(done.error());
    deleted += gone;
  }
  return deleted;
}

} // namespace troupe::store
