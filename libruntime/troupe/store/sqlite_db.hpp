#pragma once
// A thin hold on SQLite: handles that close themselves, and one place that turns its codes into errors for people. One thread at a time.

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include <sqlite3.h>

#include "troupe/model/error.hpp"

namespace troupe::store {

/// A prepared statement, reused; positions count from 1.
class statement {
public:
  statement() = default;
  explicit statement(sqlite3_stmt* handle) : handle_(handle) {}
  statement(statement&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  statement& operator=(statement&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~statement() { sqlite3_finalize(handle_); }

  statement& bind(int at, std::int64_t value);
  /// The text must live until the next `reset`.
  statement& bind(int at, std::string_view text);
  statement& bind_blob(int at, std::string_view bytes);
  statement& bind_null(int at);

  /// SQLITE_ROW, SQLITE_DONE or an extended error code.
  int step() { return sqlite3_step(handle_); }
  /// For statements without rows: runs it and makes it ready for the next time.
  int run();
  void reset();

  std::int64_t integer(int column) { return sqlite3_column_int64(handle_, column); }
  /// Valid until the next `step` or `reset`.
  std::string_view text(int column);
  bool is_null(int column) { return sqlite3_column_type(handle_, column) == SQLITE_NULL; }

private:
  sqlite3_stmt* handle_ = nullptr;
};

/// Resets a statement when its rows have been read: an open read would keep the write-ahead log from being reused.
class rows_of {
public:
  explicit rows_of(statement& of) : of_(of) {}
  rows_of(const rows_of&) = delete;
  rows_of& operator=(const rows_of&) = delete;
  ~rows_of() { of_.reset(); }

private:
  statement& of_;
};

class database {
public:
  database() = default;
  database(database&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)), path_(std::move(other.path_)) {}
  database& operator=(database&& other) noexcept {
    std::swap(handle_, other.handle_);
    std::swap(path_, other.path_);
    return *this;
  }
  ~database() { sqlite3_close_v2(handle_); }

  /// Opens an existing file for reading and writing.
  static expected<database> open(const std::string& path, std::chrono::milliseconds busy_timeout);
  /// Opens an existing file for reading alone. `frozen`: nobody writes it meanwhile, and no log stands beside it; SQLite then makes and
  /// locks nothing, and would not see a log.
  static expected<database> open_to_read(const std::string& path, std::chrono::milliseconds busy_timeout, bool frozen);

  /// One or several statements without parameters; SQLITE_OK or an extended error code.
  int exec(const char* sql) { return sqlite3_exec(handle_, sql, nullptr, nullptr, nullptr); }
  expected<statement> prepare(const char* sql);
  /// The first column of the first row, as an integer.
  expected<std::int64_t> number(const char* sql);

  /// What a code means, for people; `doing` completes "while …".
  error failure(int code, std::string_view doing) const;
  sqlite3* handle() const { return handle_; }
  const std::string& path() const { return path_; }

private:
  static expected<database> open_as(const std::string& name, int flags, const std::string& path, std::chrono::milliseconds busy_timeout);

  sqlite3* handle_ = nullptr;
  std::string path_;
};

/// Codes after which nobody knows what reached the disk, or whether it will: a sync that was refused.
bool is_sync_failure(int code);
/// Codes that say that the file itself is damaged.
bool is_damage(int code);
/// Whether the disk of a file has no room for the first pieces of a log and its index. SQLite maps the index into memory: where a file
/// system takes the piece's end and not the rest of it, the process dies of it (SIGBUS, seen on ext4 with blocks of 1 KiB).
bool is_full(const std::string& path);
/// Of a journal's file that is not there: `not_found` where nothing stands at its path, as before the first run; `unavailable` where
/// something does that leads nowhere (a link, a file in the place of a folder), since runs may well be behind it.
error why_missing(const std::string& path);

} // namespace troupe::store
