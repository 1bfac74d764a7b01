#include "test.hpp"

#include "troupe/model/described.hpp"
#include "troupe/policy/answer_quality.hpp"
#include "troupe/policy/context_fit.hpp"

TROUPE_SUITE(answer_quality)

using namespace troupe;
using namespace troupe::policy;

namespace {

output_spec facts(std::int64_t retries = 0) {
  output_spec made;
  made.schema = json::parse(
      R"({ "type": "object", "properties": { "facts": { "type": "array", "items": { "type": "string" } } }, "required": ["facts"] })");
  made.retries = retries;
  return made;
}

answer_quality quality_of(const output_spec& rules, std::int64_t attempt = 1) {
  return {&rules, *contract::compile(rules), attempt, "List the facts."};
}

const char* const good = R"({"facts":["one"]})";
const char* const bad = R"({"facts":[7]})";

/// The commands in short: "record contract_violated", "repair", "check", "review critic 1", "ask", "feedback", "success", "quality_failed
/// contract".
std::string told(const quality_commands& commands) {
  std::string all;
  for (const auto& command : commands) {
    all += all.empty() ? "" : ", ";
    if (const auto* recorded = std::get_if<record_quality>(&command)) {
      all += "record";
      for (const auto& body : recorded->events)
        all += " " + std::string(type_of(event{.body = body}));
    } else if (std::holds_alternative<run_check>(command)) {
      all += "check";
    } else if (std::holds_alternative<repair_answer>(command)) {
      all += "repair";
    } else if (std::holds_alternative<pass_feedback>(command)) {
      all += "feedback";
    } else if (const auto* review = std::get_if<ask_reviewer>(&command)) {
      all += "review " + review->reviewer + " " + std::to_string(review->attempt);
    } else if (std::holds_alternative<ask_person>(command)) {
      all += "ask";
    } else {
      const auto& end = std::get<end_answer>(command);
      all += std::string(name_of(end.status)) + (end.reason.empty() ? "" : " " + end.reason)
             + (end.status == task_status::success ? " " + end.output.dump() : "");
    }
  }
  return all;
}

review_outcome verdict(json document) {
  return {task_status::success, {}, {}, std::move(document), {}};
}

event_ptr happened(event_body body) {
  return std::make_shared<const event>(event{.task = "t", .body = std::move(body)});
}

} // namespace

TROUPE_TEST("an answer that holds is the task's output") {
  const auto rules = facts();
  CHECK_EQ(told(quality_of(rules).answered(good, 1, {})), R"(success {"facts":["one"]})");
  answer_quality any(nullptr, {}, 1, "x");
  CHECK_EQ(told(any.answered("words", 1, {})), R"(success "words")");
}

TROUPE_TEST("it is asked again as often as the contract says, then it has failed") {
  const auto rules = facts(2);
  auto one = quality_of(rules);
  CHECK_EQ(told(one.answered(bad, 1, {})), "repair");
  CHECK_EQ(told(one.answered(bad, 2, {})), "repair");
  CHECK_EQ(told(one.answered(bad, 3, {})), "record contract_violated, quality_failed contract");
}

TROUPE_TEST("an answer that was cut off is a violation, also without a contract: only what its model ended is whole") {
  struct row {
    finish_reason finish;
    const char* rule; ///< null: it is whole
  };
  for (const auto& r :
       {row{finish_reason::stop, nullptr}, row{finish_reason::tool_calls, nullptr}, row{finish_reason::length, "max_tokens"},
        row{finish_reason::content_filter, "content_filter"}, row{finish_reason::other, "finish_reason"}}) {
    IN_ROW(name_of(r.finish));
    const auto cut_off = cut_off_by(r.finish, 10);
    CHECK_EQ(cut_off ? cut_off->rule : "", std::string(r.rule == nullptr ? "" : r.rule));
    answer_quality any(nullptr, {}, 1, "x");
    for (int asked = 0; asked < 2; ++asked)
      CHECK_EQ(told(any.answered("words", 1, cut_off)), r.rule == nullptr ? R"(success "words")" : "repair");
    const auto end = any.answered("words", 3, cut_off);
    CHECK_EQ(told(end), r.rule == nullptr ? R"(success "words")" : "record contract_violated, quality_failed contract");
    CHECK_EQ(std::get<end_answer>(end.back()).output, "words");
  }
}

