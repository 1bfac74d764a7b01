// Who owns what, by locks of the kernel.
#include "troupe/store/lock_file.hpp"

#include <filesystem>
#include <fstream>
#include <string>

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/journal_support.hpp"
#include "test.hpp"

TROUPE_SUITE(lock_file)

using namespace troupe;
using namespace troupe::test;
namespace fs = std::filesystem;

namespace {

/// How many locks the kernel keeps for the file; 0 where it tells nobody.
std::size_t locks_of(const std::string& path) {
  struct stat of {};
  REQUIRE(::stat(path.c_str(), &of) == 0);
  const auto inode = ":" + std::to_string(of.st_ino) + " ";
  std::ifstream all("/proc/locks");
  std::size_t count = 0;
  for (std::string line; std::getline(all, line);)
    count += line.find(inode) != std::string::npos ? 1 : 0;
  return count;
}

} // namespace

TROUPE_TEST("names that are counted up are owned one by one, and are one lock") {
  temporary_folder folder;
  const auto path = folder / "lock";
  auto owner = store::lock_file::open(path), other = store::lock_file::open(path);
  REQUIRE(owner.has_value() && other.has_value());
  const std::string id = "01KAB3V5Z0XJ8Q4S7W2M9N6RC";
  CHECK(!owner->own(id + '2'));
  const auto locks_of_one = locks_of(path);
  for (const char last : {'3', '4', '5', '6'})
    CHECK(!owner->own(id + last));
  CHECK_EQ(locks_of(path), locks_of_one);
  owner->disown(id + '4');
  for (const char last : {'2', '3', '5', '6'})
    CHECK(other->own(id + last) == ::getpid());
  for (const auto& free : {id + '1', id + '4', id + '7', id, std::string("01KAB3V5Z0XJ8Q4S7W2M9N6RD2")})
    CHECK(!other->owned(free));
  CHECK(!other->own(id + '4'));
  CHECK(owner->own(id + '4') == ::getpid());
}

TROUPE_TEST("a lock file that is only looked at tells who owns what, and without one nobody does") {
  temporary_folder folder;
  const auto path = folder / "lock";
  const auto none = store::lock_file::look(path);
  REQUIRE(none.has_value());
  CHECK(!none->owned("r"));
  CHECK(!fs::exists(path));
  auto owner = store::lock_file::open(path);
  REQUIRE(owner.has_value() && !owner->own("r"));
  const auto looked = store::lock_file::look(path);
  REQUIRE(looked.has_value());
  CHECK(looked->owned("r"));
  CHECK(!looked->owned("s"));
}

TROUPE_TEST("an owner whose name is not written yet is not taken for the one before, who is dead") {
  temporary_folder folder;
  const auto path = folder / "lock";
  const pid_t before = ::fork();
  if (before == 0) {
    auto locks = store::lock_file::open(path);
    ::_exit(locks && !locks->own("r") ? 0 : 1);
  }
  int status = -1;
  ::waitpid(before, &status, 0);
  REQUIRE(status == 0);
  std::string hint;
  {
    std::ifstream file(path, std::ios::binary);
    hint.assign(std::istreambuf_iterator<char>(file), {});
  }
  auto owner = store::lock_file::open(path), other = store::lock_file::open(path);
  REQUIRE(owner.has_value() && other.has_value() && !owner->own("r"));
  CHECK(other->own("r") == ::getpid());
  std::fstream(path, std::ios::binary | std::ios::in | std::ios::out).write(hint.data(), static_cast<std::streamsize>(hint.size()));
  CHECK(other->own("r") == 0); // unknown
}
