// A disk that refuses, a process that is killed, processes that share a file: nothing is acknowledged that is not there.
#include "test.hpp"

#include <map>
#include <random>

#include <csignal>
#include <poll.h>
#include <sqlite3.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/journal_support.hpp"
#include "troupe/store/lock_file.hpp"

TROUPE_SUITE(journal_faults)

using namespace troupe;
using namespace troupe::test;
using store::open_sqlite;

namespace {

/// The system's own file layer with switches: while a code is set, each write or sync answers with it; one read can be made to fail; a
/// sync waits until it is let through.
class faulty_disk {
public:
  faulty_disk() {
    real() = sqlite3_vfs_find(nullptr);
    shim_ = *real();
    shim_.zName = "faulty";
    shim_.xOpen = open;
    sqlite3_vfs_register(&shim_, 1);
  }
  faulty_disk(const faulty_disk&) = delete;
  faulty_disk& operator=(const faulty_disk&) = delete;
  ~faulty_disk() {
    write_code() = sync_code() = SQLITE_OK;
    reads_until_failure() = -1;
    let_syncs(everything);
    sqlite3_vfs_unregister(&shim_);
    sqlite3_vfs_register(real(), 1);
  }
  static std::atomic<int>& write_code() {
    static std::atomic<int> code{SQLITE_OK};
    return code;
  }
  /// So many reads from now on succeed, and the one after them fails; negative: none fails.
  static std::atomic<int>& reads_until_failure() {
    static std::atomic<int> left{-1};
    return left;
  }
  static std::atomic<int>& sync_code() {
    static std::atomic<int> code{SQLITE_OK};
    return code;
  }
  static std::atomic<int>& syncs() {
    static std::atomic<int> count{0};
    return count;
  }
  static constexpr int everything = std::numeric_limits<int>::max();
  /// So many syncs, counted as `syncs` counts them, may go on; later ones wait.
  static void let_syncs(int up_to) {
    let() = up_to;
    let().notify_all();
  }
  /// Waits until so many syncs have begun in all.
  static void await_syncs(int wanted) {
    for (int seen = syncs(); seen < wanted; seen = syncs())
      syncs().wait(seen);
  }

private:
  static std::atomic<int>& let() {
    static std::atomic<int> up_to{everything};
    return up_to;
  }
  static sqlite3_vfs*& real() {
    static sqlite3_vfs* vfs = nullptr;
    return vfs;
  }
  /// The methods of a kind of file (SQLite has one for databases, another one for logs), with ours in front.
  struct wrapped {
    sqlite3_io_methods mine; // first: what a file points to
    const sqlite3_io_methods* real;
  };
  static const sqlite3_io_methods* real_of(sqlite3_file* file) { return reinterpret_cast<const wrapped*>(file->pMethods)->real; }

  static int open(sqlite3_vfs*, const char* name, sqlite3_file* file, int flags, int* out_flags) {
    const int code = real()->xOpen(real(), name, file, flags, out_flags);
    if (code != SQLITE_OK || !file->pMethods)
      return code;
    static std::mutex mutex;
    static std::map<const sqlite3_io_methods*, wrapped> kinds;
    const std::lock_guard guard(mutex);
    auto [kind, fresh] = kinds.try_emplace(file->pMethods, wrapped{*file->pMethods, file->pMethods});
    if (fresh) {
      kind->second.mine.xWrite = [](sqlite3_file* to, const void* bytes, int size, sqlite3_int64 at) {
        return write_code() != SQLITE_OK ? write_code().load() : real_of(to)->xWrite(to, bytes, size, at);
      };
      kind->second.mine.xRead = [](sqlite3_file* from, void* bytes, int size, sqlite3_int64 at) {
        if (reads_until_failure() >= 0 && reads_until_failure()-- == 0)
          return SQLITE_IOERR_READ;
        return real_of(from)->xRead(from, bytes, size, at);
      };
      kind->second.mine.xSync = [](sqlite3_file* of, int how) {
        const int mine = ++syncs();
        syncs().notify_all();
        for (int through = let(); through < mine; through = let())
          let().wait(through);
        return sync_code() != SQLITE_OK ? sync_code().load() : real_of(of)->xSync(of, how);
      };
    }
    file->pMethods = &kind->second.mine;
    return code;
  }

