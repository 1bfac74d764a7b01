#include "troupe/llm/http_provider.hpp"

#include <algorithm>

#include "troupe/llm/hostile_document.hpp"
#include "troupe/llm/vendor_headers.hpp"
#include "troupe/util/clock.hpp"
#include "troupe/util/redact.hpp"
#include "troupe/util/utf8.hpp"

namespace troupe::llm {

namespace {

constexpr std::size_t body_bytes_max = std::size_t{16} << 20;   // read at once
constexpr std::size_t stream_bytes_max = std::size_t{32} << 20; // read event by event, each of which says little in many words
constexpr std::size_t message_bytes_max = 1'000;

/// A name as a header's value: visible ASCII, at most 128 bytes.
std::string header_text(std::string_view text) {
  std::string out(text.substr(0, 128));
  for (char& c : out)
    if (c < 0x20 || c > 0x7e)
      c = '_';
  return out;
}

bool is_event_stream(const http_headers& headers) {
  const auto* type = headers.find("content-type");
  constexpr std::string_view wanted = "text/event-stream";
  return type && type->size() >= wanted.size() && std::equal(wanted.begin(), wanted.end(), type->begin(), [](char a, char b) {
           return a == (b >= 'A' && b <= 'Z' ? b + 32 : b);
         });
}

/// Where the JSON string ends whose opening quote is at `from`: behind its closing quote, or where it turns out to be none.
std::size_t string_end(std::string_view text, std::size_t from) {
  for (auto i = from + 1; i < text.size(); ++i) {
    if (text[i] == '"')
      return i + 1;
    if (static_cast<unsigned char>(text[i]) < 0x20)
      return i;
    if (text[i] == '\\')
      ++i;
  }
  return text.size();
}

/// JSON strings that hide a secret behind escapes ("\u0073k-…") are written again without it: whoever parses them would have it. All else
/// stays as it is, to the byte. JSON may begin anywhere in a text: each quote is looked at as one that opens a string.
template <class Redact>
std::string without_escaped(std::string text, Redact&& redact) {
  if (text.find('\\') == std::string::npos)
    return text;
  std::string out;
  std::size_t kept = 0; // up to there `text` is in `out`
  for (auto at = text.find('"'); at < text.size(); at = text.find('"', at)) {
    const auto end = string_end(text, at);
    const auto token = std::string_view(text).substr(at, end - at);
    if (token.find('\\') != std::string_view::npos) {
      const auto value = json::parse(token, nullptr, false);
      if (const auto* said = value.is_string() ? value.get_ptr<const std::string*>() : nullptr)
        if (const auto clean = redact(*said); clean != *said) {
          out.append(text, kept, at - kept).append(json(clean).dump(-1, ' ', false, json::error_handler_t::replace));
          kept = end;
        }
    }
    const bool closed = end - 1 > at && text[end - 1] == '"';
    at = closed && kept != end ? end - 1 : end;
  }
  return out.append(text, kept);
}

} // namespace

struct http_provider::shared {
  endpoint where;
  std::unique_ptr<wire_format> format;
  redactor own;  // the key, also where it came from elsewhere than the environment
  redactor said; // of headers, which may be ordinary words: not in answers

  std::string without_secrets(std::string text) const { return redacted(own.apply(std::move(text))); }
  /// … of a text that is JSON or has some in it.
  std::string without_hidden_secrets(std::string text) const {
    return without_escaped(without_secrets(std::move(text)), [this](const std::string& plain) { return without_secrets(plain); });
  }
};

/// One request under way; lives in the client's callbacks, which run on one thread.
struct http_provider::exchange {
  std::shared_ptr<const shared> from;
  on_outcome done;
  answer so_far;
  sse_parser parser;
  std::unique_ptr<response_reader> reader;
  std::string body; // of a response that is no stream
  bool delivered = false;

  void deliver(llm_outcome outcome, const http_headers& headers) {
    delivered = true;
    const auto now = utc_now_us();
    const auto limits = rate_limits_of(headers, now);
    if (auto* response = std::get_if<llm_response>(&outcome)) {
      response->limits = limits;
      auto& message = response->message; // it goes into the journal, and into later requests
      message.text = from->without_hidden_secrets(std::move(message.text));
      for (auto& call : message.tool_calls) {
        call.id = from->without_secrets(std::move(call.id));
        call.name = from->without_secrets(std::move(call.name));
        call.arguments = from->without_hidden_secrets(std::move(call.arguments));
      }
    } else {
      auto& failure = std::get<llm_failure>(outcome);
      failure.limits = limits;
      failure.retry_after = retry_after_of(headers, now);
      failure.message = from->said.apply(from->without_secrets(std::move(failure.message)));
      failure.code = from->said.apply(from->without_secrets(std::move(failure.code)));
      if (failure.message.size() > message_bytes_max)
        failure.message.resize(utf8_prefix(failure.message, message_bytes_max).size());
    }
    std::exchange(done, nullptr)(std::move(outcome));
  }

  bool on_data(const http_result& head, std::string_view piece) {
    if (delivered)
      return true; // what follows the terminal event is let run out, so that the connection can be used again
    if (head.status < 200 || head.status > 299 || !is_event_stream(head.headers))
      return take_body(head, piece);
    parser.feed(piece, [this](const sse_event& event) {
      reader->event(event, so_far);
      so_far.begun = so_far.begun || !so_far.failure;
      return !so_far.failure && !so_far.terminal;
    });
    if (parser.overflowed())
      so_far.failure =
          failure_of(llm_failure_kind::malformed, head.status, "a line of the stream is longer than 1 MiB, or an event than 8 MiB");
    if (!so_far.failure && !so_far.terminal)
      return true;
    const bool broken = so_far.failure.has_value();
    deliver(conclude(std::move(so_far)), head.headers);
    return !broken; // nothing useful follows a failure, and it may cost
  }

