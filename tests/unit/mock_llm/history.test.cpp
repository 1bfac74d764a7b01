#include "test.hpp"

#include "mock_llm/server.hpp"
#include "mock_llm/wire.hpp"

TROUPE_SUITE(mock_history)

using namespace troupe;
using namespace troupe::mock_llm;

namespace {

struct row {
  const char* says;
  std::string body;
  const char* words; ///< a part of the refusal; empty: accepted
};

void check(vendor from, const std::vector<row>& rows) {
  parse_memory memory;
  for (const auto& row : rows) {
    IN_ROW(row.says);
    wire_request request;
    const auto refused = read_body(from, row.body, memory, request);
    const std::string message = refused ? refused->message : "";
    CHECK_EQ(refused.has_value(), *row.words != 0);
    if (message.find(row.words) == std::string::npos)
      CAF_MESSAGE(message);
    CHECK(message.find(row.words) != std::string::npos);
    if (refused)
      CHECK_EQ(refused->status, 400);
  }
}

std::string openai(const std::string& messages, const std::string& more = "") {
  return R"({"model": "m", )" + more + R"("messages": )" + messages + "}";
}

std::string anthropic(const std::string& messages,
                      const std::string& more = R"("tools": [{"name": "f", "input_schema": {"type": "object"}}], )") {
  return R"({"model": "m", "max_tokens": 10, )" + more + R"("messages": )" + messages + "}";
}

const std::string asked =
    R"({"role": "assistant", "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}},
                                                                  {"id": "b", "type": "function", "function": {"name": "f", "arguments": "{}"}}]})";
const std::string user = R"({"role": "user", "content": "hi"})";
const std::string result_a = R"({"role": "tool", "tool_call_id": "a", "content": "1"})";
const std::string result_b = R"({"role": "tool", "tool_call_id": "b", "content": "2"})";
const std::string use =
    R"({"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "f", "input": {}}, {"type": "tool_use", "id": "b", "name": "f", "input": {}}]})";
const std::string block_a = R"({"type": "tool_result", "tool_use_id": "a", "content": "1"})";
const std::string block_b = R"({"type": "tool_result", "tool_use_id": "b"})";
const std::string text_block = R"({"type": "text", "text": "and"})";

std::string list(std::initializer_list<std::string> parts) {
  std::string out = "[";
  for (const auto& part : parts)
    out += (out.size() > 1 ? "," : "") + part;
  return out + "]";
}

std::string blocks(std::initializer_list<std::string> parts) {
  return R"({"role": "user", "content": )" + list(parts) + "}";
}

} // namespace

