#pragma once
// What the vendors' formats have in common: an answer that grows with a response's pieces, and how it becomes an outcome.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json/fwd.hpp>

#include "troupe/llm/http_client.hpp"
#include "troupe/llm/sse_parser.hpp"
#include "troupe/model/llm.hpp"

namespace troupe::llm {

/// An answer as far as it has arrived.
struct answer {
  std::string text;
  std::vector<tool_call> calls;
  std::optional<finish_reason> finish; ///< absent: the model has not said that it is done
  std::optional<token_usage> usage;
  std::optional<llm_failure> failure; ///< a broken format, or the provider's error object; ends the response
  bool begun = false;                 ///< an event of the stream that is no failure has been read
  bool terminal = false;              ///< nothing is missing: the stream's last event has been read, or a whole body
};

/// The most tool calls that one answer may have; more are a malformed response.
inline constexpr std::size_t calls_max = 1'024;

/// Reads one response into an answer. One object a response; not thread-safe.
class response_reader {
public:
  virtual ~response_reader() = default;
  /// An event of a stream. Sets `failure` or `terminal` when nothing more is to be read.
  virtual void event(const sse_event& event, answer& into) = 0;
  /// A whole body that parsed as JSON.
  virtual void whole(const boost::json::value& body, answer& into) = 0;
};

/// A vendor's wire format: requests to bytes, bytes to answers. Thread-safe.
class wire_format {
public:
  virtual ~wire_format() = default;
  virtual std::string body(const llm_request& request) const = 0;
  /// The size of `body`, without building it.
  virtual std::size_t body_bytes(const llm_request& request) const = 0;
  virtual std::unique_ptr<response_reader> reader() const = 0;
};

/// The error object of a body, an event or a whole answer: {"error": {"type", "code", "message"}}, {"error": "words"} and what compatible
/// servers send ({"message", "code"}, {"detail"}). Absent: `body` has none; {} and "" are none under a 2xx. `code` is the code where it is
/// one, else the type.
std::optional<llm_failure> error_object_of(const boost::json::value& body, int http_status);

/// A failure of what came back with a status.
llm_failure failure_of(llm_failure_kind kind, int http_status, std::string message);

/// The failure of a response that is no success, whatever its body is.
llm_failure status_failure(int http_status, std::string_view body);

/// The outcome of a response that has ended, by its own terminal event or because the transfer did. Truncated without a finish reason,
/// empty without text (other than white space) and without tool calls. A failure keeps the usage of a response that nothing is missing of.
llm_outcome conclude(answer&& from);

/// The arguments of a call in a history, as JSON text that every provider takes: an object stays as it is, nothing becomes {}, and text
/// that is no JSON object is wrapped as {"invalid_arguments": "…"} (some servers answer 500 or 400 to every later request otherwise).
std::string sendable_arguments(const std::string& arguments);

/// A tool's name in a history as providers take it ([A-Za-z0-9_-], 1 to 64): models invent names that would make every later request a 400.
std::string sendable_name(std::string_view name);

} // namespace troupe::llm
