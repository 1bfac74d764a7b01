#include "test.hpp"

#include <future>

#include "troupe/llm/scripted.hpp"

TROUPE_SUITE(scripted)

using namespace troupe;
using namespace troupe::llm;

namespace {

scripted_provider provider_of(const char* rules) {
  auto made = parse_script(json{{"rules", json::parse(rules)}});
  REQUIRE(made.has_value());
  return scripted_provider(*made);
}

llm_request request_of(std::string text) {
  llm_request request;
  request.agent = "a";
  request.model = "m";
  request.messages.push_back(std::make_shared<const chat_message>(chat_message{role::user, std::move(text), {}, "", false}));
  return request;
}

llm_outcome ask(scripted_provider& provider, llm_request request) {
  std::promise<llm_outcome> outcome;
  provider.start(std::move(request), [&](llm_outcome done) { outcome.set_value(std::move(done)); });
  return outcome.get_future().get();
}

} // namespace

TROUPE_TEST("without latency the outcome comes within start, and it is the rule's reply") {
  auto provider =
      provider_of(R"([{"when": {"any": true}, "reply": {"text": "{{ last }}!", "tool_calls": [{"name": "grep", "arguments": {"p": 1}}]},
                                   "usage": {"input": 8, "output": 4}}])");
  bool came = false;
  provider.start(request_of("hi"), [&](llm_outcome outcome) {
    came = true;
    REQUIRE(std::holds_alternative<llm_response>(outcome));
    const auto& response = std::get<llm_response>(outcome);
    CHECK(response.message.from == role::assistant);
    CHECK_EQ(response.message.text, "hi!");
    REQUIRE(response.message.tool_calls.size() == 1u);
    CHECK_EQ(response.message.tool_calls[0].arguments, R"({"p":1})");
    CHECK(response.finish == finish_reason::tool_calls);
    CHECK_EQ(*response.usage, (token_usage{8, 0, 0, 4}));
  });
  CHECK(came);
}

TROUPE_TEST("each fault is a failure of its meaning") {
  struct row {
    const char* fault;
    llm_failure_kind kind;
    int status;
  };
  const row rows[] = {
      {R"({"status": 429, "retry_after": 2})", llm_failure_kind::status, 429},
      {R"({"error200": true})", llm_failure_kind::status, 200},
      {R"({"timeout": true})", llm_failure_kind::timeout, 0},
      {R"({"reset": true})", llm_failure_kind::connection, 0},
      {R"({"malformed": true})", llm_failure_kind::malformed, 200},
      {R"({"empty": true})", llm_failure_kind::empty, 200},
      {R"({"truncate": true})", llm_failure_kind::truncated, 200},
      {R"({"crash": true})", llm_failure_kind::agent_crash, 0},
  };
  for (const auto& row : rows) {
    IN_ROW(row.fault);
    auto provider = provider_of((R"([{"when": {"any": true}, "reply": {"text": "x"}, "fault": )" + std::string(row.fault) + "}]").c_str());
    const auto outcome = ask(provider, request_of("hi"));
    REQUIRE(std::holds_alternative<llm_failure>(outcome));
    const auto& failure = std::get<llm_failure>(outcome);
    CHECK(failure.kind == row.kind);
    CHECK_EQ(failure.http_status, row.status);
    CHECK(failure.sent);
    CHECK(!failure.message.empty());
    CHECK_EQ(failure.retry_after.has_value(), row.status == 429);
  }
}

TROUPE_TEST("no rule matches: a 400 that says which request it was") {
  auto provider = provider_of(R"([{"when": {"turn": 5}, "reply": {"text": "x"}}])");
  const auto outcome = ask(provider, request_of("hello"));
  const auto& failure = std::get<llm_failure>(outcome);
  CHECK_EQ(failure.http_status, 400);
  CHECK_EQ(failure.code, "no_rule");
  CHECK(failure.message.find("\"hello\"") != std::string::npos);
}

