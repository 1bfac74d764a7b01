// The SSE parser gives the same events for a stream whole and in any split. The first bytes choose the sizes of the pieces.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "troupe/llm/sse_parser.hpp"

using troupe::llm::sse_event;
using troupe::llm::sse_parser;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 4)
    return 0;
  const std::uint8_t* sizes = data;
  const std::string_view stream(reinterpret_cast<const char*>(data + 4), size - 4);
  const sse_parser::limits bounds{64, 128};
  const auto run = [&](bool split) {
    sse_parser parser(bounds);
    std::string out;
    const auto sink = [&](const sse_event& event) {
      out.append(std::to_string(event.type.size())).append("/").append(event.type).append("=").append(event.data).append(";");
      return event.data != "stop";
    };
    bool more = true;
    for (std::size_t at = 0, i = 0; at < stream.size(); ++i) {
      const std::size_t length = split ? std::size_t{1} + sizes[i % 4] % 16 : stream.size();
      more = parser.feed(stream.substr(at, length), sink);
      at += length;
    }
    return out + (more ? "+" : "-") + (parser.overflowed() ? "!" : "");
  };
  if (run(false) != run(true))
    std::abort();
  return 0;
}
