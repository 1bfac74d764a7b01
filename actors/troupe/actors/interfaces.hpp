#pragma once
// The map of the system: every typed actor interface, and the messages that they exchange. A message is one struct that says what it is.
// Messages inside one process share what is large (`shared_ptr`), so they are marked as local: they never cross a node.

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "troupe/actors/caf.hpp"
#include "troupe/model/budget.hpp"
#include "troupe/model/config.hpp"
#include "troupe/model/error.hpp"
#include "troupe/model/event.hpp"
#include "troupe/model/run.hpp"

namespace troupe::policy {
class tool_quota;
struct scope_usage;
struct loop_step;
struct loop_verdict;
class loop_watch;
} // namespace troupe::policy

namespace troupe::actors {

class human_time;
struct standing_ends;
struct run_context;
using run_ptr = std::shared_ptr<const run_context>;

// --- journal -------------------------------------------------------------------------------------------------------

/// Events of one run, in order. As a request: answered when they are durable. As `note`: nobody waits, yet whatever is appended later
/// is never durable without them.
struct append {
  std::string run_id, task, agent;
  std::vector<event_body> bodies;
};
struct note {
  std::string run_id, task, agent;
  std::vector<event_body> bodies;
};
struct appended {
  error failure; ///< code none: durable
};
/// Says where a run's sequence goes on; before its first event.
struct open_run {
  std::string run_id;
  std::int64_t last_seq = 0;
  std::int64_t last_us = 0; ///< of the latest event; none that follows is earlier
};
/// The run ended here: its sequence and subscribers are forgotten.
struct close_run {
  std::string run_id;
};
struct read_task {
  std::string run_id, task;
};
struct task_events {
  error failure;
  std::vector<event_ptr> events; ///< of that task, in order
};
struct published {
  std::vector<event_ptr> events;
};
/// Whoever listens to events.
using event_sink_actor = caf::typed_actor<takes<published>>;
/// The subscriber gets `published` for each group of events, after they are durable. Of one run, or of all ("").
struct subscribe {
  event_sink_actor subscriber;
  std::string run_id;
};
/// From the writer's thread: of what was handed over, some is durable, or is not.
struct groups_written {};
struct events_read {
  std::uint64_t ticket = 0;
  error failure;
  std::vector<event_ptr> events;
};

/// The JOURNAL gives each run's events their sequence and time, hands them to the writer's thread, and tells who waits or listens once
/// they are durable. One per process.
using journal_actor = caf::typed_actor<
    // Stores events; answers when they are durable.
    answers<appended, append>,
    // Stores events; nobody waits.
    takes<note>, takes<open_run>, takes<close_run>,
    // What is recorded of one task, everything noted before included.
    answers<task_events, read_task>,
    // Streams durable events to an actor.
    takes<subscribe>,
    // Internal: from the writer's thread.
    takes<groups_written>, takes<events_read>>;

// --- budget guard --------------------------------------------------------------------------------------------------

struct reserve {
  std::string id;    ///< unique while it lives
  std::string task;  ///< the task's id in its workflow; counts against its limits
  std::string agent; ///< likewise
  spend worst_case;
  usd least = usd::max(); ///< of the smallest request that is of use (max_tokens lowered); more than the worst case counts as that
  bool waits = true;      ///< false: refused where others would have to settle first
  std::string run_id;     ///< set by the run's guard when it asks further up: who is told of warnings there
};
struct reserve_answer {
  bool granted = false;
  std::string scope;                   ///< refused: whose limit (the innermost one that even the least does not fit) …
  limit_kind kind = limit_kind::money; ///< … of what
  std::string message;                 ///< … in words
  usd left = usd::max();               ///< … and what the tightest limit could still give once everything held has settled
};
/// The call has ended: this much was really spent, the rest of its reservation is free.
struct settle {
  std::string id;
  spend actual;
};
/// Nothing came of it (a wait is given up, a request never left).
struct release {
  std::string id;
};
struct budget_query {};
/// Each scope's limit, what is committed and what is held; those of the guards above last.
struct budget_report {
  std::shared_ptr<const std::vector<policy::scope_usage>> scopes;
};
struct time_check {};
struct time_checked {
  std::vector<budget_warned> warnings; ///< that are due now, each once
  std::optional<milliseconds> next;    ///< until the next one is due
};
/// The BUDGET GUARD holds the limits of one run, tenant or process; its parent holds those of the next larger thing. It monitors whoever
/// asks: what the dead held is settled to its worst case, since nobody knows what became of it, and what they waited for is given back.
using budget_guard_actor = caf::typed_actor<
    // Sets a call's worst case aside in the whole chain, or nowhere. Waits in line when others may still give back what it needs.
    answers<reserve_answer, reserve>,
    // Settles a reservation; the rest is free again.
    takes<settle>,
    // Gives a reservation back whole, or leaves the line.
    takes<release>,
    // How much of its limits, and of those above, is spent and held.
    answers<budget_report, budget_query>,
    // Which warnings its time is due for.
    answers<time_checked, time_check>>;

// --- llm gateway ---------------------------------------------------------------------------------------------------

struct llm_ask {
  run_ptr run;
  std::string task;    ///< path
  std::string agent;   ///< name in the configuration
  std::string step_id; ///< unique in the run; a second ask for one that is under way joins it
  std::string model;   ///< a name of `models`
  conversation messages;
  tool_declarations tools;
  std::string tool_choice;
  std::optional<double> temperature;
  std::int64_t max_tokens = 4096;
  clock_point deadline;                           ///< of the task on this agent, the run's included
  clock_point task_deadline = clock_point::max(); ///< the task's own, whichever agent has it
  std::shared_ptr<const standing_ends> stands;    ///< where waiting for humans moves these two; null: it does not
  bool recovering = false;                        ///< its agent came back: the response may be recorded meanwhile
  std::int64_t input_tokens = 0;    ///< estimated; models whose context it does not fit are not asked. 0: not known, all may be
  std::size_t first_link = 0;       ///< models of the chain before this one are not asked
  std::int64_t requests_before = 0; ///< of this step, sent for an earlier ask
  bool makes_fit = false;           ///< a request that is too long is answered with `too_long`, and asked again once it is shorter
};
struct llm_answer {
  message_ptr message; ///< null: it failed
  finish_reason finish = finish_reason::stop;
  task_status status = task_status::success; ///< of the task when the call failed
  bool fatal = false;                        ///< the task is not started anew
  std::string reason;                        ///< llm_rate_limited, budget_exceeded, …
  std::string error;                         ///< for people, every attempt listed
  std::string limit_scope;                   ///< budget_exceeded: whose limit ("run", "task ID", "agent NAME", …)
  bool crash = false;                        ///< a rehearsed crash: the agent that gets this dies
  bool too_long = false;                     ///< failed because the request fits no model that may be asked …
  bool refused = false;                      ///< … the provider said so; false: its estimate did
  std::size_t link = 0;                      ///< the model in the chain that answered, or that it has to fit
  std::int64_t requests = 0;                 ///< sent for this step so far
  std::int64_t input_tokens = 0;             ///< of the request, as the provider stated them; 0: it did not
};
/// Ends all calls of one task (path), or of the whole run (empty): each is answered with `cancelled` once nothing of it is left.
struct cancel_calls {
  std::string run_id, task;
};
/// Ends all calls of a run whose agents may be gone, and waits until nothing of them is left: each has its end in the journal by then.
struct settle_calls {
  std::string run_id;
};
struct calls_settled {};
/// From the providers' threads: some requests have their outcome.
struct transfers_ended {};
/// A deadline of some call may have come.
struct wake_up {};
struct call_timer {
  std::uint64_t call = 0;
  std::uint64_t generation = 0;
};

/// The LLM GATEWAY is the one place that sends LLM requests: it reserves, records, sends, retries, fails over and settles. One per process,
/// because breakers and retry budgets belong to providers, not to chains.
using llm_gateway_actor = caf::typed_actor<
    // One step of an agent.
    answers<llm_answer, llm_ask>, takes<cancel_calls>, answers<calls_settled, settle_calls>,
    // Internal: from a provider's thread; timers.
    takes<transfers_ended>, takes<wake_up>>;

// --- tool host -----------------------------------------------------------------------------------------------------

struct invoke {
  run_ptr run;
  std::string task, agent, step_id;
  std::string tool;
  std::string call_id; ///< the model's, unique in the step
  json arguments;      ///< satisfy the tool's schema
  clock_point deadline;
  std::shared_ptr<const standing_ends> stands; ///< where waiting for humans moves it; null: it does not
  std::vector<std::string> agent_tools;        ///< what the agent has: for the text that it replans from
  bool recovering = false; ///< its agent came back and does not know what became of it: join, look it up, or decide by effect
  std::shared_ptr<policy::tool_quota> quota; ///< of the task
  doubt_rule doubt = doubt_rule::tell;
  std::string doubt_words; ///< what a human said of a call in doubt
};
struct tool_answer {
  std::string text; ///< what the model sees
  bool is_error = false;
  tool_status status = tool_status::ok;
  std::optional<tool_in_doubt> doubt; ///< the call is not over: its asker asks a human, and then once more
};
struct tool_ended {
  std::uint64_t call = 0;
  std::int64_t attempt = 0;
  std::shared_ptr<tool_outcome> outcome;
};

/// The TOOL HOST runs the calls of one tool: admission, retries, the alternative, the effect's record. One per tool.
using tool_host_actor = caf::typed_actor<
    // One call; answered in any case, with a text to replan from when it failed.
    answers<tool_answer, invoke>,
    // Stops calls with everything they started; each is answered once nobody is left.
    takes<cancel_calls>,
    // Internal.
    takes<tool_ended>, takes<call_timer>>;

struct admit {
  std::uint64_t call = 0; ///< the asker's
  std::string agent, tool;
  std::int64_t tool_limit = 16;
  bool runs = false; ///< it was let in by a gate that is gone: it has its place, whether there is room or not
};
struct admitted {
  std::uint64_t ticket = 0;
};
/// The call is over, or is not wanted any more.
struct leave {
  std::uint64_t ticket = 0;
};

/// The TOOL GATE keeps to how many tool calls may run at once: of an agent, of a tool, in the process. One per process; it is made again
/// when it dies, and the hosts tell its successor what runs, then what waits.
using tool_gate_actor = caf::typed_actor<
    // Answers when the call may run; the first `leave` after that, or the asker's end, makes room.
    answers<admitted, admit>, takes<leave>>;

// --- checkpoint ----------------------------------------------------------------------------------------------------

/// May this happen? `moment` makes it unlike the same action at another time: step and call, or attempt; also of the tasks above.
struct approval_ask {
  run_ptr run;
  std::string task, agent;
  approval_kind kind = approval_kind::tool;
  std::string subject, moment;
  json action;
  json details;
  risk risk_level = risk::high;
  std::int64_t needed = 1; ///< as its risk says; who asks wants one at least
};
struct approval_answer {
  approval_status status = approval_status::pending; ///< pending: withdrawn before anybody decided
  std::string id, reviewer, comment;
  json modified_action; ///< of status modified: takes the action's place
  bool by_human = true;
  error failure; ///< the journal refused: nobody can be asked
  std::string modified_by;
};
/// From the journal's threads: somebody, here or in another process, has decided.
struct decision_arrived {
  std::string run_id, approval_id, body;
  std::int64_t time_us = 0;
};
struct approval_timer {
  std::string id;
};

/// The CHECKPOINT has what waits for humans. One per process.
using checkpoint_actor = caf::typed_actor<
    // Answered when humans have decided, or its time is up: at once where the journal knows the decision already.
    answers<approval_answer, approval_ask>,
    // Withdraws what a task, or the run, waits for: answered as pending.
    takes<cancel_calls>,
    // Internal.
    takes<decision_arrived>, takes<approval_timer>>;

// --- agent, pool ---------------------------------------------------------------------------------------------------

/// An agent's call of another agent. Its task then waits for the end of that one.
struct delegate {
  std::string task; ///< path of the task that asks
  std::int64_t attempt = 1;
  std::string call_id;
  std::string to;   ///< agent
  std::string path; ///< of the new task
  std::string instruction;
  std::vector<std::string> tools; ///< names that it may use there, of tools and of agents ("agent:NAME")
  bool restricted = true;         ///< false: all of its own
  clock_point deadline;           ///< of who asks; max: the run's
};
/// Who starts delegated tasks: the run's orchestrator.
using delegation_desk_actor = caf::typed_actor<takes<delegate>>;

/// The agent gives its task to another one.
struct handoff_wish {
  std::string to, reason, call_id;
  std::string text;                    ///< what the next one is told
  std::uint64_t said = 0, brought = 0; ///< of this turn (policy/handoff_cycle)
};
/// The task is not over: it waits for those that it has asked, or goes on with another agent.
struct task_pause {
  std::optional<handoff_wish> handoff;
  clock_point deadline; ///< of the task, which goes on; max: the run's
};
/// A time, and what waiting for humans had given back by then.
struct time_mark {
  clock_point at{};
  std::chrono::nanoseconds human{0};
  bool set() const { return at != clock_point{}; }
};
struct task_assignment {
  run_ptr run;
  std::string task; ///< path: sections[3]
  std::int64_t attempt = 1;
  std::string agent; ///< name in the configuration
  std::string instruction;
  std::string within;       ///< the attempts of the tasks above it, as `task_started` has them
  bool resumed = false;     ///< something of it may be recorded: read the journal first
  std::int64_t crashes = 0; ///< agents that it has killed so far
  // A crash begins no limit of time anew; waiting for humans moves them.
  time_mark given;                                ///< when it was given: what `deadline` is moved from
  time_mark begun;                                ///< when its first agent of this pool began with it; unset: now
  std::shared_ptr<human_time> human;              ///< null: nothing moves them
  std::shared_ptr<const output_spec> contract;    ///< holds in place of the agent's own; null: its own
  clock_point deadline = clock_point::max();      ///< when its time is over, as known at `given` (human_time.hpp); max: there is no limit
  std::optional<std::vector<std::string>> rights; ///< a delegated task: what it may use of its agent's tools ("agent:NAME" too)
  caf::actor_addr desk;                           ///< the orchestrator, for delegations
};
/// What is recorded where no task graph starts it: a review, a delegated task.
inline task_started start_of(const task_assignment& a) {
  return {a.attempt, a.instruction, std::nullopt, a.within.empty() ? std::nullopt : std::optional(a.within)};
}
/// The name of a step of a task's attempt: unique in the run.
inline std::string step_of(const task_assignment& a, std::int64_t step) {
  return a.within + a.task + "@" + std::to_string(a.attempt) + "/" + std::to_string(step);
}
struct task_result {
  std::string task;
  std::int64_t attempt = 1;
  task_status status = task_status::success;
  std::string reason, error;
  json output;
  std::string limit_scope;                 ///< budget_exceeded: whose limit
  bool fatal = false;                      ///< no further attempt (SEMANTICS 5)
  std::shared_ptr<const task_pause> pause; ///< set: the task is not over
  std::int64_t crashes = 0;                ///< agents that the task has killed so far
  bool abandoned = false;                  ///< its agent is gone, and calls of it may be under way
};
struct cancel_task {
  std::string run_id, task; ///< empty task: all of the run
  bool timed_out = false;   ///< the run's time ran out
};
struct deadline_hit {};
/// The time of a task that waits for a member may be over.
struct line_timer {
  std::string key;
  std::int64_t attempt = 1;
};
/// The gateway, or the host of this call, had died: it is asked again.
struct ask_again {
  std::uint64_t generation = 0;
  std::optional<std::size_t> call;
  bool review = false;   ///< the reviewer's pool had died
  bool approval = false; ///< the checkpoint had died
};
/// The contract's command has ended.
struct check_ended {
  std::uint64_t generation = 0;
  std::shared_ptr<tool_outcome> outcome;
  std::int64_t duration_us = 0;
};

/// The AGENT works on one task at a time: it asks the gateway, runs tools, checks its contract, and answers. Its supervisor judges each
/// step before it goes on. It dies with whatever is wrong with it; its task goes on from the journal in the next incarnation.
using agent_actor =
    caf::typed_actor<answers<task_result, task_assignment>, takes<cancel_task>, takes<deadline_hit>, takes<ask_again>, takes<check_ended>>;

struct member_joined {
  std::string member; ///< researcher/2
  agent_actor handle;
  std::string supervisor;
  std::int64_t restarts = 0; ///< of this member so far
  milliseconds waited{0};    ///< back-off before this restart
};
/// A member that died will not come back (temporary, its supervisor ended for good).
struct member_gone {
  std::string member;
};
struct pool_query {};
struct pool_stats {
  std::string name;
  std::int64_t pool_size = 0, queued_tasks = 0, active_workers = 0, idle_workers = 0;
};
BOOST_DESCRIBE_STRUCT(pool_stats, (), (name, pool_size, queued_tasks, active_workers, idle_workers))

/// The AGENT POOL hands tasks to its least loaded member and keeps the rest in a bounded line. It monitors its members: the task of one
/// that dies goes to the next incarnation, or to another.
using agent_pool_actor = caf::typed_actor<answers<task_result, task_assignment>, takes<cancel_task>, takes<member_joined>,
                                          takes<member_gone>, takes<line_timer>, answers<pool_stats, pool_query>>;

// --- supervisor ----------------------------------------------------------------------------------------------------

struct start_tree {};
struct tree_started {
  std::string failure; ///< empty: all children run; else which child, and why
};
struct describe_tree {};
/// One node of the live tree (GET /v1/tree).
struct tree_node {
  std::string id, kind, state;
  std::int64_t restarts = 0;
  std::string strategy;
  std::vector<tree_node> children;
};
struct tree_answer {
  std::shared_ptr<tree_node> root;
};
struct stop_tree {};
enum class child_change { add, terminate, restart, remove };
/// Children at run time, as OTP's start_child, terminate_child, restart_child and delete_child. A further member of a pool is added under
/// the next name of its kind ("researcher/4").
struct change_child {
  child_change what = child_change::add;
  child_spec child;       ///< only its id matters but for `add`
  std::string supervisor; ///< whose child it is; empty: of the one that is asked
};
struct child_changed {
  std::string id;
  std::string error; ///< empty: done
};
/// The members of this agent's pool are ended and started anew, wherever they are below: the pool is a new one.
struct replace_members {
  std::string agent;
};
struct supervision_timer {
  std::uint64_t id = 0;
};
/// A step of an agent that is at work: its calls before any runs, what came of them, an answer that did not hold.
struct observation {
  std::uint64_t task = 0; ///< the agent's number of its task: another one begins with nothing
  loop_spec rules;
  std::shared_ptr<const policy::loop_step> step;
  std::shared_ptr<const policy::loop_watch> restored; ///< the task goes on from the journal: what was seen of it before this step
};
struct judgement {
  std::shared_ptr<const policy::loop_verdict> verdict; ///< null: all is well
  bool in_place = false;                               ///< it is temporary, so nobody would start it again: a restart is its own doing
};

/// The SUPERVISOR starts, watches, restarts and stops its children as Erlang/OTP's does. It monitors them; its own end is seen by its
/// parent, at the root by the program. Children that are left when it ends (it was killed, or crashed) are killed.
using supervisor_actor = caf::typed_actor<
    // Starts the children, left to right.
    answers<tree_started, start_tree>,
    // Answers also while it restarts.
    answers<tree_answer, describe_tree>,
    // Stops the children, right to left, then ends.
    takes<stop_tree>,
    // Answers when it is done, also while it restarts.
    answers<child_changed, change_child>, takes<replace_members>,
    // From its agents, which wait for it: does this one go round in circles, and what is done about it?
    answers<judgement, observation>, takes<supervision_timer>>;

// --- orchestrator, metrics -----------------------------------------------------------------------------------------

struct start_run {};
struct run_ended {
  run_status status = run_status::completed;
  std::string reason;
  json result;
  error failure; ///< the journal refused: the run is paused, not ended
};
struct cancel_run {
  std::string reason; ///< cancelled, timeout
};
/// The process is asked to end: the run is left as it is, to be resumed.
struct suspend_run {};
/// The pool had died: the task is given to its successor.
struct give_again {
  std::string task;
  std::int64_t attempt = 1;
};
enum class run_alarm {
  time_up,         ///< the run's time may be over
  grace_over,      ///< calls in flight have had theirs
  nobody_answered, ///< after an abort: what is left of the run is given up
  warning_due,     ///< a share of its time is used
};
struct run_timer {
  run_alarm what = run_alarm::time_up;
};
/// The time of a task that is a sub-workflow is up.
struct task_timer {
  std::string path;
  std::int64_t attempt = 1;
};

/// The time of a delegated task is up.
struct delegation_timer {
  std::string path;
};

/// The ORCHESTRATOR brings one run (or one sub-workflow of it) from its first task to its result.
using orchestrator_actor =
    caf::typed_actor<answers<run_ended, start_run>, takes<cancel_run>,
                     // Answered by the pending start_run with status running, once nothing of the run is under way.
                     takes<suspend_run>, takes<run_timer>, takes<task_timer>, takes<give_again>, takes<delegate>, takes<delegation_timer>>;

struct summary_query {
  std::string run_id;
};
struct summary_answer {
  std::shared_ptr<const run_summary> summary; ///< null: it is not followed here; the journal tells
};

/// The METRICS COLLECTOR folds durable events into summaries: what is counted is what is stored. It follows each run that begins here until
/// that is closed; not one that was taken up, whose earlier events it has not heard.
using metrics_collector_actor = caf::typed_actor<takes<published>, takes<close_run>, answers<summary_answer, summary_query>>;

} // namespace troupe::actors