TROUPE_TEST("the last answer is what a task leaves that ends otherwise") {
  auto rules = facts(2);
  rules.command = {"looks"};
  auto one = quality_of(rules);
  CHECK(one.left().is_null());
  one.answered(bad, 1, {}); // asked again
  CHECK_EQ(one.left(), json::parse(bad));
  one.answered("no JSON at all", 2, {});
  CHECK_EQ(one.left(), "no JSON at all");
  one.answered(good, 3, {}); // looked at
  CHECK_EQ(one.left(), json::parse(good));
  answer_quality any(nullptr, {}, 1, "x");
  any.answered("half of", 1, cut_off_by(finish_reason::length, 10));
  CHECK_EQ(any.left(), "half of");
}

TROUPE_TEST("the last answer comes from the journal too: of this attempt, and no summary, call or second answer to a step") {
  const auto answered = [](std::string step, std::string text, std::vector<tool_call> calls = {}) {
    return happened(
        llm_responded{.step_id = std::move(step),
                      .message = std::make_shared<const chat_message>(chat_message{role::assistant, std::move(text), std::move(calls)})});
  };
  const auto rules = facts(2);
  std::vector<event_ptr> events{happened(task_started{}), answered("t@1/1", "of the first attempt"), happened(task_retried{2, "x"}),
                                happened(task_started{.attempt = 2})};
  const auto left = [&] {
    auto one = quality_of(rules, 2);
    one.restore(events, 0);
    return one.left();
  };
  CHECK(left().is_null());
  events.push_back(answered("t@2/1", "words"));
  events.push_back(answered("t@2/1", "of a request that was overtaken"));
  events.push_back(happened(contract_violated{1, {}}));
  events.push_back(happened(message_injected{"again", "contract"}));
  CHECK_EQ(left(), "words");
  events.push_back(answered("t@2/2", "I look it up.", {{"c1", "grep", "{}"}}));
  events.push_back(answered(summary_step("t@2/3"), "a summary"));
  CHECK_EQ(left(), "words");
  events.push_back(answered("t@2/3", bad));
  CHECK_EQ(left(), json::parse(bad));
}

TROUPE_TEST("a monologue ends the repairs, and that answer was not asked again") {
  const auto rules = facts(2);
  auto one = quality_of(rules);
  CHECK_EQ(told(one.answered(bad, 1, {})), "repair");
  CHECK_EQ(told(one.repeats({}, 3)), "record contract_violated, quality_failed contract");
  CHECK_EQ(one.repairs(), 0);
}

TROUPE_TEST("a command looks at what the other rules let pass") {
  auto rules = facts(1);
  rules.command = {"looks"};
  auto one = quality_of(rules);
  CHECK_EQ(told(one.answered(bad, 1, {})), "repair");
  const auto asked = one.answered(good, 2, {});
  CHECK_EQ(told(asked), "check");
  CHECK_EQ(std::get<run_check>(asked[0]).text, good);
  CHECK_EQ(told(one.checked({.status = tool_status::failed, .output = "two are wanted\n"}, 5)),
           "record output_checked, record contract_violated, quality_failed contract");
  CHECK_EQ(told(one.checked({}, 5)), R"(record output_checked, success {"facts":["one"]})");
}

