#pragma once
// One tool call at the tool host, whole (SEMANTICS 4): attempts, back-off, circuit breaker, alternatives, and the text that the agent
// replans from. The host translates: it validates, asks `parallel_limits`, stores events, runs, and comes back with the outcome.
//
//   start, go_on --> run_tool --outcome ok--> report
//     ^          |
//     |          +-- failed | timed out | not started --> wait_until --tick--> run_tool …   (retries; not for `once`, unless nothing ran)
//     |          |                                    \--> the alternative, with its own retries, and so on; none twice
//     +----------+                                     \-> report: which tool, what failed, what was tried, what else there is
//
// A failed call's status is that of its worst attempt, not of its last: what a service read once has started, whoever is out of reach
// later. Invariants: a tool of effect `once` that may have run is not run again; no tool of the chain of alternatives twice; an open
// breaker is never bypassed; every path ends in a report, or in a question to a human (`tool_in_doubt`).

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <boost/describe.hpp>

#include "troupe/model/config.hpp"
#include "troupe/model/event.hpp"
#include "troupe/model/tool.hpp"
#include "troupe/policy/circuit_breaker.hpp"
#include "troupe/policy/replay.hpp"
#include "troupe/util/time_point.hpp"

namespace troupe::policy {

/// The breakers of tools, by name; one thread only. What counts as a failure is that a tool gives no answer (timed out, not started,
/// in doubt). One that ran and says no is well: grep that finds nothing must not be taken from everybody.
class tool_breakers {
public:
  std::shared_ptr<circuit_breaker> of(const std::string& tool);

private:
  std::map<std::string, std::shared_ptr<circuit_breaker>> breakers_;
};

/// How often each tool was called in one task, by model or as an alternative (`max_calls`). Retries do not count. Shared by the hosts of
/// all tools that the task calls: any thread.
class tool_quota {
public:
  explicit tool_quota(std::map<std::string, std::int64_t> calls = {}) : calls_(std::move(calls)) {}
  bool has(const tool_spec& tool) const;
  /// Takes one call; false: the tool's `max_calls` are used up.
  [[nodiscard]] bool take(const tool_spec& tool);

private:
  mutable std::mutex mutex_;
  std::map<std::string, std::int64_t> calls_;
};

struct tool_call_facts {
  std::string call_id;
  std::string tool;                                 ///< the one that the model asked for
  std::vector<std::string> agent_tools;             ///< what the agent may call: "what else it has"
  std::optional<time_point> deadline;               ///< the end of the task's (or run's) time
  std::function<time_point(time_point now)> stands; ///< where that may still move: the end as it stands, which no wait goes beyond
  retry_spec backoff;                               ///< base and cap; attempts come from the tool's `retries`
  doubt_rule doubt = doubt_rule::tell;
  std::string doubt_words; ///< what a human said of it, for the agent
};

/// Run this tool with the call's arguments; answer with `finished`, or with `refused` where its schema does not take them.
struct run_tool {
  const tool_spec* tool = nullptr;      ///< of the map that the machine was made with
  std::int64_t attempt = 1;             ///< of this tool, from 1
  std::chrono::milliseconds timeout{0}; ///< min(tool's timeout, time left)
  std::string instead_of;               ///< the tool that this alternative replaces; empty: the one that was asked for
};

/// Answer with `tick` at this time.
struct wait_tool {
  time_point at;
};

/// Stop the call that is running (runner::cancel); its outcome still has to come in.
struct abort_tool {};

/// The call is over. `text` is the tool message for the model.
struct report_tool {
  std::string tool; ///< the one that answered; empty: none ran
  tool_status status = tool_status::ok;
  std::string text;
  bool in_doubt = false; ///< an effect that must not be repeated may have happened: the run counts it
};

/// std::monostate: nothing to do, what came in was late.
/// tool_in_doubt: nothing more happens here; another machine goes on with what is recorded, once a human has decided.
using tool_decision = std::variant<std::monostate, run_tool, wait_tool, abort_tool, report_tool, tool_in_doubt>;

struct tool_step {
  std::vector<event_body> events; ///< tool_failed; outcome_unknown; breaker_changed with an empty provider and the tool as model
  tool_decision next;
};

/// One thread only. Times never go back. `random` is uniform in [0, 1).
class tool_attempts {
public:
  /// `tools` must outlive the machine and hold every name; `quota` may be null: no limit of calls.
  tool_attempts(const std::map<std::string, tool_spec>& tools, tool_call_facts facts, tool_breakers& breakers,
                std::shared_ptr<tool_quota> quota);

  tool_step start(time_point now);
  /// In place of `start` for a call that was begun and has no result, when whoever ran it has died: as `decide_recovery` says.
  tool_step go_on(const open_call& recorded, time_point now);
  /// What is `permanent` is not repeated; a Retry-After is a lower bound of the wait, and beyond the cap the alternative is next.
  tool_step finished(const tool_outcome& outcome, time_point now, double random);
  /// The arguments do not satisfy this tool's schema (an alternative's may differ); nothing ran, and nothing would.
  tool_step refused(const std::string& violations, time_point now);
  tool_step tick(time_point now);
  tool_step cancel(time_point now);

