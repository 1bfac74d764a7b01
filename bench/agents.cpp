// Idle agents, each with its supervisor and its place in a pool, in a running runtime with a journal.
//
//   bench_agents COUNT JOURNAL          pools of up to 10,000, each below a supervisor of its own
//
// Prints: seconds until all of them are up, bytes of resident memory an agent, seconds to stop them in order. One run at the end shows
// that they work.

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include <unistd.h>

#include "troupe/actors/quiet_scheduler.hpp"
#include "troupe/actors/runtime.hpp"
#include "troupe/config/load.hpp"
#include "troupe/store/sqlite.hpp"

namespace {

using namespace troupe;
using clock_type = std::chrono::steady_clock;

constexpr int pool_size_max = 10'000; // as the configuration allows

std::string config_text(int count) {
  std::string agents, tree;
  for (int i = 0; i * pool_size_max < count; ++i) {
    const auto name = "worker" + std::to_string(i);
    agents += "  " + name + ": { model: m, system: You work. }\n";
    tree += "    - supervisor: { name: team" + std::to_string(i) + ", strategy: one_for_one, children: [ { pool: " + name
            + ", size: " + std::to_string(std::min(pool_size_max, count - i * pool_size_max)) + " } ] }\n";
  }
  return "version: 1\n"
         "providers:\n  rehearsal: { kind: scripted, script: answers.yaml }\n"
         "models:\n  m: { chain: [ { provider: rehearsal, model: any } ] }\n"
         "agents:\n"
         + agents + "supervision:\n  name: root\n  strategy: one_for_one\n  children:\n" + tree
         + "workflows:\n  job:\n    tasks: [ { id: work, agent: worker0, instruction: Say hello. } ]\n";
}

long resident_bytes() {
  std::ifstream file("/proc/self/statm");
  long all = 0, resident = 0;
  file >> all >> resident;
  return resident * ::sysconf(_SC_PAGESIZE);
}

double seconds_since(clock_type::time_point begin) {
  return std::chrono::duration<double>(clock_type::now() - begin).count();
}

template <class Expected>
auto value_or_end(Expected made) {
  if (!made) {
    std::fprintf(stderr, "%s\n", made.error().text().c_str());
    std::exit(1);
  }
  return std::move(*made);
}

std::int64_t idle_members(caf::scoped_actor& self, const actors::runtime& runtime) {
  std::int64_t idle = 0;
  for (const auto& [name, pool] : runtime.pools())
    ask(self, pool->now(), actors::pool_query{})
        .receive([&](const actors::pool_stats& stats) { idle += stats.idle_workers; }, [](const caf::error&) {});
  return idle;
}

} // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: bench_agents COUNT JOURNAL\n");
    return 2;
  }
  const int count = std::atoi(argv[1]);
  const std::string script = std::filesystem::absolute(std::string(argv[2]) + "-answers.yaml").string();
  std::ofstream(script) << "version: 1\nrules: [ { when: { any: true }, reply: { text: Hello } } ]\n";
  auto text = config_text(count);
  text.replace(text.find("answers.yaml"), 12, script);
  config::file_access files;
  files.read = [&](const std::string&, std::size_t) -> expected<std::string> { return text; };
  files.readable = [](const std::string&) { return true; };
  auto loaded = config::load("/tmp/bench.yaml", config::process_environment(), files);
  if (!loaded.ok()) {
    std::fprintf(stderr, "%s\n", loaded.text().c_str());
    return 1;
  }
  actors::runtime_options options{.journal = value_or_end(store::open_sqlite({.path = argv[2]}))};
  caf::actor_system_config cfg;
  actors::prepare(cfg);
  actors::use_quiet_scheduler(cfg);
  caf::actor_system system{cfg};

  const auto before = resident_bytes();
  const auto begin = clock_type::now();
  auto runtime =
      value_or_end(actors::runtime::start(system, std::make_shared<const configuration>(std::move(*loaded.value)), std::move(options)));
  caf::scoped_actor self{system};
  const auto idle = idle_members(self, *runtime); // the pools have heard of all
  const auto up = seconds_since(begin);
  const auto bytes = static_cast<double>(resident_bytes() - before) / count;
  if (idle != count) {
    std::fprintf(stderr, "%ld of %d agents are idle members of their pools\n", static_cast<long>(idle), count);
    return 1;
  }
  {
    const auto run = value_or_end(runtime->start_run({.workflow = "job"}));
    ask(self, run.orchestrator, actors::start_run{})
        .receive(
            [](const actors::run_ended& end) {
              if (end.status != run_status::completed)
                std::fprintf(stderr, "the run ended as %s\n", end.reason.c_str());
            },
            [](const caf::error& reason) { std::fprintf(stderr, "%s\n", actors::text_of(reason).c_str()); });
    runtime->finish_run(run.run_id);
  }
  const auto stop = clock_type::now();
  runtime.reset();
  std::printf("%.2f %.0f %.2f\n", up, bytes, seconds_since(stop));
}
