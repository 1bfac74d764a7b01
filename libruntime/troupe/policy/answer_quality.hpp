#pragma once
// ANSWER QUALITY: what becomes of the answers of one attempt of a task (SEMANTICS 5). Pure: each input returns commands, which the agent
// executes in their order; the last one is what it waits for, or the end.
//
// Rules
//   whole      an answer that was cut off (max_tokens, a content filter, an end whose reason is not known) is broken, also where any text
//   is
//              good.
//   holds      an answer must satisfy its contract, and then its command (exit status 0). A command that says neither yes nor no (it could
//              not be started, its time was up) is an error of the task, not of the answer.
//   repair     else the agent is asked again with what is wrong, `output.retries` times; a monologue (SEMANTICS 2) ends that early.
//   reviewer   then the reviewer agent judges: pass (the output is taken as it is), revise (its revised output is taken when that holds;
//              else its feedback goes to the agent once more), reject. It is asked at most twice an attempt; a second revise that brings no
//              output which holds, and a reviewer that fails, count as a rejection.
//   human      then, with `output.human`, a human approves the output as it is, modifies it (what it becomes must hold), or rejects it.
//   end        else quality_failed, with the last output as partial result.
// A review that was cut short by the budget, the time or a cancel ends the task as that. Whatever else ends the task, the last answer is
// its partial result.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "troupe/model/config.hpp"
#include "troupe/model/event.hpp"
#include "troupe/model/llm.hpp"
#include "troupe/policy/contract.hpp"

namespace troupe::policy {

inline constexpr std::int64_t reviews_max = 2;

/// The path of a task's review, which is a task below it.
inline std::string review_of(const std::string& task) {
  return task + "/review";
}
/// Whether a review's end says nothing of what was reviewed: it was cut short, and goes on when what it works for does.
inline bool is_cut_short(task_status end) {
  return end == task_status::cancelled || end == task_status::timeout || end == task_status::budget_exceeded;
}

/// What is wrong with an answer that its model did not end by itself; nothing: it did. `max_tokens` were asked for.
std::optional<schema::violation> cut_off_by(finish_reason finish, std::int64_t max_tokens);

/// The contract of a review: `{ verdict, feedback, revised_output }`. `retries` are the reviewer's own.
output_spec review_contract(std::int64_t retries);

// --- commands

struct record_quality {
  std::vector<event_body> events;
};
/// Run the contract's command with this on its standard input; answer with `checked`.
struct run_check {
  std::string text;
};
/// Ask the agent again, unless its supervisor finds that it says the same whatever it is told: then answer with `repeats`. What is
/// `recorded` is recorded when it is asked.
struct repair_answer {
  std::vector<std::string> violations;
  std::string feedback;
  std::vector<event_body> recorded;
};
/// The reviewer's feedback: the agent is asked again.
struct pass_feedback {
  std::string text;
};
/// Answer with `reviewed`. `attempt` numbers all reviews of the task.
struct ask_reviewer {
  std::string reviewer;
  std::int64_t attempt = 1;
  std::string instruction;
};
/// Answer with `decided`.
struct ask_person {
  json output;
  json details;
};
struct end_answer {
  task_status status = task_status::success;
  std::string reason, error;
  json output;
  std::string limit_scope;
};
using quality_command = std::variant<record_quality, run_check, repair_answer, pass_feedback, ask_reviewer, ask_person, end_answer>;
using quality_commands = std::vector<quality_command>;

/// How the reviewer's task ended.
struct review_outcome {
  task_status status = task_status::success;
  std::string reason, error;
  json output;
  std::string limit_scope;
};

/// What a human, or the deadline, says of an output.
struct person_outcome {
  approval_status status = approval_status::rejected;
  std::string reviewer, comment;
  json modified;
  bool by_human = true;
};

class answer_quality {
public:
  answer_quality() = default;
  /// `rules` null: any text is good. `attempt` of the task.
  answer_quality(const output_spec* rules, std::optional<contract> must_hold, std::int64_t attempt, std::string instruction);

  /// What is recorded of this attempt: reviews are counted, the last answer is kept, and what is known of it is not asked again.
  void restore(const std::vector<event_ptr>& events_of_task, std::int64_t repairs);

  /// The agent's answer, its `step`th response. `cut_off`: it is not whole.
  quality_commands answered(const std::string& text, std::int64_t step, std::optional<schema::violation> cut_off);
  quality_commands checked(const tool_outcome& outcome, std::int64_t duration_us);
  quality_commands repeats(std::vector<event_body> seen, std::int64_t times);
  quality_commands reviewed(const review_outcome& outcome);
  quality_commands decided(const person_outcome& outcome);

  /// The last answer, whatever was wrong with it: the partial result of a task that ends before another one is there. Null: it never
  /// answered.
  json left() const;
  std::int64_t repairs() const { return repairs_; }
  const output_spec* rules() const { return rules_; }

private:
  enum class stage { answer, revision, modification };
  struct known { // on their own: ten thousand tasks may wait, few of them resumed
    std::unique_ptr<output_checked> check;
    bool given_up = false;
    std::unique_ptr<output_reviewed> review;
  };
  quality_commands judge(const std::string& text, stage of);
  quality_commands holds();
  quality_commands fails(const std::vector<schema::violation>& violations);
  quality_commands exhausted(std::vector<event_body> before);
  quality_commands after_review(const output_reviewed& review, std::vector<event_body> before);
  quality_commands revision_failed(std::vector<event_body> before);
  quality_commands to_person(std::string reason, std::string error, std::vector<event_body> before);
  quality_commands give_up(std::string reason, std::string error, std::vector<event_body> before);
  json as_it_is() const;

  const output_spec* rules_ = nullptr;
  std::optional<contract> must_hold_;
  std::int64_t attempt_ = 1;
  std::string instruction_;
  std::int64_t repairs_ = 0, reviews_ = 0;
  known known_; ///< of the last answer, from the journal
  std::int64_t step_ = 0;
  stage stage_ = stage::answer;
  std::string text_;                    ///< the agent's last answer
  std::string judged_;                  ///< what the command sees
  json output_;                         ///< what is taken if it holds
  std::vector<std::string> violations_; ///< of the last answer, in words
  output_reviewed review_;              ///< the last one
};

/// What the answers to a task must be: `own` is its own contract, else its agent's holds. Null: any text is good.
inline const output_spec* rules_for(const output_spec* own, const agent_spec* agent) {
  return own ? own : agent && agent->output ? &*agent->output : nullptr;
}

/// What an agent that is gone answered last in this attempt, as `left` tells it. `rules` null: any text is good.
json last_answer(const output_spec* rules, const std::vector<event_ptr>& events_of_task, std::int64_t attempt);

} // namespace troupe::policy
