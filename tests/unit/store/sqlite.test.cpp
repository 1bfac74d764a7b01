// What only the file journal has: damage, other processes, a disk that refuses.
#include "test.hpp"

#include <fstream>

#include <sqlite3.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/journal_support.hpp"
#include "troupe/store/lock_file.hpp"
#include "troupe/store/sqlite_schema.hpp"

TROUPE_SUITE(sqlite_journal)

using namespace troupe;
using namespace troupe::test;
using store::open_sqlite;

namespace {

struct fixture {
  temporary_folder folder;
  std::string path = folder / "journal.db";

  std::unique_ptr<store::journal> open() {
    auto made = open_sqlite({.path = path});
    if (!made)
      CAF_FAIL(made.error().text());
    return std::move(*made);
  }

  /// What somebody else does to the file, with SQL.
  void tamper(const std::string& sql) {
    sqlite3* db = nullptr;
    REQUIRE(sqlite3_open(path.c_str(), &db) == SQLITE_OK);
    char* problem = nullptr;
    if (sqlite3_exec(db, sql.c_str(), nullptr, nullptr, &problem) != SQLITE_OK)
      CAF_FAIL(problem);
    sqlite3_close(db);
  }

  std::int64_t number(const std::string& sql) {
    auto db = store::database::open(path, std::chrono::seconds(1));
    REQUIRE(db.has_value());
    return db->number(sql.c_str()).value_or(-1);
  }
};

int mode_of(const std::string& path) {
  struct stat found {};
  return ::stat(path.c_str(), &found) == 0 ? static_cast<int>(found.st_mode & 0777) : -1;
}

} // namespace

TROUPE_TEST_WITH(fixture, "folder and files are for the owner's eyes only") {
  path = folder / "deep/er/journal.db";
  auto journal = open();
  REQUIRE(append(*journal, run_of("r", 1, 1)).has_value());
  CHECK_EQ(mode_of(folder / "deep"), 0700);
  CHECK_EQ(mode_of(folder / "deep/er"), 0700);
  for (const char* end : {"", "-wal", "-shm", "-lock"})
    CHECK_EQ(mode_of(path + end), 0600);
}

TROUPE_TEST_WITH(fixture, "a journal that was never made is not made by looking") {
  const auto none = open_sqlite({.path = path, .create = false});
  CHECK_EQ(code_of(none), error_code::not_found);
  CHECK_EQ(mode_of(path), -1);
  open();
  CHECK(open_sqlite({.path = path, .create = false}).has_value());
}

TROUPE_TEST_WITH(fixture, "a file that is no journal is refused with a reason, and left alone") {
  struct row {
    const char* name;
    std::function<void()> make;
    error_code code;
    const char* words;
  };
  const std::vector<row> rows{
      {"text", [&] { std::ofstream(path) << std::string(5000, 'x'); }, error_code::corrupt, "no journal"},
      {"short text", [&] { std::ofstream(path) << "hello"; }, error_code::corrupt, "no journal"},
      {"another program's", [&] { tamper("CREATE TABLE t(a)"); }, error_code::invalid_argument, "another program"},
      {"another program's id", [&] { tamper("PRAGMA application_id = 7"); }, error_code::invalid_argument, "another program"},
      {"one with an impossible format", [&] { open(), tamper("PRAGMA user_version = -7"); }, error_code::corrupt, "header is damaged"},
      {"one whose format is older than its tables", [&] { open(), tamper("PRAGMA user_version = 1"); }, error_code::corrupt, "structure"},
      {"one without its tables", [&] { open(), tamper("DROP TABLE events"); }, error_code::corrupt, "structure"},
      {"a newer troupe's", [&] { open(), tamper("PRAGMA user_version = 999"); }, error_code::invalid_argument, "newer troupe"},
      {"a folder", [&] { ::mkdir(path.c_str(), 0700); }, error_code::unavailable, "cannot be opened"}};
  for (const auto& r : rows) {
    IN_ROW(r.name);
    std::filesystem::remove_all(path);
    r.make();
    const auto opened = open_sqlite({.path = path});
    CHECK_EQ(code_of(opened), r.code);
    REQUIRE(!opened.has_value());
    CHECK(opened.error().text().find(r.words) != std::string::npos);
    CHECK(opened.error().text().find(path) != std::string::npos);
  }
}