TROUPE_TEST("a command that says neither yes nor no is an error, not a violation, and the answer is kept") {
  auto rules = facts(3);
  rules.command = {"looks"};
  for (const auto status : {tool_status::not_started, tool_status::timed_out, tool_status::in_doubt, tool_status::cancelled}) {
    IN_ROW(name_of(status));
    auto one = quality_of(rules);
    one.answered(good, 1, {});
    const auto end = one.checked({.status = status, .output = "halfway", .error = "it was stopped after 30 s"}, 5);
    CHECK_EQ(told(end), "error contract_command");
    CHECK_EQ(std::get<end_answer>(end[0]).error, "the contract's command gave no verdict: it was stopped after 30 s");
    CHECK_EQ(std::get<end_answer>(end[0]).output, json::parse(good));
  }
}

TROUPE_TEST("what a reviewer says") {
  struct row {
    const char* rule;
    json said;
    const char* then;
  };
  const row rows[] = {
      {"pass takes the output as it is", {{"verdict", "pass"}}, R"(record output_reviewed, success {"facts":[7]})"},
      {"a revised output that holds is taken",
       {{"verdict", "revise"}, {"revised_output", {{"facts", {"seven"}}}}},
       R"(record output_reviewed, success {"facts":["seven"]})"},
      {"a revised output may come as its text",
       {{"verdict", "revise"}, {"revised_output", good}},
       R"(record output_reviewed, success {"facts":["one"]})"},
      {"one that does not hold goes to the agent with the feedback",
       {{"verdict", "revise"}, {"revised_output", {{"facts", {8}}}}},
       "record output_reviewed, record message_injected, feedback"},
      {"feedback alone goes to the agent",
       {{"verdict", "revise"}, {"feedback", "words"}},
       "record output_reviewed message_injected, feedback"},
      {"reject ends it", {{"verdict", "reject"}, {"feedback", "useless"}}, "record output_reviewed, quality_failed review"},
  };
  auto rules = facts();
  rules.reviewer = "critic";
  for (const auto& r : rows) {
    IN_ROW(r.rule);
    auto one = quality_of(rules);
    CHECK_EQ(told(one.answered(bad, 1, {})), "record contract_violated, review critic 1");
    CHECK_EQ(told(one.reviewed(verdict(r.said))), r.then);
  }
}

TROUPE_TEST("a reviewer is asked twice at most, and its reviews are numbered over all attempts") {
  auto rules = facts();
  rules.reviewer = "critic";
  auto one = quality_of(rules, 3);
  CHECK_EQ(told(one.answered(bad, 1, {})), "record contract_violated, review critic 5");
  CHECK_EQ(told(one.reviewed(verdict({{"verdict", "revise"}}))), "record output_reviewed message_injected, feedback");
  CHECK_EQ(told(one.answered(bad, 2, {})), "record contract_violated, review critic 6");
  CHECK_EQ(told(one.reviewed(verdict({{"verdict", "revise"}}))), "record output_reviewed, quality_failed review");
}

TROUPE_TEST("a review that fails is a rejection; one that is cut short ends the task as that") {
  auto rules = facts();
  rules.reviewer = "critic";
  auto one = quality_of(rules);
  one.answered(bad, 1, {});
  for (const auto& nothing : {json(), json("pass"), json::array()}) { // in a journal of an older version
    auto other = quality_of(rules);
    other.answered(bad, 1, {});
    CHECK_EQ(told(other.reviewed({task_status::success, {}, {}, nothing, {}})), "record output_reviewed, quality_failed review");
  }
  CHECK_EQ(told(one.reviewed({task_status::error, "llm_timeout", "no answer", nullptr, {}})),
           "record output_reviewed, quality_failed review");
  for (const auto cut : {task_status::budget_exceeded, task_status::timeout, task_status::cancelled}) {
    auto other = quality_of(rules);
    other.answered(bad, 1, {});
    CHECK_EQ(told(other.reviewed({cut, name_of(cut), "x", nullptr, {}})), std::string(name_of(cut)) + " " + name_of(cut));
  }
}

