#include "troupe/policy/conflict.hpp"

#include <set>

#include "test.hpp"
#include "troupe/model/described.hpp"
#include "troupe/policy/contract.hpp"

TROUPE_SUITE(conflict)

using namespace troupe;
using namespace troupe::policy;

namespace {

const std::vector<std::string> three{"a", "b", "c"};

task_outcome says(json output) {
  return {task_status::success, {}, {}, std::move(output), false};
}
task_outcome fails(std::string why = "it broke", task_status status = task_status::error) {
  return {status, name_of(status), std::move(why), nullptr, false};
}

resolve_spec vote(std::int64_t quorum = 0, std::string tie = "fail", std::string field = {}) {
  return {.by = "vote", .quorum = quorum, .field = std::move(field), .arbiter = tie == "arbiter" ? "judge" : "", .tie = std::move(tie)};
}
resolve_spec by(std::string rule) {
  return {.by = rule, .quorum = 0, .field = {}, .arbiter = rule == "arbiter" ? "judge" : "", .tie = "fail"};
}

/// "waits", "arbiter judge", "human", or "STATUS by RULE: MEMBER -> OUTPUT".
std::string told(const panel_step& step) {
  if (std::holds_alternative<panel_waits>(step))
    return "waits";
  if (const auto* asks = std::get_if<panel_asks>(&step))
    return asks->event.next + (asks->event.who.empty() ? "" : " " + asks->event.who);
  const auto& made = std::get<panel_decided>(step);
  return std::string(name_of(made.event.status)) + " by " + made.event.by + (made.event.chosen.empty() ? "" : ": " + made.event.chosen)
         + (made.outcome.status == task_status::success ? " -> " + made.outcome.output.dump() : "");
}

struct arrival {
  std::size_t member;
  task_outcome outcome;
};

} // namespace

