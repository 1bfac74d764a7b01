#pragma once
// Replies in each vendor's form; `write_whole` and `write_stream` choose.

#include "mock_llm/wire.hpp"

namespace troupe::mock_llm {

void write_openai_whole(const llm::scripted_reply& reply, const reply_frame& frame, std::string& out);
void write_openai_stream(const llm::scripted_reply& reply, const reply_frame& frame, body_writer& out);
void write_anthropic_whole(const llm::scripted_reply& reply, const reply_frame& frame, std::string& out);
void write_anthropic_stream(const llm::scripted_reply& reply, const reply_frame& frame, body_writer& out);

/// The time that answers state: always the same one, since the same requests get the same bytes.
inline constexpr std::string_view created_at = "1700000000";

} // namespace troupe::mock_llm
