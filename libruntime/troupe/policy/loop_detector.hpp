#pragma once
// LOOP DETECTION (SEMANTICS 2): does this agent go round in circles? One detector a task; it sees what the agent's messages hold, in their
// order, as numbers (loop_sign.hpp), and keeps no more than its windows.
//
//   repeat       the same call 3 times within the last 12 calls (`loop.repeats`, `loop.window`). A successful call that writes resets what
//                was counted of all other calls: the same question after a change is no repeat. To ask an agent that can change nothing is
//                no write. Of a polling tool only calls whose outcome stays the same count, and 20 of them.
//   cycle        2 to 4 different calls in the same order, 3 times in a row, that bring the same outcomes. Calls whose outcomes differ page
//                through something, or work on it: never on the order alone. Calls of polling tools are left to their own limit.
//   no progress  a tool of effect none, or calls that were refused: different arguments, yet the same outcome in 6 steps one after the
//                other. Outcomes that are empty by nature do not count, a fan-out in one response counts once, a new successful write is
//                progress. Once it was found and the tool was taken away, each further call of that tool is part of it (for `loop.window`
//                steps).
//   monologue    3 messages without a call whose texts are the same or nearly so (similarity 0.95) and that had the same reply.
//
// What the runtime refused never resets a streak; it takes part in whatever its call takes part in.

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "troupe/model/event.hpp"
#include "troupe/policy/loop_sign.hpp"

namespace troupe::policy {

struct loop_rules {
  std::int64_t repeats = 3;
  std::int64_t window = 12;       ///< calls, the one that is judged included
  std::int64_t polls = 20;        ///< same outcomes of a polling tool
  std::int64_t same_outcomes = 6; ///< steps of one tool
  std::int64_t monologue = 3;     ///< messages
  double similarity = 0.95;
  bool human = false; ///< is asked before the task fails (the ladder's)
};

struct observed_call {
  std::uint64_t sign = 0; ///< `call_sign`
  std::uint64_t tool = 0; ///< `tool_sign`
  bool reads = false;     ///< of effect none
  bool polling = false;
  bool idle = false;  ///< asks an agent that can reach no tool with an effect: no write, though no tool of effect none either
  bool taken = false; ///< its tool was taken away: it is refused whatever it asks
};

/// What came of a call.
struct observed_result {
  std::uint64_t outcome = 0; ///< `outcome_sign`; 0: none is known
  bool succeeded = false;
  bool ran = true;     ///< false: refused, by the runtime or for its arguments
  bool hollow = false; ///< `is_hollow`
};

struct loop_found {
  loop_kind kind = loop_kind::repeat;
  std::size_t call = 0;     ///< its place in the response
  std::int64_t count = 0;   ///< calls, rounds, steps or messages
  bool same_result = false; ///< of a repeat: all earlier calls had one outcome
  friend bool operator==(const loop_found&, const loop_found&) = default;
};

/// One thread only. A call costs O(window) steps over numbers; nothing is allocated once the windows are full.
class loop_detector {
public:
  explicit loop_detector(loop_rules rules = {}) : rules_(rules) {}

  /// A response with calls begins; `call` follows for each, in the order asked, before any of them runs. All are judged: the first that is
  /// a loop is not the only one that may not run.
  void begin_step();
  std::optional<loop_found> call(const observed_call& asked);
  /// What came of a call of the last step, by its place.
  std::optional<loop_found> result(std::size_t place, const observed_result& came);
  /// Whether a result of this step may be one too many: it is to be told before the next request leaves.
  bool waits_for_results() const;
  /// A message without a call. `reply`: what it was answered (of a broken contract, what is wrong), as a number.
  std::optional<loop_found> said(const text_sketch& text, std::uint64_t reply);

  const loop_rules& rules() const { return rules_; }
  /// The calls of the last response.
  const std::vector<observed_call>& step_calls() const { return step_; }

private:
  struct entry {
    observed_call asked;
    observed_result came;
    bool known = false; ///< its outcome
    bool counts = true; ///< no write of another call since
  };
  struct poll {
    std::uint64_t sign = 0;
    std::uint64_t outcome = 0;
    std::int64_t count = 0;
  };
  struct streak {
    std::uint64_t tool = 0;
    bool ran = true;
    std::uint64_t outcome = 0;
    std::int64_t count = 0;
    std::uint64_t step = 0;               ///< that was counted last
    std::array<std::uint64_t, 8> signs{}; ///< of the last calls that were counted
  };
  struct message {
    text_sketch text;
    std::uint64_t reply = 0;
  };

  std::optional<loop_found> judge_repeat(const observed_call& asked, std::size_t place);
  std::optional<loop_found> judge_cycle(std::size_t place) const;
  bool goes_round(std::size_t period) const;
  streak* find_streak(std::uint64_t tool, bool ran);
  bool was_found(const streak* which) const;
  std::optional<loop_found> count_outcome(std::size_t place, const observed_call& asked, const observed_result& came);
  void written(const entry& by);

  loop_rules rules_;
  std::vector<entry> calls_;        ///< the last max(window, 12)
  std::uint64_t gone_ = 0;          ///< calls before those
  std::vector<observed_call> step_; ///< of the last response
  std::uint64_t step_begin_ = 0;    ///< its first call's number
  std::uint64_t steps_ = 0;
  std::vector<poll> polls_;
  std::vector<streak> streaks_;
  std::vector<message> said_;
};

} // namespace troupe::policy