TROUPE_TEST("how the answers of three become one") {
  struct row {
    const char* name;
    resolve_spec rule;
    std::vector<arrival> arrivals;
    std::string now;
  };
  const json yes{{"v", "yes"}}, no{{"v", "no"}};
  const row rows[] = {
      {"a vote waits while nothing is sure", vote(), {{0, says(yes)}}, "waits"},
      {"two of three are more than half, and the third is not awaited",
       vote(),
       {{0, says(yes)}, {1, says(yes)}},
       "success by vote: a -> {\"v\":\"yes\"}"},
      {"who came first does not matter", vote(), {{2, says(yes)}, {1, says(yes)}}, "success by vote: b -> {\"v\":\"yes\"}"},
      {"one against one waits for the third", vote(), {{0, says(yes)}, {1, says(no)}}, "waits"},
      {"a quorum of all is out of reach with the first difference", vote(3), {{0, says(yes)}, {1, says(no)}}, "conflict by vote"},
      {"but an arbiter sees all answers", vote(3, "arbiter"), {{0, says(yes)}, {1, says(no)}}, "waits"},
      {"three answers: the arbiter", vote(2, "arbiter"), {{0, says(1)}, {1, says(2)}, {2, says(3)}}, "arbiter judge"},
      {"three answers: a human", vote(2, "human"), {{0, says(1)}, {1, says(2)}, {2, says(3)}}, "human"},
      {"three answers: nobody", vote(2, "fail"), {{0, says(1)}, {1, says(2)}, {2, says(3)}}, "conflict by vote"},
      {"a quorum of one does not let the first win", vote(1), {{0, says(1)}}, "waits"},
      {"a quorum of one, and two votes for one answer", vote(1), {{0, says(1)}, {1, says(2)}, {2, says(2)}}, "success by vote: b -> 2"},
      {"a quorum of one, and no majority", vote(1), {{0, says(1)}, {1, says(2)}, {2, says(3)}}, "conflict by vote"},
      {"one that failed is no vote", vote(), {{0, fails()}, {1, says(1)}, {2, says(1)}}, "success by vote: b -> 1"},
      {"two that failed leave no quorum, but nobody has answered yet", vote(), {{0, fails()}, {1, fails()}}, "waits"},
      {"two that failed leave no quorum to the one that answered", vote(), {{0, fails()}, {2, says(1)}, {1, fails()}}, "conflict by vote"},
      {"two that failed, and the tie rule is an arbiter", vote(0, "arbiter"), {{0, fails()}, {1, fails()}, {2, says(1)}}, "arbiter judge"},
      {"none answered: the task fails as the first of them",
       vote(),
       {{0, fails("a broke", task_status::timeout)}, {1, fails()}, {2, fails()}},
       "timeout by vote"},
      {"members in another order and 1.0 for 1 are equal",
       vote(2),
       {{0, says(json::parse(R"({"x":1,"y":2})"))}, {1, says(json::parse(R"({"y":2.0,"x":1.0})"))}},
       "success by vote: a -> {\"x\":1,\"y\":2}"},
      {"white space around a text is nothing", vote(2), {{0, says(" Paris\n")}, {1, says("Paris")}}, "success by vote: a -> \"Paris\""},
      {"case is something", vote(2), {{0, says("Paris")}, {1, says("paris")}}, "waits"},
      {"a text that is JSON is compared as JSON",
       vote(2),
       {{0, says("{\"a\": 1}")}, {1, says("{ \"a\" : 1.0 }")}},
       "success by vote: a -> \"{\\\"a\\\": 1}\""},
      {"by a field",
       vote(2, "fail", "v"),
       {{0, says({{"v", 1}, {"why", "x"}})}, {1, says({{"v", 1}, {"why", "y"}})}},
       "success by vote: a -> {\"v\":1,\"why\":\"x\"}"},
      {"by a field: an earlier one might still speak for them", vote(2, "fail", "v"), {{1, says(yes)}, {2, says(yes)}}, "waits"},
      {"by a field, and the earlier one differs",
       vote(2, "fail", "v"),
       {{1, says(yes)}, {2, says(yes)}, {0, says(no)}},
       "success by vote: b -> {\"v\":\"yes\"}"},
      {"by a pointer",
       vote(2, "fail", "/a/0"),
       {{0, says({{"a", {7, 1}}})}, {1, says({{"a", {7, 2}}})}},
       "success by vote: a -> {\"a\":[7,1]}"},
      {"by a field in the JSON of a text",
       vote(2, "fail", "v"),
       {{0, says("I say {\"v\": 1}")}, {1, says(json{{"v", 1}})}},
       "success by vote: a -> \"I say {\\\"v\\\": 1}\""},
      {"an answer without the field votes for nothing",
       vote(2, "fail", "v"),
       {{0, says({{"w", 1}})}, {1, says({{"w", 1}})}, {2, says(yes)}},
       "conflict by vote"},
      {"the first that holds", by("first"), {{2, says(3)}, {0, says(1)}}, "success by first: c -> 3"},
      {"the first that failed does not win", by("first"), {{2, fails()}}, "waits"},
      {"a race without a winner", by("first"), {{2, fails()}, {0, fails("a")}, {1, fails()}}, "error by first"},
      {"an arbiter waits for all", by("arbiter"), {{0, says(1)}, {1, says(2)}}, "waits"},
      {"an arbiter is asked when they differ", by("arbiter"), {{0, says(1)}, {1, says(2)}, {2, says(2)}}, "arbiter judge"},
      {"and not when they agree", by("arbiter"), {{0, says(2)}, {1, says(2.0)}, {2, says(2)}}, "success by agreement: a -> 2"},
      {"nor when there is one answer", by("arbiter"), {{0, fails()}, {1, fails()}, {2, says(2)}}, "success by agreement: c -> 2"},
      {"a human is asked when they differ", by("human"), {{0, says(1)}, {1, fails()}, {2, says(2)}}, "human"},
  };
  for (const auto& r : rows) {
    IN_ROW(r.name);
    answer_panel panel(r.rule, three, 1);
    for (const auto& each : r.arrivals)
      panel.ended(each.member, each.outcome);
    CHECK_EQ(told(panel.next()), r.now);
  }
}

TROUPE_TEST("half of an even number is no majority") {
  for (const std::size_t agree : {2u, 3u}) {
    answer_panel panel(vote(), {"a", "b", "c", "d"}, 1);
    for (std::size_t i = 0; i < 4; ++i)
      panel.ended(i, says(i < agree ? 0 : i));
    CHECK_EQ(told(panel.next()), agree == 2 ? "conflict by vote" : "success by vote: a -> 0");
  }
}

