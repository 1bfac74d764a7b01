#include "test.hpp"

#include <cerrno>

#include "fixture.hpp"
#include "troupe/tools/builtin.hpp"
#include "troupe/tools/builtin_parts.hpp"
#include "troupe/tools/confined.hpp"
#include "troupe/tools/toolset.hpp"

TROUPE_SUITE(tools_builtin)

using namespace troupe;
using namespace troupe::tools::test;

namespace {

struct builtin_fixture : tool_fixture {
  tool_spec spec(const std::string& name) const {
    tool_spec out;
    out.name = name;
    out.kind = tool_kind::builtin;
    out.root = folder.path;
    return out;
  }
  std::unique_ptr<tools::runner> tool(const std::string& name) { return std::move(*tools::make_builtin_runner(spec(name), shared)); }
  tool_outcome run_builtin(const std::string& name, json arguments) { return start(*tool(name), std::move(arguments)).get(); }
};

} // namespace

TROUPE_TEST_WITH(builtin_fixture, "each builtin declares itself, and its schema compiles") {
  CHECK_EQ(json(tools::builtin_names()),
           json({"calculator", "clock", "http_fetch", "list_files", "read_file", "state_get", "state_set", "write_file"}));
  for (const auto& name : tools::builtin_names()) {
    IN_ROW(name);
    const auto declaration = tools::builtin_declaration(name);
    REQUIRE(declaration.has_value());
    CHECK(!declaration->description.empty());
    CHECK(schema::compiled_schema::compile(declaration->parameters).has_value());
    CHECK(declaration->effect == (name == "write_file" || name == "state_set" ? effect::idempotent : effect::none));
  }
  CHECK_EQ(tools::builtin_declaration("raed_file").error().message, "there is no builtin \"raed_file\"; did you mean \"read_file\"?");
}

TROUPE_TEST_WITH(builtin_fixture, "the clock and the calculator answer within the call") {
  bool answered = false;
  tool("calculator")->start({"c", "calculator", {{"expression", "6*7"}}, "", 1s}, [&](tool_outcome outcome) {
    answered = true;
    CHECK_EQ(outcome.output, "42");
  });
  CHECK(answered);
  const auto now = run_builtin("clock", json::object()).output;
  CHECK_EQ(now.size(), std::string("2026-03-01T09:30:00.123Z").size());
  const auto wrong = run_builtin("calculator", {{"expression", "1/0"}});
  CHECK(wrong.status == tool_status::failed);
  CHECK_EQ(wrong.error, "tool \"calculator\": position 4: division by zero");
}

TROUPE_TEST_WITH(builtin_fixture, "read_file gives a file's text, or the lines that are asked for") {
  folder.write("a.txt", "one\ntwo\nthree");
  CHECK_EQ(run_builtin("read_file", {{"path", "a.txt"}}).output, "one\ntwo\nthree");
  CHECK_EQ(run_builtin("read_file", {{"path", folder.path + "/a.txt"}}).output, "one\ntwo\nthree");
  CHECK_EQ(run_builtin("read_file", {{"path", "a.txt"}, {"offset", 2}}).output, "two\nthree");
  CHECK_EQ(run_builtin("read_file", {{"path", "a.txt"}, {"offset", 2}, {"limit", 1}}).output, "two\n");
  CHECK_EQ(run_builtin("read_file", {{"path", "a.txt"}, {"limit", 1e300}}).output, "one\ntwo\nthree");
  CHECK_EQ(run_builtin("read_file", {{"path", "a.txt"}, {"offset", 9}}).output, "");
  folder.write("empty", "");
  const auto empty = run_builtin("read_file", {{"path", "empty"}});
  CHECK(empty.status == tool_status::ok);
  CHECK_EQ(empty.output, "");
}

