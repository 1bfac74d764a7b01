#include "troupe/policy/delegation.hpp"

#include "troupe/policy/handoff_watch.hpp"
#include "troupe/policy/replay.hpp"

#include "test.hpp"

TROUPE_SUITE(delegation)

using namespace troupe;
using namespace troupe::policy;

namespace {

agent_spec named(std::string name, std::vector<std::string> tools = {}, std::vector<std::string> delegates = {}) {
  agent_spec made;
  made.name = std::move(name);
  made.tools = std::move(tools);
  made.delegates = std::move(delegates);
  return made;
}

using names = std::vector<std::string>;

event_ptr made(std::string task, event_body body) {
  event e;
  e.task = std::move(task);
  e.body = std::move(body);
  return std::make_shared<const event>(std::move(e));
}

handed_off handed(std::string from, std::string to, std::int64_t said) {
  return {.from = std::move(from), .to = std::move(to), .text = "go on", .said = said};
}

} // namespace

TROUPE_TEST("who is asked may use what both have, or all of its own where the caller says so") {
  struct row {
    const char* name;
    names tools, delegates; // of the caller
    bool own;
    names granted;
  };
  const auto asked = named("writer", {"grep", "read"}, {"editor"});
  for (const auto& r :
       {row{"nothing in common", {"send"}, {"writer"}, false, {}}, row{"one tool in common", {"send", "read"}, {"writer"}, false, {"read"}},
        row{"an agent in common", {}, {"writer", "editor"}, false, {"agent:editor"}},
        row{"a tool of the agent's name is not the agent", {"editor", "agent:editor"}, {"writer"}, false, {}},
        row{"all in common", {"read", "grep"}, {"editor"}, false, {"grep", "read", "agent:editor"}},
        row{"rights of its own", {}, {"writer"}, true, {"grep", "read", "agent:editor"}}}) {
    IN_ROW(r.name);
    auto caller = named("lead", r.tools, r.delegates);
    caller.delegate.own_rights = r.own;
    CHECK(granted_by(caller, rights_of(caller, {}), asked) == r.granted);
  }
}

TROUPE_TEST("rights only ever shrink on the way down") {
  const auto first = named("a", {"read"}, {"b"});
  const auto second = named("b", {"read", "send"}, {"c"});
  const auto third = named("c", {"send"});
  const auto of_second = rights_of(second, granted_by(first, rights_of(first, {}), second));
  CHECK(of_second.tools == names{"read"});
  CHECK(of_second.delegates.empty());
  CHECK(granted_by(second, of_second, third).empty());
}

TROUPE_TEST("whether an agent that is asked can change anything: by what it and all behind it may use") {
  const auto tool = [](const char* name, effect what, const char* alternative = "") {
    tool_spec made;
    made.name = name;
    made.effect = what;
    made.alternative = alternative;
    return std::pair{made.name, made};
  };
  const std::map<std::string, tool_spec> tools{tool("read", effect::none), tool("send", effect::once), tool("put", effect::idempotent),
                                               tool("read_or_send", effect::none, "send"), tool("round", effect::none, "round")};
  struct row {
    const char* name;
    agent_spec lead;
    std::vector<agent_spec> others; ///< the first one is asked
    bool changes;
  };
  const auto own = [](agent_spec made) {
    made.delegate.own_rights = true;
    return made;
  };
  const auto to = [](agent_spec made, names handoffs) {
    made.handoffs = std::move(handoffs);
    return made;
  };
  const auto reviewed = [](agent_spec made, const char* by) {
    made.output.emplace().reviewer = by;
    return made;
  };
  const auto lead = named("lead", {"read", "send", "put", "read_or_send", "round", "gone"}, {"b", "c", "d"});
  for (const auto& r : std::vector<row>{
           {"it has no tools", lead, {named("b")}, false},
           {"it only reads", lead, {named("b", {"read", "round"})}, false},
           {"it writes", lead, {named("b", {"read", "put"})}, true},
           {"an alternative writes", lead, {named("b", {"read_or_send"})}, true},
           {"a tool that nobody knows", lead, {named("b", {"gone"})}, true},
           {"it would write, but may not", named("lead", {"read"}, {"b"}), {named("b", {"send", "read"})}, false},
           {"it may, with rights of its own", own(named("lead", {}, {"b"})), {named("b", {"send"})}, true},
           {"whom it asks has no more than itself", lead, {named("b", {}, {"c"}), named("c", {"send"})}, false},
           {"it is not allowed what it would grant", lead, {named("b", {"read"}, {"c"}), named("c", {"read", "send"})}, false},
           {"it grants rights of their own", lead, {own(named("b", {}, {"c"})), named("c", {"send"})}, true},
           {"it may not ask the one who writes", named("lead", {"send"}, {"b"}), {named("b", {}, {"c"}), named("c", {"send"})}, false},
           {"agents who ask each other",
            lead,
            {named("b", {"read"}, {"c", "d"}), named("c", {}, {"b"}), named("d", {"read"}, {"b", "c"})},
            false},
           {"the rights of its part stay when it is handed on",
            named("lead", {"read"}, {"b"}),
            {to(named("b"), {"c"}), named("c", {"send"})},
            false},
           {"who gets its part has no more than it was granted", lead, {to(named("b", {"read"}), {"c"}), named("c", {"send"})}, false},
           {"who gets its part writes", lead, {to(named("b", {"send"}), {"c"}), named("c", {"send"})}, true},
           {"its reviewer has tools of its own", named("lead", {}, {"b"}), {reviewed(named("b"), "c"), named("c", {"send"})}, true},
           {"who gets its part has a reviewer with tools of its own",
            named("lead", {}, {"b"}),
            {to(named("b"), {"c"}), reviewed(named("c"), "d"), named("d", {"send"})},
            true},
           {"its reviewer only reads", named("lead", {}, {"b"}), {reviewed(named("b"), "c"), named("c", {"read"})}, false},
           {"there is no such agent", lead, {named("x", {"send"})}, false},
       }) {
    IN_ROW(r.name);
    std::map<std::string, agent_spec> agents{{"lead", r.lead}};
    for (const auto& each : r.others)
      agents.emplace(each.name, each);
    CHECK_EQ(can_change(agents, tools, r.lead, rights_of(r.lead, {}), "b"), r.changes);
  }
}

