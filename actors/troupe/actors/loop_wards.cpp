#include "troupe/actors/loop_wards.hpp"

#include "troupe/policy/loop_history.hpp"

namespace troupe::actors {

std::shared_ptr<const policy::loop_verdict> loop_wards::observe(const caf::actor_addr& agent, const observation& seen) {
  const auto [at, is_new] = wards_.try_emplace(agent);
  auto& mine = at->second;
  if (seen.restored)
    mine.watch = *seen.restored;
  else if (is_new || mine.task != seen.task)
    mine.watch = policy::loop_watch(policy::rules_of(seen.rules));
  mine.task = seen.task;
  auto verdict = mine.watch.observe(*seen.step);
  if (!verdict.found && verdict.rulings.empty() && !verdict.report_results)
    return nullptr;
  return std::make_shared<const policy::loop_verdict>(std::move(verdict));
}

} // namespace troupe::actors
