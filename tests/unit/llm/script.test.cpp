#include "test.hpp"

#include "troupe/llm/script.hpp"

TROUPE_SUITE(script)

using namespace troupe;
using namespace troupe::llm;

namespace {

script_ptr compiled(const char* text) {
  auto made = parse_script(json::parse(text));
  if (!made) {
    for (const auto& problem : made.error())
      CAF_MESSAGE(problem.text());
    CAF_FAIL("the script does not compile");
  }
  return *made;
}

message_ptr said(role from, std::string text) {
  return std::make_shared<const chat_message>(chat_message{from, std::move(text), {}, "", false});
}

message_ptr asked(std::vector<tool_call> calls) {
  return std::make_shared<const chat_message>(chat_message{role::assistant, "", std::move(calls), "", false});
}

message_ptr result(std::string id, std::string text) {
  return std::make_shared<const chat_message>(chat_message{role::tool, std::move(text), {}, std::move(id), false});
}

llm_request request_of(conversation messages, std::string agent = "researcher", std::string model = "m1") {
  llm_request request;
  request.agent = std::move(agent);
  request.model = std::move(model);
  request.messages = std::move(messages);
  return request;
}

/// One question, two greps, two answers.
llm_request after_tools(std::string first_output, std::string second_output = "") {
  return request_of({said(role::system, "You are the Researcher.\nBe brief."), said(role::user, "Which service fails? {\"limit\": 3}"),
                     asked({{"a", "count_errors", "{}"}, {"b", "grep", "{}"}}), result("a", std::move(first_output)),
                     result("b", std::move(second_output))});
}

struct rendered {
  std::string text;
  std::vector<tool_call> calls;
};

rendered answer(const script& script, const llm_request& request) {
  const auto view = view_of(request);
  const auto found = script.match(view);
  if (!found)
    return {"<no rule>", {}};
  auto reply = script.render(*found, view);
  if (!reply)
    return {"<" + reply.error().text() + ">", {}};
  return {reply->text, reply->tool_calls};
}

} // namespace

TROUPE_TEST("the first rule whose conditions all hold answers") {
  struct row {
    const char* says;
    const char* when;
    bool matches;
  };
  const row rows[] = {
      {"any", R"#({"any": true})#", true},
      {"the agent's name", R"#({"agent": "researcher"})#", true},
      {"another agent", R"#({"agent": "writer"})#", false},
      {"a part of the agent's name is not its name", R"#({"agent": "research"})#", false},
      {"turn counts assistant messages, and one", R"#({"turn": 2})#", true},
      {"another turn", R"#({"turn": 1})#", false},
      {"the model", R"#({"model": "m1"})#", true},
      {"another model", R"#({"model": "m"})#", false},
      {"last is a pattern, unanchored", R"#({"last": "disk f[u]ll"})#", true},
      {"last is the last message only", R"#({"last": "Which"})#", false},
      {"contains looks at every message", R"#({"contains": "Which service"})#", true},
      {"contains looks at the system prompt", R"#({"contains": "Be brief"})#", true},
      {"contains is no pattern", R"#({"contains": "Wh.ch"})#", false},
      {"some tool result", R"#({"has_tool_result": true})#", true},
      {"no tool result", R"#({"has_tool_result": false})#", false},
      {"a result of this tool", R"#({"has_tool_result": "grep"})#", true},
      {"no result of this tool", R"#({"has_tool_result": "ls"})#", false},
      {"all keys hold", R"#({"agent": "researcher", "turn": 2, "last": "full"})#", true},
      {"one of the keys does not hold", R"#({"agent": "researcher", "turn": 3, "last": "full"})#", false},
  };
  for (const auto& row : rows) {
    IN_ROW(row.says);
    const auto script = compiled((R"#({"rules": [{"when": )#" + std::string(row.when)
                                  + R"#(, "reply": {"text": "yes"}}, {"when": {"any": true}, "reply": {"text": "no"}}]})#")
                                     .c_str());
    CHECK_EQ(answer(*script, after_tools("3 billing", "disk full")).text, row.matches ? "yes" : "no");
  }
}

