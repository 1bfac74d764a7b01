// The state machine of a connection, without a server: what it sends for what comes in.
#include "troupe/tools/mcp_session.hpp"

#include <chrono>
#include <string>
#include <variant>
#include <vector>

#include "test.hpp"

using namespace troupe;
using namespace troupe::tools;
using namespace std::chrono_literals;

TROUPE_SUITE(mcp_session)

namespace {

const time_point start{};

mcp_message incoming(const json& of) {
  auto parsed = parse_mcp_messages(of.dump());
  REQUIRE(parsed.has_value());
  return parsed->front();
}

mcp_message result_of(std::int64_t id, json of) {
  return incoming(mcp_result(id, std::move(of)));
}

template <class T>
std::vector<T> all(const mcp_actions& actions) {
  std::vector<T> out;
  for (const auto& each : actions)
    if (const auto* found = std::get_if<T>(&each))
      out.push_back(*found);
  return out;
}

std::string methods(const mcp_actions& actions) {
  std::string out;
  for (const auto& each : all<mcp_send>(actions))
    out += (out.empty() ? "" : " ") + each.message.value("method", each.message.contains("error") ? "error" : "result");
  return out;
}

std::string header(const mcp_send& of, const std::string& name) {
  for (const auto& [key, value] : of.headers)
    if (key == name)
      return value;
  return "absent";
}

json tool(const std::string& name) {
  return {{"name", name}, {"description", "does " + name}, {"inputSchema", {{"type", "object"}}}};
}
json listing_of(const std::vector<std::string>& names, const std::string& next = {}) {
  json out{{"resultType", "complete"}, {"tools", json::array()}};
  for (const auto& name : names)
    out["tools"].push_back(tool(name));
  if (!next.empty())
    out["nextCursor"] = next;
  return out;
}

json discovery(bool changes = false) {
  return {
      {"resultType", "complete"}, {"supportedVersions", {mcp_modern_version}}, {"capabilities", {{"tools", {{"listChanged", changes}}}}}};
}
json greeting(const std::string& version = "2025-11-25", bool changes = false) {
  return {{"protocolVersion", version},
          {"capabilities", {{"tools", {{"listChanged", changes}}}}},
          {"serverInfo", {{"name", "x"}, {"version", "1"}}}};
}

/// A session of the stateless era that is open; its next request has id 3.
mcp_session opened(mcp_session_options options = {}) {
  mcp_session session(std::move(options));
  (void) session.open(start);
  (void) session.receive(result_of(1, discovery()), start);
  (void) session.receive(result_of(2, listing_of({"read", "write"})), start);
  REQUIRE(session.is_open());
  return session;
}

mcp_call call_of(std::uint64_t id, const std::string& tool, milliseconds timeout = 30s) {
  return {id, tool, {{"path", "a"}}, "run/step/" + std::to_string(id), timeout};
}

} // namespace

TROUPE_TEST("a stateless server is discovered, listed and called, each request with its version, client and capabilities") {
  mcp_session session({.server = "files"});
  auto sent = session.open(start);
  CHECK_EQ(methods(sent), "server/discover");
  sent = session.receive(result_of(1, discovery()), start);
  CHECK_EQ(methods(sent), "tools/list");
  sent = session.receive(result_of(2, listing_of({"read"})), start);
  CHECK_EQ(all<mcp_listed>(sent).size(), 1u);
  sent = session.call(call_of(7, "read"), start);
  const auto request = all<mcp_send>(sent).at(0).message;
  CHECK_EQ(request["method"], "tools/call");
  const auto meta = request["params"]["_meta"];
  CHECK_EQ(meta["io.modelcontextprotocol/protocolVersion"], mcp_modern_version);
  CHECK_EQ(meta["io.modelcontextprotocol/clientInfo"]["name"], "troupe");
  CHECK(meta["io.modelcontextprotocol/clientCapabilities"].is_object());
  CHECK_EQ(meta["troupe/idempotencyKey"], "run/step/7");
  CHECK_EQ(meta["progressToken"], request["id"]);
  sent = session.receive(result_of(3, {{"resultType", "complete"}, {"content", {{{"type", "text"}, {"text", "hello"}}}}}), start);
  const auto answers = all<mcp_answer>(sent);
  CHECK_EQ(answers.at(0).call, 7u);
  CHECK_EQ(answers.at(0).outcome.output, "hello");
}

