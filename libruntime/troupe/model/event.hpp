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

enum class task_status { success, error, timeout, max_retries, budget_exceeded, rejected, quality_failed, loop, conflict, skipped, cancelled };
BOOST_DESCRIBE_ENUM(task_status, success, error, timeout, max_retries, budget_exceeded, rejected, quality_failed, loop, conflict, skipped, cancelled)

// --- runs ---------------------------------------------------------------------------------------------------------------------------------

struct run_started {
  std::string workflow;
  std::string tenant;
  json input;
  limits budget;
  std::int64_t total_tasks = 0;
  json_ptr configuration;      ///< as the run keeps it: a run goes on with the configuration that it started with; shared, for it is large
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
  std::string reason;          ///< empty when completed
  json result;
};
BOOST_DESCRIBE_STRUCT(run_finished, (), (status, reason, result))

// --- tasks --------------------------------------------------------------------------------------------------------------------------------

/// `attempt` counts from 1. `items`: of a for_each task, the number of its elements (one task_started each follows, with its index).
struct task_started {
  std::int64_t attempt = 1;
  std::string instruction;
  std::optional<std::int64_t> items;
};
BOOST_DESCRIBE_STRUCT(task_started, (), (attempt, instruction, items))

struct task_finished {
  std::int64_t attempt = 1;
  task_status status = task_status::success;
  std::string reason;          ///< machine-readable: llm_rate_limited, tool_failed, poison …; empty on success
  std::string error;           ///< for people
  json output;
};
BOOST_DESCRIBE_STRUCT(task_finished, (), (attempt, status, reason, error, output))

struct task_retried {
  std::int64_t next_attempt = 2;
  std::string why;
};
BOOST_DESCRIBE_STRUCT(task_retried, (), (next_attempt, why))

// --- LLM calls ----------------------------------------------------------------------------------------------------------------------------

/// A request is about to leave: durable before it does. `step_id` names the step of the task, `request` counts requests of this step from 1.
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
  bool estimated = false;      ///< the response stated no usage
  std::int64_t duration_us = 0;
};
BOOST_DESCRIBE_STRUCT(llm_responded, (), (step_id, request, provider, model, message, finish, usage, cost, estimated, duration_us))

/// A request that brought no response. `counted`: it was a step; `charged` is what the budget lost for it (worst case when unknown).
struct llm_failed {
  std::string step_id;
  std::int64_t request = 1;
  std::string provider;
  std::string model;
  std::string reason;          ///< llm_rate_limited, llm_timeout, …
  int http_status = 0;
  std::string message;
  bool counted = true;
  usd charged;
  std::string next;            ///< retry, fail_over, give_up
  std::int64_t wait_ms = 0;    ///< before the next request
};
BOOST_DESCRIBE_STRUCT(llm_failed, (), (step_id, request, provider, model, reason, http_status, message, counted, charged, next, wait_ms))

struct llm_failed_over {
  std::string step_id;
  std::string from;            ///< provider/model
  std::string to;
  std::string reason;
};
BOOST_DESCRIBE_STRUCT(llm_failed_over, (), (step_id, from, to, reason))

struct breaker_changed {
  std::string provider;
  std::string model;
  std::string state;           ///< closed open half_open
};
BOOST_DESCRIBE_STRUCT(breaker_changed, (), (provider, model, state))

/// Usage that cannot be true; the worst case was charged.
struct usage_rejected {
  std::string step_id;
  std::string why;
};
BOOST_DESCRIBE_STRUCT(usage_rejected, (), (step_id, why))

// --- tools --------------------------------------------------------------------------------------------------------------------------------

/// A tool is about to run: durable before it does unless its effect is `none`.
struct tool_started {
  std::string call_id;
  std::string tool;
  json arguments;
  troupe::effect effect = troupe::effect::none;
  std::int64_t attempt = 1;
  std::string instead_of;      ///< the tool that this alternative replaces
};
BOOST_DESCRIBE_STRUCT(tool_started, (), (call_id, tool, arguments, effect, attempt, instead_of))

struct tool_failed {
  std::string call_id;
  std::string tool;
  std::int64_t attempt = 1;
  std::string error;
  std::string next;            ///< retry, alternative, report
  std::int64_t wait_ms = 0;
};
BOOST_DESCRIBE_STRUCT(tool_failed, (), (call_id, tool, attempt, error, next, wait_ms))