TROUPE_TEST("a path names its place, and lies below who asked") {
  struct row {
    const char* name;
    std::int64_t attempt, step;
    std::size_t call;
    const char* path;
  };
  for (const auto& r :
       {row{"the first call of a step", 1, 3, 0, "sections[2]>writer#3"}, row{"a further one", 1, 3, 1, "sections[2]>writer#3.2"},
        row{"of a second attempt", 2, 3, 0, "sections[2]>writer#a2.3"}, row{"both", 12, 3, 10, "sections[2]>writer#a12.3.11"}}) {
    IN_ROW(r.name);
    const auto path = delegated_path("sections[2]", "writer", r.attempt, r.step, r.call);
    CHECK_EQ(path, r.path);
    CHECK(is_within(path, "sections[2]"));
    CHECK(is_within(path, "sections"));
    CHECK(!is_within(path, "sections[2]>write"));
    CHECK_EQ(std::string(parent_path(path)), "sections[2]");
    CHECK(!element_index(path));
    CHECK_EQ(depth_of(path), 1);
    CHECK_EQ(depth_of(delegated_path(path, "a", 1, 1, 0)), 2);
  }
}

TROUPE_TEST("only a task that ended well and said something is told as success") {
  struct row {
    const char* name;
    task_status status;
    const char *reason, *error;
    json output;
    const char* text;
    tool_status as;
  };
  for (const auto& r :
       {row{"it said something", task_status::success, "", "", "fine", R"({"status":"success","output":"fine"})", tool_status::ok},
        row{"it said something structured",
            task_status::success,
            "",
            "",
            {{"n", 1}},
            R"({"status":"success","output":{"n":1}})",
            tool_status::ok},
        row{"false is something", task_status::success, "", "", false, R"({"status":"success","output":false})", tool_status::ok},
        row{"it said nothing", task_status::success, "", "", nullptr, R"({"status":"error","error":"it said nothing"})",
            tool_status::failed},
        row{"it said white space", task_status::success, "", "", " \n", R"({"status":"error","error":"it said nothing"})",
            tool_status::failed},
        row{"it failed", task_status::error, "llm_failed", "no answer", nullptr, R"({"status":"error","error":"no answer"})",
            tool_status::failed},
        row{"it failed without words", task_status::error, "poison", "", nullptr, R"({"status":"error","error":"poison"})",
            tool_status::failed},
        row{"it failed and left something", task_status::quality_failed, "contract", "too short", "fi",
            R"({"status":"partial","output":"fi","error":"quality_failed (contract): too short"})", tool_status::failed},
        row{"its time was up", task_status::timeout, "timeout", "", nullptr, R"({"status":"timeout","error":"timeout"})",
            tool_status::timed_out},
        row{"it was cancelled", task_status::cancelled, "", "", nullptr, R"({"status":"cancelled","error":"cancelled"})",
            tool_status::cancelled},
        row{"it looped", task_status::loop, "loop", "it was looping", nullptr, R"({"status":"loop","error":"it was looping"})",
            tool_status::failed},
        row{"a limit was met", task_status::budget_exceeded, "budget_exceeded", "no steps left", nullptr,
            R"({"status":"budget_exceeded","error":"no steps left"})", tool_status::failed}}) {
    IN_ROW(r.name);
    const auto told = outcome_of(r.status, r.reason, r.error, r.output);
    CHECK_EQ(told.text, r.text);
    CHECK(told.status == r.as);
  }
}

