// What recorded responses of both vendors become, over a real socket, whole and in pieces of every size.
#include "test.hpp"

#include "llm/exchange.hpp"
#include "troupe/llm/provider_factory.hpp"
#include "troupe/model/described.hpp"

TROUPE_SUITE(llm_responses)

using namespace troupe;
using namespace troupe::llm;
using namespace std::chrono_literals;
using test::test_server;

namespace {

constexpr auto key = "sk-test-0123456789";

expected<std::unique_ptr<provider>> provider_at(const std::string& base_url, provider_kind kind, http_client& client) {
  provider_spec spec;
  spec.name = "p";
  spec.kind = kind;
  spec.base_url = base_url;
  return make_provider(spec, client, key);
}

std::string usage_text(const token_usage& usage) {
  return std::to_string(usage.input) + "/" + std::to_string(usage.cached_input) + "/" + std::to_string(usage.cache_write) + "/"
         + std::to_string(usage.output);
}

/// One line that says everything: "text | name#id(arguments) … | finish | input/cached/written/output", or "kind status code | message",
/// with "(begun)" and the usage where they are told.
std::string summary(const llm_outcome& outcome) {
  std::string out;
  if (const auto* response = std::get_if<llm_response>(&outcome)) {
    out = response->message.text + " |";
    for (const auto& call : response->message.tool_calls)
      out += " " + call.name + "#" + call.id + "(" + call.arguments + ")";
    out += std::string(" | ") + name_of(response->finish) + " | " + (response->usage ? usage_text(*response->usage) : "no usage");
  } else {
    const auto& failure = std::get<llm_failure>(outcome);
    out = std::string(name_of(failure.kind)) + " " + std::to_string(failure.http_status) + " " + failure.code + " | "
          + failure.message.substr(0, 40);
    if (failure.begun)
      out += " (begun)";
    if (failure.usage)
      out += " | " + usage_text(*failure.usage);
  }
  return out;
}

struct row {
  const char* file;
  const char* expected;
};

const std::vector<row> openai_rows{
    {"openai_text.http", "Hello! How can I assist you today? | | stop | 1190/1024/0/10"},
    {"openai_parallel_tools.http",
     R"( | grep#call_62136354({"pattern":"ERROR","path":"a.log"}) grep#call_62136355({"pattern":"ERROR","path":"b.log"}) | tool_calls | 82/0/0/17)"},
    {"openai_stream_text.http", "Grüße, 🌍!\n | | stop | 12/4/0/7"},
    {"openai_stream_parallel_tools.http", R"( | grep#call_a({"path":"a.log"}) clock#call_b({}) | tool_calls | 50/0/0/30)"},
    {"openai_stream_tools_without_index.http",
     R"( | grep#c1({"n":1}) grep#c2({"n":2}) grep#c3({"n":3}) grep#c4({}) | tool_calls | no usage)"},
    {"openai_stream_truncated.http", "truncated 200  | the response ended before the model said"},
    {"openai_stream_done_without_finish.http", "truncated 200  | the response ended before the model said"},
    {"openai_stream_without_done.http", "all of it | | stop | no usage"},
    {"openai_stream_error.http", "status 200 server_error | The server had an error while processing (begun)"},
    {"openai_stream_malformed.http", "malformed 200  | an event of the stream is not a JSON obj"},
    {"openai_empty.http", "empty 200 stop | the answer has neither text nor a tool c | 9/0/0/0"},
    {"openai_refusal.http", "I'm sorry, I can't help with that. | | content_filter | 81/0/0/11"},
    {"openai_error_in_200.http", "status 200 429 | Upstream provider is rate limited"},
    {"openai_rate_limited.http", "status 429 rate_limit_exceeded | Rate limit reached for gpt-4o in organiz"},
    {"openai_quota.http", "status 429 insufficient_quota | You exceeded your current quota, please "},
    {"openai_context.http", "status 400 context_length_exceeded | This model's maximum context length is 1"},
    {"openai_unauthorized.http", "status 401 invalid_api_key | Incorrect API key provided: [redacted]. "},
    {"openai_model.http", "status 404 model_not_found | The model `gpt-17` does not exist or you"},
    {"proxy_unavailable.http", "status 503  | <html><body><h1>503 Service Temporarily "},
};

const std::vector<row> anthropic_rows{
    {"anthropic_text.http", "Hi! My name is Claude. | | stop | 3195/1000/100/503"},
    {"anthropic_tools.http",
     R"(I'll look. | grep#toolu_01A09q90qw90lq917835lq9({"path":"a.log","pattern":"ERROR"}) clock#toolu_02({}) | tool_calls | 472/0/0/89)"},
    {"anthropic_stream_text.http", "Grüße! | | stop | 30/2/3/15"},
    {"anthropic_stream_tools.http",
     R"(Okay. | grep#toolu_01T1x1fJ34qAmk2tNTrN7Up6({"path": "a.log"}) clock#toolu_02({}) | tool_calls | 472/0/0/89)"},
    {"anthropic_stream_error.http", "status 200 overloaded_error | Overloaded (begun)"},
    {"anthropic_stream_truncated.http", "truncated 200  | the response ended before the model said"},
    {"anthropic_stream_absurd_usage.http", "hi | | length | -1/0/0/-1"},
    {"anthropic_empty.http", "empty 200 stop | the answer has neither text nor a tool c | 9/0/0/3"},
    {"anthropic_overloaded.http", "status 529 overloaded_error | Overloaded"},
    {"anthropic_rate_limited.http", "status 429 rate_limit_error | This request would exceed your account's"},
    {"anthropic_too_long.http", "status 400 invalid_request_error | prompt is too long: 210000 tokens > 2000"},
    {"proxy_unavailable.http", "status 503  | <html><body><h1>503 Service Temporarily "},
};

void play(provider_kind kind, const std::vector<row>& rows) {
  std::string bytes;
  std::size_t piece = 0;
  test_server server([&](const auto&) { return test_server::reply{bytes, test_server::then::keep, piece}; });
  http_client client;
  auto with = provider_at(server.url(), kind, client);
  REQUIRE(with.has_value());
  for (const auto& each : rows)
    for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{7}}) {
      IN_ROW(each.file << " in pieces of " << size);
      bytes = test::recorded(each.file, size ? size : 4'000);
      piece = size;
      CHECK_EQ(summary(test::start(**with, test::simple_request()).get()), each.expected);
    }
}