TROUPE_TEST("a server that does not know how to be discovered is greeted as those before it were") {
  mcp_session session({.server = "old"});
  (void) session.open(start);
  auto sent = session.receive(incoming(mcp_error(1, -32601, "Method not found")), start);
  CHECK_EQ(methods(sent), "initialize");
  CHECK_EQ(all<mcp_send>(sent).at(0).message["params"]["protocolVersion"], "2025-11-25");
  CHECK(!all<mcp_send>(sent).at(0).message["params"].contains("_meta"));
  sent = session.receive(result_of(2, greeting("2025-06-18")), start);
  CHECK_EQ(methods(sent), "notifications/initialized tools/list");
  CHECK_EQ(session.version(), "2025-06-18");
  CHECK(!session.modern());
}

TROUPE_TEST("silence after discovering means an older server, and a late answer to it is ignored") {
  mcp_session session({.server = "old"});
  (void) session.open(start);
  CHECK(session.next_tick() == start + 10s);
  CHECK_EQ(methods(session.tick(start + 9s)), "");
  CHECK_EQ(methods(session.tick(start + 10s)), "initialize");
  CHECK(session.receive(incoming(mcp_error(1, -32601, "?")), start + 11s).empty());
}

TROUPE_TEST("one time for all of the opening: a server that says nothing is waited for once, and the words tell how long") {
  mcp_session mute({.server = "mute", .open_timeout = 4s});
  (void) mute.open(start);
  CHECK_EQ(methods(mute.tick(start + 2s)), "initialize");
  CHECK(mute.next_tick() == start + 4s);
  const auto broken = all<mcp_broken>(mute.tick(start + 4s));
  REQUIRE(broken.size() == 1);
  CHECK(broken.at(0).why.message.find("did not answer within 4000 ms") != std::string::npos);

  mcp_session slow({.server = "slow", .open_timeout = 4s});
  (void) slow.open(start);
  (void) slow.receive(result_of(1, discovery()), start + 1s);
  CHECK(slow.next_tick() == start + 4s);
  (void) slow.receive(result_of(2, listing_of({"a"}, "next")), start + 3s);
  CHECK(slow.next_tick() == start + 4s);
  (void) slow.receive(result_of(3, listing_of({"b"})), start + 3s);
  REQUIRE(slow.is_open());
  const json changed{{"jsonrpc", "2.0"}, {"method", "notifications/tools/list_changed"}};
  (void) slow.receive(incoming(changed), start + 60s);
  CHECK(slow.next_tick() == start + 64s); // another list has a time of its own
}

TROUPE_TEST("a version that is not supported is answered by one that is") {
  mcp_session session({.server = "s"});
  (void) session.open(start);
  json refusal = mcp_error(1, -32022, "Unsupported protocol version");
  refusal["error"]["data"] = {{"supported", {"2025-06-18", "2025-11-25"}}};
  auto sent = session.receive(incoming(refusal), start);
  CHECK_EQ(all<mcp_send>(sent).at(0).message["params"]["protocolVersion"], "2025-11-25");

  mcp_session strict({.server = "s", .protocol = mcp_modern_version});
  (void) strict.open(start);
  sent = strict.receive(incoming(refusal), start);
  CHECK_EQ(all<mcp_broken>(sent).size(), 1u);
}

TROUPE_TEST("pages are followed to the last, and pages without end are not") {
  mcp_session session({.server = "s"});
  (void) session.open(start);
  (void) session.receive(result_of(1, discovery()), start);
  auto sent = session.receive(result_of(2, listing_of({"a"}, "next")), start);
  CHECK_EQ(all<mcp_send>(sent).at(0).message["params"]["cursor"], "next");
  sent = session.receive(result_of(3, listing_of({"b"})), start);
  CHECK_EQ(session.tools().size(), 2u);

  mcp_session endless({.server = "s"});
  (void) endless.open(start);
  (void) endless.receive(result_of(1, discovery()), start);
  (void) endless.receive(result_of(2, listing_of({"a"}, "same")), start);
  sent = endless.receive(result_of(3, listing_of({"b"}, "same")), start);
  CHECK_EQ(all<mcp_broken>(sent).size(), 1u);
}