TROUPE_TEST("OpenAI's histories: each call has exactly one result, right after it") {
  check(vendor::openai,
        {
            {"a question", openai(list({user})), ""},
            {"calls and their results, in any order", openai(list({user, asked, result_b, result_a, user})), ""},
            {"two users in a row are fine", openai(list({user, user})), ""},
            {"the developer speaks", openai(list({R"({"role": "developer", "content": "x"})", user})), ""},
            {"a result is missing at the end", openai(list({user, asked, result_a})), "did not have response messages: b"},
            {"results are missing before the next message", openai(list({user, asked, user})), "did not have response messages: a, b"},
            {"a result twice", openai(list({user, asked, result_a, result_a, result_b})), "must be a response to a preceeding message"},
            {"a result without a call", openai(list({user, result_a})), "must be a response to a preceeding message"},
            {"a result without an id", openai(list({user, asked, R"({"role": "tool", "content": ""})"})), "tool_call_id"},
            {"an id twice",
             openai(list({user, R"({"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": ""}},
                                                                                     {"id": "a", "function": {"name": "f", "arguments": ""}}]})"})),
             "Duplicate value"},
            {"arguments that are no text",
             openai(list({user, R"({"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": {}}}]})"})),
             "expected a string"},
            {"no calls in tool_calls", openai(list({R"({"role": "assistant", "tool_calls": []})"})), "empty array"},
            {"an assistant who says nothing", openai(list({user, R"({"role": "assistant"})"})), "expected a string, got null"},
            {"no messages", openai("[]"), "empty array"},
            {"messages missing", R"({"model": "m"})", "Missing required parameter: 'messages'."},
            {"model missing", R"({"messages": []})", "you must provide a model parameter"},
            {"no role", openai(list({R"({"content": "x"})"})), "messages[0].role"},
            {"an unknown role", openai(list({R"({"role": "boss", "content": "x"})"})), "Supported values are"},
            {"parts of a message",
             openai(list({R"({"role": "user", "content": [{"type": "text", "text": "x"}, {"type": "image_url", "image_url": {}}]})"})), ""},
            {"a part of an unknown type", openai(list({R"({"role": "user", "content": [{"type": "wat"}]})"})),
             "Invalid value: 'wat'. Supported values are: 'text', 'image_url'"},
            {"a part of no type", openai(list({R"({"role": "user", "content": [{"text": "x"}]})"})), "'messages[0].content[0].type'"},
            {"a text without its text", openai(list({R"({"role": "user", "content": [{"type": "text"}]})"})),
             "'messages[0].content[0].text'"},
            {"no JSON", "{\"model\": ", "could not parse the JSON body"},
            {"no object", "[]", "could not parse the JSON body"},
            {"bytes that are no UTF-8", openai(list({"{\"role\": \"user\", \"content\": \"\xff\"}"})), "could not parse the JSON body"},
            {"empty tools", openai(list({user}), R"("tools": [], )"), "Invalid 'tools': empty array"},
            {"a tool's name", openai(list({user}), R"("tools": [{"type": "function", "function": {"name": "a b"}}], )"),
             "does not match pattern"},
            {"tool_choice without tools", openai(list({user}), R"("tool_choice": "auto", )"), "only allowed when 'tools'"},
            {"a tool_choice among the tools",
             openai(list({user}), R"("tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
                                     "tool_choice": {"type": "function", "function": {"name": "f"}}, )"),
             ""},
            {"a tool_choice of another", openai(list({user}), R"("tools": [{"type": "function", "function": {"name": "f"}}],
                                     "tool_choice": {"type": "function", "function": {"name": "g"}}, )"),
             "no function named 'g' was specified in the 'tools' parameter"},
            {"a tool_choice without a name",
             openai(list({user}), R"("tools": [{"type": "function", "function": {"name": "f"}}], "tool_choice": {"type": "function"}, )"),
             "Missing required parameter: 'tool_choice.function.name'"},
            {"a word that is no tool_choice",
             openai(list({user}), R"("tools": [{"type": "function", "function": {"name": "f"}}], "tool_choice": "any", )"),
             "Supported values are: 'none', 'auto', and 'required'"},
            {"parameters that are no object",
             openai(list({user}), R"("tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "string"}}}], )"),
             "Invalid schema for function 'f': schema must be a JSON Schema of 'type: \"object\"', got 'type: \"string\"'."},
            {"parameters of no type",
             openai(list({user}), R"("tools": [{"type": "function", "function": {"name": "f", "parameters": {"properties": {}}}}], )"),
             "got 'type: \"None\"'."},
            {"one choice", openai(list({user}), R"("n": 1, )"), ""},
            {"no choice", openai(list({user}), R"("n": 0, )"), "Invalid 'n': integer below minimum value"},
            {"two choices, which are not played", openai(list({user}), R"("n": 2, )"), "one choice: 'n' can be 1 only"},
            {"stream_options without stream", openai(list({user}), R"("stream_options": {}, )"), "only allowed when 'stream'"},
            {"max_tokens of nothing", openai(list({user}), R"("max_tokens": 0, )"), "Expected a value >= 1"},
            {"too hot", openai(list({user}), R"("temperature": 2.5, )"), "temperature"},
        });
}