TROUPE_TEST_WITH(fixture, "a file of an older version becomes today's, with what it holds") {
  {
    std::ofstream(path).flush();
    auto db = store::database::open(path, std::chrono::seconds(1));
    REQUIRE(db.has_value());
    REQUIRE(store::migrate(*db, 1).has_value());
    CHECK_EQ(db->number("PRAGMA user_version").value_or(-1), 1);
    CHECK(!db->prepare("SELECT * FROM wishes").has_value());
  }
  tamper("INSERT INTO runs VALUES(1, 'old', 'w', 't', 'running', '', 1, 1, 0, 0)");
  auto journal = open();
  CHECK_EQ(number("PRAGMA user_version"), store::schema_version());
  CHECK(journal->request_cancel("old").has_value());
}

TROUPE_TEST_WITH(fixture, "a file with a second name is refused: what is locked by one name is open by the other") {
  open();
  std::filesystem::create_hard_link(path, path + "-too");
  for (const auto& name : {path, path + "-too"}) {
    const auto opened = store::open_sqlite({.path = name});
    REQUIRE(!opened.has_value());
    CHECK_EQ(opened.error().code, error_code::unavailable);
    CHECK(opened.error().text().find("2 names (hard links)") != std::string::npos);
  }
  std::filesystem::remove(path + "-too");
  CHECK(store::open_sqlite({.path = path}).has_value());
}

TROUPE_TEST_WITH(fixture, "nothing is acknowledged once the file is not at its place any more") {
  struct row {
    const char* what;
    std::function<void()> befalls;
  };
  const row rows[] = {
      {"removed", [&] { std::filesystem::remove(path); }},
      {"moved", [&] { std::filesystem::rename(path, path + "-moved"); }},
      {"replaced",
       [&] {
         std::filesystem::rename(path, path + "-old");
         std::filesystem::copy_file(path + "-old", path);
       }},
  };
  for (const auto& each : rows) {
    IN_ROW(each.what);
    auto journal = open();
    const auto id = std::string("run-") + each.what;
    REQUIRE(append(*journal, run_of(id, 1, 2)).has_value());
    each.befalls();
    for (const int seq : {3, 4}) {
      const auto refused = append(*journal, run_of(id, seq, seq));
      REQUIRE(!refused.has_value());
      CHECK_EQ(refused.error().code, error_code::unavailable);
      CHECK(refused.error().message.find("moved, removed or replaced") != std::string::npos);
    }
    journal.reset();
    for (const auto* left : {"", "-wal", "-shm", "-lock"})
      std::filesystem::remove(path + left);
  }
}

TROUPE_TEST_WITH(fixture, "events that are appended together are all there and in order, however many rows one statement takes") {
  auto journal = open();
  for (const int count : {1, 7, 8, 9, 31, 32, 33, 40, 41, 75}) {
    const auto id = "r" + std::to_string(count);
    REQUIRE(append(*journal, run_of(id, 1, count)).has_value());
    const auto read = journal->read_run(id);
    REQUIRE(read.has_value());
    CHECK_EQ(read->size(), static_cast<std::size_t>(count));
    CHECK(journal->notes(id).empty());
  }
}