  /// Of what is no stream, though one was asked for.
  bool take_body(const http_result& head, std::string_view piece) {
    body.append(piece);
    if (body.size() <= body_bytes_max)
      return true;
    http_result cut = head;
    cut.error = http_error::too_large;
    cut.message = "the response is larger than " + std::to_string(body_bytes_max) + " bytes and no stream";
    deliver(outcome_of(cut), head.headers);
    return false;
  }

  void on_done(http_result&& result) {
    if (delivered)
      return;
    if (result.status >= 200 && result.status <= 299 && is_event_stream(result.headers) && !result.body.empty()) // nobody asked for one
      on_data(result, std::exchange(result.body, {}));
    if (!delivered)
      deliver(outcome_of(result), result.headers);
  }

  llm_outcome outcome_of(http_result& result) {
    if (body.empty())
      body = std::move(result.body);
    const bool success = result.status >= 200 && result.status <= 299;
    const bool streamed = success && is_event_stream(result.headers);
    // A finish reason makes an answer whole, however the transfer ended after it.
    if (result.error == http_error::none || (streamed && so_far.finish && result.error != http_error::cancelled)) {
      if (!success)
        return status_failure(result.status, body);
      if (!streamed) {
        const hostile_document document(body);
        if (!document.object())
          return failure_of(llm_failure_kind::malformed, result.status,
                            body.empty() ? "the response has no body" : "the response is not a JSON object");
        reader->whole(*document.object(), so_far);
        if (!so_far.finish) // it parsed, so nothing is missing
          so_far.finish = so_far.calls.empty() ? finish_reason::stop : finish_reason::tool_calls;
      }
      return conclude(std::move(so_far));
    }
    // A status that is no success says what happened, whatever became of its words.
    const bool refused = result.status != 0 && !success;
    if (refused && (result.error == http_error::timed_out || result.error == http_error::too_large || result.error == http_error::broken))
      return status_failure(result.status, body);
    llm_failure failure;
    failure.sent = result.request_sent;
    failure.http_status = result.status;
    failure.message = std::string(name_of(result.error)) + ": " + result.message;
    switch (result.error) {
    case http_error::timed_out:
      failure.kind = llm_failure_kind::timeout;
      break;
    case http_error::cancelled:
      failure.kind = llm_failure_kind::cancelled;
      break;
    case http_error::too_large:
      failure.kind = llm_failure_kind::malformed;
      break;
    case http_error::broken:
      failure.kind = result.status == 0 ? llm_failure_kind::connection : llm_failure_kind::truncated;
      break;
    case http_error::invalid_request:
      failure.kind = llm_failure_kind::unsendable;
      failure.message = result.message + "; mend base_url, proxy or headers of this provider in the configuration";
      break;
    default:
      failure.kind = llm_failure_kind::connection;
      break;
    }
    return failure;
  }
};

http_provider::http_provider(endpoint where, std::unique_ptr<wire_format> format, http_client& client) : client_(client) {
  auto made = std::make_shared<shared>();
  made->own.add(where.secret);
  for (const auto& value : where.said)
    made->said.add(value);
  made->where = std::move(where);
  made->format = std::move(format);
  shared_ = std::move(made);
}

transfer_id http_provider::start(llm_request request, on_outcome done) {
  const auto& where = shared_->where;
  request.stream = request.stream && where.stream;
  auto state = std::make_shared<exchange>();
  state->from = shared_;
  state->done = std::move(done);
  state->reader = shared_->format->reader();
  http_request http;
  http.method = "POST";
  http.url = where.url;
  http.headers = where.headers;
  if (where.name_agent && !request.agent.empty())
    http.headers.emplace_back("X-Troupe-Agent", header_text(request.agent));
  http.body = shared_->format->body(request);
  http.timeout = std::min(request.timeout, where.timeout);
  http.max_response_bytes = request.stream ? stream_bytes_max : body_bytes_max;
  http.proxy = where.proxy;
  if (request.stream)
    http.on_data = [state](const http_result& head, std::string_view piece) { return state->on_data(head, piece); };
  http.on_done = [state](http_result result) { state->on_done(std::move(result)); };
  return client_.submit(std::move(http));
}

void http_provider::cancel(transfer_id id) {
  client_.cancel(id);
}

std::int64_t http_provider::input_token_bound(const llm_request& request) const {
  const auto tools = request.tools ? request.tools->size() : 0;
  const auto bytes = shared_->format->body_bytes(request) + 16 * request.messages.size() + 64 * tools + 256;
  return static_cast<std::int64_t>(bytes) + (tools ? shared_->where.tool_tokens : 0);
}

std::int64_t http_provider::input_token_estimate(const llm_request& request) const {
  std::size_t bytes = 0;
  for (const auto& message : request.messages) {
    bytes += message->text.size() + 16;
    for (const auto& call : message->tool_calls)
      bytes += call.name.size() + call.arguments.size() + 16;
  }
  llm_request tools_only;
  tools_only.tools = request.tools;
  if (request.tools && !request.tools->empty())
    bytes += shared_->format->body_bytes(tools_only);
  return static_cast<std::int64_t>(bytes / 4);
}

} // namespace troupe::llm
