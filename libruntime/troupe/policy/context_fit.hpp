#pragma once
// The context rule (SEMANTICS 1): a request that would not fit its model's context is made to fit before it is sent, in this order:
//   1. the oldest tool results are replaced by a note of their size, those of the last exchange last of all (see 4);
//   2. one summarising call: its answer stands for all but the opening (system prompt and instruction) and the last exchange, and has at
//      most half of their tokens;
//   3. the rest of the task goes to a later model of the chain that has a larger context;
//   4. the results of the last exchange are shortened to their beginning and end;
//   5. the task ends as error.
// At most `summaries` (3) of a task, and none for two steps running. Results are cut down to `fill` (0.75) of the window, so that the next
// steps need no cut, and what the provider has cached of the conversation stays the same.
//
// The window of a model is its `context` less the answer's `max_tokens`. A token is taken for four bytes, or for less where the
// provider stated more tokens for the last request; a refusal ("context length exceeded") of a request of N tokens shows a window of at
// most 3/4 N, a second one for the same step N/2.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "troupe/model/config.hpp"
#include "troupe/model/event.hpp"
#include "troupe/model/llm.hpp"

namespace troupe::policy {

/// Tokens of requests, estimated from the sums that a conversation carries: constant time.
class token_meter {
public:
  token_meter() = default;
  explicit token_meter(const tool_declarations& tools);
  std::int64_t tokens(const conversation& messages) const { return tokens_of_bytes(bytes_of(messages) + declared_bytes_); }
  std::int64_t tokens(const chat_message& message) const;
  std::int64_t tokens_of_bytes(std::int64_t bytes) const;
  std::int64_t bytes_of_tokens(std::int64_t tokens) const;
  /// What the provider stated for the request with these messages. More than the estimate is believed, up to four times; less is not, for
  /// what comes next may be denser. Requests of less than 256 tokens say nothing.
  void learn(const conversation& messages, std::int64_t stated);

private:
  static std::int64_t bytes_of(const conversation& messages);
  std::int64_t declared_bytes_ = 0;
  std::int64_t stated_ = 1, estimated_ = 1; ///< the correction, as a fraction
};

/// What a task's cuts have come to: folded from its events, or carried along.
struct context_state {
  std::size_t link = 0;            ///< the first model of the chain that is asked
  std::int64_t learned_window = 0; ///< 0: no refusal has shown one
  std::int64_t summaries = 0;
  std::int64_t last_summary_step = 0; ///< 0: none
};

struct context_facts {
  const model_spec* model = nullptr;
  const context_spec* spec = nullptr;
  std::int64_t max_tokens = 0;
  std::size_t opening = 0; ///< messages at the beginning that are never touched
  std::int64_t step = 1;   ///< the one that the request is for
  bool refused = false;    ///< the provider has refused the conversation as it is
  bool no_summary = false; ///< the call for this step brought none
};

/// The conversation fits as it is.
struct context_fits {};
/// Ask for a summary of the first `messages` behind the opening, then cut with `cut` and its text.
struct summary_wanted {
  context_cut cut;
  std::int64_t tokens = 0; ///< that it may have: `summary_tokens`, or half of what it stands for
};
/// Nothing more can be done.
struct context_exhausted {
  std::string why; ///< for people
};
using context_plan = std::variant<context_fits, context_cut, summary_wanted, context_exhausted>;

/// The next thing to do about a conversation. Whoever asks does it and asks again: each cut shrinks the request or widens the window.
context_plan plan_context(const conversation& messages, const context_facts& facts, const context_state& state, const token_meter& meter);

/// The window of one model of the chain, in tokens: 0 where it is unknown.
std::int64_t window_of(const model_spec& model, std::size_t link, std::int64_t max_tokens, std::int64_t learned);

/// The conversation without its opening, cut: from the same messages always the same, live and from the journal.
conversation apply_cut(const conversation& behind_opening, const context_cut& cut);
/// The state after a cut.
void take_cut(context_state& state, const context_cut& cut);
/// The window that a refusal of a request of `tokens` shows.
std::int64_t learned_window(std::int64_t tokens, bool again);

// --- the summarising call ------------------------------------------------------------------------------------------

/// The id of the call for a step, and back: it is a request of its own, and no part of the conversation.
std::string summary_step(const std::string& step_id);
bool is_summary_step(std::string_view step_id);
/// What is asked: the first `messages` behind the opening, written so that the request has at most `tokens` tokens.
conversation summary_request(const conversation& messages, std::size_t opening, std::size_t count, std::int64_t tokens,
                             const token_meter& meter);

/// The text that stands for a result of so many bytes.
std::string result_note(std::size_t bytes);

} // namespace troupe::policy