TROUPE_TEST("an output without end is cut, and that is said") {
  const auto told = outcome_of(task_status::success, "", "", std::string(delegated_output_bytes_max + 10, 'x'));
  const auto read = json::parse(told.text);
  CHECK_EQ(read["output"].get<std::string>().size(), delegated_output_bytes_max);
  CHECK(read["cut"].get<std::string>().starts_with("the output has 1048586 bytes"));
  const auto whole = json::parse(outcome_of(task_status::success, "", "", std::string(delegated_output_bytes_max, 'x')).text);
  CHECK_EQ(whole["output"].get<std::string>().size(), delegated_output_bytes_max);
  CHECK(!whole.contains("cut"));
}

TROUPE_TEST("calls of other agents are read, and what is wrong is told") {
  struct row {
    const char *name, *tool, *arguments;
    const char* result; ///< "agent|instruction", "" for no colleague, or a part of the error
    bool good = true;
  };
  auto lead = named("lead", {"read"}, {"writer"});
  lead.handoffs = {"editor"};
  for (const auto& r :
       {row{"a task", "agent_writer", R"({"task":"x"})", "writer|x"},
        row{"a task with context", "agent_writer", R"({"task":"x","context":"y"})", "writer|x\n\nContext:\ny"},
        row{"a hand-off", "handoff_to_editor", R"({"reason":"x"})", "editor|x"}, row{"a tool", "read", "{}", ""},
        row{"an agent that it may not ask", "agent_editor", R"({"task":"x"})", ""},
        row{"an agent that it may not hand on to", "handoff_to_writer", R"({"reason":"x"})", ""},
        row{"no task", "agent_writer", "{}", "task", false}, row{"an empty task", "agent_writer", R"({"task":""})", "/task", false},
        row{"something more", "agent_writer", R"({"task":"x","tools":["send"]})", "tools", false},
        row{"no JSON", "agent_writer", "{", "JSON", false},
        row{"a hand-off without a reason", "handoff_to_editor", R"({"task":"x"})", "reason", false}}) {
    IN_ROW(r.name);
    const auto read = read_colleague_call(rights_of(lead, {}), r.tool, r.arguments);
    CHECK_EQ(read.has_value(), *r.result != '\0');
    if (!read)
      continue;
    CHECK_EQ(read->has_value(), r.good);
    if (*read)
      CHECK_EQ((*read)->agent + "|" + (*read)->instruction(), r.result);
    else
      CHECK(read->error().message.find(r.result) != std::string::npos);
  }
}

TROUPE_TEST("agents are declared as tools, with what they are good at") {
  auto lead = named("lead", {}, {"writer"});
  lead.handoffs = {"editor"};
  std::map<std::string, agent_spec> agents{{"writer", named("writer")}, {"editor", named("editor")}};
  agents["writer"].description = "Writes short texts.";
  const auto declared = colleague_declarations(agents, rights_of(lead, {}));
  REQUIRE(declared.size() == 2);
  CHECK_EQ(declared[0].name, "agent_writer");
  CHECK(declared[0].description.ends_with("Writes short texts."));
  CHECK(declared[0].parameters["required"] == json::array({"task"}));
  CHECK_EQ(declared[1].name, "handoff_to_editor");
  CHECK(declared[1].parameters["required"] == json::array({"reason"}));
  CHECK(colleague_declarations(agents, rights_of(lead, names{})).size() == 1);
  CHECK(colleague_declarations(agents, rights_of_reviewer(lead)).empty());
  CHECK(!read_colleague_call(rights_of_reviewer(lead), "agent_writer", R"({"task":"x"})"));
}