TROUPE_TEST("without a name in the request, the system prompt's first line names the agent") {
  const auto script = compiled(R"#({"rules": [{"when": {"agent": "researcher"}, "reply": {"text": "yes"}},
                                             {"when": {"any": true}, "reply": {"text": "no"}}]})#");
  const auto with_prompt = [&](std::string prompt) {
    return answer(*script, request_of({said(role::system, std::move(prompt)), said(role::user, "hi")}, "")).text;
  };
  CHECK_EQ(with_prompt("researcher"), "yes");
  CHECK_EQ(with_prompt("You are the Researcher, and careful."), "yes");
  CHECK_EQ(with_prompt("You are the researchers' editor."), "no");
  CHECK_EQ(with_prompt("You are the lead-researcher."), "no");
  CHECK_EQ(with_prompt("You write.\nAsk the researcher."), "no");
}

TROUPE_TEST("a request that no rule matches has no answer, and the words say which it was") {
  const auto script = compiled(R"#({"rules": [{"when": {"turn": 9}, "reply": {"text": "x"}}]})#");
  const auto request = after_tools("1 a", "bye");
  const auto view = view_of(request);
  CHECK(!script->match(view).has_value());
  CHECK(describe_unmatched(view).find("agent \"researcher\", model \"m1\", turn 2, last message \"bye\"") != std::string::npos);
}

TROUPE_TEST("templates write what the conversation and the captures hold") {
  struct row {
    const char* says;
    const char* text;
    const char* wanted;
  };
  // The tool's output is: "12 billing\n7 auth\n103 search\n7 mail".
  const row rows[] = {
      {"the last message", "{{ last }}", "b-result"},
      {"the first message of the user", "{{ first }}", "Which service fails? {\"limit\": 3}"},
      {"agent, model, turn", "{{agent}}/{{ model }}/{{turn}}", "researcher/m1/2"},
      {"a tool's newest result", "{{ tool.grep }}", "b-result"},
      {"a tool without a result is empty", "[{{ tool.ls }}]", "[]"},
      {"a text in quotes, for braces", "{{ \"{{\" }} and }}", "{{ and }}"},
      {"how many", "{{ captured.rows.count }} {{ captured.rows | count }}", "4 4"},
      {"an element and its field", "{{ captured.rows.1.service }}", "auth"},
      {"beyond the end is empty", "[{{ captured.rows.9.service }}]", "[]"},
      {"max is numeric when all are numbers", "{{ captured.rows | max: count | field: service }}", "search"},
      {"min: the first of equals", "{{ captured.rows | min: count | field: service }}", "auth"},
      {"max of texts is by their bytes", "{{ captured.rows | max: service | field: service }}", "search"},
      {"a list of fields, joined", "{{ captured.rows | field: service | join: \", \" }}", "billing, auth, search, mail"},
      {"as a JSON array", "{{ captured.rows | field: service | json }}", R"#(["billing","auth","search","mail"])#"},
      {"as a JSON text", "{{ captured.limit | json }}", "\"3\""},
      {"as a number", "{{ captured.limit | number | json }}", "3"},
      {"no number", "{{ captured.rows.0.service | number | json }}", "null"},
      {"sorted by number", "{{ captured.rows | sort_by: count | field: count | join: ' ' }}", "7 7 12 103"},
      {"sorted, reversed, taken", "{{ captured.rows | sort_by: count | reverse | take: 2 | field: service | join: ' ' }}",
       "search billing"},
      {"where, by a text", "{{ captured.rows | where: count, \"7\" | field: service | join: ' ' }}", "auth mail"},
      {"where, by a value", "{{ captured.rows | where: count, captured.rows.3.count | count }}", "2"},
      {"unique", "{{ captured.rows | field: count | unique | join: ' ' }}", "12 7 103"},
      {"tally: the most frequent first", "{{ captured.rows | tally: count | first | json }}", R"#({"count":2,"value":"7"})#"},
      {"first and last", "{{ captured.rows | first | field: service }} {{ captured.rows | last | field: service }}", "billing mail"},
      {"default", "{{ tool.ls | default: \"nothing\" }} {{ last | default: \"x\" }}", "nothing b-result"},
      {"a loop", "{{ each captured.rows }}{{ index }}:{{ item.service }} {{ end }}", "0:billing 1:auth 2:search 3:mail "},
      {"a loop with text between", "{{ each captured.rows | take: 2 join \", \" }}{{ item.service }}={{ item.count }}{{ end }}",
       "billing=12, auth=7"},
      {"loops within loops",
       "{{ each captured.rows | take: 2 as row }}{{ each captured.rows | where: count, row.count }}{{ row.service }}>{{ item.service }} {{ "
       "end }}{{ end }}",
       "billing>billing auth>auth auth>mail "},
      {"a loop over nothing", "[{{ each captured.none }}x{{ end }}]", "[]"},
      {"one thing is a list of one", "{{ captured.limit | join: \",\" }}{{ each captured.limit }}<{{ item }}>{{ end }}", "3<3>"},
      {"a filter that does not fit gives nothing", "[{{ captured.rows | field: absent | first }}{{ turn | field: x }}]", "[]"},
  };
  for (const auto& row : rows) {
    IN_ROW(row.says);
    json document = json::parse(R"#({"rules": [{"when": {"any": true}, "capture": {
      "rows": {"from": "tool:count_errors", "pattern": "^(?P<count>\\d+) (?P<service>\\S+)$", "all": true},
      "limit": {"from": "first", "pattern": "\"limit\": (\\d+)"},
      "none": {"pattern": "absent", "required": false}}, "reply": {}}]})#");
    document["rules"][0]["reply"]["text"] = row.text;
    const auto script = compiled(document.dump().c_str());
    CHECK_EQ(answer(*script, after_tools("12 billing\n7 auth\n103 search\n7 mail", "b-result")).text, row.wanted);
  }
}

