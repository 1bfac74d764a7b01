#include "troupe/store/sqlite.hpp"

#include <array>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <mutex>
#include <unordered_map>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "troupe/store/lock_file.hpp"
#include "troupe/store/log_check.hpp"
#include "troupe/store/row.hpp"
#include "troupe/store/sqlite_schema.hpp"
#include "troupe/store/sqlite_writer.hpp"
#include "troupe/store/watcher.hpp"
#include "troupe/util/clock.hpp"
#include "troupe/util/id.hpp"

namespace troupe::store {

namespace {

tl::unexpected<error> refused(const std::string& path, const char* what) {
  const int why = errno;
  return fail(why == EACCES || why == EPERM || why == EROFS ? error_code::permission_denied : error_code::unavailable,
              std::string(what) + " cannot be made: " + std::strerror(why) + "; look at the path, and at the folder's owner and mode",
              "journal " + path);
}

/// A new name must survive a power cut, as what will be written there does. Some file systems know no sync of a folder.
bool keep_names_in(const std::filesystem::path& folder) {
  const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0)
    return errno == EACCES; // a folder that may be passed through only: who made it has kept it
  const bool kept = ::fsync(descriptor) == 0 || errno == EINVAL || errno == ENOTSUP;
  const int why = errno;
  ::close(descriptor);
  errno = why;
  return kept;
}

/// Folder and file, for the owner's eyes only. An existing file is never opened here: closing it would drop the locks that SQLite holds
/// on it elsewhere in this process.
expected<void> make_file(const std::string& path) {
  std::error_code ignored;
  if (std::filesystem::exists(path, ignored))
    return {};
  const auto folder = std::filesystem::absolute(path, ignored).parent_path();
  std::filesystem::path part;
  for (const auto& name : folder) {
    const auto above = part;
    part /= name;
    if (::mkdir(part.c_str(), 0700) == 0) {
      if (!keep_names_in(above))
        return refused(path, "its folder");
    } else if (const int why = errno; why != EEXIST && !std::filesystem::is_directory(part, ignored)) {
      errno = why;
      return refused(path, "its folder");
    }
  }
  const int descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (descriptor < 0)
    return errno == EEXIST ? expected<void>() : refused(path, "the file");
  const bool kept = ::fsync(descriptor) == 0 && keep_names_in(folder);
  const int why = errno;
  ::close(descriptor);
  if (kept)
    return {};
  ::unlink(path.c_str());
  errno = why;
  return refused(path, "the file");
}

std::string words_for(pid_t holder) {
  return holder == ::getpid() ? "this process" : holder > 0 ? "process " + std::to_string(holder) : "another process";
}

class sqlite_journal final : public journal {
public:
  sqlite_journal(lock_file locks, database db) : locks_(std::move(locks)), db_(std::move(db)) {}

  expected<void> start(database for_writer, database for_watcher, std::chrono::milliseconds patience) {
    auto reader = sqlite_reader::make(db_);
    if (!reader)
      return tl::unexpected<error>(reader.error());
    reader_.emplace(std::move(*reader));
    auto writer = sqlite_writer::start(std::move(for_writer), locks_, patience);
    if (!writer)
      return tl::unexpected<error>(writer.error());
    writer_ = std::move(*writer);
    auto watching = watcher::start(std::move(for_watcher), locks_);
    if (!watching)
      return tl::unexpected<error>(watching.error());
    watcher_ = std::move(*watching);
    return {};
  }

  void append(std::vector<event_ptr> events, on_durable done) override { queue(std::move(events), std::move(done), false); }
  void append_soon(std::vector<event_ptr> events, on_durable done) override { queue(std::move(events), std::move(done), true); }

  void queue(std::vector<event_ptr> events, on_durable done, bool soon) {
    if (!events.empty() && events.front() && !is_run_id(events.front()->run_id)) {
      writer_->post([done = std::move(done)] { done(fail(error_code::internal, "an event has no valid run id", "journal")); });
      return;
    }
    if (soon)
      writer_->append_soon(std::move(events), std::move(done));
    else
      writer_->append(std::move(events), std::move(done));
  }