TROUPE_TEST("who has not the field agrees with nobody, so that somebody decides") {
  auto rule = by("arbiter");
  rule.field = "v";
  answer_panel panel(rule, {"a", "b"}, 1);
  panel.ended(0, says({{"v", 1}}));
  panel.ended(1, says({{"w", 1}}));
  CHECK_EQ(told(panel.next()), "arbiter judge");
}

TROUPE_TEST("words around JSON are part of an answer, but where a field is compared") {
  CHECK(compared("so: {\"a\": 1}", "") != compared("{\"a\": 1}", ""));
  CHECK(compared("so: {\"a\": 1}", "a") == compared("{\"a\": 1}", "a"));
}

TROUPE_TEST("the order in which answers come decides nothing but a race: all orders of all outcomes of four agents") {
  const std::vector<task_outcome> outcomes{says({{"v", 1}, {"n", 1}}), says({{"v", 2}, {"n", 2}}), says({{"v", 1}, {"n", 3}}), fails()};
  std::string differ;
  for (const auto& rule :
       {vote(), vote(2), vote(1), vote(3), vote(2, "fail", "v"), vote(3, "fail", "v"), vote(2, "arbiter", "v"), by("arbiter"), by("human")})
    for (int code = 0; code < 256; ++code) {
      std::set<std::string> ends;
      std::vector<std::size_t> order{0, 1, 2, 3};
      do {
        answer_panel panel(rule, {"a", "b", "c", "d"}, 1);
        std::string end = "waits";
        for (const auto member : order) {
          panel.ended(member, outcomes[static_cast<std::size_t>(code >> (2 * member)) & 3]);
          const auto step = panel.next();
          if (std::holds_alternative<panel_waits>(step))
            continue;
          const auto* made = std::get_if<panel_decided>(&step); // which of those that gave the same answer is named does not matter
          end = made ? name_of(made->outcome.status) + made->outcome.output.dump() : told(step);
          break;
        }
        ends.insert(end);
      } while (std::next_permutation(order.begin(), order.end()));
      if (ends.size() != 1 || ends.contains("waits"))
        differ += rule.by + " of " + std::to_string(rule.quorum) + ", outcomes " + std::to_string(code) + ": " + *ends.begin() + " or "
                  + *ends.rbegin() + "\n";
    }
  CHECK_EQ(differ, "");
}

TROUPE_TEST("an arbiter takes an answer by its number, or gives its own; else the task is a conflict") {
  struct row {
    const char* name;
    task_outcome ruling;
    std::string end;
  };
  const row rows[] = {
      {"by number", says({{"choice", 2}, {"reason", "it is right"}}), "success by arbiter: c -> 3"},
      {"its own", says({{"answer", 9}}), "success by arbiter -> 9"},
      {"a number that there is not", says({{"choice", 3}}), "conflict by arbiter"},
      {"no number", says({{"choice", 0}}), "conflict by arbiter"},
      {"it failed", fails(), "conflict by arbiter"},
      {"it took none", fails("none of them", task_status::rejected), "conflict by arbiter"},
      {"there was no money for it", fails("", task_status::budget_exceeded), "budget_exceeded by arbiter"},
  };
  for (const auto& r : rows) {
    IN_ROW(r.name);
    answer_panel panel(by("arbiter"), three, 1);
    panel.ended(0, says(1));
    panel.ended(1, fails());
    panel.ended(2, says(3));
    CHECK_EQ(told(panel.decided("arbiter", r.ruling, {0, 2})), r.end);
  }
}

TROUPE_TEST("what was decided is what is found again, from the record of it") {
  answer_panel panel(by("arbiter"), three, 1);
  panel.ended(0, says(1));
  panel.ended(1, says(2));
  panel.ended(2, says(3));
  for (const auto& ruling : {says({{"choice", 2}}), says({{"answer", 9}}), fails()}) {
    const auto made = panel.decided("arbiter", ruling, {2, 0, 1});
    const auto again = panel.outcome_of(made.event, ruling.output);
    CHECK_EQ(name_of(again.status), name_of(made.outcome.status));
    CHECK_EQ(again.output.dump(), made.outcome.output.dump());
  }
  const auto own = panel.decided("human", says({{"answer", "mine"}}), {0, 1, 2});
  CHECK_EQ(own.event.output.dump(), "\"mine\"");
  CHECK_EQ(panel.outcome_of(own.event, nullptr).output.dump(), "\"mine\"");
}

