// What leaves for both vendors: bodies against recorded ones, headers as a real server sees them, bounds of tokens.
#include "test.hpp"

#include "llm/exchange.hpp"
#include "troupe/llm/anthropic.hpp"
#include "troupe/llm/openai.hpp"
#include "troupe/llm/provider_factory.hpp"
#include "troupe/util/redact.hpp"

TROUPE_SUITE(llm_requests)

using namespace troupe;
using namespace troupe::llm;
using test::say;
using test::test_server;

namespace {

llm_request history() {
  llm_request request;
  request.model = "gpt-4o";
  request.messages = {
      say(role::system, "You find facts."),
      say(role::user, "Find \"ERROR\"\n\ttabs, \x01 and Grüße 🌍"),
      say(role::assistant, "I'll look.",
          {{"call_1", "grep", R"({"path":"a.log"})"}, {"call:2", "functions.grep", R"({"path":)"}, {"call_3", "clock", ""}}),
      say(role::tool, "3 lines", {}, "call_1"),
      say(role::tool, "not JSON", {}, "call:2", true),
      say(role::tool, "", {}, "call_3"),
      say(role::system, "You are looping."),
      say(role::assistant, "", {{"call_4", "clock", " "}}),
      say(role::tool, "12:00", {}, "call_4"),
      say(role::user, ""),
  };
  request.tools = std::make_shared<const std::vector<tool_declaration>>(std::vector<tool_declaration>{
      {"grep", "Lines of a file", json::parse(R"({"type":"object","required":["path"],"properties":{"path":{"type":"string"}}})")},
      {"clock", "", nullptr},
  });
  request.tool_choice = "grep";
  request.temperature = 0.7;
  request.max_tokens = 2000;
  return request;
}

json body_of(const wire_format& format, const llm_request& request) {
  const auto text = format.body(request);
  CHECK_EQ(format.body_bytes(request), text.size());
  return json::parse(text);
}

json file(const std::string& name) {
  return json::parse(test::data_file(name));
}

} // namespace

TROUPE_TEST("OpenAI gets a whole history as its client would send it") {
  const auto body = body_of(*make_openai_format(), history());
  CHECK_EQ(body.dump(), file("history.openai.request.json").dump());
}

TROUPE_TEST("Anthropic gets a whole history as its client would send it: merged turns, results first, nothing blank") {
  const auto body = body_of(*make_anthropic_format(), history());
  CHECK_EQ(body.dump(), file("history.anthropic.request.json").dump());
}

TROUPE_TEST("tool_choice in each of its forms") {
  struct row {
    const char* choice;
    const char* openai;
    const char* anthropic;
  };
  const auto openai = make_openai_format();
  const auto anthropic = make_anthropic_format();
  for (const auto& each :
       {row{"", "null", "null"}, row{"auto", R"("auto")", R"({"type":"auto"})"}, row{"none", R"("none")", R"({"type":"none"})"},
        row{"required", R"("required")", R"({"type":"any"})"}, row{"unknown_tool", "null", "null"}}) {
    IN_ROW(each.choice);
    auto request = history();
    request.tool_choice = each.choice;
    CHECK_EQ(body_of(*openai, request).value("tool_choice", json()).dump(), each.openai);
    CHECK_EQ(body_of(*anthropic, request).value("tool_choice", json()).dump(), each.anthropic);
  }
  auto request = test::simple_request(); // without tools it would be a 400
  request.tool_choice = "required";
  CHECK(!body_of(*openai, request).contains("tool_choice"));
  CHECK(!body_of(*anthropic, request).contains("tool_choice"));
}

TROUPE_TEST("reasoning models take max_completion_tokens and no temperature") {
  struct row {
    const char* model;
    bool completion_tokens;
    bool temperature;
  };
  const auto format = make_openai_format();
  for (const auto& each :
       {row{"gpt-4o", false, true}, row{"gpt-4.1-mini", false, true}, row{"o1", true, false}, row{"o3-mini-2025-01-31", true, false},
        row{"o4-mini", true, false}, row{"gpt-5", true, false}, row{"gpt-5.1-codex", true, false}, row{"gpt-5-chat-latest", true, true},
        row{"openai/o3", true, false}, row{"ft:gpt-4o-mini:acme::id", false, true}, row{"ft:o4-mini:acme::id", true, false},
        row{"ollama-7b", false, true}, row{"o", false, true}, row{"o1ympus", false, true}, row{"meta-llama/Llama-3", false, true}}) {
    IN_ROW(each.model);
    auto request = test::simple_request();
    request.model = each.model;
    request.temperature = 1.5;
    const auto body = body_of(*format, request);
    CHECK_EQ(body.contains("max_completion_tokens"), each.completion_tokens);
    CHECK_EQ(body.contains("max_tokens"), !each.completion_tokens);
    CHECK_EQ(body.contains("temperature"), each.temperature);
    for (const char* field : {"max_tokens", "max_completion_tokens"}) {
      const auto told = body_of(*make_openai_format(field), request);
      CHECK_EQ(told.value(field, 0), request.max_tokens);
      CHECK(!told.contains("max_tokens") || !told.contains("max_completion_tokens"));
    }
  }
}

