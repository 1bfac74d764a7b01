#include "troupe/actors/tool_host.hpp"

#include <map>
#include <optional>
#include <vector>

#include "troupe/policy/parallel_limits.hpp"

namespace troupe::actors {

namespace {

/// A call that runs, or waits for its place.
struct ticket_holder {
  caf::actor_addr host;
  std::optional<caf::typed_response_promise<admitted>> waits; ///< null: it runs
};

struct gate_state {
  explicit gate_state(tool_gate_actor::pointer) {}
  static inline const char* name = "tool_gate";
  policy::parallel_limits limits;
  std::map<std::uint64_t, ticket_holder> holders; ///< by ticket
  std::optional<watch_list> hosts;
  std::uint64_t next_ticket = 1;
};

using gate_self = tool_gate_actor::stateful_pointer<gate_state>;

caf::result<admitted> let_in(gate_self self, const admit& wanted) {
  auto& state = state_of(self);
  const auto ticket = state.next_ticket++;
  auto& holder = state.holders[ticket];
  holder.host = caf::actor_cast<caf::actor_addr>(self->current_sender());
  if (holder.host)
    state.hosts->add(self, holder.host);
  if (wanted.runs) {
    state.limits.occupy(ticket, wanted.agent, wanted.tool, wanted.tool_limit);
    return admitted{ticket};
  }
  if (state.limits.admit(ticket, wanted.agent, wanted.tool, wanted.tool_limit))
    return admitted{ticket};
  holder.waits = self->make_response_promise<admitted>();
  return *holder.waits;
}

void give_back(gate_self self, std::uint64_t ticket) {
  auto& state = state_of(self);
  state.holders.erase(ticket);
  for (const auto next : state.limits.finished(ticket))
    if (const auto found = state.holders.find(next); found != state.holders.end() && found->second.waits)
      std::exchange(found->second.waits, std::nullopt)->deliver(admitted{next});
}

/// A host died and took its calls along: what waited first, so that nothing of the dead takes the places that it leaves.
void host_down(gate_self self, const caf::actor_addr& host) {
  auto& state = state_of(self);
  state.hosts->forget(host);
  std::vector<std::uint64_t> waited, ran;
  for (const auto& [ticket, holder] : state.holders)
    if (holder.host == host)
      (holder.waits ? waited : ran).push_back(ticket);
  for (const auto ticket : waited)
    give_back(self, ticket);
  for (const auto ticket : ran)
    give_back(self, ticket);
}

tool_gate_actor::behavior_type tool_gate(gate_self self, policy::parallel_limits limits) {
  install_handlers(self);
  state_of(self).limits = std::move(limits);
  state_of(self).hosts.emplace(self);
  on_down(self, [self](const caf::down_msg& down) { host_down(self, caf::actor_cast<caf::actor_addr>(down.source)); });
  return {
      [self](const admit& wanted) { return let_in(self, wanted); },
      [self](const leave& gone) { give_back(self, gone.ticket); },
  };
}

} // namespace

tool_gate_actor spawn_tool_gate(caf::actor_system& system) {
  // With an argument: without any, CAF 0.17 dereferences a null pointer to their tuple.
  return system.spawn(tool_gate, policy::parallel_limits{});
}

} // namespace troupe::actors
