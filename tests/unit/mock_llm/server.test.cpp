#include "test.hpp"

#include <thread>

#include "client.hpp"

TROUPE_SUITE(mock_server)

using namespace troupe;
using namespace troupe::test;

namespace {

constexpr const char* echo = R"([{"when": {"any": true}, "reply": {"text": "{{ last }}!"}}])";
constexpr const char* chat = "/v1/chat/completions";
constexpr const char* hi = R"({"model": "m", "messages": [{"role": "user", "content": "hi"}]})";
constexpr const char* with_tools = R"([{"when": {"any": true}, "reply": {"text": "I look, then tell.", "tool_calls":
  [{"name": "grep", "arguments": {"pattern": "a\"b", "path": "log"}}, {"name": "ls"}]}, "usage": {"input": 30, "cached_input": 10, "output": 7}}])";

std::string streamed(std::string body, const char* more = "") {
  body.insert(1, std::string("\"stream\": true, ") + more);
  return body;
}

std::string anthropic(std::string_view messages, const char* more = "") {
  return R"({"model": "m", "max_tokens": 100, )" + std::string(more) + R"("messages": )" + std::string(messages) + "}";
}
constexpr const char* version = "anthropic-version: 2023-06-01\r\n";

mock_llm::options with_faults(const char* text, std::uint64_t seed = 0) {
  mock_llm::options chosen;
  chosen.faults = mock_llm::parse_faults(text).value();
  chosen.seed = seed;
  return chosen;
}

} // namespace

TROUPE_TEST("a whole answer in OpenAI's form") {
  running_server server(with_tools);
  const auto answer = server.ask(chat, hi);
  CHECK_EQ(answer.status, 200);
  const auto document = answer.document();
  CHECK_EQ(document["object"], "chat.completion");
  CHECK_EQ(document["model"], "m");
  const auto& choice = document["choices"][0];
  CHECK_EQ(choice["finish_reason"], "tool_calls");
  CHECK_EQ(choice["message"]["content"], "I look, then tell.");
  const auto& call = choice["message"]["tool_calls"][0];
  CHECK_EQ(call["type"], "function");
  CHECK_EQ(json::parse(call["function"]["arguments"].get<std::string>()), (json{{"pattern", "a\"b"}, {"path", "log"}}));
  CHECK_EQ(document["usage"]["prompt_tokens"], 30);
  CHECK_EQ(document["usage"]["completion_tokens"], 7);
  CHECK_EQ(document["usage"]["total_tokens"], 37);
  CHECK_EQ(document["usage"]["prompt_tokens_details"]["cached_tokens"], 10);
}

TROUPE_TEST("a stream in OpenAI's form: role, text in pieces, calls in pieces, finish, usage where asked for, [DONE]") {
  running_server server(with_tools);
  for (const bool usage : {false, true}) {
    const auto answer = server.ask(chat, streamed(hi, usage ? R"("stream_options": {"include_usage": true}, )" : ""));
    CHECK(answer.complete);
    CHECK(answer.head.find("content-type: text/event-stream") != std::string::npos);
    auto events = events_of(answer.body);
    REQUIRE(events.size() > 6);
    CHECK_EQ(events.back(), "[DONE]");
    events.pop_back();
    std::string text, arguments, finish, name;
    int pieces = 0;
    bool has_usage = false;
    for (const auto& event : events) {
      const auto chunk = json::parse(event);
      CHECK_EQ(chunk["object"], "chat.completion.chunk");
      if (chunk["choices"].empty()) {
        has_usage = true;
        CHECK_EQ(chunk["usage"]["prompt_tokens"], 30);
        continue;
      }
      CHECK_EQ(chunk.contains("usage"), usage);
      const auto& delta = chunk["choices"][0]["delta"];
      if (delta.contains("content") && delta["content"].is_string()) {
        text += delta["content"].get<std::string>();
        ++pieces;
      }
      if (delta.contains("tool_calls") && delta["tool_calls"][0]["index"] == 0) {
        const auto& function = delta["tool_calls"][0]["function"];
        name += function.value("name", "");
        arguments += function["arguments"].get<std::string>();
      }
      if (chunk["choices"][0]["finish_reason"].is_string())
        finish = chunk["choices"][0]["finish_reason"].get<std::string>();
    }
    CHECK_EQ(text, "I look, then tell.");
    CHECK(pieces >= 3);
    CHECK_EQ(name, "grep");
    CHECK_EQ(json::parse(arguments)["path"], "log");
    CHECK_EQ(finish, "tool_calls");
    CHECK_EQ(has_usage, usage);
  }
}