  bool done() const { return phase_ == phase::done; }

private:
  enum class phase { fresh, waiting, running, done };
  std::optional<std::chrono::milliseconds> time_left(time_point now) const;
  std::optional<std::chrono::milliseconds> time_to_wait(time_point now) const;
  /// Turns to a tool that has not been turned to; whether it may run. If not, why is listed.
  bool turn_to(tool_step& step, const tool_spec& tool, time_point now);
  /// The next alternative that may run, turned to; none: false.
  bool turn_to_alternative(tool_step& step, time_point now);
  void run(tool_step& step, time_point now);
  void go_on_waiting(tool_step& step, time_point now);
  void after_failure(tool_step& step, tool_status status, bool may_repeat, std::optional<std::chrono::milliseconds> retry_after,
                     time_point now, double random);
  void report(tool_step& step, tool_status status, std::string text, bool in_doubt = false);
  void report_failure(tool_step& step, tool_status status);
  void in_doubt(tool_step& step, const std::string& tool, std::int64_t attempt);
  /// An attempt of `tool_` has ended, or was begun by whoever has died, and gave no result.
  void note_attempt(tool_status status);
  tool_status worst_of(tool_status last) const;
  void note_breaker(tool_step& step, std::optional<breaker_state> changed) const;

  const std::map<std::string, tool_spec>& tools_;
  tool_call_facts facts_;
  tool_breakers& breakers_;
  std::shared_ptr<tool_quota> quota_;
  phase phase_ = phase::fresh;
  const tool_spec* tool_ = nullptr;
  std::int64_t attempt_ = 0;
  std::chrono::milliseconds timeout_{0};
  time_point wait_until_{};
  bool cancelled_ = false;
  std::string ran_;            ///< the last tool that was run
  std::string partial_output_; ///< what the last failed one wrote
  std::vector<tried_tool> tried_;
  tool_status worst_ = tool_status::not_started;             ///< of all attempts
  tool_status worst_with_effect_ = tool_status::not_started; ///< of those of tools that do something
  tool_status worst_of_tool_ = tool_status::not_started;     ///< of those of `tool_`
  std::set<std::string> seen_;
  std::shared_ptr<circuit_breaker> breaker_; ///< of `tool_`
  breaker_permit permit_;                    ///< dies before `breaker_`
};

/// All tools that one call may come to, in the order in which it turns to them: the one that was asked for, its alternative, and so on;
/// none twice. They live in `tools`.
std::vector<const tool_spec*> chain_of(const std::map<std::string, tool_spec>& tools, const std::string& tool);

// --- refusals: nothing ran, the model is told what is wrong --------------------------------------------------------

/// The model's name of a tool may be anything: it is quoted and cut. `suggestion` is the nearest name of `agent_tools`, or empty.
std::string unknown_tool_text(const std::string& name, const std::string& suggestion, const std::vector<std::string>& agent_tools);
std::string tool_not_allowed_text(const std::string& name, const std::vector<std::string>& agent_tools);
/// Arguments that do not parse, in an answer that ended for its length (finish_reason::length). What else is wrong with arguments is said
/// by whoever checks them (tools/toolset.hpp).
std::string arguments_cut_off_text(const std::string& tool);
std::string arguments_invalid_text(const std::string& tool, const std::vector<std::string>& violations);
std::string max_calls_text(const tool_spec& tool);

// --- failures ------------------------------------------------------------------------------------------------------

/// What the model replans from: which tool, what failed, what was tried, what else it has. `output` is what the last tool wrote before it
/// failed. Bounded, whatever the tools said.
std::string tool_failure_text(const std::string& tool, tool_status status, const std::vector<tried_tool>& tried, const std::string& output,
                              const std::vector<std::string>& agent_tools);

// --- recovery ------------------------------------------------------------------------------------------------------

/// How a call goes on that was begun and has no result, when whoever ran it has died.
enum class recovery {
  repeat,      ///< the tool that it turned to last, with the same idempotency key: nothing of it ran, or a repeat does no harm
  alternative, ///< that tool's failure is recorded: what was to take its place does
  report,      ///< its failure is recorded, and nothing was to take its place: the agent is told that error
  in_doubt,    ///< it may have taken effect, and nobody knows: the agent is told so, and the run counts it
};
BOOST_DESCRIBE_ENUM(recovery, repeat, alternative, report, in_doubt)

/// A crash between "about to run" and "done": `none` and `idempotent` are repeated, `once` is not (SEMANTICS 4). A failure that is
/// recorded has decided what comes next, and that stands: no tool that the call has left is turned to again, so that one of effect
/// `once` which failed, and may have taken effect all the same, does not run twice.
recovery decide_recovery(const open_call& recorded);

/// The tool message for a call whose outcome is unknown. `words`: what a human said of it.
std::string outcome_unknown_text(const std::string& tool, const std::string& words = {});

} // namespace troupe::policy
