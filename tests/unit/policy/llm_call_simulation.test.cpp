// Thousands of simulated gateways: calls that share providers, with random outcomes, refusals, waits, cancels and late messages.

#include <algorithm>
#include <random>

#include "test.hpp"

#include "llm_call_support.hpp"

TROUPE_SUITE(llm_call_simulation)

using namespace troupe;
using namespace troupe::policy;
using namespace troupe::test;
using namespace std::chrono_literals;

namespace {

/// One call, watched: every decision is checked against what must always hold.
struct watched {
  std::unique_ptr<llm_call> call;
  std::vector<std::shared_ptr<link_state>> links;
  const model_spec* model = nullptr;
  bool reserved = false; ///< a reservation is held
  bool asked = false;    ///< one is asked for
  std::optional<spend> held;
  std::optional<send_to> flying;
  std::optional<time_point> timer;
  std::int64_t sends = 0;
  std::int64_t steps = 0;
  bool done = false;
};

struct simulation {
  explicit simulation(std::uint64_t seed) : dice(seed) {}
  std::mt19937_64 dice;
  time_point now{std::chrono::seconds(1'000)};

  double unit() { return std::uniform_real_distribution<double>(0, 1)(dice); }
  std::int64_t up_to(std::int64_t most) { return std::uniform_int_distribution<std::int64_t>(0, most)(dice); }

  void take(watched& w, const llm_step& step, const std::vector<breaker_state>& before) {
    REQUIRE(!w.done || is<std::monostate>(step));
    if (step.settle && w.reserved) {
      REQUIRE(step.settle->money <= w.held->money);
      REQUIRE(step.settle->steps <= w.held->steps);
      w.reserved = false;
      w.steps += step.settle->steps;
    }
    if (is<reserve_for>(step)) {
      REQUIRE(!w.reserved);
      REQUIRE(!w.flying.has_value());
      w.asked = true;
      w.held = get<reserve_for>(step).worst_case;
      w.timer = get<reserve_for>(step).until;
    } else if (is<send_to>(step)) {
      const auto& sending = get<send_to>(step);
      REQUIRE(w.reserved);
      REQUIRE(!w.flying.has_value());
      REQUIRE(before[sending.link] != breaker_state::open); // never bypassed
      REQUIRE(sending.request == ++w.sends);
      REQUIRE(w.sends <= w.model->retry.attempts * static_cast<std::int64_t>(w.model->chain.size()));
      REQUIRE(sending.timeout > 0ms);
      REQUIRE(has<llm_requested>(step));
      w.flying = sending;
    } else if (is<wait_until>(step)) {
      REQUIRE(get<wait_until>(step).at >= now);
      w.timer = get<wait_until>(step).at;
    } else if (is<succeeded>(step) || is<gave_up>(step) || is<crash_agent>(step)) {
      REQUIRE(!w.reserved); // settled, or never granted
      REQUIRE(w.call->done());
      if (is<gave_up>(step)) {
        const auto& last = get<gave_up>(step);
        REQUIRE(!last.message.empty());
        REQUIRE(std::count_if(last.attempts.begin(), last.attempts.end(), [](const auto& a) { return a.request > 0; }) == w.sends);
      }
      w.asked = false;
      w.done = true;
    }
  }

  llm_outcome outcome() {
    static const int statuses[] = {429, 500, 502, 503, 529, 401, 404, 400, 200, 408};
    switch (up_to(5)) {
    case 0: {
      llm_response response = test::answer(up_to(4) == 0 ? "" : "text");
      if (up_to(1) == 0)
        response.usage = token_usage{up_to(1'100), 0, 0, up_to(1'100)};
      response.limits = {up_to(3), {}, std::chrono::milliseconds(up_to(50'000)), {}};
      return response;
    }
    case 1:
      return broken(static_cast<llm_failure_kind>(up_to(7)), up_to(3) != 0);
    default: {
      auto failure = status(statuses[up_to(9)]);
      if (up_to(3) == 0)
        failure.retry_after = std::chrono::milliseconds(up_to(60'000));
      return failure;
    }
    }
  }

  /// One thing that can happen to this call. False: nothing can, it is done.
  bool advance(watched& w) {
    if (w.done)
      return false;
    std::vector<breaker_state> before;
    for (const auto& link : w.links)
      before.push_back(link->breaker.state(now));
    const auto give = [&](llm_step step) { take(w, step, before); };
    if (up_to(60) == 0) {
      give(w.call->cancel(now));
    } else if (up_to(20) == 0) {
      give(w.call->tick(now)); // a stray timer
    } else if (w.flying) {
      now += std::chrono::milliseconds(up_to(w.flying->timeout.count()));
      before.clear();
      for (const auto& link : w.links)
        before.push_back(link->breaker.state(now));
      const auto request = w.flying->request;
      w.flying.reset();
      auto came = outcome();
      if (auto* response = std::get_if<llm_response>(&came))
        give(w.call->responded(request, std::move(*response), {}, now, unit()));
      else
        give(w.call->failed(request, std::get<llm_failure>(came), now, unit()));
    } else if (w.asked) {
      w.asked = false;
      const auto said = up_to(19);
      if (said == 0) {
        give(w.call->refused({"run", static_cast<limit_kind>(up_to(2)), usd{up_to(w.held->money.micro)}, "no"}, now));
      } else {
        if (said == 1)
          now += std::chrono::seconds(up_to(20));
        before.clear();
        for (const auto& link : w.links)
          before.push_back(link->breaker.state(now));
        w.reserved = true;
        give(w.call->granted(now));
      }
    } else if (w.timer) {
      now = std::max(now, *w.timer);
      before.clear();
      for (const auto& link : w.links)
        before.push_back(link->breaker.state(now));
      give(w.call->tick(now));
    } else {
      REQUIRE(false); // it hangs
    }
    return true;
  }
};

void run(std::uint64_t seed) {
  simulation world(seed);
  auto model = std::make_shared<model_spec>();
  model->name = "m";
  model->retry.attempts = world.up_to(4);
  const auto links = 1 + world.up_to(2);
  for (std::int64_t i = 0; i < links; ++i)
    model->chain.push_back({"p" + std::to_string(i / 2), "m" + std::to_string(i), {true, 1'000'000, 0, 0, 10'000'000, 0, 0, 0}, 0});
  model->retry.attempts = std::max<std::int64_t>(model->retry.attempts, 1);
  link_states states;
  std::vector<watched> calls(static_cast<std::size_t>(1 + world.up_to(5)));
  for (auto& w : calls) {
    llm_call_facts facts{.step_id = "s", .max_tokens = 1'000};
    if (world.up_to(1) == 0)
      facts.until.task = world.now + std::chrono::seconds(world.up_to(120));
    for (std::int64_t i = 0; i < links; ++i)
      facts.links.push_back({1'000, 800, std::chrono::seconds(1 + world.up_to(60))});
    w.model = model.get();
    w.links = states.of(*model);
    w.call = std::make_unique<llm_call>(model, std::move(facts), w.links);
    world.take(w, w.call->start(world.now), {});
  }
  int rounds = 0;
  for (bool any = true; any;) {
    any = false;
    REQUIRE(++rounds < 2'000); // always terminates
    std::shuffle(calls.begin(), calls.end(), world.dice);
    for (auto& w : calls)
      any = world.advance(w) || any;
  }
  for (const auto& w : calls)
    REQUIRE(w.steps <= w.sends);
  calls.clear();
  world.now += 1h;
  for (const auto& link : states.of(*model))
    REQUIRE(link->breaker.admits(world.now)); // no probe was lost
}

} // namespace

TROUPE_TEST("whatever happens: bounded sends, each with its reservation, no breaker bypassed, an end for every call") {
  for (std::uint64_t seed = 1; seed <= 4'000; ++seed) {
    try {
      run(seed);
    } catch (const std::exception& why) {
      CAF_MESSAGE("seed " << seed << ": " << why.what());
      REQUIRE(false);
    }
  }
}
