#pragma once
// Anthropic's messages API, as its official client speaks it.
//
// Request: POST {base_url}/v1/messages, x-api-key, anthropic-version: 2023-06-01. The system messages that open a conversation are its
// `system`; later ones are user text in their place. Messages of one role in a row are one message; tool results stand before text. What
// the API refuses is never sent: blank text blocks, a conversation that does not open with the user, ids and names with other characters
// than [A-Za-z0-9_-], a call's input that is no object, tool blocks without declared tools, a temperature above 1 or to a model that takes
// none. Response: whole or streamed; thinking and unknown blocks and events are ignored. `input` of the usage is what was read, written to
// and taken from the cache, together.

#include <memory>
#include <string_view>

#include "troupe/llm/wire.hpp"

namespace troupe::llm {

std::unique_ptr<wire_format> make_anthropic_format();

/// Whether a Claude model takes a temperature: those after Opus 4.6 answer 400, "`temperature` is deprecated for this model." Names that
/// tell no version do.
bool claude_takes_temperature(std::string_view model);

} // namespace troupe::llm