TROUPE_TEST_WITH(fixture, "a large configuration is kept once for all runs of it, and each reads its own") {
  json big{{"agents", json::object()}}, other = big;
  for (int i = 0; i < 200; ++i)
    big["agents"]["a" + std::to_string(i)] = std::string(100, 'x');
  other["agents"]["b"] = std::string(300, 'y');
  auto journal = open();
  for (int i = 0; i < 20; ++i)
    REQUIRE(append(*journal, {start_of("big" + std::to_string(i), big)}).has_value());
  REQUIRE(append(*journal, {start_of("other", other)}).has_value());
  REQUIRE(append(*journal, {start_of("none")}).has_value());
  REQUIRE(append(*journal, {start_of("small", {{"a", 1}})}).has_value());
  CHECK_EQ(number("SELECT count(*) FROM blobs"), 2);
  CHECK(number("SELECT sum(length(body)) FROM events") < 10'000);
  const auto configuration = [&](const std::string& id) {
    const auto kept = std::get<run_started>(journal->read_run(id)->at(0)->body).configuration;
    return kept ? *kept : json();
  };
  CHECK_EQ(configuration("big7"), big);
  CHECK_EQ(configuration("other"), other);
  CHECK_EQ(configuration("none"), json());
  CHECK_EQ(configuration("small"), json({{"a", 1}}));
  REQUIRE(append(*journal, {make_event("other", 2, run_finished{})}).has_value());
  CHECK_EQ(journal->delete_ended(std::numeric_limits<std::int64_t>::max()).value_or(-1), 1);
  CHECK_EQ(number("SELECT count(*) FROM blobs"), 1);
  CHECK_EQ(configuration("big7"), big);
}

TROUPE_TEST_WITH(fixture, "damage in a run's middle refuses that run, names the event, and spares the others") {
  struct row {
    const char* name;
    std::string sql;
    std::int64_t event;
  };
  const std::string of = " WHERE run = (SELECT id FROM runs WHERE run_id = 'r') AND seq = ";
  const std::vector<row> rows{
      {"a changed body", "UPDATE events SET body = replace(body, 'event 3', 'event X')" + of + "3", 3},
      {"a changed time", "UPDATE events SET time_us = time_us + 1" + of + "4", 4},
      {"a changed agent", "UPDATE events SET agent = 'resear', task = task || 'cher'" + of + "2", 2},
      {"a missing event", "DELETE FROM events" + of + "3", 3},
      {"a missing first event", "DELETE FROM events" + of + "1", 1},
      {"the last but one missing", "DELETE FROM events" + of + "5", 5},
      {"swapped events",
       "UPDATE events SET seq = -2" + of + "2; UPDATE events SET seq = 2" + of + "3; UPDATE events SET seq = 3" + of + "-2", 2},
      {"another run's event",
       "UPDATE events SET body = (SELECT body FROM events WHERE run = (SELECT id FROM runs WHERE run_id = 's') AND seq = 4),"
       " checksum = (SELECT checksum FROM events WHERE run = (SELECT id FROM runs WHERE run_id = 's') AND seq = 4)"
           + of + "4",
       4},
      {"a changed configuration", "UPDATE blobs SET body = replace(body, 'y', 'z')", 1},
      {"a lost configuration", "DELETE FROM blobs", 1}};
  for (const auto& r : rows) {
    IN_ROW(r.name);
    for (const char* end : {"", "-wal", "-shm", "-lock"})
      std::filesystem::remove(path + end);
    {
      auto journal = open();
      auto events = run_of("r", 2, 6);
      events.insert(events.begin(), start_of("r", {{"x", std::string(300, 'y')}}));
      REQUIRE(append(*journal, std::move(events)).has_value());
      REQUIRE(append(*journal, run_of("s", 1, 6)).has_value());
    }
    tamper(r.sql);
    auto journal = open();
    REQUIRE(journal->own("r").has_value());
    const auto read = journal->read_run("r");
    CHECK_EQ(code_of(read), error_code::corrupt);
    if (!read)
      CHECK_EQ(read.error().where, "run r, event " + std::to_string(r.event));
    box<expected<std::vector<event_ptr>>> async;
    journal->read_run_async("r", 0, [&](auto result) { async.put(std::move(result)); });
    CHECK_EQ(code_of(async.take()), error_code::corrupt);
    CHECK_EQ(journal->read_run("s").value_or(std::vector<event_ptr>()).size(), 6u);
    CHECK(append(*journal, run_of("s", 7, 7)).has_value());
    CHECK_EQ(journal->list_runs(9)->size(), 2u);
  }
}

TROUPE_TEST_WITH(fixture, "a torn tail is told to readers, and cut when its owner reads") {
  struct row {
    const char* name;
    std::string sql;
    std::int64_t kept;
  };
  const std::string of = " WHERE run = (SELECT id FROM runs WHERE run_id = 'r') AND seq ";
  const std::vector<row> rows{{"a damaged last event", "UPDATE events SET body = 'x'" + of + "= 6", 5},
                              {"a lost last event", "DELETE FROM events" + of + "= 6", 5},
                              {"lost last events", "DELETE FROM events" + of + ">= 4", 3},
                              {"damaged last events", "UPDATE events SET body = 'x', checksum = 1" + of + ">= 5", 4}};
  for (const auto& r : rows) {
    IN_ROW(r.name);
    for (const char* end : {"", "-wal", "-shm", "-lock"})
      std::filesystem::remove(path + end);
    {
      auto journal = open();
      auto events = run_of("r", 1, 5);
      events.push_back(make_event("r", 6, run_finished{}));
      REQUIRE(append(*journal, std::move(events)).has_value());
    }
    tamper(r.sql);
    auto journal = open();
    // A reader sees the good part, and changes nothing.
    CHECK_EQ(static_cast<std::int64_t>(journal->read_run("r")->size()), r.kept);
    CHECK_EQ(journal->read_run("r", 2)->size(), static_cast<std::size_t>(r.kept) - 2);
    REQUIRE(journal->notes("r").size() == 1u);
    CHECK(journal->notes("r").empty());
    CHECK_EQ(code_of(append(*journal, run_of("r", r.kept + 1, r.kept + 1))), error_code::corrupt);
    CHECK_EQ(code_of(append(*journal, run_of("r", 7, 7))), error_code::corrupt);
    // The owner goes on behind it, whichever way it reads.
    REQUIRE(journal->own("r").has_value());
    CHECK_EQ(static_cast<std::int64_t>(journal->read_run("r", 1)->size()), r.kept - 1);
    const auto notes = journal->notes("r");
    REQUIRE(notes.size() == 1u);
    CHECK(notes[0].find("after event " + std::to_string(r.kept)) != std::string::npos);
    const auto row_now = journal->find_run("r");
    REQUIRE(row_now.has_value());
    CHECK_EQ(row_now->last_seq, r.kept);
    CHECK_EQ(row_now->status, run_status::running);
    REQUIRE(append(*journal, run_of("r", r.kept + 1, r.kept + 2)).has_value());
    CHECK_EQ(static_cast<std::int64_t>(journal->read_run("r")->size()), r.kept + 2);
    CHECK(journal->notes("r").empty());
  }
}

TROUPE_TEST_WITH(fixture, "a run whose every event is damaged is refused, not begun anew") {
  REQUIRE(append(*open(), run_of("r", 1, 1)).has_value());
  tamper("UPDATE events SET body = '{}'");
  CHECK_EQ(code_of(open()->read_run("r")), error_code::corrupt);
}

TROUPE_TEST_WITH(fixture, "a damaged page is reported for the runs on it, and never crashes") {
  {
    auto journal = open();
    for (int r = 0; r < 40; ++r)
      REQUIRE(append(*journal, run_of("r" + std::to_string(r), 1, 20)).has_value());
  }
  const auto size = std::filesystem::file_size(path);
  std::vector<char> good(size);
  std::ifstream(path, std::ios::binary).read(good.data(), static_cast<std::streamsize>(size));
  std::size_t refused = 0, whole = 0;
  for (std::size_t page = 2; page * 4096 < size; page += 3) {
    auto bad = good;
    for (std::size_t i = 0; i < 4096; i += 7)
      bad[page * 4096 + i] = static_cast<char>(bad[page * 4096 + i] ^ 0x5A);
    std::ofstream(path, std::ios::binary | std::ios::trunc).write(bad.data(), static_cast<std::streamsize>(size));
    auto journal = open_sqlite({.path = path});
    if (!journal) {
      ++refused;
      continue;
    }
    for (int r = 0; r < 40; ++r) {
      const auto read = (*journal)->read_run("r" + std::to_string(r));
      whole += read && read->size() == 20;
      refused += !read;
      if (read && read->size() != 20) // cut, and said so
        CHECK(!(*journal)->notes("r" + std::to_string(r)).empty());
    }
    append(**journal, run_of("new", 1, 1));
  }
  CHECK(refused > 0);
  CHECK(whole > 0);
}

TROUPE_TEST_WITH(fixture, "an owner in another process is named, and its death frees the run at once") {
  open();
  int to_parent[2], to_child[2];
  REQUIRE(::pipe(to_parent) == 0 && ::pipe(to_child) == 0);
  const pid_t child = ::fork();
  if (child == 0) {
    auto locks = store::lock_file::open(path + "-lock");
    char c = locks && !locks->own("r") ? 'o' : 'x';
    if (::write(to_parent[1], &c, 1) != 1 || ::read(to_child[0], &c, 1) < 0)
      ::_exit(1);
    ::_exit(0);
  }
  char c = 0;
  REQUIRE(::read(to_parent[0], &c, 1) == 1);
  CHECK(c == 'o');
  auto journal = open();
  const auto refused = journal->own("r");
  CHECK_EQ(code_of(refused), error_code::conflict);
  CHECK(refused.error().text().find("process " + std::to_string(child) + " ") != std::string::npos);
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  CHECK(journal->own("r").has_value());
  for (const int fd : {to_parent[0], to_parent[1], to_child[0], to_child[1]})
    ::close(fd);
}

TROUPE_TEST_WITH(fixture, "a torn tail is not cut by one who only reads, however often") {
  REQUIRE(append(*open(), run_of("r", 1, 4)).has_value());
  tamper("UPDATE events SET body = 'x' WHERE seq = 4");
  for (int i = 0; i < 3; ++i) {
    auto journal = open();
    CHECK_EQ(journal->read_run("r")->size(), 3u);
    box<expected<std::vector<event_ptr>>> read;
    journal->read_run_async("r", 0, [&](auto events) { read.put(std::move(events)); });
    CHECK_EQ(read.take()->size(), 3u);
    CHECK_EQ(number("SELECT count(*) FROM events"), 4);
  }
}

TROUPE_TEST_WITH(fixture, "after a cut a run has the status that its last whole events say") {
  auto events = run_of("r", 1, 2);
  events.push_back(make_event("r", 3, run_finished{run_status::aborted, "budget_exceeded", nullptr}));
  events.push_back(make_event("r", 4, run_resumed{}));
  REQUIRE(append(*open(), std::move(events)).has_value());
  tamper("UPDATE events SET body = 'x' WHERE seq = 4");
  auto journal = open();
  REQUIRE(journal->own("r").has_value());
  CHECK_EQ(journal->read_run("r")->size(), 3u);
  CHECK_EQ(journal->find_run("r")->status, run_status::aborted);
  CHECK_EQ(journal->find_run("r")->reason, "budget_exceeded");
}

TROUPE_TEST_WITH(fixture, "of appends that are written together, the one that another writer has overtaken fails alone") {
  auto one = open();
  REQUIRE(append(*one, run_of("r", 1, 1)).has_value());
  REQUIRE(append(*open(), run_of("r", 2, 2)).has_value()); // another process
  box<bool> begun, go_on;
  one->read_run_async("r", 0, [&](const auto&) { // holds the writer until all three stand in its queue
    begun.put(true);
    go_on.take();
  });
  begun.take();
  box<std::pair<std::string, error_code>> answers;
  for (const auto& [run_id, seq] : {std::pair("s", 1), std::pair("r", 2), std::pair("t", 1)})
    one->append(run_of(run_id, seq, seq), [&answers, id = std::string(run_id)](const expected<void>& done) {
      answers.put({id, code_of(done)});
    });
  go_on.put(true);
  std::map<std::string, error_code> codes;
  for (int i = 0; i < 3; ++i)
    codes.insert(answers.take());
  CHECK_EQ(codes["s"], error_code::none);
  CHECK_EQ(codes["t"], error_code::none);
  CHECK(codes["r"] != error_code::none);
  CHECK_EQ(one->read_run("s")->size(), 1u);
  CHECK_EQ(one->read_run("r")->size(), 2u);
}
