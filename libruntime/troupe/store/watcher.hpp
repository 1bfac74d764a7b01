#pragma once
// Notices what other processes wish of a journal's runs, without polling: who wrote a wish rings the lock file's bell (a change of its
// times, seen by inotify), and then the wishes are read.
//
// The write-ahead log itself would be the wrong thing to watch: it is written before its commit can be read, and what makes the commit
// visible is a change of shared memory, which nobody is told of. A watcher that looks at that moment sees nothing, and is not woken again.

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "troupe/store/lock_file.hpp"
#include "troupe/store/sqlite_db.hpp"
#include "troupe/store/sqlite_reader.hpp"

namespace troupe::store {

class watcher {
public:
  using wake_function = std::function<void(std::string run_id)>;

  /// `db` is its own connection; `locks` outlives it and says which runs are owned here.
  static expected<std::unique_ptr<watcher>> start(database db, const lock_file& locks);
  ~watcher();

  using take_function = std::function<void(decision_row)>;

  void on_wish(wake_function wake);
  /// Whoever takes them from now on is told of all of them.
  void on_decision(take_function take);
  /// Looks at the wishes and decisions now: this run was taken, which may have some waiting.
  void look_at(const std::string& run_id);
  /// This run is new: nobody can have wished anything of it yet.
  void expect(const std::string& run_id);
  /// A run is no longer owned: a wish for it is told again to its next owner.
  void forget(const std::string& run_id);

private:
  watcher(database db, const lock_file& locks) : db_(std::move(db)), locks_(locks) {}
  bool wait();
  void loop();
  void look();
  void tell();
  void tell_decisions();

  database db_;
  const lock_file& locks_;
  std::unique_ptr<sqlite_reader> reader_;
  int inotify_ = -1;
  int poke_ = -1; // eventfd: look, or stop
  bool hears_ = false;
  std::mutex mutex_; // guards what follows
  std::shared_ptr<const wake_function> wake_;
  std::unordered_set<std::string> told_;
  std::shared_ptr<const take_function> take_;
  std::unordered_map<std::string, std::unordered_set<std::int64_t>> told_decisions_; ///< by run, while it is owned here
  std::vector<std::string> taken_;                                                   ///< runs whose decisions are to be read whole
  bool from_the_start_ = false;                                                      ///< whoever takes decisions is another one
  bool stopping_ = false;
  std::int64_t last_decision_ = 0; // of the thread alone
  std::thread thread_;
};

} // namespace troupe::store
