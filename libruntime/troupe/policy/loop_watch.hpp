#pragma once
// What a supervisor holds for each of its agents: the detector of its task, and how far up the ladder it is.

#include <cstdint>
#include <optional>
#include <vector>

#include "troupe/policy/loop_detector.hpp"
#include "troupe/policy/loop_ladder.hpp"

namespace troupe::policy {

/// One step of an agent, as its supervisor sees it. Absent parts are empty.
struct loop_step {
  std::int64_t number = 0;              ///< of the response in its attempt, from 1
  std::vector<observed_result> earlier; ///< what came of the calls of the response before, in their order
  std::vector<observed_call> calls;     ///< of this one, before any runs
  std::vector<observed_result> results; ///< of these calls, where they are known
  std::optional<text_sketch> said;      ///< a text without a call that was not taken as the answer …
  std::uint64_t reply = 0;              ///< … and what it was answered
};

struct loop_verdict {
  std::optional<loop_found> found;  ///< what the agent is to be told of
  loop_rung rung = loop_rung::none; ///< of what was found; none: a monologue, which only ends the repair
  bool again = false;               ///< the step was judged before: it is recorded already
  std::vector<call_ruling> rulings; ///< one for each call; empty: all may run
  bool report_results = false;      ///< what comes of these calls is to be told before the agent goes on
};

/// One thread only. Beside the detector's windows it keeps one number for each rung.
class loop_watch {
public:
  explicit loop_watch(loop_rules rules = {}) : detector_(rules), ladder_(rules.human) {}

  loop_verdict observe(const loop_step& step);
  /// From the journal: a step that is over. What was done about it is told by `recorded`.
  void replay(const loop_step& step);
  /// From the journal: a rung that was taken for this call in this step.
  void recorded(loop_rung rung, std::int64_t step, const observed_call& call) { ladder_.stand(rung, step, call.sign, call.tool); }
  loop_rung rung() const { return ladder_.rung(); }

private:
  void take(std::int64_t step, const loop_found& found, const observed_call& call, loop_verdict& verdict);
  void take_results(std::int64_t step, const std::vector<observed_result>& results, loop_verdict& verdict);

  loop_detector detector_;
  loop_ladder ladder_;
};

} // namespace troupe::policy