  sqlite3_vfs shim_{};
};

std::unique_ptr<store::journal> opened(const std::string& path, std::chrono::milliseconds patience = std::chrono::seconds(10)) {
  auto made = open_sqlite({.path = path, .busy_timeout = patience});
  if (!made)
    CAF_FAIL(made.error().text());
  return std::move(*made);
}

/// Runs `body` in a child process and answers its exit status; -1 for a signal.
template <class Body>
int in_child(Body body) {
  const pid_t child = ::fork();
  if (child == 0)
    ::_exit(body());
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

} // namespace

TROUPE_TEST("a full disk fails what it must, and the same events are taken once there is room") {
  for (const int code : {SQLITE_FULL, SQLITE_IOERR_WRITE}) {
    faulty_disk disk;
    temporary_folder folder;
    auto journal = opened(folder / "j.db");
    REQUIRE(append(*journal, run_of("r", 1, 2)).has_value());
    faulty_disk::write_code() = code;
    const auto refused = append(*journal, run_of("r", 3, 3));
    REQUIRE(code_of(refused) == error_code::unavailable);
    CHECK(refused.error().message.find(code == SQLITE_FULL ? "the disk is full" : "the disk answered with an error") != std::string::npos);
    CHECK_EQ(code_of(append(*journal, run_of("s", 1, 1))), error_code::unavailable);
    faulty_disk::write_code() = SQLITE_OK;
    CHECK_EQ(code_of(append(*journal, run_of("r", 4, 4))), error_code::unavailable); // it would leave a gap; the reason is told again
    CHECK_EQ(journal->read_run("r")->size(), 2u);
    CHECK_EQ(code_of(journal->read_run("s")), error_code::not_found);
    CHECK(append(*journal, run_of("r", 3, 4)).has_value());
    CHECK(append(*journal, run_of("s", 1, 1)).has_value());
    CHECK_EQ(code_of(append(*journal, run_of("r", 7, 7))), error_code::internal); // an ordinary gap now
    CHECK_EQ(journal->read_run("r")->size(), 4u);
    CHECK_EQ(journal->stats().failures, 4u);
  }
}

TROUPE_TEST("each acknowledged commit was synced to the disk first, and once") {
  faulty_disk disk;
  temporary_folder folder;
  auto journal = opened(folder / "j.db");
  REQUIRE(append(*journal, run_of("r", 1, 1)).has_value());
  const int before = faulty_disk::syncs();
  for (std::int64_t seq = 2; seq <= 11; ++seq) {
    REQUIRE(append(*journal, run_of("r", seq, seq)).has_value());
    CHECK_EQ(faulty_disk::syncs() - before, seq - 1);
  }
  CHECK_EQ(journal->stats().commits, 11u);
}

TROUPE_TEST("after a sync that was refused nothing is promised until the journal is opened anew") {
  faulty_disk disk;
  temporary_folder folder;
  {
    auto journal = opened(folder / "j.db");
    REQUIRE(append(*journal, run_of("r", 1, 2)).has_value());
    faulty_disk::sync_code() = SQLITE_IOERR_FSYNC;
    CHECK_EQ(code_of(append(*journal, run_of("r", 3, 3))), error_code::unavailable);
    faulty_disk::sync_code() = SQLITE_OK;
    const auto refused = append(*journal, run_of("r", 3, 3));
    REQUIRE(code_of(refused) == error_code::unavailable);
    CHECK(refused.error().message.find("failed sync") != std::string::npos);
    CHECK_EQ(code_of(append(*journal, run_of("s", 1, 1))), error_code::unavailable);
    CHECK_EQ(code_of(journal->request_cancel("r")), error_code::unavailable);
  }
  auto journal = opened(folder / "j.db");
  const auto read = journal->read_run("r");
  REQUIRE(read.has_value());
  CHECK(read->size() == 2u || read->size() == 3u);
  const auto next = static_cast<std::int64_t>(read->size()) + 1;
  CHECK(append(*journal, run_of("r", next, next)).has_value());
}

namespace {

/// A journal whose first append is being synced, while nine of other runs have gathered behind it.
struct crowd {
  faulty_disk disk;
  temporary_folder folder;
  std::unique_ptr<store::journal> journal = opened(folder / "j.db");
  box<expected<void>> first, others;
  int begun = 0;

