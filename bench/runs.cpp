// Whole runs through the whole runtime: LLM call, local tool call, LLM call; with journal, supervision, budgets and events on. Beside
// `bench_bare_loop`, by bench/run_pair.
//
//   bench_runs URL IN_FLIGHT RUNS JOURNAL [SHARDS [THREADS]]    URL as http://127.0.0.1:8089/v1
//
// Prints: runs a second, this process's CPU for a run (µs), peak memory (MB).

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "troupe/actors/quiet_scheduler.hpp"
#include "troupe/actors/runtime.hpp"
#include "troupe/config/load.hpp"
#include "troupe/store/sqlite.hpp"

#include "usage.hpp"

namespace {

using namespace troupe;
using clock_type = std::chrono::steady_clock;

std::string config_text(const std::string& url, int in_flight) {
  return R"(version: 1
providers:
  mock: { kind: openai, base_url: ")"
         + url + R"(", stream: false }
models:
  m: { chain: [ { provider: mock, model: bench, usd_per_mtok: { input: 1, output: 2 }, context: 100000 } ] }
tools:
  calculator: { kind: builtin }
agents:
  worker:
    model: m
    system: You work out what you are asked, with your tools.
    tools: [calculator]
    max_tokens: 512
supervision:
  name: root
  strategy: one_for_one
  children: [ { pool: worker, size: )"
         + std::to_string(in_flight) + R"( } ]
workflows:
  job:
    budget: { usd: 5.00, time: 5m, steps: 50 }
    tasks:
      - { id: work, agent: worker, instruction: "What is 6 times 7, and why?" }
    result: "{{ tasks.work.output }}"
)";
}

/// Keeps so many runs going. Detached: what the runtime's methods do may block.
struct load_state {
  explicit load_state(caf::event_based_actor*) {}
  int started = 0, ended = 0;
};

/// `wrong`: how many did not complete.
caf::behavior load(caf::stateful_actor<load_state>* self, actors::runtime* runtime, int in_flight, int runs, std::atomic<int>* wrong) {
  actors::install_handlers(self);
  const auto next = [self, runtime, runs, wrong](const auto& again) -> void {
    auto& state = actors::state_of(self);
    if (state.started == runs)
      return;
    ++state.started;
    auto run = runtime->start_run({.workflow = "job"});
    if (!run) {
      std::fprintf(stderr, "%s\n", run.error().text().c_str());
      std::exit(1);
    }
    actors::ask(self, run->orchestrator, actors::start_run{})
        .then(
            [self, runtime, runs, wrong, id = run->run_id, again](const actors::run_ended& end) {
              runtime->finish_run(id);
              *wrong += end.status == run_status::completed && end.failure.code == error_code::none ? 0 : 1;
              if (++actors::state_of(self).ended == runs)
                self->quit();
              else
                again(again);
            },
            [](const caf::error& reason) {
              std::fprintf(stderr, "%s\n", actors::text_of(reason).c_str());
              std::exit(1);
            });
  };
  for (int i = 0; i < in_flight; ++i)
    next(next);
  return {[](const actors::start_tree&) {}};
}

} // namespace

int main(int argc, char** argv) {
  if (argc < 5) {
    std::fprintf(stderr, "usage: bench_runs URL IN_FLIGHT RUNS JOURNAL [SHARDS [THREADS]]\n");
    return 2;
  }
  const int in_flight = std::atoi(argv[2]), runs = std::atoi(argv[3]);
  const auto text = config_text(argv[1], in_flight);
  config::file_access files;
  files.read = [&](const std::string&, std::size_t) -> expected<std::string> { return text; };
  files.readable = [](const std::string&) { return true; };
  auto loaded = config::load("/tmp/bench.yaml", config::process_environment(), files);
  if (!loaded.ok()) {
    std::fprintf(stderr, "%s\n", loaded.text().c_str());
    return 1;
  }
  auto journal = store::open_sqlite({.path = argv[4]});
  if (!journal) {
    std::fprintf(stderr, "%s\n", journal.error().text().c_str());
    return 1;
  }
  caf::actor_system_config cfg;
  actors::prepare(cfg);
  actors::use_quiet_scheduler(cfg, argc > 6 ? std::strtoull(argv[6], nullptr, 10) : 0);
  caf::actor_system system{cfg};
  actors::runtime_options options{.journal = std::move(*journal)};
  if (argc > 5)
    options.http_shards = static_cast<std::size_t>(std::atoi(argv[5]));
  auto runtime = actors::runtime::start(system, std::make_shared<const configuration>(std::move(*loaded.value)), std::move(options));
  if (!runtime) {
    std::fprintf(stderr, "%s\n", runtime.error().text().c_str());
    return 1;
  }
  const auto start = clock_type::now();
  const auto cpu = bench::cpu_seconds();
  std::atomic<int> wrong{0};
  {
    caf::scoped_actor self{system};
    const auto driver = system.spawn<caf::detached>(load, runtime->get(), in_flight, runs, &wrong);
    self->wait_for(driver);
  }
  if (wrong != 0) {
    std::fprintf(stderr, "%d runs did not complete: what was measured is not what was meant\n", wrong.load());
    return 1;
  }
  const auto wall = std::chrono::duration<double>(clock_type::now() - start).count();
  std::printf("%.0f %.1f %.1f\n", runs / wall, (bench::cpu_seconds() - cpu) * 1e6 / runs, bench::peak_memory_mb());
}
