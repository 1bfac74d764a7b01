#pragma once
// The one thread that writes to a journal file. It commits in groups: what gathers while one commit is under way is the next one.

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

#include "troupe/store/journal.hpp"
#include "troupe/store/lock_file.hpp"
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
  /// Drops what is remembered of a run: another process may have gone on with it.
  void forget(const std::string& run_id);

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
    bool ended = false;
  };

  /// One append of a group on its way.
  struct pending {
    append_item* what = nullptr;
    std::vector<std::size_t> ends; ///< of each event's body in `text_`
    std::size_t begin = 0;
    std::vector<shared_texts::ptr> shared;
    std::optional<error> failed;
  };

  enum class verdict { written, refused, undo_without, undo_all };

  sqlite_writer(database db, lock_file& locks, std::chrono::milliseconds patience);
  expected<void> prepare();
  void loop();
  void commit_group(std::vector<append_item>& group);
  void print_bodies(std::vector<pending>& group);
  /// False: the transaction was undone and should be tried again without those that failed.
  bool try_group(std::vector<pending>& group);
  verdict write(pending& one);
  std::optional<error> check_order(const std::vector<event_ptr>& events) const;
  expected<run_state*> state_of(const std::string& run_id);
  int insert_run(run_state& state, const event& first);
  int insert_event(run_state& state, const event& e, std::string_view body, const shared_texts::entry* shared);
  expected<std::int64_t> blob_row(const shared_texts::entry& shared);
  int update_runs();
  void undo();
  void fail_rest(std::vector<pending>& group, const error& why);
  error unavailable_turn() const;
  void checkpoint();

  database db_;
  lock_file& locks_;
  const std::chrono::milliseconds patience_;
  std::optional<sqlite_reader> reader_;
  statement begin_, commit_, rollback_, insert_event_, insert_run_, touch_run_, change_run_, find_run_, find_blob_, insert_blob_,
      drop_wish_;
  std::unordered_map<std::string, run_state> runs_;
  std::vector<std::pair<const std::string*, run_state*>> touched_;
  std::unordered_map<std::string, error> failed_; ///< runs whose last append failed, until one succeeds
  std::optional<error> broken_;                   ///< a sync was refused: nothing can be promised any more
  shared_texts texts_;
  std::string text_;
  int wal_frames_ = 0;

  std::atomic<std::uint64_t> events_done_{0}, commits_done_{0}, failures_{0};

  std::mutex mutex_; // guards queue_ and stopping_
  std::condition_variable asked_;
  std::deque<item> queue_;
  std::size_t urgent_ = 0;                          ///< of those in the queue; the others may wait until `soon_at_`
  std::chrono::steady_clock::time_point soon_at_{}; ///< of the oldest that may wait
  bool stopping_ = false;
  std::thread thread_;
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
