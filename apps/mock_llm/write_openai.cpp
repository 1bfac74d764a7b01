#include "mock_llm/writers.hpp"

namespace troupe::mock_llm {

namespace {

const char* finish_name(finish_reason finish) {
  switch (finish) {
  case finish_reason::tool_calls:
    return "tool_calls";
  case finish_reason::length:
    return "length";
  case finish_reason::content_filter:
    return "content_filter";
  default:
    return "stop";
  }
}

void append_usage(std::string& out, const token_usage& usage) {
  out += "\"usage\":{\"prompt_tokens\":";
  append_number(out, usage.input);
  out += ",\"completion_tokens\":";
  append_number(out, usage.output);
  out += ",\"total_tokens\":";
  append_number(out, usage.input + usage.output);
  out += ",\"prompt_tokens_details\":{\"cached_tokens\":";
  append_number(out, usage.cached_input);
  out += ",\"audio_tokens\":0},\"completion_tokens_details\":{\"reasoning_tokens\":0,\"audio_tokens\":0,\"accepted_prediction_tokens\":0,"
         "\"rejected_prediction_tokens\":0}}";
}

void append_head(std::string& out, const reply_frame& frame, std::string_view object) {
  out += "{\"id\":\"chatcmpl-";
  append_hex(out, frame.id);
  out.append("\",\"object\":\"").append(object).append("\",\"created\":").append(created_at).append(",\"model\":\"");
  append_escaped(out, frame.model);
  out += "\",\"service_tier\":\"default\",\"system_fingerprint\":\"fp_troupe\",";
}

void append_call(std::string& out, const tool_call& call, std::string_view arguments) {
  out += "\"id\":\"";
  append_escaped(out, call.id);
  out += "\",\"type\":\"function\",\"function\":{\"name\":\"";
  append_escaped(out, call.name);
  out += "\",\"arguments\":\"";
  append_escaped(out, arguments);
  out += "\"}}";
}

/// Writes the chunks of one stream: each has the same head, then one delta.
class chunk_writer {
public:
  chunk_writer(const reply_frame& frame, body_writer& out) : frame_(frame), out_(out) {
    chunk_ = "data: ";
    append_head(chunk_, frame, "chat.completion.chunk");
    head_ = chunk_.size();
  }

  std::string& delta() {
    chunk_.resize(head_);
    chunk_ += "\"choices\":[{\"index\":0,\"delta\":{";
    return chunk_;
  }

  void send(const char* finish = nullptr) {
    chunk_ += "},\"logprobs\":null,\"finish_reason\":";
    if (finish)
      chunk_.append("\"").append(finish).append("\"");
    else
      chunk_ += "null";
    chunk_ += frame_.include_usage ? "}],\"usage\":null}\n\n" : "}]}\n\n";
    out_.event(chunk_);
  }

  void send_usage(const token_usage& usage) {
    chunk_.resize(head_);
    chunk_ += "\"choices\":[],";
    append_usage(chunk_, usage);
    chunk_ += "}\n\n";
    out_.event(chunk_);
  }

private:
  const reply_frame& frame_;
  body_writer& out_;
  std::string chunk_;
  std::size_t head_ = 0;
};

} // namespace

void write_openai_whole(const llm::scripted_reply& reply, const reply_frame& frame, std::string& out) {
  append_head(out, frame, "chat.completion");
  out += "\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":";
  if (reply.text.empty() && !reply.tool_calls.empty()) {
    out += "null";
  } else {
    out += '"';
    append_escaped(out, reply.text);
    out += '"';
  }
  out += ",\"refusal\":null,\"annotations\":[]";
  if (!reply.tool_calls.empty()) {
    out += ",\"tool_calls\":[";
    for (std::size_t i = 0; i < reply.tool_calls.size(); ++i) {
      out += i > 0 ? ",{" : "{";
      append_call(out, reply.tool_calls[i], reply.tool_calls[i].arguments);
    }
    out += ']';
  }
  out.append("},\"logprobs\":null,\"finish_reason\":\"").append(finish_name(reply.finish)).append("\"}]");
  if (reply.usage) {
    out += ',';
    append_usage(out, *reply.usage);
  }
  out += '}';
}

void write_openai_stream(const llm::scripted_reply& reply, const reply_frame& frame, body_writer& out) {
  chunk_writer chunks(frame, out);
  const bool has_text = !reply.text.empty() || reply.tool_calls.empty();
  chunks.delta() += has_text ? "\"role\":\"assistant\",\"content\":\"\",\"refusal\":null" : "\"role\":\"assistant\",\"content\":null";
  chunks.send();
  for (const auto piece : pieces_of(reply.text)) {
    auto& delta = chunks.delta();
    delta += "\"content\":\"";
    append_escaped(delta, piece);
    delta += '"';
    chunks.send();
  }
  for (std::size_t i = 0; i < reply.tool_calls.size(); ++i) {
    auto& first = chunks.delta();
    first += "\"tool_calls\":[{\"index\":";
    append_number(first, static_cast<std::int64_t>(i));
    first += ',';
    append_call(first, reply.tool_calls[i], "");
    first += ']';
    chunks.send();
    for (const auto piece : pieces_of(reply.tool_calls[i].arguments)) {
      auto& delta = chunks.delta();
      delta += "\"tool_calls\":[{\"index\":";
      append_number(delta, static_cast<std::int64_t>(i));
      delta += ",\"function\":{\"arguments\":\"";
      append_escaped(delta, piece);
      delta += "\"}}]";
      chunks.send();
    }
  }
  chunks.delta();
  chunks.send(finish_name(reply.finish));
  if (frame.include_usage && reply.usage)
    chunks.send_usage(*reply.usage);
  out.event("data: [DONE]\n\n");
}

} // namespace troupe::mock_llm
