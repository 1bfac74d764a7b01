#pragma once
// The loop detector's and the ladder's state from the journal (SEMANTICS 2 and 9): what an agent hands to its supervisor when a task goes
// on after a crash or a resume. And how a call and its outcome are seen, live and from the journal alike.

#include <functional>
#include <string>
#include <vector>

#include "troupe/model/config.hpp"
#include "troupe/model/event.hpp"
#include "troupe/policy/loop_watch.hpp"

namespace troupe::policy {

/// What is known of the tool that a call names.
struct known_tool {
  known_tool(const tool_spec* tool = nullptr, bool idle_agent = false) : spec(tool), idle(idle_agent) {}
  const tool_spec* spec; ///< null: there is none, or it stands for another agent
  bool idle;             ///< for one that can change nothing
};

observed_call observe_call(const tool_call& asked, const known_tool& tool);
observed_result observe_result(const std::string& text, tool_status status);
/// What a broken contract was answered, as a number.
std::uint64_t reply_sign(const std::vector<std::string>& violations);

loop_rules rules_of(const loop_spec& spec);

/// A task as its supervisor saw it, up to its last exchange.
struct loop_history {
  loop_watch watch;                     ///< all but the open exchange
  std::vector<observed_result> results; ///< of the open exchange: one for each call, outcome 0 where none is recorded
  std::vector<std::string> taken;       ///< tools that were taken away
};

using tool_lookup = std::function<known_tool(const std::string& name)>;

/// From the events of one task. The exchange is open where the last response of this attempt has calls and nothing was said since: it is
/// to be observed again. A new attempt begins with nothing.
loop_history rebuild_loops(const std::vector<event_ptr>& events_of_task, std::int64_t attempt, loop_rules rules, const tool_lookup& tool);

} // namespace troupe::policy
