#include "troupe/policy/llm_errors.hpp"

#include "test.hpp"

#include "troupe/model/described.hpp"

TROUPE_SUITE(llm_errors)

using namespace troupe;
using namespace troupe::policy;
using kind = llm_failure_kind;

namespace {

struct row {
  const char* says;
  llm_failure failure;
  error_class what;
  llm_reason reason;
  bool step;
  bool charged;
  breaker_effect breaker;
};

llm_failure status(int number, std::string code = {}, std::string message = {}) {
  llm_failure f;
  f.kind = kind::status;
  f.http_status = number;
  f.code = std::move(code);
  f.message = std::move(message);
  return f;
}

llm_failure amid_stream(llm_failure f) {
  f.begun = true;
  return f;
}

llm_failure of(kind what, bool sent = true) {
  llm_failure f;
  f.kind = what;
  f.sent = sent;
  return f;
}

constexpr auto ill = breaker_effect::failure;
constexpr auto neutral = breaker_effect::neutral;
constexpr auto retryable = error_class::retryable;
constexpr auto fail_over = error_class::fail_over;
constexpr auto fatal = error_class::fatal_task;
using r = llm_reason;

void check(const std::vector<row>& rows) {
  for (const auto& row : rows) {
    IN_ROW(row.says);
    const auto got = classify(row.failure, "gpt-4o");
    CHECK_EQ(std::string(name_of(got.kind)), std::string(name_of(row.what)));
    CHECK_EQ(std::string(name_of(got.reason)), std::string(name_of(row.reason)));
    CHECK_EQ(got.counts_as_step, row.step);
    CHECK_EQ(got.charged, row.charged);
    CHECK(got.breaker == row.breaker);
    CHECK_EQ(counts_as_step(row.failure), row.step);
    CHECK_EQ(may_have_been_charged(row.failure), row.charged);
  }
}

} // namespace

TROUPE_TEST("what breaks on the way is retried, and what was sent may have been charged") {
  const auto refused = [](int status) {
    auto failure = of(kind::cancelled);
    failure.http_status = status;
    return failure;
  };
  check({
      {"a connection that was never made costs nothing and is no step", of(kind::connection, false), retryable, r::llm_connection, false,
       false, ill},
      {"a connection that broke after sending may have cost", of(kind::connection), retryable, r::llm_connection, true, true, ill},
      {"a timeout may have cost", of(kind::timeout), retryable, r::llm_timeout, true, true, ill},
      {"a timeout of connecting cannot have", of(kind::timeout, false), retryable, r::llm_timeout, false, false, ill},
      {"a stream without its end is retried", of(kind::truncated), retryable, r::llm_truncated, true, true, ill},
      {"a body that does not parse is retried", of(kind::malformed), retryable, r::llm_malformed, true, true, ill},
      {"an empty answer is an error, never a success", of(kind::empty), retryable, r::llm_empty, true, true, ill},
      {"what we cancelled says nothing about the provider", of(kind::cancelled), error_class::cancelled, r::cancelled, true, true, neutral},
      {"what was cancelled before it left costs nothing", of(kind::cancelled, false), error_class::cancelled, r::cancelled, false, false,
       neutral},
      {"what was cancelled once its status had come costs what that says", refused(404), error_class::cancelled, r::cancelled, true, false,
       neutral},
      {"a refusal for its rate is no step either", refused(429), error_class::cancelled, r::cancelled, false, false, neutral},
      {"a success that was cut off may have cost", refused(200), error_class::cancelled, r::cancelled, true, true, neutral},
      {"a rehearsed crash kills the agent", of(kind::agent_crash), error_class::crash, r::agent_crash, true, true, neutral},
  });
}