llm_outcome play_one(provider_kind kind, std::string bytes, test_server::then after = test_server::then::keep,
                     llm_request request = test::simple_request()) {
  test_server server([&](const auto&) { return test_server::reply{bytes, after}; });
  http_client client;
  auto with = provider_at(server.url(), kind, client);
  return test::start(**with, std::move(request)).get();
}

llm_failure failure_of(const llm_outcome& outcome) {
  const auto* failure = std::get_if<llm_failure>(&outcome);
  return failure ? *failure : llm_failure{};
}

} // namespace

TROUPE_TEST("OpenAI's recorded responses become these outcomes, however they are split") {
  play(provider_kind::openai, openai_rows);
}

TROUPE_TEST("Anthropic's recorded responses become these outcomes, however they are split") {
  play(provider_kind::anthropic, anthropic_rows);
}

TROUPE_TEST("retry-after-ms comes before retry-after, and both vendors' limits are read") {
  auto failure = failure_of(play_one(provider_kind::openai, test::recorded("openai_rate_limited.http")));
  CHECK(failure.retry_after == 19500ms);
  CHECK(failure.limits.remaining_requests == 0);
  CHECK(failure.limits.remaining_tokens == 148);
  CHECK(failure.limits.reset_requests == 72500ms);
  CHECK(failure.limits.reset_tokens == 1s);
  CHECK(failure.sent);
  failure = failure_of(play_one(provider_kind::openai, test::recorded("proxy_unavailable.http")));
  CHECK(failure.retry_after == 30s); // a date, counted from the response's own
  failure = failure_of(play_one(provider_kind::anthropic, test::recorded("anthropic_overloaded.http")));
  CHECK(failure.retry_after == 3s);
  failure = failure_of(play_one(provider_kind::anthropic, test::recorded("anthropic_rate_limited.http")));
  CHECK(!failure.retry_after.has_value()); // negative
  CHECK(failure.limits.reset_requests == 60s);

  const auto outcome = play_one(provider_kind::anthropic, test::recorded("anthropic_text.http"));
  const auto& limits = std::get<llm_response>(outcome).limits;
  CHECK(limits.remaining_requests == 999);
  CHECK(limits.reset_requests == 0s);
  CHECK(limits.remaining_tokens == 80'000); // the tightest that a request counts against: of output 12,000 are left
  CHECK(limits.reset_tokens == 0s);
}

TROUPE_TEST("a stream whose connection breaks before the finish reason is truncated, after it is whole") {
  using then = test_server::then;
  for (const auto after : {then::close, then::reset}) {
    CHECK(failure_of(play_one(provider_kind::openai, test::recorded("openai_stream_truncated.http", 50, true), after)).kind
          == llm_failure_kind::truncated);
    CHECK_EQ(summary(play_one(provider_kind::openai, test::recorded("openai_stream_without_done.http", 50, true), then::close)),
             "all of it | | stop | no usage");
  }
  const auto failure = failure_of(play_one(provider_kind::openai, "", then::close));
  CHECK(failure.kind == llm_failure_kind::connection);
  CHECK(failure.sent);
}

TROUPE_TEST("a complete stream is delivered at its terminal event, though the server keeps the connection busy") {
  for (const auto& [kind, file] :
       {std::pair{provider_kind::openai, "openai_stream_text.http"}, {provider_kind::anthropic, "anthropic_stream_text.http"}}) {
    test_server server([file = file](const auto&) { return test_server::reply{test::recorded(file, 100, true), test_server::then::hold}; });
    http_client client;
    auto with = provider_at(server.url(), kind, client);
    transfer_id id = 0;
    auto future = test::start(**with, test::simple_request(), &id);
    CHECK(std::holds_alternative<llm_response>(future.get()));
    (*with)->cancel(id); // late: nothing more is called (a second call would throw: the promise is kept)
  }
}

TROUPE_TEST("what is silent times out as sent, what is refused was not sent, what is cancelled says so") {
  auto request = test::simple_request();
  request.timeout = 50ms;
  auto failure = failure_of(play_one(provider_kind::openai, "", test_server::then::hold, request));
  CHECK(failure.kind == llm_failure_kind::timeout);
  CHECK(failure.sent);
  failure = failure_of(
      play_one(provider_kind::openai, test::recorded("openai_stream_truncated.http", 50, true), test_server::then::hold, request));
  CHECK(failure.kind == llm_failure_kind::timeout);

  http_client client;
  int port = 0;
  {
    test_server gone([](const auto&) { return test_server::reply{}; });
    port = gone.port();
  }
  auto with = provider_at("http://127.0.0.1:" + std::to_string(port) + "/v1", provider_kind::anthropic, client);
  failure = failure_of(test::start(**with, test::simple_request()).get());
  CHECK(failure.kind == llm_failure_kind::connection);
  CHECK(!failure.sent);
  CHECK(failure.message.find("not_connected") != std::string::npos);

  test_server silent([](const auto&) { return test_server::reply{"", test_server::then::hold}; });
  with = provider_at(silent.url(), provider_kind::openai, client);
  transfer_id id = 0;
  auto future = test::start(**with, test::simple_request(), &id);
  (*with)->cancel(id);
  CHECK(failure_of(future.get()).kind == llm_failure_kind::cancelled);
}

TROUPE_TEST("bodies that do not parse are malformed, errors of any shape keep status and words") {
  struct body_row {
    const char* status;
    std::string body;
    const char* expected;
  };
  const std::vector<body_row> rows{
      {"200 OK", "", "malformed 200  | the response has no body"},
      {"200 OK", "<html>", "malformed 200  | the response is not a JSON object"},
      {"200 OK", "[]", "malformed 200  | the response is not a JSON object"},
      {"200 OK", R"({"choices":NaN,)", "malformed 200  | the response is not a JSON object"},
      {"200 OK", R"({"choices":nan})", "malformed 200  | the response is not a JSON object"},
      {"200 OK", R"({"choices":-})", "malformed 200  | the response is not a JSON object"},
      {"200 OK", R"({"choices":[1e999"})", "malformed 200  | the response is not a JSON object"},
      {"200 OK", R"({"choices":)", "malformed 200  | the response is not a JSON object"},
      {"200 OK", R"({"choices":[]})", "malformed 200  | the response has no choices[0].message"},
      {"200 OK", R"({"choices":{"a":1}})", "malformed 200  | the response has no choices[0].message"},
      {"200 OK", std::string(100'000, '['), "malformed 200  | the response is not a JSON object"},
      {"200 OK", R"({"error":null,"choices":[{"message":{"content":"a"}}]})", "a | | stop | no usage"},
      {"200 OK", R"({"error":"","choices":[{"message":{"content":"a"}}]})", "a | | stop | no usage"},
      {"200 OK", R"({"error":{},"choices":[{"message":{"content":"a"}}]})", "a | | stop | no usage"},
      {"200 OK", R"({"error":{"code":1},"choices":[{"message":{"content":"a"}}]})", R"(status 200 1 | {"code":1})"},
      {"200 OK", R"({"error":{}})", "malformed 200  | the response has no choices[0].message"},
      {"500 Oops", R"({"error":{}})", "status 500  | {}"},
      {"200 OK", R"({"choices":[{"message":{"content":"a"},"finish_reason":"eos_token"}]})", "a | | stop | no usage"},
      {"200 OK", R"({"choices":[{"message":{"content":"a"},"finish_reason":"model_length"}]})", "a | | length | no usage"},
      {"200 OK", R"({"choices":[{"message":{"content":"a"},"finish_reason":"insufficient_system_resource"}]})", "a | | other | no usage"},
      {"200 OK",
       R"({"choices":[{"message":{"content":[{"type":"text","text":"a"},{"type":"image"},{"type":"text","text":"b"}]},"finish_reason":"stop"}],"usage":{"prompt_tokens":1.0,"completion_tokens":"x"}})",
       "ab | | stop | 1/0/0/-1"},
      {"200 OK", // reasoning that some servers leave out of completion_tokens
       R"({"choices":[{"message":{"content":"a"}}],"usage":{"prompt_tokens":11,"completion_tokens":3,"total_tokens":164}})",
       "a | | stop | 11/0/0/153"},
      {"200 OK", R"({"choices":[{"message":{"content":"a"}}],"usage":{"prompt_tokens":11,"completion_tokens":3,"total_tokens":14}})",
       "a | | stop | 11/0/0/3"},
      {"200 OK", R"({"choices":[{"message":{"content":"a"}}],"usage":{"prompt_tokens":11,"completion_tokens":3,"total_tokens":5}})",
       "a | | stop | 11/0/0/3"},
      {"200 OK", R"({"choices":[{"message":{"content":"a"}}],"usage":{"prompt_tokens":11,"completion_tokens":3,"total_tokens":"x"}})",
       "a | | stop | 11/0/0/3"},
      {"200 OK", R"({"choices":[{"message":{"content":"a"}}],"usage":{"prompt_tokens":11,"completion_tokens":"x","total_tokens":14}})",
       "a | | stop | 11/0/0/-1"},
      {"200 OK",
       R"({"choices":[{"message":{"content":"a"}}],"usage":{"prompt_tokens":-9,"completion_tokens":3,"total_tokens":9223372036854775807}})",
       "a | | stop | -9/0/0/3"},
      {"200 OK",
       "{\"choices\":[{\"message\":{\"content\":\"\xff \\ud800 ok \\ud83c\\udf0d "
       "\\\\ud800\"},\"finish_reason\":\"length\"}],\"usage\":null}",
       "\xEF\xBF\xBD \xEF\xBF\xBD ok 🌍 \\ud800 | | length | no usage"},
      {"400 Bad Request", R"({"error":"no such model"})", "status 400  | no such model"},
      {"422 Unprocessable", R"({"detail":[{"loc":["body"],"msg":"bad"}]})", R"(status 422  | [{"loc":["body"],"msg":"bad"}])"},
      {"400 Bad Request", R"({"object":"error","message":"too long","type":"BadRequestError","param":null,"code":400})",
       "status 400 BadRequestError | too long"},
      {"500 Oops", "", "status 500  | HTTP status 500 without words"},
      {"500 Oops", "\xff\xfe", "status 500  | \xEF\xBF\xBD\xEF\xBF\xBD"},
      {"302 Found", "", "status 302  | HTTP status 302 without words"},
      {"200 OK", R"({"error":{"type":"x"}})", R"(status 200 x | {"type":"x"})"},
  };
  for (const auto& each : rows) {
    IN_ROW(each.body.substr(0, 60));
    CHECK_EQ(summary(play_one(provider_kind::openai, test_server::ok(each.body, "Content-Type: application/json\r\n", each.status))),
             each.expected);
  }
}

TROUPE_TEST("a stream is read as one also where nobody asked for it") {
  auto request = test::simple_request();
  request.stream = false;
  const std::string type = "Content-Type: text/event-stream\r\n";
  const std::string begun = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n";
  const std::string end = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
  for (const auto& [body, expected] : std::vector<std::pair<std::string, const char*>>{
           {begun + end + "data: [DONE]\n\n", "a | | stop | no usage"},
           {begun + end, "a | | stop | no usage"},
           {begun, "truncated 200  | the response ended before the model said"},
       }) {
    IN_ROW(body);
    CHECK_EQ(summary(play_one(provider_kind::openai, test_server::ok(body, type), test_server::then::keep, request)), expected);
  }
}

TROUPE_TEST("a response without an answer keeps the usage that it states; one that broke off has none") {
  struct usage_row {
    provider_kind kind;
    std::string body;
    bool streamed;
    const char* expected;
  };
  const auto openai = provider_kind::openai, anthropic = provider_kind::anthropic;
  const std::string start = "data: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":25,\"output_tokens\":1}}}\n\n";
  const std::vector<usage_row> rows{
      {openai,
       R"({"choices":[{"message":{"content":null},"finish_reason":"content_filter"}],"usage":{"prompt_tokens":10,"completion_tokens":4}})",
       false, "empty 200 content_filter | the answer has neither text nor a tool c | 10/0/0/4"},
      {openai, R"({"choices":[],"usage":{"prompt_tokens":10,"completion_tokens":0}})", false,
       "malformed 200  | the response has no choices[0].message | 10/0/0/0"},
      {openai, R"({"error":{"code":"x","message":"no"},"usage":{"prompt_tokens":10,"completion_tokens":0}})", false,
       "status 200 x | no | 10/0/0/0"},
      {openai,
       "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: "
       "{\"choices\":[],\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":7}}\n\ndata: [DONE]\n\n",
       true, "empty 200 stop | the answer has neither text nor a tool c | 10/0/0/7"},
      {openai, "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":7}}\n\ndata: [DONE]\n\n", true,
       "truncated 200  | the response ended before the model said | 10/0/0/7"},
      {openai, "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":7}}\n\n", true,
       "truncated 200  | the response ended before the model said"},
      {openai, "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":7}}\n\ndata: {\"error\":\"no\"}\n\n", true,
       "status 200  | no (begun)"},
      {openai, "data: {\"error\":{\"code\":\"invalid_api_key\",\"message\":\"no\"}}\n\n", true, "status 200 invalid_api_key | no"},
      {anthropic,
       R"({"content":[{"type":"thinking","thinking":"hm"}],"stop_reason":"end_turn","usage":{"input_tokens":9,"output_tokens":30}})", false,
       "empty 200 stop | the answer has neither text nor a tool c | 9/0/0/30"},
      {anthropic,
       start
           + "data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"refusal\"},\"usage\":{\"output_tokens\":2}}\n\ndata: "
             "{\"type\":\"message_stop\"}\n\n",
       true, "empty 200 content_filter | the answer has neither text nor a tool c | 25/0/0/2"},
      {anthropic, start, true, "truncated 200  | the response ended before the model said"},
      {anthropic, start + "data: {\"type\":\"message_stop\"}\n\n", true, "truncated 200  | the response ended before the model said"},
  };
  for (const auto& each : rows) {
    IN_ROW(each.body);
    const std::string type = each.streamed ? "Content-Type: text/event-stream\r\n" : "Content-Type: application/json\r\n";
    CHECK_EQ(summary(play_one(each.kind, test_server::ok(each.body, type))), each.expected);
  }
}

