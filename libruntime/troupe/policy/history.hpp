#pragma once
// History stays valid (SEMANTICS 1): every request that leaves is well formed for every provider. Each tool call has exactly one result,
// right behind it and in the order asked; ids are unique in the whole conversation and written in letters, digits, "_" and "-" (what all
// providers take); no assistant message is empty. A crash, a resume, a cancel or an intervention may have left it otherwise.

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "troupe/model/llm.hpp"
#include "troupe/model/message.hpp"

namespace troupe::policy {

/// The result that a call without one gets.
inline constexpr std::string_view interrupted_text = "This call was interrupted; its outcome is unknown.";

/// Call ids are at most this long (OpenAI's limit).
inline constexpr std::size_t call_id_bytes_max = 40;

/// No tool call and no text but white space: a retryable error as an answer, and a 400 as a part of a request.
bool is_empty_answer(const chat_message& message);

/// Arguments of a call that was refused are kept up to this size: nothing ran with them, and each later request would carry them.
inline constexpr std::size_t refused_arguments_bytes_max = 4'096;

/// The conversation, whose last message has these calls, as it goes on once they are answered: of long arguments of refused calls their
/// beginning and a note of their size are kept, as JSON. Itself where there are none. The same wherever it is made, live or from the
/// journal, which has the arguments whole.
conversation with_refusals_cut(const conversation& messages, const std::vector<bool>& refused);

struct history_problem {
  std::size_t index = 0; ///< of the message in the conversation
  std::string what;
};

/// The first thing that some provider would answer with a 400, or nothing. O(n) in messages and calls.
std::optional<history_problem> well_formed(const conversation& messages);

/// The conversation, mended; itself where nothing is wrong (the same pointers, nothing is copied but what changes). Results are moved
/// behind their calls; results without a call, second results, null and empty assistant messages are dropped; calls without a result get
/// one with `note`, marked as an error; calls with a missing, unusable or repeated id get a new one, and their results with them: the k-th
/// result of an id belongs to its k-th call. New ids depend on the content only: the same conversation is always mended to the same text.
conversation repaired(const conversation& messages, std::string_view note = interrupted_text);

/// Mends the calls of a fresh answer before it is recorded: a missing, unusable or repeated id (in it, or used in `before`) becomes one
/// made of `step_id` and the call's position. Where `declared` is given, a name that is none of them and that providers would refuse in
/// later requests (it must be 1 to 64 letters, digits, "_" and "-") is written with "_". A call that the model made twice stays twice, and
/// the loop detector sees it. Returns whether anything changed.
bool normalise_calls(chat_message& answer, const conversation& before, std::string_view step_id,
                     const tool_declarations& declared = nullptr);

} // namespace troupe::policy
