#pragma once
// DELEGATION (SEMANTICS 4): an agent as another agent's tool, and hand-offs of a task from one agent to the next.
//
//   agent:writer among an agent's tools     it has a tool `agent_writer`; a call is a task of its own, below the task that asks
//   handoffs: [writer]                      it has a tool `handoff_to_writer`; a call gives the same task to the other agent
//
// Rules
//   path      `research>writer#3`: asked in the third step; a second call of one response is `#3.2`, one of a second attempt `#a2.3`. Made
//   from
//             where the call stands, so that it is the same after a crash. At most `delegate.depth` (8) levels below a task of the
//             workflow.
//   rights    whom an agent asks may use what both have, tools and agents alike; all of its own where the caller says `rights: own`. They
//   hold
//             for the task: who gets it by a hand-off has no more.
//   outcome   one JSON object: status, output, error. `success` only for a task that ended so and said something; `partial` for one that
//             failed and left an output; else the status of the task. Cut off, failed, silent: never success.
//   others    further calls in one response run; a hand-off comes last, and of several only the first is taken.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "troupe/model/config.hpp"
#include "troupe/model/error.hpp"
#include "troupe/model/event.hpp"
#include "troupe/model/llm.hpp"
#include "troupe/model/message.hpp"

namespace troupe::policy {

/// As the configuration writes an agent among tools.
inline constexpr std::string_view agent_tool_prefix = "agent:";
/// Names as models see them: "agent_writer", "handoff_to_writer".
std::string delegate_tool(std::string_view agent);
std::string handoff_tool(std::string_view agent);

/// What an agent may use in one task.
struct agent_rights {
  std::vector<std::string> tools;
  std::vector<std::string> delegates; ///< agents
  std::vector<std::string> handoffs;  ///< agents
};
/// Its own, cut down to what was granted where something was ("agent:NAME" for agents).
agent_rights rights_of(const agent_spec& agent, const std::optional<std::vector<std::string>>& granted);
/// Of an agent that reviews: its tools alone. A verdict is its own, and a review is no task that somebody else could go on with.
agent_rights rights_of_reviewer(const agent_spec& agent);
/// What `asked` may use in a task that `caller` gives it, as `task_assignment::rights` writes it.
std::vector<std::string> granted_by(const agent_spec& caller, const agent_rights& has, const agent_spec& asked);

/// Whether `asked` can change anything when `caller` asks it: by a tool with an effect or with such an alternative, its own or of an agent
/// that it can ask, hand its part to, or be reviewed by. Of a tool that is not known nobody knows. `tools`: by name.
bool can_change(const std::map<std::string, agent_spec>& agents, const std::map<std::string, tool_spec>& tools, const agent_spec& caller,
                const agent_rights& has, const std::string& asked);

/// `step` is the response that has the call, `call` its place there, from 0.
std::string delegated_path(std::string_view task, std::string_view to, std::int64_t attempt, std::int64_t step, std::size_t call);
/// 0: a task of the workflow.
std::int64_t depth_of(std::string_view path);

/// The tools that stand for other agents, as they are declared to the model.
std::vector<tool_declaration> colleague_declarations(const std::map<std::string, agent_spec>& agents, const agent_rights& has);

/// A call of one of them.
struct colleague_call {
  bool handoff = false;
  std::string agent;
  std::string task; ///< of a hand-off: its reason
  std::string context;
  /// What the other agent is told of a task that it is asked to do.
  std::string instruction() const;
};
/// Nullopt: the name is none of theirs. The error is what the model is told.
std::optional<expected<colleague_call>> read_colleague_call(const agent_rights& has, const std::string& name, const std::string& arguments);

std::string too_deep_text(const std::string& agent, std::int64_t depth_max);
inline constexpr std::string_view second_handoff_text =
    "Another hand-off stands before this one; a task goes to one agent. Nothing was done.";

/// How a delegated task ended, for the model that asked.
struct delegated_outcome {
  std::string text;
  tool_status status = tool_status::ok;
};
delegated_outcome outcome_of(task_status status, const std::string& reason, const std::string& error, const json& output);

/// The outputs that models see of each other are cut here; the text says so.
inline constexpr std::size_t delegated_output_bytes_max = 1 << 20;

/// What the next agent goes on from: who gives it the task and why, and what was said and done so far. `turn`: the conversation behind the
/// first instruction. At most about 24 kB, the latest kept.
std::string handoff_text(const std::string& from, const colleague_call& call, const conversation& turn);
/// The turn as two numbers, for `handoff_cycle`: all that was said, and all that tools brought (0: nothing).
struct turn_sign {
  std::uint64_t said = 0, brought = 0;
};
turn_sign sign_of(const colleague_call& call, const conversation& turn);

} // namespace troupe::policy