TROUPE_TEST("a call whose time is up fails alone, and the server is told") {
  auto session = opened({.server = "s"});
  (void) session.call(call_of(1, "read", 5s), start);
  (void) session.call(call_of(2, "write", 60s), start);
  (void) session.receive(
      incoming(
          {{"jsonrpc", "2.0"}, {"method", "notifications/progress"}, {"params", {{"progressToken", 3}, {"progress", 2}, {"total", 9}}}}),
      start);
  auto sent = session.tick(start + 5s);
  CHECK_EQ(methods(sent), "notifications/cancelled server/discover"); // and is it still there?
  CHECK_EQ(all<mcp_send>(sent).at(0).message["params"]["requestId"], 3);
  const auto answers = all<mcp_answer>(sent);
  REQUIRE(answers.size() == 1);
  CHECK_EQ(answers.at(0).call, 1u);
  CHECK(answers.at(0).outcome.status == tool_status::timed_out);
  CHECK(answers.at(0).outcome.error.find("2 of 9") != std::string::npos);
  CHECK(session.is_open());
  CHECK(all<mcp_answer>(session.receive(result_of(3, {{"content", json::array()}}), start + 6s)).empty()); // late
  CHECK_EQ(all<mcp_answer>(session.receive(result_of(4, {{"content", json::array()}}), start + 7s)).size(), 1u);
}

TROUPE_TEST("a cancelled call is answered once; over HTTP its response is closed and nothing more is sent") {
  auto session = opened({.server = "s", .http = true});
  (void) session.call(call_of(1, "read"), start);
  auto sent = session.cancel(1, start);
  CHECK_EQ(all<mcp_drop>(sent).size(), 1u);
  CHECK_EQ(methods(sent), "");
  CHECK_EQ(all<mcp_answer>(sent).size(), 1u);
  CHECK(session.cancel(1, start).empty());
}

TROUPE_TEST("garbage breaks the connection, and every call in flight is told that its outcome is unknown") {
  auto session = opened({.server = "s"});
  (void) session.call(call_of(1, "read"), start);
  (void) session.call(call_of(2, "write"), start);
  const auto sent = session.garbage("hello world");
  const auto answers = all<mcp_answer>(sent);
  REQUIRE(answers.size() == 2);
  for (const auto& each : answers)
    CHECK(each.outcome.status == tool_status::in_doubt);
  CHECK_EQ(all<mcp_broken>(sent).size(), 1u);
  CHECK(session.garbage("again").empty());
}

TROUPE_TEST("a ping that is not answered breaks it, and any word from it is an answer") {
  auto session = opened({.server = "s", .ping = 30s});
  (void) session.call(call_of(1, "read", 10min), start);
  CHECK_EQ(methods(session.tick(start + 30s)), "server/discover"); // the stateless era's
  (void) session.receive(
      incoming({{"jsonrpc", "2.0"}, {"method", "notifications/progress"}, {"params", {{"progressToken", 3}, {"progress", 1}}}}),
      start + 40s);
  CHECK_EQ(all<mcp_broken>(session.tick(start + 60s)).size(), 0u);
  CHECK_EQ(all<mcp_broken>(session.tick(start + 120s)).size(), 1u);
}

TROUPE_TEST("without calls there are no pings") {
  auto session = opened({.server = "s", .ping = 30s});
  CHECK(!session.next_tick());
  (void) session.call(call_of(1, "read"), start);
  CHECK(session.next_tick() == start + 15s); // half of its time
  (void) session.receive(result_of(3, {{"content", json::array()}}), start + 1s);
  CHECK(!session.next_tick());
}

TROUPE_TEST("while calls are in flight a ping goes out half-way through the time of each, and every `ping`") {
  auto session = opened({.server = "s", .ping = 30s});
  (void) session.call(call_of(1, "read", 10min), start);
  CHECK(session.next_tick() == start + 30s);
  (void) session.call(call_of(2, "read", 40s), start + 1s);
  CHECK(session.next_tick() == start + 21s);
  CHECK_EQ(methods(session.tick(start + 21s)), "server/discover");
  (void) session.receive(result_of(5, json::object()), start + 21s);
  CHECK(session.next_tick() == start + 41s); // the second one's end
  (void) session.tick(start + 41s);
  (void) session.receive(result_of(6, json::object()), start + 41s);
  CHECK(session.next_tick() == start + 51s);
}