TROUPE_TEST("a whole answer in Anthropic's form: cached input stands beside the input") {
  running_server server(with_tools);
  const auto document = server.ask("/v1/messages", anthropic(R"([{"role": "user", "content": "hi"}])"), version).document();
  CHECK_EQ(document["type"], "message");
  CHECK_EQ(document["role"], "assistant");
  CHECK_EQ(document["stop_reason"], "tool_use");
  CHECK_EQ(document["content"][0], (json{{"type", "text"}, {"text", "I look, then tell."}}));
  CHECK_EQ(document["content"][1]["type"], "tool_use");
  CHECK_EQ(document["content"][1]["input"]["pattern"], "a\"b");
  CHECK_EQ(document["content"][2]["input"], json::object());
  CHECK_EQ(document["usage"]["input_tokens"], 20);
  CHECK_EQ(document["usage"]["cache_read_input_tokens"], 10);
  CHECK_EQ(document["usage"]["output_tokens"], 7);
}

TROUPE_TEST("a stream in Anthropic's form: the events in their order") {
  running_server server(with_tools);
  const auto answer = server.ask("/v1/messages", anthropic(R"([{"role": "user", "content": "hi"}])", R"("stream": true, )"), version);
  CHECK(answer.complete);
  std::string order, text, arguments;
  json last;
  for (const auto& event : events_of(answer.body)) {
    const auto document = json::parse(event);
    const auto type = document["type"].get<std::string>();
    CHECK(answer.body.find("event: " + type + "\n") != std::string::npos);
    if (type != "content_block_delta")
      order += type + " ";
    else if (document["delta"]["type"] == "text_delta")
      text += document["delta"]["text"].get<std::string>();
    else if (document["index"] == 1)
      arguments += document["delta"]["partial_json"].get<std::string>();
    if (type == "message_start") {
      CHECK_EQ(document["message"]["content"], json::array());
      CHECK_EQ(document["message"]["usage"]["input_tokens"], 20);
    }
    if (type == "message_delta")
      last = document;
  }
  CHECK_EQ(order, "message_start content_block_start ping content_block_stop content_block_start content_block_stop content_block_start "
                  "content_block_stop message_delta message_stop ");
  CHECK_EQ(text, "I look, then tell.");
  CHECK_EQ(json::parse(arguments)["path"], "log");
  CHECK_EQ(last["delta"]["stop_reason"], "tool_use");
  CHECK_EQ(last["usage"]["output_tokens"], 7);
}