  expected<std::vector<event_ptr>> read_run(const std::string& run_id, std::int64_t after_seq) override {
    writer_->ask([] { return true; });
    auto read = [&] {
      const std::lock_guard guard(mutex_);
      return reader_->read(run_id, after_seq);
    }();
    if (read && read->torn && locks_.mine(run_id))
      return writer_->ask([&] { return read_here(run_id, after_seq); });
    return finish(run_id, std::move(read));
  }

  void read_run_async(std::string run_id, std::int64_t after_seq, on_events done) override {
    writer_->post([this, run_id = std::move(run_id), after_seq, done = std::move(done)] { done(read_here(run_id, after_seq)); });
  }

  std::vector<std::string> notes(const std::string& run_id) override {
    const std::lock_guard guard(notes_mutex_);
    const auto found = notes_.find(run_id);
    if (found == notes_.end())
      return {};
    auto told = std::move(found->second);
    notes_.erase(found);
    return told;
  }

  expected<std::vector<run_row>> list_runs(std::size_t limit) override {
    auto rows = [&] {
      const std::lock_guard guard(mutex_);
      return reader_->list(limit);
    }();
    if (rows)
      for (auto& row : *rows)
        row.owned = locks_.owned(row.run_id);
    return rows;
  }

  expected<run_row> find_run(const std::string& run_id) override {
    auto row = [&] {
      const std::lock_guard guard(mutex_);
      return reader_->find(run_id);
    }();
    if (row)
      row->owned = locks_.owned(run_id);
    return row;
  }

  expected<void> own(const std::string& run_id) override {
    if (auto taken = take(run_id); !taken)
      return taken;
    watcher_->look_at(run_id);
    return {};
  }

  expected<void> own_new(const std::string& run_id) override {
    if (auto taken = take(run_id); !taken)
      return taken;
    watcher_->expect(run_id);
    return {};
  }

  void disown(const std::string& run_id) override {
    watcher_->forget(run_id);
    locks_.disown(run_id);
    writer_->forget(run_id);
  }

  expected<void> own_tenant(const std::string& tenant) override {
    if (const auto holder = locks_.own(tenant_key(tenant)))
      return tenant_is_counted_elsewhere(tenant, words_for(*holder));
    return {};
  }

  void disown_tenant(const std::string& tenant) override { locks_.disown(tenant_key(tenant)); }

  expected<void> request_cancel(const std::string& run_id) override {
    return writer_->ask([&] { return writer_->add_wish(run_id); });
  }

  void on_cancel_request(std::function<void(std::string)> wake) override { watcher_->on_wish(std::move(wake)); }

  void add_decision(decision_row row, admit_decision admit, on_durable done) override {
    writer_->post(
        [this, row = std::move(row), admit = std::move(admit), done = std::move(done)] { done(writer_->add_decision(row, admit)); });
  }

  expected<std::vector<decision_row>> decisions(const std::string& run_id) override {
    const std::lock_guard guard(mutex_);
    return reader_->decisions_of(run_id);
  }

  void on_decision(std::function<void(decision_row)> take) override { watcher_->on_decision(std::move(take)); }

  expected<std::int64_t> delete_ended(std::int64_t before_us) override {
    return writer_->ask([&] { return writer_->delete_ended(before_us); });
  }

  journal_stats stats() const override { return writer_->stats(); }

private:
  expected<void> take(const std::string& run_id) {
    if (!is_run_id(run_id))
      return fail(error_code::invalid_argument, "a run id is 1 to 64 letters, digits, dots, dashes and underscores", run_id);
    if (const auto holder = locks_.own(run_id))
      return fail(error_code::conflict, words_for(*holder) + " is running it; wait until it ends, or cancel it", "run " + run_id);
    writer_->forget(run_id);
    return {};
  }

