#pragma once
// What every tool that speaks HTTP shares: the check of where a request may go, on each hop, and what an answer means (SEMANTICS 4, 11).

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "troupe/llm/http_client.hpp"
#include "troupe/model/error.hpp"
#include "troupe/model/tool.hpp"
#include "troupe/tools/address_check.hpp"

namespace troupe::tools {

using allow_list = std::shared_ptr<const std::vector<allowed_host>>;

/// Makes a request go to allowed places only: its URL is checked now, the address of each connection before it is opened, and both again
/// on every redirect. `invalid_argument` with words where the URL itself is not allowed.
expected<void> confine(llm::http_request& request, allow_list allowed);

/// What a tool takes for an answer.
struct web_answer_rules {
  std::string tool; ///< its name, for words
  effect what = effect::none;
  std::vector<std::int64_t> success; ///< statuses; empty: 200 to 299
  std::vector<std::string> accept;   ///< media types, "text/*" among them; empty: whatever is text
  std::size_t bytes_max = std::size_t{1} << 20;
  bool head = false; ///< there is no body: the headers are the answer
};

/// | what came | outcome |
/// | --- | --- |
/// | a status of `success` | ok, its text, cut at `bytes_max` |
/// | 408 409 425 429 500 502 503 504 | failed; Retry-After is passed on |
/// | any other status | failed, and a repeat would be useless |
/// | an address that is refused, here or after a redirect | failed, and a repeat would be useless |
/// | nothing was sent (no connection, no such name) | not started: nothing can have happened |
/// | the connection broke, or time was up, after the request had left | `once`: in doubt or timed out; else failed or timed out |
///
/// `utc_now_us` is for a Retry-After that is a date.
tool_outcome outcome_of(const web_answer_rules& rules, llm::http_result result, std::chrono::milliseconds timeout, std::int64_t utc_now_us);

/// Whether "text/html; charset=utf-8" is among "text/*" and so on. An absent type ("") is taken.
bool is_accepted(const std::vector<std::string>& accept, std::string_view type);

} // namespace troupe::tools