TROUPE_TEST("each HTTP status has its class, reason, step, charge and say for the breaker") {
  check({
      {"408 says that nobody knows", status(408), retryable, r::llm_timeout, true, true, ill},
      {"409", status(409), retryable, r::llm_conflict, true, false, ill},
      {"425", status(425), retryable, r::llm_conflict, true, false, ill},
      {"429 is no step and does not open the breaker", status(429, "rate_limit_exceeded"), retryable, r::llm_rate_limited, false, false,
       neutral},
      {"429 is no wrong key, whatever its words say", status(429, "permission_error", "invalid api key"), retryable, r::llm_rate_limited,
       false, false, neutral},
      {"500 says that no answer was made", status(500), retryable, r::llm_server_error, true, false, ill},
      {"502 comes from a proxy that does not know", status(502), retryable, r::llm_server_error, true, true, ill},
      {"503", status(503), retryable, r::llm_overloaded, true, false, ill},
      {"504 comes from a proxy that does not know", status(504), retryable, r::llm_timeout, true, true, ill},
      {"529", status(529, "overloaded_error"), retryable, r::llm_overloaded, true, false, ill},
      {"a 5xx that nobody named is retried", status(507), retryable, r::llm_server_error, true, false, ill},
      {"524 comes from a proxy that does not know", status(524), retryable, r::llm_server_error, true, true, ill},
      {"200 with an error object is retried", status(200, "server_error"), retryable, r::llm_server_error, true, true, ill},
      {"200 with an overloaded_error amid the stream", amid_stream(status(200, "overloaded_error")), retryable, r::llm_overloaded, true,
       true, ill},
      {"200 with an overloaded_error instead of an answer costs what a 529 does", status(200, "overloaded_error"), retryable,
       r::llm_overloaded, true, false, ill},
      {"200 with a rate limit does not open the breaker", status(200, "rate_limit_error"), retryable, r::llm_rate_limited, true, false,
       neutral},
      {"200 with a status as its code", status(200, "429"), retryable, r::llm_rate_limited, true, false, neutral},
      {"401 fails over at once", status(401), fail_over, r::llm_auth, true, false, neutral},
      {"403 fails over at once", status(403), fail_over, r::llm_auth, true, false, neutral},
      {"404 fails over at once", status(404), fail_over, r::llm_not_found, true, false, neutral},
      {"402 is a matter of credit", status(402), fail_over, r::llm_quota, true, false, neutral},
      {"400 ends the task", status(400, "invalid_request_error", "temperature must be at most 2"), fatal, r::llm_bad_request, true, false,
       neutral},
      {"a parameter that this model does not take: another one may",
       status(400, "invalid_request_error", "`temperature` is deprecated for this model."), fail_over, r::llm_bad_request, true, false,
       neutral},
      {"tools that it takes only without thinking",
       status(400, "invalid_request_error",
              "Function tools with reasoning_effort are not supported for test-model. Set reasoning_effort to 'none'."),
       fail_over, r::llm_bad_request, true, false, neutral},
      {"400 of a content filter may be billed", status(400, "content_filter", "The prompt was filtered"), fatal, r::llm_bad_request, true,
       true, neutral},
      {"a model that thought all the way: another one may come to an answer",
       status(
           400, "invalid_request_error",
           "Could not finish the message because max_tokens or model output limit was reached. Please try again with higher max_tokens."),
       fail_over, r::llm_truncated, true, true, neutral},
      {"413 ends the task", status(413, "request_too_large"), fatal, r::llm_bad_request, true, false, neutral},
      {"422 ends the task", status(422), fatal, r::llm_bad_request, true, false, neutral},
      {"a request that cannot even be made is never one: the next provider", of(kind::unsendable, false), fail_over, r::llm_bad_request,
       false, false, neutral},
      {"another 4xx means a wrong address: the next provider", status(405), fail_over, r::llm_bad_request, true, false, neutral},
      {"a redirect means a wrong address: the next provider", status(301), fail_over, r::llm_bad_request, true, false, neutral},
      {"a number that is no status is a malformed answer", status(0), retryable, r::llm_malformed, true, true, ill},
      {"so is one out of range", status(999), retryable, r::llm_malformed, true, true, ill},
  });
}