TROUPE_TEST("captures take from their source what their pattern says") {
  struct row {
    const char* says;
    const char* capture;
    const char* wanted; ///< of {{ captured.x | json }}, or "<no rule>"
  };
  const row rows[] = {
      {"one group: its text", R"#({"from": "tool:grep", "pattern": "at (\\S+)"})#", "\"03:12\""},
      {"no group: the whole match", R"#({"from": "tool:grep", "pattern": "disk \\w+"})#", "\"disk full\""},
      {"named groups: an object", R"#({"from": "tool:grep", "pattern": "(?P<what>disk) (?P<how>\\w+)"})#",
       R"#({"how":"full","what":"disk"})#"},
      {"all: a list", R"#({"from": "tool:grep", "pattern": "^\\w+", "all": true})#", R"#(["disk","cpu","disk"])#"},
      {"unique", R"#({"from": "tool:grep", "pattern": "^\\w+", "all": true, "unique": true})#", R"#(["disk","cpu"])#"},
      {"last is where it looks unless told", R"#({"pattern": "disk"})#", "\"disk\""},
      {"empty matches end", R"#({"from": "system", "pattern": "Z*", "all": true, "unique": true})#", R"#([""])#"},
      {"the system prompt", R"#({"from": "system", "pattern": "Be (\\w+)"})#", "\"brief\""},
      {"the conversation", R"#({"from": "conversation", "pattern": "Which (\\w+)"})#", "\"service\""},
      {"JSON within a text", R"#({"from": "first", "pattern": "\\{.*\\}", "json": "/limit"})#", "3"},
      {"a part that is not there does not match", R"#({"from": "first", "pattern": "\\{.*\\}", "json": "/absent"})#", "<no rule>"},
      {"a whole result as JSON", R"#({"from": "tool:count_errors", "json": "/rows", "all": true})#", R"#([{"n":1},{"n":2}])#"},
      {"no JSON does not match", R"#({"from": "tool:grep", "json": ""})#", "<no rule>"},
      {"a required capture that does not match is no match of the rule", R"#({"from": "tool:ls", "pattern": "x"})#", "<no rule>"},
      {"one that is not required is empty", R"#({"from": "tool:ls", "pattern": "x", "required": false})#", "null"},
  };
  for (const auto& row : rows) {
    IN_ROW(row.says);
    const auto script = compiled((R"#({"rules": [{"when": {"any": true}, "capture": {"x": )#" + std::string(row.capture)
                                  + R"#(}, "reply": {"text": "{{ captured.x | json }}"}}]})#")
                                     .c_str());
    CHECK_EQ(answer(*script, after_tools(R"#({"rows": [{"n": 1}, {"n": 2}]})#", "disk full at 03:12\ncpu hot at 04:00\ndisk ok")).text,
             row.wanted);
  }
}