TROUPE_TEST("a number that is none, or too large for one, makes usage absurd and nothing else") {
  const std::string many(400, '9');
  for (const std::string& number : {std::string("NaN"), std::string("Infinity"), std::string("-Infinity"), std::string("1e999"),
                                    std::string("-1.5E+999"), many, "-" + many, many + ".0"}) {
    IN_ROW(number);
    const auto usage = [&](const char* in, const char* out) {
      return "\"usage\":{\"" + std::string(in) + "\": " + number + ",\"" + out + "\":\t" + number + "}";
    };
    CHECK_EQ(summary(play_one(provider_kind::openai,
                              test_server::ok(R"({"choices":[{"message":{"content":"say \"NaN, 1e999\""},"finish_reason":"stop",)"
                                              R"("logprobs":[-Infinity,1e-999,0.5]}],)"
                                              + usage("prompt_tokens", "completion_tokens") + "}"))),
             "say \"NaN, 1e999\" | | stop | -1/0/0/-1");
    CHECK_EQ(summary(play_one(provider_kind::openai,
                              test_server::ok("data: {\"choices\":[{\"delta\":{\"content\":\"fine\"},\"finish_reason\":\"stop\"}]}\n\n"
                                              "data: {\"choices\":[],"
                                                  + usage("prompt_tokens", "completion_tokens") + "}\n\ndata: [DONE]\n\n",
                                              "Content-Type: text/event-stream\r\n"))),
             "fine | | stop | -1/0/0/-1");
    CHECK_EQ(summary(play_one(provider_kind::anthropic,
                              test_server::ok(R"({"content":[{"type":"tool_use","id":"c","name":"f","input":{"x":)" + number
                                              + R"(}}],"stop_reason":"tool_use",)" + usage("input_tokens", "output_tokens") + "}"))),
             " | f#c({\"x\":\"" + number + "\"}) | tool_calls | -1/0/0/-1");
  }
}

