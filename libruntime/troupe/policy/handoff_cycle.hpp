#pragma once
// HAND-OFF CYCLES (SEMANTICS 2): control passed between the same agents in the same order 3 times without a new tool outcome or new text.
// Never on the order alone: teams work in turns. Never more than 20 hand-offs a task, whatever they bring. Hand-offs cross supervisors, so
// whoever runs the task watches them.

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "troupe/policy/loop_sign.hpp"

namespace troupe::policy {

enum class handoff_ruling { pass, cycle, too_many };

class handoff_cycle {
public:
  static constexpr std::size_t handoffs_max = 20;

  /// `from` gives the task to `to`, after it has said `text` and its tools brought `outcomes` (all of them, as one number; 0: none ran).
  /// Both together are what the turn has brought; a turn that brings what an earlier one brought is nothing new.
  handoff_ruling pass(const std::string& from, const std::string& to, const std::string& text, std::uint64_t outcomes) {
    return pass_said(from, to, sketch_of(text).whole, outcomes);
  }
  /// `said`: the sketch's `whole` of what it has said, as the journal keeps it.
  handoff_ruling pass_said(const std::string& from, const std::string& to, std::uint64_t said, std::uint64_t outcomes) {
    const bool is_new = knows(said) + knows(outcomes) < 2;
    known_.push_back(said);
    known_.push_back(outcomes);
    turns_.push_back({from, to, is_new});
    if (turns_.size() > handoffs_max)
      return handoff_ruling::too_many;
    for (std::size_t period = 1; 3 * period <= turns_.size(); ++period)
      if (goes_round(period))
        return handoff_ruling::cycle;
    return handoff_ruling::pass;
  }

private:
  struct turn {
    std::string from, to;
    bool brought = false; ///< something new
  };

  /// Nothing said and nothing run is never new.
  bool knows(std::uint64_t what) const {
    return what == 0 || what == nothing_ || std::find(known_.begin(), known_.end(), what) != known_.end();
  }

  /// The last three rounds pass control in the same order, and the last two brought nothing.
  bool goes_round(std::size_t period) const {
    for (auto i = turns_.size() - 2 * period; i < turns_.size(); ++i)
      if (turns_[i].from != turns_[i - period].from || turns_[i].to != turns_[i - period].to || turns_[i].brought)
        return false;
    return true;
  }

  std::uint64_t nothing_ = sketch_of("").whole;
  std::vector<turn> turns_;          ///< at most `handoffs_max` and one
  std::vector<std::uint64_t> known_; ///< two a turn
};

} // namespace troupe::policy
