#include "mock_llm/writers.hpp"

namespace troupe::mock_llm {

namespace {

const char* finish_name(finish_reason finish) {
  switch (finish) {
  case finish_reason::tool_calls:
    return "tool_use";
  case finish_reason::length:
    return "max_tokens";
  case finish_reason::content_filter:
    return "refusal";
  default:
    return "end_turn";
  }
}

void append_usage(std::string& out, const token_usage& usage, std::int64_t output) {
  // Here cached input and cache writes stand beside the input, not within it.
  out += "\"usage\":{\"input_tokens\":";
  append_number(out, usage.input - usage.cached_input - usage.cache_write);
  out += ",\"cache_creation_input_tokens\":";
  append_number(out, usage.cache_write);
  out += ",\"cache_read_input_tokens\":";
  append_number(out, usage.cached_input);
  out += ",\"output_tokens\":";
  append_number(out, output);
  out += ",\"service_tier\":\"standard\"}";
}

void append_head(std::string& out, const reply_frame& frame) {
  out += "{\"id\":\"msg_";
  append_hex(out, frame.id);
  out += "\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"";
  append_escaped(out, frame.model);
  out += "\",\"content\":[";
}

/// Arguments as the JSON value that they are; a text that is no JSON stays a text, since something must stand there.
void append_input(std::string& out, const std::string& arguments) {
  if (json::accept(arguments)) {
    out += arguments;
    return;
  }
  out += '"';
  append_escaped(out, arguments);
  out += '"';
}

void append_call(std::string& out, const tool_call& call) {
  out += "{\"type\":\"tool_use\",\"id\":\"";
  append_escaped(out, call.id);
  out += "\",\"name\":\"";
  append_escaped(out, call.name);
  out += "\",\"input\":";
}

class event_writer {
public:
  explicit event_writer(body_writer& out) : out_(out) {}

  std::string& begin(std::string_view type) {
    event_ = "event: ";
    event_.append(type).append("\ndata: {\"type\":\"").append(type).append("\"");
    return event_;
  }
  std::string& begin(std::string_view type, std::size_t index) {
    begin(type) += ",\"index\":";
    append_number(event_, static_cast<std::int64_t>(index));
    return event_;
  }
  void send() {
    event_ += "}\n\n";
    out_.event(event_);
  }
  void block_stop(std::size_t index) {
    begin("content_block_stop", index);
    send();
  }
  void ping() {
    begin("ping");
    send();
  }
  void delta(std::size_t index, const char* type, const char* member, std::string_view text) {
    auto& event = begin("content_block_delta", index);
    event.append(",\"delta\":{\"type\":\"").append(type).append("\",\"").append(member).append("\":\"");
    append_escaped(event, text);
    event += "\"}";
    send();
  }

private:
  body_writer& out_;
  std::string event_;
};

} // namespace

void write_anthropic_whole(const llm::scripted_reply& reply, const reply_frame& frame, std::string& out) {
  append_head(out, frame);
  if (!reply.text.empty()) {
    out += "{\"type\":\"text\",\"text\":\"";
    append_escaped(out, reply.text);
    out += reply.tool_calls.empty() ? "\"}" : "\"},";
  }
  for (std::size_t i = 0; i < reply.tool_calls.size(); ++i) {
    out += i > 0 ? "," : "";
    append_call(out, reply.tool_calls[i]);
    append_input(out, reply.tool_calls[i].arguments);
    out += '}';
  }
  out.append("],\"stop_reason\":\"").append(finish_name(reply.finish)).append("\",\"stop_sequence\":null");
  if (reply.usage) {
    out += ',';
    append_usage(out, *reply.usage, reply.usage->output);
  }
  out += '}';
}

void write_anthropic_stream(const llm::scripted_reply& reply, const reply_frame& frame, body_writer& out) {
  event_writer events(out);
  auto& start = events.begin("message_start");
  start += ",\"message\":";
  append_head(start, frame);
  start += "],\"stop_reason\":null,\"stop_sequence\":null";
  if (reply.usage) {
    start += ',';
    append_usage(start, *reply.usage, 1);
  }
  start += '}';
  events.send();
  std::size_t index = 0;
  if (!reply.text.empty()) {
    events.begin("content_block_start", index) += ",\"content_block\":{\"type\":\"text\",\"text\":\"\"}";
    events.send();
    events.ping();
    for (const auto piece : pieces_of(reply.text))
      events.delta(index, "text_delta", "text", piece);
    events.block_stop(index++);
  }
  for (const auto& call : reply.tool_calls) {
    auto& begin = events.begin("content_block_start", index);
    begin += ",\"content_block\":";
    append_call(begin, call);
    begin += "{}}";
    events.send();
    if (index == 0)
      events.ping();
    events.delta(index, "input_json_delta", "partial_json", "");
    for (const auto piece : pieces_of(call.arguments))
      events.delta(index, "input_json_delta", "partial_json", piece);
    events.block_stop(index++);
  }
  auto& last = events.begin("message_delta");
  last.append(",\"delta\":{\"stop_reason\":\"").append(finish_name(reply.finish)).append("\",\"stop_sequence\":null}");
  if (reply.usage) {
    last += ",\"usage\":{\"output_tokens\":";
    append_number(last, reply.usage->output);
    last += '}';
  }
  events.send();
  events.begin("message_stop");
  events.send();
}

} // namespace troupe::mock_llm
