// SQLite's own log: whole, cut off, and damaged in each of its frames.
#include "test.hpp"

#include <fstream>
#include <iterator>

#include "store/journal_support.hpp"
#include "troupe/store/log_check.hpp"
#include "troupe/store/sqlite_db.hpp"

TROUPE_SUITE(log_check)

using namespace troupe;
using namespace troupe::store;
using namespace troupe::test;
namespace fs = std::filesystem;

namespace {

constexpr std::size_t header = 32, frame = 24 + 4096;

std::string bytes_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

struct written {
  std::string log;                ///< of three commits
  std::vector<std::int64_t> ends; ///< frames after each
};

written write_log(const std::string& path) {
  std::ofstream(path).flush();
  auto db = database::open(path, std::chrono::milliseconds(1)).value();
  written out;
  for (const auto* sql :
       {"PRAGMA journal_mode = WAL; CREATE TABLE t(a)", "INSERT INTO t VALUES(zeroblob(20000))", "INSERT INTO t VALUES(1)"}) {
    CHECK_EQ(db.exec(sql), SQLITE_OK);
    out.log = bytes_of(path + "-wal");
    out.ends.push_back(static_cast<std::int64_t>((out.log.size() - header) / frame));
  }
  return out;
}

/// Where it ends for SQLite: the last commit before a frame.
std::int64_t end_before(const written& of, std::size_t index) {
  std::int64_t end = 0;
  for (const auto each : of.ends)
    if (each <= static_cast<std::int64_t>(index))
      end = each;
  return end;
}

} // namespace

TROUPE_TEST("a whole log is read to its end") {
  const temporary_folder folder;
  const auto of = write_log(folder / "a.db");
  REQUIRE(of.ends.size() == 3 && of.ends[0] > 0 && of.ends[1] > of.ends[0] + 4 && of.ends[2] > of.ends[1]);
  const auto found = check_log(of.log);
  CHECK_EQ(found.frames, of.ends[2]);
  CHECK_EQ(found.left_out, 0);
  CHECK(!found.damaged);
}

TROUPE_TEST("a log that was cut off ends with its last whole commit, and is not damaged") {
  const temporary_folder folder;
  const auto of = write_log(folder / "a.db");
  for (std::size_t size = 0; size < of.log.size(); size += 500) {
    const auto found = check_log(std::string_view(of.log).substr(0, size));
    CHECK(!found.damaged);
    const auto end = size < header ? 0 : end_before(of, (size - header) / frame);
    CHECK_EQ(found.frames, end);
    if (size > header + frame)
      CHECK_EQ(found.left_out, static_cast<std::int64_t>(size - header) - end * static_cast<std::int64_t>(frame));
  }
}

TROUPE_TEST("a byte that changed in any frame ends it there; it is damaged where a commit stands behind") {
  const temporary_folder folder;
  const auto of = write_log(folder / "a.db");
  for (std::size_t index = 0; index < static_cast<std::size_t>(of.ends[2]); ++index)
    for (const std::size_t at : {0UL, 5UL, 9UL, 17UL, 24UL, 4000UL}) { // page, commit, salt, checksum, the page's bytes
      IN_ROW("frame " + std::to_string(index) + ", byte " + std::to_string(at));
      auto log = of.log;
      log[header + index * frame + at] ^= 0x10;
      const auto found = check_log(log);
      CHECK_EQ(found.frames, end_before(of, index));
      CHECK_EQ(found.damaged, index + 1 < static_cast<std::size_t>(of.ends[2]));
    }
}

TROUPE_TEST("frames of an earlier log behind the last commit are no damage") {
  const temporary_folder folder;
  const auto of = write_log(folder / "a.db");
  auto log = of.log;
  for (auto index = static_cast<std::size_t>(of.ends[0]); index < static_cast<std::size_t>(of.ends[2]); ++index)
    log[header + index * frame + 8] ^= 0x10; // another salt
  const auto found = check_log(log);
  CHECK_EQ(found.frames, of.ends[0]);
  CHECK(!found.damaged);
}

TROUPE_TEST("frames without a header that holds are damaged") {
  const temporary_folder folder;
  const auto of = write_log(folder / "a.db");
  for (std::size_t at = 0; at < header; ++at) {
    auto log = of.log;
    log[at] ^= 0x10;
    CHECK(check_log(log).damaged);
    CHECK_EQ(check_log(log).frames, 0);
  }
  CHECK(!check_log({}).damaged);
}

TROUPE_TEST("a damaged log is kept beside the journal, a good one is not") {
  const temporary_folder folder;
  const auto path = folder / "a.db";
  const auto of = write_log(path);
  const auto log = path + "-wal", kept = path + "-wal-damaged-7";
  const auto write = [&](const std::string& bytes) { std::ofstream(log, std::ios::binary) << bytes; };
  CHECK(keep_damaged_log(path, 7'000'000).has_value()); // none is there: SQLite has taken it away
  write(of.log);
  CHECK(keep_damaged_log(path, 7'000'000).has_value());
  CHECK(!fs::exists(kept));
  auto damaged = of.log;
  damaged[header + 100] ^= 1;
  write(damaged);
  CHECK(keep_damaged_log(path, 7'000'000).has_value());
  CHECK(bytes_of(kept) == damaged);
  fs::remove(kept);
  fs::create_directory(kept); // nothing can be kept there
  const auto refused = keep_damaged_log(path, 7'000'000);
  REQUIRE(!refused.has_value());
  CHECK(refused.error().code == error_code::corrupt);
}
