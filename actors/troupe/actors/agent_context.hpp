#pragma once
// How an agent makes its conversation fit (SEMANTICS 1, Context): the policy's state, and what the gateway's answers mean to it.

#include <cstdint>
#include <optional>

#include "troupe/actors/interfaces.hpp"
#include "troupe/policy/context_fit.hpp"
#include "troupe/policy/replay.hpp"

namespace troupe::actors {

class agent_context {
public:
  agent_context() = default;
  /// `meter` knows the declared tools; `opening`: the messages at the beginning that are never touched.
  agent_context(const agent_spec& spec, const configuration& config, policy::token_meter meter, std::size_t opening);

  /// Goes on where the journal ends; `messages` is the conversation as it is rebuilt.
  void restore(const policy::task_history& history, const conversation& messages);

  /// The next thing to do before the request of `step`.
  policy::context_plan plan(const conversation& messages, std::int64_t step) const;
  void take(conversation& messages, const context_cut& cut);
  /// What is said of the context in the request of a step.
  void write(llm_ask& order) const;

  /// The request fitted no model. False: too often for one step, the task ends.
  bool too_long(const llm_answer& answer, const conversation& messages);
  /// The step was answered: `messages` is what was sent.
  void answered(const llm_answer& answer, const conversation& messages);

  /// The request whose answer is the summary.
  conversation summary_of(const conversation& messages, const policy::summary_wanted& wanted) const;
  /// The cut with the summary in it; nothing where the answer has no text.
  std::optional<context_cut> summarised(const policy::summary_wanted& wanted, const llm_answer& answer) const;
  void no_summary() { no_summary_ = true; }
  /// "provider/model".
  std::string name_of_link(std::size_t link) const;
  std::size_t link() const { return step_link_.value_or(state_.link); }

private:
  policy::context_state seen() const;

  const model_spec* model_ = nullptr; ///< both live in the run's configuration
  const context_spec* spec_ = nullptr;
  std::int64_t max_tokens_ = 0;
  std::size_t opening_ = 0;
  policy::token_meter meter_;
  policy::context_state state_;
  // Of the step that is being made:
  std::optional<std::size_t> step_link_; ///< another model than usual, the others are not to be had …
  std::int64_t step_learned_ = 0;        ///< … and what its refusals have shown
  std::int64_t refusals_ = 0;
  std::int64_t requests_ = 0; ///< sent for it so far
  std::int64_t too_long_times_ = 0;
  bool no_summary_ = false;
};

} // namespace troupe::actors