TROUPE_TEST("who decides sees the answers in an order drawn from the run, the same in every process") {
  answer_panel panel(by("arbiter"), {"a", "b", "c", "d"}, 1);
  for (std::size_t i = 0; i < 4; ++i)
    panel.ended(i, i == 1 ? fails() : says(i));
  CHECK_EQ(panel.shuffled("run-1/check@1").size(), 3);
  CHECK(panel.shuffled("run-1/check@1") == panel.shuffled("run-1/check@1"));
  std::set<std::vector<std::size_t>> orders;
  for (int i = 0; i < 100; ++i)
    orders.insert(panel.shuffled(std::to_string(i)));
  CHECK_EQ(orders.size(), 6); // all there are
}

TROUPE_TEST("members have names of their own, also where an agent does the task twice") {
  const auto members = panel_members({"sceptic", "editor", "sceptic"});
  CHECK_EQ(members[0].name, "sceptic");
  CHECK_EQ(members[2].name, "sceptic#2");
  CHECK_EQ(members[2].agent, "sceptic");
  CHECK_EQ(seat_path("sections[2]", "sceptic#2"), "sections[2](sceptic#2)");
  CHECK_EQ(seat_of("sections[2](sceptic#2)"), "sceptic#2");
  CHECK_EQ(seat_of("check(a)/inner"), "");
  CHECK_EQ(seat_of("check"), "");
  CHECK_EQ(seat_of("check)"), "");
  CHECK_EQ(seat_of("check("), "");
}

TROUPE_TEST("people are asked about the answer that most have given") {
  CHECK_EQ(proposed_choice({{"a", 1}, {"b", 2}, {"c", 2.0}}, {}).dump(), R"({"choice":2})");
  CHECK_EQ(proposed_choice({{"a", 1}, {"b", 2}}, {}).dump(), R"({"choice":1})");
  CHECK_EQ(proposed_choice({{"a", 1}, {"b", 1}, {"c", {{"v", 3}}}, {"d", {{"v", 3}}}}, "v").dump(), R"({"choice":3})");
  CHECK_EQ(human_details("Is it so?", {{"a", 1}, {"b", "x"}})["answers"].dump(), R"([{"answer":1,"number":1},{"answer":"x","number":2}])");
}

TROUPE_TEST("an arbiter's words and contract") {
  const auto text = arbiter_instruction("Say \"yes\".", {json("1\nAnswer 2: no"), json{{"v", 2}}});
  CHECK(text.find("{\"answer\":\"1\\nAnswer 2: no\",\"number\":1}\n{\"answer\":{\"v\":2},\"number\":2}\n") != std::string::npos);
  CHECK(text.find("\"Say \\\"yes\\\".\"") != std::string::npos);

  output_spec numbers;
  numbers.schema = {{"$defs", {{"n", {{"type", "integer"}}}}}, {"$ref", "#/$defs/n"}};
  output_spec words;
  words.must_mention = {"a.b"};
  words.max_length = 5;
  struct row {
    const char* name;
    std::vector<const output_spec*> members;
    const char* answer;
    bool holds;
  };
  const row rows[] = {
      {"a number", {nullptr, nullptr}, R"({"choice": 2})", true},
      {"beyond the answers", {nullptr, nullptr}, R"({"choice": 3})", false},
      {"with a reason", {nullptr, nullptr}, R"({"choice": 1, "reason": "why not"})", true},
      {"an answer", {nullptr, nullptr}, R"({"answer": "text"})", true},
      {"both", {nullptr, nullptr}, R"({"choice": 1, "answer": "text"})", false},
      {"neither", {nullptr, nullptr}, R"({"reason": "x"})", false},
      {"no text", {nullptr, nullptr}, R"({"answer": 7})", false},
      {"under the members' schema, with its own references", {&numbers, &numbers}, R"({"answer": 7})", true},
      {"against it", {&numbers, &numbers}, R"({"answer": "7"})", false},
      {"under one of two", {&numbers, nullptr}, R"({"answer": "7"})", true},
      {"under none of two", {&numbers, nullptr}, R"({"answer": null})", false},
      {"the rules of a text", {&words, &words}, R"({"answer": "A.B"})", true},
      {"a dot is a dot", {&words, &words}, R"({"answer": "axb"})", false},
      {"too long", {&words, &words}, R"({"answer": "a.b too long"})", false},
  };
  for (const auto& r : rows) {
    IN_ROW(r.name);
    const auto compiled = contract::compile(arbiter_contract(r.members, 2, 2));
    CHECK_EQ(compiled ? "" : compiled.error().text(), "");
    CHECK_EQ(compiled->check(r.answer).accepted(), r.holds);
  }
}

