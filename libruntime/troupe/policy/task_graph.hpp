#pragma once
// TASK GRAPH: the decisions of an orchestrator over one workflow (INTERFACES 1, SEMANTICS 5 and 6). Pure: each input returns
// commands, which the actor executes in order: it records events durably before it executes what follows them.
//
// Rules
//   needs        a task starts once all that it needs have ended: `needs`, what its templates read, and its `when`. A cycle is
//                refused by `create`.
//   when         the output of `when.task` must satisfy the schema; else the task is `skipped`.
//   skipped      counts as done, without output (templates: absent; conditions: null): who needs it runs. (A chain that should be
//                skipped as a whole says `when` in each.)
//   for_each     the template must yield an array of at most 10,000 elements, else the task ends as `error`. One task an element,
//                "id[0]" …, in order, at most `parallel` at once. Its output is the array of their outputs, null for what failed.
//                No element: success with [].
//   item fails   on_failure fail: no further item starts, those that run go on, then the task ends with the first failed item's
//                status and reason. continue: all items run; the task ends with the first failed item's status, its output is the
//                array.
//   attempts     a failed task starts anew, up to `attempts` in all, with "Previous attempt failed. Try a different approach."
//                appended to its instruction; never after a fatal error (`task_outcome::fatal`), budget_exceeded, rejected, loop
//                or cancelled, nor after a human's rejection of its output. Items have their own attempts. A sub-workflow that failed
//                ended as its first failed task did.
//   on_failure   fail (default): no new task starts, those that run are cancelled, the run is `failed` with this task's reason.
//                continue: it counts as done, without output (a for_each keeps its array).
//   templates    read of a task that has ended: status, attempts (skipped: 0), agent (of several: whose answer it is), error, cost_usd,
//                output (of a success), and of a for_each output and items, its elements' outputs.
//   result       the result template; without one the output of the last task in the file. Null unless the run completed.
//   abort        budget_exceeded, timeout, cancelled: no new task or attempt starts; running ones are cancelled, for
//                budget_exceeded after a grace of 5 s in which calls in flight may finish; once all have answered (or `give_up`)
//                the run is `aborted`. A running task that was cancelled by this ends
//                with the abort's status. What is done stays as partial result; what never started has no record. Call `abort`
//                before handing in the outcomes that it explains; a task's or agent's own limit is no abort: that task ends as
//                budget_exceeded or timeout.
//   resume       finished tasks are not started again; one that was started but not finished is started with the same attempt and
//                `resumed`, and with the instruction that is recorded. What an abort ended is unfinished again once the run is resumed,
//                also where its process died before that end of the run was recorded.

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "troupe/model/config.hpp"
#include "troupe/model/error.hpp"
#include "troupe/model/event.hpp"

