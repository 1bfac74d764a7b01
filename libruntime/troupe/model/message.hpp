#pragma once
// Messages, immutable and shared once they are made: nobody copies their text. Their list is conversation.hpp.

#include <memory>
#include <string>
#include <vector>

#include <boost/describe.hpp>

namespace troupe {

enum class role { system, user, assistant, tool };
BOOST_DESCRIBE_ENUM(role, system, user, assistant, tool)

/// A tool call as the model wrote it. `arguments` is its text, which may be no JSON at all: it is hostile input.
struct tool_call {
  std::string id;
  std::string name;
  std::string arguments;
  friend bool operator==(const tool_call&, const tool_call&) = default;
};
BOOST_DESCRIBE_STRUCT(tool_call, (), (id, name, arguments))

/// One message of a conversation. `tool_calls` only for assistants, `tool_call_id` and `is_error` only for tool results.
/// All text is valid UTF-8 (mended at the door).
struct chat_message {
  role from = role::user;
  std::string text;
  std::vector<tool_call> tool_calls;
  std::string tool_call_id;
  bool is_error = false;
  friend bool operator==(const chat_message&, const chat_message&) = default;
};
BOOST_DESCRIBE_STRUCT(chat_message, (), (from, text, tool_calls, tool_call_id, is_error))

using message_ptr = std::shared_ptr<const chat_message>;

} // namespace troupe
