#include "troupe/actors/services.hpp"

#include <spdlog/spdlog.h>

#include "troupe/policy/restart_window.hpp"

namespace troupe::actors {

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
  for (const auto& [agent, names] : kept.members) {
    const auto& pool = kept.pools.at(agent);
    pool->give_up();
    for (const auto& name : names)
      tell(self, pool->now(), member_gone{name});
  }
  self->quit();
}

/// Whether a service that died of this is made again.
bool comes_back(keeper_self self, const std::string& what, const caf::error& reason) {
  if (reason == caf::exit_reason::user_shutdown)
    return false;
  const bool again = state_of(self).window.add(self->clock().now());
  spdlog::error("{} died: {}{}", what, text_of(reason), again ? "; it is made again" : "; it died too often and is not made again");
  return again;
}

void service_down(keeper_self self, const caf::down_msg& down) {
  auto& kept = state_of(self).kept;
  if (down.source == kept.root.address()) {
    root_ended(self, down.reason);
    return;
  }
  if (down.source == kept.gateway->now().address()) {
    if (!comes_back(self, "the gateway", down.reason)) {
      kept.gateway->give_up();
      return;
    }
    kept.gateway->replace(kept.make_gateway());
    self->monitor(kept.gateway->now());
    return;
  }
  for (const auto& [agent, pool] : kept.pools)
    if (down.source == pool->now().address()) {
      if (!comes_back(self, "the pool of \"" + agent + "\"", down.reason)) {
        pool->give_up();
        return;
      }
      pool->replace(kept.make_pool(agent));
      self->monitor(pool->now());
      tell(self, kept.root, replace_members{agent});
      return;
    }
}

caf::behavior keeper(keeper_self self, kept_services kept) {
  install_handlers(self);
  self->set_down_handler([self](const caf::down_msg& down) { service_down(self, down); });
  self->monitor(kept.root);
  self->monitor(kept.gateway->now());
  for (const auto& [agent, pool] : kept.pools)
    self->monitor(pool->now());
  state_of(self).kept = std::move(kept);
  return {[](const start_tree&) {}}; // lives for the down messages
}

} // namespace

caf::actor spawn_keeper(caf::actor_system& system, kept_services kept) {
  return system.spawn(keeper, std::move(kept));
}

} // namespace troupe::actors