TROUPE_TEST_WITH(builtin_fixture, "a long file is read in parts that meet") {
  std::string text;
  for (int i = 1; i <= 40'000; ++i)
    text += "line " + std::to_string(i) + " " + std::string(30, 'x') + "\n";
  folder.write("long.txt", text);
  std::string all;
  std::int64_t offset = 1;
  for (int parts = 0; parts < 10; ++parts) {
    const auto outcome = run_builtin("read_file", {{"path", "long.txt"}, {"offset", offset}});
    const auto note = outcome.output.rfind("\n[cut: ");
    all += outcome.output.substr(0, outcome.truncated ? note : std::string::npos);
    if (!outcome.truncated)
      break;
    CHECK(outcome.output.size() < (1u << 20) + 200);
    const auto at = outcome.output.rfind("offset ");
    offset = std::stoll(outcome.output.substr(at + 7));
  }
  CHECK(all == text);
  folder.write("wide.txt", std::string(3'000'000, 'y'));
  const auto wide = run_builtin("read_file", {{"path", "wide.txt"}});
  CHECK(wide.truncated);
  CHECK(wide.output.find("line 1 alone is longer") != std::string::npos);
}

TROUPE_TEST_WITH(builtin_fixture, "read_file refuses what is binary, and mends what is no UTF-8") {
  folder.write("image.png", std::string("\x89PNG\0\0", 6));
  const auto binary = run_builtin("read_file", {{"path", "image.png"}});
  CHECK(binary.status == tool_status::failed);
  CHECK(binary.error.find("is binary (6 bytes)") != std::string::npos);
  folder.write("latin1.txt", "caf\xE9");
  CHECK_EQ(run_builtin("read_file", {{"path", "latin1.txt"}}).output, "caf\xEF\xBF\xBD");
}

TROUPE_TEST_WITH(builtin_fixture, "what would fail again in the same way is not tried again") {
  folder.write("there", "");
  folder.write("image.png", std::string("\x89PNG\0\0", 6));
  struct row {
    const char* tool;
    json arguments;
  };
  const row rows[] = {
      {"calculator", {{"expression", "1/0"}}},
      {"calculator", {{"expression", "2^^3"}}},
      {"calculator", {{"expression", "sqrt(-1)"}}},
      {"read_file", {{"path", "../c.yaml"}}},
      {"read_file", {{"path", "absent"}}},
      {"read_file", {{"path", "image.png"}}},
      {"read_file", {{"path", std::string(300, 'n')}}},
      {"write_file", {{"path", "there/below"}, {"content", ""}}},
      {"write_file", {{"path", "."}, {"content", ""}}},
      {"write_file", {{"path", std::string(300, 'n')}, {"content", ""}}},
      {"list_files", {{"path", "/etc"}}},
  };
  for (const auto& [name, arguments] : rows) {
    IN_ROW(name + arguments.dump());
    const auto outcome = run_builtin(name, arguments);
    CHECK(outcome.status == tool_status::failed);
    CHECK(outcome.permanent);
  }
}

TROUPE_TEST_WITH(builtin_fixture, "what the system refuses only for now may be tried again") {
  CHECK(tools::code_of_errno(ENOSPC) == error_code::unavailable);
  CHECK(tools::code_of_errno(EMFILE) == error_code::unavailable);
  CHECK(tools::code_of_errno(EROFS) == error_code::permission_denied);
  CHECK(!tools::builtin_failure("write_file", error{tools::code_of_errno(ENOSPC), "disk full", {}}).permanent);
}

TROUPE_TEST_WITH(builtin_fixture, "file tools see neither what is outside of their root nor the journal") {
  folder.write(".troupe/journal.db", "J");
  shared.hidden = {folder.path + "/.troupe"};
  for (const char* path : {"../x", "/etc/passwd", ".troupe/journal.db"}) {
    IN_ROW(path);
    CHECK(run_builtin("read_file", {{"path", path}}).status == tool_status::failed);
    CHECK(run_builtin("write_file", {{"path", path}, {"content", "x"}}).status == tool_status::failed);
  }
  CHECK(run_builtin("write_file", {{"path", ".troupe"}, {"content", "x"}}).status == tool_status::failed);
  CHECK_EQ(folder.read(".troupe/journal.db"), "J");
  folder.write("seen", "");
  CHECK_EQ(run_builtin("list_files", {{"recursive", true}}).output, "seen\n");
  CHECK(run_builtin("list_files", {{"path", ".troupe"}}).status == tool_status::failed);
}

TROUPE_TEST_WITH(builtin_fixture, "write_file replaces a file as a whole, makes folders, and leaves no other file") {
  CHECK_EQ(run_builtin("write_file", {{"path", "new/deep/a.txt"}, {"content", "one"}}).output, "wrote 3 bytes to new/deep/a.txt");
  CHECK_EQ(folder.read("new/deep/a.txt"), "one");
  fs::permissions(folder.path + "/new/deep/a.txt", fs::perms(0640));
  run_builtin("write_file", {{"path", "new/deep/a.txt"}, {"content", "two"}});
  CHECK_EQ(folder.read("new/deep/a.txt"), "two");
  CHECK(fs::status(folder.path + "/new/deep/a.txt").permissions() == fs::perms(0640));
  CHECK_EQ(run_builtin("list_files", {{"recursive", true}}).output, "new/\nnew/deep/\nnew/deep/a.txt\n");
}

TROUPE_TEST_WITH(builtin_fixture, "write_file is not kept from its work by what a killed process with the same number left") {
  for (int i = 1; i <= 200; ++i)
    folder.write(".troupe-" + std::to_string(::getpid()) + "-" + std::to_string(i) + ".tmp", "left");
  CHECK_EQ(run_builtin("write_file", {{"path", "a.txt"}, {"content", "one"}}).output, "wrote 3 bytes to a.txt");
  CHECK_EQ(folder.read("a.txt"), "one");
}

TROUPE_TEST_WITH(builtin_fixture, "write_file leaves alone what is no regular file, and bounds what it writes") {
  fs::create_directory(folder.path + "/sub");
  fs::create_symlink("/etc/passwd", folder.path + "/link");
  for (const char* path : {"sub", "sub/", "link", ".", "link/x"}) {
    IN_ROW(path);
    CHECK(run_builtin("write_file", {{"path", path}, {"content", "x"}}).status == tool_status::failed);
  }
  CHECK(fs::is_symlink(folder.path + "/link"));
  CHECK(run_builtin("write_file", {{"path", "big"}, {"content", std::string(2'000'000, 'x')}}).status == tool_status::failed);
  CHECK(!folder.has("big"));
}

TROUPE_TEST_WITH(builtin_fixture, "list_files is sorted, takes patterns, and follows no link") {
  for (const char* name : {"b.txt", "a.txt", "c.md", "d/e.txt", "d/f/g.txt"})
    folder.write(name, "");
  fs::create_directory_symlink("/", folder.path + "/everything");
  CHECK_EQ(run_builtin("list_files", json::object()).output, "a.txt\nb.txt\nc.md\nd/\neverything\n");
  CHECK_EQ(run_builtin("list_files", {{"recursive", true}, {"pattern", "*.txt"}}).output, "a.txt\nb.txt\nd/e.txt\nd/f/g.txt\n");
  CHECK_EQ(run_builtin("list_files", {{"pattern", "d/**/g*"}}).output, "d/f/g.txt\n");
  CHECK_EQ(run_builtin("list_files", {{"path", "d"}}).output, "e.txt\nf/\n");
  CHECK_EQ(run_builtin("list_files", {{"pattern", "*.none"}}).output, "[nothing found]\n");
  CHECK(run_builtin("list_files", {{"path", "a.txt"}}).status == tool_status::failed);
}

TROUPE_TEST_WITH(builtin_fixture, "list_files is bounded, and says so") {
  for (int i = 0; i < 1'200; ++i)
    folder.write("f" + std::to_string(i), "");
  const auto outcome = run_builtin("list_files", json::object());
  CHECK(outcome.truncated);
  CHECK_EQ(std::count(outcome.output.begin(), outcome.output.end(), '\n'), 1'001);
  CHECK(outcome.output.find("[cut: these are 1000 of 1200") != std::string::npos);
}

TROUPE_TEST_WITH(builtin_fixture, "a call that is cancelled in line, or without time left, is answered so and does nothing") {
  std::promise<void> gate;
  const auto opened = gate.get_future().share();
  for (int i = 0; i < 2; ++i) // both workers wait
    workers.submit([opened] { opened.wait(); });
  const auto write = tool("write_file");
  auto cancelled = start(*write, {{"path", "a"}, {"content", "x"}});
  auto late = start(*write, {{"path", "b"}, {"content", "x"}}, 0ms);
  auto orphan = start(*tool("write_file"), {{"path", "c"}, {"content", "x"}}); // its runner is gone already
  write->cancel(cancelled.id);
  gate.set_value();
  CHECK(cancelled.get().status == tool_status::cancelled);
  CHECK(late.get().status == tool_status::timed_out);
  CHECK(orphan.get().status == tool_status::cancelled);
  CHECK_EQ(run_builtin("list_files", json::object()).output, "[nothing found]\n");
}

TROUPE_TEST_WITH(builtin_fixture, "a file tool without a root, and http_fetch without hosts or client, are refused when made") {
  for (const char* name : {"read_file", "write_file", "list_files"}) {
    auto without = spec(name);
    without.root.clear();
    const auto made = tools::make_builtin_runner(without, shared);
    REQUIRE(!made);
    CHECK(made.error().text().find("`root`") != std::string::npos);
  }
  auto fetch = spec("http_fetch");
  CHECK(tools::make_builtin_runner(fetch, shared).error().message.find("allow_hosts") != std::string::npos);
  fetch.allow_hosts = {"example.com"};
  CHECK(tools::make_builtin_runner(fetch, shared).error().message.find("HTTP client") != std::string::npos);
}
