#include "troupe/policy/loop_history.hpp"

#include <algorithm>

#include "troupe/model/described.hpp"
#include "troupe/policy/context_fit.hpp"
#include "troupe/policy/loop_texts.hpp"
#include "troupe/policy/replay.hpp"

#include "test.hpp"

TROUPE_SUITE(loop_history)

using namespace troupe;
using namespace troupe::policy;

namespace {

const tool_spec* tool_named(const std::string& name) {
  static const tool_spec reads = [] {
    tool_spec made;
    made.effect = effect::none;
    return made;
  }();
  static const tool_spec writes;
  return name == "write" ? &writes : name == "read" ? &reads : nullptr;
}

message_ptr calling(std::vector<tool_call> calls) {
  chat_message made;
  made.from = role::assistant;
  made.tool_calls = std::move(calls);
  return std::make_shared<const chat_message>(std::move(made));
}

message_ptr saying(std::string text) {
  chat_message made;
  made.from = role::assistant;
  made.text = std::move(text);
  return std::make_shared<const chat_message>(std::move(made));
}

/// An agent and its supervisor, as far as loops go; what they record is kept, so that they can be begun anew from any part of it.
struct stage {
  loop_rules rules;
  std::vector<event_ptr> journal;
  std::vector<std::string> rungs;

  template <class Body>
  std::vector<const Body*> recorded() const {
    std::vector<const Body*> all;
    for (const auto& each : journal)
      if (const auto* body = std::get_if<Body>(&each->body))
        all.push_back(body);
    return all;
  }

  /// A human lets it go on the first time. Nothing: it was killed before that was known.
  std::optional<bool> lets_go_on(const std::string& id, const std::function<bool()>& died) {
    const auto is_it = [&](const auto* body) { return body->id == id; };
    const auto asked = recorded<approval_requested>();
    if (std::none_of(asked.begin(), asked.end(), is_it)) {
      if (died())
        return std::nullopt;
      record(approval_requested{.id = id, .kind = approval_kind::loop});
    }
    auto decided = recorded<approval_decided>();
    if (std::none_of(decided.begin(), decided.end(), is_it)) {
      if (died())
        return std::nullopt;
      record(approval_decided{.id = id, .status = decided.empty() ? approval_status::approved : approval_status::rejected});
      decided = recorded<approval_decided>();
    }
    return (*std::find_if(decided.begin(), decided.end(), is_it))->status == approval_status::approved;
  }

  void record(event_body body) {
    auto made = std::make_shared<event>();
    made->seq = static_cast<std::int64_t>(journal.size()) + 1;
    made->task = "t";
    made->body = std::move(body);
    journal.push_back(std::move(made));
  }

