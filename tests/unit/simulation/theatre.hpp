#pragma once
// A supervision tree of real supervisors whose members are puppets: they do what the test says, and all that happens is written down.
// Virtual time, one thread.

#include <algorithm>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include <caf/scheduler/test_coordinator.hpp>

#include "troupe/actors/supervisor.hpp"

namespace troupe::simulation {

enum class ending { normal, shutdown, crash, poison, kill };

class theatre {
public:
  explicit theatre(supervisor_spec spec);
  ~theatre();
  theatre(const theatre&) = delete;
  theatre& operator=(const theatre&) = delete;

  /// Starts the tree; the failure, or nothing.
  std::string boot();
  /// Goes on for a while: everything that is due by then happens.
  void go(std::chrono::microseconds time = {});
  /// A member ends by itself. Nothing else happens before `go`.
  void end(const std::string& member, ending how);
  /// A supervisor is killed: the n-th that was started, the root being the first.
  void kill_supervisor(std::size_t which);
  /// The same one is told to end by somebody who is not its supervisor, as CAF tells it.
  void send_end(std::size_t which);
  void stop();
  /// Changes a child at run time; what is wrong, or nothing.
  std::string change(actors::child_change what, child_spec child, const std::string& supervisor = {});
  void replace_members(const std::string& agent);

  /// What happened since the last call, in order: "start a", "end a shutdown", "gone a", "root ended: why".
  std::string said();
  bool ended() const { return ended_; }
  std::set<std::string> alive() const;
  /// Asks the root, which answers whatever goes on; nothing where it has ended.
  std::optional<actors::tree_node> describe();
  /// State of a node of the tree by its id; "" where there is none.
  std::string state_of_node(const std::string& id);

  std::map<std::string, int> starts_that_fail; ///< by member: how many of its next starts
  std::set<std::string> stubborn;              ///< members that do not stop when they are asked to

private:
  caf::scheduler::test_coordinator& scheduler();
  void note(const std::string& what);

  caf::actor_system_config config_;
  std::unique_ptr<caf::actor_system> system_;
  std::shared_ptr<actors::tree_setup> setup_;
  actors::supervisor_actor root_;
  caf::actor audience_; ///< sees the root's end
  std::map<std::string, caf::actor> members_;
  std::set<std::string> alive_;
  std::vector<caf::actor_addr> supervisors_;
  std::string said_;
  bool ended_ = false;
};

} // namespace troupe::simulation
