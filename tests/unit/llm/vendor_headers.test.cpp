#include "test.hpp"

#include "troupe/llm/vendor_headers.hpp"

TROUPE_SUITE(vendor_headers)

using namespace troupe;
using namespace troupe::llm;
using namespace std::chrono_literals;

namespace {
constexpr std::int64_t now_us = 1'445'412'480'000'000; // Wed, 21 Oct 2015 07:28:00 GMT
using wait = std::optional<std::chrono::milliseconds>;
constexpr std::nullopt_t absent = std::nullopt;

wait retry_after(std::initializer_list<std::pair<const char*, const char*>> fields) {
  http_headers headers;
  for (const auto& [name, value] : fields)
    headers.add(name, value);
  return retry_after_of(headers, now_us);
}
} // namespace

TROUPE_TEST("Retry-After in seconds, as a date, in milliseconds; what is unreadable, negative or past is absent") {
  struct row {
    const char* value;
    wait expected;
  };
  for (const auto& each : {row{"0", 0ms},
                           row{"20", 20s},
                           row{"1.5", 1500ms},
                           row{"0.0001", 1ms},
                           row{"-1", absent},
                           row{"-0", absent},
                           row{"", absent},
                           row{"abc", absent},
                           row{"20s", absent},
                           row{"2 0", absent},
                           row{"nan", absent},
                           row{"inf", absent},
                           row{"1e3", absent},
                           row{"99999999999999999999", absent},
                           row{"31536000", 8760h},
                           row{"31536001", absent},
                           row{"Wed, 21 Oct 2015 07:28:30 GMT", 30s},
                           row{"Wednesday, 21-Oct-15 07:28:30 GMT", 30s},
                           row{"Wed Oct 21 07:28:30 2015", 30s},
                           row{"Wed, 21 Oct 2015 07:27:59 GMT", absent},
                           row{"Wed, 21 Oct 9999 07:27:59 GMT", absent},
                           row{"Someday", absent}}) {
    IN_ROW(each.value);
    CHECK(retry_after({{"Retry-After", each.value}}) == each.expected);
  }
  CHECK(retry_after({{"Retry-After", "20"}, {"Retry-After-Ms", "250"}}) == 250ms);
  CHECK(retry_after({{"Retry-After", "20"}, {"retry-after-ms", "-250"}}) == 20s);
  CHECK(retry_after({{"Retry-After", "20"}, {"retry-after-ms", "soon"}}) == 20s);
  // A lower bound that comes twice: the longest wait keeps both.
  CHECK(retry_after({{"Retry-After", "1"}, {"Retry-After", "2"}}) == 2s);
  CHECK(retry_after({{"Retry-After", "2"}, {"Retry-After", "1"}}) == 2s);
  CHECK(retry_after({{"Retry-After", ""}, {"retry-after", "1"}}) == 1s);
  CHECK(retry_after({{"Retry-After", "1"}, {"Retry-After", "Wed, 21 Oct 2015 07:28:30 GMT"}, {"Retry-After", "31536001"}}) == 30s);
  CHECK(retry_after({{"Retry-After-Ms", "soon"}, {"Retry-After-Ms", "100"}, {"Retry-After-Ms", "250"}, {"Retry-After", "20"}}) == 250ms);
  CHECK(retry_after({{"Date", "Wed, 21 Oct 2015 09:00:00 GMT"}, {"Retry-After", "Wed, 21 Oct 2015 09:00:02 GMT"}}) == 2s);
  CHECK(retry_after({}) == absent);
}

TROUPE_TEST("durations of x-ratelimit-reset") {
  struct row {
    const char* text;
    wait expected;
  };
  for (const auto& each :
       {row{"1s", 1s}, row{"6m0s", 6min}, row{"12ms", 12ms}, row{"1m12.5s", 72500ms}, row{"1h2m3s", 3723s}, row{"2d", 48h},
        row{"7.66s", 7660ms}, row{"3", 3s}, row{"0s", 0ms}, row{"", absent}, row{"s", absent}, row{"1x", absent}, row{"-1s", absent},
        row{"1s ", absent}, row{"1.2.3s", absent}, row{"1s2", absent}, row{"9999999h", absent}}) {
    IN_ROW(each.text);
    CHECK(duration_of(each.text) == each.expected);
  }
}

TROUPE_TEST("times of anthropic-ratelimit-*-reset") {
  CHECK(rfc3339_of("2015-10-21T07:28:00Z") == now_us);
  CHECK(rfc3339_of("2015-10-21T07:28:00.25Z") == now_us + 250'000);
  CHECK(rfc3339_of("2015-10-21T09:28:00+02:00") == now_us);
  CHECK(rfc3339_of("2015-10-21t07:28:00z") == now_us);
  for (const char* text : {"", "2015-10-21", "2015-10-21T07:28:00", "2015-13-21T07:28:00Z", "2015-02-30T07:28:00Z", "2015-10-21T24:28:00Z",
                           "2015-10-21T07:28:00.Z", "2015-10-21T07:28:00+0200", "garbage garbage garbage"})
    CHECK(!rfc3339_of(text).has_value());
}

TROUPE_TEST("limits that are negative or unreadable are absent") {
  http_headers headers;
  headers.add("x-ratelimit-remaining-requests", "-1");
  headers.add("x-ratelimit-remaining-tokens", "many");
  headers.add("anthropic-ratelimit-requests-remaining", "5");
  headers.add("anthropic-ratelimit-requests-reset", "soon");
  const auto limits = rate_limits_of(headers, now_us);
  CHECK(limits.remaining_requests == 5);
  CHECK(!limits.remaining_tokens.has_value());
  CHECK(!limits.reset_requests.has_value());
}

TROUPE_TEST("of several limits the one with less left counts, with its own reset and size") {
  http_headers headers;
  headers.add("x-ratelimit-limit-requests", "60");
  headers.add("x-ratelimit-remaining-requests", "9");
  headers.add("x-ratelimit-reset-requests", "3s");
  headers.add("anthropic-ratelimit-tokens-limit", "1000");
  headers.add("anthropic-ratelimit-tokens-remaining", "800");
  headers.add("anthropic-ratelimit-input-tokens-limit", "200");
  headers.add("anthropic-ratelimit-input-tokens-remaining", "100");
  const auto limits = rate_limits_of(headers, now_us);
  CHECK(limits.limit_requests == 60);
  CHECK(limits.remaining_requests == 9);
  CHECK(limits.reset_requests == 3s);
  CHECK(limits.limit_tokens == 200);
  CHECK(limits.remaining_tokens == 100);
}

TROUPE_TEST("what is left for answers holds up nothing, until it is gone") {
  const auto with_left = [](const char* output) {
    http_headers headers;
    for (const auto& [name, value] :
         std::initializer_list<std::pair<const char*, const char*>>{{"input-tokens-limit", "400000"},
                                                                    {"input-tokens-remaining", "390000"},
                                                                    {"output-tokens-limit", "8000"},
                                                                    {"output-tokens-remaining", output},
                                                                    {"output-tokens-reset", "2015-10-21T07:28:12Z"}})
      headers.add(std::string("anthropic-ratelimit-") + name, value);
    return rate_limits_of(headers, now_us);
  };
  CHECK(with_left("7000").remaining_tokens == 390'000);
  const auto gone = with_left("0");
  CHECK(gone.remaining_tokens == 0);
  CHECK(gone.reset_tokens == 12s);
  CHECK(gone.limit_tokens == 8'000);
}
