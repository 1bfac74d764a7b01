#include "mock_llm/writers.hpp"

namespace troupe::mock_llm {

void write_whole(vendor to, const llm::scripted_reply& reply, const reply_frame& frame, std::string& out) {
  to == vendor::openai ? write_openai_whole(reply, frame, out) : write_anthropic_whole(reply, frame, out);
}

void write_stream(vendor to, const llm::scripted_reply& reply, const reply_frame& frame, body_writer& out) {
  to == vendor::openai ? write_openai_stream(reply, frame, out) : write_anthropic_stream(reply, frame, out);
}

void write_broken_stream(vendor to, body_writer& out) {
  if (to == vendor::openai) {
    out.event("data: {\"id\":\"chatcmpl-broken\",\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":{\"conte\n\n");
    out.event("data: [DONE]\n\n");
  } else {
    out.event("event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_broken\",\"type\":\"mess\n\n");
    out.event("event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n");
  }
}

void write_error_stream(vendor to, const wire_error& error, body_writer& out) {
  if (to == vendor::openai) {
    out.event("data: " + error_body(to, error, "") + "\n\n");
    out.event("data: [DONE]\n\n");
  } else {
    out.event("event: error\ndata: " + error_body(to, error, "req_troupe") + "\n\n");
  }
}

} // namespace troupe::mock_llm
