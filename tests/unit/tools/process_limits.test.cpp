// Limits, and what a sandbox keeps from a tool: each with a tool that tries.
#include "test.hpp"

#include "fixture.hpp"

TROUPE_SUITE(tools_limits)

using namespace troupe;
using namespace troupe::tools::test;
using troupe::tools::process_counting;

namespace {

constexpr bool both[] = {true, false};

/// Forks until it is refused or killed; every child forks on too. Answers through what it prints how many it got.
const char* const fork_bomb = "import os, sys, time\n"
                              "n = 0\n"
                              "while True:\n"
                              "  try:\n"
                              "    if os.fork() == 0:\n"
                              "      time.sleep(float(sys.argv[1])); os._exit(0)\n"
                              "    n += 1\n"
                              "  except OSError:\n"
                              "    print('refused at', n); sys.stdout.flush(); os._exit(7)\n"
                              "  if n > 20000: print('unbounded'); os._exit(8)\n";

} // namespace

TROUPE_TEST_WITH(tool_fixture, "a fork bomb gets no further than its limit, as root and as a plain user, and nobody is left") {
  for (const bool sandbox : both) {
    for (const auto counting : {process_counting::automatic, process_counting::watch}) {
      shared.counting = counting;
      const auto mark = "87" + std::to_string(::getpid()) + "." + std::to_string(2 * sandbox + static_cast<int>(counting));
      auto spec = process_spec({"python3", "-c", fork_bomb, mark}, sandbox);
      spec.limits.processes = 20;
      const auto outcome = run(spec);
      CHECK(outcome.status == tool_status::failed);
      CHECK(outcome.output.find("unbounded") == std::string::npos);
      if (outcome.exit_status == 7) // refused by the kernel: exactly there
        CHECK_EQ(outcome.output, "refused at 19\n");
      else
        CHECK(outcome.error.find("more than its 20 processes") != std::string::npos);
      CHECK_EQ(processes_with(mark), 0u);
    }
  }
}

TROUPE_TEST_WITH(tool_fixture, "a fork bomb whose parents die at once is ended too") {
  for (const bool sandbox : both) {
    for (const auto counting : {process_counting::automatic, process_counting::watch}) {
      shared.counting = counting;
      auto spec = process_spec({"bash", "-c", "bomb() { bomb | bomb & }; bomb; sleep 1000 # 88" + std::to_string(::getpid())}, sandbox);
      spec.limits.processes = 30;
      const auto outcome = run(spec, {}, 1s);
      CHECK(outcome.status != tool_status::ok);
      CHECK_EQ(processes_with("# 88" + std::to_string(::getpid())), 0u);
    }
  }
  CHECK(nobody_left());
}

TROUPE_TEST_WITH(tool_fixture, "threads count as the kernel counts them") {
  auto spec = python("import threading, time\n"
                     "for i in range(100): threading.Thread(target=time.sleep, args=(5,), daemon=True).start()\n"
                     "print('unbounded')");
  spec.limits.processes = 20;
  const auto outcome = run(spec);
  CHECK_EQ(outcome.output, "");
  CHECK(outcome.status == tool_status::failed);
}

TROUPE_TEST_WITH(tool_fixture, "memory beyond the limit is not given") {
  for (const bool sandbox : both) {
    auto spec = python("try:\n  b = bytearray(600 << 20); print('got it')\nexcept MemoryError:\n  print('refused')", sandbox);
    spec.limits.memory_bytes = 256 << 20;
    CHECK_EQ(run(spec).output, "refused\n");
    spec.limits.memory_bytes = 1 << 30;
    CHECK_EQ(run(spec).output, "got it\n");
  }
}

TROUPE_TEST_WITH(tool_fixture, "the sandbox's /tmp is the call's own, and bounded, since it is memory") {
  const auto trace = "/tmp/troupe-test-" + std::to_string(::getpid());
  auto spec = shell("ls /tmp | wc -l; head -c 20000000 /dev/zero > /tmp/a && echo whole; ls -l /tmp/a > " + trace
                    + "; head -c 20000000 /dev/zero > /dev/shm/a && echo whole");
  spec.limits.memory_bytes = 16 << 20;
  folder.write("x", "");
  const auto outcome = run(spec);
  CHECK_EQ(outcome.output, "1\n"); // the way to the configuration's folder
  CHECK(!fs::exists(trace));
}

