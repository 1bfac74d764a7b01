#include "troupe/store/sqlite_reader.hpp"

#include "troupe/model/described.hpp"
#include "troupe/store/row.hpp"

namespace troupe::store {

namespace {

constexpr const char* columns_of_runs = "SELECT run_id, workflow, tenant, status, reason, started_us, updated_us, last_seq FROM runs ";

std::string place(const std::string& run_id, std::int64_t seq) {
  return "run " + run_id + ", event " + std::to_string(seq);
}

expected<run_read> damaged(const std::string& run_id, std::int64_t seq, const std::string& why) {
  return fail(error_code::corrupt, why + "; this run cannot go on, the others can; restore the journal from a copy to have it back",
              place(run_id, seq));
}

} // namespace

expected<sqlite_reader> sqlite_reader::make(database& db) {
  sqlite_reader made(db);
  const std::string list = columns_of_runs + std::string("ORDER BY id DESC LIMIT ?");
  const std::string find = columns_of_runs + std::string("WHERE run_id = ?");
  const std::pair<statement*, const char*> wanted[] = {
      {&made.begin_, "BEGIN"},
      {&made.end_, "COMMIT"},
      {&made.run_, "SELECT id, last_seq, checksum FROM runs WHERE run_id = ?"},
      {&made.base_, "SELECT checksum FROM events WHERE run = ? AND seq = ?"},
      {&made.events_, "SELECT e.seq, e.time_us, e.type, e.task, e.agent, e.body, e.checksum, e.blob IS NOT NULL, b.sha256, b.body"
                      " FROM events e LEFT JOIN blobs b ON b.id = e.blob WHERE e.run = ? AND e.seq > ? ORDER BY e.seq"},
      {&made.list_, list.c_str()},
      {&made.find_, find.c_str()},
      {&made.wishes_, "SELECT run_id FROM wishes WHERE wish = 'cancel'"},
      {&made.new_decisions_, "SELECT id, run_id, approval_id, time_us, body FROM decisions WHERE id > ? ORDER BY id"},
      {&made.decisions_, "SELECT id, run_id, approval_id, time_us, body FROM decisions WHERE run_id = ? ORDER BY id"}};
  for (const auto& [into, sql] : wanted) {
    auto prepared = db.prepare(sql);
    if (!prepared)
      return tl::unexpected<error>(prepared.error());
    *into = std::move(*prepared);
  }
  return made;
}

expected<run_read> sqlite_reader::read(const std::string& run_id, std::int64_t after_seq) {
  // One snapshot for the run's row and its events.
  if (const int code = begin_.run(); code != SQLITE_OK)
    return tl::unexpected<error>(db_->failure(code, "reading run " + run_id));
  auto found = read_rows(run_id, after_seq);
  end_.run();
  return found;
}

expected<void> sqlite_reader::check_end(const std::string& run_id, std::int64_t last_seq) {
  const auto end = read_rows(run_id, last_seq - 1);
  if (!end)
    return tl::unexpected<error>(end.error());
  if (end->torn)
    return fail(error_code::corrupt, "its last events are damaged or missing; resume it, which cuts them off", "run " + run_id);
  return {};
}

expected<run_read> sqlite_reader::read_rows(const std::string& run_id, std::int64_t after_seq) {
  const auto unreadable = [&](int code, std::int64_t seq) -> expected<run_read> {
    if (is_damage(code))
      return damaged(run_id, seq, "the page that holds it is damaged");
    return tl::unexpected<error>(db_->failure(code, "reading " + place(run_id, seq)));
  };

  run_.bind(1, run_id);
  int code = run_.step();
  const std::int64_t row = run_.integer(0);
  const std::int64_t last_seq = run_.integer(1);
  const auto last_checksum = static_cast<std::uint32_t>(run_.integer(2));
  run_.reset();
  if (code == SQLITE_DONE)
    return no_such_run(run_id);
  if (code != SQLITE_ROW)
    return unreadable(code, 1);

  chain_check check(0, first_checksum(run_id));
  if (after_seq > 0) {
    base_.bind(1, row).bind(2, after_seq);
    code = base_.step();
    check = chain_check(after_seq, static_cast<std::uint32_t>(base_.integer(0)));
    base_.reset();
    if (code == SQLITE_DONE && after_seq > last_seq)
      return run_read{};       // it has not come that far
    if (code == SQLITE_DONE) { // the row is missing: the whole run tells what that means
      auto whole = read_rows(run_id, 0);
      if (whole)
        std::erase_if(whole->events, [&](const event_ptr& e) { return e->seq <= after_seq; });
      return whole;
    }
    if (code != SQLITE_ROW)
      return unreadable(code, after_seq);
  }

  run_read read;
  const rows_of event_rows(events_);
  events_.bind(1, row).bind(2, std::max<std::int64_t>(after_seq, 0));
  while ((code = events_.step()) == SQLITE_ROW) {
    const row_view view{events_.integer(0), events_.integer(1), events_.text(2), events_.text(3),
                        events_.text(4),    events_.text(5),    events_.text(8)};
    const bool was_good = check.good();
    if (!check.see(view, static_cast<std::uint32_t>(events_.integer(6))) || !was_good)
      continue;
    const std::string_view shared = events_.text(9);
    if (events_.integer(7) != 0) {
      const auto hash = sha256(shared);
      if (std::string_view(hash.data(), hash.size()) != view.blob)
        return damaged(run_id, view.seq, "the configuration that it started with is damaged or missing");
    }
    auto body = read_body(view.type, view.body, shared);
    if (!body)
      return damaged(run_id, view.seq, body.error().message);
    read.events.push_back(std::make_shared<const event>(
        event{view.seq, view.time_us, run_id, std::string(view.task), std::string(view.agent), std::move(*body)}));
  }
  if (code != SQLITE_DONE)
    return unreadable(code, check.last_seq() + 1);
  if (check.damaged_inside())
    return damaged(run_id, check.bad_seq(), "it is damaged or missing, and others follow it");
  if (check.last_seq() == 0)
    return damaged(run_id, 1, "it is damaged or missing, and so is all that followed it");
  if (!check.good() || check.last_seq() != last_seq || check.last_checksum() != last_checksum)
    read.torn =
        torn_tail{row, check.last_seq(), check.last_checksum(),
                  "the journal's last " + std::to_string(std::max<std::int64_t>(last_seq - check.last_seq(), 0)) + " event(s) of run "
                      + run_id + " are damaged or missing; it goes on after event " + std::to_string(check.last_seq())};
  return read;
}

namespace {

run_row row_of(statement& from) {
  run_row out;
  out.run_id = from.text(0);
  out.workflow = from.text(1);
  out.tenant = from.text(2);
  // A listing shows what is there; reading the run tells what is wrong with it.
  out.status = enum_named<run_status>(from.text(3)).value_or(run_status::running);
  out.reason = from.text(4);
  out.started_us = from.integer(5);
  out.updated_us = from.integer(6);
  out.last_seq = from.integer(7);
  return out;
}

} // namespace

expected<std::vector<run_row>> sqlite_reader::list(std::size_t limit) {
  const rows_of rows(list_);
  list_.bind(1, static_cast<std::int64_t>(std::min<std::size_t>(limit, 1'000'000)));
  std::vector<run_row> found;
  int code;
  while ((code = list_.step()) == SQLITE_ROW)
    found.push_back(row_of(list_));
  if (code != SQLITE_DONE)
    return tl::unexpected<error>(db_->failure(code, "listing runs"));
  return found;
}

expected<run_row> sqlite_reader::find(const std::string& run_id) {
  const rows_of rows(find_);
  find_.bind(1, run_id);
  const int code = find_.step();
  if (code == SQLITE_ROW)
    return row_of(find_);
  if (code == SQLITE_DONE)
    return no_such_run(run_id);
  return tl::unexpected<error>(db_->failure(code, "looking for run " + run_id));
}

expected<std::vector<std::string>> sqlite_reader::wishes() {
  const rows_of rows(wishes_);
  std::vector<std::string> found;
  int code;
  while ((code = wishes_.step()) == SQLITE_ROW)
    found.emplace_back(wishes_.text(0));
  if (code != SQLITE_DONE)
    return tl::unexpected<error>(db_->failure(code, "reading wishes"));
  return found;
}

expected<std::vector<decision_row>> sqlite_reader::decisions_after(std::int64_t id) {
  new_decisions_.bind(1, id);
  return decisions_from(new_decisions_);
}

expected<std::vector<decision_row>> sqlite_reader::decisions_of(const std::string& run_id) {
  decisions_.bind(1, run_id);
  return decisions_from(decisions_);
}

expected<std::vector<decision_row>> sqlite_reader::decisions_from(statement& bound) {
  const rows_of rows(bound);
  std::vector<decision_row> found;
  int code;
  while ((code = bound.step()) == SQLITE_ROW)
    found.push_back(
        {bound.integer(0), std::string(bound.text(1)), std::string(bound.text(2)), std::string(bound.text(4)), bound.integer(3)});
  if (code != SQLITE_DONE)
    return tl::unexpected<error>(db_->failure(code, "reading decisions"));
  return found;
}

} // namespace troupe::store
