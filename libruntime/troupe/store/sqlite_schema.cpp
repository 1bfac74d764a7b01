#include "troupe/store/sqlite_schema.hpp"

#include <array>

namespace troupe::store {

namespace {

// Each step brings a file from the version before to its own; a step that was released is never edited again.
//
// Events stand in the order of their commits: a group fills the last pages instead of one page a run; the index finds a run's.
constexpr std::array<const char*, 3> steps{
    R"(CREATE TABLE runs(
       id INTEGER PRIMARY KEY,
       run_id TEXT NOT NULL UNIQUE,
       workflow TEXT NOT NULL,
       tenant TEXT NOT NULL,
       status TEXT NOT NULL,
       reason TEXT NOT NULL,
       started_us INTEGER NOT NULL,
       updated_us INTEGER NOT NULL,
       last_seq INTEGER NOT NULL,
       checksum INTEGER NOT NULL);
     CREATE TABLE blobs(
       id INTEGER PRIMARY KEY,
       sha256 BLOB NOT NULL UNIQUE,
       body TEXT NOT NULL);
     CREATE TABLE events(
       id INTEGER PRIMARY KEY,
       run INTEGER NOT NULL,
       seq INTEGER NOT NULL,
       time_us INTEGER NOT NULL,
       type TEXT NOT NULL,
       task TEXT NOT NULL,
       agent TEXT NOT NULL,
       body TEXT NOT NULL,
       blob INTEGER,
       checksum INTEGER NOT NULL);
     CREATE UNIQUE INDEX events_by_run ON events(run, seq);
     CREATE INDEX events_by_blob ON events(blob) WHERE blob IS NOT NULL;)",
    R"(CREATE TABLE wishes(
       run_id TEXT PRIMARY KEY,
       wish TEXT NOT NULL) WITHOUT ROWID;)",
    R"(CREATE TABLE decisions(
       id INTEGER PRIMARY KEY AUTOINCREMENT,
       run_id TEXT NOT NULL,
       approval_id TEXT NOT NULL,
       time_us INTEGER NOT NULL,
       body TEXT NOT NULL);
     CREATE INDEX decisions_by_run ON decisions(run_id);)",
};

expected<void> run(database& db, const char* sql, std::string_view doing) {
  if (const int code = db.exec(sql); code != SQLITE_OK)
    return tl::unexpected<error>(db.failure(code, doing));
  return {};
}

} // namespace

std::int64_t schema_version() {
  return static_cast<std::int64_t>(steps.size());
}

expected<std::int64_t> version_of(database& db) {
  auto id = db.number("PRAGMA application_id");
  if (!id)
    return id;
  auto version = db.number("PRAGMA user_version");
  const auto tables = db.number("SELECT count(*) FROM sqlite_master");
  if (!version || !tables)
    return version ? tables : version;
  const std::string where = "journal " + db.path();
  if (*id != application_id && (*id != 0 || *version != 0 || *tables != 0))
    return fail(error_code::invalid_argument, "the file is a database of another program; name another journal in the configuration",
                where);
  if (*version < 0)
    return fail(error_code::corrupt, "its header is damaged (it tells format " + std::to_string(*version) + "); restore it from a copy",
                where);
  if (*version > schema_version())
    return fail(error_code::invalid_argument,
                "the file was written by a newer troupe (its format is " + std::to_string(*version) + ", this program knows "
                    + std::to_string(schema_version()) + "); use that one, or another journal",
                where);
  return version;
}

expected<void> migrate(database& db, std::int64_t version) {
  auto found = version_of(db);
  if (!found)
    return tl::unexpected<error>(found.error());
  if (*found >= version)
    return {};
  constexpr auto doing = "making its tables";
  if (auto begun = run(db, "BEGIN IMMEDIATE", doing); !begun)
    return begun;
  auto done = [&]() -> expected<void> {
    found = version_of(db); // another process may have been first
    if (!found)
      return tl::unexpected<error>(found.error());
    for (auto next = *found; next < version; ++next)
      if (auto made = run(db, steps[static_cast<std::size_t>(next)], doing); !made)
        return made;
    const auto stamp = "PRAGMA application_id = " + std::to_string(application_id)
                       + "; PRAGMA user_version = " + std::to_string(std::max(*found, version)) + "; COMMIT";
    return run(db, stamp.c_str(), doing);
  }();
  if (!done && !sqlite3_get_autocommit(db.handle()))
    db.exec("ROLLBACK");
  return done;
}

expected<void> configure(database& db) {
  constexpr auto doing = "setting it up";
  auto mode = db.prepare("PRAGMA journal_mode = WAL");
  if (!mode)
    return tl::unexpected<error>(mode.error());
  if (const int code = mode->step(); code != SQLITE_ROW)
    return tl::unexpected<error>(db.failure(code, doing));
  if (mode->text(0) != "wal")
    return fail(error_code::unavailable, "its file system does not allow a write-ahead log (shared memory); use a local disk",
                "journal " + db.path());
  if (const int code = mode->step(); code != SQLITE_DONE) // the file's header is written only now
    return tl::unexpected<error>(db.failure(code, doing));
  mode->reset();
  return run(db, "PRAGMA synchronous = FULL; PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; PRAGMA cache_size = -2048", doing);
}

} // namespace troupe::store
