#include "troupe/actors/runtime.hpp"

#include <filesystem>
#include <random>
#include <set>
#include <thread>

#include <spdlog/spdlog.h>

#include "troupe/actors/agent_pool.hpp"
#include "troupe/actors/budget_guard.hpp"
#include "troupe/actors/journal.hpp"
#include "troupe/actors/metrics_collector.hpp"
#include "troupe/actors/orchestrator.hpp"
#include "troupe/actors/supervisor.hpp"
#include "troupe/llm/http_client.hpp"
#include "troupe/llm/provider_factory.hpp"
#include "troupe/policy/budget_scope.hpp"
#include "troupe/policy/supervision.hpp"
#include "troupe/policy/task_graph.hpp"
#include "troupe/tools/environment.hpp"
#include "troupe/tools/io_loop.hpp"
#include "troupe/tools/mcp_host.hpp"
#include "troupe/tools/worker_pool.hpp"
#include "troupe/util/clock.hpp"
#include "troupe/util/redact.hpp"

namespace troupe::actors {

struct runtime::clients {
  llm::http_client http;
  tools::io_loop loop;
  tools::worker_pool workers;
  tools::environment environment;
  tools::mcp_servers mcp;

  clients(std::size_t shards, const configuration& config)
      : http(llm::http_client_options{.shards = shards}), environment{.loop = loop, .workers = workers},
        mcp(environment, tools::mcp_state_folder(config)) {
    environment.http = &http;
    environment.mcp = &mcp;
    environment.folder = config.folder;
    if (!config.journal.path.empty()) {
      // Our own folder is hidden whole: as a mount point it cannot be renamed away either. Another folder may hold what tools need.
      if (const auto parent = std::filesystem::path(config.journal.path).parent_path(); parent.filename() == ".troupe")
        environment.hidden.push_back(parent.string());
      for (const auto* suffix : {"", "-wal", "-shm", "-lock"})
        environment.hidden.push_back(config.journal.path + suffix);
    }
    for (const auto& path :
         {tools::mcp_pins_path(tools::mcp_state_folder(config)), tools::mcp_tokens_path(tools::mcp_state_folder(config))})
      for (const auto* suffix : {"", ".new", ".lock"})
        environment.hidden.push_back(path + suffix);
    environment.secret = [](const std::string& name) -> std::optional<std::string> {
      auto value = take_secret(name);
      return value ? std::optional(*value) : std::nullopt;
    };
  }
};

namespace {

/// Tools that some agent can call, directly or as an alternative.
std::set<std::string> tools_in_use(const configuration& config) {
  std::set<std::string> used;
  std::vector<std::string> open;
  for (const auto& [name, agent] : config.agents)
    open.insert(open.end(), agent.tools.begin(), agent.tools.end());
  while (!open.empty()) {
    const auto name = open.back();
    open.pop_back();
    const auto tool = config.tools.find(name);
    if (tool != config.tools.end() && used.insert(name).second && !tool->second.alternative.empty())
      open.push_back(tool->second.alternative);
  }
  return used;
}

/// Providers that some agent's model can reach: keys of others are not asked for.
std::set<std::string> providers_in_use(const configuration& config) {
  std::set<std::string> used;
  for (const auto& [name, agent] : config.agents)
    if (const auto model = config.models.find(agent.model); model != config.models.end())
      for (const auto& link : model->second.chain)
        used.insert(link.provider);
  return used;
}

/// A contract's command, as the process tool that it is: it reads the answer on its standard input.
tool_spec contract_check(const agent_spec& agent) {
  tool_spec made;
  made.name = "contract of " + agent.name;
  made.kind = tool_kind::process;
  made.description = "Looks at an answer.";
  made.parameters = {{"type", "object"}, {"properties", {{"text", {{"type", "string"}}}}}, {"required", {"text"}}};
  made.command = agent.output->command;
  made.stdin_template = "{{ text }}";
  made.effect = effect::none;
  made.retries = 0;
  return made;
}

/// For runs that go on when their runtime ends: longer than a tool that does not care for SIGTERM is given.
constexpr milliseconds suspend_patience{10'000};

} // namespace

void prepare(caf::actor_system_config& config) {
  add_messages<caf::id_block::troupe>(config);
}

runtime::runtime(caf::actor_system& system, std::shared_ptr<const configuration> config, runtime_options options)
    : system_(system), config_(std::move(config)), options_(std::move(options)), at_work_(std::make_shared<orchestrators_at_work>()) {
  if (options_.seed == 0)
    options_.seed = std::random_device{}();
  if (!options_.utc_now_us)
    options_.utc_now_us = utc_now_us;
}

/// Made when something needs them: they have threads.
runtime::clients& runtime::own_clients() {
  if (!clients_)
    clients_ = std::make_unique<clients>(options_.http_shards, *config_);
  return *clients_;
}

expected<std::shared_ptr<llm::provider>> runtime::make_provider(const provider_spec& spec) {
  if (options_.instead.make_provider)
    return options_.instead.make_provider(spec);
  auto key = llm::read_api_key(spec);
  if (!key)
    return tl::unexpected(key.error());
  auto made = llm::make_provider(spec, own_clients().http, *key);
  if (!made)
    return fail(made.error().code, made.error().text(), "provider \"" + spec.name + "\"");
  return std::move(*made);
}

expected<tools::prepared_tool> runtime::make_tool(const tool_spec& spec) {
  if (!options_.instead.make_runner) {
    // The folder that a tool may write to is made: nothing in it is needed before.
    if (std::error_code ignored; spec.builtin == "write_file" && !spec.root.empty())
      std::filesystem::create_directories(spec.root, ignored);
    return tools::prepare(spec, own_clients().environment);
  }
  auto runner = options_.instead.make_runner(spec);
  if (!runner)
    return tl::unexpected(runner.error());
  return tools::prepare(spec, std::move(*runner));
}

/// MCP servers say only now what tools they have: the configuration that the runtime works with names these.
expected<void> runtime::open_mcp_servers() {
  const auto used = tools::mcp_servers_in_use(*config_);
  if (used.empty() || options_.instead.make_runner)
    return {};
  std::vector<tool_spec> entries;
  entries.reserve(used.size());
  for (const auto& name : used)
    entries.push_back(config_->tools.at(name));
  const auto offered = own_clients().mcp.open(entries);
  if (!offered)
    return tl::unexpected(offered.error());
  auto expanded = tools::with_mcp_tools(*config_, *offered);
  if (!expanded)
    return tl::unexpected(expanded.error());
  config_ = std::make_shared<const configuration>(std::move(*expanded));
  return {};
}

void runtime::run_actors() const {
  if (options_.instead.run_actors)
    options_.instead.run_actors();
}

expected<void> runtime::make_clients(providers& made) {
  if (auto opened = open_mcp_servers(); !opened)
    return opened;
  std::string problems;
  const auto add = [&](const std::string& problem) { problems += (problems.empty() ? "" : "\n") + problem; };
  for (const auto& name : providers_in_use(*config_)) {
    auto provider = make_provider(config_->providers.at(name));
    if (provider)
      made.emplace(name, std::move(*provider));
    else
      add(provider.error().text());
  }
  auto set = std::make_shared<toolset>();
  for (const auto& name : tools_in_use(*config_)) {
    auto tool = make_tool(config_->tools.at(name));
    if (!tool) {
      add(tool.error().text());
      continue;
    }
    set->specs.emplace(name, tool->spec);
    set->prepared.emplace(name, std::move(*tool));
  }
  tools_ = std::move(set);
  for (const auto& [name, agent] : config_->agents) {
    if (!agent.output || agent.output->command.empty())
      continue;
    auto check = make_tool(contract_check(agent));
    if (check)
      checks_.emplace(name, std::make_shared<tools::prepared_tool>(std::move(*check)));
    else
      add(check.error().text());
  }
  for (const auto& problem : policy::validate(config_->supervision))
    add(problem.text());
  if (!problems.empty())
    return fail(error_code::invalid_argument, problems);
  return {};
}

expected<void> runtime::start_actors(providers made) {
  journal_ = spawn_journal(system_, options_.journal, options_.utc_now_us);
  metrics_ = spawn_metrics_collector(system_);
  tell_from_outside(journal_, subscribe{metrics_, ""});
  const auto make_gateway = [this, made = std::move(made)] { return spawn_llm_gateway(system_, journal_, made, options_.seed); };
  gateway_ = std::make_shared<service<llm_gateway_actor>>(make_gateway());
  checkpoint_ = std::make_shared<service<checkpoint_actor>>(spawn_checkpoint(system_, journal_, options_.journal, options_.utc_now_us));
  // Set anew, decisions are told from the start: the one before took what it knew along.
  const auto make_checkpoint = [this] {
    auto made_anew = spawn_checkpoint(system_, journal_, options_.journal, options_.utc_now_us);
    checkpoint_->replace(made_anew); // before it is told: else the dead one is
    hear_decisions(*options_.journal, checkpoint_);
    return made_anew;
  };
  hear_decisions(*options_.journal, checkpoint_);
  const auto make_gate = [this] { return spawn_tool_gate(system_); };
  const auto gate = std::make_shared<service<tool_gate_actor>>(make_gate());
  auto peers = std::make_shared<agent_peers>(agent_peers{journal_, gateway_, {}, tools_});
  peers->own_tools = std::make_shared<made_once<agent_tools>>(config_);
  plans_ = std::make_shared<made_once<policy::graph_plan>>(config_);
  const auto make_host = [this, gate](const std::string& tool) {
    return spawn_tool_host(system_, journal_, gate, tools_, options_.seed + std::hash<std::string>{}(tool));
  };
  for (const auto& [name, tool] : tools_->prepared)
    peers->hosts.emplace(name, std::make_shared<service<tool_host_actor>>(make_host(name)));
  peers->checkpoint = checkpoint_;
  peers->checks = checks_;
  peers_ = peers;

  auto tree = std::make_shared<tree_setup>();
  tree->seed = options_.seed;
  tree->make_agent = [this](const std::string&, const std::string& member, const supervisor_actor& supervisor) {
    return spawn_agent(system_, member, supervisor, peers_);
  };
  const auto all_members = std::make_shared<const std::map<std::string, std::vector<std::string>>>(members_of(config_->supervision));
  const auto make_pool = [this, all_members](const std::string& agent) {
    const auto spec = config_->agents.find(agent);
    const auto crashes = spec == config_->agents.end() ? agent_spec{}.crashes : spec->second.crashes;
    return spawn_agent_pool(system_, agent, all_members->at(agent), peers_, crashes);
  };
  for (const auto& [agent, members] : *all_members)
    pools_.emplace(agent, std::make_shared<service<agent_pool_actor>>(make_pool(agent)));
  tree->pools = pools_;
  peers->pools = pools_;
  root_ = spawn_supervisor(system_, config_->supervision, tree);
  if (config_->process_budget != limits{})
    process_guard_ = spawn_budget_guard(
        system_, guard_setup{.scope = std::string(policy::process_scope), .limit = config_->process_budget, .journal = journal_});
  if (config_->process_budget.time)
    process_until_ = system_.clock().now() + *config_->process_budget.time;

  keeper_ = spawn_keeper(system_, kept_services{root_, gateway_, peers_->hosts, pools_, all_members, make_gateway, make_host, make_pool,
                                                checkpoint_, make_checkpoint, gate, make_gate});

  std::string failure;
  caf::scoped_actor self{system_};
  auto booted = ask(self, root_, start_tree{});
  run_actors();
  // NOLINTNEXTLINE(performance-move-const-arg): CAF 1.x gives an answer to an rvalue only
  std::move(booted).receive([&](const tree_started& started) { failure = started.failure; },
                            [&](const caf::error& reason) { failure = text_of(reason); });
  if (!failure.empty())
    return fail(error_code::internal, "the supervision tree did not start: " + failure);
  return {};
}

expected<std::unique_ptr<runtime>> runtime::start(caf::actor_system& system, std::shared_ptr<const configuration> config,
                                                  runtime_options options) {
  std::unique_ptr<runtime> made(new runtime(system, std::move(config), std::move(options)));
  providers connected;
  if (auto ready = made->make_clients(connected); !ready)
    return tl::unexpected(ready.error());
  if (auto started = made->start_actors(std::move(connected)); !started)
    return tl::unexpected(started.error());
  return made;
}

runtime::~runtime() {
  caf::scoped_actor self{system_};
  std::vector<caf::actor> waiting;
  const auto stop = [&](const caf::actor& who, caf::exit_reason why) {
    self->monitor(who);
    waiting.push_back(who);
    self->send_exit(who, why);
  };
  const auto wait = [&] {
    run_actors();
    while (!waiting.empty()) {
      self->receive(
          [&](const caf::down_msg& down) { std::erase_if(waiting, [&](const caf::actor& one) { return one.address() == down.source; }); });
    }
  };
  // Runs that go on are left as they are, to be resumed: without their agents they would end as failed.
  for (const auto& orchestrator : at_work_->all())
    tell_from_outside(caf::actor_cast<orchestrator_actor>(orchestrator), suspend_run{});
  run_actors();
  if (!options_.instead.run_actors)
    at_work_->wait(suspend_patience);
  for (const auto& orchestrator : at_work_->all())
    stop(orchestrator, caf::exit_reason::kill);
  wait();
  if (root_) {
    stop(caf::actor_cast<caf::actor>(root_), caf::exit_reason::user_shutdown);
    wait(); // agents first, in order
  }
  if (keeper_) {
    stop(keeper_, caf::exit_reason::user_shutdown);
    wait(); // nothing is made again from here on
  }
  for (const auto& [name, pool] : pools_)
    stop(caf::actor_cast<caf::actor>(pool->now()), caf::exit_reason::user_shutdown);
  if (peers_)
    for (const auto& [name, host] : peers_->hosts)
      stop(caf::actor_cast<caf::actor>(host->now()), caf::exit_reason::user_shutdown);
  for (const auto& guard : {process_guard_})
    if (guard)
      stop(caf::actor_cast<caf::actor>(*guard), caf::exit_reason::user_shutdown);
  for (const auto& [name, tenant] : tenants_)
    stop(caf::actor_cast<caf::actor>(tenant.guard), caf::exit_reason::user_shutdown);
  if (gateway_)
    stop(caf::actor_cast<caf::actor>(gateway_->now()), caf::exit_reason::user_shutdown);
  if (checkpoint_) {
    hear_decisions(*options_.journal, nullptr);
    stop(caf::actor_cast<caf::actor>(checkpoint_->now()), caf::exit_reason::user_shutdown);
  }
  if (journal_)
    stop(caf::actor_cast<caf::actor>(journal_), caf::exit_reason::user_shutdown);
  if (metrics_)
    stop(caf::actor_cast<caf::actor>(metrics_), caf::exit_reason::user_shutdown);
  wait();
  for (const auto& [name, tenant] : tenants_)
    options_.journal->disown_tenant(name);
  // Runners and providers go with the actors' states and with these; they use the clients, which go last.
  peers_.reset();
  tools_.reset();
}

} // namespace troupe::actors