TROUPE_TEST("who takes a task over is told what was said and done, the latest first to be kept") {
  const auto say = [](role from, std::string text, std::vector<tool_call> calls = {}) {
    return std::make_shared<const chat_message>(chat_message{from, std::move(text), std::move(calls), {}, false});
  };
  const colleague_call call{true, "editor", "it is yours", "be brief"};
  const auto text = handoff_text("front", call, {say(role::assistant, "I look.", {{"1", "read", "{\"p\":1}"}}), say(role::tool, "alpha")});
  for (const auto* words : {"Agent \"front\" worked on this task before you", "it is yours", "be brief", "\"front\" said: I look.",
                            "called read({\"p\":1})", "it brought: alpha"})
    CHECK(text.find(words) != std::string::npos);
  conversation long_one;
  for (int i = 0; i < 100; ++i)
    long_one.push_back(say(role::assistant, "answer " + std::to_string(i) + " " + std::string(3'000, 'x')));
  const auto cut = handoff_text("front", call, long_one);
  CHECK(cut.size() < 26'000);
  CHECK(cut.find("answer 99") != std::string::npos);
  CHECK(cut.find("answer 1 ") == std::string::npos);
  CHECK(cut.find("[…]") != std::string::npos);
}

TROUPE_TEST("a turn is known by what it said and brought") {
  const auto say = [](role from, std::string text, bool is_error = false) {
    return std::make_shared<const chat_message>(chat_message{from, std::move(text), {}, {}, is_error});
  };
  const colleague_call call{true, "b", "take it", ""};
  const auto same = sign_of(call, {say(role::assistant, "Hm."), say(role::tool, "alpha")});
  CHECK(same.said == sign_of(call, {say(role::assistant, "Hm."), say(role::tool, "beta")}).said);
  CHECK(same.brought != sign_of(call, {say(role::assistant, "Hm."), say(role::tool, "beta")}).brought);
  CHECK(same.said != sign_of(call, {say(role::assistant, "Aha.")}).said);
  CHECK_EQ(sign_of(call, {say(role::tool, "refused", true)}).brought, 0u);
}

TROUPE_TEST("a hand-off that is refused leaves no trace; the second refusal ends the task") {
  handoff_watch watch;
  for (int i = 0; i < 5; ++i)
    CHECK(watch.rule(i % 2 == 0 ? "a" : "b", i % 2 == 0 ? "b" : "a", 1 + static_cast<std::uint64_t>(i % 2), 0) == handoff_ruling::pass);
  CHECK_EQ(watch.agent(), "b");
  CHECK(watch.rule("b", "a", 2, 0) == handoff_ruling::cycle);
  CHECK_EQ(watch.agent(), "b");
  CHECK_EQ(watch.number(), 5);
  CHECK(!watch.ends_the_task());
  CHECK(watch.rule("b", "a", 2, 0) == handoff_ruling::cycle);
  CHECK(watch.ends_the_task());
}

TROUPE_TEST("the journal tells who has a task; another attempt begins with nothing") {
  std::vector<event_ptr> events{made("t", task_started{1, "x", {}}), made("t", handed_off(handed("a", "b", 1))),
                                made("t", handoff_refused{"b", "a", "c", "cycle", 1}), made("u", task_started{1, "x", {}})};
  auto all = fold_handoffs(events);
  CHECK_EQ(all.size(), 1u);
  CHECK_EQ(all["t"].agent(), "b");
  CHECK_EQ(all["t"].refusals(), 1);
  CHECK_EQ(rebuild_run(events).tasks["t"].agent, "b");
  events.push_back(made("t", task_started{1, "x", {}})); // taken up again
  CHECK_EQ(fold_handoffs(events).size(), 1u);
  auto anew = events; // its sub-workflow begins its second attempt, and it its first one in that
  anew.push_back(made("t", task_started{1, "x", {}, "outer@2/"}));
  CHECK(fold_handoffs(anew).empty());
  events.push_back(made("t", task_started{2, "x", {}}));
  CHECK(fold_handoffs(events).empty());
}

TROUPE_TEST("the next agent's conversation begins with what it was told") {
  auto answer = std::make_shared<chat_message>();
  answer->from = role::assistant;
  answer->tool_calls = {{"c1", "handoff_to_b", "{}"}};
  llm_responded response;
  response.step_id = "t@1/1";
  response.message = answer;
  const auto history =
      rebuild({made("t", task_started{1, "x", {}}), made("t", response), made("t", contract_violated{2, {}}),
               made("t", tool_finished{"c1", "handoff_to_b", tool_status::ok, "ok", 0}), made("t", handed_off(handed("a", "b", 1)))});
  REQUIRE(history.messages.size() == 1);
  CHECK_EQ(history.messages[0]->text, "go on");
  CHECK(history.results.empty());
  CHECK_EQ(history.steps, 1);
  CHECK_EQ(history.repairs, 0);
  CHECK_EQ(history.agent, "b");
}
