#pragma once
// What a resume needs to know, as pure folds over recorded events (SEMANTICS 9): a recorded response or tool outcome is never paid for or
// performed again; what was begun and has no outcome is listed.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "troupe/model/event.hpp"

namespace troupe::policy {

/// A request that left, or was about to, and has neither response nor failure: it may have been answered, and charged.
struct unanswered_request {
  std::string task;
  std::string agent;
  std::string step_id;
  std::int64_t request = 1;
  std::string provider;
  std::string model;
  usd worst_case;
  std::int64_t time_us = 0;
  /// As `outcome_unknown::id` names it.
  std::string id() const { return step_id + "#" + std::to_string(request); }
};

/// A tool that a call turned to, and how that ended.
struct tried_tool {
  std::string tool;
  std::int64_t attempts = 0; ///< 0: it was not run
  std::string error;         ///< the last one
};

/// A tool call that was started and has no result. `tool`, `attempt` and `instead_of` are those of what it turned to last.
struct open_call {
  std::string call_id;
  std::string tool;
  json arguments;
  troupe::effect effect = troupe::effect::none; ///< of its last start
  std::int64_t attempt = 1;
  std::string instead_of;
  /// Of that attempt, where it is recorded: nothing is in doubt. What was to come `next` had not been recorded yet.
  std::optional<tool_failed> failure;
  bool told = false;             ///< its unknown outcome has been recorded
  std::vector<tried_tool> tried; ///< all that it turned to so far: the one asked for, then alternatives
};

/// One task as its events tell it: the state of its current attempt.
struct task_history {
  std::string task;
  std::string agent;
  bool started = false;
  std::int64_t attempt = 1; ///< the current one; a retry that was recorded but not started counts
  std::string within;       ///< and of the tasks above it (`task_started`)
  std::string instruction;
  std::optional<std::int64_t> items;

  /// The conversation of this attempt without its first messages (system, instruction), which the agent makes anew: assistant messages,
  /// each followed by the results of its calls in the order asked, and injected messages; after a restart because of a loop it begins with
  /// the digest. It ends with the last assistant message where
  /// that one has calls; their results stand in `results`, and what was injected after it in `injected`.
  conversation messages;
  /// One for each call of the last assistant message, in its order; null: none yet.
  std::vector<message_ptr> results;
  /// Injected after the last assistant message; they follow its results.
  std::vector<message_ptr> injected;
  /// The calls of the last assistant message that have no result yet.
  std::vector<tool_call> unresolved;

  std::vector<open_call> open_calls;          ///< of the last assistant message: started, no result, in the order of their starts
  std::vector<unanswered_request> unanswered; ///< of all attempts
  std::int64_t steps = 0;                     ///< responses of this attempt
  std::string last_step_id;                   ///< of the last request of this attempt; empty: none
  bool last_step_answered = false;            ///< that step has its response
  finish_reason last_finish = finish_reason::stop;
  std::int64_t repairs = 0; ///< contract repairs that this attempt has used
  std::int64_t crashes = 0; ///< of its agent, in all attempts
  std::map<std::string, std::int64_t>
      calls_of;                          ///< tool -> calls, as an alternative too, in all attempts; not those that are open (max_calls)
  std::optional<task_finished> finished; ///< its end, of the current attempt

  // How this attempt's conversation was made to fit (SEMANTICS 1, Context).
  std::int64_t summaries = 0;
  std::int64_t last_summary_step = 0; ///< the step that the latest one was made for; 0: none
  std::size_t link = 0;               ///< of the model's chain: the first that is asked
  std::int64_t learned_window = 0;    ///< what the provider's refusals have shown; 0: nothing
  std::int64_t last_input_tokens = 0; ///< as the provider stated them for the last request that was answered; 0: it did not

  /// The conversation so far, complete where `unresolved` is empty: messages, the results that are there, what was injected.
  conversation assembled() const;
};

/// Folds the events of one task (others are ignored by their path when `task` is not empty). Never throws for what events contain.
class task_fold {
public:
  task_fold() = default;
  explicit task_fold(std::string task) { history_.task = std::move(task); }
  void apply(const event& e);
  const task_history& history() const { return history_; }
  task_history take() && { return std::move(history_); }

private:
  void begin_attempt(std::int64_t attempt);
  void close_exchange();
  void take_response(const llm_responded& body);
  void take_result(const tool_finished& body);
  void take_cut(const context_cut& body);

  task_history history_;
  std::vector<bool> refused_; ///< of the open exchange, by call
};

/// The history of one task from its own events, in their order.
task_history rebuild(const std::vector<event_ptr>& events_of_task);

/// What is recorded of a call of a task's last response: its end, or how far it came; or nothing, then nothing ran.
struct call_record {
  std::optional<tool_finished> end;
  std::optional<open_call> open;
};
call_record record_of(const std::vector<event_ptr>& events_of_task, const std::string& call_id);

/// A run's events by task path ("" for the run itself), each in order.
std::unordered_map<std::string, std::vector<event_ptr>> by_task(const std::vector<event_ptr>& events);

/// What a task has come to, for whoever goes on with its run.
struct task_state {
  std::string agent;
  bool started = false;
  bool finished = false;
  std::int64_t attempt = 1;                  ///< the current one; after a recorded retry the next one
  task_status status = task_status::success; ///< where finished
  std::string reason, error;
  json output;
  std::optional<std::int64_t> items;       ///< of a for_each task, once it was started
  std::vector<std::int64_t> items_started; ///< indices, ascending
  std::int64_t crashes = 0;
};

/// A run as its events tell it. Spending counts what was charged, and for each request without an outcome its worst case and one step, so
/// that a guard made from it can never let a limit be passed. A task's spending stands in each path above it too.
struct run_history {
  std::string run_id;
  bool started = false;
  run_started start;
  limits budget; ///< with what was added by resumes
  bool ended = false;
  run_finished end;                        ///< where ended
  bool interrupted = false;                ///< the last owner said that it stops
  std::map<std::string, task_state> tasks; ///< by path
  spend spent;
  std::map<std::string, spend> spent_by_task;
  std::map<std::string, spend> spent_by_agent;
  std::vector<unanswered_request> unanswered; ///< of all tasks, in the order in which they left
  std::int64_t owned_ms = 0;                  ///< the run's time that all owners have used, up to the last event
  std::int64_t last_seq = 0;
  std::int64_t last_us = 0;
  std::int64_t idle_resumes = 0; ///< how often it was taken up since it last got anywhere (3: park it, SEMANTICS 9)
};

/// Folds a whole run. Never throws for what events contain.
class replay_fold {
public:
  void apply(const event& e);
  /// With the worst cases of what is unanswered.
  run_history history() const;

private:
  void charge(const event& e, spend amount);

  run_history history_;              ///< `spent` without the unanswered
  std::int64_t owned_before_ms_ = 0; ///< by earlier owners
  std::int64_t owner_since_us_ = 0;
};

run_history rebuild_run(const std::vector<event_ptr>& events);

/// Whether two paths are the same task, or `path` stands below `above` ("a[2]", "a/b", "a(sceptic)" are below "a").
bool is_within(std::string_view path, std::string_view above);
/// The path above: of an element its for_each task, of a task in a sub-workflow the task that runs it, of one agent's part in a task that
/// several do that task; empty at the top.
std::string_view parent_path(std::string_view path);
/// The index of an element ("sections[3]" -> 3).
std::optional<std::int64_t> element_index(std::string_view path);

} // namespace troupe::policy
