#pragma once
// A run's summary is a fold over its events (SEMANTICS 10): what is stored, counted and shown can never disagree.

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "troupe/model/run.hpp"

namespace troupe::metrics {

/// Folds a run's events, in their order, into its summary. Any prefix will do: of a run that goes on, was killed, or was taken up again.
/// Never throws for what events contain.
///
/// What counts as what
/// - cost: what responses cost, what failed requests were charged, and the worst case of requests whose outcome nobody knows; the last is
///   no part of `tokens`, nor is usage that was rejected.
/// - llm_calls, steps: requests sent that count (SEMANTICS 1): those answered, those failed but for 429 and connections never made, those
///   of unknown outcome. A request in flight counts once its outcome is known.
/// - agents_used: those that worked, which is to ask their model, in the order in which they began. Whose task was skipped did not.
/// - tool_calls: calls that a tool was started for; retries and alternatives of one call are one. Refused calls are none.
/// - failures: each failed request, tool attempt, crash and broken contract, also where something else made up for it; the failed end of a
///   task only where it says something new. At most 1,000.
/// - completed_tasks, total_tasks, results: tasks of the top workflow; `completed` are successes. Results stand in the order of the
///   workflow where the kept configuration tells it, else in the order of their starts; tasks that have not ended have none.
/// - a task's cost: with all that ran below it (elements, sub-workflow).
/// - owned: the time of all owners, as `run_resumed` states it for earlier ones.
class run_fold {
public:
  run_fold();
  ~run_fold();
  run_fold(run_fold&&) noexcept;
  run_fold& operator=(run_fold&&) noexcept;

  void apply(const event& e);
  run_summary summary() const;

private:
  struct state;
  std::unique_ptr<state> state_;
};

} // namespace troupe::metrics
