#pragma once
// Who writes to a journal file: one thread, in groups. What gathers while one group is on its way to the disk is the next one.
//
//   writing:  insert group 1, commit | insert group 2 ……… commit | insert group 3 …
//   syncing:                         | sync group 1, answer      | sync group 2, answer
//
// A commit writes to the kernel only (SQLite's synchronous = NORMAL); nobody is answered before the sync that follows it. A later group
// never reaches the disk without an earlier one, as both are in one log. A group of few appends is synced by the writing thread itself:
// nobody else has anything to do meanwhile.

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <unordered_map>
#include <variant>
#include <vector>

#include "troupe/store/event_rows.hpp"
#include "troupe/store/journal.hpp"
#include "troupe/store/lock_file.hpp"
#include "troupe/store/opened_file.hpp"
#include "troupe/store/row.hpp"
#include "troupe/store/sqlite_db.hpp"
#include "troupe/store/sqlite_reader.hpp"

namespace troupe::store {

class sqlite_writer {
public:
  /// `locks` outlives it.
  static expected<std::unique_ptr<sqlite_writer>> start(database db, lock_file& locks, std::chrono::milliseconds patience);
  /// Does what was asked before, then ends.
  ~sqlite_writer();

  void append(std::vector<event_ptr> events, on_durable done);
  /// Written with what is appended next, or after `soon` (below) by itself.
  void append_soon(std::vector<event_ptr> events, on_durable done);
  /// Runs `job` on the writer's thread after what was asked before. It may use what follows below.
  void post(std::function<void()> job);
  /// Runs `job` there and waits for what it answers. Not from the writer's thread.
  template <class Job>
  auto ask(Job job);

  /// Drops what is remembered of a run, before the next append: another process may go on with it, or have gone on.
  void forget(std::string run_id);

  journal_stats stats() const;

  // On the writer's thread only:

  sqlite_reader& reader() { return *reader_; }
  /// Runs `change` as one durable transaction, in turn with other processes; its code other than SQLITE_OK undoes it.
  expected<void> transaction(std::string_view doing, const std::function<int()>& change);
  /// Removes what follows the good beginning of a run.
  expected<void> cut(const std::string& run_id, const torn_tail& tail, const std::vector<event_ptr>& kept);
  expected<void> add_wish(const std::string& run_id);
  expected<void> add_decision(const decision_row& row, const admit_decision& admit);
  expected<std::int64_t> delete_ended(std::int64_t before_us);

private:
  struct append_item {
    std::vector<event_ptr> events;
    on_durable done;
  };
  using item = std::variant<append_item, std::function<void()>>;

  /// What the next append of a run must follow.
  struct run_state {
    std::int64_t row = 0; ///< of `runs`; 0: not there yet
    std::int64_t last_seq = 0;
    std::uint32_t checksum = 0;
    bool touched = false; ///< in the transaction under way
    std::int64_t updated_us = 0;
    run_change change;
    bool dropped = false; ///< not remembered after the transaction
  };

  /// One append of a group on its way.
  struct pending {
    append_item what;
    std::vector<std::size_t> ends; ///< of each event's body in `text_`
    std::size_t begin = 0;
    std::vector<shared_texts::ptr> shared;
    std::optional<error> failed;
  };

  using group_of = std::vector<pending>;
  /// Runs remembered; beyond, all are forgotten and read again when they go on.
  static constexpr std::size_t runs_max = 100'000;
  enum class verdict { written, refused, undo_without, undo_all };

  sqlite_writer(database db, lock_file& locks, std::chrono::milliseconds patience);
  expected<void> prepare();
  void write_loop();
  void sync_loop();
  void work_on_appends();
  /// Moves what is in front of the queue into the group, printed, up to the next job.
  void take_appends(group_of& group);
  /// While the group before is being synced: true once that is over, or a good many appends have come, which fit into this group.
  bool wait_for_more(const group_of& group);
  /// How a group's events are inserted: together, or each by itself, which tells whose the trouble is.
  enum class care { together, each };
  /// Writes the group's appends from `first` on, within one transaction. False: it was undone and should be tried again, with care, and
  /// without those that failed.
  bool write_from(group_of& group, std::size_t first, std::optional<turn>& mine, care how);
  /// With care. False, as above.
  bool try_group(group_of& group);
  void commit(group_of& group, std::optional<turn>& mine);
  /// The group is committed: it is synced, and answered.
  void hand_on(group_of&& group);
  static int sync(sqlite3_file* log);
  /// Of two syncs at once only one might be told that the disk has failed: whoever syncs beside the syncing thread waits for it first.
  void wait_for_syncs();
  /// Before a group is written: where another file stands at its place, or none, nobody would find what is written.
  void look_at_file();
  error lost_sync() const;
  void answer(group_of& group);
  verdict write(pending& one, care how);
  std::optional<error> check_order(const std::vector<event_ptr>& events) const;
  void print(pending& one);
  expected<run_state*> state_of(const std::string& run_id);
  int insert_run(run_state& state, const event& first);
  /// Its row is ready; with the next insert it is in the table.
  int add_event(run_state& state, const event& e, std::string_view body, const shared_texts::entry* shared);
  expected<std::int64_t> blob_row(const shared_texts::entry& shared);
  int update_runs();
  void drop_state(const std::string& run_id);
  void undo();
  static void fail_rest(group_of& group, const error& why);
  error unavailable_turn() const;
  void checkpoint();

  database db_;
  lock_file& locks_;
  const std::chrono::milliseconds patience_;
  std::optional<sqlite_reader> reader_;
  event_rows rows_;
  statement begin_, commit_, rollback_, insert_run_, touch_run_, change_run_, find_run_, find_blob_, insert_blob_, drop_wish_;
  std::unordered_map<std::string, run_state> runs_;
  std::vector<std::pair<const std::string*, run_state*>> touched_;
  std::unordered_map<std::string, error> failed_; ///< runs whose last append failed, until one succeeds
  std::optional<error> broken_;                   ///< a sync was refused, or the file is gone: nothing can be promised any more
  opened_file file_;
  shared_texts texts_;
  std::string text_;
  int wal_frames_ = 0;

  std::atomic<std::uint64_t> events_done_{0}, commits_done_{0}, failures_{0};

  std::mutex mutex_; // guards what follows
  std::condition_variable asked_, committed_;
  std::deque<item> queue_;
  std::vector<std::string> to_forget_;
  std::size_t urgent_ = 0;                          ///< of those in the queue; the others may wait until `soon_at_`
  std::chrono::steady_clock::time_point soon_at_{}; ///< of the oldest that may wait
  bool stopping_ = false;
  std::vector<group_of> to_sync_;
  bool syncing_ = false;   ///< a group that was handed on is not synced yet
  bool answering_ = false; ///< … is synced, and is being answered: nobody is answered before those of an earlier group
  bool all_written_ = false;
  std::optional<error> sync_failed_; ///< told by the syncing thread
  sqlite3_file* log_ = nullptr;      ///< what is synced
  std::thread write_thread_, sync_thread_;
};

template <class Job>
auto sqlite_writer::ask(Job job) {
  using answer = decltype(job());
  std::mutex mutex;
  std::condition_variable ready;
  std::optional<answer> got;
  post([&] {
    answer made = job();
    const std::lock_guard guard(mutex);
    got.emplace(std::move(made));
    ready.notify_one();
  });
  std::unique_lock lock(mutex);
  ready.wait(lock, [&] { return got.has_value(); });
  return std::move(*got);
}

} // namespace troupe::store
