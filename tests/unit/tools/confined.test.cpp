#include "test.hpp"

#include "fixture.hpp"
#include "troupe/tools/confined.hpp"
#include "troupe/tools/glob.hpp"

TROUPE_SUITE(tools_confined)

using troupe::tools::confined_folder;
using troupe::tools::glob_matches;
using troupe::tools::relative_path;
using troupe::tools::test::temporary_folder;
namespace fs = std::filesystem;

TROUPE_TEST("a path is taken relative to the root, and what leads out of it is refused") {
  struct row {
    const char* path;
    const char* relative; // null: refused
  };
  for (const auto& [path, relative] : {
           row{"a", "a"},
           row{"a/b", "a/b"},
           row{"./a//b/", "a/b"},
           row{"a/../b", "b"},
           row{"", "."},
           row{".", "."},
           row{"a/..", "."},
           row{"..", nullptr},
           row{"a/../../b", nullptr},
           row{"/etc/passwd", nullptr},
           row{"/data", "."},
           row{"/data/x", "x"},
           row{"/database", nullptr},
           row{"/data/../etc", nullptr},
           row{"...", "..."},
           row{"a\\..\\b", "a\\..\\b"},
       }) {
    IN_ROW(path);
    const auto got = relative_path("/data", path);
    CHECK_EQ(got ? *got : std::string("refused"), relative ? relative : "refused");
  }
  CHECK(!relative_path("/data", std::string_view("a\0b", 3)));
  CHECK(!relative_path("/data", std::string(5'000, 'a')));
  CHECK_EQ(*relative_path("/", "/etc/x"), "etc/x");
}

TROUPE_TEST("links are followed inside of the folder only") {
  temporary_folder outside, inside;
  outside.write("secret", "s");
  inside.write("real/file", "f");
  fs::create_symlink("real/file", inside.path + "/good");
  fs::create_symlink(outside.path + "/secret", inside.path + "/absolute");
  fs::create_symlink("../" + fs::path(outside.path).filename().string() + "/secret", inside.path + "/relative");
  fs::create_directory_symlink(outside.path, inside.path + "/folder");
  fs::create_symlink("loop", inside.path + "/loop");
  fs::create_symlink("/proc/self/root" + outside.path + "/secret", inside.path + "/magic");
  const auto folder = confined_folder::open(inside.path, {});
  REQUIRE(folder.has_value());
  struct stat info {};
  CHECK(folder->open_file("good", info).has_value());
  for (const char* path : {"absolute", "relative", "folder/secret", "loop", "magic"}) {
    IN_ROW(path);
    const auto opened = folder->open_file(path, info);
    CHECK(!opened);
  }
  CHECK(!folder->open_folder("folder"));
  CHECK(!folder->make_folders("folder/new"));
  CHECK(!outside.has("new"));
}

TROUPE_TEST("special files are refused without blocking") {
  temporary_folder inside;
  REQUIRE(::mkfifo((inside.path + "/fifo").c_str(), 0600) == 0);
  fs::create_directory(inside.path + "/sub");
  const auto folder = confined_folder::open(inside.path, {});
  struct stat info {};
  const auto fifo = folder->open_file("fifo", info);
  REQUIRE(!fifo);
  CHECK(fifo.error().message.find("no regular file") != std::string::npos);
  CHECK_EQ(folder->open_file("sub", info).error().message, "\"sub\" is a folder");
  CHECK_EQ(folder->open_file("gone", info).error().message, "\"gone\" does not exist");
  const auto devices = confined_folder::open("/dev", {});
  CHECK(!devices->open_file("zero", info));
  CHECK(!devices->open_file("tty", info));
}

TROUPE_TEST("a race between a folder and a link to outside never shows what is outside") {
  temporary_folder outside, inside;
  outside.write("file", "SECRET");
  inside.write("real/file", "fine");
  fs::create_directory_symlink(outside.path, inside.path + "/evil");
  std::atomic<bool> ending{false};
  std::thread attacker([&] { // a/ is now the real folder, now the link
    const auto a = inside.path + "/a", real = inside.path + "/real", evil = inside.path + "/evil";
    while (!ending) {
      ::rename(real.c_str(), a.c_str());
      ::rename(a.c_str(), real.c_str());
      ::rename(evil.c_str(), a.c_str());
      ::rename(a.c_str(), evil.c_str());
    }
  });
  const auto folder = confined_folder::open(inside.path, {});
  int fine = 0, secret = 0;
  for (int i = 0; i < 20'000; ++i) {
    struct stat info {};
    const auto fd = folder->open_file("a/file", info);
    char text[8] = {};
    if (fd && ::read(fd->get(), text, 6) > 0)
      (std::string(text) == "SECRET" ? secret : fine) += 1;
  }
  ending = true;
  attacker.join();
  CHECK_EQ(secret, 0);
  CHECK(fine > 0);
}

TROUPE_TEST("hidden files are not there, under their own name, a link's or a hard link's") {
  temporary_folder inside;
  inside.write(".troupe/journal.db", "j");
  inside.write("flat.db", "j");
  fs::create_symlink("flat.db", inside.path + "/link");
  fs::create_hard_link(inside.path + "/flat.db", inside.path + "/hard");
  fs::create_directory_symlink(".troupe", inside.path + "/folder");
  const auto folder = confined_folder::open(inside.path, {inside.path + "/.troupe", inside.path + "/flat.db", inside.path + "/later.db"});
  struct stat info {};
  for (const char* path : {".troupe/journal.db", "flat.db", "link", "hard", "folder/journal.db"}) {
    IN_ROW(path);
    const auto opened = folder->open_file(path, info);
    REQUIRE(!opened);
    CHECK(opened.error().message.find("does not exist") != std::string::npos);
  }
  CHECK(!folder->open_folder(".troupe"));
  CHECK(!folder->open_folder("folder"));
  CHECK(!folder->make_folders(".troupe/x"));
  const auto root = folder->open_folder(".");
  CHECK(folder->is_hidden(root->get(), "later.db"));
  CHECK(!folder->is_hidden(root->get(), "other"));
}

TROUPE_TEST("a glob matches as a shell's does") {
  struct row {
    const char* pattern;
    const char* text;
    bool matches;
  };
  for (const auto& [pattern, text, matches] : {
           row{"*.txt", "a.txt", true},
           row{"*.txt", "a.txt.gz", false},
           row{"*.txt", "d/a.txt", false},
           row{"**", "d/a.txt", true},
           row{"**/*.txt", "a.txt", true},
           row{"**/*.txt", "d/e/a.txt", true},
           row{"**/x", "ax", false},
           row{"**/x", "a/x", true},
           row{"src/**/*.cpp", "src/a.cpp", true},
           row{"src/**/*.cpp", "src/b/c/a.cpp", true},
           row{"src/**/*.cpp", "srcs/a.cpp", false},
           row{"a?c", "abc", true},
           row{"a?c",
               "a\xC3\xA4"
               "c",
               true},
           row{"a?c", "a/c", false},
           row{"a??c",
               "a\xC3\xA4"
               "c",
               false},
           row{"[a-c]x", "bx", true},
           row{"[a-c]x", "dx", false},
           row{"[!a-c]x", "dx", true},
           row{"[]]", "]", true},
           row{"[a", "[a", true},
           row{"\\*", "*", true},
           row{"\\*", "a", false},
           row{"", "", true},
           row{"", "a", false},
           row{"*", "", true},
       }) {
    IN_ROW(std::string(pattern) + " on " + text);
    CHECK_EQ(glob_matches(pattern, text), matches);
  }
  std::string stars;
  for (int i = 0; i < 100; ++i)
    stars += "*a";
  CHECK(!glob_matches(stars + "b", std::string(4'000, 'a')));
}