  /// Goes on from the journal: each response asks the same, until the task fails. `records_left`: then it is killed.
  void run(const std::function<message_ptr(std::int64_t step)>& model, std::size_t records_left) {
    const auto died = [&] { return records_left-- == 0; };
    auto loops = rebuild_loops(journal, 1, rules, tool_named);
    auto history = rebuild(journal);
    auto steps = history.steps;
    message_ptr open = history.results.empty() ? nullptr : history.messages.back();
    auto results = loops.results;
    std::vector<observed_result> earlier;
    while (true) {
      if (!open) {
        if (died())
          return;
        open = model(++steps);
        results.assign(open->tool_calls.size(), {});
        record(llm_responded{.step_id = "t@1/" + std::to_string(steps), .message = open});
      }
      loop_step step{.number = steps, .earlier = std::exchange(earlier, {})};
      for (const auto& asked : open->tool_calls)
        step.calls.push_back(observe_call(asked, tool_named(asked.name)));
      const bool whole = std::all_of(results.begin(), results.end(), [](const auto& each) { return each.outcome != 0; });
      if (whole)
        step.results = results;
      auto verdict = loops.watch.observe(step);
      const auto take = [&](loop_rung rung) {
        if (died())
          return false;
        const auto& call = open->tool_calls[verdict.found->call];
        record(loop_detected{verdict.found->kind, rung, steps, call.id, call.name, verdict.found->count, "digest"});
        rungs.push_back(name_of(rung));
        return true;
      };
      const auto act = [&] { // true: it does not go on
        if (!verdict.found || (verdict.again && verdict.rung < loop_rung::asked))
          return false;
        if (!verdict.again && !take(verdict.rung))
          return true;
        if (verdict.rung != loop_rung::asked)
          return verdict.rung == loop_rung::failed;
        const auto goes_on = lets_go_on("q" + std::to_string(steps), died);
        if (!goes_on)
          return true;
        if (!*goes_on) {
          take(loop_rung::failed);
          return true;
        }
        loops.watch = loop_watch(rules);
        verdict.report_results = false;
        return false;
      };
      if (act())
        return;
      if (verdict.found && !verdict.again && verdict.rung == loop_rung::restarted)
        return; // and goes on in the next incarnation
      for (std::size_t i = 0; i < results.size(); ++i) {
        if (results[i].outcome != 0)
          continue;
        const bool runs = verdict.rulings.empty() || verdict.rulings[i] == call_ruling::run;
        if (died())
          return;
        const auto& call = open->tool_calls[i];
        record(tool_finished{call.id, runs ? call.name : "", runs ? tool_status::ok : tool_status::not_started,
                             runs ? "the same" : "refused", 0});
        results[i] = observe_result(runs ? "the same" : "refused", runs ? tool_status::ok : tool_status::not_started);
      }
      if (verdict.report_results) {
        verdict = loops.watch.observe({.number = steps, .results = results});
        if (act())
          return;
        if (verdict.found && !verdict.again && verdict.rung == loop_rung::restarted)
          return;
      } else if (!whole) {
        earlier = results;
      }
      open = nullptr;
    }
  }
};

} // namespace