TROUPE_TEST("Anthropic's histories: roles alternate, results come first in the message after their calls") {
  check(vendor::anthropic,
        {
            {"a question", anthropic(list({user})), ""},
            {"calls, results, and a text", anthropic(list({user, use, blocks({block_b, block_a, text_block})})), ""},
            {"the assistant's words may be begun", anthropic(list({user, R"({"role": "assistant", "content": "{"})"})), ""},
            {"the assistant's begun words end in white space", anthropic(list({user, R"({"role": "assistant", "content": "So: "})"})),
             "final assistant content cannot end with trailing whitespace"},
            {"white space within the history is fine", anthropic(list({user, R"({"role": "assistant", "content": "So: "})", user})), ""},
            {"a tool's name", anthropic(list({user}), R"("tools": [{"name": "a b", "input_schema": {"type": "object"}}], )"),
             "tools.0.custom.name: String should match pattern '^[a-zA-Z0-9_-]{1,128}$'"},
            {"tool_choice without tools", anthropic(list({user}), R"("tool_choice": {"type": "auto"}, )"),
             "may only be specified while providing tools"},
            {"a tool_choice among the tools",
             anthropic(list({user}),
                       R"("tools": [{"name": "f", "input_schema": {"type": "object"}}], "tool_choice": {"type": "tool", "name": "f"}, )"),
             ""},
            {"a tool_choice of another",
             anthropic(list({user}),
                       R"("tools": [{"name": "f", "input_schema": {"type": "object"}}], "tool_choice": {"type": "tool", "name": "g"}, )"),
             "Tool 'g' not found in provided tools"},
            {"a result is missing", anthropic(list({user, use, blocks({block_a})})),
             "messages.1: `tool_use` ids were found without `tool_result` blocks immediately after: b"},
            {"all results are missing", anthropic(list({user, use, user})), "immediately after: a, b"},
            {"calls at the end", anthropic(list({user, use})), "immediately after: a, b"},
            {"results after a text", anthropic(list({user, use, blocks({text_block, block_a, block_b})})), "immediately after: a, b"},
            {"a result without a call", anthropic(list({blocks({block_a})})), "messages.0.content.0: unexpected `tool_use_id`"},
            {"a result twice", anthropic(list({user, use, blocks({block_a, block_a, block_b})})), "unexpected `tool_use_id`"},
            {"two users in a row", anthropic(list({user, user})), "roles must alternate"},
            {"two assistants in a row",
             anthropic(list({user, R"({"role": "assistant", "content": "x"})", R"({"role": "assistant", "content": "x"})"})),
             "roles must alternate"},
            {"the assistant begins", anthropic(list({R"({"role": "assistant", "content": "x"})"})),
             "first message must use the \"user\" role"},
            {"a system message", anthropic(list({R"({"role": "system", "content": "x"})"})), "top-level `system`"},
            {"empty content", anthropic(list({R"({"role": "user", "content": ""})"})), "non-empty content"},
            {"an empty text", anthropic(list({blocks({R"({"type": "text", "text": ""})"})})), "text content blocks must be non-empty"},
            {"a text of white space", anthropic(list({blocks({R"({"type": "text", "text": " \n"})"})})),
             "text content blocks must contain non-whitespace text"},
            {"content of white space", anthropic(list({R"({"role": "user", "content": "  "})"})),
             "text content blocks must contain non-whitespace text"},
            {"a call's id",
             anthropic(list({user, R"({"role": "assistant", "content": [{"type": "tool_use", "id": "a b", "name": "f", "input": {}}]})"})),
             "messages.1.content.0.tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'"},
            {"a result's id", anthropic(list({blocks({R"({"type": "tool_result", "tool_use_id": "a.b", "content": ""})"})})),
             "messages.0.content.0.tool_result.tool_use_id: String should match pattern '^[a-zA-Z0-9_-]+$'"},
            {"calls without tools", anthropic(list({user, use, blocks({block_a, block_b})}), ""), "must define tools"},
            {"an input that is no object",
             anthropic(list({user, R"({"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "f", "input": "x"}]})"})),
             "valid dictionary"},
            {"max_tokens missing", R"({"model": "m", "messages": []})", "max_tokens: Field required"},
            {"messages missing", R"({"model": "m", "max_tokens": 1})", "messages: Field required"},
            {"model missing", R"({"max_tokens": 1})", "model: Field required"},
            {"no messages", anthropic("[]"), "at least one message"},
            {"a tool without a schema", anthropic(list({user}), R"("tools": [{"name": "f"}], )"), "input_schema: Field required"},
            {"too hot", anthropic(list({user}), R"("temperature": 1.5, )"), "temperature"},
            {"no JSON", "x", "not valid JSON"},
        });
}

TROUPE_TEST("faults are read from their words") {
  const auto good = parse_faults("429:0.1 503:2,timeout:0.02");
  REQUIRE(good.has_value());
  REQUIRE(good->size() == 3);
  CHECK_EQ((*good)[0].what.status, 429);
  CHECK_EQ((*good)[0].probability, 0.1);
  CHECK_EQ((*good)[1].count, 2);
  CHECK((*good)[2].what.kind == llm::fault_kind::timeout);
  CHECK(parse_faults("").value().empty());
  for (const char* wrong : {"429", "429:", "429:0", "429:-1", "429:1.5", "429:x", "200:1", "999:1", "tmeout:1", "crash:1", "status:1",
                            "429:0.6 500:0.6", ":1", "429:nan"}) {
    IN_ROW(wrong);
    CHECK(!parse_faults(wrong).has_value());
  }
  CHECK(parse_faults("tmeout:1").error().message.find("did you mean \"timeout\"?") != std::string::npos);
}
