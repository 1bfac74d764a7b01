#include "test.hpp"

#include "fixture.hpp"

TROUPE_SUITE(tools_process)

using namespace troupe;
using namespace troupe::tools::test;
using troupe::tools::process_counting;

namespace {

/// A number of seconds to sleep that no other process names.
std::string marker() {
  static int next = 0;
  return "86" + std::to_string(::getpid()) + "." + std::to_string(++next);
}

constexpr bool both[] = {true, false}; // with and without sandbox

/// Waits until a file has content; the tool writes it when it is ready.
void await_file(const std::string& path) {
  while (!fs::exists(path) || fs::file_size(path) == 0)
    std::this_thread::yield();
}

} // namespace

TROUPE_TEST_WITH(tool_fixture, "an argument is exactly one element of argv, whatever it contains, and no shell reads it") {
  for (const bool sandbox : both) {
    const auto spec = process_spec(
        {"python3", "-c", "import sys, json; print(json.dumps(sys.argv[1:]))", "{{ a }}", "x{{ b }}y", "{{ gone }}", "{{ n }}"}, sandbox);
    const auto hostile = std::string("$(touch pwned) `id` ; rm -rf * | \"'\n\t\\ \xF0\x9F\x98\x80 --flag");
    const auto outcome = run(spec, {{"a", hostile}, {"b", "{{ a }}"}, {"n", {{"k", 1}}}});
    CHECK_EQ(outcome.error, "");
    CHECK_EQ(json::parse(outcome.output), json({hostile, "x{{ a }}y", "{\"k\":1}"}));
    CHECK(!folder.has("pwned"));
  }
}

TROUPE_TEST_WITH(tool_fixture, "an empty argument stays an argument") {
  CHECK_EQ(run(process_spec({"python3", "-c", "import sys; print(len(sys.argv))", "{{ a }}"}), {{"a", ""}}).output, "2\n");
}

