#pragma once
// What a supervisor holds of its agents' loops: one watch for each that is at work. Plain state of the supervisor, on its thread only.

#include <memory>
#include <unordered_map>

#include "troupe/actors/interfaces.hpp"
#include "troupe/policy/loop_watch.hpp"

namespace troupe::actors {

class loop_wards {
public:
  /// The verdict on a step of this agent; null: all is well. A task that was not seen before begins with nothing, or with what the agent
  /// brings from the journal.
  std::shared_ptr<const policy::loop_verdict> observe(const caf::actor_addr& agent, const observation& seen);
  /// It has ended.
  void forget(const caf::actor_addr& agent) { wards_.erase(agent); }

private:
  struct ward {
    std::uint64_t task = 0;
    policy::loop_watch watch;
  };
  std::unordered_map<caf::actor_addr, ward> wards_;
};

} // namespace troupe::actors