TROUPE_TEST("a human comes last, and what was modified must hold") {
  auto rules = facts();
  rules.reviewer = "critic";
  rules.human = true;
  const auto asked = [&] {
    auto one = quality_of(rules);
    one.answered(bad, 1, {});
    CHECK_EQ(told(one.reviewed(verdict({{"verdict", "reject"}}))), "record output_reviewed, ask");
    return one;
  };
  CHECK_EQ(told(asked().decided({approval_status::approved, "ana", {}, nullptr, true})), R"(success {"facts":[7]})");
  CHECK_EQ(told(asked().decided({approval_status::modified, "ana", {}, {{"facts", {"x"}}}, true})), R"(success {"facts":["x"]})");
  CHECK_EQ(told(asked().decided({approval_status::modified, "ana", {}, {{"facts", {1}}}, true})), "quality_failed rejected");
  const auto rejected = asked().decided({approval_status::rejected, "ana", "no use", nullptr, true});
  CHECK_EQ(told(rejected), "quality_failed rejected");
  CHECK_EQ(std::get<end_answer>(rejected[0]).error, "ana rejected the output: no use");
  CHECK_EQ(std::get<end_answer>(rejected[0]).output, json::parse(bad));
}

TROUPE_TEST("what is recorded of the last answer is neither recorded nor asked again") {
  auto rules = facts();
  rules.reviewer = "critic";
  const std::vector<event_ptr> until_given_up{happened(task_started{}), happened(llm_responded{}), happened(contract_violated{0, {}})};
  {
    auto one = quality_of(rules);
    one.restore(until_given_up, 0);
    CHECK_EQ(told(one.answered(bad, 1, {})), "review critic 1");
  }
  auto reviewed = until_given_up;
  reviewed.push_back(happened(output_reviewed{.reviewer = "critic", .verdict = review_verdict::pass}));
  {
    auto one = quality_of(rules);
    one.restore(reviewed, 0);
    CHECK_EQ(told(one.answered(bad, 1, {})), R"(success {"facts":[7]})");
  }
  auto passed_on = until_given_up;
  passed_on.push_back(happened(output_reviewed{.reviewer = "critic", .verdict = review_verdict::revise}));
  passed_on.push_back(happened(message_injected{"again", "review"}));
  {
    auto one = quality_of(rules);
    one.restore(passed_on, 0);
    CHECK_EQ(told(one.answered(bad, 2, {})), "record contract_violated, review critic 2");
  }
  rules.command = {"looks"};
  {
    auto one = quality_of(rules);
    one.restore({happened(task_started{}), happened(llm_responded{}), happened(output_checked{1, true, {}, 3})}, 0);
    CHECK_EQ(told(one.answered(good, 1, {})), R"(success {"facts":["one"]})");
  }
}

TROUPE_TEST("what an agent answered last is found without it") {
  const auto rules = facts();
  const auto says = [](const char* text) {
    return happened(llm_responded{.step_id = text, .message = std::make_shared<const chat_message>(chat_message{role::assistant, text})});
  };
  const std::vector<event_ptr> events{happened(task_started{}), says(good), happened(task_retried{2, {}}),
                                      happened(task_started{.attempt = 2}), says("It is: {\"facts\": [7]}")};
  CHECK_EQ(last_answer(&rules, events, 2), json::parse(bad));
  CHECK_EQ(last_answer(nullptr, events, 1), json(good));
  CHECK(last_answer(&rules, {happened(task_started{})}, 1).is_null());
}

TROUPE_TEST("nothing of another attempt of a task above is taken for this one's") {
  auto rules = facts();
  rules.reviewer = "critic";
  auto one = quality_of(rules);
  one.restore(
      {happened(task_started{}),
       happened(llm_responded{.step_id = "t@1/1", .message = std::make_shared<const chat_message>(chat_message{role::assistant, bad})}),
       happened(contract_violated{0, {}}), happened(output_reviewed{1, "critic", review_verdict::reject}),
       happened(task_finished{.status = task_status::quality_failed}), happened(task_started{.within = "above@2/"})},
      0);
  CHECK(one.left().is_null());
  CHECK_EQ(told(one.answered(bad, 1, {})), "record contract_violated, review critic 1");
}