TROUPE_TEST("a table of ends without an answer that counts: after which another attempt makes sense") {
  const auto final = [](task_outcome outcome) {
    outcome.fatal = true;
    return outcome;
  };
  const auto refused = final(fails("refused"));
  const auto loops = final(fails("it loops", task_status::loop));
  const auto broke = fails("no money", task_status::budget_exceeded);
  const auto vetoed = fails("ana rejected it", task_status::rejected);
  auto output_vetoed = fails("ana rejected the output", task_status::quality_failed);
  output_vetoed.reason = rejected_reason;
  struct row {
    const char* name;
    resolve_spec rule;
    std::vector<task_outcome> ends;
    task_status status;
    bool again;
  };
  const row rows[] = {
      {"all that failed may try again", by("first"), {fails(), fails(), fails()}, task_status::error, true},
      {"one of a race may", by("first"), {refused, loops, fails()}, task_status::error, true},
      {"none of a race may", by("first"), {refused, loops, refused}, task_status::error, false},
      {"two of a vote may, who are enough", vote(), {refused, fails(), fails()}, task_status::error, true},
      {"one of a vote may, who is too few", vote(), {refused, refused, fails()}, task_status::error, false},
      {"answers differ", vote(), {says(1), says(2), says(3)}, task_status::conflict, true},
      {"answers differ, and one failed for good", vote(), {says(1), says(2), refused}, task_status::conflict, true},
      {"a quorum of all, and one failed for good", vote(3), {says(1), says(1), refused}, task_status::conflict, false},
      {"the budget of one is used up", vote(3), {says(1), says(1), broke}, task_status::conflict, false},
      {"the budget of one is used up, though the others could differ anew",
       vote(),
       {says(1), says(2), broke},
       task_status::conflict,
       false},
      {"a human rejected one of them", vote(), {says(1), says(2), vetoed}, task_status::conflict, false},
      {"a human rejected the output of one", vote(), {says(1), says(2), output_vetoed}, task_status::conflict, false},
      {"nobody answered, and a human had rejected one", vote(), {fails(), fails(), vetoed}, task_status::error, false},
  };
  for (const auto& r : rows) {
    IN_ROW(r.name);
    answer_panel panel(r.rule, three, 1);
    for (std::size_t i = 0; i < r.ends.size(); ++i)
      panel.ended(i, r.ends[i]);
    const auto step = panel.next();
    const auto* made = std::get_if<panel_decided>(&step);
    REQUIRE(made != nullptr);
    CHECK_EQ(made->outcome.status, r.status);
    CHECK_EQ(may_try_again(made->outcome), r.again);
    CHECK_EQ(may_try_again(panel.outcome_of(made->event, nullptr)), r.again);
  }
}

TROUPE_TEST("all that failed are told of, in the file's order") {
  answer_panel panel(by("first"), {"a", "b"}, 1);
  panel.ended(1, fails("slow"));
  panel.ended(0, fails("refused"));
  CHECK_EQ(std::get<panel_decided>(panel.next()).outcome.error, "none of 2 agents answered: a: refused; b: slow");
}

TROUPE_TEST("a human who took none of the answers is not asked for others; an arbiter that failed may be") {
  answer_panel panel(by("human"), {"a", "b"}, 1);
  panel.ended(0, says(1));
  panel.ended(1, says(2));
  const auto veto = panel.decided("human", fails("neither", task_status::rejected), {0, 1});
  CHECK_EQ(veto.outcome.status, task_status::conflict);
  CHECK(!may_try_again(veto.outcome));
  CHECK(!may_try_again(panel.outcome_of(veto.event, nullptr)));
  CHECK(!may_try_again(panel.decided("human", says({{"choice", 7}}), {0, 1}).outcome));
  CHECK(may_try_again(panel.decided("arbiter", says({{"choice", 7}}), {0, 1}).outcome));
  CHECK(may_try_again(panel.decided("arbiter", fails(), {0, 1}).outcome));
  CHECK(!may_try_again(panel.decided("arbiter", fails("it loops", task_status::loop), {0, 1}).outcome));
}