  /// On the writer's thread.
  expected<std::vector<event_ptr>> read_here(const std::string& run_id, std::int64_t after_seq) {
    auto read = writer_->reader().read(run_id, after_seq);
    if (read && read->torn && locks_.mine(run_id)) {
      const auto whole = after_seq > 0 ? writer_->reader().read(run_id, 0) : read;
      if (!whole)
        return tl::unexpected<error>(whole.error());
      if (whole->torn)
        if (auto cut = writer_->cut(run_id, *whole->torn, whole->events); !cut)
          return tl::unexpected<error>(cut.error());
    }
    return finish(run_id, std::move(read));
  }

  expected<std::vector<event_ptr>> finish(const std::string& run_id, expected<run_read> read) {
    if (!read)
      return tl::unexpected<error>(read.error());
    if (read->torn) {
      const std::lock_guard guard(notes_mutex_);
      auto& told = notes_[run_id];
      if (told.empty() || told.back() != read->torn->note)
        told.push_back(std::move(read->torn->note));
    }
    return std::move(read->events);
  }

  lock_file locks_; // outlives what uses it
  database db_;
  std::mutex mutex_; // guards reader_
  std::optional<sqlite_reader> reader_;
  std::mutex notes_mutex_;
  std::unordered_map<std::string, std::vector<std::string>> notes_;
  std::unique_ptr<watcher> watcher_;
  std::unique_ptr<sqlite_writer> writer_; // ends first: its last answers may call everything else
};

} // namespace

expected<std::unique_ptr<journal>> open_sqlite(const sqlite_options& options) {
  std::error_code ignored;
  if (!options.create && !std::filesystem::exists(options.path, ignored))
    return tl::unexpected<error>(why_missing(options.path));
  const bool empty = std::filesystem::is_empty(options.path, ignored) && !ignored;
  if (auto made = make_file(options.path); !made)
    return tl::unexpected<error>(made.error());
  // One file has one lock file and one log, however it is reached.
  std::array<char, PATH_MAX> real;
  if (!::realpath(options.path.c_str(), real.data()))
    return fail(error_code::unavailable, std::string("the file cannot be reached: ") + std::strerror(errno), "journal " + options.path);
  const std::string path(real.data());
  if (std::filesystem::is_directory(path, ignored))
    return fail(error_code::unavailable, "it is a folder and cannot be opened; name a file", "journal " + options.path);
  if (const auto names = std::filesystem::hard_link_count(path, ignored); !ignored && names > 1)
    return fail(error_code::unavailable,
                "the file has " + std::to_string(names)
                    + " names (hard links), and what is opened by another one would not be locked by this"
                      " one; remove the others, or copy it",
                "journal " + path);
  auto locks = lock_file::open(path + "-lock");
  if (!locks)
    return tl::unexpected<error>(locks.error());
  // Runs are owned only once the file has its header.
  if (const auto owners = std::filesystem::file_size(locks->path(), ignored); empty && !ignored && owners > 0)
    return fail(error_code::corrupt,
                "the file is empty, though runs were made with it; restore it from a copy, or move " + locks->path()
                    + " away to begin a new journal",
                "journal " + path);
  if (is_full(path))
    return fail(error_code::unavailable, "the disk is full; make room, then resume", "journal " + path);
  const auto patience = std::max(options.busy_timeout, std::chrono::milliseconds(1));
  std::array<database, 3> connections;
  {
    const turn mine(*locks, patience);
    if (!mine)
      return fail(error_code::unavailable, "another process has been writing to it without an end; see whether a troupe process is stopped",
                  "journal " + path);
    if (auto kept = keep_damaged_log(path, utc_now_us()); !kept)
      return tl::unexpected<error>(kept.error());
    for (auto& connection : connections) {
      auto opened = database::open(path, patience);
      if (!opened)
        return tl::unexpected<error>(opened.error());
      connection = std::move(*opened);
      if (auto checked = migrate(connection); !checked) // says first whether the file is ours at all
        return tl::unexpected<error>(checked.error());
      if (auto ready = configure(connection); !ready)
        return tl::unexpected<error>(ready.error());
    }
  }
  auto made = std::make_unique<sqlite_journal>(std::move(*locks), std::move(connections[0]));
  if (auto started = made->start(std::move(connections[1]), std::move(connections[2]), patience); !started)
    return tl::unexpected<error>(started.error());
  return made;
}

} // namespace troupe::store
