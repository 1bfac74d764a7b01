#pragma once
// Events: what the journal stores, the metrics collector counts and the timeline shows. One struct a kind; its name is the event's type.

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include <boost/describe.hpp>
#include <nlohmann/json.hpp>

#include "troupe/model/budget.hpp"
#include "troupe/model/llm.hpp"
#include "troupe/model/message.hpp"
#include "troupe/model/money.hpp"
#include "troupe/model/tool.hpp"

namespace troupe {

using json = nlohmann::json;
using json_ptr = std::shared_ptr<const json>;

enum class run_status { queued, running, waiting_approval, completed, failed, aborted };
BOOST_DESCRIBE_ENUM(run_status, queued, running, waiting_approval, completed, failed, aborted)

enum class task_status {
  success,
  error,
  timeout,
  max_retries,
  budget_exceeded,
  rejected,
  quality_failed,
  loop,
  conflict,
  skipped,
  cancelled
};
BOOST_DESCRIBE_ENUM(task_status, success, error, timeout, max_retries, budget_exceeded, rejected, quality_failed, loop, conflict, skipped,
                    cancelled)

// --- runs ----------------------------------------------------------------------------------------------------------

struct run_started {
  std::string workflow;
  std::string tenant;
  json input;
  limits budget;
  std::int64_t total_tasks = 0;
  json_ptr configuration; ///< as the run keeps it: a run goes on with the configuration that it started with; shared, for it is large
};
BOOST_DESCRIBE_STRUCT(run_started, (), (workflow, tenant, input, budget, total_tasks, configuration))

/// A process took the run up again. `owned_before_ms` is the time that earlier owners have used of the run's time.
struct run_resumed {
  std::int64_t owned_before_ms = 0;
  usd added_money;
  std::int64_t added_steps = 0;
  std::int64_t added_time_ms = 0;
};
BOOST_DESCRIBE_STRUCT(run_resumed, (), (owned_before_ms, added_money, added_steps, added_time_ms))

struct run_interrupted {
  std::string why;
};
BOOST_DESCRIBE_STRUCT(run_interrupted, (), (why))

struct run_finished {
  run_status status = run_status::completed;
  std::string reason; ///< empty when completed
  json result;
};
BOOST_DESCRIBE_STRUCT(run_finished, (), (status, reason, result))

// --- tasks ---------------------------------------------------------------------------------------------------------

/// `attempt` counts from 1. `items`: of a for_each task, the number of its elements (one task_started each follows, with its index).
/// `within`: of a task in a sub-workflow, which attempts of the tasks above it this belongs to, where one is not the first: "archive@2/".
/// Its attempts count from 1 in each of them: what is named after them (steps, requests for approval) begins with it.
struct task_started {
  std::int64_t attempt = 1;
  std::string instruction;
  std::optional<std::int64_t> items;
  std::optional<std::string> within;
  json given; ///< the items, or a sub-workflow's input, where they come of shared state: whoever takes the run up finds another one
};
BOOST_DESCRIBE_STRUCT(task_started, (), (attempt, instruction, items, within, given))

struct task_finished {
  std::int64_t attempt = 1;
  task_status status = task_status::success;
  std::string reason; ///< machine-readable: llm_rate_limited, tool_failed, poison …; empty on success
  std::string error;  ///< for people
  json output;
  bool fatal = false; ///< it is not tried again, whatever its status says of that; older rows do not tell
};
BOOST_DESCRIBE_STRUCT(task_finished, (), (attempt, status, reason, error, output, fatal))

struct task_retried {
  std::int64_t next_attempt = 2;
  std::string why;
};
BOOST_DESCRIBE_STRUCT(task_retried, (), (next_attempt, why))

// --- LLM calls -----------------------------------------------------------------------------------------------------

/// A request is about to leave: durable before it does. `step_id` names the step of the task, `request` counts requests of this step
/// from 1.
struct llm_requested {
  std::string step_id;
  std::int64_t request = 1;
  std::string provider;
  std::string model;
  usd worst_case;
  std::int64_t max_tokens = 0;
};
BOOST_DESCRIBE_STRUCT(llm_requested, (), (step_id, request, provider, model, worst_case, max_tokens))

struct llm_responded {
  std::string step_id;
  std::int64_t request = 1;
  std::string provider;
  std::string model;
  message_ptr message;
  finish_reason finish = finish_reason::stop;
  token_usage usage;
  usd cost;
  bool estimated = false; ///< the response stated no usage
  std::int64_t duration_us = 0;
};
BOOST_DESCRIBE_STRUCT(llm_responded, (), (step_id, request, provider, model, message, finish, usage, cost, estimated, duration_us))

/// A request that brought no response. `counted`: it was a step; `charged` is what the budget lost for it (worst case when unknown).
struct llm_failed {
  std::string step_id;
  std::int64_t request = 1;
  std::string provider;
  std::string model;
  std::string reason; ///< llm_rate_limited, llm_timeout, …
  int http_status = 0;
  std::string message;
  bool counted = true;
  usd charged;
  std::string next;         ///< retry, fail_over, give_up
  std::int64_t wait_ms = 0; ///< before the next request
};
BOOST_DESCRIBE_STRUCT(llm_failed, (), (step_id, request, provider, model, reason, http_status, message, counted, charged, next, wait_ms))

struct llm_failed_over {
  std::string step_id;
  std::string from; ///< provider/model
  std::string to;
  std::string reason;
};
BOOST_DESCRIBE_STRUCT(llm_failed_over, (), (step_id, from, to, reason))

/// A second request for a step goes out, because the first one is slow. The first response counts; the other request is ended, and its
/// `llm_failed` says `overtaken`.
struct llm_hedged {
  std::string step_id;
  std::string from; ///< provider/model
  std::string to;
  std::int64_t after_ms = 0;
};
BOOST_DESCRIBE_STRUCT(llm_hedged, (), (step_id, from, to, after_ms))

struct breaker_changed {
  std::string provider;
  std::string model;
  std::string state; ///< closed open half_open
};
BOOST_DESCRIBE_STRUCT(breaker_changed, (), (provider, model, state))

/// Usage that cannot be true; the worst case was charged.
struct usage_rejected {
  std::string step_id;
  std::string why;
};
BOOST_DESCRIBE_STRUCT(usage_rejected, (), (step_id, why))

// --- tools ---------------------------------------------------------------------------------------------------------

/// A tool is about to run: durable before it does unless its effect is `none`.
struct tool_started {
  std::string call_id;
  std::string tool;
  json arguments;
  troupe::effect effect = troupe::effect::none;
  std::int64_t attempt = 1;
  std::string instead_of; ///< the tool that this alternative replaces
};
BOOST_DESCRIBE_STRUCT(tool_started, (), (call_id, tool, arguments, effect, attempt, instead_of))

struct tool_failed {
  std::string call_id;
  std::string tool;
  std::int64_t attempt = 1;
  std::string error;
  std::string next; ///< retry, alternative, report
  std::int64_t wait_ms = 0;
};
BOOST_DESCRIBE_STRUCT(tool_failed, (), (call_id, tool, attempt, error, next, wait_ms))

/// The result that the model sees for its call: `text` is the tool message.
struct tool_finished {
  std::string call_id;
  std::string tool; ///< the one that answered; empty: none ran (refused)
  tool_status status = tool_status::ok;
  std::string text;
  std::int64_t duration_us = 0;
};
BOOST_DESCRIBE_STRUCT(tool_finished, (), (call_id, tool, status, text, duration_us))

// --- agents, supervision, budgets, quality -------------------------------------------------------------------------

struct agent_crashed {
  std::string member; ///< pool member, e.g. researcher/2
  std::string why;
  std::int64_t crashes = 1; ///< of this task so far
};
BOOST_DESCRIBE_STRUCT(agent_crashed, (), (member, why, crashes))

struct agent_restarted {
  std::string member;
  std::string supervisor;
  std::int64_t restarts = 1;
  std::int64_t wait_ms = 0;
};
BOOST_DESCRIBE_STRUCT(agent_restarted, (), (member, supervisor, restarts, wait_ms))

struct contract_violated {
  std::int64_t repair = 1; ///< how often the agent has been asked again, this time included; 0: it is not asked again
  std::vector<std::string> violations;
};
BOOST_DESCRIBE_STRUCT(contract_violated, (), (repair, violations))

/// The runtime put a user message into the conversation (feedback on a contract, an intervention).
struct message_injected {
  std::string text;
  std::string why;
};
BOOST_DESCRIBE_STRUCT(message_injected, (), (text, why))

struct budget_warned {
  std::string scope; ///< run, task ID, agent NAME, tenant NAME, process
  limit_kind kind = limit_kind::money;
  std::int64_t percent = 50;
};
BOOST_DESCRIBE_STRUCT(budget_warned, (), (scope, kind, percent))

struct budget_refused {
  std::string scope;
  limit_kind kind = limit_kind::money;
  std::string message;
};
BOOST_DESCRIBE_STRUCT(budget_refused, (), (scope, kind, message))

struct max_tokens_lowered {
  std::string step_id;
  std::int64_t from = 0;
  std::int64_t to = 0;
};
BOOST_DESCRIBE_STRUCT(max_tokens_lowered, (), (step_id, from, to))

enum class loop_kind { repeat, no_progress, cycle, monologue };
BOOST_DESCRIBE_ENUM(loop_kind, repeat, no_progress, cycle, monologue)
/// What was done about it (SEMANTICS 2): the rungs of the ladder; none: only the repair of an answer was ended; asked: a human decides
/// whether the task fails.
enum class loop_rung { none, told, tool_taken, restarted, asked, failed };
BOOST_DESCRIBE_ENUM(loop_rung, none, told, tool_taken, restarted, asked, failed)

/// Its supervisor found that an agent goes round in circles.
struct loop_detected {
  loop_kind kind = loop_kind::repeat;
  loop_rung rung = loop_rung::told;
  std::int64_t step = 0;  ///< the response that it was found in, from 1 in this attempt
  std::string call_id;    ///< the call that closed the circle; empty of a monologue
  std::string tool;       ///< its tool
  std::int64_t count = 0; ///< calls, rounds, steps or messages
  std::string text;       ///< what the agent was told; when it was restarted: the digest that it goes on from
};
BOOST_DESCRIBE_STRUCT(loop_detected, (), (kind, rung, step, call_id, tool, count, text))

enum class context_cut_kind { results_noted, summarised, failed_over, results_shortened };
BOOST_DESCRIBE_ENUM(context_cut_kind, results_noted, summarised, failed_over, results_shortened)

/// A conversation was made to fit the context of its model (SEMANTICS 1). Messages are counted from 0 in the conversation as it then was,
/// without its opening (system prompt and instruction).
struct context_cut {
  context_cut_kind kind = context_cut_kind::results_noted;
  std::int64_t step = 0;          ///< the one whose request it was made for, from 1 in this attempt
  std::string model;              ///< provider/model that it has to fit
  std::int64_t window = 0;        ///< tokens that a request to it may have, its answer left out
  bool refused = false;           ///< the provider said that the request was too long; false: our estimate did
  std::int64_t tokens_before = 0; ///< of the request, estimated
  std::int64_t tokens_after = 0;
  std::int64_t messages = 0;   ///< the first so many were looked at: their results are notes now, or all of them are the summary
  std::int64_t results = 0;    ///< how many results were replaced or shortened
  std::int64_t keep_bytes = 0; ///< results_shortened: what is left of each
  std::int64_t link = 0;       ///< failed_over: the model in the chain that is asked from now on
  std::string summary;         ///< summarised: the text that stands for them
};
BOOST_DESCRIBE_STRUCT(context_cut, (),
                      (kind, step, model, window, refused, tokens_before, tokens_after, messages, results, keep_bytes, link, summary))

/// On resume: a request or a `once` tool call whose outcome nobody knows. Money that it may have cost was charged.
struct outcome_unknown {
  std::string id; ///< step_id#request or call_id
  usd charged;
};
BOOST_DESCRIBE_STRUCT(outcome_unknown, (), (id, charged))

enum class approval_kind { tool, task, output, conflict, loop };
BOOST_DESCRIBE_ENUM(approval_kind, tool, task, output, conflict, loop)
enum class approval_status { pending, approved, rejected, modified };
BOOST_DESCRIBE_ENUM(approval_status, pending, approved, rejected, modified)

/// Something waits for humans: durable before anybody is told of it. `sha256` binds their decision to exactly this action at this moment.
struct approval_requested {
  std::string id; ///< of the run, "-" and the first digits of the hash
  approval_kind kind = approval_kind::tool;
  std::string subject; ///< the tool, the task's path, the agent whose output it is, or that goes round in circles
  json action;         ///< what is approved: a tool's arguments, a task's instruction, an output, a loop
  json details;        ///< what helps to decide: violations, a reviewer's feedback
  troupe::risk risk_level = troupe::risk::high;
  std::int64_t needed = 1;      ///< different reviewers; 0: nobody is asked (--yes)
  std::int64_t deadline_us = 0; ///< UTC
  std::string sha256;
  bool pause_clock = false;        ///< waiting for it does not count against the run's time
  std::int64_t void_decisions = 0; ///< so many, the first of its id, were about an earlier asking
};
BOOST_DESCRIBE_STRUCT(approval_requested, (),
                      (id, kind, subject, action, details, risk_level, needed, deadline_us, sha256, pause_clock, void_decisions))

/// One of several approvals that a request needs; it goes on waiting.
struct approval_voted {
  std::string id;
  std::string reviewer;
  std::string comment;
  std::int64_t approvals = 1; ///< so far
  std::int64_t needed = 2;
  json modified_action; ///< of one that has changed the action: the others approve this one
};
BOOST_DESCRIBE_STRUCT(approval_voted, (), (id, reviewer, comment, approvals, needed, modified_action))

struct approval_decided {
  std::string id;
  approval_status status = approval_status::rejected;
  std::string reviewer; ///< empty: nobody, its time was up (or --yes)
  std::string comment;
  json modified_action; ///< of status modified
  bool by_human = true;
  std::int64_t pending = 0; ///< requests of this run that still wait
  std::string modified_by;  ///< of status modified; `reviewer` is who approved last
};
BOOST_DESCRIBE_STRUCT(approval_decided, (), (id, status, reviewer, comment, modified_action, by_human, pending, modified_by))

/// Nobody waits for this one any more: its task was stopped, or the run was left; whoever takes it up may ask again. Not decided.
struct approval_withdrawn {
  std::string id;
  std::int64_t pending = 0; ///< requests of this run that still wait
};
BOOST_DESCRIBE_STRUCT(approval_withdrawn, (), (id, pending))

/// The contract's command has looked at an answer.
struct output_checked {
  std::int64_t step = 0; ///< the response, from 1 in this attempt; 0: an output that the reviewer wrote
  bool holds = false;
  std::string text; ///< what it says is wrong
  std::int64_t duration_us = 0;
};
BOOST_DESCRIBE_STRUCT(output_checked, (), (step, holds, text, duration_us))

enum class review_verdict { pass, revise, reject };
BOOST_DESCRIBE_ENUM(review_verdict, pass, revise, reject)

/// The reviewer agent has judged an output that does not hold.
struct output_reviewed {
  std::int64_t round = 1; ///< of this attempt
  std::string reviewer;   ///< the agent
  review_verdict verdict = review_verdict::reject;
  std::string feedback;
  json revised_output; ///< null: none
  std::string error;   ///< it brought no verdict: why; counts as a rejection
};
BOOST_DESCRIBE_STRUCT(output_reviewed, (), (round, reviewer, verdict, feedback, revised_output, error))

// --- conflicts and shared state ------------------------------------------------------------------------------------

/// Answers that count as one, and who gave them, in the order of the task's `agents`. A member is an agent's name; the second of the same
/// agent is "sceptic#2".
struct answer_group {
  json value; ///< what was compared: the answer, or its field
  std::vector<std::string> members;
};
BOOST_DESCRIBE_STRUCT(answer_group, (), (value, members))

/// The answers do not decide the task by themselves: somebody is asked.
struct answers_differ {
  std::int64_t attempt = 1;
  std::string rule;        ///< vote arbiter human
  std::int64_t quorum = 0; ///< of a vote
  std::vector<answer_group> groups;
  std::string next; ///< arbiter, human
  std::string who;  ///< the arbiter's agent
};
BOOST_DESCRIBE_STRUCT(answers_differ, (), (attempt, rule, quorum, groups, next, who))

/// The task has its answer, or never will: durable before those that are still at work are stopped. The answer itself stands in `chosen`'s
/// (or the arbiter's) task_finished; only a human's own words stand here.
struct answers_resolved {
  std::int64_t attempt = 1;
  task_status status = task_status::success; ///< success; conflict; what the first of them failed with where none answered
  std::string by;                            ///< agreement vote arbiter first human; of a conflict: the rule that found none
  std::string chosen;                        ///< the member whose answer it is; empty: nobody's, or none
  std::int64_t quorum = 0;                   ///< of a vote
  std::vector<answer_group> groups;
  std::string why; ///< in words
  json output;     ///< a human's own answer; else null
};
BOOST_DESCRIBE_STRUCT(answers_resolved, (), (attempt, status, by, chosen, quorum, groups, why, output))

/// An agent wrote a key of the run's shared state. `call` names the call, the same for every repeat of it.
struct state_written {
  std::string key;
  std::int64_t version = 1; ///< of the key, from 1
  json value;               ///< null: it was removed
  std::string call;
};
BOOST_DESCRIBE_STRUCT(state_written, (), (key, version, value, call))

// --- delegation ----------------------------------------------------------------------------------------------------

/// An agent gave a part of its work to another one; that part is the task `path`. On the task of who asked.
struct delegated {
  std::string call_id;
  std::string to;
  std::string path;
  std::int64_t depth = 1;
  std::vector<std::string> tools; ///< that it may use there
};
BOOST_DESCRIBE_STRUCT(delegated, (), (call_id, to, path, depth, tools))

/// The task goes on with another agent. `said` and `brought` stand for what the turn gave (policy/handoff_cycle).
struct handed_off {
  std::string from;
  std::string to;
  std::string reason;
  std::string call_id;
  std::int64_t number = 1; ///< of this attempt
  std::string text;        ///< what the next agent is told
  std::int64_t said = 0;
  std::int64_t brought = 0;
};
BOOST_DESCRIBE_STRUCT(handed_off, (), (from, to, reason, call_id, number, text, said, brought))

/// Control goes round in circles, or has changed hands too often: the agent keeps the task, and is told; the second time it fails as
/// `loop`.
struct handoff_refused {
  std::string from;
  std::string to;
  std::string call_id;
  std::string why;           ///< cycle, too_many
  std::int64_t refusals = 1; ///< of this attempt
};
BOOST_DESCRIBE_STRUCT(handoff_refused, (), (from, to, call_id, why, refusals))

using event_body = std::variant<run_started, run_resumed, run_interrupted, run_finished, task_started, task_finished, task_retried,
                                llm_requested, llm_responded, llm_failed, llm_failed_over, breaker_changed, usage_rejected, tool_started,
                                tool_failed, tool_finished, agent_crashed, agent_restarted, contract_violated, message_injected,
                                budget_warned, budget_refused, max_tokens_lowered, outcome_unknown, loop_detected, context_cut,
                                approval_requested, approval_voted, approval_decided, output_checked, output_reviewed, answers_differ,
                                answers_resolved, state_written, delegated, handed_off, handoff_refused, llm_hedged, approval_withdrawn>;

/// One event of one run. `task` is the task's path: "research", "sections[3]", "archive/publish" in a sub-workflow; empty for the run
/// itself.
struct event {
  std::int64_t seq = 0;     ///< from 1, without gaps in one run; given by the journal
  std::int64_t time_us = 0; ///< UTC, microseconds since the epoch
  std::string run_id;
  std::string task;
  std::string agent; ///< the agent's name in the configuration; empty where none is concerned
  event_body body;
};

using event_ptr = std::shared_ptr<const event>;

/// The event's type: the name of its struct.
std::string_view type_of(const event& e);
/// The body's JSON, without the envelope.
json body_to_document(const event_body& body);
/// Envelope and body in one object: { seq, time, type, run_id, task_id, agent, … }.
json event_to_document(const event& e);

} // namespace troupe
