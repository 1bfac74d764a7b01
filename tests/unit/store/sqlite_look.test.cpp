// A journal where nothing may be written, whatever was left there.
#include "test.hpp"

#include <fstream>
#include <functional>
#include <map>

#include <sys/wait.h>
#include <unistd.h>

#include "store/journal_support.hpp"
#include "troupe/store/sqlite_db.hpp"

TROUPE_SUITE(sqlite_look)

using namespace troupe;
using namespace troupe::test;
namespace fs = std::filesystem;

namespace {

/// A folder and its files that their owner may only read, as long as this lives.
class locked {
public:
  explicit locked(fs::path folder) : folder_(std::move(folder)) {
    set(fs::perms::owner_read | fs::perms::owner_exec, fs::perms::owner_read);
  }
  locked(const locked&) = delete;
  locked& operator=(const locked&) = delete;
  ~locked() { set(fs::perms::owner_all, fs::perms::owner_read | fs::perms::owner_write); }

private:
  void set(fs::perms folder, fs::perms file) const {
    std::error_code ignored;
    fs::permissions(folder_, fs::perms::owner_all);
    for (const auto& each : fs::directory_iterator(folder_))
      fs::permissions(each.path(), file, ignored);
    fs::permissions(folder_, folder);
  }
  fs::path folder_;
};

constexpr uid_t nobody = 65534;

/// What somebody says who may not do whatever he wants, as root may: in a process of its own, the folder's owner.
bool as_its_owner(const std::string& folder, const std::function<bool()>& says) {
  const bool root = ::geteuid() == 0;
  if (root) {
    REQUIRE(::chown(folder.c_str(), nobody, nobody) == 0);
    for (const auto& each : fs::directory_iterator(folder))
      REQUIRE(::chown(each.path().c_str(), nobody, nobody) == 0);
  }
  const pid_t child = ::fork();
  if (child == 0) {
    if (root && (::setgid(nobody) != 0 || ::setuid(nobody) != 0))
      ::_exit(2);
    ::_exit(says() ? 0 : 1);
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  return status == 0;
}

std::map<std::string, std::uintmax_t> sizes_in(const std::string& folder) {
  std::map<std::string, std::uintmax_t> found;
  for (const auto& each : fs::directory_iterator(folder))
    found.emplace(each.path().filename(), each.file_size());
  return found;
}

} // namespace

TROUPE_TEST("a table of what was left: all of it is read where nothing may be written, and nothing is changed") {
  struct row {
    const char* name;
    std::vector<const char*> kept; ///< of the files
    bool closed;                   ///< before they were copied
  };
  const std::vector<row> rows{{"closed by the last process", {"", "-lock"}, true},
                              {"closed, and its index left", {"", "-lock", "-shm"}, true},
                              {"a process died", {"", "-lock", "-shm", "-wal"}, false},
                              {"a copy of file and log", {"", "-wal"}, false}};
  for (const auto& r : rows) {
    IN_ROW(r.name);
    temporary_folder folder;
    const auto path = folder / "from.db", kept = folder / "kept";
    fs::create_directory(kept);
    fs::permissions(folder / ".", fs::perms::all);
    {
      auto journal = *store::open_sqlite({.path = path});
      REQUIRE(append(*journal, run_of("r", 1, 3)).has_value());
      const auto index = path + "-shm";
      if (r.closed) {
        fs::copy(index, kept + "/index");
        journal.reset();
      }
      for (const auto* end : r.kept)
        fs::copy(fs::exists(path + end) ? path + end : kept + "/index", kept + "/journal.db" + end);
      fs::remove(kept + "/index");
    }
    CHECK_EQ(fs::exists(kept + "/journal.db-wal"), !r.closed);
    const auto before = sizes_in(kept);
    const locked lock(kept);
    CHECK(as_its_owner(kept, [&] {
      const auto journal = store::open_sqlite_to_read({.path = kept + "/journal.db"});
      if (!journal)
        return false;
      auto& at = **journal;
      const auto read = at.read_run("r");
      const auto listed = at.list_runs(9);
      const auto found = at.find_run("r");
      const bool reads = read && read->size() == 3 && listed && listed->size() == 1 && found && found->last_seq == 3 && !found->owned
                         && at.decisions("r") && at.notes("r").empty() && code_of(at.read_run("s")) == error_code::not_found;
      const bool refuses = code_of(at.own("r")) == error_code::permission_denied
                           && code_of(at.own_tenant("t")) == error_code::permission_denied
                           && code_of(at.request_cancel("r")) == error_code::permission_denied
                           && code_of(append(at, run_of("r", 4, 4))) == error_code::permission_denied;
      return reads && refuses;
    }));
    CHECK(sizes_in(kept) == before);
  }
}

TROUPE_TEST("where it may be written a journal that is looked at is the usual one, and one that is not there is not made") {
  temporary_folder folder;
  const auto path = folder / "journal.db";
  CHECK_EQ(code_of(store::open_sqlite_to_read({.path = path})), error_code::not_found);
  CHECK(!fs::exists(path));
  auto journal = *store::open_sqlite({.path = path});
  REQUIRE(append(*journal, run_of("r", 1, 2)).has_value());
  const auto looked = store::open_sqlite_to_read({.path = path});
  REQUIRE(looked.has_value());
  CHECK((*looked)->request_cancel("r").has_value());
}

TROUPE_TEST(
    "a journal that was missed has not been made yet, also where it is there by now; behind a link that leads nowhere it is out of reach") {
  temporary_folder folder;
  std::ofstream(folder / "now") << "";
  fs::create_symlink(folder / "now", folder / "to-now");
  fs::create_symlink(folder / "nowhere", folder / "dangling");
  for (const auto* missed : {"absent", "now", "to-now"})
    CHECK_EQ(store::why_missing(folder / missed).code, error_code::not_found);
  for (const auto* out_of_reach : {"dangling", "now/below"})
    CHECK_EQ(store::why_missing(folder / out_of_reach).code, error_code::unavailable);
}
