#pragma once
// OpenAI's chat completions, as its official client speaks them, and as compatible servers do.
//
// Request: POST {base_url}/chat/completions, Authorization: Bearer. A streamed one asks for its usage (stream_options). Reasoning models
// (o1, o3, o4 …, gpt-5 …, except their "-chat" variants) refuse a temperature, so none is sent; the o-series and gpt-5 take their limit as
// `max_completion_tokens`, all others as `max_tokens`, which compatible servers understand; a provider's `max_tokens_field` overrules that.
// Response: whole or streamed; unknown fields are ignored. Tool calls of a stream are put together by index, or by id where a server
// leaves the index out. Output that is stated in `total_tokens` only (reasoning, at some servers) is output.

#include <memory>
#include <string>
#include <string_view>

#include "troupe/llm/wire.hpp"

namespace troupe::llm {

/// `max_tokens_field`: what every request calls the limit of its answer; empty: what its model's name says.
std::unique_ptr<wire_format> make_openai_format(std::string max_tokens_field = {});

/// Whether the model wants `max_completion_tokens`. A vendor's prefix ("openai/") and that of a fine-tuned model ("ft:") are looked
/// through.
bool takes_completion_tokens(std::string_view model);
/// Whether the model takes a temperature.
bool takes_temperature(std::string_view model);

} // namespace troupe::llm
