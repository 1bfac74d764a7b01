#pragma once
// What response headers say about waiting and about limits. Pure: the wall clock comes in as microseconds since 1970 (UTC).

#include <chrono>
#include <cstdint>
#include <optional>
#include <string_view>

#include "troupe/llm/http_client.hpp"
#include "troupe/model/llm.hpp"

namespace troupe::llm {

/// How long the server wants us to wait, from now: `retry-after-ms` (milliseconds), else `retry-after` (seconds, or an HTTP date,
/// RFC 9110 10.2.3). It is a lower bound: where a header comes more than once, the longest counts. Absent when there is none or it is
/// negative, past, unreadable or more than a year away. A date counts from the response's own `Date` where it has one, so that clocks that
/// differ do not matter.
std::optional<std::chrono::milliseconds> retry_after_of(const http_headers& headers, std::int64_t utc_now_us);

/// `x-ratelimit-{remaining,reset}-{requests,tokens}` (OpenAI: counts, and durations such as "1s", "6m0s", "20ms") and
/// `anthropic-ratelimit-{requests,tokens,input-tokens,output-tokens}-{remaining,reset}` (counts, and RFC 3339 times). The tightest
/// of the tokens' limits counts. Unreadable and negative ones are absent; a time that has passed is 0.
rate_limits rate_limits_of(const http_headers& headers, std::int64_t utc_now_us);

/// "1h2m3.5s", "250ms", "7.66s", or plain seconds "12".
std::optional<std::chrono::milliseconds> duration_of(std::string_view text);

/// "2025-08-21T12:40:59Z", with fraction or offset: microseconds since 1970.
std::optional<std::int64_t> rfc3339_of(std::string_view text);

} // namespace troupe::llm