TROUPE_TEST("a reply of nothing is an empty answer") {
  auto provider = provider_of(R"([{"when": {"any": true}, "reply": {"text": ""}}])");
  CHECK(std::get<llm_failure>(ask(provider, request_of("hello"))).kind == llm_failure_kind::empty);
  auto stating = provider_of(R"([{"when": {"any": true}, "reply": {"text": ""}, "usage": {"input": 10, "output": 2}}])");
  CHECK(std::get<llm_failure>(ask(stating, request_of("hello"))).usage == (token_usage{10, 0, 0, 2}));
  auto silent = provider_of(R"([{"when": {"any": true}, "reply": {"text": ""}, "usage": "none"}])");
  CHECK(!std::get<llm_failure>(ask(silent, request_of("hello"))).usage.has_value());
}

TROUPE_TEST("with latency outcomes come in the order of the times due") {
  auto provider = provider_of(R"([{"when": {"last": "slow"}, "reply": {"text": "slow"}, "latency": "60ms"},
                                  {"when": {"last": "quick"}, "reply": {"text": "quick"}, "latency": "5ms"}])");
  std::promise<void> both;
  std::vector<std::string> order; // written by the timer thread only, read after it is done
  const auto note = [&](llm_outcome outcome) {
    order.push_back(std::get<llm_response>(outcome).message.text);
    if (order.size() == 2)
      both.set_value();
  };
  provider.start(request_of("slow"), note);
  provider.start(request_of("quick"), note);
  both.get_future().get();
  CHECK_EQ(order[0], "quick");
  CHECK_EQ(order[1], "slow");
}

TROUPE_TEST("with latency each of many requests in a row is answered: the timer sleeps between them and is woken") {
  auto provider = provider_of(R"([{"when": {"any": true}, "reply": {"text": "x"}, "latency": "1ms"}])");
  for (int i = 0; i < 200; ++i) {
    auto outcome = std::make_shared<std::promise<void>>();
    auto came = outcome->get_future();
    provider.start(request_of("hi"), [outcome](const llm_outcome&) { outcome->set_value(); });
    REQUIRE(came.wait_for(std::chrono::seconds(20)) == std::future_status::ready);
  }
}

TROUPE_TEST("a latency above the request's timeout is a timeout after that timeout") {
  auto provider = provider_of(R"([{"when": {"any": true}, "reply": {"text": "x"}, "latency": "24h"}])");
  auto request = request_of("hi");
  request.timeout = std::chrono::milliseconds(5);
  CHECK(std::get<llm_failure>(ask(provider, std::move(request))).kind == llm_failure_kind::timeout);
}

TROUPE_TEST("a cancelled request answers cancelled, once; destruction cancels what is pending") {
  int answers = 0;
  {
    auto provider = provider_of(R"([{"when": {"any": true}, "reply": {"text": "x"}, "latency": "24h"}])");
    std::promise<llm_failure_kind> kind;
    auto request = request_of("hi");
    request.timeout = std::chrono::hours(100);
    const auto id = provider.start(request, [&](llm_outcome outcome) {
      ++answers;
      kind.set_value(std::get<llm_failure>(outcome).kind);
    });
    provider.cancel(id);
    CHECK(kind.get_future().get() == llm_failure_kind::cancelled);
    provider.cancel(id);
    provider.cancel(9'999);
    provider.start(request, [&](llm_outcome outcome) {
      ++answers;
      CHECK(std::get<llm_failure>(outcome).kind == llm_failure_kind::cancelled);
    });
  }
  CHECK_EQ(answers, 2);
}

TROUPE_TEST("the bound of input tokens is never below what is stated or estimated") {
  auto stated = provider_of(R"([{"when": {"any": true}, "reply": {"text": "x"}, "usage": {"input": 100000}}])");
  CHECK(stated.input_token_bound(request_of("hi")) >= 100'000);
  auto made =
      parse_script(json::parse(R"({"usage": {"chars_per_token": 0.1}, "rules": [{"when": {"any": true}, "reply": {"text": "x"}}]})"));
  REQUIRE(made.has_value());
  scripted_provider estimated(*made);
  const auto request = request_of(std::string(1'000, 'x'));
  const auto outcome = ask(estimated, request);
  CHECK(estimated.input_token_bound(request) >= std::get<llm_response>(outcome).usage->input);
  CHECK_EQ(estimated.input_token_estimate(request), std::get<llm_response>(outcome).usage->input);
}
