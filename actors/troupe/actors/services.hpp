#pragma once
// Services: pools, the gateway, the tools' hosts and their gate. Each is made again when it dies, and found under the same name. Whoever
// asks one is told when it dies; what it was asked is asked anew after a pause, as a task that may have gone on: the journal says what is
// done already.

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "troupe/actors/interfaces.hpp"

namespace troupe::actors {

/// Before a service that died is asked again: its successor is there by then, or the pause comes once more.
inline constexpr milliseconds service_pause{100};

/// Who is told when one who serves dies, by a down message as of an actor that it monitors. Many short lives ask one long one (each run its
/// pools), and of CAF's own monitors all are looked through whenever one ends: 2.5 ms for each run with 10,000 at work. Any thread.
class askers {
public:
  void forget(const caf::actor_addr& asker);
  /// The keeper says so. `for_good`: nobody takes the place, and who comes to ask is told at once.
  void tell_all(const caf::down_msg& down, bool for_good);
  std::size_t asker_count() const;

protected:
  void add(const caf::actor_addr& asker);

private:
  mutable std::mutex mutex_; // guards all
  std::set<caf::actor_addr> who_;
  std::optional<caf::down_msg> ended_;
};

/// Who serves under one name. Any thread.
template <class Handle>
class service : public askers {
public:
  explicit service(Handle first) : now_(std::move(first)) {}
  Handle now() const {
    const std::lock_guard guard(mutex_);
    return now_;
  }
  /// For one who asks it, and is told from now on whenever the one who serves dies.
  Handle now(const caf::actor_addr& asker) {
    add(asker); // first: of a death in between it hears once too often
    return now();
  }
  void replace(Handle next) {
    const std::lock_guard guard(mutex_);
    now_ = std::move(next);
  }
  /// It will not come back: nobody need wait.
  void give_up() { gone_ = true; }
  bool gone() const { return gone_; }

private:
  mutable std::mutex mutex_; // guards now_
  Handle now_;
  std::atomic<bool> gone_{false};
};

/// The services that one actor asks, until it ends. Made once, while the actor starts.
class asked_services {
public:
  template <class Self>
  explicit asked_services(Self* self) {
    self->attach_functor([who = self->address(), asked = asked_] {
      for (const auto& each : *asked)
        each->forget(who);
    });
  }
  template <class Self, class Handle>
  Handle now(Self* self, const std::shared_ptr<service<Handle>>& from) {
    asked_->insert(from);
    return from->now(self->address());
  }

private:
  std::shared_ptr<std::set<std::shared_ptr<askers>>> asked_ =
      std::make_shared<std::set<std::shared_ptr<askers>>>(); // the state goes before the functor runs
};

using gateway_service = std::shared_ptr<service<llm_gateway_actor>>;
using gate_service = std::shared_ptr<service<tool_gate_actor>>;
using host_services = std::map<std::string, std::shared_ptr<service<tool_host_actor>>>;  ///< by tool
using pool_services = std::map<std::string, std::shared_ptr<service<agent_pool_actor>>>; ///< by agent

/// What the keeper keeps.
struct kept_services {
  supervisor_actor root;
  gateway_service gateway;
  host_services hosts;
  pool_services pools;
  std::shared_ptr<const std::map<std::string, std::vector<std::string>>> members; ///< of the whole tree, by agent
  std::function<llm_gateway_actor()> make_gateway;
  std::function<tool_host_actor(const std::string& tool)> make_host;
  std::function<agent_pool_actor(const std::string& agent)> make_pool;
  std::shared_ptr<service<checkpoint_actor>> checkpoint;
  std::function<checkpoint_actor()> make_checkpoint;
  gate_service gate;
  std::function<tool_gate_actor()> make_gate;
};

/// Spawns the KEEPER. A service that dies is made again; of a pool the members are then replaced, so that they join the new one. More than
/// 3 such deaths within 5 s, and it is not made again: what asks it fails. When the root supervisor ends by itself no member will come
/// back: the pools fail what waits for one, so that every run ends and is told.
caf::actor spawn_keeper(caf::actor_system& system, kept_services kept);

} // namespace troupe::actors
