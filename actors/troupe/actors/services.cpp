#include "troupe/actors/services.hpp"

#include <vector>

#include <spdlog/spdlog.h>

#include "troupe/policy/restart_window.hpp"

namespace troupe::actors {

void askers::add(const caf::actor_addr& asker) {
  const auto alive = caf::actor_cast<caf::actor>(asker); // longer than the lock: its end takes it too
  const std::lock_guard guard(mutex_);
  who_.insert(asker);
  if (ended_ && alive)
    tell_from_outside(alive, *ended_);
}

void askers::forget(const caf::actor_addr& asker) {
  const std::lock_guard guard(mutex_);
  who_.erase(asker);
}

std::size_t askers::asker_count() const {
  const std::lock_guard guard(mutex_);
  return who_.size();
}

void askers::tell_all(const caf::down_msg& down, bool for_good) {
  std::vector<caf::actor> alive; // who ends with our hold on it forgets this service, which takes the lock
  {
    const std::lock_guard guard(mutex_);
    if (for_good)
      ended_ = down;
    for (const auto& each : who_)
      if (auto asker = caf::actor_cast<caf::actor>(each))
        alive.push_back(std::move(asker));
  }
  for (const auto& asker : alive)
    tell_from_outside(asker, down);
}

namespace {

struct keeper_state {
  explicit keeper_state(caf::event_based_actor*) {}
  static inline const char* name = "keeper";
  kept_services kept;
  policy::restart_window window{3, std::chrono::seconds{5}};
};

using keeper_self = caf::stateful_actor<keeper_state>*;

void root_ended(keeper_self self, const caf::error& reason) {
  auto& kept = state_of(self).kept;
  if (reason && reason != caf::exit_reason::user_shutdown)
    spdlog::error("{}", text_of(reason));
  for (const auto& [agent, names] : *kept.members) {
    const auto& pool = kept.pools.at(agent);
    pool->give_up();
    for (const auto& name : names)
      tell(self, pool->now(), member_gone{name});
  }
  self->quit();
}

/// Whether it was this one that died: then it has a successor, or is given up.
template <class Handle, class Make>
bool made_again(keeper_self self, const caf::down_msg& down, const std::shared_ptr<service<Handle>>& which, const std::string& what,
                Make make) {
  if (down.source != which->now().address())
    return false;
  const bool runtime_ends = down.reason == caf::exit_reason::user_shutdown;
  const bool again = !runtime_ends && state_of(self).window.add(self->clock().now());
  if (again) {
    spdlog::error("{} died: {}; it is made again", what, text_of(down.reason));
    which->replace(make());
    monitor(self, which->now());
  } else if (!runtime_ends) {
    spdlog::error("{} died: {}; it died too often and is not made again", what, text_of(down.reason));
    which->give_up();
  }
  which->tell_all(down, !again);
  return true;
}

void service_down(keeper_self self, const caf::down_msg& down) {
  auto& kept = state_of(self).kept;
  if (down.source == kept.root.address()) {
    root_ended(self, down.reason);
    return;
  }
  if (made_again(self, down, kept.gateway, "the gateway", kept.make_gateway)
      || made_again(self, down, kept.checkpoint, "the checkpoint", kept.make_checkpoint)
      || made_again(self, down, kept.gate, "the tool gate", kept.make_gate))
    return;
  for (const auto& [tool, host] : kept.hosts)
    if (made_again(self, down, host, "the host of tool \"" + tool + "\"", [&, name = tool] { return kept.make_host(name); }))
      return;
  for (const auto& [agent, pool] : kept.pools)
    if (made_again(self, down, pool, "the pool of agent \"" + agent + "\"", [&, name = agent] { return kept.make_pool(name); })) {
      if (!pool->gone())
        tell(self, kept.root, replace_members{agent});
      return;
    }
}

caf::behavior keeper(keeper_self self, kept_services kept) {
  install_handlers(self);
  on_down(self, [self](const caf::down_msg& down) { service_down(self, down); });
  monitor(self, kept.root);
  monitor(self, kept.gateway->now());
  monitor(self, kept.checkpoint->now());
  monitor(self, kept.gate->now());
  for (const auto& [tool, host] : kept.hosts)
    monitor(self, host->now());
  for (const auto& [agent, pool] : kept.pools)
    monitor(self, pool->now());
  state_of(self).kept = std::move(kept);
  return {[](const start_tree&) {}}; // lives for the down messages
}

} // namespace

caf::actor spawn_keeper(caf::actor_system& system, kept_services kept) {
  return system.spawn(keeper, std::move(kept));
}

} // namespace troupe::actors
