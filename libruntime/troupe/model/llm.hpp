#pragma once
// What is asked of a model provider, and what comes back.

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include <boost/describe.hpp>
#include <nlohmann/json.hpp>

#include "troupe/model/conversation.hpp"
#include "troupe/model/message.hpp"
#include "troupe/model/money.hpp"

namespace troupe {

using json = nlohmann::json;

/// A tool as it is declared to a model: name, description, JSON Schema of its arguments.
struct tool_declaration {
  std::string name;
  std::string description;
  json parameters;
};
BOOST_DESCRIBE_STRUCT(tool_declaration, (), (name, description, parameters))
using tool_declarations = std::shared_ptr<const std::vector<tool_declaration>>;

/// One request to one model of one provider.
struct llm_request {
  std::string model;       ///< the provider's name for it
  std::string agent;       ///< sent as X-Troupe-Agent where the provider is a rehearsal server, used by scripts
  conversation messages;   ///< well formed: each tool call has exactly one result
  tool_declarations tools; ///< null or empty: no tools are declared
  std::string tool_choice; ///< "", "auto", "none", "required", or a tool's name
  std::optional<double> temperature;
  std::string reasoning_effort; ///< OpenAI's name for how much the model thinks; empty: not said
  std::int64_t max_tokens = 4096;
  bool stream = true;
  std::chrono::milliseconds timeout{60'000}; ///< over the whole transfer
};

/// Tokens as a response states them. `cached_input` and `cache_write` are parts of `input`.
struct token_usage {
  std::int64_t input = 0;
  std::int64_t cached_input = 0;
  std::int64_t cache_write = 0;
  std::int64_t output = 0;
  friend bool operator==(const token_usage&, const token_usage&) = default;
};
BOOST_DESCRIBE_STRUCT(token_usage, (), (input, cached_input, cache_write, output))

enum class finish_reason { stop, tool_calls, length, content_filter, other };
BOOST_DESCRIBE_ENUM(finish_reason, stop, tool_calls, length, content_filter, other)

/// What x-ratelimit-* and anthropic-ratelimit-* headers said. Absent: not stated.
struct rate_limits {
  std::optional<std::int64_t> remaining_requests;
  std::optional<std::int64_t> remaining_tokens;
  std::optional<std::chrono::milliseconds> reset_requests; ///< from now
  std::optional<std::chrono::milliseconds> reset_tokens;   ///< from now
  std::optional<std::int64_t> limit_requests;              ///< what remains right after a reset
  std::optional<std::int64_t> limit_tokens;
};

struct llm_response {
  chat_message message; ///< from the assistant
  finish_reason finish = finish_reason::stop;
  std::optional<token_usage> usage; ///< absent: the response stated none; may be absurd: the gateway checks it
  rate_limits limits;
};

enum class llm_failure_kind {
  connection, ///< no connection was made, or it broke before anything came back (see `llm_failure::sent`)
  timeout,
  truncated, ///< a stream that ended without its terminal event or finish reason
  malformed, ///< a body that does not parse
  status,    ///< an HTTP status that is no success, or 200 with an error object
  empty,     ///< neither text nor tool call
  cancelled,
  agent_crash, ///< scripted provider only: the agent that receives this dies with an exception
  unsendable,  ///< no request can be made of it: its URL, or one of its headers, is none. Nothing was tried
};
BOOST_DESCRIBE_ENUM(llm_failure_kind, connection, timeout, truncated, malformed, status, empty, cancelled, agent_crash, unsendable)

/// Why a request brought no response. The provider reports facts; the retry policy classifies them.
struct llm_failure {
  llm_failure_kind kind = llm_failure_kind::connection;
  int http_status = 0; ///< 0: none; 200 for an error object in a success
  std::string code;    ///< the provider's error code or type, e.g. "insufficient_quota", "overloaded_error"
  std::string message; ///< the provider's words, redacted and bounded (1 kB)
  bool sent = true;    ///< false: the connection was never made, nothing can have been charged
  bool begun = false;  ///< parts of an answer had come before an error object: it may be charged
  /// As a whole response stated it that brought no answer; may be absurd, too.
  std::optional<token_usage> usage = std::nullopt;
  std::optional<std::chrono::milliseconds> retry_after; ///< as the header said, relative to now; unreadable ones are absent
  rate_limits limits;
};

using llm_outcome = std::variant<llm_response, llm_failure>;

/// US dollars for a million tokens, in micro-dollars a million tokens. Each part is meant as it stands: what a configuration leaves out has
/// been filled in. All zero and known: it costs nothing.
struct token_price {
  bool known = false; ///< false: no price was configured
  std::int64_t input = 0;
  std::int64_t cached_input = 0;
  std::int64_t cache_write = 0;
  std::int64_t output = 0;
  std::int64_t above_tokens = 0; ///< 0: no second tier; else requests with more input tokens cost the following
  std::int64_t above_input = 0;
  std::int64_t above_output = 0;
};
BOOST_DESCRIBE_STRUCT(token_price, (), (known, input, cached_input, cache_write, output, above_tokens, above_input, above_output))

} // namespace troupe
