#include "troupe/actors/metrics_collector.hpp"

#include <unordered_map>

#include "troupe/metrics/run_summary.hpp"

namespace troupe::actors {

namespace {

/// More at once are not followed: the journal has them.
constexpr std::size_t runs_followed = 100'000;

struct collector_state {
  explicit collector_state(metrics_collector_actor::pointer) {}
  static inline const char* name = "metrics_collector";
  std::unordered_map<std::string, metrics::run_fold> runs;
};

metrics_collector_actor::behavior_type metrics_collector(metrics_collector_actor::stateful_pointer<collector_state> self,
                                                         std::size_t runs_max) {
  install_handlers(self);
  return {
      [self, runs_max](const published& group) {
        auto& runs = state_of(self).runs;
        for (const auto& e : group.events) {
          const auto followed = e->seq == 1 && runs.size() < runs_max ? runs.try_emplace(e->run_id).first : runs.find(e->run_id);
          if (followed != runs.end())
            followed->second.apply(*e);
        }
      },
      [self](const close_run& ended) { state_of(self).runs.erase(ended.run_id); },
      [self](const summary_query& wanted) {
        const auto& runs = state_of(self).runs;
        const auto found = runs.find(wanted.run_id);
        return summary_answer{found == runs.end() ? nullptr : std::make_shared<const run_summary>(found->second.summary())};
      },
  };
}

} // namespace

metrics_collector_actor spawn_metrics_collector(caf::actor_system& system) {
  // With an argument: without any, CAF 0.17 dereferences a null pointer to their tuple.
  return system.spawn(metrics_collector, runs_followed);
}

} // namespace troupe::actors