TROUPE_TEST_WITH(tool_fixture, "a NUL character or an argument beyond the kernel's limit is refused before anything runs") {
  const auto spec = process_spec({"touch", "ran", "{{ a }}"}, false);
  auto outcome = run(spec, {{"a", std::string("a\0b", 3)}});
  CHECK(outcome.status == tool_status::not_started);
  CHECK(outcome.error.find("NUL") != std::string::npos);
  outcome = run(spec, {{"a", std::string(200'000, 'x')}});
  CHECK(outcome.status == tool_status::not_started);
  CHECK(outcome.error.find("argument 2 is too long") != std::string::npos);
  CHECK(!folder.has("ran"));
}

TROUPE_TEST_WITH(tool_fixture, "as many and as long arguments arrive as a program may be given") {
  std::vector<std::string> command = {"sh", "-c", "echo $#; printf %s \"$@\" | wc -c", "sh"};
  for (int i = 0; i < 9; ++i)
    command.emplace_back(100'000, static_cast<char>('a' + i));
  for (int i = 0; i < 5'000; ++i)
    command.emplace_back(i % 2 == 0 ? "" : "x");
  for (const bool sandbox : both) {
    const auto outcome = run(process_spec(command, sandbox));
    CHECK_EQ(outcome.error, "");
    CHECK_EQ(outcome.output, "5009\n902500\n");
  }
}

TROUPE_TEST_WITH(tool_fixture, "standard input carries what is too long for an argument") {
  for (const bool sandbox : both) {
    auto spec = process_spec({"wc", "-c"}, sandbox);
    spec.stdin_template = "{{ text }}";
    CHECK_EQ(run(spec, {{"text", std::string(3'000'000, 'x')}}).output, "3000000\n");
  }
}

TROUPE_TEST_WITH(tool_fixture, "a program that never reads its standard input, or closes it, ends as it likes") {
  for (const bool sandbox : both) {
    for (const char* script : {"echo done", "exec <&-; echo done"}) {
      auto spec = shell(script, sandbox);
      spec.stdin_template = "{{ text }}";
      const auto outcome = run(spec, {{"text", std::string(1'000'000, 'x')}});
      CHECK_EQ(outcome.output, "done\n");
    }
  }
}

TROUPE_TEST_WITH(tool_fixture, "the environment is PATH, LANG, HOME, TMPDIR, the idempotency key and what env_from names") {
  ::setenv("TROUPE_TEST_SECRET", "s3cret", 1);
  ::setenv("TROUPE_TEST_OTHER", "other", 1);
  for (const bool sandbox : both) {
    auto spec = process_spec({"env", "-0"}, sandbox);
    spec.env_from = {"TROUPE_TEST_SECRET"};
    auto outcome = run(spec);
    std::vector<std::string> seen;
    for (std::size_t at = 0, end; (end = outcome.output.find('\0', at)) != std::string::npos; at = end + 1)
      seen.push_back(outcome.output.substr(at, end - at));
    std::erase_if(seen, [](const std::string& each) { return each.rfind("PWD=", 0) == 0; }); // bubblewrap sets it
    std::sort(seen.begin(), seen.end());
    CHECK_EQ(json(seen), json({"HOME=/tmp", "LANG=C.UTF-8", "PATH=/usr/local/bin:/usr/bin:/bin", "TMPDIR=/tmp",
                               "TROUPE_IDEMPOTENCY_KEY=key-1", "TROUPE_TEST_SECRET=s3cret"}));
  }
}

TROUPE_TEST_WITH(tool_fixture, "a secret that is not set is told when the tool is made") {
  auto spec = shell("true");
  spec.env_from = {"TROUPE_TEST_UNSET"};
  const auto made = tools::make_process_runner(spec, shared);
  REQUIRE(!made);
  CHECK(made.error().text().find("TROUPE_TEST_UNSET") != std::string::npos);
}

TROUPE_TEST_WITH(tool_fixture, "a program inherits no descriptor, no blocked signal and no ignored one, and leads its own session") {
  const int leaked = ::dup(0); // without close-on-exec
  for (const bool sandbox : both) {
    const auto outcome = run(python("import os, signal\n"
                                    "print(sorted(int(f) for f in os.listdir('/proc/self/fd'))[:-1])\n"
                                    "s = dict(l.split(':', 1) for l in open('/proc/self/status') if ':' in l)\n"
                                    "print(int(s['SigBlk'], 16), os.getpgid(0) == os.getpid() or os.getpgid(0) == 0 or os.getsid(0))",
                                    sandbox));
    CHECK(outcome.output.rfind("[0, 1, 2]\n0 ", 0) == 0);
    CHECK_EQ(outcome.error, "");
  }
  ::close(leaked);
}

TROUPE_TEST_WITH(tool_fixture, "programs run in the configuration's folder") {
  for (const bool sandbox : both)
    CHECK_EQ(run(process_spec({"pwd"}, sandbox)).output, folder.path + "\n");
}

TROUPE_TEST("a program is looked for along the tools' PATH, or by its path from the configuration's folder") {
  using places = std::vector<std::string>;
  CHECK_EQ(tools::program_places("grep", "/c"), (places{"/usr/local/bin/grep", "/usr/bin/grep", "/bin/grep"}));
  CHECK_EQ(tools::program_places("bin/check", "/c"), places{"/c/bin/check"});
  CHECK_EQ(tools::program_places("/opt/x", "/c"), places{"/opt/x"});
  CHECK(tools::program_places("", "/c").empty());
}

TROUPE_TEST_WITH(tool_fixture, "a script of the configuration's folder is a program") {
  const auto file = folder.write("bin/hello.sh", "#!/bin/sh\necho hello $1\n");
  fs::permissions(file, fs::perms::owner_all);
  for (const bool sandbox : both)
    CHECK_EQ(run(process_spec({"bin/hello.sh", "{{ who }}"}, sandbox), {{"who", "you"}}).output, "hello you\n");
}

TROUPE_TEST_WITH(tool_fixture, "exit statuses in `success` are no failure, others carry standard error") {
  for (const bool sandbox : both) {
    auto spec = shell("echo out; echo because >&2; exit {{ code }}", sandbox);
    spec.success = {0, 1};
    for (const int code : {0, 1}) {
      const auto outcome = run(spec, {{"code", code}});
      CHECK(outcome.status == tool_status::ok);
      CHECK_EQ(outcome.output, "out\n");
      CHECK_EQ(outcome.exit_status, code);
      CHECK_EQ(outcome.error, "");
    }
    const auto outcome = run(spec, {{"code", 2}});
    CHECK(outcome.status == tool_status::failed);
    CHECK_EQ(outcome.exit_status, 2);
    CHECK_EQ(outcome.output, "out\n");
    CHECK_EQ(outcome.error, "tool \"evil\" ended with exit status 2; its standard error: because");
  }
}

TROUPE_TEST_WITH(tool_fixture, "a program that a signal ended says which") {
  for (const bool sandbox : both) {
    const auto outcome = run(shell("kill -SEGV $$", sandbox));
    CHECK(outcome.status == tool_status::failed);
    CHECK_EQ(outcome.exit_status, 128 + 11);
    CHECK(outcome.error.find("signal 11 (SIGSEGV)") != std::string::npos);
  }
}

TROUPE_TEST_WITH(tool_fixture, "a program that is not there did not start, and the text says where it was looked for") {
  for (const bool sandbox : both) {
    const auto outcome = run(process_spec({"no-such-program"}, sandbox));
    CHECK(outcome.status == tool_status::not_started);
    CHECK(outcome.error.find("no program \"no-such-program\" in /usr/local/bin:/usr/bin:/bin") != std::string::npos);
  }
}

TROUPE_TEST_WITH(tool_fixture, "a program outside of what the sandbox shows did not start, and the text says so") {
  temporary_folder elsewhere;
  const auto file = elsewhere.write("tool.sh", "#!/bin/sh\necho hello\n");
  fs::permissions(file, fs::perms::owner_all);
  auto spec = process_spec({file});
  const auto outcome = run(spec);
  CHECK(outcome.status == tool_status::not_started);
  CHECK(outcome.error.find("sandbox.read") != std::string::npos);
  spec.sandbox.read = {elsewhere.path};
  CHECK_EQ(run(spec).output, "hello\n");
}

TROUPE_TEST_WITH(tool_fixture, "a file that is no program did not start") {
  const auto file = folder.write("data", "no program");
  fs::permissions(file, fs::perms::owner_all);
  const auto outcome = run(process_spec({"./data"}, false));
  CHECK(outcome.status == tool_status::not_started);
  CHECK(outcome.error.find("#!") != std::string::npos);
}

TROUPE_TEST_WITH(tool_fixture, "without bubblewrap a tool is refused unless its sandbox is off") {
  shared.bwrap = "/nonexistent/bwrap";
  const auto refused = run(shell("echo ran"));
  CHECK(refused.status == tool_status::not_started);
  CHECK(refused.error.find("bubblewrap") != std::string::npos);
  CHECK(refused.error.find("sandbox: off") != std::string::npos);
  CHECK_EQ(run(shell("echo ran", false)).output, "ran\n");
}

TROUPE_TEST_WITH(tool_fixture, "output beyond the limit is drained and cut, and said so") {
  for (const bool sandbox : both) {
    const auto outcome = run(shell("head -c 5000000 /dev/zero | tr '\\0' x", sandbox));
    CHECK(outcome.status == tool_status::ok);
    CHECK(outcome.truncated);
    CHECK_EQ(outcome.output.find_first_not_of('x'), 1u << 20);
    CHECK_EQ(outcome.output.substr(1u << 20), "\n[cut: these are the first 1048576 of 5000000 bytes]");
  }
}

TROUPE_TEST_WITH(tool_fixture, "standard error is kept apart, and its end is what is shown of much of it") {
  for (const bool sandbox : both) {
    const auto outcome = run(shell("head -c 1000000 /dev/zero | tr '\\0' x >&2; echo the end >&2; exit 1", sandbox));
    CHECK_EQ(outcome.output, "");
    CHECK(outcome.error.size() < (65u << 10));
    CHECK(outcome.error.size() > (63u << 10));
    CHECK(outcome.error.ends_with("the end"));
  }
}

TROUPE_TEST_WITH(tool_fixture, "a program that floods for ever ends at its timeout") {
  for (const bool sandbox : both) {
    const auto outcome = run(shell("yes & yes >&2", sandbox), {}, 200ms);
    CHECK(outcome.status == tool_status::timed_out);
    CHECK(outcome.output.size() < (1u << 20) + 100);
  }
}

TROUPE_TEST_WITH(tool_fixture, "output that is no UTF-8 is mended, and stays within its limit") {
  for (const bool sandbox : both) {
    CHECK_EQ(run(shell("printf 'a\\377b\\303'", sandbox)).output, "a\xEF\xBF\xBD"
                                                                  "b\xEF\xBF\xBD");
    auto spec = shell("head -c 100000 /dev/zero | tr '\\0' '\\377'", sandbox);
    spec.limits.output_bytes = 100'000;
    CHECK(run(spec).output.size() <= 100'000 + 100);
  }
}

TROUPE_TEST_WITH(tool_fixture, "output is not cut in the middle of a character") {
  auto spec = shell("printf 'abc\\342\\202\\254\\342\\202\\254'", false);
  spec.limits.output_bytes = 8;
  CHECK(run(spec).output.rfind("abc\xE2\x82\xAC\n[cut: ", 0) == 0);
}

TROUPE_TEST_WITH(tool_fixture, "a program that closes its output but lives on is waited for") {
  for (const bool sandbox : both) {
    const auto outcome = run(shell("echo seen; exec >&- 2>&-; echo > done.tmp; sleep 0.1; exit 3", sandbox));
    CHECK_EQ(outcome.output, "seen\n");
    CHECK_EQ(outcome.exit_status, 3);
  }
}

TROUPE_TEST_WITH(tool_fixture, "a program that ends at once and leaves a child with its output is answered, and the child is killed") {
  for (const bool sandbox : both) {
    const auto mark = marker();
    const auto began = std::chrono::steady_clock::now();
    const auto outcome = run(shell("sleep " + mark + " & echo left", sandbox));
    CHECK(outcome.status == tool_status::ok);
    CHECK_EQ(outcome.output, "left\n");
    CHECK(std::chrono::steady_clock::now() - began < 10s);
    CHECK_EQ(processes_with(mark), 0u);
  }
}

TROUPE_TEST_WITH(tool_fixture, "a timeout ends a program that never ends, and nobody is left") {
  for (const bool sandbox : both) {
    const auto mark = marker();
    const auto outcome = run(shell("echo begun; sleep " + mark, sandbox), {}, 200ms);
    CHECK(outcome.status == tool_status::timed_out);
    CHECK_EQ(outcome.output, "begun\n");
    CHECK(outcome.error.find("200 ms") != std::string::npos);
    CHECK_EQ(processes_with(mark), 0u);
  }
}

TROUPE_TEST_WITH(tool_fixture, "daemons in sessions of their own are killed with the rest, at a timeout and at the program's end") {
  // A double fork with setsid in between: its parent is gone, its session and group are its own, and it ignores what it may.
  const std::string daemon = "import os, signal, sys, time\n"
                             "if os.fork() == 0:\n"
                             "  os.setsid()\n"
                             "  if os.fork() == 0:\n"
                             "    for s in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT): signal.signal(s, signal.SIG_IGN)\n"
                             "    [os.close(fd) for fd in (0, 1, 2)]\n"
                             "    time.sleep(float(sys.argv[1]))\n"
                             "  os._exit(0)\n"
                             "os.wait()\n";
  for (const bool sandbox : both) {
    for (const bool ends : both) {
      const auto mark = marker();
      const auto outcome =
          run(process_spec({"python3", "-c", daemon + (ends ? "" : "time.sleep(1000)"), mark}, sandbox), {}, ends ? 30s : 300ms);
      CHECK(outcome.status == (ends ? tool_status::ok : tool_status::timed_out));
      CHECK_EQ(processes_with(mark), 0u);
    }
  }
}

TROUPE_TEST_WITH(tool_fixture, "SIGTERM comes first, to grandchildren too, and what they do with it is waited for") {
  for (const bool sandbox : both) {
    auto spec = shell("sh -c 'trap \"echo tidied; exit 0\" TERM; echo ready; while :; do sleep 0.01; done'; exit 9", sandbox);
    shared.grace = 20s;
    const auto outcome = run(spec, {}, 400ms);
    CHECK(outcome.status == tool_status::timed_out);
    CHECK_EQ(outcome.output, "ready\ntidied\n");
    shared.grace = 200ms;
  }
}

TROUPE_TEST_WITH(tool_fixture, "what ignores SIGTERM is killed after the grace, and not before") {
  for (const bool sandbox : both) {
    const auto mark = marker();
    const auto began = std::chrono::steady_clock::now();
    const auto outcome = run(shell("trap '' TERM; sleep " + mark + "; sleep " + mark, sandbox), {}, 200ms);
    const auto took = std::chrono::steady_clock::now() - began;
    CHECK(outcome.status == tool_status::timed_out);
    CHECK(took >= 400ms);
    CHECK(took < 10s);
    CHECK_EQ(processes_with(mark), 0u);
  }
}

TROUPE_TEST_WITH(tool_fixture, "what stopped itself is killed too") {
  for (const bool sandbox : both) {
    const auto mark = marker();
    CHECK(run(shell("sleep " + mark + " & kill -STOP $!; kill -STOP $$", sandbox), {}, 200ms).status == tool_status::timed_out);
    CHECK_EQ(processes_with(mark), 0u);
  }
}

TROUPE_TEST_WITH(tool_fixture, "cancelling kills the whole call, and is answered when nobody is left") {
  for (const bool sandbox : both) {
    const auto mark = marker();
    auto spec = shell("echo > ready; sleep " + mark + " & sleep " + mark, sandbox);
    spec.sandbox.write = {folder.path};
    fs::remove(folder.path + "/ready");
    const auto runner = make(spec);
    auto call = start(*runner);
    await_file(folder.path + "/ready");
    runner->cancel(call.id);
    CHECK(call.get().status == tool_status::cancelled);
    CHECK_EQ(processes_with(mark), 0u);
    runner->cancel(call.id); // again, and one that never was
    runner->cancel(12345);
  }
}

TROUPE_TEST_WITH(tool_fixture, "cancelling before the program runs is answered as well") {
  for (const bool sandbox : both) {
    const auto runner = make(shell("sleep 1000", sandbox));
    auto call = start(*runner);
    runner->cancel(call.id);
    CHECK(call.get().status == tool_status::cancelled);
  }
}

TROUPE_TEST_WITH(tool_fixture, "a runner that is destroyed ends its calls, and each is answered") {
  for (const bool sandbox : both) {
    const auto mark = marker();
    auto runner = make(shell("sleep " + mark, sandbox));
    auto first = start(*runner), second = start(*runner);
    runner.reset();
    CHECK(first.get().status == tool_status::cancelled);
    CHECK(second.get().status == tool_status::cancelled);
    CHECK_EQ(processes_with(mark), 0u);
  }
}

TROUPE_TEST("a loop that is destroyed ends all calls, without their grace") {
  for (const bool sandbox : both) {
    temporary_folder folder;
    tools::worker_pool workers;
    auto loop = std::make_unique<tools::io_loop>();
    tools::environment shared{*loop, workers, nullptr, folder.path, {}, {}, {}, 20s, process_counting::automatic};
    tool_spec spec;
    spec.kind = tool_kind::process;
    const auto mark = marker();
    spec.command = {"sh", "-c", "trap '' TERM; echo > ready; sleep " + mark};
    spec.sandbox.enabled = sandbox;
    spec.sandbox.write = {folder.path};
    auto runner = std::move(*tools::make_process_runner(spec, shared));
    auto call = start(*runner);
    await_file(folder.path + "/ready");
    const auto began = std::chrono::steady_clock::now();
    loop.reset();
    CHECK(std::chrono::steady_clock::now() - began < 10s);
    CHECK(call.get().status == tool_status::cancelled);
    CHECK_EQ(processes_with(mark), 0u);
    static auto& left =
        *new std::vector<tools::runner*>; // its loop is gone: the environment must outlive it, which this test breaks on purpose
    left.push_back(runner.release());
  }
}

TROUPE_TEST_WITH(tool_fixture, "many calls at once do not mix, and leave no zombie and no descriptor") {
  for (const bool sandbox : both) {
    const auto runner = make(process_spec({"echo", "{{ n }}"}, sandbox));
    start(*runner, {{"n", 0}}).get(); // what is opened once is open now
    const auto before = open_descriptors();
    for (int round = 0; round < 3; ++round) {
      std::vector<pending_call> calls;
      for (int n = 0; n < 20; ++n)
        calls.push_back(start(*runner, {{"n", round * 20 + n}}));
      for (int n = 0; n < 20; ++n)
        CHECK_EQ(calls[static_cast<std::size_t>(n)].get().output, std::to_string(round * 20 + n) + "\n");
    }
    CHECK_EQ(open_descriptors(), before);
    CHECK(nobody_left());
  }
}
