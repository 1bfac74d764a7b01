// What a provider answers: any bytes as a whole body, as the body of an error, and as a stream in any pieces. The first byte chooses the
// vendor and the form, the next four the sizes of the pieces.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "troupe/llm/anthropic.hpp"
#include "troupe/llm/hostile_document.hpp"
#include "troupe/llm/openai.hpp"
#include "troupe/llm/sse_parser.hpp"
#include "troupe/llm/wire.hpp"
#include "troupe/model/described.hpp"
#include "troupe/util/utf8.hpp"

using namespace troupe;
using namespace troupe::llm;

namespace {

void must(bool condition) {
  if (!condition)
    std::abort();
}

/// As the provider reads a stream; what stands in no event is left out.
llm_outcome streamed(const wire_format& format, std::string_view bytes, const std::uint8_t* sizes) {
  answer so_far;
  sse_parser parser;
  const auto reader = format.reader();
  for (std::size_t i = 0; !bytes.empty() && !so_far.failure && !so_far.terminal; ++i) {
    const auto piece = bytes.substr(0, sizes ? std::size_t{1} + sizes[i % 4] % 64 : bytes.size());
    bytes.remove_prefix(piece.size());
    parser.feed(piece, [&](const sse_event& event) {
      reader->event(event, so_far);
      return !so_far.failure && !so_far.terminal;
    });
  }
  return conclude(std::move(so_far));
}

llm_outcome whole(const wire_format& format, std::string_view bytes) {
  const hostile_document document(bytes);
  if (!document.object())
    return failure_of(llm_failure_kind::malformed, 200, "no object");
  answer so_far;
  format.reader()->whole(*document.object(), so_far);
  if (!so_far.finish)
    so_far.finish = finish_reason::other;
  return conclude(std::move(so_far));
}

/// A failure's words go to people. An answer goes back to either vendor with the next request, which must be JSON.
void check(const llm_outcome& outcome, const std::vector<const wire_format*>& formats) {
  if (const auto* failure = std::get_if<llm_failure>(&outcome)) {
    must(failure->message.size() <= 1'000 && is_valid_utf8(failure->message) && is_valid_utf8(failure->code));
    return;
  }
  const auto& response = std::get<llm_response>(outcome);
  must(response.message.tool_calls.size() <= calls_max && is_valid_utf8(response.message.text));
  llm_request next;
  next.model = "m";
  next.max_tokens = 10;
  next.tools = std::make_shared<const std::vector<tool_declaration>>();
  next.messages.push_back(std::make_shared<const chat_message>(response.message));
  for (const auto& call : response.message.tool_calls) {
    must(is_valid_utf8(call.id) && is_valid_utf8(call.name) && is_valid_utf8(call.arguments));
    chat_message result;
    result.from = role::tool;
    result.tool_call_id = call.id;
    next.messages.push_back(std::make_shared<const chat_message>(std::move(result)));
  }
  for (const auto* format : formats) {
    const auto body = format->body(next);
    must(json::accept(body) && format->body_bytes(next) == body.size());
  }
}

bool same(const llm_outcome& a, const llm_outcome& b) {
  if (a.index() != b.index())
    return false;
  if (const auto* failure = std::get_if<llm_failure>(&a))
    return failure->kind == std::get<llm_failure>(b).kind && failure->message == std::get<llm_failure>(b).message;
  const auto& left = std::get<llm_response>(a);
  const auto& right = std::get<llm_response>(b);
  return to_document(left.message) == to_document(right.message) && left.finish == right.finish && left.usage == right.usage;
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const auto openai = make_openai_format();
  static const auto anthropic = make_anthropic_format();
  static const std::vector<const wire_format*> formats{openai.get(), anthropic.get()};
  if (size < 5)
    return 0;
  const auto& format = data[0] % 2 == 0 ? *openai : *anthropic;
  const std::string_view body(reinterpret_cast<const char*>(data) + 5, size - 5);
  switch (data[0] / 2 % 3) {
  case 0:
    check(whole(format, body), formats);
    break;
  case 1: {
    const auto at_once = streamed(format, body, nullptr);
    check(at_once, formats);
    must(same(at_once, streamed(format, body, data + 1)));
    break;
  }
  default:
    check(status_failure(400 + data[1], body), formats);
  }
  return 0;
}
