#include "troupe/actors/metrics_collector.hpp"

#include <unordered_map>

#include "troupe/metrics/run_summary.hpp"

namespace troupe::actors {

namespace {

struct collector_state {
  explicit collector_state(metrics_collector_actor::pointer) {}
  static inline const char* name = "metrics_collector";
  std::unordered_map<std::string, metrics::run_fold> runs;
};

metrics_collector_actor::behavior_type metrics_collector(metrics_collector_actor::stateful_pointer<collector_state> self) {
  install_handlers(self);
  return {
    [self](const published& group) {
      for (const auto& e : group.events)
        state_of(self).runs[e->run_id].apply(*e);
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
  return system.spawn(metrics_collector);
}

} // namespace troupe::actors
