#include "troupe/store/sqlite_db.hpp"

#include <cerrno>
#include <cstring>

#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

namespace troupe::store {

statement& statement::bind(int at, std::int64_t value) {
  sqlite3_bind_int64(handle_, at, value);
  return *this;
}

statement& statement::bind(int at, std::string_view text) {
  // An empty view may have no data, which SQLite would take for NULL.
  sqlite3_bind_text64(handle_, at, text.empty() ? "" : text.data(), text.size(), SQLITE_STATIC, SQLITE_UTF8);
  return *this;
}

statement& statement::bind_blob(int at, std::string_view bytes) {
  sqlite3_bind_blob64(handle_, at, bytes.empty() ? "" : bytes.data(), bytes.size(), SQLITE_STATIC);
  return *this;
}

statement& statement::bind_null(int at) {
  sqlite3_bind_null(handle_, at);
  return *this;
}

int statement::run() {
  const int code = step();
  reset();
  return code == SQLITE_DONE || code == SQLITE_ROW ? SQLITE_OK : code;
}

void statement::reset() {
  sqlite3_reset(handle_);
}

std::string_view statement::text(int column) {
  // The bytes, whatever type a damaged row claims to have.
  const void* bytes = sqlite3_column_blob(handle_, column);
  return bytes ? std::string_view(static_cast<const char*>(bytes), static_cast<std::size_t>(sqlite3_column_bytes(handle_, column)))
               : std::string_view();
}

namespace {

/// A path as a file: URI has it (RFC 3986): whatever else it is made of stays a part of the path.
std::string uri_of(const std::string& path, std::string_view query) {
  static constexpr char digits[] = "0123456789ABCDEF";
  std::string uri = "file:";
  for (const unsigned char c : path)
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')
        || std::string_view("/._-").find(static_cast<char>(c)) != std::string_view::npos)
      uri += static_cast<char>(c);
    else
      uri += {'%', digits[c >> 4], digits[c & 15]};
  return uri.append(query);
}

} // namespace

expected<database> database::open(const std::string& path, std::chrono::milliseconds busy_timeout) {
  return open_as(path, SQLITE_OPEN_READWRITE, path, busy_timeout);
}

expected<database> database::open_to_read(const std::string& path, std::chrono::milliseconds busy_timeout, bool frozen) {
  return open_as(uri_of(path, frozen ? "?immutable=1" : ""), SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, path, busy_timeout);
}

expected<database> database::open_as(const std::string& name, int flags, const std::string& path, std::chrono::milliseconds busy_timeout) {
  database db;
  db.path_ = path;
  const int code = sqlite3_open_v2(name.c_str(), &db.handle_, flags | SQLITE_OPEN_NOMUTEX, nullptr);
  if (code != SQLITE_OK)
    return tl::unexpected<error>(db.failure(code, "opening it"));
  sqlite3_extended_result_codes(db.handle_, 1);
  sqlite3_busy_timeout(db.handle_, static_cast<int>(busy_timeout.count()));
  return db;
}

expected<statement> database::prepare(const char* sql) {
  sqlite3_stmt* made = nullptr;
  const int code = sqlite3_prepare_v3(handle_, sql, -1, SQLITE_PREPARE_PERSISTENT, &made, nullptr);
  if (code != SQLITE_OK)
    return tl::unexpected<error>(failure(code, "reading its structure"));
  return statement(made);
}

expected<std::int64_t> database::number(const char* sql) {
  auto asked = prepare(sql);
  if (!asked)
    return tl::unexpected<error>(asked.error());
  const int code = asked->step();
  if (code != SQLITE_ROW)
    return tl::unexpected<error>(failure(code, "reading its header"));
  return asked->integer(0);
}

error database::failure(int code, std::string_view doing) const {
  const std::string about = " while " + std::string(doing);
  const std::string detail = std::string(" (SQLite: ") + sqlite3_errstr(code) + ", code " + std::to_string(code) + ")";
  const std::string where = "journal " + path_;
  // An index that cannot grow: SQLite has no better word for it.
  const int cause = (code & 0xFF) == SQLITE_IOERR ? sqlite3_system_errno(handle_) : 0;
  if (cause == ENOSPC || cause == EDQUOT || code == SQLITE_IOERR_SHMSIZE)
    code = SQLITE_FULL;
  switch (code & 0xFF) {
  case SQLITE_FULL:
    return {error_code::unavailable, "the disk is full" + about + "; make room, then resume", where};
  case SQLITE_IOERR:
    return {error_code::unavailable, "the disk answered with an error" + about + "; look at the disk and its quota, then resume" + detail,
            where};
  case SQLITE_BUSY:
  case SQLITE_LOCKED:
    return {error_code::unavailable, "another program holds it" + about + "; try again, or end that program" + detail, where};
  case SQLITE_CORRUPT:
    return {error_code::corrupt, "the file is damaged, as was found" + about + "; restore it from a copy" + detail, where};
  case SQLITE_ERROR: // our statements are right: it is the file that is not
    return {error_code::corrupt,
            "its structure is not a journal's, as was found" + about + "; restore it from a copy (SQLite: " + sqlite3_errmsg(handle_) + ")",
            where};
  case SQLITE_NOTADB:
    return {error_code::corrupt, "the file is no journal (no SQLite database); name another one in the configuration, or move it away",
            where};
  case SQLITE_READONLY:
  case SQLITE_PERM:
  case SQLITE_AUTH:
    return {error_code::permission_denied,
            "it may not be written" + about + "; look at the owner and mode of the file and its folder" + detail, where};
  case SQLITE_CANTOPEN:
    return {error_code::unavailable, "it cannot be opened" + about + "; look at the path, and at the folder's owner and mode" + detail,
            where};
  case SQLITE_CONSTRAINT:
    return {error_code::conflict, "another process wrote there first" + detail, where};
  case SQLITE_NOMEM:
    return {error_code::unavailable, "no memory is left" + about, where};
  default:
    return {error_code::internal, "SQLite refused" + about + detail, where};
  }
}

bool is_sync_failure(int code) {
  return code == SQLITE_IOERR_FSYNC || code == SQLITE_IOERR_DIR_FSYNC;
}

error why_missing(const std::string& path) {
  struct stat found;
  if (::stat(path.c_str(), &found) != 0) { // else it was made just now: whoever missed it looked before its first run began
    if (::lstat(path.c_str(), &found) == 0)
      return {error_code::unavailable, "the file cannot be reached: the link leads nowhere", "journal " + path};
    if (errno != ENOENT)
      return {error_code::unavailable, std::string("the file cannot be reached: ") + std::strerror(errno), "journal " + path};
  }
  return {error_code::not_found, "there is no such file: no run was made with this journal yet", "journal " + path};
}

bool is_full(const std::string& path) {
  constexpr std::uint64_t needed = std::uint64_t{64} << 10;
  struct statvfs disk {};
  if (::statvfs(path.c_str(), &disk) != 0 || disk.f_blocks == 0) // some file systems know no sizes
    return false;
  const auto blocks = ::geteuid() == 0 ? disk.f_bfree : disk.f_bavail;
  return std::uint64_t{blocks} * disk.f_frsize < needed;
}

bool is_damage(int code) {
  return (code & 0xFF) == SQLITE_CORRUPT || (code & 0xFF) == SQLITE_NOTADB;
}

} // namespace troupe::store