TROUPE_TEST("a server that hangs is found while the next call has still half of its time, and gets no more calls until then") {
  for (const bool in_flight : {false, true}) { // whether other calls are
    auto session = opened({.server = "s", .ping = 30s});
    (void) session.call(call_of(1, "read", 30s), start);
    if (in_flight)
      (void) session.call(call_of(2, "write", 10min), start + 1s);
    CHECK_EQ(methods(session.tick(start + 15s)), "server/discover");
    CHECK(session.takes_calls());
    auto sent = session.tick(start + 30s);
    CHECK_EQ(methods(sent), "notifications/cancelled");
    CHECK(session.is_open());
    CHECK(!session.takes_calls());
    CHECK(session.next_tick() == start + 45s);
    CHECK(session.tick(start + 44s).empty());
    sent = session.tick(start + 45s);
    REQUIRE(all<mcp_broken>(sent).size() == 1);
    CHECK(all<mcp_broken>(sent).at(0).why.message.find("did not answer a ping within 30000 ms") != std::string::npos);
    CHECK_EQ(all<mcp_answer>(sent).size(), in_flight ? 1u : 0u);
  }
}

TROUPE_TEST("a server that hangs after its last word is pinged when the call's time is up") {
  auto session = opened({.server = "s", .ping = 30s});
  (void) session.call(call_of(1, "read", 30s), start);
  (void) session.tick(start + 15s);
  (void) session.receive(result_of(4, json::object()), start + 15s);
  CHECK_EQ(methods(session.tick(start + 30s)), "notifications/cancelled server/discover");
  CHECK(!session.takes_calls());
  CHECK_EQ(all<mcp_broken>(session.tick(start + 60s)).size(), 1u);
}

TROUPE_TEST("a tool that is slow on a server that answers costs a ping, and whatever the server says ends the suspicion") {
  const json progress{{"jsonrpc", "2.0"}, {"method", "notifications/progress"}, {"params", {{"progressToken", 4}, {"progress", 1}}}};
  struct row {
    const char* says;
    mcp_message word;
  };
  for (const auto& row : std::vector<row>{{"it answers the ping", result_of(5, json::object())},
                                          {"it does not know pings", incoming(mcp_error(5, -32601, "Method not found"))},
                                          {"the answer comes late", result_of(3, {{"content", json::array()}})},
                                          {"another call goes on", incoming(progress)}}) {
    IN_ROW(row.says);
    auto session = opened({.server = "s", .ping = 30s});
    (void) session.call(call_of(1, "read", 5s), start);
    (void) session.call(call_of(2, "write", 10min), start);
    (void) session.tick(start + 5s);
    CHECK(!session.takes_calls());
    const auto sent = session.receive(row.word, start + 6s);
    CHECK_EQ(all<mcp_ready>(sent).size(), 1u);
    CHECK(session.takes_calls());
    CHECK_EQ(all<mcp_broken>(session.tick(start + 35s)).size(), 0u);
    CHECK(session.is_open());
  }
}

TROUPE_TEST("calls whose time is up one after the other are one suspicion: its ping is not put off") {
  auto session = opened({.server = "s", .ping = 30s});
  (void) session.call(call_of(1, "read", 5s), start);
  (void) session.call(call_of(2, "read", 20s), start);
  CHECK_EQ(methods(session.tick(start + 5s)), "notifications/cancelled server/discover");
  CHECK_EQ(methods(session.tick(start + 20s)), "notifications/cancelled");
  CHECK_EQ(all<mcp_broken>(session.tick(start + 35s)).size(), 1u);
}

TROUPE_TEST("a call that nobody wants any more says as little about its server as one whose time is up") {
  auto session = opened({.server = "s", .ping = 30s});
  (void) session.call(call_of(1, "read"), start);
  CHECK_EQ(methods(session.cancel(1, start + 1s)), "notifications/cancelled server/discover");
  CHECK(!session.takes_calls());
  CHECK_EQ(all<mcp_broken>(session.tick(start + 31s)).size(), 1u);
}

TROUPE_TEST("over HTTP, where each call has a request of its own, and with ping: 0 nobody is suspected") {
  for (const bool http : {true, false}) {
    auto session = opened({.server = "s", .http = http, .ping = http ? 30s : 0s});
    (void) session.call(call_of(1, "read", 5s), start);
    CHECK_EQ(methods(session.tick(start + 5s)), http ? "" : "notifications/cancelled");
    CHECK(session.takes_calls());
    CHECK(!session.next_tick());
  }
}