TROUPE_TEST_WITH(tool_fixture, "nowhere else does the sandbox take anything: what it is built of is memory too") {
  const auto outcome =
      run(shell("for place in $(find / -xdev -type d) $(find /dev /etc /usr -maxdepth 1 -type d) /proc /dev/pts " + folder.path
                + "; do case $place in /tmp|/dev/shm) ;; *) touch $place/a && echo taken by $place;; esac; done 2> /dev/null;"
                  " touch /tmp/a /dev/shm/a && echo x > /dev/null; echo $?"));
  CHECK_EQ(outcome.error, "");
  CHECK_EQ(outcome.output, "0\n");
}

TROUPE_TEST_WITH(tool_fixture, "CPU time beyond the limit ends a program, whatever it does with SIGXCPU") {
  for (const bool sandbox : both) {
    auto spec = process_spec({"sh", "-c", "while :; do :; done"}, sandbox);
    spec.limits.cpu_seconds = 1;
    auto outcome = run(spec);
    CHECK(outcome.status == tool_status::failed);
    CHECK(outcome.error.find("more than 1 s of CPU") != std::string::npos);
  }
  auto spec = python("import signal\nsignal.signal(signal.SIGXCPU, signal.SIG_IGN)\nwhile True: pass", false);
  spec.limits.cpu_seconds = 1;
  CHECK_EQ(run(spec).exit_status, 128 + 9);
}

TROUPE_TEST_WITH(tool_fixture, "no core is written") {
  for (const bool sandbox : both)
    CHECK_EQ(run(shell("ulimit -Hc", sandbox)).output, "0\n");
}

TROUPE_TEST_WITH(tool_fixture, "the sandbox has no network but its own loopback, unless allowed") {
  auto spec = python("print(sorted(l.split(':')[0].strip() for l in open('/proc/net/dev').readlines()[2:]))");
  CHECK_EQ(run(spec).output, "['lo']\n");
  spec.sandbox.network = true;
  std::vector<std::string> devices;
  std::ifstream in("/proc/net/dev");
  std::string line;
  for (int n = 0; std::getline(in, line); ++n)
    if (n >= 2)
      devices.push_back("'" + line.substr(line.find_first_not_of(' '), line.find(':') - line.find_first_not_of(' ')) + "'");
  std::sort(devices.begin(), devices.end());
  std::string all;
  for (const auto& each : devices)
    all += (all.empty() ? "" : ", ") + each;
  CHECK_EQ(run(spec).output, "[" + all + "]\n");
}

TROUPE_TEST_WITH(tool_fixture, "the sandbox shows its own processes only, and no environment but the tool's") {
  ::setenv("TROUPE_TEST_OTHER", "other", 1);
  const auto outcome = run(python("import os\n"
                                  "pids = [p for p in os.listdir('/proc') if p.isdigit()]\n"
                                  "print(len(pids))\n"
                                  "for p in pids: print(b'TROUPE_TEST_OTHER' in open(f'/proc/{p}/environ', 'rb').read())"));
  CHECK_EQ(outcome.output, "2\nFalse\nFalse\n");
}

TROUPE_TEST_WITH(tool_fixture, "the sandbox shows the configuration's folder read-only, and none of the other folders") {
  folder.write("data.txt", "hello");
  temporary_folder other;
  other.write("secret", "s");
  CHECK_EQ(run(shell("cat data.txt; echo > data.txt; echo > new; ls " + other.path
                     + " /root /home /var /etc/shadow /sys /run; touch /usr/x; exit 0"))
               .output,
           "hello");
  CHECK_EQ(folder.read("data.txt"), "hello");
  CHECK(!folder.has("new"));
}

TROUPE_TEST_WITH(tool_fixture, "sandbox.read and sandbox.write add folders") {
  temporary_folder input, output;
  input.write("a", "in");
  auto spec = shell("cat {{ in }}/a; echo new > {{ out }}/b; echo new > {{ in }}/c; exit 0");
  spec.sandbox.read = {input.path};
  spec.sandbox.write = {output.path};
  CHECK_EQ(run(spec, {{"in", input.path}, {"out", output.path}}).output, "in");
  CHECK_EQ(output.read("b"), "new\n");
  CHECK(!input.has("c"));
  spec.sandbox.write = {output.path + "/missing"};
  const auto outcome = run(spec);
  CHECK(outcome.status == tool_status::not_started);
  CHECK(outcome.error.find("sandbox's write names") != std::string::npos);
}