TROUPE_TEST("a failure's words are bounded and hold no key") {
  const auto failure = failure_of(play_one(
      provider_kind::openai, test_server::ok(R"({"error":{"message":")" + std::string(5'000, 'x') + R"("}})", "", "400 Bad Request")));
  CHECK(failure.message.size() <= 1'000);
  const auto leaky = failure_of(
      play_one(provider_kind::anthropic, test_server::ok(std::string("bad key ") + key + " and " + key, "", "401 Unauthorized")));
  CHECK_EQ(leaky.message, "bad key [redacted] and [redacted]");
}

TROUPE_TEST("an answer holds no key: not in ids and names of calls, nor behind escapes; the rest of it stays to the byte") {
  struct key_row {
    const char* what;
    std::string id, name, arguments, text;
    const char* expected;
  };
  const std::string k = key;
  const std::vector<key_row> rows{
      {"plain", k, k, R"({"a":")" + k + R"("})", "it is " + k,
       R"(it is [redacted] | [redacted]#[redacted]({"a":"[redacted]"}) | stop | no usage)"},
      {"escaped, as a value and as a key", "c", "f", R"({ "\u0073k-test-0123456789" : ["x\n\u0073k\u002dtest-0123456789"], "n": 1.50 })",
       R"({"a":"\u0073k-test-0123456789"})",
       R"({"a":"[redacted]"} | f#c({ "[redacted]" : ["x\n[redacted]"], "n": 1.50 }) | stop | no usage)"},
      {"escaped, behind a quote that is none of JSON's", "c", "f", "{}", R"(5" wide: {"k":"\u0073k-test-0123456789"})",
       R"(5" wide: {"k":"[redacted]"} | f#c({}) | stop | no usage)"},
      {"other escapes stay as they are", "c", "f", R"({"a":"\u0041\/\"", "b" : 1e2, "b":"\ud83c\udf0d"})", R"(say "\u0041" and ")",
       R"(say "\u0041" and " | f#c({"a":"\u0041\/\"", "b" : 1e2, "b":"\ud83c\udf0d"}) | stop | no usage)"},
      {"what is no JSON", "c", "f", R"({"a":"\u00)", "\"\n\"\\u0073k-test-0123456789\"",
       "\"\n\"[redacted]\" | f#c({\"a\":\"\\u00) | stop | no usage"},
  };
  for (const auto& each : rows) {
    IN_ROW(each.what);
    const json body = {{"choices",
                        {{{"finish_reason", "stop"},
                          {"message",
                           {{"content", each.text},
                            {"tool_calls", {{{"id", each.id}, {"function", {{"name", each.name}, {"arguments", each.arguments}}}}}}}}}}}};
    CHECK_EQ(summary(play_one(provider_kind::openai, test_server::ok(body.dump()))), each.expected);
  }
}

