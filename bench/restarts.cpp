// Crash, restart, next message handled: real agents below a real supervisor, members of a real pool, over and over.
//
//   bench_restarts AGENTS RESTARTS [AT_ONCE]          AT_ONCE agents are in a crash at any time (all of them by default)
//
// An agent ends by an error, its supervisor counts that against its restart intensity, waits the back-off and starts the next
// incarnation, which joins the pool; the next message is a task for just that agent, and its answer ends the round. The intensity is set
// so high that it is never reached; with it the back-off is next to nothing. Reports of the supervisor are not written.
// Prints: rounds a second, this process's CPU a round (µs), peak memory (MB).

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <vector>

#include <spdlog/spdlog.h>

#include "troupe/actors/agent.hpp"
#include "troupe/actors/agent_pool.hpp"
#include "troupe/actors/journal.hpp"
#include "troupe/actors/llm_gateway.hpp"
#include "troupe/actors/quiet_scheduler.hpp"
#include "troupe/actors/runtime.hpp"
#include "troupe/actors/supervisor.hpp"
#include "troupe/store/memory.hpp"
#include "troupe/util/clock.hpp"

#include "usage.hpp"

namespace {

using namespace troupe;
using namespace troupe::actors;
using clock_type = std::chrono::steady_clock;

struct driver_state {
  explicit driver_state(caf::event_based_actor*) {}
  static inline const char* name = "driver";
  int joined = 0, answered = 0;
  std::vector<agent_actor> first;
  clock_type::time_point begin;
  double cpu = 0;
};

using driver_self = caf::stateful_actor<driver_state>*;

/// Crashes those that have joined, gives each new incarnation a task, and ends after so many answers.
caf::behavior drive(driver_self self, int agents, int restarts, int at_once, run_ptr run) {
  install_handlers(self);
  const auto crash = [self](const agent_actor& which) { self->send_exit(which, crash_error("it is ended by the benchmark")); };
  return {[=](const member_joined& joined) {
    auto& state = state_of(self);
    if (++state.joined <= agents) {
      state.first.push_back(joined.handle);
      if (state.joined < agents)
        return;
      state.begin = clock_type::now();
      state.cpu = bench::cpu_seconds();
      for (int i = 0; i < at_once; ++i)
        crash(state.first[static_cast<std::size_t>(i)]);
      return;
    }
    ask(self, joined.handle, task_assignment{.run = run, .task = "work", .agent = "nobody"})
        .then([=, handle = joined.handle](const task_result&) {
          auto& now = state_of(self);
          if (++now.answered < restarts) {
            crash(handle);
            return;
          }
          if (now.answered > restarts)
            return;
          const auto wall = std::chrono::duration<double>(clock_type::now() - now.begin).count();
          std::printf("%.0f %.1f %.1f\n", restarts / wall, (bench::cpu_seconds() - now.cpu) * 1e6 / restarts, bench::peak_memory_mb());
          self->quit();
        });
  }};
}

} // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: bench_restarts AGENTS RESTARTS [AT_ONCE]\n");
    return 2;
  }
  const int agents = std::atoi(argv[1]), restarts = std::atoi(argv[2]);
  const int at_once = argc > 3 ? std::min(std::atoi(argv[3]), agents) : agents;
  spdlog::set_level(spdlog::level::off);
  caf::actor_system_config cfg;
  prepare(cfg);
  use_quiet_scheduler(cfg, 2);
  caf::actor_system system{cfg};
  {
    caf::scoped_actor self{system};
    auto run = std::make_shared<run_context>();
    run->run_id = "bench";
    run->config = std::make_shared<const configuration>();
    const auto driver = system.spawn(drive, agents, restarts, at_once, run);

    const auto journal = spawn_journal(system, store::open_memory(), utc_now_us);
    const auto gateway = std::make_shared<service<llm_gateway_actor>>(spawn_llm_gateway(system, journal, {}, 1));
    const auto peers = std::make_shared<const agent_peers>(agent_peers{journal, gateway, {}, std::make_shared<const toolset>()});
    child_spec pool;
    pool.id = "worker";
    pool.kind = child_kind::pool;
    pool.size = agents;
    supervisor_spec spec;
    spec.name = "root";
    spec.max_restarts = 100'000'000;
    spec.children.push_back(pool);
    auto setup = std::make_shared<tree_setup>();
    setup->make_agent = [&system, peers, driver](const std::string&, const std::string& member, const supervisor_actor& supervisor) {
      auto made = spawn_agent(system, member, supervisor, peers);
      tell_from_outside(driver, member_joined{member, made, {}, 0, {}});
      return made;
    };
    setup->pools.emplace(
        "worker", std::make_shared<service<agent_pool_actor>>(spawn_agent_pool(system, "worker", members_of(spec).at("worker"), peers, 3)));
    setup->seed = 1;
    const auto root = spawn_supervisor(system, spec, setup);
    ask(self, root, start_tree{})
        .receive([](const tree_started& started) { std::fputs(started.failure.c_str(), stderr); },
                 [](const caf::error& reason) { std::fprintf(stderr, "%s\n", text_of(reason).c_str()); });
    self->wait_for(driver);
    self->monitor(root);
    self->send_exit(root, caf::exit_reason::user_shutdown);
    self->receive([](const caf::down_msg&) {});
    for (const auto& each : {caf::actor_cast<caf::actor>(setup->pools.at("worker")->now()), caf::actor_cast<caf::actor>(gateway->now()),
                             caf::actor_cast<caf::actor>(journal)})
      self->send_exit(each, caf::exit_reason::user_shutdown);
  }
}
