// Does anything stay behind when the runtime stops? Starts and stops it again and again in one process, as a program that embeds it may:
// journal, actor system, HTTP and tool threads, a run with an LLM call, a local tool, a sandboxed process where asked for, and another LLM
// call.
//
//   bench_cycles [CYCLES [process]]    1,000 by default
//
// Prints memory, descriptors, threads and children at several moments. Exit status 1: they were not flat from the first tenth on.

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "troupe/actors/quiet_scheduler.hpp"
#include "troupe/actors/runtime.hpp"
#include "troupe/config/load.hpp"
#include "troupe/store/sqlite.hpp"

namespace {

using namespace troupe;
namespace fs = std::filesystem;

constexpr auto config_text = R"(version: 1
providers: { script: { kind: scripted, script: script.yaml } }
models: { m: { chain: [ { provider: script } ] } }
tools:
  clock: { kind: builtin }
  echo: { kind: process, description: echo, effect: none, command: [ echo, hello ] }
agents: { worker: { model: m, tools: [clock, echo] } }
supervision: { children: [ { pool: worker, size: 4 } ] }
workflows:
  job: { tasks: [ { id: work, agent: worker, instruction: Work. } ] }
)";

std::string script_text(bool process) {
  return std::string("version: 1\nrules:\n  - when: { turn: 1 }\n    reply: { tool_calls: [ { name: ") + (process ? "echo" : "clock")
         + ", arguments: {} } ] }\n  - when: { any: true }\n    reply: { text: done }\n";
}

struct held {
  long memory_kb = 0, descriptors = 0, threads = 0, children = 0;
};

long entries(const char* folder) {
  return std::distance(fs::directory_iterator(folder), fs::directory_iterator());
}

held now_held() {
  held out;
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;)
    if (word == "VmRSS:")
      status >> out.memory_kb;
  out.descriptors = entries("/proc/self/fd");
  out.threads = entries("/proc/self/task");
  std::ifstream children("/proc/self/task/" + std::to_string(::getpid()) + "/children");
  for (std::string child; children >> child;)
    ++out.children;
  return out;
}

/// False: the run did not complete.
bool cycle(const std::shared_ptr<const configuration>& config, const std::string& journal_path) {
  auto journal = store::open_sqlite({.path = journal_path});
  if (!journal)
    return std::fprintf(stderr, "%s\n", journal.error().text().c_str()), false;
  caf::actor_system_config cfg;
  actors::prepare(cfg);
  actors::use_quiet_scheduler(cfg);
  caf::actor_system system{cfg};
  auto runtime = actors::runtime::start(system, config, {.journal = std::move(*journal)});
  if (!runtime)
    return std::fprintf(stderr, "%s\n", runtime.error().text().c_str()), false;
  auto run = (*runtime)->start_run({.workflow = "job"});
  if (!run)
    return std::fprintf(stderr, "%s\n", run.error().text().c_str()), false;
  bool completed = false;
  {
    caf::scoped_actor self{system};
    ask(self, run->orchestrator, actors::start_run{})
        .receive(
            [&](const actors::run_ended& end) { completed = end.status == run_status::completed && end.failure.code == error_code::none; },
            [](const caf::error&) {});
  }
  (*runtime)->finish_run(run->run_id);
  return completed;
}

} // namespace

int main(int argc, char** argv) {
  const int cycles = argc > 1 ? std::atoi(argv[1]) : 1'000;
  const bool process = argc > 2;
  const auto folder = fs::temp_directory_path() / ("troupe-cycles-" + std::to_string(::getpid()));
  fs::create_directories(folder);
  std::ofstream(folder / "troupe.yaml") << config_text;
  std::ofstream(folder / "script.yaml") << script_text(process);
  auto loaded = config::load((folder / "troupe.yaml").string());
  if (!loaded.value) {
    std::fprintf(stderr, "%s\n", loaded.text().c_str());
    return 2;
  }
  const auto config = std::make_shared<const configuration>(std::move(*loaded.value));
  const auto began = std::chrono::steady_clock::now();
  held warm, end;
  std::printf("%8s %10s %12s %8s %9s\n", "cycles", "memory kB", "descriptors", "threads", "children");
  int wrong = 0;
  for (int done = 1; done <= cycles; ++done) {
    wrong += cycle(config, (folder / "journal.db").string()) ? 0 : 1;
    const bool shown = done == 1 || done % std::max(1, cycles / 10) == 0;
    if (!shown)
      continue;
    end = now_held();
    std::printf("%8d %10ld %12ld %8ld %9ld\n", done, end.memory_kb, end.descriptors, end.threads, end.children);
    if (done >= cycles / 10 && warm.memory_kb == 0)
      warm = end;
  }
  const auto seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  std::error_code ignored;
  fs::remove_all(folder, ignored);
  // A few kB a cycle would show; an allocator's own play does not, nor a thread that is about to end.
  const bool flat = end.descriptors <= warm.descriptors && end.threads <= warm.threads + 1 && end.children == 0
                    && end.memory_kb - warm.memory_kb <= std::max(4'096L, 2L * cycles);
  std::printf("%d cycles in %.1f s, %d runs did not complete; from the first tenth on %+ld kB: %s\n", cycles, seconds, wrong,
              end.memory_kb - warm.memory_kb, flat ? "flat" : "NOT FLAT");
  return flat && wrong == 0 ? 0 : 1;
}
