// A journal where nothing may be written: after the kernel has remounted a failing disk read-only, what stands there is needed most.
//
// SQLite reads a write-ahead log through an index beside it (-shm), which it makes where it is missing. What can be done where it cannot
// be made depends on what is there (https://sqlite.org/wal.html, "Read-Only Databases"):
//   an index      a process died there, or lives: SQLite reads file and log, and trusts no index that nobody keeps
//   no log        the last process closed it, and all is in the file: it is read as one that nobody changes
//   a log alone   a copy, as of a backup: both files are copied to a folder of our own, where the index can be made
#include "troupe/store/sqlite.hpp"

#include <cstdlib>
#include <filesystem>
#include <mutex>
#include <optional>

#include <fcntl.h>
#include <unistd.h>

#include "troupe/store/lock_file.hpp"
#include "troupe/store/sqlite_reader.hpp"
#include "troupe/store/sqlite_schema.hpp"

namespace troupe::store {

namespace {

namespace fs = std::filesystem;

/// A folder for our eyes only, which goes away with this.
class own_folder {
public:
  static std::optional<own_folder> make() {
    std::error_code problem;
    auto name = (fs::temp_directory_path(problem) / "troupe-look-XXXXXX").string();
    if (problem || !::mkdtemp(name.data()))
      return {};
    return own_folder(std::move(name));
  }
  own_folder(own_folder&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  own_folder& operator=(own_folder&&) = delete;
  ~own_folder() {
    std::error_code ignored;
    if (!path_.empty())
      fs::remove_all(path_, ignored);
  }
  fs::path operator/(const char* name) const { return fs::path(path_) / name; }

private:
  explicit own_folder(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

/// What is read, and what must outlive that.
struct looked_at {
  std::optional<own_folder> folder;
  database db;
};

bool has_log(const std::string& path) {
  std::error_code absent;
  const auto size = fs::file_size(path + "-wal", absent);
  return !absent && size > 0;
}

expected<looked_at> copy_of(const std::string& path, std::chrono::milliseconds patience) {
  const auto refused = [&](const std::string& why) {
    return fail(error_code::unavailable,
                "where it stands it cannot be read without writing beside it, and it cannot be copied: " + why
                    + "; name a folder with room by TMPDIR",
                "journal " + path);
  };
  looked_at out{own_folder::make(), {}};
  if (!out.folder)
    return refused("there is no folder for temporary files");
  const auto copy = *out.folder / "journal.db";
  std::error_code problem;
  fs::copy_file(path, copy, problem);
  if (!problem && has_log(path))
    fs::copy_file(path + "-wal", copy.string() + "-wal", problem);
  for (const auto& made : {copy, fs::path(copy.string() + "-wal")}) // it has the mode of what it was copied from
    if (std::error_code absent; !problem && fs::exists(made, absent))
      fs::permissions(made, fs::perms::owner_read | fs::perms::owner_write, problem);
  if (problem)
    return refused(problem.message());
  auto opened = database::open(copy.string(), patience);
  if (!opened)
    return tl::unexpected<error>(opened.error());
  if (auto current = migrate(*opened); !current)
    return tl::unexpected<error>(current.error());
  out.db = std::move(*opened);
  return out;
}

/// `traceless`: where SQLite might make an index or a log beside it, it is not tried: a reader cannot take them away again.
expected<looked_at> look_at(const std::string& path, std::chrono::milliseconds patience, bool traceless) {
  std::error_code ignored;
  const bool makes_index = traceless && !fs::exists(path + "-shm", ignored);
  for (const bool frozen : {false, true}) {
    if (frozen && has_log(path))
      break;
    if (!frozen && (makes_index || is_full(path))) // an index that cannot grow is no better than none
      continue;
    auto opened = database::open_to_read(path, patience, frozen);
    const auto version = opened ? version_of(*opened) : tl::unexpected<error>(opened.error());
    if (version && *version == schema_version())
      return looked_at{{}, std::move(*opened)};
    if (version) // an older one: a copy of it becomes today's
      break;
    if (const auto code = version.error().code; code != error_code::unavailable && code != error_code::permission_denied)
      return tl::unexpected<error>(version.error());
    if (frozen)
      return tl::unexpected<error>(version.error());
  }
  return copy_of(path, patience);
}

class read_only_journal final : public journal {
public:
  read_only_journal(lock_file locks, looked_at from, std::string path)
      : locks_(std::move(locks)), from_(std::move(from)), path_(std::move(path)) {}

  expected<void> start() {
    auto reader = sqlite_reader::make(from_.db);
    if (!reader)
      return tl::unexpected<error>(reader.error());
    reader_.emplace(std::move(*reader));
    return {};
  }

  expected<std::vector<event_ptr>> read_run(const std::string& run_id, std::int64_t after_seq) override {
    const std::lock_guard guard(mutex_);
    auto read = reader_->read(run_id, after_seq);
    if (!read)
      return tl::unexpected<error>(read.error());
    if (read->torn)
      notes_.emplace_back(run_id, std::move(read->torn->note));
    return std::move(read->events);
  }

  void read_run_async(std::string run_id, std::int64_t after_seq, on_events done) override { done(read_run(run_id, after_seq)); }

  std::vector<std::string> notes(const std::string& run_id) override {
    const std::lock_guard guard(mutex_);
    std::vector<std::string> told;
    std::erase_if(notes_, [&](auto& note) {
      if (note.first != run_id)
        return false;
      told.push_back(std::move(note.second));
      return true;
    });
    return told;
  }

  expected<std::vector<run_row>> list_runs(std::size_t limit) override {
    const std::lock_guard guard(mutex_);
    auto rows = reader_->list(limit);
    if (rows)
      for (auto& row : *rows)
        row.owned = locks_.owned(row.run_id);
    return rows;
  }

  expected<run_row> find_run(const std::string& run_id) override {
    const std::lock_guard guard(mutex_);
    auto row = reader_->find(run_id);
    if (row)
      row->owned = locks_.owned(run_id);
    return row;
  }

  expected<std::vector<decision_row>> decisions(const std::string& run_id) override {
    const std::lock_guard guard(mutex_);
    return reader_->decisions_of(run_id);
  }

  void append(std::vector<event_ptr>, on_durable done) override { done(refused()); }
  expected<void> own(const std::string&) override { return refused(); }
  void disown(const std::string&) override {}
  expected<void> own_tenant(const std::string&) override { return refused(); }
  void disown_tenant(const std::string&) override {}
  expected<void> request_cancel(const std::string&) override { return refused(); }
  void on_cancel_request(std::function<void(std::string)>) override {}
  void add_decision(decision_row, admit_decision, on_durable done) override { done(refused()); }
  void on_decision(std::function<void(decision_row)>) override {}
  expected<std::int64_t> delete_ended(std::int64_t) override { return refused(); }
  journal_stats stats() const override { return {}; }

private:
  tl::unexpected<error> refused() const {
    return fail(error_code::permission_denied, "it is only looked at, since it may not be written", "journal " + path_);
  }

  lock_file locks_;
  looked_at from_;
  std::string path_;
  std::mutex mutex_; // guards what follows
  std::optional<sqlite_reader> reader_;
  std::vector<std::pair<std::string, std::string>> notes_; ///< of which run
};

bool may_write(const std::string& path) {
  const auto allowed = [](const fs::path& what) { return ::faccessat(AT_FDCWD, what.c_str(), W_OK, AT_EACCESS) == 0; };
  return allowed(path) && allowed(fs::path(path).parent_path());
}

expected<std::unique_ptr<journal>> look(const std::string& path, std::chrono::milliseconds patience, bool traceless) {
  auto locks = lock_file::look(path + "-lock");
  if (!locks)
    return tl::unexpected<error>(locks.error());
  auto from = look_at(path, patience, traceless);
  if (!from)
    return tl::unexpected<error>(from.error());
  auto made = std::make_unique<read_only_journal>(std::move(*locks), std::move(*from), path);
  if (auto started = made->start(); !started)
    return tl::unexpected<error>(started.error());
  return made;
}

std::chrono::milliseconds patience_of(const sqlite_options& options) {
  return std::max(options.busy_timeout, std::chrono::milliseconds(1));
}

} // namespace

expected<std::unique_ptr<journal>> look_at_sqlite(const sqlite_options& options) {
  std::error_code problem;
  const auto path = fs::canonical(options.path, problem).string();
  if (problem == std::errc::no_such_file_or_directory)
    return tl::unexpected<error>(why_missing(options.path));
  if (problem)
    return fail(error_code::unavailable, "the file cannot be reached: " + problem.message(), "journal " + options.path);
  return look(path, patience_of(options), true);
}

expected<std::unique_ptr<journal>> open_sqlite_to_read(const sqlite_options& options) {
  std::error_code ignored;
  const auto path = fs::canonical(options.path, ignored).string();
  const auto patience = patience_of(options);
  auto existing = options;
  existing.create = false;
  auto usual = open_sqlite(existing);
  if (usual)
    return usual;
  const auto code = usual.error().code;
  const bool full = !path.empty() && is_full(path);
  if (path.empty() || (code != error_code::permission_denied && (code != error_code::unavailable || (!full && may_write(path)))))
    return usual;
  return look(path, patience, false);
}

} // namespace troupe::store