TROUPE_TEST("how much a model thinks is said where the file says it, and only to OpenAI's kind") {
  auto request = test::simple_request();
  CHECK(!body_of(*make_openai_format(), request).contains("reasoning_effort"));
  request.reasoning_effort = "none";
  CHECK_EQ(body_of(*make_openai_format(), request)["reasoning_effort"], "none");
  CHECK(!body_of(*make_anthropic_format(), request).contains("reasoning_effort"));
}

TROUPE_TEST("Claude models after Opus 4.6 take no temperature") {
  for (const auto& [model, takes] : std::initializer_list<std::pair<const char*, bool>>{{"claude-3-5-sonnet-20241022", true},
                                                                                        {"claude-3-haiku-20240307", true},
                                                                                        {"claude-2.1", true},
                                                                                        {"claude-instant-1.2", true},
                                                                                        {"claude-sonnet-4-20250514", true},
                                                                                        {"claude-haiku-4-5", true},
                                                                                        {"claude-opus-4-5@20251101", true},
                                                                                        {"claude-opus-4-6", true},
                                                                                        {"claude-opus-4-7", false},
                                                                                        {"anthropic.claude-opus-4-8-v1:0", false},
                                                                                        {"claude-sonnet-5", false},
                                                                                        {"claude-fable-5-1", false},
                                                                                        {"claude-opus-10", false},
                                                                                        {"my-model", true},
                                                                                        {"claude-next", true}}) {
    IN_ROW(model);
    auto request = test::simple_request();
    request.model = model;
    request.temperature = 0.5;
    CHECK_EQ(body_of(*make_anthropic_format(), request).contains("temperature"), takes);
  }
}

TROUPE_TEST("a tool's schema says its type and its properties, whatever its author left out") {
  for (const auto& [written, sent] : std::initializer_list<std::pair<json, json>>{
           {nullptr, {{"type", "object"}, {"properties", json::object()}}},
           {json::object(), {{"type", "object"}, {"properties", json::object()}}},
           {{{"type", "object"}}, {{"type", "object"}, {"properties", json::object()}}},
           {{{"properties", {{"a", true}}}, {"required", {"a"}}}, {{"type", "object"}, {"properties", {{"a", true}}}, {"required", {"a"}}}},
           {{{"type", "object"}, {"properties", {{"a", true}}}}, {{"type", "object"}, {"properties", {{"a", true}}}}}}) {
    IN_ROW(written.dump());
    auto request = test::simple_request();
    request.tools = std::make_shared<const std::vector<tool_declaration>>(std::vector<tool_declaration>{{"a", "", written}});
    CHECK_EQ(body_of(*make_openai_format(), request)["tools"][0]["function"]["parameters"], sent);
    CHECK_EQ(body_of(*make_anthropic_format(), request)["tools"][0]["input_schema"], sent);
  }
}

TROUPE_TEST("Anthropic never gets what it answers with 400") {
  const auto format = make_anthropic_format();
  llm_request request = test::simple_request();
  request.temperature = 1.8;
  request.messages = {say(role::assistant, "I begin"), say(role::user, " \n")};
  auto body = body_of(*format, request);
  CHECK_EQ(body["temperature"], 1.0);
  CHECK_EQ(
      body["messages"].dump(),
      R"x([{"content":[{"text":"(empty)","type":"text"}],"role":"user"},{"content":[{"text":"I begin","type":"text"}],"role":"assistant"},{"content":[{"text":"(empty)","type":"text"}],"role":"user"}])x");
  CHECK(!body.contains("system"));
  request.messages = {say(role::system, "a"), say(role::system, "b \"q\"")};
  body = body_of(*format, request);
  CHECK_EQ(body["system"], "a\n\nb \"q\"");
  CHECK_EQ(body["messages"].size(), 1);
  // Tools that are gone, but not from the history.
  request = history();
  request.tools = nullptr;
  body = body_of(*format, request);
  CHECK_EQ(body["tools"].size(), 3);
  CHECK_EQ(body["tool_choice"].dump(), R"({"type":"none"})");
  CHECK_EQ(body["tools"][1]["input_schema"]["type"], "object");
}

