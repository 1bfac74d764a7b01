#pragma once
// A request to a model as the rules of a script see it, whichever way it came: from `llm_request`, or over HTTP in either vendor's form.

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "troupe/model/llm.hpp"

namespace troupe::llm {

/// A message of the conversation; the system messages that it begins with are not among them. Each tool result is a message of its own,
/// also where a vendor packs several into one (Anthropic), so that a script means the same over both.
struct view_message {
  struct call {
    std::string_view id;
    std::string_view name;
    std::string_view arguments; ///< JSON text
  };
  role from = role::user;
  std::string_view text;
  std::vector<call> calls;  ///< of an assistant
  std::string_view call_id; ///< of a tool result
  std::string_view tool;    ///< of a tool result: the name of the tool that was called, empty where no call has its id
};

/// All views point into what the request was made of, or into `kept`: neither may be changed while the view lives. Move it, never copy it.
struct request_view {
  std::string_view agent; ///< as the header X-Troupe-Agent or `llm_request::agent` names it; empty: unnamed
  std::string_view model;
  std::string_view system;                    ///< the system messages that it begins with, a blank line between them
  mutable std::vector<view_message> messages; ///< whoever fills a view fills them; whoever reads it takes `all`
  const conversation* source = nullptr;       ///< where they are not filled in: what they are made of, when somebody wants them all …
  std::size_t source_begin = 0;               ///< … from this one on
  std::vector<std::string_view> tools;
  std::int64_t max_tokens = 0;  ///< 0: not stated
  std::deque<std::string> kept; ///< texts that were put together from parts

  request_view() = default;
  request_view(request_view&&) = default;
  request_view& operator=(request_view&&) = default;
  request_view(const request_view&) = delete;
  request_view& operator=(const request_view&) = delete;

  /// All messages. A long conversation's are made once one of the rules looks at them all; the other questions cost the same at any length.
  const std::vector<view_message>& all() const;
  /// The text of the newest result of this tool; empty without one.
  std::string_view newest_result(std::string_view tool) const;
  /// The number of assistant messages, and one.
  std::int64_t turn() const;
  /// The text of the last message; empty without one.
  std::string_view last() const;
  /// The text of the first message from the user; empty without one.
  std::string_view first() const;
  /// The system prompt's first line, without white space around it.
  std::string_view first_line() const;
  /// Whether this is a request of that agent: by its name where the request carries one, else by the system prompt's first line, which
  /// names the agent when it has the name as a whole word (ASCII case is ignored).
  bool is_from(std::string_view name) const;
  /// Code points of system prompt, texts, tool calls' names and arguments.
  std::int64_t characters() const;
  /// A hash that is the same in every process, and differs from turn to turn of one conversation: what generated ids are made of. Of the
  /// names, the system prompt, the size of the conversation and its last messages.
  std::uint64_t fingerprint() const;
  /// Fills in `view_message::tool` of each result, from the call that has its id. Whoever fills a view calls it last.
  void name_tool_results();
};

/// A view into `request`, which must outlive it. Constant time, whatever the length of the conversation.
request_view view_of(const llm_request& request);

/// The number of code points in UTF-8.
std::int64_t count_characters(std::string_view text);

/// Eight bytes at a time, seeded; stable over processes and machines of one endianness. Not for hostile keys of a hash table.
std::uint64_t stable_hash(std::string_view bytes, std::uint64_t seed = 0);

} // namespace troupe::llm
