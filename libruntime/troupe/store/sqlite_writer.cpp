#include "troupe/store/sqlite_writer.hpp"

#include "troupe/util/batch.hpp"

namespace troupe::store {

namespace {

/// A group takes what has gathered, up to this many events: a bound on memory, far above what a commit's time lets gather.
constexpr std::size_t group_events_max = 8192;
/// 4 kB each: the write-ahead log is copied into the file beyond this, after the answers went out.
constexpr int wal_frames_max = 4096;
/// How long an event that nobody waits for waits for company; what a commit costs, or a little more.
constexpr std::chrono::milliseconds soon{2};
/// So many that wait are written without more ado.
constexpr std::size_t soon_max = 1024;
/// A group of fewer appends is synced by the writing thread itself.
constexpr std::size_t handed_on_min = 4;
/// While the group before is being synced, so many appends are written without waiting for its end.
constexpr std::size_t written_early_min = 8;
/// A group is tried again without the append that could not be written; when that happens this often, the file itself is bad.
constexpr int tries_max = 8;

template <class Group>
std::size_t events_in(const Group& group) {
  std::size_t events = 0;
  for (const auto& one : group)
    events += one.what.events.size();
  return events;
}

} // namespace

sqlite_writer::sqlite_writer(database db, lock_file& locks, std::chrono::milliseconds patience)
    : db_(std::move(db)), locks_(locks), patience_(patience), file_(db_.path()) {}

expected<std::unique_ptr<sqlite_writer>> sqlite_writer::start(database db, lock_file& locks, std::chrono::milliseconds patience) {
  std::unique_ptr<sqlite_writer> made(new sqlite_writer(std::move(db), locks, patience));
  if (auto prepared = made->prepare(); !prepared)
    return tl::unexpected<error>(prepared.error());
  made->write_thread_ = std::thread([self = made.get()] { self->write_loop(); });
  made->sync_thread_ = std::thread([self = made.get()] { self->sync_loop(); });
  return made;
}

sqlite_writer::~sqlite_writer() {
  {
    const std::lock_guard guard(mutex_);
    stopping_ = true;
  }
  asked_.notify_one();
  if (write_thread_.joinable())
    write_thread_.join();
  {
    const std::lock_guard guard(mutex_);
    all_written_ = true;
  }
  committed_.notify_one();
  if (sync_thread_.joinable())
    sync_thread_.join();
}

void sqlite_writer::look_at_file() {
  if (!broken_ && !file_.in_place())
    broken_ = {
        error_code::unavailable,
        "the file was moved, removed or replaced while it was in use, so nothing more is recorded; put it back together with its -wal "
        "file, then resume",
        "journal " + db_.path()};
}

expected<void> sqlite_writer::prepare() {
  // A commit goes to the kernel; the sync is ours. Checkpoints are synced by SQLite all the same.
  if (const int code = db_.exec("PRAGMA synchronous = NORMAL"); code != SQLITE_OK)
    return tl::unexpected<error>(db_.failure(code, "opening the journal"));
  const std::pair<statement*, const char*> wanted[] = {
      {&begin_, "BEGIN IMMEDIATE"},
      {&commit_, "COMMIT"},
      {&rollback_, "ROLLBACK"},
      {&insert_run_, "INSERT INTO runs(run_id, workflow, tenant, status, reason, started_us, updated_us, last_seq, checksum)"
                     " VALUES(?, ?, ?, 'running', '', ?, 0, 0, 0)"},
      {&touch_run_, "UPDATE runs SET updated_us = ?, last_seq = ?, checksum = ? WHERE id = ?"},
      {&change_run_, "UPDATE runs SET updated_us = ?, last_seq = ?, checksum = ?,"
                     " status = CASE WHEN ?7 AND status = 'waiting_approval' THEN status ELSE ?4 END, reason = ?5 WHERE id = ?6"},
      {&find_run_, "SELECT id, last_seq, checksum FROM runs WHERE run_id = ?"},
      {&find_blob_, "SELECT id FROM blobs WHERE sha256 = ?"},
      {&insert_blob_, "INSERT INTO blobs(sha256, body) VALUES(?, ?)"},
      {&drop_wish_, "DELETE FROM wishes WHERE run_id = ?"}};
  for (const auto& [into, sql] : wanted) {
    auto prepared = db_.prepare(sql);
    if (!prepared)
      return tl::unexpected<error>(prepared.error());
    *into = std::move(*prepared);
  }
  auto rows = event_rows::make(db_);
  if (!rows)
    return tl::unexpected<error>(rows.error());
  rows_ = std::move(*rows);
  auto reader = sqlite_reader::make(db_);
  if (!reader)
    return tl::unexpected<error>(reader.error());
  reader_ = std::move(*reader);
  // Replaces SQLite's own checkpoint, which runs inside of the commit that others wait for.
  sqlite3_wal_hook(
      db_.handle(),
      [](void* frames, sqlite3*, const char*, int count) {
        *static_cast<int*>(frames) = count;
        return SQLITE_OK;
      },
      &wal_frames_);
  return {};
}

void sqlite_writer::append(std::vector<event_ptr> events, on_durable done) {
  {
    const std::lock_guard guard(mutex_);
    queue_.emplace_back(append_item{std::move(events), std::move(done)});
    if (++urgent_ != 1 && urgent_ != written_early_min)
      return; // it is awake, or about to be
  }
  asked_.notify_one();
}

void sqlite_writer::append_soon(std::vector<event_ptr> events, on_durable done) {
  {
    const std::lock_guard guard(mutex_);
    queue_.emplace_back(append_item{std::move(events), std::move(done)});
    if (queue_.size() == 1)
      soon_at_ = std::chrono::steady_clock::now() + soon;
    else if (queue_.size() != soon_max)
      return; // it knows when to look
  }
  asked_.notify_one();
}

void sqlite_writer::post(std::function<void()> job) {
  {
    const std::lock_guard guard(mutex_);
    queue_.emplace_back(std::move(job));
    ++urgent_;
  }
  asked_.notify_one();
}

void sqlite_writer::forget(std::string run_id) {
  const std::lock_guard guard(mutex_);
  to_forget_.push_back(std::move(run_id)); // nobody waits for it: the thread sleeps on
}

journal_stats sqlite_writer::stats() const {
  return {events_done_.load(std::memory_order_relaxed), commits_done_.load(std::memory_order_relaxed),
          failures_.load(std::memory_order_relaxed)};
}

void sqlite_writer::write_loop() {
  while (true) {
    std::function<void()> job;
    {
      std::unique_lock lock(mutex_);
      while (!stopping_ && urgent_ == 0 && queue_.size() < soon_max) {
        if (queue_.empty())
          asked_.wait(lock);
        else if (asked_.wait_until(lock, soon_at_) == std::cv_status::timeout)
          break;
      }
      if (queue_.empty()) {
        if (stopping_)
          return;
        continue;
      }
      if (auto* next = std::get_if<std::function<void()>>(&queue_.front())) {
        job = std::move(*next);
        queue_.pop_front();
        urgent_ = queue_.size(); // whether somebody waits for what is behind it does not matter any more
      }
      if (sync_failed_)
        broken_ = sync_failed_;
    }
    if (job)
      job();
    else
      work_on_appends();
    if (wal_frames_ > wal_frames_max)
      checkpoint();
  }
}

void sqlite_writer::sync_loop() {
  std::unique_lock lock(mutex_);
  while (true) {
    committed_.wait(lock, [&] { return all_written_ || !to_sync_.empty(); });
    if (to_sync_.empty())
      return;
    auto groups = std::exchange(to_sync_, {});
    auto* const log = log_;
    const bool lost = sync_failed_.has_value();
    lock.unlock();
    const bool kept = !lost && sync(log) == SQLITE_OK;
    lock.lock();
    if (!kept && !sync_failed_)
      sync_failed_ = lost_sync();
    syncing_ = !to_sync_.empty();
    answering_ = true;
    lock.unlock();
    asked_.notify_one(); // the next group may be committed while this one is answered
    for (auto& group : groups) {
      if (!kept)
        fail_rest(group, lost_sync());
      answer(group);
    }
    groups.clear();
    lock.lock();
    answering_ = false;
  }
}

void sqlite_writer::work_on_appends() {
  if (text_.capacity() > (std::size_t{16} << 20))
    text_ = {};
  text_.clear();
  group_of group;
  take_appends(group);
  std::optional<turn> mine;
  bool good = write_from(group, 0, mine, care::together);
  while (good && wait_for_more(group)) {
    const auto first = group.size();
    take_appends(group);
    good = write_from(group, first, mine, care::together);
  }
  if (good)
    commit(group, mine);
  for (int tries = 0; !good; ++tries) { // the first of them tells whose the trouble is
    if (tries == tries_max) {
      fail_rest(group, {error_code::corrupt, "the file is damaged in many places; restore it from a copy", "journal " + db_.path()});
      break;
    }
    good = try_group(group);
  }
  if (runs_.size() > runs_max)
    runs_.clear();
  hand_on(std::move(group));
}

void sqlite_writer::take_appends(group_of& group) {
  const auto first = group.size();
  auto events = events_in(group);
  std::vector<std::string> forgotten;
  {
    const std::lock_guard guard(mutex_);
    forgotten.swap(to_forget_);
    while (!queue_.empty() && events < group_events_max) {
      auto* next = std::get_if<append_item>(&queue_.front());
      if (!next)
        break;
      events += next->events.size();
      group.emplace_back().what = std::move(*next);
      queue_.pop_front();
    }
    urgent_ = queue_.size(); // what is left is written next, whether somebody waits for it or not
  }
  for (const auto& run_id : forgotten)
    drop_state(run_id);
  look_at_file();
  for (auto i = first; i < group.size(); ++i) {
    auto& one = group[i];
    one.failed = broken_ ? broken_ : check_order(one.what.events);
    if (!one.failed)
      print(one);
  }
}

bool sqlite_writer::wait_for_more(const group_of& group) {
  std::unique_lock lock(mutex_);
  if (!syncing_ || events_in(group) >= group_events_max)
    return false;
  const auto job_is_next = [&] { return !queue_.empty() && std::holds_alternative<std::function<void()>>(queue_.front()); };
  asked_.wait(lock, [&] { return !syncing_ || stopping_ || queue_.size() >= written_early_min || job_is_next(); });
  return !queue_.empty() && !job_is_next();
}

void sqlite_writer::hand_on(group_of&& group) {
  bool written = false;
  for (const auto& one : group) {
    const auto& events = one.what.events;
    if (events.empty())
      continue;
    written = written || !one.failed;
    if (!one.failed)
      failed_.erase(events.front()->run_id);
    else if (one.failed->code == error_code::unavailable && failed_.size() < runs_max)
      failed_.insert_or_assign(events.front()->run_id, *one.failed);
  }
  std::unique_lock lock(mutex_);
  if (syncing_ || answering_ || (written && group.size() >= handed_on_min)) {
    to_sync_.push_back(std::move(group));
    syncing_ = true;
    lock.unlock();
    committed_.notify_one();
    return;
  }
  if (sync_failed_)
    broken_ = sync_failed_;
  lock.unlock();
  if (written && !broken_ && sync(log_) != SQLITE_OK)
    broken_ = lost_sync();
  if (broken_)
    fail_rest(group, *broken_);
  answer(group);
}

int sqlite_writer::sync(sqlite3_file* log) {
  return log && log->pMethods ? log->pMethods->xSync(log, SQLITE_SYNC_NORMAL) : SQLITE_IOERR_FSYNC;
}

void sqlite_writer::wait_for_syncs() {
  std::unique_lock lock(mutex_);
  asked_.wait(lock, [&] { return !syncing_; });
  if (sync_failed_)
    broken_ = sync_failed_;
}

error sqlite_writer::lost_sync() const {
  return {error_code::unavailable,
          "the disk refused to keep what was written (a failed sync), so nothing more can be promised; look at the disk, then start troupe "
          "again and resume",
          "journal " + db_.path()};
}

void sqlite_writer::answer(group_of& group) {
  const batch answers; // the journal's actor is woken once
  for (auto& one : group) {
    if (one.failed) {
      failures_.fetch_add(1, std::memory_order_relaxed);
      one.what.done(tl::unexpected<error>(std::move(*one.failed)));
    } else {
      events_done_.fetch_add(one.what.events.size(), std::memory_order_relaxed);
      one.what.done({});
    }
  }
}

void sqlite_writer::drop_state(const std::string& run_id) {
  const auto known = runs_.find(run_id);
  if (known == runs_.end())
    return;
  if (known->second.touched)
    known->second.dropped = true; // the transaction under way still needs it
  else
    runs_.erase(known);
}

void sqlite_writer::fail_rest(group_of& group, const error& why) {
  for (auto& one : group)
    if (!one.failed)
      one.failed = why;
}

error sqlite_writer::unavailable_turn() const {
  return {error_code::unavailable,
          "another process has been writing for " + std::to_string(patience_.count())
              + " ms without an end; see whether a troupe process is stopped, then resume",
          "journal " + db_.path()};
}

void sqlite_writer::checkpoint() {
  wait_for_syncs();
  const turn mine(locks_, patience_); // no other writer meanwhile: else the log would never be at its end
  wal_frames_ = 0;
  if (!mine)
    return;
  const int code = sqlite3_wal_checkpoint_v2(db_.handle(), nullptr, SQLITE_CHECKPOINT_PASSIVE, nullptr, nullptr);
  if (is_sync_failure(code) && !broken_)
    broken_ = lost_sync();
}

expected<void> sqlite_writer::transaction(std::string_view doing, const std::function<int()>& change) {
  wait_for_syncs();
  look_at_file();
  if (broken_)
    return tl::unexpected<error>(*broken_);
  const turn mine(locks_, patience_);
  if (!mine)
    return tl::unexpected<error>(unavailable_turn());
  int code = begin_.run();
  if (code == SQLITE_OK) {
    code = change();
    if (code == SQLITE_OK)
      code = commit_.run();
  }
  if (code == SQLITE_OK) {
    sqlite3_file* log = nullptr;
    sqlite3_file_control(db_.handle(), "main", SQLITE_FCNTL_JOURNAL_POINTER, &log);
    if (sync(log) == SQLITE_OK)
      return {};
    broken_ = lost_sync();
    return tl::unexpected<error>(*broken_);
  }
  const error why = db_.failure(code, doing);
  undo();
  return tl::unexpected<error>(why);
}

} // namespace troupe::store
