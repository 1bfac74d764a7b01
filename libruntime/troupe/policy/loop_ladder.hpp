#pragma once
// THE LADDER (SEMANTICS 2): what is done about a loop, one rung a detection within the task. It goes up only; a new attempt of the
// task knows nothing of what the last one was told, and begins below it.
//
//   1 told        that very call is refused from now on, the agent is told, its temperature is halved
//   2 tool_taken  the tool is refused for the rest of the task, and the next answer must be another action
//   3 restarted   the agent begins anew with a digest of what it did
//   4 failed      the task ends as `loop`
//     asked       with `loop.human`, a human decides that first. Whom a human lets go on has a new ladder and a new detector: nothing is
//                 refused any more, and nothing that was counted counts

#include <algorithm>
#include <cstdint>
#include <vector>

#include "troupe/model/event.hpp"

namespace troupe::policy {

/// What becomes of one call.
enum class call_ruling : std::uint8_t {
  run,
  refused_call, ///< it looped before (rung 1)
  refused_tool, ///< its tool was taken away (rung 2)
  looping,      ///< it is the loop that was found now
};

class loop_ladder {
public:
  explicit loop_ladder(bool human = false) : human_(human) {}

  /// A loop was found in this step: the rung that it brings. Of one step only the first counts: the agent has not seen what it was told.
  /// `sign` and `tool` name the call that is to be refused.
  loop_rung climb(std::int64_t step, std::uint64_t sign, std::uint64_t tool) {
    if (step == step_)
      return rung_;
    const auto next = above(rung_);
    stand(next, step, sign, tool);
    return next;
  }

  /// What a recorded event says; as `climb` to this rung.
  void stand(loop_rung rung, std::int64_t step, std::uint64_t sign, std::uint64_t tool) {
    rung_ = std::max(rung_, rung);
    step_ = step;
    if (std::find(signs_.begin(), signs_.end(), sign) == signs_.end())
      signs_.push_back(sign);
    if (rung == loop_rung::tool_taken && std::find(tools_.begin(), tools_.end(), tool) == tools_.end())
      tools_.push_back(tool);
  }

  call_ruling ruling(std::uint64_t sign, std::uint64_t tool) const {
    if (std::find(tools_.begin(), tools_.end(), tool) != tools_.end())
      return call_ruling::refused_tool;
    return std::find(signs_.begin(), signs_.end(), sign) != signs_.end() ? call_ruling::refused_call : call_ruling::run;
  }

  loop_rung rung() const { return rung_; }
  /// Whether this step has brought its rung already.
  bool climbed_in(std::int64_t step) const { return step == step_; }

private:
  loop_rung above(loop_rung rung) const {
    switch (rung) {
    case loop_rung::none:
      return loop_rung::told;
    case loop_rung::told:
      return loop_rung::tool_taken;
    case loop_rung::tool_taken:
      return loop_rung::restarted;
    case loop_rung::restarted:
      return human_ ? loop_rung::asked : loop_rung::failed;
    default:
      return loop_rung::failed;
    }
  }

  bool human_ = false;
  loop_rung rung_ = loop_rung::none;
  std::int64_t step_ = -1;
  std::vector<std::uint64_t> signs_; ///< at most one a rung
  std::vector<std::uint64_t> tools_;
};

} // namespace troupe::policy
