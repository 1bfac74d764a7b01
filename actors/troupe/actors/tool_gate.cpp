#include "troupe/actors/tool_host.hpp"

#include <unordered_map>

#include "troupe/policy/parallel_limits.hpp"

namespace troupe::actors {

namespace {

struct gate_state {
  explicit gate_state(tool_gate_actor::pointer) {}
  static inline const char* name = "tool_gate";
  policy::parallel_limits limits;
  std::unordered_map<std::uint64_t, caf::typed_response_promise<admitted>> waiting;
  std::uint64_t next_ticket = 1;
};

tool_gate_actor::behavior_type tool_gate(tool_gate_actor::stateful_pointer<gate_state> self, policy::parallel_limits limits) {
  install_handlers(self);
  state_of(self).limits = std::move(limits);
  return {
      [self](const admit& wanted) -> caf::result<admitted> {
        auto& state = state_of(self);
        const auto ticket = state.next_ticket++;
        if (state.limits.admit(ticket, wanted.agent, wanted.tool, wanted.tool_limit))
          return admitted{ticket};
        auto promise = self->make_response_promise<admitted>();
        state.waiting.emplace(ticket, promise);
        return promise;
      },
      [self](const leave& gone) {
        auto& state = state_of(self);
        for (const auto ticket : state.limits.finished(gone.ticket))
          if (auto node = state.waiting.extract(ticket); !node.empty())
            node.mapped().deliver(admitted{ticket});
      },
  };
}

} // namespace

tool_gate_actor spawn_tool_gate(caf::actor_system& system) {
  // With an argument: without any, CAF 0.17 dereferences a null pointer to their tuple.
  return system.spawn(tool_gate, policy::parallel_limits{});
}

} // namespace troupe::actors
