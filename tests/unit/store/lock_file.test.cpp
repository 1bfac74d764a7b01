// Who owns what, by locks of the kernel.
#include "troupe/store/lock_file.hpp"

#include <filesystem>
#include <fstream>
#include <string>

#include <sys/wait.h>
#include <unistd.h>

#include "store/journal_support.hpp"
#include "test.hpp"

TROUPE_SUITE(lock_file)

using namespace troupe;
using namespace troupe::test;
namespace fs = std::filesystem;

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