TROUPE_TEST("a line or an event without end is malformed, not memory") {
  const auto failure = failure_of(
      play_one(provider_kind::openai, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: " + std::string((1 << 20) + 10, 'x'),
               test_server::then::hold));
  CHECK(failure.kind == llm_failure_kind::malformed);
}

TROUPE_TEST("a body that costs too much to read is malformed: too many values, too many bytes") {
  std::string many = R"({"choices":[{"message":{"content":"a"}}],"x":1.5,"y":[0)";
  for (int i = 0; i < 300'000; ++i)
    many += ",{}";
  const auto too_long = R"({"choices":[{"message":{"content":")" + std::string(16 << 20, 'x') + R"("}}]})";
  for (const auto& body : {many + "]}", too_long})
    for (const bool stream : {false, true}) {
      IN_ROW(body.size() << " bytes, stream " << stream);
      auto request = test::simple_request();
      request.stream = stream;
      const auto outcome = play_one(provider_kind::openai, test_server::ok(body), test_server::then::keep, request);
      CHECK(failure_of(outcome).kind == llm_failure_kind::malformed);
      CHECK_EQ(failure_of(outcome).http_status, 200);
    }
}

TROUPE_TEST("the status of an error counts, though its body stalls, breaks off or is too large") {
  struct cut_row {
    const char* what;
    std::string body;
    test_server::then after;
  };
  const std::vector<cut_row> rows{{"stalls", R"({"error":{"message":"no)", test_server::then::hold},
                                  {"breaks off", R"({"error":{"message":"no)", test_server::then::close},
                                  {"is too large", std::string(17 << 20, ' '), test_server::then::keep}};
  for (const auto& [what, body, after] : rows)
    for (const int status : {429, 401, 503})
      for (const bool stream : {false, true}) {
        IN_ROW(what << " " << status << " stream " << stream);
        auto request = test::simple_request();
        request.stream = stream;
        request.timeout = after == test_server::then::hold ? 300ms : 60'000ms;
        const auto length = std::to_string(body.size() < 100 ? 100 : body.size());
        const auto failure = failure_of(play_one(provider_kind::openai,
                                                 "HTTP/1.1 " + std::to_string(status) + " X\r\nContent-Type: application/json\r\n"
                                                     + "Retry-After: 7\r\nContent-Length: " + length + "\r\n\r\n" + body,
                                                 after, request));
        CHECK(failure.kind == llm_failure_kind::status);
        CHECK_EQ(failure.http_status, status);
        CHECK(failure.sent);
        CHECK(failure.retry_after == 7s);
      }
}

TROUPE_TEST("one stream has at most 1,024 tool calls") {
  std::string body = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
  for (int i = 0; i < 1'025; ++i)
    body += R"(data: {"choices":[{"delta":{"tool_calls":[{"index":)" + std::to_string(i)
            + R"(,"id":"c","function":{"name":"f","arguments":"{}"}}]}}]})" + "\n\n";
  CHECK(failure_of(play_one(provider_kind::openai, body, test_server::then::close)).kind == llm_failure_kind::malformed);
}