TROUPE_TEST("arguments that are no JSON object are wrapped, for every kind of nonsense") {
  for (const char* text : {"[1]", "\"a\"", "1", "{", "{\"a\":1}}", "nonsense \xff", "{\"a\":\xff}"}) {
    IN_ROW(text);
    const auto sent = json::parse(sendable_arguments(text));
    CHECK(sent.is_object());
    CHECK(sent.contains("invalid_arguments"));
  }
  CHECK_EQ(sendable_arguments(" {\"a\": 1} "), " {\"a\": 1} ");
  CHECK_EQ(sendable_arguments(""), "{}");
  std::string deep;
  for (int i = 0; i < 100'000; ++i)
    deep += R"({"a":)";
  CHECK(json::parse(sendable_arguments(deep)).contains("invalid_arguments"));
}

TROUPE_TEST("any bytes in a message leave as JSON") {
  std::string all;
  for (int i = 0; i < 256; ++i)
    all += static_cast<char>(i);
  auto request = test::simple_request(all + "\xC0\x80\xED\xA0\x80\xF4\x90\x80\x80\xE2\x82 é");
  for (const auto& format : {make_openai_format(), make_anthropic_format()})
    CHECK(body_of(*format, request).is_object());
}

TROUPE_TEST("a real server sees the vendor's path and headers, the configured ones last, and the agent on loopback only") {
  test_server server([](const auto&) { return test_server::reply{test_server::ok("{}")}; });
  http_client client;
  provider_spec spec;
  spec.name = "p";
  spec.base_url = server.url("/v1/");
  spec.headers = {{"OpenAI-Organization", "org"}, {"accept", "x/y"}};
  auto request = history();
  request.agent = "researcher\r\nX: y";
  test::start(**make_provider(spec, client, "sk-1"), request).get();
  auto seen = server.last();
  CHECK_EQ(seen.method, "POST");
  CHECK_EQ(seen.target, "/v1/chat/completions");
  CHECK_EQ(*seen.headers.find("authorization"), "Bearer sk-1");
  CHECK_EQ(*seen.headers.find("content-type"), "application/json");
  CHECK_EQ(*seen.headers.find("accept"), "x/y");
  CHECK_EQ(*seen.headers.find("openai-organization"), "org");
  CHECK_EQ(*seen.headers.find("x-troupe-agent"), "researcher__X: y");
  CHECK(json::parse(seen.body)["stream"] == true);

  spec.kind = provider_kind::anthropic; // a base URL with or without /v1
  spec.headers.clear();
  spec.stream = false;
  test::start(**make_provider(spec, client, "sk-2"), request).get();
  seen = server.last();
  CHECK_EQ(seen.target, "/v1/messages");
  CHECK_EQ(*seen.headers.find("x-api-key"), "sk-2");
  CHECK_EQ(*seen.headers.find("anthropic-version"), "2023-06-01");
  CHECK(seen.headers.find("authorization") == nullptr);
  CHECK(!json::parse(seen.body).contains("stream"));

  spec.base_url = "http://vendor.example";
  spec.proxy = server.url(); // to see what would go there
  test::start(**make_provider(spec, client, ""), request).get();
  seen = server.last();
  CHECK_EQ(seen.target, "http://vendor.example/v1/messages");
  CHECK(seen.headers.find("x-troupe-agent") == nullptr);
  CHECK(seen.headers.find("x-api-key") == nullptr);
  spec.headers = {{"X-Troupe-Agent", "yes"}};
  test::start(**make_provider(spec, client, ""), request).get();
  seen = server.last();
  CHECK_EQ(*seen.headers.find("x-troupe-agent"), "researcher__X: y");
}

TROUPE_TEST("a base URL that is none is an error that names provider and URL") {
  http_client client;
  for (const char* url : {"api.openai.com/v1", "ftp://x/", "http://"}) {
    IN_ROW(url);
    provider_spec spec;
    spec.name = "mine";
    spec.base_url = url;
    const auto made = make_provider(spec, client, "");
    REQUIRE(!made.has_value());
    CHECK(made.error().text().find("mine") != std::string::npos);
  }
  for (const char* url : {"http://localhost:1/v1", "http://127.0.0.1", "https://127.9.9.9:4", "http://[::1]:8080/x", "http://a.localhost"})
    CHECK(is_loopback_url(url));
  for (const char* url :
       {"https://api.openai.com", "http://127.evil.example", "http://localhost.example", "http://128.0.0.1", "http://evil/localhost"})
    CHECK(!is_loopback_url(url));
}

TROUPE_TEST("the bound of input tokens is at least a token a byte, and the estimate is far below it") {
  http_client client;
  provider_spec spec;
  spec.base_url = "http://127.0.0.1:1/v1";
  const auto with = make_provider(spec, client, "");
  const auto request = history();
  CHECK((*with)->input_token_bound(request) > static_cast<std::int64_t>(make_openai_format()->body(request).size()));
  CHECK((*with)->input_token_estimate(request) * 2 < (*with)->input_token_bound(request));
  CHECK((*with)->input_token_estimate(request) > 50);
  auto without = request;
  without.tools = nullptr;
  CHECK((*with)->input_token_bound(without) < (*with)->input_token_bound(request));
  CHECK((*with)->input_token_bound(without) > (*with)->input_token_estimate(without));
}