TROUPE_TEST("without all, the newest result of a tool counts; with all, every one, the oldest first") {
  const auto twice = request_of({said(role::user, "go"), asked({{"a", "grep", "{}"}, {"b", "grep", "{}"}}),
                                 result("a", "at 05:00 at 06:00"), result("b", "at 03:00 at 04:00")});
  const auto script = compiled(R"#({"rules": [{"when": {"any": true}, "capture": {
    "one": {"from": "tool:grep", "pattern": "at (\\S+)"}, "each": {"from": "tool:grep", "pattern": "at (\\S+)", "all": true}},
    "reply": {"text": "{{ captured.one }} of {{ captured.each | join: \" \" }}, earliest {{ captured.each | min }}"}}]})#");
  CHECK_EQ(answer(*script, twice).text, "03:00 of 05:00 06:00 03:00 04:00, earliest 03:00");
}

TROUPE_TEST("arguments keep the type of an expression that stands alone, and for_each makes one call an element") {
  const auto script = compiled(R"#({"rules": [{"when": {"any": true},
    "capture": {"rows": {"from": "tool:count_errors", "pattern": "^(?P<count>\\d+) (?P<service>\\S+)$", "all": true}},
    "reply": {"tool_calls": [
      {"name": "grep", "for_each": "captured.rows | take: 2", "arguments": {"pattern": "{{ item.service }}.*ERROR", "limit": "{{ item.count | number }}"}},
      {"name": "note", "id": "mine", "arguments": {"services": "{{ captured.rows | field: service }}", "deep": [{"n": "{{ turn }}"}, 1, null]}},
      {"name": "broken", "arguments": "{\"cut\": \"{{ captured.rows.0.service }}"}]}}]})#");
  const auto calls = answer(*script, after_tools("12 billing\n7 auth\n3 mail")).calls;
  REQUIRE(calls.size() == 4u);
  CHECK_EQ(calls[0].arguments, R"#({"limit":12,"pattern":"billing.*ERROR"})#");
  CHECK_EQ(calls[1].arguments, R"#({"limit":7,"pattern":"auth.*ERROR"})#");
  CHECK_EQ(calls[2].arguments, R"#({"deep":[{"n":2},1,null],"services":["billing","auth","mail"]})#");
  CHECK_EQ(calls[2].id, "mine");
  CHECK_EQ(calls[3].arguments, R"#({"cut": "billing)#");
  CHECK(calls[0].id != calls[1].id);
}

TROUPE_TEST("a reply written as json becomes its text, with templates in it filled in") {
  const auto script = compiled(R"#({"rules": [{"when": {"any": true},
    "capture": {"rows": {"from": "tool:count_errors", "pattern": "^(?P<count>\\d+) (?P<service>\\S+)$", "all": true}},
    "reply": {"json": {"worst": "{{ captured.rows | max: count | field: service }}", "all": "{{ captured.rows | field: service }}", "n": 2,
                       "words": "{{ captured.rows.count }} \"rows\""}}}]})#");
  CHECK_EQ(json::parse(answer(*script, after_tools("12 billing\n7 auth")).text),
           json::parse(R"#({"worst": "billing", "all": ["billing", "auth"], "n": 2, "words": "2 \"rows\""})#"));
}