  crowd() {
    REQUIRE(append(*journal, run_of("earlier", 1, 1)).has_value()); // a new log's head has a sync of its own
    begun = faulty_disk::syncs();
    faulty_disk::let_syncs(begun);
    append_to("r0", first);
    faulty_disk::await_syncs(begun + 1);
    for (int i = 1; i <= 9; ++i)
      append_to("r" + std::to_string(i), others);
  }
  ~crowd() { faulty_disk::let_syncs(faulty_disk::everything); }
  void append_to(const std::string& run_id, box<expected<void>>& answers) {
    journal->append(run_of(run_id, 1, 1), [&](expected<void> result) { answers.put(std::move(result)); });
  }
  /// The first one is answered, and the sync of the others has begun.
  void sync_others() {
    faulty_disk::let_syncs(begun + 1);
    REQUIRE(first.take().has_value());
    faulty_disk::await_syncs(begun + 2);
  }
};

} // namespace

TROUPE_TEST("many appends are one commit, and none is answered before the sync that is theirs") {
  crowd here;
  CHECK_EQ(here.first.count() + here.others.count(), 0u);
  here.sync_others();
  CHECK_EQ(here.others.count(), 0u);
  // What comes meanwhile is written meanwhile, and waits for a sync of its own.
  box<expected<void>> later;
  for (int i = 1; i <= 4; ++i)
    here.append_to("s" + std::to_string(i), later);
  faulty_disk::let_syncs(here.begun + 2);
  for (int i = 1; i <= 9; ++i)
    CHECK(here.others.take().has_value());
  faulty_disk::await_syncs(here.begun + 3);
  CHECK_EQ(later.count(), 0u);
  faulty_disk::let_syncs(here.begun + 3);
  for (int i = 1; i <= 4; ++i)
    CHECK(later.take().has_value());
  CHECK_EQ(here.journal->stats().commits, 4u);
  CHECK_EQ(here.journal->stats().events, 15u);
}

TROUPE_TEST("where the sync of many is refused none of them is acknowledged, nor what was written meanwhile, nor anything later") {
  crowd here;
  here.sync_others();
  box<expected<void>> later;
  for (int i = 1; i <= 9; ++i)
    here.append_to("s" + std::to_string(i), later);
  faulty_disk::sync_code() = SQLITE_IOERR_FSYNC;
  faulty_disk::let_syncs(here.begun + 2);
  for (int i = 1; i <= 9; ++i)
    CHECK_EQ(code_of(here.others.take()), error_code::unavailable);
  faulty_disk::sync_code() = SQLITE_OK; // the kernel may say so: what it dropped does not come back
  faulty_disk::let_syncs(faulty_disk::everything);
  for (int i = 1; i <= 9; ++i)
    CHECK_EQ(code_of(later.take()), error_code::unavailable);
  const auto refused = append(*here.journal, run_of("t", 1, 1));
  REQUIRE(code_of(refused) == error_code::unavailable);
  CHECK(refused.error().message.find("failed sync") != std::string::npos);
  CHECK_EQ(code_of(here.journal->request_cancel("r1")), error_code::unavailable);
}

TROUPE_TEST("nobody is answered before those of an earlier commit, whoever syncs it") {
  temporary_folder folder;
  faulty_disk disk;
  auto journal = opened(folder / "j.db");
  REQUIRE(append(*journal, run_of("r", 1, 1)).has_value());
  std::mutex mutex;
  std::vector<std::int64_t> order;
  const auto note = [&](std::int64_t seq) {
    const std::lock_guard guard(mutex);
    order.push_back(seq);
  };
  const int begun = faulty_disk::syncs();
  faulty_disk::let_syncs(begun);
  const auto commits = journal->stats().commits;
  journal->append(run_of("r", 2, 2), [&](expected<void>) { note(2); });
  faulty_disk::await_syncs(begun + 1);
  // The next group is answered by the thread that synced it. Its first answer takes so long that one more append is committed meanwhile.
  journal->append(run_of("r", 3, 3), [&, same = journal.get()](expected<void>) { // `journal` itself is the other thread's
    same->append(run_of("r", 8, 8), [&](expected<void>) { note(8); });
    while (same->stats().commits < commits + 3)
      std::this_thread::yield();
    for (int i = 0; i < 2'000; ++i) // so that it would be answered now, were it not made to wait
      std::this_thread::yield();
    note(3);
  });
  for (std::int64_t seq = 4; seq <= 7; ++seq)
    journal->append(run_of("r", seq, seq), [&, seq](expected<void>) { note(seq); });
  faulty_disk::let_syncs(faulty_disk::everything);
  while (journal->stats().events < 8)
    std::this_thread::yield();
  journal.reset(); // answers whoever waits
  CHECK(order == (std::vector<std::int64_t>{2, 3, 4, 5, 6, 7, 8}));
}

TROUPE_TEST("a transaction that SQLite itself takes back, since its cache spills onto a full disk, leaves no gap and no row behind") {
  faulty_disk disk;
  temporary_folder folder;
  auto journal = opened(folder / "j.db");
  REQUIRE(append(*journal, run_of("r", 1, 2)).has_value());
  const auto big = [](const std::string& run_id, std::int64_t seq) {
    return make_event(run_id, seq, message_injected{std::string(std::size_t{4} << 20, 'x'), "test"});
  };
  faulty_disk::write_code() = SQLITE_FULL;
  CHECK_EQ(code_of(append(*journal, {big("r", 3), big("r", 4), big("r", 5), big("r", 6)})), error_code::unavailable);
  CHECK_EQ(code_of(append(*journal, {start_of("s"), big("s", 2), big("s", 3), big("s", 4)})), error_code::unavailable);
  faulty_disk::write_code() = SQLITE_OK;
  CHECK(!append(*journal, run_of("r", 7, 7)).has_value());
  CHECK(!append(*journal, run_of("s", 5, 5)).has_value());
  CHECK(append(*journal, run_of("t", 1, 2)).has_value());
  CHECK(append(*journal, run_of("r", 3, 3)).has_value());
  CHECK(append(*journal, run_of("s", 1, 1)).has_value());
  journal = opened(folder / "j.db");
  for (const auto& [run_id, events] : {std::pair("r", 3u), std::pair("s", 1u), std::pair("t", 2u)}) {
    const auto read = journal->read_run(run_id);
    REQUIRE(read.has_value());
    CHECK_EQ(read->size(), events);
    CHECK(journal->notes(run_id).empty());
  }
}

TROUPE_TEST("whichever read fails while a group is written, what is acknowledged is there, and nothing else") {
  faulty_disk disk;
  bool failed = true;
  for (int reads = 0; failed; ++reads) {
    temporary_folder folder;
    const auto path = folder / "j.db";
    {
      auto before = opened(path);
      for (const auto* run_id : {"a", "r", "x"})
        REQUIRE(append(*before, run_of(run_id, 1, 40)).has_value());
    }
    std::map<std::string, std::int64_t> there{{"a", 40}, {"r", 40}, {"x", 40}, {"new", 0}};
    {
      auto journal = opened(path);
      REQUIRE(append(*journal, run_of("x", 41, 41)).has_value());
      there["x"] = 41;
      faulty_disk::reads_until_failure() = reads;
      std::map<std::string, box<expected<void>>> answers;
      for (const auto& [run_id, last] : there)
        answers[run_id];                       // none is made while other threads look for theirs
      for (const auto& [run_id, last] : there) // mostly one group
        journal->append(run_of(run_id, last + 1, last + 2), [&into = answers.at(run_id)](expected<void> got) { into.put(std::move(got)); });
      for (auto& [run_id, last] : there)
        if (answers.at(run_id).take())
          last += 2;
      failed = faulty_disk::reads_until_failure().exchange(-1) < 0;
      for (auto& [run_id, last] : there) {
        REQUIRE(append(*journal, run_of(run_id, last + 1, last + 1)).has_value());
        ++last;
      }
    }
    auto after = opened(path);
    for (const auto& [run_id, last] : there) {
      const auto read = after->read_run(run_id);
      REQUIRE(read.has_value());
      CHECK_EQ(read->back()->seq, last);
      CHECK(after->notes(run_id).empty());
    }
  }
}

TROUPE_TEST("a kernel that lets the file grow no further is an error, never an acknowledgement") {
  temporary_folder folder;
  const auto path = folder / "j.db";
  const int acknowledged = in_child([&] {
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{400'000, 400'000};
    auto journal = opened(path);
    ::setrlimit(RLIMIT_FSIZE, &limit);
    for (int seq = 1; seq < 250; ++seq) {
      auto e = make_event("r", seq, message_injected{std::string(5'000, 'x'), ""});
      const auto result = append(*journal, {e});
      if (!result)
        return result.error().code == error_code::unavailable ? seq - 1 : 255;
    }
    return 255;
  });
  CHECK(acknowledged > 10 && acknowledged < 250);
  CHECK(static_cast<int>(opened(path)->read_run("r")->size()) >= acknowledged);
}

TROUPE_TEST("a process that holds the turn too long is an error, and its end is not") {
  temporary_folder folder;
  const auto path = folder / "j.db";
  auto journal = opened(path, std::chrono::milliseconds(30));
  auto other = store::lock_file::open(path + "-lock");
  REQUIRE(other.has_value());
  REQUIRE(other->take_turn(std::chrono::milliseconds(0)));
  const auto refused = append(*journal, run_of("r", 1, 1));
  REQUIRE(code_of(refused) == error_code::unavailable);
  CHECK(refused.error().message.find("another process") != std::string::npos);
  other->end_turn();
  CHECK(append(*journal, run_of("r", 1, 1)).has_value());
}

TROUPE_TEST("several processes write to one journal at once, each its own runs") {
  temporary_folder folder;
  const auto path = folder / "j.db";
  constexpr int processes = 4, events = 60;
  std::vector<pid_t> children;
  for (int p = 0; p < processes; ++p) {
    const pid_t child = ::fork();
    if (child == 0) {
      const auto id = "r" + std::to_string(p);
      auto journal = open_sqlite({.path = path}); // all make it at once
      if (!journal || !(*journal)->own(id))
        ::_exit(1);
      for (std::int64_t seq = 1; seq <= events; ++seq)
        if (!append(**journal, run_of(id, seq, seq)))
          ::_exit(2);
      journal->reset();
      ::_exit(0);
    }
    children.push_back(child);
  }
  for (const pid_t child : children) {
    int status = 0;
    ::waitpid(child, &status, 0);
    CHECK_EQ(WIFEXITED(status) ? WEXITSTATUS(status) : -1, 0);
  }
  auto journal = opened(path);
  for (int p = 0; p < processes; ++p)
    CHECK_EQ(journal->read_run("r" + std::to_string(p)).value_or(std::vector<event_ptr>()).size(), static_cast<std::size_t>(events));
}

namespace {

void kill_and_look(unsigned seed, int rounds) {
  temporary_folder folder;
  const auto path = folder / "j.db";
  constexpr int runs = 3;
  std::mt19937 random(seed);
  std::int64_t acknowledged[runs] = {};
  std::size_t verified[runs] = {};
  struct ack {
    std::int32_t run;
    std::int32_t seq;
  };
  std::size_t whole_rounds = 0;
  for (int round = 0; round < rounds; ++round) {
    int ends[2];
    REQUIRE(::pipe(ends) == 0);
    const pid_t child = ::fork();
    if (child == 0) {
      auto journal = open_sqlite({.path = path});
      if (!journal)
        ::_exit(1);
      // Each run keeps some appends in flight and never ends by itself. The first answer may come before the first appends are all made.
      std::mutex beginning;
      std::function<void(int, std::int32_t)> go = [&](int run, std::int32_t seq) {
        const auto id = "r" + std::to_string(run);
        (*journal)->append(run_of(id, seq, seq), [&, run, seq](expected<void> result) {
          { const std::lock_guard begun(beginning); }
          const ack told{run, seq};
          if (!result || ::write(ends[1], &told, sizeof told) != sizeof told)
            ::_exit(2);
          go(run, seq + 4);
        });
      };
      for (int run = 0; run < runs; ++run) {
        const auto id = "r" + std::to_string(run);
        if (!(*journal)->own(id))
          ::_exit(3);
        const auto read = (*journal)->read_run(id);
        const auto last = read ? static_cast<std::int32_t>(read->size()) : 0;
        const std::lock_guard begin(beginning);
        for (std::int32_t i = 1; i <= 4; ++i)
          go(run, last + i);
      }
      while (true)
        ::pause();
    }
    ::close(ends[1]);
    const auto wait_for = std::uniform_int_distribution<int>(0, 80)(random);
    const auto note = [&](const ack& told) { acknowledged[told.run] = std::max<std::int64_t>(acknowledged[told.run], told.seq); };
    ack told;
    int seen = 0;
    while (seen < wait_for && ::read(ends[0], &told, sizeof told) == sizeof told) {
      note(told);
      ++seen;
    }
    CHECK_EQ(seen, wait_for);
    whole_rounds += seen == wait_for;
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    while (::read(ends[0], &told, sizeof told) == sizeof told)
      note(told);
    ::close(ends[0]);
    auto journal = opened(path);
    for (int run = 0; run < runs; ++run) {
      const auto id = "r" + std::to_string(run);
      if (acknowledged[run] == 0)
        continue;
      // The last round reads all again, the others what is new, chained to what was there.
      const std::size_t after = round + 1 == rounds ? 0 : verified[run];
      const auto read = journal->read_run(id, static_cast<std::int64_t>(after));
      if (!read)
        CAF_FAIL(read.error().text());
      verified[run] = after + read->size();
      CHECK(static_cast<std::int64_t>(verified[run]) >= acknowledged[run]);
      CHECK(journal->notes(id).empty());
      CHECK(!journal->find_run(id)->owned);
      for (std::size_t i = 0; i < read->size(); ++i) {
        const auto seq = static_cast<std::int64_t>(after + i) + 1;
        if (!same(*(*read)[i], *run_of(id, seq, seq)[0]))
          CAF_FAIL("event " << seq << " of run " << id << " is another one");
      }
    }
  }
  CHECK_EQ(whole_rounds, static_cast<std::size_t>(rounds));
  CHECK(acknowledged[0] > 50);
}

} // namespace

TROUPE_TEST("what was acknowledged is there after kill -9 at any moment") {
  kill_and_look(20261124, 25);
}

TROUPE_TEST("what was acknowledged is there after kill -9 at any other moment") {
  kill_and_look(7, 25);
}
