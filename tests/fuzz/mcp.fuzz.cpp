// Whatever a server sends, line by line: the session answers each call exactly once, uses no id twice, and never sends after it broke.
#include <cstdint>
#include <cstdlib>
#include <set>
#include <string>
#include <string_view>
#include <variant>

#include "troupe/tools/mcp_oauth.hpp"
#include "troupe/tools/mcp_session.hpp"

using namespace troupe::tools;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 1)
    return 0;
  std::string_view rest(reinterpret_cast<const char*>(data + 1), size - 1);
  (void) parse_challenge(rest);
  mcp_session session({.server = "s",
                       .http = (data[0] & 1) != 0,
                       .protocol = (data[0] & 2) != 0 ? "2025-11-25" : "",
                       .answer_with_defaults = (data[0] & 4) != 0});
  troupe::time_point now{};
  std::set<std::int64_t> ids;
  std::uint64_t calls = 0, answers = 0;
  bool broken = false;
  const auto check = [&](const mcp_actions& actions) {
    for (const auto& action : actions) {
      if (const auto* sent = std::get_if<mcp_send>(&action)) {
        if (broken || (sent->id != 0 && !ids.insert(sent->id).second))
          std::abort();
        (void) mcp_text(sent->message);
      }
      broken = broken || std::holds_alternative<mcp_broken>(action);
      answers += std::holds_alternative<mcp_answer>(action) || std::holds_alternative<mcp_again>(action) ? 1 : 0;
    }
  };
  check(session.open(now));
  while (!rest.empty() && !broken) {
    const auto end = rest.find('\n');
    const auto line = rest.substr(0, end);
    rest = end == std::string_view::npos ? std::string_view{} : rest.substr(end + 1);
    if (auto messages = parse_mcp_messages(line)) {
      for (auto& each : *messages)
        check(session.receive(std::move(each), now));
    } else {
      check(session.request_failed(static_cast<std::int64_t>(ids.size()), {400, std::string(line), "x", true, false, line.size() % 2 == 0},
                                   now));
    }
    now += std::chrono::seconds(line.size() % 7);
    check(session.tick(now));
    if (session.takes_calls() && !session.tools().empty() && calls < 4)
      check(session.call({++calls, session.tools().front().name, {{"a", 1}}, "k", std::chrono::seconds(5)}, now));
  }
  check(session.lost({troupe::error_code::unavailable, "over", {}}));
  if (answers != calls)
    std::abort();
  return 0;
}
