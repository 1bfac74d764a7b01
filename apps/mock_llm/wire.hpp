#pragma once
// The two vendors' wire forms, from the server's side: a body is read into the view that rules see, and refused in the vendor's own
// words when the vendor would refuse it; a reply is written as the vendor writes it, whole or as a stream.

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "troupe/llm/script.hpp"

namespace troupe::mock_llm {

enum class vendor { openai, anthropic };

/// An error as the vendor tells it.
struct wire_error {
  int status = 400;
  std::string message;
  std::string type;  ///< empty: the usual one of the status
  std::string param; ///< OpenAI only
  std::string code;  ///< OpenAI only
};

/// What a body asks for. The view points into `document` and into the body, which must outlive it.
struct wire_request {
  llm::request_view view;
  bool stream = false;
  bool include_usage = false;
};

/// Memory in which one body at a time is parsed; reused by the next. One a thread.
class parse_memory {
public:
  parse_memory();
  ~parse_memory();
  parse_memory(const parse_memory&) = delete;
  parse_memory& operator=(const parse_memory&) = delete;

  struct state;
  state& get() { return *state_; }

private:
  std::unique_ptr<state> state_;
};

/// Reads a body into `into`, which is valid until the next body is read with the same memory. The vendor's refusal, or none. Never throws;
/// linear in the body.
std::optional<wire_error> read_body(vendor from, std::string_view body, parse_memory& memory, wire_request& into);

/// The body of an error.
std::string error_body(vendor to, const wire_error& error, std::string_view id);
/// What a fault of kind `status` or `error200` says.
wire_error error_of(vendor to, const llm::fault& met);

/// Collects a body. A stream's events are chunks of the transfer encoding where `chunked` says so.
struct body_writer {
  std::string& out;
  bool chunked = false;

  void event(std::string_view text);
  void end();
};

/// What both writers need beside the reply. `id` is a hash of the request, so that the same request gets the same bytes.
struct reply_frame {
  std::string_view model;
  std::uint64_t id = 0;
  bool include_usage = false;
};

void write_whole(vendor to, const llm::scripted_reply& reply, const reply_frame& frame, std::string& out);
void write_stream(vendor to, const llm::scripted_reply& reply, const reply_frame& frame, body_writer& out);
/// An event that does not parse, and an error object within a stream.
void write_broken_stream(vendor to, body_writer& out);
void write_error_stream(vendor to, const wire_error& error, body_writer& out);

/// Appends `text` as it stands between the quotes of a JSON string.
void append_escaped(std::string& out, std::string_view text);
void append_hex(std::string& out, std::uint64_t value);
void append_number(std::string& out, std::int64_t value);
/// Cuts a text into the pieces in which a stream sends it: at least two where it has two code points, at most 16.
std::vector<std::string_view> pieces_of(std::string_view text);

} // namespace troupe::mock_llm