TROUPE_TEST("the same request gets the same ids, another one gets others") {
  const auto script = compiled(R"#({"rules": [{"when": {"any": true}, "reply": {"tool_calls": [{"name": "grep"}]}}]})#");
  const auto id_of = [&](const llm_request& request) { return answer(*script, request).calls.at(0).id; };
  CHECK_EQ(id_of(after_tools("a")), id_of(after_tools("a")));
  CHECK(id_of(after_tools("a")) != id_of(after_tools("b")));
  CHECK_EQ(id_of(after_tools("a")).substr(0, 5), "call_");
}

TROUPE_TEST("usage is what the rule states, else estimated from characters; output never more than was asked for") {
  const auto usage_of = [](const char* rule, std::int64_t max_tokens) {
    const auto script =
        compiled((std::string(R"#({"usage": {"chars_per_token": 2}, "rules": [{"when": {"any": true}, "reply": {"text": "0123456789"})#")
                  + rule + "}]}")
                     .c_str());
    auto request = request_of({said(role::user, "ünï")});
    request.max_tokens = max_tokens;
    const auto view = view_of(request);
    const auto reply = script->render(*script->match(view), view);
    REQUIRE(reply.has_value());
    CHECK_EQ(reply->usage.has_value(), std::string_view(rule).find("none") == std::string_view::npos);
    return reply->usage.value_or(token_usage{});
  };
  CHECK_EQ(usage_of("", 100), (token_usage{2, 0, 0, 5}));
  CHECK_EQ(usage_of("", 3), (token_usage{2, 0, 0, 3}));
  CHECK_EQ(usage_of(R"#(, "usage": {"input": 812, "output": 40})#", 3), (token_usage{812, 0, 0, 40}));
  CHECK_EQ(usage_of(R"#(, "usage": {"input": -5, "cached_input": 4})#", 100), (token_usage{-5, 4, 0, 5}));
  CHECK_EQ(usage_of(R"#(, "usage": "none")#", 100), token_usage{});
}

TROUPE_TEST("a fault misbehaves its times, whoever asks, then the rule answers; the next fault of a list follows") {
  const auto script = compiled(R"#({"rules": [{"when": {"any": true}, "reply": {"text": "x"},
    "fault": [{"status": 429, "retry_after": 1.5, "times": 2}, {"crash": true, "times": 1}]}]})#");
  const auto request = request_of({said(role::user, "hi")});
  const auto view = view_of(request);
  const auto found = *script->match(view);
  const auto first = script->take_fault(found, true);
  REQUIRE(first.has_value());
  CHECK_EQ(first->status, 429);
  CHECK_EQ(first->retry_after, "1.5");
  CHECK_EQ(first->retry_after_ms->count(), 1'500);
  CHECK(script->take_fault(found, true).has_value());
  CHECK(!script->take_fault(found, false).has_value()); // over HTTP nobody can be crashed
  CHECK(script->take_fault(found, true)->kind == fault_kind::crash);
  CHECK(!script->take_fault(found, true).has_value());
}

TROUPE_TEST("a fault without times never ends, and its rule needs no reply") {
  const auto script = compiled(R"#({"rules": [{"when": {"any": true}, "fault": {"status": 500, "code": "c", "message": "m"}}]})#");
  const auto request = request_of({said(role::user, "hi")});
  const auto view = view_of(request);
  for (int i = 0; i < 5; ++i)
    CHECK_EQ(script->take_fault(*script->match(view), true).value_or(fault{}).message, "m");
}

