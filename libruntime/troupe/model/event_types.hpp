#pragma once
// Event types by name, and back from JSON: what a journal needs.

#include <array>
#include <string_view>

#include "troupe/model/error.hpp"
#include "troupe/model/event.hpp"

namespace troupe {

/// In the order of `event_body`'s alternatives.
inline const std::array<std::string_view, std::variant_size_v<event_body>>& event_type_names() {
  static const std::array<std::string_view, std::variant_size_v<event_body>> names{
      "run_started",       "run_resumed",      "run_interrupted",    "run_finished",   "task_started",       "task_finished",
      "task_retried",      "llm_requested",    "llm_responded",      "llm_failed",     "llm_failed_over",    "breaker_changed",
      "usage_rejected",    "tool_started",     "tool_failed",        "tool_finished",  "agent_crashed",      "agent_restarted",
      "contract_violated", "message_injected", "budget_warned",      "budget_refused", "max_tokens_lowered", "outcome_unknown",
      "loop_detected",     "context_cut",      "approval_requested", "approval_voted", "approval_decided",   "output_checked",
      "output_reviewed",   "answers_differ",   "answers_resolved",   "state_written",  "delegated",          "handed_off",
      "handoff_refused",   "llm_hedged",       "approval_withdrawn"};
  return names;
}

/// The body of an event of this type; unknown types and wrong fields are `corrupt`.
expected<event_body> body_from_document(std::string_view type, const json& document);

} // namespace troupe