/// The result that the model sees for its call: `text` is the tool message.
struct tool_finished {
  std::string call_id;
  std::string tool;            ///< the one that answered; empty: none ran (refused)
  tool_status status = tool_status::ok;
  std::string text;
  std::int64_t duration_us = 0;
};
BOOST_DESCRIBE_STRUCT(tool_finished, (), (call_id, tool, status, text, duration_us))

// --- agents, supervision, budgets, quality ------------------------------------------------------------------------------------------------

struct agent_crashed {
  std::string member;          ///< pool member, e.g. researcher/2
  std::string why;
  std::int64_t crashes = 1;    ///< of this task so far
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
  std::int64_t repair = 1;     ///< how often the agent has been asked again, this time included; 0: it is not asked again
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
  std::string scope;           ///< run, task ID, agent NAME, tenant NAME, process
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
/// What was done about it (SEMANTICS 2): the rungs of the ladder; none: only the repair of an answer was ended.
enum class loop_rung { none, told, tool_taken, restarted, failed };
BOOST_DESCRIBE_ENUM(loop_rung, none, told, tool_taken, restarted, failed)

/// Its supervisor found that an agent goes round in circles.
struct loop_detected {
  loop_kind kind = loop_kind::repeat;
  loop_rung rung = loop_rung::told;
  std::int64_t step = 0;       ///< the response that it was found in, from 1 in this attempt
  std::string call_id;         ///< the call that closed the circle; empty of a monologue
  std::string tool;            ///< its tool
  std::int64_t count = 0;      ///< calls, rounds, steps or messages
  std::string text;            ///< what the agent was told; when it was restarted: the digest that it goes on from
};
BOOST_DESCRIBE_STRUCT(loop_detected, (), (kind, rung, step, call_id, tool, count, text))

enum class context_cut_kind { results_noted, summarised, failed_over, results_shortened };
BOOST_DESCRIBE_ENUM(context_cut_kind, results_noted, summarised, failed_over, results_shortened)

/// A conversation was made to fit the context of its model (SEMANTICS 1). Messages are counted from 0 in the conversation as it then was,
/// without its opening (system prompt and instruction).
struct context_cut {
  context_cut_kind kind = context_cut_kind::results_noted;
  std::int64_t step = 0;       ///< the one whose request it was made for, from 1 in this attempt
  std::string model;           ///< provider/model that it has to fit
  std::int64_t window = 0;     ///< tokens that a request to it may have, its answer left out
  bool refused = false;        ///< the provider said that the request was too long; false: our estimate did
  std::int64_t tokens_before = 0; ///< of the request, estimated
  std::int64_t tokens_after = 0;
  std::int64_t messages = 0;   ///< the first so many were looked at: their results are notes now, or all of them are the summary
  std::int64_t results = 0;    ///< how many results were replaced or shortened
  std::int64_t keep_bytes = 0; ///< results_shortened: what is left of each
  std::int64_t link = 0;       ///< failed_over: the model in the chain that is asked from now on
  std::string summary;         ///< summarised: the text that stands for them
};
BOOST_DESCRIBE_STRUCT(context_cut, (), (kind, step, model, window, refused, tokens_before, tokens_after, messages, results, keep_bytes, link, summary))

/// On resume: a request or a `once` tool call whose outcome nobody knows. Money that it may have cost was charged.
struct outcome_unknown {
  std::string id;              ///< step_id#request or call_id
  usd charged;
};
BOOST_DESCRIBE_STRUCT(outcome_unknown, (), (id, charged))

using event_body = std::variant<run_started, run_resumed, run_interrupted, run_finished, task_started, task_finished, task_retried, llm_requested,
                                llm_responded, llm_failed, llm_failed_over, breaker_changed, usage_rejected, tool_started, tool_failed,
                                tool_finished, agent_crashed, agent_restarted, contract_violated, message_injected, budget_warned,
                                budget_refused, max_tokens_lowered, outcome_unknown, loop_detected, context_cut>;

/// One event of one run. `task` is the task's path: "research", "sections[3]", "archive/publish" in a sub-workflow; empty for the run itself.
struct event {
  std::int64_t seq = 0;        ///< from 1, without gaps in one run; given by the journal
  std::int64_t time_us = 0;    ///< UTC, microseconds since the epoch
  std::string run_id;
  std::string task;
  std::string agent;           ///< the agent's name in the configuration; empty where none is concerned
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
