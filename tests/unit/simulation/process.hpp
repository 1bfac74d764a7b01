#pragma once
// A whole company under virtual time: one actor system whose scheduler has no threads, one runtime in it, one loop that picks what happens
// next: an actor takes a message | the oldest append is written and acknowledged | an answer of a provider or tool arrives | when nothing
// else can happen, time goes on to the next timer. Each pick is one numbered event. Which of several things happens first is decided by
// the seed: the same seed gives the same run, event for event.

#include <random>
#include <set>

#include <caf/scheduler/test_coordinator.hpp>

#include "simulation/function_actor.hpp"
#include "simulation/lines.hpp"
#include "troupe/actors/runtime.hpp"

namespace troupe::simulation {

/// An actor to crash: by the name that its state has ("agent", "agent_pool", "supervisor", "llm_gateway", …), and which of those.
struct victim {
  std::string kind;
  std::size_t which = 0; ///< in the order in which they first ran
};

class process {
public:
  process(world& of, std::uint64_t seed);
  /// Ends it in order where it was not cut off.
  ~process();
  process(const process&) = delete;
  process& operator=(const process&) = delete;

  actors::runtime& runtime() { return *runtime_; }
  caf::actor_system& system() { return *system_; }

  void start(const std::string& run_id, const std::string& workflow, const json& input);
  void resume(const std::string& run_id, const actors::run_additions& more = {});
  /// The orchestrator has answered.
  const std::optional<actors::run_ended>& ended() const { return ended_; }
  const actors::orchestrator_actor& orchestrator() const { return run_->orchestrator; }
  const actors::budget_guard_actor& guard() const { return run_->guard; }

  /// One event; false: nothing can happen any more.
  bool step();
  std::int64_t events() const { return events_; }
  /// What happened so far, as one number.
  std::uint64_t digest() const { return digest_; }
  /// One line each; kept where `keep_trace` was set.
  const std::vector<std::string>& trace() const { return trace_; }
  bool keep_trace = false;

  /// Ends an actor at once, as an assertion or a bug would. False: there is none (any more).
  bool crash(const victim& whom);
  /// kill -9: nothing of this process reaches the world any more.
  void cut_off(last_words kept);

  /// Asks an actor and goes on until it has answered.
  template <class Answer, class Handle, class Question>
  std::optional<Answer> ask_now(const Handle& whom, Question question) {
    auto answer = std::make_shared<std::optional<Answer>>();
    auto over = std::make_shared<bool>(false);
    auto asker = spawn_function(*system_, [=](caf::event_based_actor* self) {
      actors::ask(self, whom, question)
          .then(
              [=](Answer& came) {
                *answer = std::move(came);
                *over = true;
              },
              [=](const caf::error&) { *over = true; });
    });
    while (!*over && step()) {
    }
    return *answer;
  }

private:
  caf::scheduler::test_coordinator& scheduler();
  void run_job(std::size_t which);
  void settle();
  void await(actors::started_run run);
  void happened(std::string_view what, std::uint64_t who);

  world& world_;
  std::mt19937_64 dice_;
  std::shared_ptr<held_journal> journal_;
  post post_;
  caf::actor_system_config config_;
  std::unique_ptr<caf::actor_system> system_;
  std::unique_ptr<actors::runtime> runtime_;
  std::optional<actors::started_run> run_;
  std::optional<actors::run_ended> ended_;
  std::map<std::string, std::vector<caf::actor_addr>> met_; ///< actors by kind
  std::set<caf::actor_id> known_;
  std::int64_t events_ = 0;
  std::uint64_t digest_ = 14695981039346656037ull;
  std::vector<std::string> trace_;
  bool closing_ = false;
};

} // namespace troupe::simulation