TROUPE_TEST("HTTP repeats version, method, name and marked arguments in headers") {
  mcp_session session({.server = "s", .http = true});
  auto sent = session.open(start);
  CHECK_EQ(header(all<mcp_send>(sent).at(0), "MCP-Protocol-Version"), mcp_modern_version);
  CHECK_EQ(header(all<mcp_send>(sent).at(0), "Mcp-Method"), "server/discover");
  (void) session.receive(result_of(1, discovery()), start);
  auto list = listing_of({"sql"});
  list["tools"][0]["inputSchema"] = {
      {"type", "object"},
      {"properties", {{"region", {{"type", "string"}, {"x-mcp-header", "Region"}}}, {"n", {{"type", "integer"}, {"x-mcp-header", "N"}}}}}};
  (void) session.receive(result_of(2, list), start);
  sent = session.call({1, "sql", {{"region", "Zürich"}, {"n", nullptr}}, "", 1s}, start);
  const auto request = all<mcp_send>(sent).at(0);
  CHECK_EQ(header(request, "Mcp-Name"), "sql");
  CHECK_EQ(header(request, "Mcp-Param-Region"), "=?base64?WsO8cmljaA==?=");
  CHECK_EQ(header(request, "Mcp-Param-N"), "absent");
}

TROUPE_TEST("a 400 that says something modern keeps the era, and any other falls back") {
  const auto era_after = [](const std::string& body) {
    mcp_session session({.server = "s", .http = true});
    (void) session.open(start);
    mcp_http_failure failure;
    failure.status = 400;
    failure.body = body;
    return methods(session.request_failed(1, failure, start));
  };
  CHECK_EQ(era_after(""), "initialize");
  CHECK_EQ(era_after("no json"), "initialize");
  CHECK_EQ(era_after(mcp_error(1, -32600, "Bad Request: server not initialized").dump()), "initialize");
  json unsupported = mcp_error(1, -32022, "no");
  unsupported["error"]["data"] = {{"supported", {mcp_modern_version}}};
  CHECK_EQ(era_after(unsupported.dump()), "server/discover");
}

TROUPE_TEST("over HTTP nothing is sent before the end of the handshake was taken; in a pipe the order is enough") {
  struct row {
    const char* says;
    int status; ///< of the notification; 0: no answer
    bool login = false, gone = false;
    std::string next; ///< what is sent then
  };
  for (const auto& row : std::vector<row>{{"it takes it", 202, false, false, "tools/list"},
                                          {"it has no answer to notifications", 405, false, false, "tools/list"},
                                          {"the connection breaks", 0, false, false, "tools/list"},
                                          {"it wants a login first", 401, true, false, ""},
                                          {"it forgot the session", 404, false, true, ""}}) {
    IN_ROW(row.says);
    mcp_session session({.server = "s", .http = true, .protocol = "2025-11-25", .answer_with_defaults = true});
    (void) session.open(start);
    auto sent = session.receive(result_of(1, greeting()), start);
    CHECK_EQ(methods(sent), "notifications/initialized");
    CHECK(all<mcp_greeted>(sent).empty());
    CHECK(session.next_tick() == start + 30s);
    mcp_http_failure failure;
    failure.status = row.status;
    failure.needs_login = row.login;
    failure.session_gone = row.gone;
    const auto id = all<mcp_send>(sent).at(0).id;
    sent = row.status == 202 ? session.taken(id, start + 1s) : session.request_failed(id, failure, start + 1s);
    CHECK_EQ(methods(sent), row.next);
    CHECK_EQ(all<mcp_greeted>(sent).size(), row.next.empty() ? 0u : 1u);
    CHECK_EQ(all<mcp_broken>(sent).size(), row.login ? 1u : 0u);
    CHECK_EQ(all<mcp_expired>(sent).size(), row.gone ? 1u : 0u);
  }
  mcp_session pipe({.server = "s", .protocol = "2025-11-25"});
  (void) pipe.open(start);
  CHECK_EQ(methods(pipe.receive(result_of(1, greeting()), start)), "notifications/initialized tools/list");
}