// clang-format off
#define TROUPE_LOCAL_MESSAGES(X) \
  X(append) X(note) X(appended) X(open_run) X(close_run) X(read_task) X(task_events) X(subscribe) X(published) \
  X(groups_written) X(events_read) X(budget_query) X(budget_report) X(reserve) X(reserve_answer) X(settle) X(release) \
  X(time_check) X(time_checked) X(llm_ask) X(llm_answer) X(cancel_calls) X(settle_calls) X(calls_settled) X(transfers_ended) X(wake_up) X(call_timer) X(invoke) \
  X(tool_answer) X(tool_ended) X(admit) X(admitted) X(leave) X(task_assignment) X(task_result) X(cancel_task) X(deadline_hit) \
  X(member_joined) X(member_gone) X(pool_query) X(pool_stats) X(start_tree) X(tree_started) X(describe_tree) X(tree_answer) \
  X(replace_members) X(give_again) X(stop_tree) X(supervision_timer) X(start_run) X(run_ended) X(cancel_run) X(suspend_run) \
  X(run_timer) X(task_timer) X(summary_query) X(change_child) X(child_changed) X(ask_again) X(summary_answer) X(observation) \
  X(judgement) X(check_ended) X(approval_ask) X(approval_answer) X(decision_arrived) X(approval_timer) X(delegate) \
  X(delegation_timer) X(line_timer)
// clang-format on

CAF_BEGIN_TYPE_ID_BLOCK(troupe, caf::first_custom_type_id)
#define TROUPE_ADD_TYPE(name) CAF_ADD_TYPE_ID(troupe, (troupe::actors::name))
TROUPE_LOCAL_MESSAGES(TROUPE_ADD_TYPE)
#undef TROUPE_ADD_TYPE
CAF_END_TYPE_ID_BLOCK(troupe)

#define TROUPE_LOCAL_MESSAGE(name) CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::actors::name)
TROUPE_LOCAL_MESSAGES(TROUPE_LOCAL_MESSAGE)
#undef TROUPE_LOCAL_MESSAGE