TROUPE_TEST_WITH(tool_fixture, "a folder below the configuration's may be writable while the rest is not") {
  fs::create_directories(folder.path + "/out");
  auto spec = shell("echo x > out/a; echo x > b; exit 0");
  spec.sandbox.write = {folder.path + "/out"};
  run(spec);
  CHECK(folder.has("out/a"));
  CHECK(!folder.has("b"));
}

TROUPE_TEST_WITH(tool_fixture, "the journal is hidden, under every name that leads to it, also where the tool may write") {
  folder.write(".troupe/journal.db", "JOURNAL");
  folder.write("flat.db", "JOURNAL");
  folder.write("flat.db-wal", "JOURNAL");
  fs::create_directory_symlink(folder.path, folder.path + "-link");
  shared.hidden = {folder.path + "/.troupe", folder.path + "/flat.db", folder.path + "/flat.db-wal", folder.path + "/flat.db-shm",
                   folder.path + "/.troupe/journal.db"};
  auto spec = shell("cat .troupe/* flat.db flat.db-wal {{ link }}/.troupe/* {{ link }}/flat.db; echo gone > flat.db; rm -rf .troupe "
                    "flat.db; mv .troupe t; find .troupe t -mindepth 1; exit 0");
  spec.sandbox.read = {folder.path + "-link"};
  spec.sandbox.write = {folder.path};
  const auto outcome = run(spec, {{"link", folder.path + "-link"}});
  CHECK_EQ(outcome.output, "");
  CHECK_EQ(folder.read(".troupe/journal.db"), "JOURNAL");
  CHECK_EQ(folder.read("flat.db"), "JOURNAL");
  fs::remove(folder.path + "-link");
}

TROUPE_TEST_WITH(tool_fixture, "a sandbox that would show the journal's inside or everything is refused") {
  folder.write(".troupe/journal.db", "JOURNAL");
  shared.hidden = {folder.path + "/.troupe"};
  auto spec = shell("true");
  spec.sandbox.read = {folder.path + "/.troupe/journal.db"};
  CHECK(run(spec).status == tool_status::not_started);
  spec.sandbox.read = {"/"};
  CHECK(run(spec).status == tool_status::not_started);
}

TROUPE_TEST_WITH(tool_fixture, "a sandboxed program has no capability and gains none") {
  const auto outcome = run(shell("grep -E 'Cap(Prm|Eff|Inh|Amb)|NoNewPrivs' /proc/self/status | tr -s '\\t ' ' '"));
  CHECK_EQ(outcome.output,
           "CapInh: 0000000000000000\nCapPrm: 0000000000000000\nCapEff: 0000000000000000\nCapAmb: 0000000000000000\nNoNewPrivs: 1\n");
}

TROUPE_TEST_WITH(tool_fixture, "without a sandbox a tool that kills its reaper still is answered") {
  const auto outcome = run(shell("kill -9 $PPID; sleep 1000", false), {}, 20s);
  CHECK(outcome.status == tool_status::failed);
  CHECK(outcome.error.find("killed") != std::string::npos);
}

TROUPE_TEST_WITH(tool_fixture, "without a sandbox a tool that stops its reaper ends at its timeout all the same") {
  const auto mark = "89" + std::to_string(::getpid());
  CHECK(run(shell("kill -STOP $PPID; sleep " + mark, false), {}, 200ms).status == tool_status::timed_out);
  CHECK_EQ(processes_with(mark), 0u);
}

TROUPE_TEST_WITH(tool_fixture, "without a sandbox a tool that kills or stops the process that forks for us keeps nobody from starting") {
  for (const char* signal : {"KILL", "STOP"}) {
    // It says so once the other one is dead, or stands: what it was sent in its last moment would be lost.
    const auto strike = std::string("other=$(cut -d' ' -f4 /proc/$PPID/stat); kill -") + signal
                        + " $other; until grep -q ') [ZT]' /proc/$other/stat; do :; done; echo done";
    CHECK_EQ(run(shell(strike, false)).output, "done\n");
    for (const bool sandbox : {false, true})
      CHECK_EQ(run(shell("echo still", sandbox)).output, "still\n");
  }
}
