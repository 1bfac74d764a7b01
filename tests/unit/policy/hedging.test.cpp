#include "troupe/policy/hedging.hpp"

#include "test.hpp"

#include "llm_call_support.hpp"

TROUPE_SUITE(hedging)

using namespace troupe;
using namespace troupe::policy;
using namespace troupe::test;
using namespace std::chrono_literals;

namespace {

/// A call whose model is hedged after 2 s; the first request is in flight.
struct hedged_fixture : llm_call_fixture {
  hedged_fixture() { model->hedge = {hedge_after::time, 2s}; }

  /// The second request is in flight.
  std::unique_ptr<llm_call> second() {
    begin();
    now += 2s;
    auto made = call->hedge(now);
    REQUIRE(made != nullptr);
    REQUIRE(is<reserve_for>(made->start(now)));
    second_sent = made->granted(now);
    REQUIRE(is<send_to>(second_sent));
    return made;
  }
  llm_step second_sent;
};

} // namespace

TROUPE_TEST("the 95th percentile is of the latest hundred answers, and of twenty at least") {
  latencies seen;
  for (int i = 1; i <= 19; ++i)
    seen.add(milliseconds(i));
  CHECK(!seen.p95());
  seen.add(20ms);
  CHECK_EQ(seen.p95()->count(), 19); // the least that 19 of 20 do not exceed
  for (int i = 21; i <= 100; ++i)
    seen.add(milliseconds(i));
  CHECK_EQ(seen.p95()->count(), 95);
  for (int i = 0; i < 100; ++i)
    seen.add(milliseconds(1'000 - i)); // in no order
  CHECK_EQ(seen.p95()->count(), 995);
}

TROUPE_TEST("a second request goes out never, after a time, or after the percentile that is known") {
  latencies fresh, used;
  for (int i = 0; i < 20; ++i)
    used.add(70ms);
  struct row {
    const char* says;
    hedge_spec spec;
    const latencies& seen;
    std::optional<milliseconds> delay;
  };
  for (const auto& row : std::vector<row>{
           {"never", {}, used, std::nullopt},
           {"a time", {hedge_after::time, 30ms}, used, 30ms},
           {"a time, nothing known", {hedge_after::time, 30ms}, fresh, 30ms},
           {"p95", {hedge_after::p95, 0ms}, used, 70ms},
           {"p95, nothing known", {hedge_after::p95, 0ms}, fresh, std::nullopt},
       }) {
    IN_ROW(row.says);
    CHECK(hedge_delay(row.spec, row.seen) == row.delay);
  }
}

TROUPE_TEST_WITH(hedged_fixture, "the second request goes to the next model, at its price, once its time has come, and once") {
  make();
  CHECK(!call->hedge_at());
  begin();
  CHECK(call->hedge_at() == now + 2s);
  now += 1'999ms;
  CHECK(call->hedge(now) == nullptr);
  now += 1ms;
  const auto made = call->hedge(now);
  REQUIRE(made != nullptr);
  CHECK(call->hedge(now) == nullptr);
  CHECK(!call->hedge_at());
  const auto asked = made->start(now);
  CHECK_EQ(get<reserve_for>(asked).link, 1u);
  CHECK_EQ(get<reserve_for>(asked).worst_case.money.micro, 2'000 + 20'000);
  CHECK(!get<reserve_for>(asked).waits);
  const auto sent = made->granted(now);
  CHECK_EQ(get<send_to>(sent).request, 2);
  CHECK_EQ(the<llm_requested>(sent).request, 2);
  CHECK_EQ(the<llm_hedged>(sent).from, "openai/gpt-4o");
  CHECK_EQ(the<llm_hedged>(sent).to, "claude/sonnet");
  CHECK_EQ(the<llm_hedged>(sent).after_ms, 2'000);
  CHECK(!made->hedge_at()); // a second request has no third
  CHECK_EQ(call->requests(), 2);
}

TROUPE_TEST_WITH(hedged_fixture, "where no later model may be asked the same one is asked again, and where none may nobody is") {
  make();
  open(1);
  begin();
  now += 2s;
  auto made = call->hedge(now);
  REQUIRE(made != nullptr);
  CHECK_EQ(get<reserve_for>(made->start(now)).link, 0u);
  make();
  begin();
  open(0);
  open(1);
  now += 2s;
  CHECK(call->hedge(now) == nullptr);
}

TROUPE_TEST_WITH(hedged_fixture, "a model without room for the request, or whose rate limit is used up, is not asked a second time") {
  model->chain[1].context = 2'000;
  facts.input_tokens = 1'500;
  make();
  begin();
  now += 2s;
  auto made = call->hedge(now);
  REQUIRE(made != nullptr);
  CHECK_EQ(get<reserve_for>(made->start(now)).link, 0u);
  model->chain[1].context = 0;
  make();
  rate_limits used_up;
  used_up.remaining_requests = 0;
  used_up.reset_requests = 60s;
  links[1]->pace.observe(used_up, now);
  begin();
  now += 2s;
  made = call->hedge(now);
  REQUIRE(made != nullptr);
  CHECK_EQ(get<reserve_for>(made->start(now)).link, 0u);
}

TROUPE_TEST_WITH(hedged_fixture, "second requests are retries to the provider's retry budget") {
  make();
  while (links[1]->retries->take_retry()) {
  }
  begin();
  now += 2s;
  CHECK(call->hedge(now) == nullptr);
}

TROUPE_TEST_WITH(hedged_fixture, "a second request neither waits nor retries nor fails over") {
  make();
  auto made = second();
  const auto failed = made->failed(2, status(500), now, 0.5);
  CHECK(is<gave_up>(failed));
  CHECK_EQ(the<llm_failed>(failed).next, "give_up");
  CHECK(failed.settle == (spend{usd{0}, 1}));
  CHECK(!call->done());
  // A circuit that opens while it is being paid for: it goes to nobody else.
  model->chain.push_back({"spare", "model", {true, 1'000'000, 0, 0, 10'000'000, 0, 0, 0}, 0});
  facts.links.push_back(facts.links.front());
  make();
  begin();
  now += 2s;
  made = call->hedge(now);
  REQUIRE(is<reserve_for>(made->start(now)));
  open(1);
  const auto late = made->granted(now);
  CHECK(is<gave_up>(late));
  CHECK(late.settle == spend{});
  // Refused money is nobody's trouble: the first request has its own.
  make();
  begin();
  now += 2s;
  made = call->hedge(now);
  REQUIRE(is<reserve_for>(made->start(now)));
  const auto refused = made->refused({"run", limit_kind::money, usd{0}, "nothing is left"}, now);
  CHECK(get<gave_up>(refused).status == task_status::cancelled);
  CHECK(refused.events.empty());
}

TROUPE_TEST_WITH(hedged_fixture, "who is overtaken is ended, and charged with what nobody knows") {
  make();
  auto made = second();
  now += 1s;
  const auto won = made->responded(2, answer("hello", token_usage{500, 0, 0, 20}), {}, now, 0.5);
  CHECK_EQ(get<succeeded>(won).link, 1u);
  CHECK_EQ(get<abort_transfer>(call->overtaken(now)).request, 1);
  const auto lost = call->failed(1, broken(llm_failure_kind::cancelled), now, 0.5);
  CHECK_EQ(the<llm_failed>(lost).reason, "overtaken");
  CHECK(lost.settle == (spend{usd{11'000}, 1}));
  CHECK(is<gave_up>(lost));
}

TROUPE_TEST_WITH(hedged_fixture, "who is overtaken as its time ends was overtaken") {
  facts.until.run = now + 3s;
  make();
  auto made = second();
  now += 1s;
  REQUIRE(is<abort_transfer>(call->overtaken(now)));
  const auto lost = call->failed(1, broken(llm_failure_kind::cancelled), now, 0.5);
  CHECK_EQ(the<llm_failed>(lost).reason, "overtaken");
  CHECK_EQ(the<llm_failed>(lost).message, "cancelled");
}

TROUPE_TEST_WITH(hedged_fixture, "an answer of the one that was overtaken is paid for, and recorded") {
  make();
  auto made = second();
  REQUIRE(is<succeeded>(call->responded(1, answer("first"), {}, now, 0.5)));
  CHECK_EQ(get<abort_transfer>(made->overtaken(now)).request, 2);
  const auto late = made->responded(2, answer("second", token_usage{500, 0, 0, 20}), {}, now, 0.5);
  CHECK(late.settle == (spend{usd{1'400}, 1}));
  CHECK_EQ(the<llm_responded>(late).request, 2);
}

TROUPE_TEST_WITH(hedged_fixture, "an empty answer to a second request, or to an overtaken one, costs what it states") {
  auto empty = broken(llm_failure_kind::empty);
  empty.usage = token_usage{500, 0, 0, 0};
  make();
  auto made = second();
  CHECK(made->failed(2, empty, now, 0.5).settle == (spend{usd{1'000}, 1}));
  make();
  made = second();
  REQUIRE(is<succeeded>(made->responded(2, answer("second"), {}, now, 0.5)));
  REQUIRE(is<abort_transfer>(call->overtaken(now)));
  CHECK(call->failed(1, empty, now, 0.5).settle == (spend{usd{500}, 1}));
}

TROUPE_TEST_WITH(hedged_fixture, "the time of an overtaken request counts, so that hedges do not breed hedges") {
  model->hedge = {hedge_after::p95, 0ms};
  make();
  for (int i = 0; i < 19; ++i)
    links[0]->answered.add(100ms);
  begin();
  CHECK(!call->hedge_at()); // 19 answers are too few
  now += 5s;
  REQUIRE(is<abort_transfer>(call->overtaken(now)));
  for (int i = 0; i < 10; ++i)
    links[0]->answered.add(5s);
  CHECK_EQ(links[0]->answered.p95()->count(), 5'000);
}
