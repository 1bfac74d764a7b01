#pragma once
// What an agent that goes round in circles is told, and what is kept of its history when it is restarted (SEMANTICS 2). No model is asked.

#include <string>
#include <string_view>
#include <vector>

#include "troupe/model/message.hpp"
#include "troupe/policy/loop_watch.hpp"

namespace troupe::policy {

/// `You are looping: you have called grep({"path":"a"}) 3 times with the same result. Do something different.` and what follows from the
/// rung. `call`: the one that was found; of a monologue none.
std::string loop_text(const loop_found& found, loop_rung rung, const tool_call& call);

/// The same for people, of a task that failed as `loop`.
std::string loop_failure_text(const loop_found& found, const tool_call& call);

/// What the agent reads that a human lets go on.
std::string loop_excuse_text(const loop_found& found, const tool_call& call, const std::string& reviewer, const std::string& comment);

/// What a human is shown: `{ loop, tool, arguments, count }`, the arguments shortened.
json loop_action(const loop_found& found, const tool_call& call);

/// Why this call did not run. `others`: tools that the agent still has.
std::string loop_refusal_text(call_ruling ruling, const tool_call& call, const std::vector<std::string>& others);

/// What the agent goes on from: what it did, each call once with its last outcome, and what it is to leave alone. `messages`: its
/// conversation so far; system and user messages are left out. At most about 12 kB, whatever the conversation's length.
std::string loop_digest(const conversation& messages, const loop_found& found, const tool_call& call,
                        const std::vector<std::string>& taken);

} // namespace troupe::policy