TROUPE_TEST("what an error says in words goes before its status") {
  check({
      {"insufficient_quota is fatal for the model though it is a 429", status(429, "insufficient_quota"), fail_over, r::llm_quota, false,
       false, neutral},
      {"insufficient_quota amid a stream", amid_stream(status(200, "insufficient_quota")), fail_over, r::llm_quota, true, true, neutral},
      {"insufficient_quota instead of an answer", status(200, "insufficient_quota"), fail_over, r::llm_quota, true, false, neutral},
      {"insufficient_quota as a 503", status(503, "insufficient_quota"), fail_over, r::llm_quota, true, false, neutral},
      {"insufficient_quota as a 500", status(500, "insufficient_quota"), fail_over, r::llm_quota, true, false, neutral},
      {"insufficient_quota that a proxy passes on", status(502, "insufficient_quota"), fail_over, r::llm_quota, true, false, neutral},
      {"a wrong key under 200 was refused, and nothing was done", status(200, "invalid_api_key"), fail_over, r::llm_auth, true, false,
       neutral},
      {"context length under 200", status(200, "context_length_exceeded"), fail_over, r::llm_context_length, true, false, neutral},
      {"context length, by code, as a 500", status(500, "context_length_exceeded"), fail_over, r::llm_context_length, true, false, neutral},
      {"a 500 whose words mention a context window is still a 500", status(500, "", "lost the context window of this worker"), retryable,
       r::llm_server_error, true, false, ill},
      {"no credit, as a 400", status(400, "invalid_request_error", "Your credit balance is too low"), fail_over, r::llm_quota, true, false,
       neutral},
      {"a 400 whose code names the model", status(400, "model_not_found"), fail_over, r::llm_not_found, true, false, neutral},
      {"a 400 whose words name the model", status(400, "invalid_request_error", "max_tokens is too large for GPT-4o."), fail_over,
       r::llm_not_found, true, false, neutral},
      {"a 400 that wants the limit's other field is no unknown model, and another model may take it",
       status(400, "unsupported_parameter",
              "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."),
       fail_over, r::llm_bad_request, true, false, neutral},
      {"the other way round", status(400, "", "Unrecognized request argument supplied: max_completion_tokens"), fail_over,
       r::llm_bad_request, true, false, neutral},
      {"a limit that is too high is another matter", status(400, "invalid_value", "max_tokens is too large: 90000"), fatal,
       r::llm_bad_request, true, false, neutral},
      {"a 422 that says the model does not exist", status(422, "", "The model does not exist"), fail_over, r::llm_not_found, true, false,
       neutral},
      {"a rehearsal without a rule describes the request, its model included", status(400, "no_rule", "no rule for a request to gpt-4o"),
       fatal, r::llm_bad_request, true, false, neutral},
      {"a longer name is not this model", status(400, "", "gpt-4o-mini takes no images"), fatal, r::llm_bad_request, true, false, neutral},
      {"nor one that ends with z", status(400, "", "gpt-4oz takes no images"), fatal, r::llm_bad_request, true, false, neutral},
      {"context length, by code", status(400, "context_length_exceeded"), fail_over, r::llm_context_length, true, false, neutral},
      {"context length, by words", status(400, "invalid_request_error", "prompt is too long: 210000 tokens > 200000"), fail_over,
       r::llm_context_length, true, false, neutral},
      {"context length as a 413", status(413, "", "input length and `max_tokens` exceed context limit"), fail_over, r::llm_context_length,
       true, false, neutral},
      {"a wrong key as a 400", status(400, "INVALID_ARGUMENT", "API key not valid"), fail_over, r::llm_auth, true, false, neutral},
      {"a 500 that mentions a model is still a 500", status(500, "", "model gpt-4o not found in cache"), retryable, r::llm_server_error,
       true, false, ill},
  });
}

TROUPE_TEST("a model with the name of a common word is only named in quotes") {
  CHECK(classify(status(400, "", "this is a bad request"), "a").kind == fatal);
  CHECK(classify(status(400, "", "no \"a\" here"), "a").kind == fail_over);
}

TROUPE_TEST("words of any length are described in a bounded line") {
  auto failure = status(503, std::string(5'000, 'c'), std::string(100'000, 'x'));
  CHECK(describe(failure).size() <= 300);
  CHECK(classify(failure).kind == retryable);
  CHECK_EQ(describe(status(503, "overloaded_error", "Overloaded")), "HTTP 503 overloaded_error: Overloaded");
}