TROUPE_TEST("both forms show a script the same conversation") {
  running_server server(
      R"([{"when": {"agent": "researcher", "turn": 2, "has_tool_result": "grep"}, "capture": {"all": {"from": "tool:grep", "pattern": ".+", "all": true}},
    "reply": {"text": "{{ first }}|{{ captured.all | join: \",\" }}|{{ last }}|{{ turn }}"}}])");
  const auto openai = server.ask(
      chat, R"({"model": "m", "messages": [{"role": "system", "content": "You are the researcher"}, {"role": "user", "content": "go"},
    {"role": "assistant", "content": null, "tool_calls": [{"id": "a", "type": "function", "function": {"name": "grep", "arguments": "{}"}},
                                                          {"id": "b", "type": "function", "function": {"name": "grep", "arguments": "{}"}}]},
    {"role": "tool", "tool_call_id": "a", "content": "one"}, {"role": "tool", "tool_call_id": "b", "content": [{"type": "text", "text": "two"}]}]})");
  CHECK_EQ(openai.at("/choices/0/message/content"), "go|one,two|two|2");
  const auto claude =
      server.ask("/v1/messages",
                 anthropic(R"([{"role": "user", "content": "go"},
    {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "grep", "input": {}}, {"type": "tool_use", "id": "b", "name": "grep", "input": {}}]},
    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": "one"},
                                 {"type": "tool_result", "tool_use_id": "b", "content": [{"type": "text", "text": "two"}]}]}])",
                           R"("system": "You are the researcher", "tools": [{"name": "grep", "input_schema": {"type": "object"}}], )"),
                 version);
  CHECK_EQ(claude.at("/content/0/text"), "go|one,two|two|2");
}

TROUPE_TEST("the header names the agent, and stats count by it") {
  running_server server(R"([{"when": {"agent": "writer"}, "reply": {"text": "w"}, "usage": {"input": 5, "output": 2}}])");
  CHECK_EQ(server.ask(chat, hi, "X-Troupe-Agent: writer\r\n").status, 200);
  CHECK_EQ(server.ask(chat, hi).status, 400);
  http_client client(server.port);
  client.get("/stats");
  const auto stats = client.read().document();
  CHECK_EQ(stats,
           json::parse(R"({"requests": 2, "by_status": {"200": 1, "400": 1}, "by_agent": {"writer": 1, "unknown": 1}, "max_in_flight": 1,
                                  "tokens": {"input": 5, "output": 2}})"));
}

TROUPE_TEST("the same request gets the same bytes") {
  running_server server(with_tools);
  CHECK_EQ(server.ask(chat, hi).body, server.ask(chat, hi).body);
  CHECK_EQ(server.ask(chat, streamed(hi)).body, server.ask(chat, streamed(hi)).body);
}

