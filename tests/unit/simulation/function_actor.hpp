#pragma once
// An actor from a lambda. CAF 0.17 dereferences a null pointer to the arguments' tuple of a function actor that has none.
#include <caf/actor_system.hpp>
#include <caf/event_based_actor.hpp>

#include <utility>

namespace troupe::simulation {

template <class Function>
caf::actor spawn_function(caf::actor_system& system, Function function) {
  return system.spawn([function = std::move(function)](caf::event_based_actor* self, int) mutable { return function(self); }, 0);
}

} // namespace troupe::simulation
