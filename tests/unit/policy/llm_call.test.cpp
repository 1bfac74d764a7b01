#include "troupe/policy/llm_call.hpp"

#include "test.hpp"

#include "llm_call_support.hpp"

TROUPE_SUITE(llm_call)

using namespace troupe;
using namespace troupe::policy;
using namespace troupe::test;
using namespace std::chrono_literals;

TROUPE_TEST_WITH(llm_call_fixture, "a request leaves after its reservation, and an answer settles it at its cost") {
  make();
  const auto asked = call->start(now);
  const auto& wanted = get<reserve_for>(asked);
  CHECK_EQ(wanted.worst_case.money.micro, 1'000 + 10'000);
  CHECK_EQ(wanted.worst_case.steps, 1);
  const auto sent = call->granted(now);
  CHECK_EQ(get<send_to>(sent).request, 1);
  CHECK_EQ(get<send_to>(sent).max_tokens, 1'000);
  CHECK_EQ(get<send_to>(sent).timeout.count(), 60'000);
  CHECK_EQ(the<llm_requested>(sent).worst_case.micro, 11'000);
  CHECK(!sent.settle.has_value());
  now += 2s;
  const auto done = respond(answer("hello", token_usage{500, 0, 0, 20}));
  CHECK(done.settle == (spend{usd{700}, 1}));
  CHECK_EQ(get<succeeded>(done).response.message->text, "hello");
  CHECK_EQ(get<succeeded>(done).response.duration_us, 2'000'000);
  REQUIRE(has<llm_responded>(done));
  CHECK_EQ(the<llm_responded>(done).cost.micro, 700);
  CHECK(!the<llm_responded>(done).estimated);
  CHECK(call->done());
}

TROUPE_TEST_WITH(llm_call_fixture, "usage that is absurd is an event, and the worst case is charged") {
  make();
  begin();
  const auto done = respond(answer("hello", token_usage{5'000'000, 0, 0, 20}));
  CHECK(done.settle == (spend{usd{11'000}, 1}));
  CHECK(has<usage_rejected>(done));
  CHECK(the<llm_responded>(done).usage == token_usage{});
}

TROUPE_TEST_WITH(llm_call_fixture, "usage that is absent is estimated, and marked so") {
  make();
  begin();
  const auto done = respond(answer("12345678"));
  CHECK(the<llm_responded>(done).estimated);
  CHECK(the<llm_responded>(done).usage == (token_usage{800, 0, 0, 2}));
  CHECK(done.settle == (spend{usd{820}, 1}));
}

TROUPE_TEST_WITH(llm_call_fixture,
                 "a retryable error is retried after the back-off, with a reservation of its own, three requests in all") {
  make();
  begin();
  auto step = fail(status(500));
  CHECK_EQ(get<wait_until>(step).at - now, 500ms); // half of 1 s
  CHECK(step.settle == (spend{usd{0}, 1}));
  CHECK_EQ(the<llm_failed>(step).next, "retry");
  CHECK_EQ(the<llm_failed>(step).wait_ms, 500);
  CHECK_EQ(the<llm_failed>(step).reason, "llm_server_error");
  now += 500ms;
  CHECK(is<reserve_for>(call->tick(now)));
  CHECK_EQ(get<send_to>(call->granted(now)).request, 2);
  step = fail(status(500));
  CHECK_EQ(get<wait_until>(step).at - now, 1s); // half of 2 s
  now += 1s;
  CHECK(is<reserve_for>(call->tick(now)));
  CHECK_EQ(get<send_to>(call->granted(now)).request, 3);
  step = fail(status(503));
  CHECK_EQ(the<llm_failed>(step).next, "fail_over");
  REQUIRE(has<llm_failed_over>(step));
  CHECK_EQ(the<llm_failed_over>(step).from, "openai/gpt-4o");
  CHECK_EQ(the<llm_failed_over>(step).to, "claude/sonnet");
  CHECK_EQ(get<reserve_for>(step).link, 1);
  CHECK_EQ(get<reserve_for>(step).worst_case.money.micro, 2'000 + 20'000); // at its own model's price
}

TROUPE_TEST_WITH(llm_call_fixture, "a fatal error for the model fails over at once, one for the task ends it") {
  struct row {
    const char* says;
    llm_failure failure;
    bool over;
    const char* reason;
  };
  for (const auto& row : std::vector<row>{
           {"401", status(401), true, "llm_auth"},
           {"404", status(404), true, "llm_not_found"},
           {"insufficient_quota", status(429, "insufficient_quota"), true, "llm_quota"},
           {"context length", status(400, "context_length_exceeded"), true, "llm_context_length"},
           {"another 400", status(400, "invalid_request_error"), false, "llm_bad_request"},
           {"422", status(422), false, "llm_bad_request"},
       }) {
    IN_ROW(row.says);
    make();
    begin();
    const auto step = fail(row.failure);
    CHECK_EQ(the<llm_failed>(step).reason, row.reason);
    CHECK_EQ(the<llm_failed>(step).next, row.over ? "fail_over" : "give_up");
    if (row.over) {
      CHECK_EQ(get<reserve_for>(step).link, 1);
    } else {
      CHECK(get<gave_up>(step).fatal);
      CHECK(get<gave_up>(step).status == task_status::error);
    }
  }
}

TROUPE_TEST_WITH(llm_call_fixture, "fail-over walks the chain in order, one model after the other") {
  model->chain.push_back({"local", "small", {true, 0, 0, 0, 0, 0, 0, 0}, 0});
  facts.links.push_back({1'000, 800, std::chrono::seconds(60)});
  make();
  begin();
  for (const auto& [from, to] : {std::pair("openai/gpt-4o", "claude/sonnet"), std::pair("claude/sonnet", "local/small")}) {
    const auto over = the<llm_failed_over>(fail(status(401)));
    CHECK_EQ(over.from, from);
    CHECK_EQ(over.to, to);
    REQUIRE(is<send_to>(call->granted(now)));
  }
  CHECK(is<gave_up>(fail(status(401))));
}

TROUPE_TEST_WITH(llm_call_fixture, "a context that is too long ends the step where the caller wants to shorten it") {
  facts.context_length_ends = true;
  make();
  begin();
  const auto step = fail(status(400, "context_length_exceeded"));
  CHECK(get<gave_up>(step).reason == llm_reason::llm_context_length);
  CHECK_EQ(get<gave_up>(step).too_long_for.value_or(9), 0u);
}

TROUPE_TEST_WITH(llm_call_fixture, "a model whose context the request does not fit is not asked") {
  model->chain[0].context = 5'000;
  facts.input_tokens = 4'001; // with an answer of 1'000
  make();
  CHECK_EQ(get<reserve_for>(call->start(now)).link, 1);
  facts.input_tokens = 4'000;
  make();
  CHECK_EQ(get<reserve_for>(call->start(now)).link, 0);
}

TROUPE_TEST_WITH(llm_call_fixture, "where none is left for want of context, the first that a shorter request could go to is named") {
  model->chain[1].context = 2'000;
  facts.input_tokens = 4'000;
  make();
  begin();
  const auto step = fail(status(404));
  CHECK(get<gave_up>(step).status == task_status::error);
  CHECK_EQ(get<gave_up>(step).too_long_for.value_or(9), 1u);
  CHECK_EQ(call->requests(), 1);
}

TROUPE_TEST_WITH(llm_call_fixture, "a step that is asked for again goes on counting its requests, from the model that it is meant for") {
  facts.requests_before = 3;
  facts.first_link = 1;
  make();
  CHECK_EQ(get<reserve_for>(call->start(now)).link, 1);
  CHECK_EQ(get<send_to>(call->granted(now)).request, 4);
}

TROUPE_TEST_WITH(llm_call_fixture, "429 is no step and costs nothing; its Retry-After is waited for") {
  make();
  begin();
  auto failure = status(429);
  failure.retry_after = 7s;
  const auto step = fail(failure);
  CHECK(step.settle == spend{});
  CHECK(!the<llm_failed>(step).counted);
  CHECK_EQ(get<wait_until>(step).at - now, 7s);
}

TROUPE_TEST_WITH(llm_call_fixture, "a Retry-After longer than the cap or the time left fails over at once") {
  make();
  begin();
  auto failure = status(429);
  failure.retry_after = 31s;
  CHECK_EQ(get<reserve_for>(fail(failure)).link, 1);
  facts.until.task = now + 5s;
  make();
  begin();
  failure.retry_after = 6s;
  CHECK_EQ(get<reserve_for>(fail(failure)).link, 1);
}

TROUPE_TEST_WITH(llm_call_fixture, "an end that humans may still move is no bound for a request, but for a wait it is") {
  auto end = now + 5s;
  facts.as_it_stands = [&](time_point) { return deadlines{.agent = end}; };
  make();
  begin();
  auto failure = status(429);
  failure.retry_after = 4s;
  CHECK_EQ(get<wait_until>(fail(failure)).at - now, 4s);
  make();
  begin();
  failure.retry_after = 6s;
  CHECK_EQ(get<reserve_for>(fail(failure)).link, 1);
  CHECK_EQ(get<send_to>(call->granted(now)).timeout, 60s);
  // While somebody waits for a human it moves: what takes long meanwhile is not late.
  make();
  begin();
  now += 6s;
  end = now + 5s;
  failure.retry_after = 4s;
  CHECK_EQ(get<wait_until>(fail(failure)).at - now, 4s);
  // Where it has come, no other model is asked.
  make();
  begin();
  now = end;
  CHECK(get<gave_up>(fail(failure)).status == task_status::timeout);
  end = now + 5s;
  make();
  begin();
  // Whoever then ends it, because that time is up, ends it as that.
  now += 5s;
  call->cancel(now);
  const auto step = fail(broken(llm_failure_kind::cancelled));
  CHECK_EQ(the<llm_failed>(step).reason, "timeout");
  CHECK_EQ(the<llm_failed>(step).message, "the agent's time is over");
}

TROUPE_TEST_WITH(llm_call_fixture, "what was sent and never answered is charged its worst case, what was never sent nothing") {
  make();
  begin();
  CHECK(fail(broken(llm_failure_kind::timeout)).settle == (spend{usd{11'000}, 1}));
  make();
  begin();
  CHECK(fail(broken(llm_failure_kind::connection, false)).settle == spend{});
}

TROUPE_TEST_WITH(llm_call_fixture, "an empty answer is retried, at the cost that it states") {
  make();
  begin();
  auto step = respond(answer("  \n", token_usage{500, 0, 0, 0}));
  CHECK(is<wait_until>(step));
  CHECK(step.settle == (spend{usd{500}, 1}));
  CHECK_EQ(the<llm_failed>(step).reason, "llm_empty");
  make();
  begin();
  CHECK(respond(answer("")).settle == (spend{usd{11'000}, 1})); // it states none
}

TROUPE_TEST_WITH(llm_call_fixture, "a failure is charged what its response states, and its worst case where that is absurd") {
  const auto stating = [](llm_failure failure, token_usage usage) {
    failure.usage = usage;
    return failure;
  };
  make();
  begin();
  CHECK(fail(stating(broken(llm_failure_kind::empty), {500, 0, 0, 20})).settle == (spend{usd{700}, 1}));
  make();
  begin();
  const auto refused = fail(stating(status(200, "server_error"), {10, 0, 0, 0}));
  CHECK(refused.settle == (spend{usd{10}, 1}));
  CHECK_EQ(the<llm_failed>(refused).charged.micro, 10);
  CHECK(!has<usage_rejected>(refused));
  make();
  begin();
  const auto absurd = fail(stating(broken(llm_failure_kind::empty), {500, 0, 0, -1}));
  CHECK(absurd.settle == (spend{usd{11'000}, 1}));
  CHECK(has<usage_rejected>(absurd));
}

TROUPE_TEST_WITH(llm_call_fixture, "no credit left fails over at once, whatever the status is") {
  for (const int number : {200, 429, 500, 503}) {
    IN_ROW(number);
    make();
    begin();
    const auto step = fail(status(number, "insufficient_quota"));
    CHECK_EQ(get<reserve_for>(step).link, 1u);
    CHECK_EQ(step.settle->money.micro, 0);
  }
}

TROUPE_TEST_WITH(llm_call_fixture, "an empty retry budget fails over instead of retrying") {
  make();
  while (links[0]->retries->take_retry()) {
  }
  begin();
  const auto step = fail(status(500));
  CHECK_EQ(the<llm_failed>(step).next, "fail_over");
  CHECK_EQ(get<reserve_for>(step).link, 1);
}

TROUPE_TEST_WITH(llm_call_fixture, "a 429 that says when to come is retried without a token, up to its attempts") {
  struct row {
    const char* says;
    int http_status;
    std::optional<milliseconds> retry_after;
    const char* next;
  };
  for (const auto& row :
       {row{"429 with a time", 429, 2s, "retry"}, row{"429, at once", 429, 0ms, "retry"}, row{"429 without", 429, {}, "fail_over"},
        row{"429 with a time that is not believed", 429, -1s, "fail_over"}, row{"503 with a time", 503, 2s, "fail_over"}}) {
    IN_ROW(row.says);
    make();
    while (links[0]->retries->take_retry()) {
    }
    begin();
    auto failure = status(row.http_status);
    failure.retry_after = row.retry_after;
    const auto left = links[0]->retries->tokens();
    auto step = fail(failure);
    CHECK_EQ(the<llm_failed>(step).next, row.next);
    CHECK_EQ(links[0]->retries->tokens(), left);
    if (!is<wait_until>(step))
      continue;
    retry(step);
    step = fail(failure);
    retry(step);
    CHECK_EQ(the<llm_failed>(fail(failure)).next, "fail_over");
  }
}

TROUPE_TEST_WITH(llm_call_fixture, "a step adds a tenth to a provider's retry budget once, a retry takes one") {
  make();
  CHECK(links[0]->retries->take_retry());
  begin();
  CHECK(links[0]->retries->tokens() > 9.05 && links[0]->retries->tokens() < 9.15);
  retry(fail(status(500)));
  CHECK(links[0]->retries->tokens() > 8.05 && links[0]->retries->tokens() < 8.15);
}

TROUPE_TEST("a retry budget holds ten, however many calls fill it, and a call fills a tenth") {
  retry_budget budget;
  const auto retries = [&] {
    int taken = 0;
    while (budget.take_retry())
      ++taken;
    return taken;
  };
  for (int i = 0; i < 50; ++i)
    budget.add_call();
  CHECK_EQ(retries(), 10);
  for (int i = 0; i < 9; ++i)
    budget.add_call();
  CHECK_EQ(retries(), 0);
  budget.add_call();
  CHECK_EQ(retries(), 1);
}

TROUPE_TEST_WITH(llm_call_fixture, "an open circuit is failed over without a call") {
  make();
  open(0);
  const auto step = call->start(now);
  CHECK_EQ(get<reserve_for>(step).link, 1);
  CHECK_EQ(the<llm_failed_over>(step).reason, "llm_circuit_open");
}

TROUPE_TEST_WITH(llm_call_fixture, "all circuits open is a clear error with the time of the next probe, never a bypass") {
  make();
  open(0);
  now += 5s;
  open(1);
  const auto last = get<gave_up>(call->start(now));
  CHECK(last.reason == llm_reason::llm_circuit_open);
  CHECK(last.status == task_status::error);
  CHECK(!last.fatal);
  REQUIRE(last.next_probe.has_value());
  CHECK(*last.next_probe == now + 10s);
  CHECK_EQ(last.attempts.size(), 2);
  CHECK(last.message.find("the next probe is possible in 10.0 s") != std::string::npos);
}

TROUPE_TEST_WITH(llm_call_fixture,
                 "a circuit that opens while the reservation waits in line is not bypassed, and the reservation goes back") {
  make();
  CHECK(is<reserve_for>(call->start(now)));
  open(0);
  const auto step = call->granted(now);
  CHECK(step.settle == spend{});
  CHECK_EQ(get<reserve_for>(step).link, 1);
  CHECK_EQ(call->requests(), 0);
}

TROUPE_TEST_WITH(llm_call_fixture, "the fifth failure in a row opens the circuit, says so, and ends the retries") {
  make();
  for (int i = 0; i < 4; ++i)
    (void) links[0]->breaker.acquire(now).permit.failed(now);
  begin();
  const auto step = fail(status(500));
  REQUIRE(has<breaker_changed>(step));
  CHECK_EQ(the<breaker_changed>(step).state, "open");
  CHECK_EQ(get<reserve_for>(step).link, 1);
}

TROUPE_TEST_WITH(llm_call_fixture, "429 and fatal answers do not open the circuit") {
  for (const auto& failure : {status(429), status(401), status(404), status(400)}) {
    make();
    for (int i = 0; i < 4; ++i)
      (void) links[0]->breaker.acquire(now).permit.failed(now);
    begin();
    CHECK(!has<breaker_changed>(fail(failure)));
    CHECK(links[0]->breaker.state(now) == breaker_state::closed);
  }
}

TROUPE_TEST_WITH(llm_call_fixture, "the probe of a half-open circuit closes it; one that a 429 answers leaves it to the next") {
  make();
  open(0);
  now += 15s;
  CHECK_EQ(the<breaker_changed>(begin()).state, "half_open");
  CHECK_EQ(the<breaker_changed>(respond(answer("hi"))).state, "closed");
  make();
  open(0);
  now += 15s;
  begin();
  (void) fail(status(429));
  CHECK(links[0]->breaker.state(now) == breaker_state::half_open);
  CHECK(links[0]->breaker.admits(now));
}

TROUPE_TEST_WITH(llm_call_fixture, "a call that is dropped amid its probe gives the probe back") {
  make();
  open(0);
  now += 15s;
  begin();
  CHECK(!links[0]->breaker.admits(now));
  call.reset();
  CHECK(links[0]->breaker.admits(now));
}

TROUPE_TEST_WITH(llm_call_fixture, "the timeout of a request is the least of what agent, task, run and provider leave") {
  struct row {
    const char* says;
    deadlines until;
    std::chrono::milliseconds provider, want;
  };
  for (const auto& row : std::vector<row>{
           {"the provider's", {now + 90s, now + 90s, now + 90s}, 60s, 60s},
           {"the agent's", {now + 10s, now + 90s, now + 90s}, 60s, 10s},
           {"the task's", {now + 90s, now + 20s, now + 90s}, 60s, 20s},
           {"the run's", {now + 90s, now + 90s, now + 30s}, 60s, 30s},
           {"no deadline", {}, 60s, 60s},
       }) {
    IN_ROW(row.says);
    CHECK(request_timeout(row.until, row.provider, now) == row.want);
  }
  CHECK(!request_timeout({{}, now, {}}, 60s, now).has_value());
  CHECK(!request_timeout({{}, {}, now - 1h}, 60s, now).has_value());
  facts.until.run = now + 20s;
  make();
  CHECK(is<reserve_for>(call->start(now)));
  now += 15s; // waiting in line uses the time up
  CHECK_EQ(get<send_to>(call->granted(now)).timeout.count(), 5'000);
}

TROUPE_TEST_WITH(llm_call_fixture, "time that is over ends the step as timeout, wherever it is") {
  facts.until.task = now;
  make();
  CHECK(get<gave_up>(call->start(now)).status == task_status::timeout);

  facts.until.task = now + 10s;
  make();
  CHECK(get<reserve_for>(call->start(now)).until == now + 10s);
  CHECK(is<wait_until>(call->tick(now + 9s))); // an early timer waits on
  const auto in_line = call->tick(now + 10s);
  CHECK(get<gave_up>(in_line).status == task_status::timeout);
  CHECK(!in_line.settle.has_value()); // nothing was granted

  make();
  CHECK(is<reserve_for>(call->start(now)));
  const auto granted = call->granted(now + 10s);
  CHECK(granted.settle == spend{});
  CHECK(get<gave_up>(granted).status == task_status::timeout);

  make();
  begin();
  now += 10s;
  const auto in_flight = fail(broken(llm_failure_kind::timeout));
  CHECK(get<gave_up>(in_flight).status == task_status::timeout);
  CHECK(get<gave_up>(in_flight).reason == llm_reason::timeout);
  CHECK_EQ(the<llm_failed>(in_flight).next, "give_up");
}

// Three timers stand at that instant: the orchestrator's or the agent's, which cancels, and the transfer's own.
TROUPE_TEST_WITH(llm_call_fixture, "a request that is cut off when time is over is told alike, whichever timer came first") {
  struct row {
    const char* says;
    milliseconds passed;
    bool cancelled;
    llm_failure_kind kind;
    const char* reason;
    const char* message;
  };
  for (const auto& row : {
           row{"cancelled at the end of its time", 10'000ms, true, llm_failure_kind::cancelled, "timeout", "the run's time is over"},
           row{"cut off by the transfer's timer", 9'999ms, false, llm_failure_kind::timeout, "timeout", "the run's time is over"},
           row{"both", 10'001ms, true, llm_failure_kind::timeout, "timeout", "the run's time is over"},
           row{"cancelled before", 5'000ms, true, llm_failure_kind::cancelled, "cancelled", "cancelled"},
           row{"the provider's own timeout", 5'000ms, false, llm_failure_kind::timeout, "llm_timeout", "no answer"},
           row{"another failure at the end", 9'995ms, false, llm_failure_kind::connection, "llm_connection", "the connection"},
       }) {
    IN_ROW(row.says);
    facts.until.run = now + 10s;
    make();
    begin();
    now += row.passed;
    if (row.cancelled)
      (void) call->cancel(now);
    const auto step = fail(broken(row.kind));
    CHECK_EQ(the<llm_failed>(step).reason, row.reason);
    CHECK_EQ(the<llm_failed>(step).message.substr(0, std::string(row.message).size()), row.message);
    CHECK_EQ(the<llm_failed>(step).charged, usd{11'000}); // nobody knows what it cost
  }
}

TROUPE_TEST_WITH(llm_call_fixture, "a run that is short of time does not open the circuit for others") {
  for (int i = 0; i < 30; ++i) {
    facts.until.run = now + 1s;
    make(i == 0);
    begin();
    now += 990ms;
    (void) fail(broken(llm_failure_kind::timeout));
  }
  CHECK(links[0]->breaker.state(now) == breaker_state::closed);
}

TROUPE_TEST_WITH(llm_call_fixture, "a refused budget lowers max_tokens while a useful answer fits, else ends the step") {
  make();
  CHECK(is<reserve_for>(call->start(now)));
  const auto lower = call->refused({"run", limit_kind::money, usd{1'000 + 4'000}, "too dear"}, now);
  CHECK_EQ(get<reserve_for>(lower).max_tokens, 400);
  CHECK_EQ(get<reserve_for>(lower).worst_case.money.micro, 5'000);
  const auto sent = call->granted(now);
  CHECK_EQ(get<send_to>(sent).max_tokens, 400);
  REQUIRE(has<max_tokens_lowered>(sent));
  CHECK_EQ(the<max_tokens_lowered>(sent).from, 1'000);
  CHECK_EQ(the<max_tokens_lowered>(sent).to, 400);
  // Usage is checked against what was asked for.
  CHECK(has<usage_rejected>(respond(answer("x", token_usage{1, 0, 0, 401}))));

  make();
  CHECK(is<reserve_for>(call->start(now)));
  const auto end = call->refused({"run", limit_kind::money, usd{1'000 + 2'559}, "the budget of $5.00 has $0.00 left"}, now);
  CHECK(get<gave_up>(end).status == task_status::budget_exceeded);
  CHECK(get<gave_up>(end).message.find("the budget of $5.00") != std::string::npos);

  make();
  CHECK(is<reserve_for>(call->start(now)));
  CHECK(get<gave_up>(call->refused({"run", limit_kind::steps, usd::max(), "no steps"}, now)).status == task_status::budget_exceeded);
  make();
  CHECK(is<reserve_for>(call->start(now)));
  CHECK(is<gave_up>(call->refused({"run", limit_kind::steps, usd{1'000 + 4'000}, "no steps"}, now))); // fewer tokens are no fewer steps
  make();
  CHECK(is<reserve_for>(call->start(now)));
  CHECK(get<gave_up>(call->refused({"run", limit_kind::time, usd::max(), "no time"}, now)).status == task_status::timeout);
}

TROUPE_TEST_WITH(llm_call_fixture, "when the chain is exhausted every attempt is listed") {
  make();
  begin();
  auto step = fail(status(401, "invalid_api_key", "no such key"));
  CHECK(is<send_to>(call->granted(now)));
  step = fail(status(529, "overloaded_error", "Overloaded"));
  retry(step);
  step = fail(broken(llm_failure_kind::truncated));
  retry(step);
  step = fail(status(503));
  const auto& last = get<gave_up>(step);
  CHECK(last.status == task_status::error);
  CHECK(last.reason == llm_reason::llm_overloaded);
  CHECK(!last.fatal);
  CHECK(!last.next_probe); // circuits that are closed need none
  CHECK(last.message.find("circuits") == std::string::npos);
  REQUIRE(last.attempts.size() == 4);
  CHECK_EQ(last.attempts[0].provider, "openai");
  CHECK_EQ(last.attempts[3].request, 4);
  for (const auto* part : {"openai/gpt-4o request 1 (llm_auth): HTTP 401 invalid_api_key: no such key",
                           "claude/sonnet request 2 (llm_overloaded)", "request 3 (llm_truncated)", "request 4 (llm_overloaded): HTTP 503"})
    CHECK(last.message.find(part) != std::string::npos);
  CHECK_EQ(the<llm_failed>(step).next, "give_up");
  CHECK(!has<llm_failed_over>(step));
}

TROUPE_TEST_WITH(llm_call_fixture, "a chain whose last model refuses fatally ends fatally: the task is not started anew") {
  make();
  begin();
  (void) fail(status(404));
  CHECK(is<send_to>(call->granted(now)));
  CHECK(get<gave_up>(fail(status(401))).fatal);
}

TROUPE_TEST_WITH(llm_call_fixture, "a rate limit seen in advance is waited for before the reservation") {
  make();
  links[0]->pace.observe({0, {}, 4s, {}}, now);
  const auto step = call->start(now);
  CHECK_EQ(get<wait_until>(step).at - now, 4s);
  now += 4s;
  CHECK(is<reserve_for>(call->tick(now)));
}

TROUPE_TEST_WITH(llm_call_fixture, "one further away than the cap or the time left fails over, and the last model is asked all the same") {
  make();
  links[0]->pace.observe({0, {}, 30s, {}}, now); // as far as the cap: waited for
  CHECK(get<wait_until>(call->start(now)).at == now + 30s);
  make();
  links[0]->pace.observe({0, {}, 31s, {}}, now);
  auto step = call->start(now);
  CHECK_EQ(get<reserve_for>(step).link, 1);
  CHECK_EQ(the<llm_failed_over>(step).reason, "llm_rate_limited");
  make();
  links[0]->pace.observe({0, {}, 31s, {}}, now);
  open(1);
  CHECK_EQ(get<reserve_for>(call->start(now)).link, 0);
  facts.until.task = now + 3s;
  make();
  links[0]->pace.observe({0, {}, 4s, {}}, now);
  CHECK_EQ(get<reserve_for>(call->start(now)).link, 1);
  make();
  links[0]->pace.observe({0, {}, 3s, {}}, now); // no time would be left for the request
  CHECK_EQ(get<reserve_for>(call->start(now)).link, 1);
}

TROUPE_TEST_WITH(llm_call_fixture, "pacing holds a request for the cap at most, whatever later headers say") {
  make();
  const auto first = now;
  auto step = call->start(now);
  CHECK(is<reserve_for>(step));
  make();
  links[0]->pace.observe({0, {}, 20s, {}}, now);
  step = call->start(now);
  for (int i = 0; i < 10 && is<wait_until>(step); ++i) {
    now = get<wait_until>(step).at;
    links[0]->pace.observe({0, {}, 20s, {}}, now);
    step = call->tick(now);
  }
  CHECK(is<reserve_for>(step));
  CHECK(now - first == 30s);
}

TROUPE_TEST_WITH(llm_call_fixture, "the headers of an answer pace the next call") {
  make();
  begin();
  auto response = answer("hi");
  response.limits = {0, {}, 5s, {}};
  (void) respond(response);
  make(false);
  CHECK_EQ(get<wait_until>(call->start(now)).at - now, 5s);
}

TROUPE_TEST_WITH(llm_call_fixture, "cancelling ends a waiting step at once and a request in flight with its transfer") {
  make();
  CHECK(get<gave_up>(call->cancel(now)).status == task_status::cancelled);
  make();
  CHECK(is<reserve_for>(call->start(now)));
  CHECK(get<gave_up>(call->cancel(now)).status == task_status::cancelled);
  CHECK(call->granted(now).settle == spend{}); // late: it goes back
  make();
  begin();
  CHECK_EQ(get<abort_transfer>(call->cancel(now)).request, 1);
  CHECK(is<std::monostate>(call->cancel(now)));
  auto step = fail(broken(llm_failure_kind::cancelled));
  CHECK(step.settle == (spend{usd{11'000}, 1})); // nobody knows what it cost
  CHECK(get<gave_up>(step).status == task_status::cancelled);
  make();
  begin();
  (void) call->cancel(now);
  step = respond(answer("it came just now"));
  CHECK(is<succeeded>(step)); // paid for: recorded, never asked again
}

TROUPE_TEST_WITH(llm_call_fixture, "a rehearsed crash goes through to the agent") {
  make();
  begin();
  auto failure = broken(llm_failure_kind::agent_crash);
  failure.message = "rehearsal";
  const auto step = fail(failure);
  CHECK_EQ(get<crash_agent>(step).message, "rehearsal");
  CHECK(call->done());
}

TROUPE_TEST_WITH(llm_call_fixture, "late and doubled messages change nothing") {
  make();
  begin();
  CHECK(is<std::monostate>(call->failed(7, status(500), now, 0.5)));
  const auto step = fail(status(500));
  CHECK(is<std::monostate>(call->failed(1, status(500), now, 0.5)));
  CHECK(is<wait_until>(call->tick(now))); // early
  CHECK(is<std::monostate>(call->start(now)));
  CHECK(is<std::monostate>(call->refused({}, now)));
  retry(step);
  CHECK(is<std::monostate>(call->responded(1, answer("late"), {}, now, 0.5)));
  CHECK(is<std::monostate>(call->tick(now)));
  CHECK(is<succeeded>(respond(answer("hi"))));
  CHECK(is<std::monostate>(call->tick(now)));
  CHECK(call->granted(now).settle == spend{});
  CHECK(is<std::monostate>(call->cancel(now)));
}

TROUPE_TEST_WITH(llm_call_fixture, "call ids of an answer are made unique against what was sent") {
  make();
  begin();
  const conversation sent{std::make_shared<const chat_message>(chat_message{role::assistant, "", {{"c1", "grep", "{}"}}, "", false}),
                          std::make_shared<const chat_message>(chat_message{role::tool, "x", {}, "c1", false})};
  auto response = answer("");
  response.message.tool_calls = {{"c1", "grep", "{}"}, {"", "grep", "{}"}};
  const auto step = call->responded(1, response, sent, now, 0.5);
  const auto recorded = *the<llm_responded>(step).message;
  CHECK(recorded.tool_calls[0].id != "c1");
  CHECK(!recorded.tool_calls[1].id.empty());
}

TROUPE_TEST("links are shared by provider and model, retry budgets by provider") {
  link_states states;
  const chain_link a{"p", "m", {}, 0}, b{"p", "n", {}, 0}, c{"q", "m", {}, 0};
  CHECK(states.of(a, {}) == states.of(a, {}));
  CHECK(states.of(a, {}) != states.of(b, {}));
  CHECK(states.of(a, {})->retries == states.of(b, {})->retries);
  CHECK(states.of(a, {})->retries != states.of(c, {})->retries);
}

TROUPE_TEST_WITH(llm_call_fixture, "a request that leaves takes from what the headers left") {
  make();
  links[0]->pace.observe({1, {}, 5s, {}}, now);
  begin();
  make(false);
  CHECK_EQ(get<wait_until>(call->start(now)).at - now, 5s);
}

TROUPE_TEST_WITH(llm_call_fixture, "of those that wait for a reset one goes; when it is cancelled, the next") {
  make();
  links[0]->pace.observe({0, {}, 4s, {}}, now);
  std::vector<std::unique_ptr<llm_call>> calls;
  for (int i = 0; i < 3; ++i)
    calls.push_back(std::make_unique<llm_call>(model, facts, links));
  for (const auto& each : calls)
    CHECK(is<wait_until>(each->start(now)));
  now += 4s;
  for (const auto& each : calls)
    CHECK(is<reserve_for>(each->tick(now)));
  CHECK(is<send_to>(calls[0]->granted(now)));
  for (const auto index : {1, 2}) {
    const auto step = calls[static_cast<std::size_t>(index)]->granted(now);
    CHECK(step.settle == spend{});
    CHECK(get<wait_until>(step).at == now + pacing::look_again);
  }
  CHECK(is<abort_transfer>(calls[0]->cancel(now)));
  CHECK(is<gave_up>(calls[0]->failed(1, broken(llm_failure_kind::cancelled), now, 0.5)));
  now += pacing::look_again;
  CHECK(is<reserve_for>(calls[1]->tick(now)));
  CHECK(is<send_to>(calls[1]->granted(now)));
  CHECK(is<wait_until>(calls[2]->tick(now)));
}

TROUPE_TEST_WITH(llm_call_fixture, "the headers of a failure pace the retry") {
  make();
  begin();
  auto failure = status(503);
  failure.limits = {0, {}, 5s, {}};
  const auto first = now;
  now = get<wait_until>(fail(failure)).at;
  CHECK(now - first < 5s);
  CHECK(get<wait_until>(call->tick(now)).at == first + 5s);
}

TROUPE_TEST_WITH(llm_call_fixture, "a tool's name that nobody declared is made one that later requests may contain") {
  auto declared = std::make_shared<std::vector<tool_declaration>>();
  declared->push_back({"look up", "declared as it is", {}});
  facts.tools = declared;
  make();
  begin();
  auto response = answer("");
  response.message.tool_calls = {{"c1", "rm -rf /", "{}"}, {"c2", "look up", "{}"}};
  const auto step = respond(response);
  const auto& calls = the<llm_responded>(step).message->tool_calls;
  CHECK_EQ(calls[0].name, "rm_-rf__");
  CHECK_EQ(calls[1].name, "look up");
}

TROUPE_TEST_WITH(llm_call_fixture,
                 "of two calls that were reserved at once, the rate limit lets one leave and gives back what the other held") {
  make();
  links[0]->pace.observe({1, {}, 5s, {}}, now);
  llm_call other(model, facts, links);
  CHECK(is<reserve_for>(call->start(now)));
  CHECK(is<reserve_for>(other.start(now)));
  CHECK(is<send_to>(call->granted(now)));
  const auto held_up = other.granted(now);
  CHECK(held_up.settle == spend{});
  CHECK_EQ(get<wait_until>(held_up).at - now, 5s);
  now += 5s;
  CHECK(is<reserve_for>(other.tick(now)));
  CHECK(is<send_to>(other.granted(now)));
}