TROUPE_TEST("a forgotten session gives its call to the next one, and others in flight still get their answers") {
  mcp_session session({.server = "s", .http = true, .protocol = "2025-11-25"});
  (void) session.open(start);
  (void) session.receive(result_of(1, greeting()), start);
  (void) session.taken(2, start);
  (void) session.receive(result_of(3, listing_of({"read"})), start);
  (void) session.call(call_of(1, "read", 30s), start);
  (void) session.call(call_of(2, "read"), start);
  mcp_http_failure gone;
  gone.status = 404;
  gone.session_gone = true;
  const auto sent = session.request_failed(4, gone, start + 10s);
  REQUIRE(all<mcp_again>(sent).size() == 1);
  CHECK_EQ(all<mcp_again>(sent).at(0).call.id, 1u);
  CHECK(all<mcp_again>(sent).at(0).call.timeout == 20s);
  CHECK_EQ(all<mcp_expired>(sent).size(), 1u);
  CHECK_EQ(all<mcp_answer>(session.receive(result_of(5, {{"content", json::array()}}), start)).size(), 1u);
}

TROUPE_TEST("a server that asks for input is told what the configuration says, with its state unread and under a new id") {
  const json ask{
      {"resultType", "input_required"},
      {"requestState", "opaque"},
      {"inputRequests",
       {{"who",
         {{"method", "elicitation/create"},
          {"params",
           {{"message", "?"},
            {"requestedSchema", {{"type", "object"}, {"properties", {{"name", {{"type", "string"}, {"default", "Ada"}}}}}}}}}}}}}};
  auto declining = opened({.server = "s"});
  (void) declining.call(call_of(1, "read"), start);
  auto sent = declining.receive(result_of(3, ask), start);
  auto again = all<mcp_send>(sent).at(0).message;
  CHECK_EQ(again["id"], 4);
  CHECK_EQ(again["params"]["requestState"], "opaque");
  CHECK_EQ(again["params"]["inputResponses"]["who"]["action"], "decline");
  auto willing = opened({.server = "s", .answer_with_defaults = true});
  (void) willing.call(call_of(1, "read"), start);
  sent = willing.receive(result_of(3, ask), start);
  CHECK_EQ(all<mcp_send>(sent).at(0).message["params"]["inputResponses"]["who"]["content"]["name"], "Ada");
  // It asks and asks: not for ever.
  for (int id = 4; id < 4 + 7; ++id)
    sent = willing.receive(result_of(id, ask), start);
  CHECK_EQ(all<mcp_answer>(sent).size(), 0u);
  sent = willing.receive(result_of(11, ask), start);
  CHECK(all<mcp_answer>(sent).at(0).outcome.status == tool_status::failed);
}

TROUPE_TEST("a result of an unknown type is no result") {
  auto session = opened({.server = "s"});
  (void) session.call(call_of(1, "read"), start);
  const auto sent = session.receive(result_of(3, {{"resultType", "task"}, {"content", json::array()}}), start);
  CHECK(all<mcp_answer>(sent).at(0).outcome.status == tool_status::failed);
}

TROUPE_TEST("a change of the list is listed anew, and one told meanwhile once more") {
  mcp_session session({.server = "s", .protocol = "2025-11-25"});
  (void) session.open(start);
  (void) session.receive(result_of(1, greeting("2025-11-25", true)), start);
  (void) session.receive(result_of(2, listing_of({"read"})), start);
  const json changed{{"jsonrpc", "2.0"}, {"method", "notifications/tools/list_changed"}};
  CHECK_EQ(methods(session.receive(incoming(changed), start)), "tools/list");
  CHECK_EQ(methods(session.receive(incoming(changed), start)), "");
  auto sent = session.receive(result_of(3, listing_of({"other"})), start);
  CHECK_EQ(all<mcp_listed>(sent).size(), 1u);
  CHECK_EQ(methods(sent), "tools/list");
  sent = session.call(call_of(1, "read"), start);
  CHECK(all<mcp_answer>(sent).at(0).outcome.error.find("does not offer") != std::string::npos);
}

TROUPE_TEST("a stateless server that tells changes is listened to") {
  mcp_session session({.server = "s"});
  (void) session.open(start);
  (void) session.receive(result_of(1, discovery(true)), start);
  const auto sent = session.receive(result_of(2, listing_of({"read"})), start);
  CHECK_EQ(methods(sent), "subscriptions/listen");
  CHECK(all<mcp_send>(sent).at(0).stays_open);
}

