#pragma once
// Troupe inside a program: one call puts a configuration's supervision tree into an actor system, another starts a run.
//
//   caf::actor_system_config cfg;
//   troupe::actors::prepare(cfg);                        // message types
//   caf::actor_system system{cfg};
//   auto runtime = troupe::actors::runtime::start(system, config, {.journal = journal});
//   auto run = (*runtime)->start_run({.workflow = "report", .input = {{"topic", "CAF"}}});
//   // ask(self, run->orchestrator, start_run{}) answers `run_ended`

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "troupe/actors/agent.hpp"
#include "troupe/actors/checkpoint.hpp"
#include "troupe/actors/context.hpp"
#include "troupe/actors/interfaces.hpp"
#include "troupe/actors/llm_gateway.hpp"
#include "troupe/actors/tool_host.hpp"
#include "troupe/store/journal.hpp"

namespace troupe::policy {
struct graph_plan;
}

namespace troupe::actors {

/// Registers the message types; before the actor system is made.
void prepare(caf::actor_system_config& config);

/// What stands in for the world outside and for threads, so that a whole company can run under virtual time. Empty members: the real thing.
struct stand_ins {
  std::function<expected<std::shared_ptr<llm::provider>>(const provider_spec&)> make_provider;
  std::function<expected<std::unique_ptr<tools::runner>>(const tool_spec&)> make_runner;
  /// Lets the actors do what they can do now; called where the runtime waits for them. For a scheduler that has no threads of its own.
  std::function<void()> run_actors;
};

struct runtime_options {
  std::shared_ptr<store::journal> journal;  ///< required; the runtime keeps it alive
  std::uint64_t seed = 0;                   ///< of jitter; 0: taken from the system
  std::function<std::int64_t()> utc_now_us; ///< empty: the wall clock
  std::size_t http_shards = 4;              ///< threads of the HTTP client
  stand_ins instead;
};

/// What a run is asked for with.
struct run_order {
  std::string run_id; ///< unique; empty: a ULID is made
  std::string workflow;
  std::string tenant = "default";
  json input = json::object();
  bool approve_all = false; ///< `--yes`
};

/// More for a run that is resumed (`--add-usd` and its like).
struct run_additions {
  usd money;
  std::int64_t steps = 0;
  milliseconds time{0};
  bool approve_all = false; ///< `--yes`
};

struct started_run {
  std::string run_id;
  orchestrator_actor orchestrator; ///< begins when it is asked `start_run{}`
  budget_guard_actor guard;        ///< of the run: tells what is spent and held
};

/// A running configuration. Made and destroyed outside of actors; its methods may be called from any one thread.
class runtime {
public:
  /// Reads keys, scripts and tools, and starts the tree. Everything that is wrong at once, a line each.
  static expected<std::unique_ptr<runtime>> start(caf::actor_system& system, std::shared_ptr<const configuration> config,
                                                  runtime_options options);
  /// Stops the tree in order, ends transfers and tool processes, and waits for both.
  ~runtime();
  runtime(const runtime&) = delete;
  runtime& operator=(const runtime&) = delete;

  /// Takes ownership of a new run, and of its tenant where that one has limits. Errors: `not_found` (workflow or tenant, with the nearest
  /// name), `invalid_argument` (input, with every violation; run id; tenant), `conflict` (the id exists, or is owned; another process
  /// counts for the tenant), what the journal says: also of the tenant's other runs, since what cannot be read was spent all the same.
  expected<started_run> start_run(run_order order);
  /// Goes on with a run that has not ended, under the configuration that it was started with (the caller has made this runtime with it).
  /// `conflict`: another process has it, or counts for its tenant. `invalid_argument`: it has ended.
  expected<started_run> resume_run(const std::string& run_id, const run_additions& more);
  /// Gives the run's ownership back, and with its last run the tenant's; after its orchestrator has answered.
  void finish_run(const std::string& run_id);

  const journal_actor& journal() const { return journal_; }
  const metrics_collector_actor& metrics() const { return metrics_; }
  const supervisor_actor& root() const { return root_; }
  const pool_services& pools() const { return pools_; }
  const configuration& config() const { return *config_; }

private:
  struct clients; // HTTP, tool processes, worker threads: what outlives the actors that use them
  runtime(caf::actor_system& system, std::shared_ptr<const configuration> config, runtime_options options);
  clients& own_clients();
  expected<std::shared_ptr<llm::provider>> make_provider(const provider_spec& spec);
  expected<tools::prepared_tool> make_tool(const tool_spec& spec);
  expected<void> open_mcp_servers();
  expected<void> make_clients(providers& made);
  void run_actors() const;
  expected<void> start_actors(providers made);
  expected<void> enter_tenant(const std::string& tenant, const std::string& run_id);
  void leave_tenant(const std::string& run_id);
  started_run launch(const std::string& run_id, const std::string& tenant, const std::string& workflow, struct launch_plan plan);

  caf::actor_system& system_;
  std::shared_ptr<const configuration> config_;
  runtime_options options_;
  std::unique_ptr<clients> clients_;
  toolset_ptr tools_;
  std::shared_ptr<const agent_peers> peers_;
  std::map<std::string, std::shared_ptr<tools::prepared_tool>> checks_; ///< by agent: its contract's command
  journal_actor journal_;
  metrics_collector_actor metrics_;
  gateway_service gateway_;
  checkpoint_service checkpoint_;
  supervisor_actor root_;
  caf::actor keeper_; ///< held: an actor that nobody holds ends
  pool_services pools_;
  std::shared_ptr<made_once<policy::graph_plan>> plans_; ///< by workflow
  std::shared_ptr<class orchestrators_at_work> at_work_;
  /// One that has limits, while this process counts for it.
  struct counted_tenant {
    budget_guard_actor guard;
    clock_point until = clock_point::max(); ///< when its time is over
    std::set<std::string> runs;             ///< that go on here
  };
  std::map<std::string, counted_tenant> tenants_;
  std::optional<budget_guard_actor> process_guard_;
  clock_point process_until_ = clock_point::max();
};

} // namespace troupe::actors