namespace troupe::policy {

inline constexpr std::int64_t max_for_each_items = 10'000;
inline constexpr milliseconds budget_abort_grace{5'000};
inline constexpr const char* next_attempt_words = "Previous attempt failed. Try a different approach.";

/// The reason of a task whose output a human rejected.
inline constexpr const char* rejected_reason = "rejected";

/// How one attempt of a task (or a sub-workflow) ended.
struct task_outcome {
  task_status status = task_status::success;
  std::string reason; ///< machine-readable, empty on success
  std::string error;  ///< for people
  json output;
  bool fatal = false; ///< an LLM error that is fatal for the task, or poison: no further attempt
  std::string agent;  ///< who did it last, where it is not the one that the file names
};
/// Whether another attempt makes sense after it.
bool may_try_again(const task_outcome& outcome);

enum class abort_reason { budget_exceeded, timeout, cancelled };
BOOST_DESCRIBE_ENUM(abort_reason, budget_exceeded, timeout, cancelled)

// --- commands ------------------------------------------------------------------------------------------------------

/// Append this event to the journal, before executing what follows.
struct record_event {
  std::string path;
  std::string agent;
  event_body body; ///< task_started, task_retried, task_finished
};
/// Give this task to its agent; answer with `task_ended(path, attempt, outcome)`.
struct start_task {
  std::string path;                ///< "research", "sections[3]", with the graph's prefix
  const task_spec* spec = nullptr; ///< valid as long as the graph: approval, timeout, budget stand there
  std::string agent;
  std::string instruction;
  std::int64_t attempt = 1;
  std::optional<std::int64_t> index;   ///< of an item
  bool resumed = false;                ///< it was started before: go on from the journal
  std::vector<std::string> arbitrates; ///< it is an arbiter: the agents whose answers it sees, in the order shown
  std::string within;                  ///< as `task_started` has it
};
/// Run this workflow with this input; its paths begin with `path` + "/". Answer with `task_ended`.
struct start_subworkflow {
  std::string path;
  const task_spec* spec = nullptr;
  std::string workflow;
  json input;
  std::int64_t attempt = 1;
  std::optional<std::int64_t> index;
  bool resumed = false;
};
/// Stop this task; answer with `task_ended` (status cancelled, or what it reached within the grace).
struct cancel_task {
  std::string path;
  milliseconds grace{0};    ///< calls in flight may finish for so long
  bool if_harmless = false; ///< only when no tool of its agent has an effect; else it goes on and its outcome is kept
};
/// People decide between answers; answer with `task_ended(path, attempt, outcome)` whose output is { "choice": N from 1 } or
/// { "answer": … }.
struct ask_human {
  std::string path; ///< "check(human)"
  const task_spec* spec = nullptr;
  std::string instruction;
  std::vector<std::pair<std::string, json>> answers; ///< member, answer
  std::int64_t attempt = 1;
  bool resumed = false;
  std::string within; ///< as `task_started` has it
};
/// The run has ended; nothing comes after it.
struct finish_run {
  run_status status = run_status::completed; ///< completed, failed, aborted
  std::string reason;                        ///< empty when completed
  std::string error;                         ///< for people: the first failed task's
  json result;
  task_status cause = task_status::success; ///< failed: the first failed task's status
  bool fatal = false;                       ///< failed: another attempt of all of it makes no sense
};
using graph_command = std::variant<record_event, start_task, start_subworkflow, cancel_task, ask_human, finish_run>;
using graph_commands = std::vector<graph_command>;

// --- what was before -----------------------------------------------------------------------------------------------

/// What the journal knows of one path.
struct restored_task {
  std::int64_t attempt = 1;          ///< the last one that was decided on
  bool started = true;               ///< false: only its retry is recorded
  std::optional<std::int64_t> items; ///< of a for_each task that was opened
  std::optional<task_finished> finished;
  std::int64_t order = 0;                   ///< when it finished, among the others: the first failure is the run's reason
  std::string instruction;                  ///< of its last start: what it goes on with
  json given;                               ///< likewise: items, or a sub-workflow's input; null: computed as before
  std::optional<answers_resolved> resolved; ///< of a task with `agents`: its answer was decided on
  std::string agent;                        ///< that its end was recorded of
  std::string within;                       ///< of its last start
  bool by_agent = false;                    ///< an agent's, and no sub-workflow
};
using restored_state = std::map<std::string, restored_task>;

/// Folds a run's events, in order, into what `start` wants. Linear.
restored_state fold_tasks(const std::vector<event_ptr>& events);

// --- the machine ---------------------------------------------------------------------------------------------------

struct graph_plan;

class task_graph {
public:
  /// Compiles templates and schemas. `prefix`: of a sub-workflow its task's path and "/". Errors: unknown need, cycle, bad
  /// template or schema, a task with neither agent nor workflow, duplicate ids; `where` names the task. `seed`: the run's id, from
  /// which the order is drawn in which an arbiter sees answers.
  static expected<task_graph> create(workflow_spec workflow, std::string prefix = {}, std::string seed = {});
  /// Of a workflow that is compiled already (task_graph_plan.hpp), not null.
  static task_graph create(std::shared_ptr<const graph_plan> plan, std::string prefix = {}, std::string seed = {});
  task_graph(task_graph&&) noexcept;
  task_graph& operator=(task_graph&&) noexcept;
  ~task_graph();

  /// What `{{ state.key }}` reads: an object, asked for whenever templates are evaluated, if one reads it. Before `start`; absent without
  /// it.
  void read_state(std::function<json()> values);
  /// What `{{ tasks.ID.cost_usd }}` reads, asked for when the task of this path ends, if a template reads it. Likewise.
  void read_costs(std::function<usd(const std::string& path)> costs);
  /// A sub-workflow: which attempts of the tasks above it this is (`task_started::within`). Likewise.
  void belongs_to(std::string attempts_above);
  /// Once. `restored`: of the whole run; paths outside of the prefix are ignored. A sub-workflow that is not `resumed` starts with
  /// nothing restored.
  graph_commands start(json input, restored_state restored = {});
  /// One attempt of one task or sub-workflow has ended. Late and unknown ones are ignored.
  graph_commands task_ended(const std::string& path, std::int64_t attempt, task_outcome outcome);
  /// Ends the run gracefully. The first one gives the reason; a later timeout or cancel ends the grace of budget_exceeded. No
  /// effect once the run fails.
  graph_commands abort(abort_reason reason);
  /// The grace is over: whatever still runs is taken for cancelled, and the run ends.
  graph_commands give_up();

  bool finished() const;
  /// Tasks of this workflow (items and sub-workflow's tasks not counted), and those that have ended with success or were skipped.
  std::int64_t total_tasks() const;
  std::int64_t completed_tasks() const;
  /// Started and not ended, in order.
  std::vector<std::string> running() const;
  const workflow_spec& workflow() const;

private:
  struct impl;
  explicit task_graph(std::unique_ptr<impl> i);
  std::unique_ptr<impl> impl_;
};

} // namespace troupe::policy
