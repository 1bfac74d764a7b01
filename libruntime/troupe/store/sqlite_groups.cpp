// How the writer brings a group of appends into the tables, in one transaction.

#include "troupe/model/described.hpp"
#include "troupe/model/event_types.hpp"
#include "troupe/store/sqlite_writer.hpp"

namespace troupe::store {

namespace {

/// Another writer was there, or a page of the run is damaged: its own trouble. Everything else is everybody's.
bool is_of_one_run(int code) {
  return (code & 0xFF) == SQLITE_CONSTRAINT || is_damage(code);
}

} // namespace

std::optional<error> sqlite_writer::check_order(const std::vector<event_ptr>& events) const {
  for (std::size_t i = 0; i < events.size(); ++i) {
    if (!events[i])
      return error{error_code::internal, "an event is null", "journal"};
    if (i > 0 && (events[i]->run_id != events[0]->run_id || events[i]->seq != events[i - 1]->seq + 1))
      return error{error_code::internal, "events appended together are not of one run in order", "run " + events[0]->run_id};
  }
  return std::nullopt;
}

void sqlite_writer::print(pending& one) {
  one.begin = text_.size();
  one.ends.reserve(one.what.events.size());
  for (const auto& e : one.what.events) {
    if (auto shared = write_body(e->body, texts_, text_)) {
      one.shared.resize(one.ends.size() + 1);
      one.shared.back() = std::move(shared);
    }
    one.ends.push_back(text_.size());
  }
}

bool sqlite_writer::try_group(group_of& group) {
  std::optional<turn> mine;
  if (!write_from(group, 0, mine, care::each))
    return false;
  commit(group, mine);
  return true;
}

bool sqlite_writer::write_from(group_of& group, std::size_t first, std::optional<turn>& mine, care how) {
  const auto undo_all = [&](const error& why) {
    undo();
    mine.reset();
    fail_rest(group, why);
    return true;
  };
  for (auto i = first; i < group.size(); ++i) {
    auto& one = group[i];
    if (one.failed || one.what.events.empty())
      continue;
    if (!mine) {
      mine.emplace(locks_, patience_);
      if (!*mine)
        return undo_all(unavailable_turn());
      if (const int code = begin_.run(); code != SQLITE_OK)
        return undo_all(db_.failure(code, "beginning to write"));
      touched_.clear();
    }
    switch (write(one, how)) {
    case verdict::written:
    case verdict::refused:
      // Some troubles (a full disk while its cache spills, a page that cannot be read) make SQLite take back the whole transaction.
      if (sqlite3_get_autocommit(db_.handle()))
        return undo_all(one.failed ? error(*one.failed) : db_.failure(SQLITE_ABORT_ROLLBACK, "writing events"));
      break;
    case verdict::undo_without:
      undo();
      mine.reset();
      return false;
    case verdict::undo_all:
      return undo_all(error(*one.failed));
    }
  }
  const int code = rows_.insert();
  if (code == SQLITE_OK)
    return true;
  if (!is_of_one_run(code)) {
    const error why = db_.failure(code, "writing events");
    for (auto i = first; i < group.size(); ++i) // what follows of these runs is told this, not that it leaves a gap
      if (const auto& one = group[i]; !one.failed && !one.what.events.empty() && failed_.size() < runs_max)
        failed_.insert_or_assign(one.what.events.front()->run_id, why);
    return undo_all(why);
  }
  undo();
  mine.reset();
  return false;
}

void sqlite_writer::commit(group_of& group, std::optional<turn>& mine) {
  if (!mine)
    return;
  int code = update_runs();
  if (code == SQLITE_OK)
    code = commit_.run();
  if (code == SQLITE_OK) {
    sqlite3_file* log = nullptr;
    code = sqlite3_file_control(db_.handle(), "main", SQLITE_FCNTL_JOURNAL_POINTER, &log);
    const std::lock_guard guard(mutex_);
    log_ = log;
  }
  if (code != SQLITE_OK) {
    const error why = db_.failure(code, "writing events");
    undo();
    mine.reset();
    if (is_sync_failure(code))
      broken_ = lost_sync();
    fail_rest(group, broken_ ? *broken_ : why);
    return;
  }
  mine.reset();
  commits_done_.fetch_add(1, std::memory_order_relaxed);
  for (const auto& [run_id, state] : touched_) {
    state->touched = false;
    state->change = {};
    if (state->dropped)
      runs_.erase(std::string(*run_id));
  }
  touched_.clear();
}

sqlite_writer::verdict sqlite_writer::write(pending& one, care how) {
  const auto& events = one.what.events;
  const std::string& run_id = events.front()->run_id;
  const auto refuse = [&](error why) {
    one.failed = std::move(why);
    return verdict::refused;
  };
  auto found = state_of(run_id);
  if (!found)
    return refuse(found.error());
  run_state& state = **found;
  if (events.front()->seq != state.last_seq + 1) {
    if (const auto before = failed_.find(run_id); before != failed_.end())
      return refuse(before->second);
    const bool behind = events.front()->seq <= state.last_seq;
    return refuse(
        {behind ? error_code::conflict : error_code::internal,
         (behind ? "event " + std::to_string(events.front()->seq) + " is in the journal already; another process wrote there first"
                 : "event " + std::to_string(events.front()->seq) + " would leave a gap after event " + std::to_string(state.last_seq)),
         "run " + run_id});
  }
  int code = SQLITE_OK;
  if (state.row == 0)
    code = insert_run(state, *events.front());
  std::size_t begin = one.begin;
  for (std::size_t i = 0; i < events.size() && code == SQLITE_OK; ++i) {
    const std::string_view body(text_.data() + begin, one.ends[i] - begin);
    begin = one.ends[i];
    code = add_event(state, *events[i], body, i < one.shared.size() ? one.shared[i].get() : nullptr);
  }
  if (code == SQLITE_OK && how == care::each)
    code = rows_.insert();
  if (code == SQLITE_OK) {
    if (!state.touched) {
      state.touched = true;
      touched_.emplace_back(&runs_.find(run_id)->first, &state);
    }
    return verdict::written;
  }
  one.failed = db_.failure(code, "writing events of run " + run_id);
  failed_.insert_or_assign(run_id, *one.failed);
  return is_of_one_run(code) ? verdict::undo_without : verdict::undo_all;
}

expected<sqlite_writer::run_state*> sqlite_writer::state_of(const std::string& run_id) {
  if (const auto known = runs_.find(run_id); known != runs_.end())
    return &known->second;
  const auto unreadable = [&](int code) { return tl::unexpected<error>(db_.failure(code, "looking for the end of run " + run_id)); };
  run_state state;
  {
    const rows_of rows(find_run_);
    find_run_.bind(1, run_id);
    const int code = find_run_.step();
    if (code == SQLITE_DONE) {
      state.checksum = first_checksum(run_id);
      return &runs_.emplace(run_id, state).first->second;
    }
    if (code != SQLITE_ROW)
      return unreadable(code);
    state.row = find_run_.integer(0);
    state.last_seq = find_run_.integer(1);
    state.checksum = static_cast<std::uint32_t>(find_run_.integer(2));
  }
  if (state.last_seq > 0)
    if (const auto whole = reader_->check_end(run_id, state.last_seq); !whole)
      return tl::unexpected<error>(whole.error());
  return &runs_.emplace(run_id, state).first->second;
}

int sqlite_writer::insert_run(run_state& state, const event& first) {
  const auto* start = std::get_if<run_started>(&first.body);
  insert_run_.bind(1, first.run_id)
      .bind(2, start ? std::string_view(start->workflow) : std::string_view())
      .bind(3, start ? std::string_view(start->tenant) : std::string_view())
      .bind(4, first.time_us);
  const int code = insert_run_.run();
  if (code == SQLITE_OK)
    state.row = sqlite3_last_insert_rowid(db_.handle());
  return code;
}

int sqlite_writer::add_event(run_state& state, const event& e, std::string_view body, const shared_texts::entry* shared) {
  event_rows::row row{.run = state.row, .of = {e.seq, e.time_us, type_of(e), e.task, e.agent, body, {}}};
  if (shared) {
    row.of.blob = {shared->hash.data(), shared->hash.size()};
    const auto blob = blob_row(*shared);
    if (!blob)
      return sqlite3_extended_errcode(db_.handle());
    row.blob = *blob;
  }
  row.checksum = row_checksum(state.checksum, row.of);
  rows_.add(row);
  state.last_seq = e.seq;
  state.checksum = row.checksum;
  state.updated_us = e.time_us;
  if (auto change = change_of(e.body); change.status) {
    state.change = std::move(change);
    if (std::holds_alternative<run_finished>(e.body)) {
      state.dropped = true;
      return drop_wish_.bind(1, e.run_id).run();
    }
  }
  return SQLITE_OK;
}

expected<std::int64_t> sqlite_writer::blob_row(const shared_texts::entry& shared) {
  const std::string_view hash(shared.hash.data(), shared.hash.size());
  {
    const rows_of rows(find_blob_);
    const int code = find_blob_.bind_blob(1, hash).step();
    if (code == SQLITE_ROW)
      return find_blob_.integer(0);
    if (code != SQLITE_DONE)
      return tl::unexpected<error>(db_.failure(code, "looking for a configuration"));
  }
  if (const int code = insert_blob_.bind_blob(1, hash).bind(2, shared.text).run(); code != SQLITE_OK)
    return tl::unexpected<error>(db_.failure(code, "writing a configuration"));
  return sqlite3_last_insert_rowid(db_.handle());
}

int sqlite_writer::update_runs() {
  for (const auto& [run_id, state] : touched_) {
    auto& update = state->change.status ? change_run_ : touch_run_;
    update.bind(1, state->updated_us).bind(2, state->last_seq).bind(3, static_cast<std::int64_t>(state->checksum));
    if (state->change.status)
      update.bind(4, name_of(*state->change.status))
          .bind(5, state->change.reason)
          .bind(6, state->row)
          .bind(7, std::int64_t{state->change.unless_waiting});
    else
      update.bind(4, state->row);
    if (const int code = update.run(); code != SQLITE_OK)
      return code;
  }
  return SQLITE_OK;
}

void sqlite_writer::undo() {
  if (!sqlite3_get_autocommit(db_.handle()))
    rollback_.run();
  rows_.clear();
  // What was remembered may be of the undone transaction: it is read again.
  touched_.clear();
  runs_.clear();
}

} // namespace troupe::store
