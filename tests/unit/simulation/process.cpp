#include "simulation/process.hpp"

#include <stdexcept>

namespace troupe::simulation {

namespace {

std::int64_t us_of(clock_point at) {
  return std::chrono::duration_cast<std::chrono::microseconds>(at.time_since_epoch()).count();
}

} // namespace

process::process(world& of, std::uint64_t seed) : world_(of), dice_(seed), journal_(std::make_shared<held_journal>(of)) {
  actors::prepare(config_);
  config_.set("scheduler.policy", caf::atom("testing"));
  system_ = std::make_unique<caf::actor_system>(config_);
  system_->await_actors_before_shutdown(false);
  auto& clock = scheduler().clock();
  clock.current_time = world_.now;
  actors::runtime_options options;
  options.journal = journal_;
  options.seed = seed + 1;
  options.utc_now_us = [&clock] { return us_of(clock.now()); };
  options.instead.make_provider = [this, &clock](const provider_spec& spec) -> expected<std::shared_ptr<llm::provider>> {
    return make_held_provider(world_, post_, clock, spec);
  };
  options.instead.make_runner = [this, &clock](const tool_spec& spec) -> expected<std::unique_ptr<tools::runner>> {
    return make_held_runner(world_, post_, clock, spec);
  };
  options.instead.run_actors = [this] { settle(); };
  auto made = actors::runtime::start(*system_, world_.around().config, std::move(options));
  if (!made)
    throw std::runtime_error(made.error().text());
  runtime_ = std::move(*made);
  events_ = 0;
}

process::~process() {
  cut_off(last_words::written);
  world_.now = scheduler().clock().now();
  closing_ = true;
  if (run_) {
    caf::anon_send_exit(run_->orchestrator, caf::exit_reason::kill);
    caf::anon_send_exit(run_->guard, caf::exit_reason::kill);
    run_.reset();
  }
  runtime_.reset();
  settle();
}

caf::scheduler::test_coordinator& process::scheduler() {
  return static_cast<caf::scheduler::test_coordinator&>(system_->scheduler());
}

void process::start(const std::string& run_id, const std::string& workflow, const json& input) {
  auto started = runtime_->start_run({.run_id = run_id, .workflow = workflow, .input = input});
  if (!started)
    throw std::runtime_error(started.error().text());
  await(std::move(*started));
}

void process::resume(const std::string& run_id, const actors::run_additions& more) {
  auto resumed = runtime_->resume_run(run_id, more);
  if (!resumed)
    throw std::runtime_error(resumed.error().text());
  await(std::move(*resumed));
}

void process::await(actors::started_run run) {
  run_ = std::move(run);
  spawn_function(*system_, [this, orchestrator = run_->orchestrator](caf::event_based_actor* self) {
    actors::ask(self, orchestrator, actors::start_run{})
        .then([this](const actors::run_ended& end) { ended_ = end; },
              [this](const caf::error& reason) {
                if (closing_)
                  return;
                world_.broken.push_back("the orchestrator died: " + actors::text_of(reason));
                ended_ = actors::run_ended{};
              });
  });
}

void process::happened(std::string_view what, std::uint64_t who) {
  for (const auto byte : what)
    digest_ = (digest_ ^ static_cast<unsigned char>(byte)) * 1099511628211ull;
  digest_ = (digest_ ^ who) * 1099511628211ull;
  if (keep_trace)
    trace_.push_back(std::to_string(events_) + " " + std::string(what) + " " + std::to_string(who));
  ++events_;
}

/// One actor takes one message.
void process::run_job(std::size_t which) {
  auto& jobs = scheduler().jobs;
  const auto at = jobs.begin() + static_cast<std::ptrdiff_t>(which);
  std::rotate(jobs.begin(), at, at + 1);
  auto* actor = dynamic_cast<caf::scheduled_actor*>(jobs.front());
  const auto id = actor == nullptr ? 0 : actor->id();
  const std::string name = actor == nullptr ? "job" : actor->name();
  if (actor != nullptr && known_.insert(id).second)
    met_[name].push_back(actor->address());
  scheduler().try_run_once();
  happened(name, id);
}

bool process::step() {
  auto& clock = scheduler().clock();
  const auto jobs = scheduler().jobs.size();
  const std::size_t writes = journal_->waits() ? 1 : 0;
  const auto arriving = world_.around().any_latency ? clock_point::max() : clock.now();
  const auto letters = post_.due(arriving);
  const auto open = jobs + writes + letters;
  if (open != 0) {
    auto pick = static_cast<std::size_t>(dice_() % open);
    if (pick < jobs) {
      run_job(pick);
    } else if (pick -= jobs; pick < writes) {
      journal_->deliver();
      happened("journal", 0);
    } else {
      pick -= writes;
      post_.deliver(pick, arriving);
      happened("answer", pick);
    }
    return true;
  }
  auto next = post_.next_due();
  if (clock.has_pending_timeout()) {
    const auto timer = clock.schedule().begin()->first;
    next = next ? std::min(*next, timer) : timer;
  }
  if (!next)
    return false;
  clock.advance_time(std::max(*next - clock.now(), caf::actor_clock::duration_type::zero()));
  happened("time", static_cast<std::uint64_t>(us_of(clock.now())));
  return true;
}

/// Who asks a journal that is gone again every second has no last timer.
constexpr int timers_max = 1'000;

/// The runtime waits for its actors: they do what they can without the world; at the end also what they would do later.
void process::settle() {
  int timers = 0;
  do
    while (!scheduler().jobs.empty())
      run_job(0);
  while (closing_ && ++timers < timers_max && scheduler().trigger_timeout());
}

bool process::crash(const victim& whom) {
  auto& met = met_[whom.kind];
  // The dead are forgotten, so that `which` counts the living.
  std::erase_if(met, [](const caf::actor_addr& each) {
    const auto alive = caf::actor_cast<caf::strong_actor_ptr>(each);
    return !alive || alive->get()->getf(caf::abstract_actor::is_terminated_flag);
  });
  if (whom.which >= met.size())
    return false;
  const auto body = caf::actor_cast<caf::strong_actor_ptr>(met[whom.which]);
  const auto actor = caf::actor_cast<caf::actor>(body);
  const auto why = whom.kind == "supervisor" ? caf::error(caf::exit_reason::kill) : actors::crash_error("a simulated crash");
  body->enqueue(nullptr, caf::make_message_id(caf::message_priority::high), caf::make_message(caf::exit_msg{actor.address(), why}),
                nullptr);
  while (!body->get()->getf(caf::abstract_actor::is_terminated_flag)) {
    auto& jobs = scheduler().jobs;
    const auto at = std::find_if(jobs.begin(), jobs.end(), [&](caf::resumable* job) {
      auto* scheduled = dynamic_cast<caf::scheduled_actor*>(job);
      return scheduled != nullptr && scheduled->address() == actor.address();
    });
    if (at == jobs.end())
      throw std::runtime_error(whom.kind + " does not die");
    run_job(static_cast<std::size_t>(at - jobs.begin()));
  }
  return true;
}

void process::cut_off(last_words kept) {
  journal_->cut(kept);
  post_.cut();
}

} // namespace troupe::simulation