TROUPE_TEST("paths, methods and what is no HTTP") {
  running_server server(echo);
  struct row {
    const char* says;
    const char* bytes;
    int status;
  };
  const row rows[] = {
      {"alive", "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 200},
      {"models", "GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n", 200},
      {"a query does not matter", "GET /healthz?x=1 HTTP/1.1\r\nHost: x\r\n\r\n", 200},
      {"an unknown path", "GET /v2/models HTTP/1.1\r\nHost: x\r\n\r\n", 404},
      {"GET where POST is meant", "GET /v1/chat/completions HTTP/1.1\r\nHost: x\r\n\r\n", 405},
      {"POST where GET is meant", "POST /stats HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 405},
      {"no JSON", "POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n{", 400},
      {"no HTTP", "hello\r\n\r\n", 400},
      {"two lengths that differ", "POST /v1/messages HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}", 400},
  };
  for (const auto& row : rows) {
    IN_ROW(row.says);
    http_client client(server.port);
    client.send(row.bytes);
    CHECK_EQ(client.read().status, row.status);
  }
}

TROUPE_TEST("pipelined requests are answered one after the other, and a request may come byte by byte") {
  running_server server(echo);
  http_client client(server.port);
  const std::string one =
      "POST /v1/chat/completions HTTP/1.1\r\nContent-Length: " + std::to_string(std::string_view(hi).size()) + "\r\n\r\n" + hi;
  client.send(one + one + one);
  for (int i = 0; i < 3; ++i)
    CHECK_EQ(client.read().at("/choices/0/message/content"), "hi!");
  for (const char c : one)
    client.send(std::string(1, c));
  CHECK_EQ(client.read().status, 200);
  client.send("POST /chat/completions HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n");
  client.send("5\r\n" + std::string(hi).substr(0, 5) + "\r\n");
  const auto rest = std::string(hi).substr(5);
  char size[16];
  std::snprintf(size, sizeof size, "%zx", rest.size());
  client.send(std::string(size) + "\r\n" + rest + "\r\n0\r\n\r\n");
  CHECK_EQ(client.read().status, 200);
}

TROUPE_TEST("a body that is too large is drained, then answered 413 in the vendor's form; headers that are, 431") {
  mock_llm::options chosen;
  chosen.max_body_bytes = 100'000;
  running_server server(echo, chosen);
  const auto answer = server.ask(chat, std::string(150'000, 'x'));
  CHECK_EQ(answer.status, 413);
  CHECK_EQ(answer.at("/error/type"), "invalid_request_error");
  CHECK_EQ(server.ask("/v1/messages", std::string(150'000, 'x')).at("/error/type"), "request_too_large");
  http_client client(server.port);
  client.get("/healthz HTTP/1.1\r\nX-Long: " + std::string(20'000, 'x') + "\r\nX:");
  CHECK_EQ(client.read().status, 431);
}

TROUPE_TEST("whoever is refused early sees the answer and no reset, however much is still under way") {
  mock_llm::options chosen;
  chosen.max_body_bytes = 1u << 20;
  running_server server(echo, chosen);
  const std::string much(3u << 20, 'x');
  const std::vector<std::tuple<const char*, std::string, int>> rows{
      {"no HTTP", "nonsense\r\n\r\n" + much, 400},
      {"headers too large", "GET /healthz HTTP/1.1\r\nX: " + much, 431},
      {"body too large", "POST /v1/messages HTTP/1.1\r\nContent-Length: " + std::to_string(much.size()) + "\r\n\r\n" + much, 413},
      {"body far too large", "POST /v1/messages HTTP/1.1\r\nContent-Length: 999999999999\r\n\r\n" + much + much, 413}};
  for (const auto& [what, bytes, status] : rows) {
    IN_ROW(what);
    http_client client(server.port);
    client.send(bytes);
    const auto answer = client.read();
    CHECK_EQ(answer.status, status);
    CHECK(answer.complete);
    CHECK(!answer.reset);
    CHECK(answer.head.find("connection: close") != std::string::npos);
    CHECK(client.at_end());
  }
}

TROUPE_TEST("whoever asks before sending too large a body is told at once") {
  mock_llm::options chosen;
  chosen.max_body_bytes = 100;
  running_server server(echo, chosen);
  http_client client(server.port);
  client.send("POST /v1/chat/completions HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 101\r\n\r\n");
  CHECK_EQ(client.read().status, 413);
  CHECK(client.at_end());
}

TROUPE_TEST("thousands of pipelined requests are answered, each once and in order") {
  running_server server(R"([{"when": {"any": true}, "reply": {"text": "{{ first }}"}}])");
  http_client client(server.port);
  constexpr int count = 8'000; // more than 1 MiB of requests
  std::string all;
  for (int i = 0; i < count; ++i) {
    const auto body = R"({"model": "m", "messages": [{"role": "user", "content": ")" + std::to_string(i) + R"("}]})";
    all += "POST /v1/chat/completions HTTP/1.1\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
  }
  std::thread sender([&] { client.send(all); });
  for (int i = 0; i < count; ++i) {
    const auto answer = client.read();
    if (answer.at("/choices/0/message/content") == std::to_string(i))
      continue;
    IN_ROW(std::to_string(i));
    CHECK_EQ(answer.at("/choices/0/message/content"), std::to_string(i));
    break;
  }
  client.shut_down();
  sender.join();
}

TROUPE_TEST("a body that is not UTF-8 is refused as no JSON, and an agent's name that is not is mended") {
  running_server server(R"([{"when": {"last": "never"}, "reply": {"text": "x"}}])");
  const std::string bad = "{\"model\": \"m\", \"messages\": [{\"role\": \"user\", \"content\": \"\xff\"}]}";
  for (const auto* path : {chat, "/v1/messages"}) {
    const auto answer = server.ask(path, bad, version);
    CHECK_EQ(answer.status, 400);
    CHECK_EQ(answer.at("/error/type"), "invalid_request_error");
  }
  const auto unmatched = server.ask(chat, hi, "X-Troupe-Agent: a\xff\r\n");
  CHECK_EQ(unmatched.status, 400);
  CHECK_EQ(unmatched.at("/error/code"), "no_rule");
  http_client client(server.port);
  for (const auto* path : {"/stats", "/a\xff"}) {
    client.get(path);
    CHECK(client.read().document().is_object());
  }
}

TROUPE_TEST("a client that waits for 100-continue is told to go on") {
  running_server server(echo);
  http_client client(server.port);
  client.send("POST /v1/chat/completions HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: " + std::to_string(std::string_view(hi).size())
              + "\r\n\r\n");
  CHECK_EQ(client.read().status, 100);
  client.send(hi);
  CHECK_EQ(client.read().status, 200);
}

TROUPE_TEST("a request that does not arrive in time is told so, and its connection ends") {
  mock_llm::options chosen;
  chosen.request_timeout = std::chrono::milliseconds(1);
  running_server server(echo, chosen);
  http_client client(server.port);
  client.send("POST /v1/chat/comp");
  CHECK_EQ(client.read().status, 408);
  CHECK(client.at_end());
}

TROUPE_TEST("each fault of the command line misbehaves as it says") {
  const auto first_of = [](const char* fault, bool stream) {
    running_server server(echo, with_faults(fault));
    return server.ask(chat, stream ? streamed(hi) : hi);
  };
  for (const bool stream : {false, true}) {
    for (const int status : {429, 500, 503, 529}) {
      const auto answer = first_of((std::to_string(status) + ":1").c_str(), stream);
      CHECK_EQ(answer.status, status);
      CHECK(answer.at("/error/message").is_string());
    }
    CHECK(first_of("reset:1", stream).reset);
    const auto truncated = first_of("truncate:1", stream);
    CHECK_EQ(truncated.status, 200);
    CHECK(!truncated.complete);
    const auto malformed = first_of("malformed:1", stream);
    CHECK_EQ(malformed.status, 200);
    CHECK(malformed.complete);
    CHECK((stream ? json::parse(events_of(malformed.body).at(0), nullptr, false) : malformed.document()).is_discarded());
    const auto empty = first_of("empty:1", stream);
    CHECK(empty.complete);
    if (!stream)
      CHECK_EQ(empty.at("/choices/0/message/content"), "");
    const auto error = first_of("error200:1", stream);
    CHECK_EQ(error.status, 200);
    CHECK((stream ? json::parse(events_of(error.body).at(0)) : error.document()).contains("error"));
  }
  running_server server(echo, with_faults("529:1"));
  CHECK_EQ(server.ask("/v1/messages", anthropic(R"([{"role": "user", "content": "hi"}])"), version).at("/error/type"), "overloaded_error");
}

TROUPE_TEST("a request that is never answered is let go when its client goes, and counted as timeout") {
  running_server server(echo, with_faults("timeout:1"));
  {
    http_client client(server.port);
    client.post(chat, hi);
    http_client other(server.port); // answered after: so the first one was taken
    other.post(chat, hi);
    CHECK_EQ(other.read().status, 200);
    client.close();
  }
  const auto stats = server.server.stats();
  CHECK_EQ(stats["by_status"]["timeout"], 1);
  CHECK_EQ(stats["by_status"]["200"], 1);
}

TROUPE_TEST("a slow answer is slow also where the connection ends after it") {
  running_server server(echo, with_faults("slow:1"));
  const auto began = std::chrono::steady_clock::now();
  http_client client(server.port);
  client.post(chat, hi, "Connection: close\r\n");
  const auto answer = client.read();
  CHECK(answer.complete);
  CHECK(answer.head.find("connection: close") != std::string::npos);
  CHECK(client.at_end());
  CHECK(std::chrono::steady_clock::now() - began > std::chrono::milliseconds(1'000)); // a lower bound: 20 pieces, 100 ms apart
}

TROUPE_TEST("a slow answer comes in pieces, whole in the end") {
  running_server server(echo, with_faults("slow:1"));
  const auto begin = std::chrono::steady_clock::now();
  const auto answer = server.ask(chat, hi);
  CHECK_EQ(answer.at("/choices/0/message/content"), "hi!");
  CHECK(std::chrono::steady_clock::now() - begin > std::chrono::seconds(1));
}

TROUPE_TEST("with the same seed the same requests meet the same faults, in whatever order they arrive; another seed, others") {
  const auto statuses = [](std::uint64_t seed, bool backwards) {
    running_server server(echo, with_faults("500:0.3", seed));
    std::map<int, std::string> seen;
    for (int i = 0; i < 40; ++i) {
      const int number = backwards ? 39 - i : i;
      for (int again = 0; again < 2; ++again)
        seen[number] +=
            std::to_string(
                server.ask(chat, R"({"model": "m", "messages": [{"role": "user", "content": ")" + std::to_string(number) + "\"}]}").status)
            + " ";
    }
    return seen;
  };
  const auto once = statuses(7, false);
  CHECK(once == statuses(7, true));
  CHECK(once != statuses(8, false));
  int failed = 0;
  for (const auto& [number, text] : once)
    failed += text.find("500") != std::string::npos ? 1 : 0;
  CHECK(failed > 8);
  CHECK(failed < 34);
}

TROUPE_TEST("a rule's fault, headers and latency are seen over HTTP; a crash is for the process only") {
  running_server server(R"([{"when": {"last": "limit"}, "reply": {"text": "ok"}, "fault": {"status": 429, "retry_after": 2, "times": 1},
                             "headers": {"x-ratelimit-remaining-requests": "3"}},
                            {"when": {"any": true}, "reply": {"text": "fine"}, "fault": {"crash": true, "times": 1}, "latency": "20ms"}])");
  const auto* limit = R"({"model": "m", "messages": [{"role": "user", "content": "limit"}]})";
  const auto first = server.ask(chat, limit);
  CHECK_EQ(first.status, 429);
  CHECK(first.head.find("retry-after: 2\r\n") != std::string::npos);
  CHECK_EQ(first.at("/error/code"), "rate_limit_exceeded");
  const auto second = server.ask(chat, limit);
  CHECK_EQ(second.status, 200);
  CHECK(second.head.find("x-ratelimit-remaining-requests: 3\r\n") != std::string::npos);
  const auto begin = std::chrono::steady_clock::now();
  CHECK_EQ(server.ask(chat, hi).status, 200);
  CHECK(std::chrono::steady_clock::now() - begin >= std::chrono::milliseconds(20));
}

TROUPE_TEST("what cannot be started says why") {
  mock_llm::server server;
  auto chosen = mock_llm::options();
  CHECK(!server.start(chosen).has_value());
  chosen.script = *llm::parse_script(json::parse(R"({"rules": [{"when": {"any": true}, "reply": {"text": ""}}]})"));
  for (const char* address : {"", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:70000", "nohost:1", "0.0.0.0:0", "[::]:0", "192.0.2.1:0"}) {
    IN_ROW(address);
    chosen.listen = address;
    const auto refused = server.start(chosen);
    CHECK(!refused && refused.error().code == error_code::invalid_argument);
  }
  running_server other(echo);
  chosen.listen = "127.0.0.1:" + std::to_string(other.port);
  const auto taken = server.start(chosen);
  CHECK(!taken && taken.error().code == error_code::unavailable);
}