TROUPE_TEST("the ladder is climbed rung by rung wherever the agent is killed, over and over") {
  struct row {
    const char* name;
    std::function<message_ptr(std::int64_t)> model;
  };
  const auto id = [](std::int64_t step, int n = 0) { return "c" + std::to_string(step) + "_" + std::to_string(n); };
  const row rows[] = {{"repeat",
                       [&](std::int64_t step) {
                         return calling({{id(step), "read", "{}"}});
                       }},
                      {"repeat beside another call",
                       [&](std::int64_t step) {
                         return calling({{id(step), "read", "{}"}, {id(step, 1), "read", "[" + std::to_string(step) + "]"}});
                       }},
                      {"no progress",
                       [&](std::int64_t step) {
                         return calling({{id(step), "read", std::to_string(step)}});
                       }},
                      {"cycle",
                       [&](std::int64_t step) {
                         return calling({{id(step), "write", std::to_string(step % 2)}});
                       }},
                      {"no tool of that name", [&](std::int64_t step) {
                         return calling({{id(step), "python", "x"}});
                       }}};
  for (std::size_t i = 0; i < 2 * std::size(rows); ++i) {
    const auto& r = rows[i / 2];
    const bool human = i % 2 == 1; // lets it go on the first time, and not the second
    IN_ROW(r.name + std::string(human ? ", with a human" : ""));
    stage whole{{.human = human}, {}, {}};
    while (whole.rungs.empty() || whole.rungs.back() != "failed")
      whole.run(r.model, 1'000);
    const std::vector<std::string> alone{"told", "tool_taken", "restarted", "failed"};
    const std::vector<std::string> watched{"told",       "tool_taken", "restarted", "asked", "told",
                                           "tool_taken", "restarted",  "asked",     "failed"};
    CHECK(whole.rungs == (human ? watched : alone));
    for (std::size_t cut = 1; cut < whole.journal.size(); ++cut) {
      stage killed{{.human = human}, {}, {}};
      while (killed.rungs.empty() || killed.rungs.back() != "failed")
        killed.run(r.model, cut);
      REQUIRE(killed.rungs == whole.rungs);
      REQUIRE(killed.journal.size() == whole.journal.size());
    }
  }
}

TROUPE_TEST("an answer that did not hold is part of the history, and a new attempt begins with nothing") {
  stage s;
  for (std::int64_t step = 1; step <= 2; ++step) {
    s.record(llm_responded{.step_id = "t@1/" + std::to_string(step), .message = saying("the same")});
    s.record(contract_violated{step, {"/facts: too few"}});
  }
  auto loops = rebuild_loops(s.journal, 1, {}, tool_named);
  const loop_step third{.number = 3, .said = sketch_of("The same"), .reply = reply_sign({"/facts: too few"})};
  CHECK(loops.watch.observe(third).found->kind == loop_kind::monologue);
  CHECK(!rebuild_loops(s.journal, 2, {}, tool_named).watch.observe(third).found);
  s.record(task_retried{2, "it failed"});
  CHECK(!rebuild_loops(s.journal, 2, {}, tool_named).watch.observe(third).found);
}

TROUPE_TEST("whom a human lets go on begins with nothing at its next request, not before") {
  stage s{{.human = true}, {}, {}};
  for (std::int64_t step = 1; step <= 6; ++step)
    s.record(llm_responded{.step_id = "t@1/" + std::to_string(step), .message = calling({{"c" + std::to_string(step), "read", "{}"}})});
  s.record(loop_detected{loop_kind::repeat, loop_rung::asked, 6, "c6", "read", 6, "x"});
  s.record(approval_requested{.id = "of a tool", .kind = approval_kind::tool});
  s.record(approval_decided{.id = "of a tool", .status = approval_status::approved});
  s.record(approval_requested{.id = "q", .kind = approval_kind::loop});
  const auto rung = [&] { return rebuild_loops(s.journal, 1, s.rules, tool_named).watch.rung(); };
  CHECK(rung() == loop_rung::asked);
  s.record(approval_decided{.id = "q", .status = approval_status::approved});
  CHECK(rung() == loop_rung::asked);
  s.record(tool_finished{"c6", {}, tool_status::not_started, "go on", 0});
  CHECK(rung() == loop_rung::asked);
  s.record(llm_responded{.step_id = "t@1/7", .message = calling({{"c7", "read", "{}"}})});
  CHECK(rung() == loop_rung::none);
  CHECK(!rebuild_loops(s.journal, 1, s.rules, tool_named)
             .watch.observe({.number = 7, .calls = {observe_call({"c7", "read", "{}"}, tool_named("read"))}})
             .found);
}

TROUPE_TEST("what a human is shown of a loop is bounded, and what the agent reads names who let it go on") {
  const loop_found repeat{loop_kind::repeat, 0, 6, true};
  const tool_call huge{"c2", "write", "{\"text\":\"" + std::string(100'000, 'x') + "\"}"};
  CHECK(loop_action(repeat, huge).dump().size() < 2'300);
  const auto told = loop_excuse_text(repeat, {"c1", "grep", "{}"}, "ana", "look into new.log");
  CHECK(told.find("ana has seen that and lets you go on: look into new.log") != std::string::npos);
  CHECK(loop_excuse_text(repeat, huge, {}, {}).size() < 700);
}

TROUPE_TEST("texts say what happened and what follows, in bounded words") {
  const tool_call grep{"c1", "grep", R"({"pattern":"ERROR"})"};
  const loop_found repeat{loop_kind::repeat, 0, 3, true};
  CHECK_EQ(
      loop_text(repeat, loop_rung::told, grep),
      std::string(
          R"(You are looping: you have called grep({"pattern":"ERROR"}) 3 times with the same result. Do something different. grep({"pattern":"ERROR"}) is refused from now on.)"));
  CHECK(loop_text(repeat, loop_rung::tool_taken, grep).ends_with(R"(The tool "grep" is taken away from you for the rest of this task.)"));
  CHECK(loop_text({loop_kind::repeat, 0, 3, false}, loop_rung::told, grep).find("with the same arguments") != std::string::npos);
  CHECK(loop_text({loop_kind::no_progress, 0, 6, true}, loop_rung::told, grep).find("grep 6 times with different arguments")
        != std::string::npos);
  CHECK(loop_refusal_text(call_ruling::refused_tool, grep, {}).find("no other tools") != std::string::npos);
  const tool_call huge{"c2", "write", "{\"text\":\"" + std::string(100'000, 'x') + "\"}"};
  CHECK(loop_text(repeat, loop_rung::told, huge).size() < 700);
}

TROUPE_TEST("the digest has each call once, its last outcome, and a bounded length") {
  conversation messages;
  const auto result = [](std::string id, std::string text, bool is_error) {
    return std::make_shared<const chat_message>(chat_message{role::tool, std::move(text), {}, std::move(id), is_error});
  };
  messages.push_back(calling({{"a1", "grep", R"({"pattern": "x"})"}}));
  messages.push_back(result("a1", "12 lines", false));
  messages.push_back(saying("I will look at b."));
  messages.push_back(calling({{"a2", "grep", R"({"pattern":"X"})"}, {"a3", "read", R"({"path":"b"})"}}));
  messages.push_back(result("a2", "refused", true));
  messages.push_back(result("a3", "beta", false));
  messages.push_back(calling({{"a4", "grep", R"({"pattern": "x"})"}}));
  const auto digest = loop_digest(messages, {loop_kind::repeat, 0, 3, true}, {"a4", "grep", R"({"pattern": "x"})"}, {"grep"});
  CHECK(digest.find("looping") != std::string::npos);
  CHECK(digest.find("- grep({\"pattern\": \"x\"}), 3 times: 12 lines\n") != std::string::npos);
  CHECK(digest.find("- read({\"path\":\"b\"}): beta\n") != std::string::npos);
  CHECK(digest.find("- you said: I will look at b.\n") != std::string::npos);
  CHECK(digest.ends_with("Taken away from you: \"grep\"."));
  for (int i = 0; i < 5'000; ++i) {
    messages.push_back(calling({{"m" + std::to_string(i), "read", "[" + std::to_string(i) + "]"}}));
    messages.push_back(result("m" + std::to_string(i), std::string(5'000, 'y'), false));
  }
  const auto long_one = loop_digest(messages, {loop_kind::repeat, 0, 3, true}, {"a4", "grep", std::string(9'000, 'z')}, {});
  CHECK(long_one.size() < 16'000);
  CHECK(long_one.find(" more …") != std::string::npos);
}

TROUPE_TEST("a restart's digest is where the conversation begins anew") {
  stage s;
  s.record(task_started{1, "do it", {}});
  s.record(llm_responded{.step_id = "t@1/1", .message = calling({{"a", "read", "{}"}})});
  s.record(tool_finished{"a", "read", tool_status::ok, "one", 0});
  s.record(llm_responded{.step_id = "t@1/2", .message = calling({{"b", "read", "{}"}, {"c", "read", "[1]"}})});
  s.record(loop_detected{loop_kind::repeat, loop_rung::restarted, 2, "b", "read", 5, "you did this and that"});
  const auto history = rebuild(s.journal);
  CHECK(history.results.empty());
  CHECK(history.unresolved.empty());
  CHECK_EQ(history.steps, 2);
  const auto all = history.assembled();
  REQUIRE(all.size() == 1);
  CHECK(all[0]->from == role::user);
  CHECK_EQ(all[0]->text, std::string("you did this and that"));
}

TROUPE_TEST("who takes a task over has done nothing of it yet; a resume takes no tool back") {
  stage s;
  for (std::int64_t step = 1; step <= 2; ++step) {
    const auto id = "c" + std::to_string(step);
    s.record(llm_responded{.step_id = "t@1/" + std::to_string(step), .message = calling({{id, "read", "{}"}})});
    s.record(tool_finished{id, "read", tool_status::ok, "the same", 0});
  }
  const loop_step third{.number = 3, .calls = {observe_call({"c3", "read", "{}"}, tool_named("read"))}};
  CHECK(rebuild_loops(s.journal, 1, {}, tool_named).watch.observe(third).found->kind == loop_kind::repeat);
  auto taken = s;
  taken.record(llm_responded{.step_id = "t@1/3", .message = calling({{"c3", "read", "{}"}})});
  taken.record(loop_detected{loop_kind::repeat, loop_rung::tool_taken, 3, "c3", "read", 3, "told"});
  CHECK(rebuild_loops(taken.journal, 1, {}, tool_named).taken == std::vector<std::string>{"read"});
  s.record(handed_off{});
  CHECK(!rebuild_loops(s.journal, 1, {}, tool_named).watch.observe(third).found);
  taken.record(handed_off{});
  CHECK(rebuild_loops(taken.journal, 1, {}, tool_named).taken.empty());
}

TROUPE_TEST("a summary is no answer: the exchange before it stays open until the cut") {
  stage s;
  s.record(llm_responded{.step_id = "t@1/1", .message = calling({{"c1", "read", "{}"}})});
  s.record(tool_finished{"c1", "read", tool_status::ok, "twelve lines", 0});
  s.record(llm_responded{.step_id = summary_step("t@1/2"), .message = saying("all of it, in short")});
  const auto loops = rebuild_loops(s.journal, 1, {}, tool_named);
  REQUIRE(loops.results.size() == 1);
  CHECK(loops.results[0].outcome != 0);
}

TROUPE_TEST("a table of results: what each says of the world") {
  struct row {
    const char* name;
    const char* text;
    tool_status status;
    bool known, succeeded, ran, hollow;
  };
  const row rows[] = {
      {"what it found", "twelve lines", tool_status::ok, true, true, true, false},
      {"that there is nothing", "[]", tool_status::ok, true, true, true, true},
      {"a failure, which is never empty by nature", "[]", tool_status::failed, true, false, true, false},
      {"nobody knows whether it did anything", "in doubt", tool_status::in_doubt, true, false, true, false},
      {"a refusal", "refused", tool_status::not_started, true, false, false, false},
      {"it was cancelled: nobody knows what it would have brought", "cancelled", tool_status::cancelled, false, false, true, false}};
  for (const auto& r : rows) {
    IN_ROW(r.name);
    const auto seen = observe_result(r.text, r.status);
    CHECK_EQ(seen.outcome != 0, r.known);
    CHECK_EQ(seen.succeeded, r.succeeded);
    CHECK_EQ(seen.ran, r.ran);
    CHECK_EQ(seen.hollow, r.hollow);
  }
}

TROUPE_TEST("a call is seen as its tool says: members that do not matter, whether it reads, whether it polls") {
  tool_spec polls;
  polls.effect = effect::none;
  polls.polling = true;
  polls.loop_ignore = {"at"};
  const tool_call one{"c1", "wait", R"({"at":1})"}, other{"c2", "wait", R"({"at":2})"};
  CHECK_EQ(observe_call(one, &polls).sign, observe_call(other, &polls).sign);
  CHECK(observe_call(one, nullptr).sign != observe_call(other, nullptr).sign);
  CHECK(observe_call(one, &polls).polling && observe_call(one, &polls).reads);
  CHECK(!observe_call(one, nullptr).polling && !observe_call(one, nullptr).reads && !observe_call(one, nullptr).idle);
  CHECK(observe_call(one, {nullptr, true}).idle);
}

TROUPE_TEST("another attempt of a task above begins with nothing too") {
  stage s;
  for (std::int64_t step = 1; step <= 2; ++step) {
    s.record(llm_responded{.step_id = "t@1/" + std::to_string(step), .message = saying("the same")});
    s.record(contract_violated{step, {"/facts: too few"}});
  }
  s.record(task_started{.within = "above@2/"});
  const loop_step third{.number = 3, .said = sketch_of("The same"), .reply = reply_sign({"/facts: too few"})};
  CHECK(!rebuild_loops(s.journal, 1, {}, tool_named).watch.observe(third).found);
}
