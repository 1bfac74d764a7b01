#include "troupe/policy/tool_call.hpp"

#include <random>

#include "test.hpp"

#include "troupe/model/described.hpp"

TROUPE_SUITE(tool_call)

using namespace troupe;
using namespace troupe::policy;
using namespace std::chrono_literals;

namespace {

tool_spec spec(std::string name, effect what = effect::none, std::string alternative = {}) {
  tool_spec made;
  made.name = std::move(name);
  made.effect = what;
  made.alternative = std::move(alternative);
  return made;
}

tool_outcome outcome(tool_status status, std::string error = "exit status 2", std::string output = {}) {
  return {status, std::move(output), std::move(error), 0, false};
}

struct fixture : caf_test_case_auto_fixture {
  time_point now{1'000s};
  std::map<std::string, tool_spec> tools;
  tool_breakers breakers;
  std::shared_ptr<tool_quota> quota = std::make_shared<tool_quota>();
  tool_call_facts facts{"c1", "grep", {"grep", "read_file", "ripgrep"}, std::nullopt, {}};
  std::unique_ptr<tool_attempts> call;
  tool_step last;

  void add(tool_spec tool) { tools[tool.name] = std::move(tool); }
  const tool_step& start() {
    call = std::make_unique<tool_attempts>(tools, facts, breakers, quota);
    return last = call->start(now);
  }
  const tool_step& finish(tool_status status, std::string error = "exit status 2") {
    return last = call->finished(outcome(status, std::move(error)), now, 0.5);
  }
  /// Waits as the last step says and runs again.
  const tool_step& retry() {
    now = std::get<wait_tool>(last.next).at;
    return last = call->tick(now);
  }
  bool waits() const { return std::holds_alternative<wait_tool>(last.next); }
  const run_tool* runs() const { return std::get_if<run_tool>(&last.next); }
  bool runs(const std::string& tool) const { return runs() != nullptr && runs()->tool->name == tool; }
  const report_tool* reports() const { return std::get_if<report_tool>(&last.next); }
  std::string next() const {
    for (const auto& body : last.events)
      if (const auto* failed = std::get_if<tool_failed>(&body))
        return failed->next;
    return {};
  }
  void open(const std::string& tool) {
    for (int i = 0; i < 5; ++i)
      (void) breakers.of(tool)->acquire(now).permit.failed(now);
  }
};

bool has(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

} // namespace

TROUPE_TEST_WITH(fixture, "a call that works is reported with its output") {
  add(spec("grep"));
  start();
  REQUIRE(runs("grep"));
  CHECK_EQ(runs()->attempt, 1);
  CHECK_EQ(runs()->timeout.count(), 30'000);
  CHECK(runs()->instead_of.empty());
  last = call->finished(outcome(tool_status::ok, "", "3 lines"), now, 0.5);
  REQUIRE(reports() != nullptr);
  CHECK_EQ(reports()->text, "3 lines");
  CHECK_EQ(reports()->tool, "grep");
  CHECK(reports()->status == tool_status::ok);
  CHECK(call->done());
}

TROUPE_TEST_WITH(fixture, "by effect and outcome: what is retried, what is not") {
  struct row {
    const char* says;
    effect what;
    tool_status status;
    bool again;
  };
  for (const auto& row : std::vector<row>{
           {"a failure of what does nothing is retried", effect::none, tool_status::failed, true},
           {"a timeout of what does nothing too", effect::none, tool_status::timed_out, true},
           {"an unknown outcome of what does nothing too", effect::none, tool_status::in_doubt, true},
           {"a failure of what is idempotent too", effect::idempotent, tool_status::failed, true},
           {"an unknown outcome of what is idempotent too, with the same key", effect::idempotent, tool_status::in_doubt, true},
           {"a failure of `once` is never retried", effect::once, tool_status::failed, false},
           {"nor is its timeout", effect::once, tool_status::timed_out, false},
           {"nor is its unknown outcome", effect::once, tool_status::in_doubt, false},
           {"`once` that never started is: nothing ran", effect::once, tool_status::not_started, true},
           {"what was cancelled is never retried", effect::none, tool_status::cancelled, false},
       }) {
    IN_ROW(row.says);
    add(spec("grep", row.what));
    breakers = {};
    start();
    finish(row.status);
    CHECK_EQ(waits(), row.again);
    CHECK_EQ(reports() != nullptr, !row.again);
    CHECK_EQ(next(), row.again ? "retry" : row.status == tool_status::in_doubt ? "" : "report");
    if (reports())
      CHECK_EQ(reports()->in_doubt, row.status == tool_status::in_doubt);
  }
}

TROUPE_TEST_WITH(fixture,
                 "what was sent to a server in time and not answered is in doubt for `once`: a late program is killed, a server goes on") {
  for (const auto kind : {tool_kind::http, tool_kind::mcp, tool_kind::process, tool_kind::builtin})
    for (const auto what : {effect::once, effect::idempotent}) {
      IN_ROW(std::string(name_of(kind)) + " " + name_of(what));
      auto tool = spec("grep", what);
      tool.kind = kind;
      tool.retries = 0;
      tool.alternative = "ripgrep";
      add(std::move(tool));
      add(spec("ripgrep", effect::none));
      breakers = {};
      start();
      finish(tool_status::timed_out, "no answer in 30 s");
      const bool doubt = what == effect::once && (kind == tool_kind::http || kind == tool_kind::mcp);
      CHECK_EQ(reports() != nullptr && reports()->in_doubt, doubt);
      CHECK_EQ(runs("ripgrep"), !doubt);
    }
}

TROUPE_TEST_WITH(fixture, "an unknown outcome that stays one is told by its effect, and only of `once` it is a doubt of the run") {
  struct row {
    const char* says;
    effect what;
    tool_status told;
  };
  for (const auto& row : std::vector<row>{
           {"what does nothing has failed", effect::none, tool_status::failed},
           {"what is idempotent may have been done", effect::idempotent, tool_status::in_doubt},
           {"so may what is done once", effect::once, tool_status::in_doubt},
       }) {
    IN_ROW(row.says);
    auto tool = spec("grep", row.what);
    tool.retries = 0;
    add(std::move(tool));
    breakers = {};
    start();
    finish(tool_status::in_doubt);
    REQUIRE(reports() != nullptr);
    CHECK(reports()->status == row.told);
    CHECK_EQ(reports()->in_doubt, row.what == effect::once);
  }
}

TROUPE_TEST_WITH(fixture, "a failed call has the status of its worst attempt, and says when an earlier one may have taken effect") {
  using enum tool_status;
  struct row {
    const char* says;
    effect what;
    std::vector<tool_status> attempts;
    tool_status told;
    bool may_have;
  };
  for (const auto& row : std::vector<row>{
           {"it was read and broken off, then nobody was there", effect::idempotent, {failed, not_started, not_started}, failed, true},
           {"it was not answered, then nobody was there", effect::idempotent, {timed_out, not_started, not_started}, timed_out, true},
           {"it was lost, then refused", effect::idempotent, {in_doubt, failed, failed}, in_doubt, true},
           {"the last one is the worst", effect::idempotent, {not_started, failed, timed_out}, timed_out, false},
           {"nobody was ever there", effect::idempotent, {not_started, not_started, not_started}, not_started, false},
           {"what does nothing was read all the same", effect::none, {timed_out, not_started, not_started}, timed_out, false},
           {"what does nothing has failed as it failed last", effect::none, {timed_out, failed, failed}, failed, false},
           {"what does nothing is never in doubt", effect::none, {in_doubt, not_started, not_started}, failed, false},
           {"`once` is tried again only if it never started", effect::once, {not_started, not_started, failed}, failed, false},
       }) {
    IN_ROW(row.says);
    add(spec("grep", row.what));
    breakers = {};
    start();
    for (const auto status : row.attempts) {
      finish(status);
      if (waits())
        retry();
    }
    REQUIRE(reports() != nullptr);
    CHECK_EQ(name_of(reports()->status), name_of(row.told));
    CHECK_EQ(has(reports()->text, "an earlier attempt may have taken effect"), row.may_have);
  }
}

TROUPE_TEST_WITH(fixture, "an alternative that never started does not hide what the tool before it may have done") {
  auto tool = spec("grep", effect::idempotent, "ripgrep");
  tool.retries = 0;
  add(std::move(tool));
  tool = spec("ripgrep");
  tool.retries = 0;
  add(std::move(tool));
  start();
  finish(tool_status::timed_out, "no answer in 30 s");
  REQUIRE(runs("ripgrep"));
  finish(tool_status::not_started, "no such program");
  REQUIRE(reports() != nullptr);
  CHECK(reports()->status == tool_status::timed_out);
}

TROUPE_TEST_WITH(fixture, "a tool that says when to come again, or that it is useless, is believed") {
  struct row {
    const char* says;
    std::int64_t retry_after_ms;
    bool permanent;
    std::int64_t wait_ms; ///< -1: not run again
  };
  for (const auto& row : std::vector<row>{
           {"nothing is said: full jitter", -1, false, 500},
           {"Retry-After is a lower bound", 7'000, false, 7'000},
           {"a shorter one changes nothing", 100, false, 500},
           {"beyond the cap nobody waits", 31'000, false, -1},
           {"what would fail again is not run again", -1, true, -1},
           {"whatever it says of later", 1'000, true, -1},
       }) {
    IN_ROW(row.says);
    add(spec("grep"));
    breakers = {};
    start();
    auto failed = outcome(tool_status::failed);
    failed.retry_after_ms = row.retry_after_ms;
    failed.permanent = row.permanent;
    last = call->finished(failed, now, 0.5);
    CHECK_EQ(waits() ? std::chrono::duration_cast<std::chrono::milliseconds>(std::get<wait_tool>(last.next).at - now).count() : -1,
             row.wait_ms);
  }
}

TROUPE_TEST_WITH(fixture, "no retry is waited for beyond an end that humans may still move, and the tool has its whole time") {
  add(spec("grep", effect::none, "ripgrep"));
  add(spec("ripgrep"));
  auto end = now + 400ms;
  facts.stands = [&](time_point) { return end; };
  start();
  CHECK_EQ(runs()->timeout, tools["grep"].timeout);
  finish(tool_status::failed);
  CHECK_EQ(next(), "alternative");
  CHECK(runs("ripgrep"));
  // While somebody waits for a human it moves.
  start();
  now += 2s;
  end = now + 1s;
  finish(tool_status::failed);
  CHECK_EQ(next(), "retry");
}

TROUPE_TEST_WITH(fixture, "two retries with back-off, then the alternative with its own, then a text to replan from") {
  add(spec("grep", effect::none, "ripgrep"));
  add(spec("ripgrep", effect::none, "grep")); // a circle
  start();
  finish(tool_status::failed);
  CHECK(std::get<wait_tool>(last.next).at == now + 500ms);
  retry();
  CHECK(runs("grep") && runs()->attempt == 2);
  finish(tool_status::failed);
  CHECK(std::get<wait_tool>(last.next).at == now + 1s);
  retry();
  CHECK(runs("grep") && runs()->attempt == 3);
  finish(tool_status::timed_out, "no answer in 30 s");
  CHECK_EQ(next(), "alternative");
  REQUIRE(runs("ripgrep"));
  CHECK_EQ(runs()->attempt, 1);
  CHECK_EQ(runs()->instead_of, "grep");
  for (int i = 0; i < 2; ++i) {
    finish(tool_status::failed, "no such file");
    CHECK_EQ(next(), "retry");
    retry();
    CHECK(runs("ripgrep"));
  }
  finish(tool_status::failed, "no such file");
  CHECK_EQ(next(), "report");
  REQUIRE(reports() != nullptr);
  CHECK_EQ(reports()->tool, "ripgrep");
  CHECK(reports()->status == tool_status::failed);
  CHECK_EQ(reports()->text, "The tool \"grep\" gave no result. What was tried:\n"
                            "- \"grep\", run 3 times: no answer in 30 s\n"
                            "- \"ripgrep\" in its place, run 3 times: no such file\n"
                            "Other tools that you have: \"read_file\". Change the arguments, use another tool, or go on without it.");
}

TROUPE_TEST_WITH(fixture, "whatever a call comes to stands in its chain, in this order") {
  add(spec("grep", effect::none, "ripgrep"));
  add(spec("ripgrep", effect::none, "read_file"));
  add(spec("read_file", effect::none, "grep"));
  add(spec("other", effect::none, "grep"));
  std::vector<std::string> ran;
  start();
  while (reports() == nullptr) {
    if (runs()->attempt == 1)
      ran.push_back(runs()->tool->name);
    finish(tool_status::failed);
    if (waits())
      retry();
  }
  std::vector<std::string> chain;
  for (const auto* each : chain_of(tools, "grep"))
    chain.push_back(each->name);
  CHECK_EQ(ran, chain);
  CHECK_EQ(chain, (std::vector<std::string>{"grep", "ripgrep", "read_file"}));
  CHECK(chain_of(tools, "nobody").empty());
}

TROUPE_TEST_WITH(fixture, "an alternative that does not take the arguments is passed over") {
  add(spec("grep", effect::once, "ripgrep"));
  add(spec("ripgrep", effect::none, "read_file"));
  add(spec("read_file"));
  start();
  finish(tool_status::failed);
  REQUIRE(runs("ripgrep"));
  last = call->refused("/path: is missing", now);
  REQUIRE(runs("read_file"));
  CHECK_EQ(runs()->instead_of, "grep");
  last = call->finished(outcome(tool_status::ok, "", "text"), now, 0.5);
  CHECK_EQ(reports()->tool, "read_file");
  CHECK(breakers.of("ripgrep")->admits(now));
}

TROUPE_TEST_WITH(fixture, "an open circuit goes to the alternative at once, and without one is told") {
  add(spec("grep", effect::none, "ripgrep"));
  add(spec("ripgrep"));
  open("grep");
  start();
  CHECK(runs("ripgrep"));
  open("ripgrep");
  start();
  REQUIRE(reports() != nullptr);
  CHECK(reports()->status == tool_status::not_started);
  CHECK(reports()->tool.empty());
  CHECK(has(reports()->text, "not called for 15 s"));
}

TROUPE_TEST_WITH(fixture, "a tool that gives no answer five times in a row opens its circuit, one that says no does not") {
  add(spec("grep", effect::once));
  for (int i = 0; i < 30; ++i) {
    start();
    finish(tool_status::failed);
  }
  CHECK(breakers.of("grep")->state(now) == breaker_state::closed);
  for (int i = 0; i < 5; ++i) {
    start();
    finish(tool_status::timed_out);
  }
  CHECK(breakers.of("grep")->state(now) == breaker_state::open);
  bool told = false;
  for (const auto& body : last.events)
    if (const auto* changed = std::get_if<breaker_changed>(&body))
      told = changed->provider.empty() && changed->model == "grep" && changed->state == "open";
  CHECK(told);
}

TROUPE_TEST_WITH(fixture, "a circuit that opens between the attempts ends the retries") {
  add(spec("grep", effect::none, "ripgrep"));
  add(spec("ripgrep"));
  start();
  finish(tool_status::failed);
  open("grep");
  retry();
  CHECK(runs("ripgrep"));
  breakers = {};
  start();
  for (int i = 0; i < 4; ++i)
    (void) breakers.of("grep")->acquire(now).permit.failed(now);
  finish(tool_status::timed_out); // the fifth: nobody waits for what is not called
  CHECK_EQ(next(), "alternative");
  CHECK(runs("ripgrep"));
}

TROUPE_TEST_WITH(fixture, "what failed is recorded before what takes its place") {
  add(spec("grep", effect::once, "ripgrep"));
  add(spec("ripgrep"));
  open("ripgrep");
  now += 15s;
  start();
  finish(tool_status::failed);
  REQUIRE(runs("ripgrep"));
  REQUIRE(last.events.size() == 2);
  CHECK(std::holds_alternative<tool_failed>(last.events[0]));
  CHECK(std::holds_alternative<breaker_changed>(last.events[1])); // its probe
}

TROUPE_TEST_WITH(fixture, "what could not be started has not run") {
  auto tool = spec("grep", effect::once);
  tool.retries = 0;
  add(std::move(tool));
  start();
  finish(tool_status::not_started, "no such program");
  REQUIRE(reports() != nullptr);
  CHECK(reports()->tool.empty());
  CHECK(reports()->status == tool_status::not_started);
}

TROUPE_TEST_WITH(fixture, "a call that is dropped amid its probe gives the probe back") {
  add(spec("grep"));
  open("grep");
  now += 15s;
  start();
  CHECK(!breakers.of("grep")->admits(now));
  call.reset();
  CHECK(breakers.of("grep")->admits(now));
}

TROUPE_TEST_WITH(fixture, "a task's time left bounds the timeout, and when it is over nothing more is run") {
  add(spec("grep", effect::none, "ripgrep"));
  add(spec("ripgrep"));
  facts.deadline = now + 10s;
  start();
  CHECK_EQ(runs()->timeout.count(), 10'000);
  now += 10s;
  finish(tool_status::timed_out);
  REQUIRE(reports() != nullptr);
  CHECK(reports()->status == tool_status::timed_out);
  CHECK_EQ(next(), "report");
  facts.deadline = now;
  start();
  CHECK(reports() != nullptr);
  // Short of time is the task's fault: no failure of the tool.
  for (int i = 0; i < 30; ++i) {
    facts.deadline = now + 1s;
    start();
    now += 1s;
    finish(tool_status::timed_out);
  }
  CHECK(breakers.of("grep")->state(now) == breaker_state::closed);
}

TROUPE_TEST_WITH(fixture, "max_calls limits calls a task, not retries, and does not lead to the alternative") {
  auto limited = spec("grep", effect::none, "ripgrep");
  limited.max_calls = 2;
  add(limited);
  add(spec("ripgrep"));
  start();
  finish(tool_status::failed);
  retry();
  CHECK(runs("grep"));
  start();
  CHECK(runs("grep"));
  start();
  REQUIRE(reports() != nullptr);
  CHECK_EQ(reports()->text, max_calls_text(limited));
  CHECK(has(reports()->text, "2 times"));
}

TROUPE_TEST_WITH(fixture, "max_calls holds for a tool that stands in for another too") {
  add(spec("grep", effect::once, "ripgrep"));
  auto limited = spec("ripgrep");
  limited.max_calls = 1;
  add(limited);
  start();
  finish(tool_status::failed);
  CHECK(runs("ripgrep"));
  start();
  finish(tool_status::failed);
  CHECK(reports() != nullptr);
}

TROUPE_TEST_WITH(fixture, "cancelling stops what runs, and ends what waits") {
  add(spec("grep", effect::none, "ripgrep"));
  add(spec("ripgrep"));
  start();
  last = call->cancel(now);
  CHECK(std::holds_alternative<abort_tool>(last.next));
  finish(tool_status::cancelled);
  REQUIRE(reports() != nullptr);
  CHECK(reports()->status == tool_status::cancelled);
  start();
  finish(tool_status::failed);
  last = call->cancel(now);
  CHECK(reports() && reports()->status == tool_status::cancelled);
  CHECK(std::holds_alternative<std::monostate>(call->tick(now + 1h).next));
  CHECK(std::holds_alternative<std::monostate>(call->finished(outcome(tool_status::ok), now, 0.5).next));
  start();
  (void) call->cancel(now);
  last = call->finished(outcome(tool_status::ok, "", "just in time"), now, 0.5);
  CHECK(reports() && reports()->status == tool_status::ok); // it ran: its result is known
}

TROUPE_TEST_WITH(fixture, "a timeout of `once` says that it may have taken effect") {
  add(spec("grep", effect::once));
  start();
  finish(tool_status::timed_out, "no answer in 30 s");
  CHECK(has(reports()->text, "may have taken effect"));
}

TROUPE_TEST("whatever happens, a call ends, and a tool of effect `once` that may have run is not run again") {
  for (std::uint64_t seed = 1; seed <= 5'000; ++seed) {
    std::mt19937_64 dice(seed);
    const auto up_to = [&](int most) { return std::uniform_int_distribution<int>(0, most)(dice); };
    std::map<std::string, tool_spec> tools;
    for (int i = 0; i < 4; ++i) {
      auto tool = spec("t" + std::to_string(i), static_cast<effect>(up_to(2)), up_to(4) == 4 ? "" : "t" + std::to_string(up_to(4)));
      tool.retries = up_to(3);
      tool.max_calls = up_to(2);
      tools[tool.name] = tool;
    }
    tool_breakers breakers;
    auto quota = std::make_shared<tool_quota>();
    time_point now{1'000s};
    for (int round = 0; round < 6; ++round) {
      tool_call_facts facts{"c", "t" + std::to_string(up_to(4)), {}, std::nullopt, {}};
      if (up_to(1) == 0)
        facts.deadline = now + std::chrono::seconds(up_to(60));
      tool_attempts call(tools, facts, breakers, quota);
      std::map<std::string, int> may_have_run;
      auto step = call.start(now);
      for (int i = 0; !call.done(); ++i) {
        REQUIRE(i < 100);
        if (auto* run = std::get_if<run_tool>(&step.next)) {
          REQUIRE(run->attempt <= run->tool->retries + 1);
          REQUIRE(run->timeout > 0ms);
          if (run->tool->effect == effect::once)
            REQUIRE(may_have_run[run->tool->name] == 0);
          now += std::chrono::milliseconds(up_to(30'000));
          const auto status = static_cast<tool_status>(up_to(5));
          may_have_run[run->tool->name] += status != tool_status::not_started;
          if (up_to(30) == 0)
            (void) call.cancel(now);
          step = up_to(20) == 0 ? call.refused("no", now)
                                : call.finished(outcome(status), now, std::uniform_real_distribution<double>(0, 1)(dice));
        } else {
          now = std::get<wait_tool>(step.next).at;
          step = up_to(20) == 0 ? call.cancel(now) : call.tick(now);
        }
      }
      REQUIRE(!std::get<report_tool>(step.next).text.empty() || std::get<report_tool>(step.next).status == tool_status::ok);
    }
    now += 1h;
    for (const auto& [name, tool] : tools)
      REQUIRE(breakers.of(name)->admits(now)); // no probe was lost
  }
}

namespace {

open_call begun(effect what, std::optional<tool_failed> failure = std::nullopt, std::string tool = "pay", std::int64_t attempt = 1) {
  open_call made;
  made.call_id = "c1";
  made.tool = tool;
  made.effect = what;
  made.attempt = attempt;
  made.tried = {{tool, attempt, failure ? failure->error : ""}};
  made.failure = std::move(failure);
  return made;
}

tool_failed failed(std::string next, std::string tool = "pay") {
  return {.call_id = "c1", .tool = std::move(tool), .error = "no answer in 30 s", .next = std::move(next)};
}

} // namespace

TROUPE_TEST("how a call goes on whose host died: by its effect, and by what its recorded failure had decided") {
  struct row {
    const char* says;
    open_call recorded;
    recovery want;
  };
  for (const auto& row : std::vector<row>{
           {"what does nothing is repeated", begun(effect::none), recovery::repeat},
           {"what is idempotent too, with the same key", begun(effect::idempotent), recovery::repeat},
           {"of `once` nobody knows", begun(effect::once), recovery::in_doubt},
           {"a retry that was due is made: `once` has one only where nothing ran", begun(effect::once, failed("retry")), recovery::repeat},
           {"a retry of what does nothing too", begun(effect::none, failed("retry")), recovery::repeat},
           {"the alternative goes on, not `once` again", begun(effect::once, failed("alternative")), recovery::alternative},
           {"nor what has no retries left", begun(effect::none, failed("alternative")), recovery::alternative},
           {"an error that was to be reported is", begun(effect::once, failed("report")), recovery::report},
           {"of what does nothing too", begun(effect::idempotent, failed("report")), recovery::report},
           {"what nobody knows of is reported", begun(effect::once, failed("something new")), recovery::report},
       }) {
    IN_ROW(row.says);
    CHECK(decide_recovery(row.recorded) == row.want);
  }
  CHECK(has(outcome_unknown_text("pay"), "\"pay\""));
}

TROUPE_TEST_WITH(fixture, "a call goes on where the journal ends: with the same attempt, the next one, the alternative, or its error") {
  facts.tool = "pay";
  const auto go_on = [&](const open_call& recorded) {
    call = std::make_unique<tool_attempts>(tools, facts, breakers, quota);
    last = call->go_on(recorded, now);
  };
  add(spec("pay", effect::once, "ask"));
  add(spec("ask", effect::idempotent, "guess"));
  add(spec("guess"));

  go_on(begun(effect::once));
  REQUIRE(reports() != nullptr);
  CHECK(reports()->in_doubt);
  CHECK_EQ(reports()->tool, "pay");

  go_on(begun(effect::once, failed("alternative")));
  REQUIRE(runs("ask"));
  CHECK_EQ(runs()->attempt, 1);
  CHECK_EQ(runs()->instead_of, "pay");

  auto at_ask = begun(effect::idempotent, std::nullopt, "ask", 2);
  at_ask.tried = {{"pay", 1, "no answer in 30 s"}, {"ask", 2, ""}};
  go_on(at_ask);
  REQUIRE(runs("ask"));
  CHECK_EQ(runs()->attempt, 2); // the same one once more
  finish(tool_status::failed);
  CHECK_EQ(next(), "retry");
  retry();
  CHECK_EQ(runs()->attempt, 3);
  finish(tool_status::failed);
  REQUIRE(runs("guess"));
  for (int i = 0; i < 2; ++i) {
    finish(tool_status::failed);
    retry();
  }
  finish(tool_status::failed);
  REQUIRE(reports() != nullptr);
  CHECK(has(reports()->text, "- \"pay\", run once: no answer in 30 s\n- \"ask\" in its place, run 3 times"));

  auto again = failed("retry", "ask");
  again.wait_ms = 7'000;
  go_on(begun(effect::idempotent, again, "ask"));
  REQUIRE(waits());
  CHECK(std::get<wait_tool>(last.next).at == now + 7s);
  retry();
  REQUIRE(runs("ask"));
  CHECK_EQ(runs()->attempt, 2);

  go_on(begun(effect::once, failed("report")));
  REQUIRE(reports() != nullptr);
  CHECK(!reports()->in_doubt);
  CHECK(has(reports()->text, "\"pay\", run once: no answer in 30 s"));

  go_on(begun(effect::none, std::nullopt, "gone"));
  REQUIRE(reports() != nullptr);
  CHECK(has(reports()->text, "no tool named \"gone\""));
}

TROUPE_TEST_WITH(fixture, "each tool that a call had turned to before its host died is a call of its limit") {
  facts.tool = "pay";
  for (const auto* name : {"pay", "ask"}) {
    auto limited = spec(name, effect::none, name == std::string("pay") ? "ask" : "");
    limited.max_calls = 1;
    add(limited);
  }
  auto at_ask = begun(effect::none, std::nullopt, "ask");
  at_ask.tried = {{"pay", 1, "no"}, {"ask", 1, ""}};
  call = std::make_unique<tool_attempts>(tools, facts, breakers, quota);
  last = call->go_on(at_ask, now);
  CHECK(runs("ask")); // it is the call that was counted
  CHECK(!quota->has(tools["pay"]) && !quota->has(tools["ask"]));
}

TROUPE_TEST_WITH(fixture, "of a call in doubt a human hears before the agent where its risk asks for one, and decides") {
  const auto go_on = [&](doubt_rule rule, const open_call& recorded, std::string words = {}) {
    facts.tool = "pay";
    facts.doubt = rule;
    facts.doubt_words = std::move(words);
    call = std::make_unique<tool_attempts>(tools, facts, breakers, quota);
    last = call->go_on(recorded, now);
  };
  auto pay = spec("pay", effect::once, "ask");
  pay.max_calls = 2;
  add(pay);
  add(spec("ask", effect::idempotent));
  auto lost = begun(effect::once);
  lost.tried = {{"pay", 1, ""}};

  go_on(doubt_rule::ask, lost);
  const auto* asks = std::get_if<tool_in_doubt>(&last.next);
  REQUIRE(asks != nullptr);
  CHECK_EQ(asks->tool, "pay");
  CHECK_EQ(asks->attempt, 1);
  CHECK(last.events.empty() && call->done());
  CHECK(quota->take(tools["pay"]) && quota->has(tools["pay"])); // the question took no place of the limit

  go_on(doubt_rule::tell, lost, "ada does not let it be made again: it was paid.");
  REQUIRE(reports() != nullptr);
  CHECK(reports()->in_doubt);
  CHECK(has(reports()->text, "could do it twice. ada does not let it be made again: it was paid. Find out"));

  go_on(doubt_rule::repeat, lost);
  REQUIRE(runs("pay"));
  CHECK_EQ(runs()->attempt, 2); // another doubt would be another question
  REQUIRE(last.events.size() == 1);
  CHECK_EQ(std::get<outcome_unknown>(last.events[0]).id, facts.call_id); // the run counts it all the same
  finish(tool_status::ok);
  REQUIRE(reports() != nullptr);
  CHECK(!reports()->in_doubt);

  go_on(doubt_rule::ask, begun(effect::idempotent));
  CHECK(runs("pay")); // only what must not be made twice is asked about
  go_on(doubt_rule::ask, begun(effect::once, failed("alternative")));
  CHECK(runs("ask"));

  go_on(doubt_rule::repeat, lost);
  finish(tool_status::in_doubt); // sent, and no answer: while the process lives
  REQUIRE(reports() != nullptr);
  CHECK(reports()->in_doubt);
  facts.doubt = doubt_rule::ask;
  quota = std::make_shared<tool_quota>();
  start();
  finish(tool_status::in_doubt);
  CHECK(std::holds_alternative<tool_in_doubt>(last.next));
  start();
  (void) call->cancel(now);
  finish(tool_status::in_doubt);
  CHECK(reports() != nullptr); // nobody is asked on behalf of a call that nobody waits for
}

TROUPE_TEST("killed again and again at any moment, a tool of effect `once` that may have run is not run again, and the call ends") {
  for (std::uint64_t seed = 1; seed <= 5'000; ++seed) {
    std::mt19937_64 dice(seed);
    const auto up_to = [&](int most) { return std::uniform_int_distribution<int>(0, most)(dice); };
    std::map<std::string, tool_spec> tools;
    for (int i = 0; i < 4; ++i) { // each may lead to a later one, as `validate` has it
      auto tool = spec("t" + std::to_string(i), static_cast<effect>(up_to(2)), i < 3 && up_to(3) > 0 ? "t" + std::to_string(i + 1) : "");
      tool.retries = up_to(2);
      tool.max_calls = up_to(2);
      tools[tool.name] = tool;
    }
    std::vector<event_ptr> disk, noted; // what is durable, and what was noted and may be lost
    const auto flush = [&](std::size_t count) {
      disk.insert(disk.end(), noted.begin(), noted.begin() + static_cast<std::ptrdiff_t>(count));
      noted.clear();
    };
    const auto note = [&](event_body body) { noted.push_back(std::make_shared<const event>(event{1, 1, "r", "t", "a", std::move(body)})); };
    std::map<std::string, int> may_have_run;
    time_point now{1'000s};
    bool over = false;
    const auto rule = up_to(1) == 0 ? doubt_rule::tell : doubt_rule::ask;
    for (int life = 0; !over; ++life) {
      const bool immortal = life > 10;
      const auto dies = [&] { return !immortal && up_to(5) == 0; };
      tool_breakers breakers;
      auto quota = std::make_shared<tool_quota>(rebuild(disk).calls_of);
      std::unique_ptr<tool_attempts> call;
      const auto begin = [&](doubt_rule with) {
        call = std::make_unique<tool_attempts>(tools, tool_call_facts{"c", "t0", {}, std::nullopt, {}, {}, with, {}}, breakers, quota);
      };
      begin(rule);
      const auto known = record_of(disk, "c");
      if (known.end)
        break;
      auto step = known.open ? call->go_on(*known.open, now) : call->start(now);
      bool dead = false;
      for (int i = 0; !over && !dead; ++i) {
        REQUIRE(i < 100);
        if (const auto* report = std::get_if<report_tool>(&step.next)) { // with its events in one piece
          if (dead = dies(); !dead) {
            for (auto& body : step.events)
              note(std::move(body));
            note(tool_finished{"c", report->tool, report->status, report->text, 0});
            over = true;
          }
          continue;
        }
        for (auto& body : step.events)
          note(std::move(body));
        if (dead = dies(); dead)
          continue;
        if (const auto* doubt = std::get_if<tool_in_doubt>(&step.next)) {
          const bool again = up_to(1) == 0;
          if (again)
            may_have_run[doubt->tool] = 0; // so the human found
          auto events = disk;
          events.insert(events.end(), noted.begin(), noted.end());
          begin(again ? doubt_rule::repeat : doubt_rule::tell);
          const auto recorded = record_of(events, "c");
          REQUIRE(recorded.open.has_value());
          step = call->go_on(*recorded.open, now);
        } else if (const auto* run = std::get_if<run_tool>(&step.next)) {
          const bool once = run->tool->effect == effect::once;
          note(tool_started{"c", run->tool->name, {}, run->tool->effect, run->attempt, run->instead_of});
          if (run->tool->effect != effect::none)
            flush(noted.size());                    // it is durable before it runs
          if (once && up_to(9) == 0 && !immortal) { // cancelled before it began, and the program ends
            note(tool_failed{"c", run->tool->name, run->attempt, "it was cancelled before it began", "retry", 0});
            dead = true;
            continue;
          }
          if (dead = dies(); dead)
            continue; // before it began
          if (once)
            REQUIRE(may_have_run[run->tool->name] == 0);
          const auto status = static_cast<tool_status>(up_to(5));
          may_have_run[run->tool->name] += status != tool_status::not_started;
          if (dead = dies(); dead)
            continue; // while it ran
          step = call->finished(outcome(status), now, std::uniform_real_distribution<double>(0, 1)(dice));
        } else {
          now = std::get<wait_tool>(step.next).at;
          step = call->tick(now);
        }
      }
      flush(static_cast<std::size_t>(up_to(static_cast<int>(noted.size()))));
      now += 1h;
    }
  }
}

TROUPE_TEST("refusals say what is wrong and what else there is, and are bounded") {
  const std::vector<std::string> names{"grep", "read_file"};
  CHECK_EQ(unknown_tool_text("grpe", "grep", names),
           "There is no tool named \"grpe\"; did you mean \"grep\"? Nothing was run. Tools that you have: \"grep\", \"read_file\".");
  CHECK(has(unknown_tool_text("x", "", {}), "You have no tools."));
  CHECK(has(tool_not_allowed_text("shell", names), "may not use the tool \"shell\""));
  CHECK(has(arguments_cut_off_text("grep"), "\"grep\" were cut off"));
  CHECK(has(arguments_invalid_text("grep", {"/path: is required"}), "\n- /path: is required"));
  const auto failed = tool_failure_text("grep", tool_status::failed, {{"grep", 2, "exit status 2"}}, "no such file", names);
  CHECK(has(failed, "\"grep\", run 2 times: exit status 2") && has(failed, "The last one wrote:\nno such file")
        && has(failed, "Other tools that you have: \"read_file\""));
  CHECK(!has(tool_failure_text("grep", tool_status::failed, {{"grep", 1, "x"}}, "", names), "wrote"));
  const std::string huge(20'000, 'x');
  const std::vector<std::string> many(1'000, huge);
  CHECK(unknown_tool_text(huge, huge, many).size() < 10'000);
  CHECK(arguments_cut_off_text(huge).size() < 10'000);
  CHECK(arguments_invalid_text(huge, many).size() < 10'000);
  CHECK(tool_failure_text(huge, tool_status::failed, {{huge, 1, huge}}, huge, many).size() < 20'000);
}