TROUPE_TEST("what is wrong with a script is told with its pointer and the nearest right name, all at once") {
  struct row {
    const char* rule;
    const char* where;
    const char* words;
  };
  const row rows[] = {
      {R"#({"when": {"agnet": "x"}, "reply": {"text": ""}})#", "/rules/0/when/agnet", "did you mean \"agent\"?"},
      {R"#({"wehn": {"any": true}, "when": {"any": true}, "reply": {"text": ""}})#", "/rules/0/wehn", "did you mean \"when\"?"},
      {R"#({"reply": {"text": ""}})#", "/rules/0", "no condition"},
      {R"#({"when": {}, "reply": {"text": ""}})#", "/rules/0/when", "empty"},
      {R"#({"when": {"any": false}, "reply": {"text": ""}})#", "/rules/0/when/any", "true or left out"},
      {R"#({"when": {"any": true}})#", "/rules/0", "no reply"},
      {R"#({"when": {"any": true}, "reply": {}})#", "/rules/0/reply", "says nothing"},
      {R"#({"when": {"any": true}, "reply": "hi"})#", "/rules/0/reply", "is a mapping"},
      {R"#({"when": {"turn": 0}, "reply": {"text": ""}})#", "/rules/0/when/turn", "from 1 to"},
      {R"#({"when": {"turn": "1"}, "reply": {"text": ""}})#", "/rules/0/when/turn", "whole number"},
      {R"#({"when": {"last": "("}, "reply": {"text": ""}})#", "/rules/0/when/last", "regular expression"},
      {R"#({"when": {"any": true}, "reply": {"text": 7}})#", "/rules/0/reply/text", "put it in quotes"},
      {R"#({"when": {"any": true}, "reply": {"text": "{{ lst }}"}})#", "/rules/0/reply/text", "did you mean \"last\"?"},
      {R"#({"when": {"any": true}, "reply": {"text": "{{ captured.x }}"}})#", "/rules/0/reply/text", "captures nothing named \"x\""},
      {R"#({"when": {"any": true}, "reply": {"text": "{{ last"}})#", "/rules/0/reply/text", "\"}}\" is missing"},
      {R"#({"when": {"any": true}, "reply": {"text": "{{ each last }}"}})#", "/rules/0/reply/text", "{{ end }} is missing"},
      {R"#({"when": {"any": true}, "reply": {"text": "{{ end }}"}})#", "/rules/0/reply/text", "without {{ each"},
      {R"#({"when": {"any": true}, "reply": {"text": "{{ item }}"}})#", "/rules/0/reply/text", "within {{ each"},
      {R"#({"when": {"any": true}, "reply": {"text": "{{ last | uper }}"}})#", "/rules/0/reply/text", "no filter is named \"uper\""},
      {R"#({"when": {"any": true}, "reply": {"text": "{{ last | join }}"}})#", "/rules/0/reply/text", "needs an argument"},
      {R"#({"when": {"any": true}, "reply": {"text": "{{ last | count: 2 }}"}})#", "/rules/0/reply/text", "takes no argument"},
      {R"#({"when": {"any": true}, "reply": {"text": "{{ last.x }}"}})#", "/rules/0/reply/text", "has no parts"},
      {R"#({"when": {"any": true}, "reply": {"text": "{{ \"open }}"}})#", "/rules/0/reply/text", "does not end"},
      {R"#({"when": {"any": true}, "reply": {"tool_calls": [{"arguments": {}}]}})#", "/rules/0/reply/tool_calls/0", "no name"},
      {R"#({"when": {"any": true}, "reply": {"tool_calls": [{"name": "a", "args": {}}]}})#", "/rules/0/reply/tool_calls/0/args",
       "unknown key"},
      {R"#({"when": {"any": true}, "reply": {"tool_calls": [{"name": "a", "arguments": {"x": ["{{ y }}"]}}]}})#",
       "/rules/0/reply/tool_calls/0/arguments/x/0", "nothing is named"},
      {R"#({"when": {"any": true}, "reply": {"text": "", "finish": "done"}})#", "/rules/0/reply/finish", "known are: stop"},
      {R"#({"when": {"any": true}, "reply": {"text": ""}, "fault": {"times": 2}})#", "/rules/0/fault", "exactly one of"},
      {R"#({"when": {"any": true}, "reply": {"text": ""}, "fault": {"status": 200}})#", "/rules/0/fault/status", "from 400 to 599"},
      {R"#({"when": {"any": true}, "reply": {"text": ""}, "fault": {"status": 429, "times": 0}})#", "/rules/0/fault/times", "from 1"},
      {R"#({"when": {"any": true}, "reply": {"text": ""}, "fault": {"crash": true, "code": "x"}})#", "/rules/0/fault/code",
       "belongs to a status"},
      {R"#({"when": {"any": true}, "reply": {"text": ""}, "latency": "fast"})#", "/rules/0/latency", ""},
      {R"#({"when": {"any": true}, "reply": {"text": ""}, "usage": {"inputs": 1}})#", "/rules/0/usage/inputs", "did you mean \"input\"?"},
      {R"#({"when": {"any": true}, "reply": {"text": ""}, "headers": {"Content-Length": "1"}})#", "/rules/0/headers/Content-Length",
       "no header may"},
      {R"#({"when": {"any": true}, "reply": {"text": ""}, "capture": {"x": {"pattern": "(a)(b)"}}})#", "/rules/0/capture/x/pattern",
       "need names"},
      {R"#({"when": {"any": true}, "reply": {"text": ""}, "capture": {"x": {"from": "lst", "pattern": "a"}}})#", "/rules/0/capture/x/from",
       "did you mean \"last\"?"},
      {R"#({"when": {"any": true}, "reply": {"text": ""}, "capture": {"x": {"pattern": "a", "unique": true}}})#",
       "/rules/0/capture/x/unique", "all: true"},
      {R"#({"when": {"any": true}, "reply": {"text": ""}, "capture": {"x": {}}})#", "/rules/0/capture/x", "has a pattern"},
  };
  json all = {{"rules", json::array()}};
  for (const auto& row : rows) {
    IN_ROW(row.rule);
    json document = {{"rules", json::array({json::parse(row.rule)})}};
    all["rules"].push_back(json::parse(row.rule));
    const auto made = parse_script(document);
    REQUIRE(!made.has_value());
    CHECK_EQ(made.error().front().where, row.where);
    CHECK(made.error().front().message.find(row.words) != std::string::npos);
    if (made.error().front().message.find(row.words) == std::string::npos)
      CAF_MESSAGE(made.error().front().text());
  }
  CHECK(parse_script(all).error().size() >= std::size(rows));
}

TROUPE_TEST("what is no script is refused") {
  for (const char* text : {"null", "[]", "{}", R"#({"rules": []})#", R"#({"rules": {}})#",
                           R"#({"version": 2, "rules": [{"when": {"any": true}, "reply": {"text": ""}}]})#"}) {
    IN_ROW(text);
    CHECK(!parse_script(json::parse(text)).has_value());
  }
}

TROUPE_TEST("a reply that would be too large, or too much work, is an error and not a memory problem") {
  const auto many = [](const char* text) {
    json document =
        json::parse(R"#({"rules": [{"when": {"any": true}, "capture": {"w": {"pattern": "\\w+", "all": true}}, "reply": {}}]})#");
    document["rules"][0]["reply"]["text"] = text;
    std::string words;
    for (int i = 0; i < 5'000; ++i)
      words += "word" + std::to_string(i) + " ";
    const auto script = compiled(document.dump().c_str());
    return answer(*script, request_of({said(role::user, words)})).text;
  };
  CHECK(many("{{ each captured.w }}{{ each captured.w }}{{ item }}{{ end }}{{ end }}").find("larger than 1 MiB") != std::string::npos);
  CHECK(many("{{ each captured.w }}{{ each captured.w | sort | where: x, 1 }}{{ item }}{{ end }}{{ end }}").find("too much work")
        != std::string::npos);
  CHECK_EQ(many("{{ captured.w.count }}"), "5000");
}
