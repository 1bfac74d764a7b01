#pragma once
// How long tasks and agents have been at work, by the journal: what a resume counts their limits of time from (SEMANTICS 9: summed over a
// run's owners; 7: waiting for humans does not count).

#include <chrono>
#include <map>
#include <string>
#include <vector>

#include "troupe/model/event.hpp"

namespace troupe::policy {

/// By scope (budget_scope.hpp): tasks by their paths, agents by their names. An agent's time runs from its first task in an owner's time to
/// the last event of that owner. The time between a last event and a kill is nobody's.
std::map<std::string, std::chrono::milliseconds> time_used(const std::vector<event_ptr>& events);

} // namespace troupe::policy
