#include "test.hpp"

#include "troupe/metrics/run_summary.hpp"
#include "troupe/model/described.hpp"
#include "troupe/timeline.hpp"

TROUPE_SUITE(timeline)

using namespace troupe;
using namespace troupe::cli;

namespace {

constexpr std::int64_t began = 1'700'000'000'000'000;

event_ptr at(std::int64_t ms, event_body body, std::string task = {}, std::string agent = {}) {
  return std::make_shared<const event>(event{1, began + ms * 1000, "r1", std::move(task), std::move(agent), std::move(body)});
}

std::string shown(event_body body, std::string task = "t", std::string agent = "a", std::size_t width = 400) {
  return render_event(*at(62'345, std::move(body), std::move(task), std::move(agent)), began, {.width = width});
}

bool has(const std::string& text, const std::string& part) {
  if (text.find(part) != std::string::npos)
    return true;
  CAF_MESSAGE(text << " has no " << part);
  return false;
}

message_ptr say(std::string text, std::vector<tool_call> calls = {}) {
  return std::make_shared<const chat_message>(chat_message{role::assistant, std::move(text), std::move(calls), "", false});
}

} // namespace

TROUPE_TEST("times are relative and readable") {
  CHECK_EQ(relative_time(0), "+0:00.000");
  CHECK_EQ(relative_time(62'345'678), "+1:02.345");
  CHECK_EQ(relative_time(3'723'004'000), "+1:02:03.004");
  CHECK_EQ(relative_time(-5), "+0:00.000");
  CHECK_EQ(duration_text(12'345), "12 ms");
  CHECK_EQ(duration_text(4'250'000), "4.2 s");
  CHECK_EQ(duration_text(185'000'000), "3 min 05 s");
  CHECK_EQ(duration_text(7'380'000'000), "2 h 03 min");
  CHECK_EQ(duration_text(-1), "0 ms");
}

TROUPE_TEST("an event's line tells when, who, what and for how much") {
  CHECK_EQ(shown(llm_responded{.step_id = "s",
                               .provider = "openai",
                               .model = "gpt",
                               .message = say("", {{"c", "grep", "{}"}, {"d", "read_file", "{}"}}),
                               .usage = {812, 0, 0, 40},
                               .cost = usd{3'100},
                               .duration_us = 1'200'000},
                 "research", "researcher"),
           "  +1:02.345  research [researcher] openai/gpt answered, 812 + 40 tokens, $0.0031, 1.2 s; calls grep, read_file\n");
  CHECK_EQ(shown(run_started{.workflow = "report", .total_tasks = 1}, "", ""), "  +1:02.345  run started: workflow report, 1 task\n");
  CHECK_EQ(shown(task_finished{.output = {{"a", 1}}}, "sections[3]", "w"), "  +1:02.345    sections[3] [w] done: {\"a\":1}\n");
  CHECK_EQ(shown(llm_requested{}), "");
}

TROUPE_TEST("what went wrong, and what was done about it, stands there in words") {
  struct row {
    event_body body;
    std::vector<std::string> words;
  };
  const std::vector<row> rows{
      {llm_failed{.provider = "p",
                  .model = "m",
                  .reason = "llm_rate_limited",
                  .http_status = 429,
                  .message = "slow down",
                  .next = "retry",
                  .wait_ms = 1500},
       {"FAILED", "llm_rate_limited", "429", "RETRY in 1.5 s", "slow down"}},
      {llm_failed{.reason = "x", .charged = usd{5'000'000}, .next = "fail_over"}, {"FAIL-OVER", "$5.00 charged"}},
      {llm_failed_over{.from = "a/b", .to = "c/d", .reason = "exhausted"}, {"FAIL-OVER from a/b to c/d: exhausted"}},
      {breaker_changed{"p", "m", "open"}, {"CIRCUIT BREAKER of p/m is open"}},
      {tool_started{.tool = "grep", .arguments = {{"p", "x"}}, .attempt = 2}, {"RETRY of tool grep (attempt 2)", R"({"p":"x"})"}},
      {tool_started{.tool = "ripgrep", .attempt = 3, .instead_of = "grep"}, {"ALTERNATIVE ripgrep instead of grep"}},
      {tool_failed{.tool = "grep", .error = "exit status 2", .next = "alternative"}, {"FAILED", "ALTERNATIVE", "exit status 2"}},
      {tool_finished{.status = tool_status::not_started, .text = "no such tool"}, {"REFUSED", "no such tool"}},
      {tool_finished{.tool = "grep", .status = tool_status::timed_out}, {"FAILED as timed_out"}},
      {agent_crashed{"a/2", "exception", 1}, {"CRASHED: a/2", "exception"}},
      {agent_restarted{"a/2", "root", 1, 0}, {"RESTARTED: a/2 by supervisor root"}},
      {contract_violated{1, {"/facts: missing"}}, {"CONTRACT broken, REPAIR 1", "/facts: missing"}},
      {contract_violated{0, {}}, {"not asked again"}},
      {task_retried{2, "quality"}, {"RETRY of the task, attempt 2"}},
      {task_finished{.status = task_status::loop, .reason = "loop", .error = "looping"}, {"FAILED as loop: looping"}},
      {run_finished{run_status::aborted, "budget_exceeded", nullptr}, {"ABORTED: budget_exceeded"}},
      {run_interrupted{"SIGINT"}, {"INTERRUPTED: SIGINT"}},
      {run_resumed{.owned_before_ms = 2000, .added_money = usd{2'000'000}}, {"RESUMED after 2.0 s, $2.00 added"}},
      {budget_warned{"run", limit_kind::steps, 80}, {"BUDGET of run: 80 % of its steps"}},
      {budget_refused{"run", limit_kind::money, "no"}, {"REFUSED"}},
      {outcome_unknown{"s1#1", usd{10'000}}, {"OUTCOME UNKNOWN of s1#1", "$0.01"}},
      {loop_detected{loop_kind::repeat, loop_rung::told, 3, "c", "grep", 3, "You are looping"},
       {"LOOPING: repeat of grep, 3 times; rung 1, TOLD: You are looping"}},
      {loop_detected{loop_kind::no_progress, loop_rung::tool_taken, 3, "c", "grep", 6, "x"},
       {"LOOPING: no progress of grep, 6 times; rung 2, TOOL TAKEN AWAY: x"}},
      {loop_detected{loop_kind::cycle, loop_rung::restarted, 3, "c", "grep", 3, "x"}, {"rung 3, RESTARTED with a digest: x"}},
      {loop_detected{loop_kind::repeat, loop_rung::failed, 3, "c", "grep", 6, "x"}, {"rung 4, FAILED: x"}},
      {loop_detected{loop_kind::repeat, loop_rung::asked, 3, "c", "grep", 6, "x"}, {"rung 4, A HUMAN IS ASKED: x"}},
      {loop_detected{loop_kind::monologue, loop_rung::none, 3, "", "", 3, "x"}, {"LOOPING: monologue, 3 times; not asked again"}},
      {approval_withdrawn{"r-12345678", 0}, {"request r-12345678 is withdrawn"}},
      {usage_rejected{"s", "absurd"}, {"USAGE REJECTED", "absurd"}},
      {max_tokens_lowered{"s", 4096, 300}, {"max_tokens lowered from 4096 to 300"}}};
  for (const auto& r : rows)
    for (const auto& word : r.words)
      CHECK(has(shown(r.body), word));
}

TROUPE_TEST("text from outside cannot move the cursor, hide, or break a line") {
  const std::string hostile = "\x1b[2J\x1b]0;pwned\x07 a\r\nb\x7f \xC2\x9B \xE2\x80\xAE evil \xE2\x80\x8B \xF3\xA0\x81\x81 \xFF\xC3";
  const auto safe = printable(hostile, 1000);
  CHECK_EQ(safe, "\\x1b[2J\\x1b]0;pwned\\x07 a\\r\\nb\\x7f \\x9b \\u{202e} evil \\u{200b} \\u{e0041} \xEF\xBF\xBD\xEF\xBF\xBD");
  for (const auto& text :
       {shown(tool_finished{.tool = hostile, .text = hostile}), shown(message_injected{hostile, hostile}, hostile, hostile),
        shown(llm_responded{.provider = hostile, .message = say(hostile, {{"c", hostile, hostile}})})}) {
    CHECK_EQ(std::count(text.begin(), text.end(), '\n'), 1);
    CHECK(text.find('\x1b') == std::string::npos && text.find('\r') == std::string::npos && text.find("\xE2\x80\xAE") == std::string::npos);
  }
  CHECK_EQ(printable(
               "e\xCC\x81 and " +
                   [] {
                     std::string marks;
                     for (int i = 0; i < 100; ++i)
                       marks += "\xCC\x81";
                     return marks;
                   }(),
               100)
               .size(),
           8u + 8u);
}

TROUPE_TEST("a whole text keeps its lines and its words, and drives no terminal; a JSON document stays the same one") {
  struct row {
    const char* what;
    std::string text, shown, as_json;
  };
  const std::vector<row> rows{
      {"lines and tabs stay", "a\n\tb\n", "a\n\tb\n", "a\n\tb\n"},
      {"escape sequences", "\x1b[2J\x07\r", "\\x1b[2J\\x07\\r", "\\u001b[2J\\u0007\\u000d"},
      {"of eight bits, and deletion", "\xC2\x9B\x7f", "\\x9b\\x7f", "\\u009b\\u007f"},
      {"directions", "\xE2\x80\xAE", "\\u{202e}", "\\u202e"},
      {"beyond 16 bits", "\xF3\xA0\x81\x81", "\\u{e0041}", "\\udb40\\udc41"},
      {"joiners of words", "\xE2\x80\x8C\xE2\x80\x8D", "\xE2\x80\x8C\xE2\x80\x8D", "\xE2\x80\x8C\xE2\x80\x8D"},
      {"what is no UTF-8", "\xFF", "\xEF\xBF\xBD", "\xEF\xBF\xBD"},
  };
  for (const auto& each : rows) {
    IN_ROW(each.what);
    CHECK_EQ(printable_text(each.text), each.shown);
    CHECK_EQ(printable_json(each.text), each.as_json);
  }
  const json document{{"a", "\x1b \xC2\x9B \xE2\x80\xAE \xF3\xA0\x81\x81 \x7f"}};
  CHECK(json::parse(printable_json(document.dump(2))) == document);
}

TROUPE_TEST("columns are those of a terminal: wide signs have two, combining ones none") {
  CHECK_EQ(shown_columns("ab"), 2u);
  CHECK_EQ(shown_columns("\xE6\x97\xA5\xE6\x9C\xAC"), 4u);
  CHECK_EQ(shown_columns("e\xCC\x81…"), 2u);
  CHECK_EQ(shown_columns("\xE0\xA4\x95\xE2\x80\x8D"), 1u);
}

TROUPE_TEST("joiners stand in a line as they do in a text: words of many scripts are written with them") {
  const std::string word = "\xD9\x85\xDB\x8C\xE2\x80\x8C\xD8\xAE";
  CHECK_EQ(printable(word, 100), word);
  CHECK_EQ(printable("a" + word.substr(4, 3) + "b", 2), "a" + word.substr(4, 3) + "b"); // it takes no column
}

TROUPE_TEST("a line that is wide enough shows all of a text") {
  std::string text;
  for (int i = 0; i < 3'000; ++i)
    text += "€";
  timeline_style wide;
  wide.width = std::size_t{16} << 20;
  run_summary summary;
  summary.result = text;
  const auto whole = render_timeline(summary, {at(0, message_injected{text, "x"})}, wide);
  CHECK(whole.find(text) != std::string::npos);
  CHECK(whole.find("…") == std::string::npos);
  const auto cut = render_timeline(summary, {at(0, message_injected{text, "x"})}, timeline_style{});
  CHECK(cut.find(text) == std::string::npos);
  CHECK(cut.find("…") != std::string::npos);
}

TROUPE_TEST("no line is longer than the terminal is wide") {
  const std::string big(1'000'000, 'x');
  for (const std::size_t width : {0u, 40u, 41u, 80u, 200u}) {
    const auto text = shown(tool_finished{.tool = "t", .text = big}, big.substr(0, 300), "a", width);
    CHECK(has(text, "…"));
    CHECK(text.size() <= std::max<std::size_t>(width, 40) + 3); // the ellipsis has three bytes, the line its end
  }
  CHECK_EQ(printable("abcdef", 4), "abc…");
  CHECK_EQ(printable("abcd", 4), "abcd");
  CHECK_EQ(printable("\xE6\x97\xA5\xE6\x9C\xAC\xE8\xAA\x9E", 5), "\xE6\x97\xA5\xE6\x9C\xAC…");
  CHECK_EQ(printable("ab\n", 3), "ab…");
  CHECK_EQ(printable("x", 0), "");
}

TROUPE_TEST("colour is asked for, and never the only sign") {
  const event_body failure = run_finished{run_status::failed, "loop", nullptr};
  const auto plain = render_event(*at(0, failure), began, {.colour = false});
  const auto red = render_event(*at(0, failure), began, {.colour = true});
  CHECK(plain.find('\x1b') == std::string::npos);
  CHECK(has(red, "\x1b[31m") && has(red, "\x1b[0m"));
  CHECK(has(plain, "FAILED"));
}

TROUPE_TEST("a timeline has a head, a line an event, what is waited for, and the result") {
  std::vector<event_ptr> events{
      at(0, run_started{.workflow = "report", .tenant = "acme", .budget = {usd{5'000'000}, std::chrono::minutes(5), 50}, .total_tasks = 2}),
      at(10, task_started{}, "research", "researcher"),
      at(20, llm_requested{.step_id = "s1", .provider = "p", .model = "m"}, "research", "researcher")};
  const auto rendered = [&] {
    metrics::run_fold fold;
    for (const auto& e : events)
      fold.apply(*e);
    return render_timeline(fold.summary(), events, {.width = 120, .result_path = "out.json"});
  };
  auto text = rendered();
  CHECK(has(text, "run r1  workflow report  tenant acme\nrunning  0 of 2 tasks done\n"));
  CHECK(has(text, "cost $0.00 of $5.00  time 20 ms of 5 min 00 s  LLM calls 0 of 50  tool calls 0\n"));
  CHECK(has(text, "  +0:00.020  research [researcher] p/m asked, no answer so far\n"));
  events.push_back(at(30, llm_responded{.step_id = "s1", .provider = "p", .model = "m", .message = say("x")}, "research", "researcher"));
  events.push_back(at(40, run_finished{.result = {{"k", "v"}}}));
  text = rendered();
  CHECK(text.find("no answer so far") == std::string::npos);
  CHECK(has(text, "completed"));
  CHECK(has(text, "\nresult in out.json\nresult: {\"k\":\"v\"}\n"));
}

TROUPE_TEST("runs are a table, and a run that nobody has is interrupted") {
  CHECK_EQ(render_runs({}, began, {}), "no runs yet\n");
  const auto text = render_runs({{"r2", "report", "t", run_status::running, "", began, began, 3, true},
                                 {"run-one", "a\x1b[0mb", "t", run_status::running, "SIGINT", began - 60'000'000, began, 3, false},
                                 {"r0", "w", "t", run_status::failed, "loop", began, began + 1'000'000, 3, false}},
                                began + 5'000'000, {.width = 120});
  CHECK_EQ(text, "RUN      WORKFLOW   STATUS       STARTED         TOOK\n"
                 "r2       report     running      5.0 s ago       0 ms\n"
                 "run-one  a\\x1b[0mb  interrupted  1 min 05 s ago  1 min 00 s  SIGINT\n"
                 "r0       w          failed       5.0 s ago       1.0 s       loop\n");
}
