#include "troupe/actors/metrics_collector.hpp"

#include <deque>
#include <unordered_map>

#include "troupe/metrics/run_summary.hpp"

namespace troupe::actors {

namespace {

/// Runs that ended and that nobody has asked for yet: beyond, the journal has them.
constexpr std::size_t ended_kept = 1'000;

struct collector_state {
  explicit collector_state(metrics_collector_actor::pointer) {}
  static inline const char* name = "metrics_collector";
  std::unordered_map<std::string, metrics::run_fold> runs;
  std::deque<std::string> ended; ///< in their order
};

metrics_collector_actor::behavior_type metrics_collector(metrics_collector_actor::stateful_pointer<collector_state> self,
                                                         std::size_t ended_max) {
  install_handlers(self);
  return {
      [self, ended_max](const published& group) {
        auto& state = state_of(self);
        for (const auto& e : group.events) {
          state.runs[e->run_id].apply(*e);
          if (!std::holds_alternative<run_finished>(e->body) || !e->task.empty())
            continue;
          state.ended.push_back(e->run_id);
          if (state.ended.size() > ended_max) {
            state.runs.erase(state.ended.front());
            state.ended.pop_front();
          }
        }
      },
      // The asker has what it needs: a run that ended is forgotten, its events stand in the journal.
      [self](const summary_query& wanted) {
        auto& runs = state_of(self).runs;
        const auto found = runs.find(wanted.run_id);
        if (found == runs.end())
          return summary_answer{};
        auto summary = std::make_shared<const run_summary>(found->second.summary());
        if (summary->finished_us != 0)
          runs.erase(found);
        return summary_answer{std::move(summary)};
      },
  };
}

} // namespace

metrics_collector_actor spawn_metrics_collector(caf::actor_system& system) {
  // With an argument: without any, CAF 0.17 dereferences a null pointer to their tuple.
  return system.spawn(metrics_collector, ended_kept);
}

} // namespace troupe::actors