TROUPE_TEST("servers of the handshake may ask: a ping is answered, what was never offered is refused") {
  mcp_session session({.server = "s", .protocol = "2025-11-25"});
  (void) session.open(start);
  (void) session.receive(result_of(1, greeting()), start);
  CHECK_EQ(methods(session.receive(incoming(mcp_request(9, "ping", json())), start)), "result");
  CHECK_EQ(methods(session.receive(incoming(mcp_request(10, "sampling/createMessage", json::object())), start)), "error");
}

TROUPE_TEST("a handshake ends with a version that nobody speaks, or that `protocol` does not allow") {
  struct row {
    const char* protocol;
    const char* version;
    bool opens;
  };
  const row rows[] = {{"", "2024-11-05", true},
                      {"", "2099-01-01", false},
                      {"", "", false},
                      {"2025-11-25", "2025-11-25", true},
                      {"2025-11-25", "2025-06-18", false}};
  for (const auto& r : rows) {
    IN_ROW(r.version);
    mcp_session session({.server = "s", .protocol = r.protocol});
    (void) session.open(start);
    std::int64_t id = 1;
    if (!*r.protocol)
      (void) session.receive(incoming(mcp_error(id++, -32601, "Method not found")), start);
    const auto sent = session.receive(result_of(id, greeting(r.version)), start);
    CHECK_EQ(all<mcp_broken>(sent).size(), r.opens ? 0u : 1u);
    CHECK_EQ(session.is_broken(), !r.opens);
  }
}

TROUPE_TEST("a server that refuses the very version that it names is asked once more, not for ever") {
  mcp_session session({.server = "s"});
  (void) session.open(start);
  const auto refused = [&](std::int64_t id) {
    json refusal = mcp_error(id, -32022, "Unsupported protocol version");
    refusal["error"]["data"] = {{"supported", {mcp_modern_version}}};
    return session.receive(incoming(refusal), start);
  };
  CHECK_EQ(methods(refused(1)), "server/discover");
  CHECK_EQ(all<mcp_broken>(refused(2)).size(), 1u);
}

TROUPE_TEST("a tool that is listed twice is offered once, also over pages") {
  mcp_session session({.server = "s"});
  (void) session.open(start);
  (void) session.receive(result_of(1, discovery()), start);
  (void) session.receive(result_of(2, listing_of({"a", "a"}, "next")), start);
  (void) session.receive(result_of(3, listing_of({"b", "a"})), start);
  CHECK_EQ(session.tools().size(), 2u);
  CHECK_EQ(session.refused_tools().size(), 2u);
}

TROUPE_TEST("a stateless server asks nothing, and is not answered") {
  auto session = opened({.server = "s"});
  CHECK(session.receive(incoming(mcp_request(9, "ping", json())), start).empty());
  CHECK(session.receive(incoming(mcp_request(10, "elicitation/create", json::object())), start).empty());
}

TROUPE_TEST("a form is sent back only where each field that it requires has a default") {
  for (const bool whole : {true, false}) {
    json age{{"type", "integer"}};
    if (whole)
      age["default"] = 36;
    const json form{
        {"type", "object"}, {"properties", {{"name", {{"type", "string"}, {"default", "Ada"}}}, {"age", age}}}, {"required", {"age"}}};
    auto session = opened({.server = "s", .answer_with_defaults = true});
    (void) session.call(call_of(1, "read"), start);
    const auto sent = session.receive(
        result_of(3, {{"resultType", "input_required"},
                      {"inputRequests", {{"who", {{"method", "elicitation/create"}, {"params", {{"requestedSchema", form}}}}}}}}),
        start);
    CHECK_EQ(all<mcp_send>(sent).at(0).message["params"]["inputResponses"]["who"]["action"], whole ? "accept" : "decline");
  }
}

TROUPE_TEST("a stream of changes that ended is opened again, and what changed meanwhile is listed") {
  mcp_session session({.server = "s"});
  (void) session.open(start);
  (void) session.receive(result_of(1, discovery(true)), start);
  (void) session.receive(result_of(2, listing_of({"read"})), start);
  (void) session.receive(result_of(3, {{"resultType", "complete"}}), start);
  CHECK(session.next_tick() == start + 5s);
  CHECK_EQ(methods(session.tick(start + 5s)), "subscriptions/listen tools/list");
}
