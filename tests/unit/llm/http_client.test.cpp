#include "test.hpp"

#include <array>
#include <future>
#include <set>

#include "llm/test_server.hpp"
#include "troupe/llm/http_client.hpp"

TROUPE_SUITE(http_client)

using namespace troupe;
using namespace troupe::llm;
using namespace std::chrono_literals;
using test::test_server;
using then = test_server::then;

namespace {

http_request get(std::string url) {
  http_request request;
  request.url = std::move(url);
  request.timeout = 60s;
  return request;
}

http_request post(std::string url, std::string body) {
  auto request = get(std::move(url));
  request.method = "POST";
  request.body = std::move(body);
  return request;
}

std::future<http_result> start(http_client& client, http_request request, http_id* id = nullptr) {
  auto promise = std::make_shared<std::promise<http_result>>();
  auto future = promise->get_future();
  request.on_done = [promise](http_result result) { promise->set_value(std::move(result)); };
  const auto given = client.submit(std::move(request));
  if (id)
    *id = given;
  return future;
}

http_result fetch(http_client& client, http_request request) {
  return start(client, std::move(request)).get();
}

/// A port that nobody listens on.
int closed_port() {
  test_server server([](const auto&) { return test_server::reply{}; });
  return server.port();
}

} // namespace

TROUPE_TEST("a POST goes out as it is and its response comes back, on one kept connection") {
  test_server server([](const auto& request) {
    return test_server::reply{test_server::ok("<" + request.body + ">", "X-Request-ID: r1\r\nContent-Type: text/plain\r\n")};
  });
  http_client client;
  for (int i = 0; i < 3; ++i) {
    auto request = post(server.url("/v1?x=1"), R"({"n":)" + std::to_string(i) + "}");
    request.headers = {{"Content-Type", "application/json"}, {"Authorization", "Bearer k"}, {"X-Empty", ""}};
    const auto result = fetch(client, std::move(request));
    CHECK(result.error == http_error::none);
    CHECK_EQ(result.status, 200);
    CHECK_EQ(result.body, R"(<{"n":)" + std::to_string(i) + "}>");
    REQUIRE(result.headers.find("x-request-id") != nullptr);
    CHECK_EQ(*result.headers.find("x-request-id"), std::string("r1"));
    CHECK(result.connection_made);
    CHECK(result.request_sent);
    CHECK_EQ(result.connection_reused, i > 0);
  }
  CHECK_EQ(server.connections(), 1);
  const auto seen = server.requests();
  REQUIRE(seen.size() == 3);
  CHECK_EQ(seen[0].method, "POST");
  CHECK_EQ(seen[0].target, "/v1?x=1");
  CHECK_EQ(*seen[0].headers.find("authorization"), "Bearer k");
  CHECK_EQ(*seen[0].headers.find("user-agent"), "troupe");
  CHECK(seen[0].headers.find("x-empty") != nullptr);
  CHECK(seen[0].headers.find("expect") == nullptr);
  CHECK_EQ(client.in_flight(), 0);
}

TROUPE_TEST("a connection is kept for the next request while more are in use than may be idle") {
  test_server server([](const auto& request) {
    return request.target == "/held" ? test_server::reply{"", then::hold} : test_server::reply{test_server::ok("fine")};
  });
  http_client client({.idle_connections = 1});
  std::array<http_id, 2> held{};
  std::vector<std::future<http_result>> ends;
  for (auto& id : held)
    ends.push_back(start(client, get(server.url("/held")), &id));
  CHECK(!fetch(client, get(server.url("/one"))).connection_reused);
  CHECK(fetch(client, get(server.url("/other"))).connection_reused);
  for (const auto id : held)
    client.cancel(id);
  for (auto& end : ends)
    CHECK(end.get().error == http_error::cancelled);
}

TROUPE_TEST("a POST on a kept connection that dies is not sent again: it is broken, and may have been served") {
  test_server server([](const auto& request) {
    return request.on_connection == 1 ? test_server::reply{test_server::ok("first")} : test_server::reply{"", then::close};
  });
  http_client client;
  CHECK_EQ(fetch(client, post(server.url(), "1")).body, "first");
  const auto result = fetch(client, post(server.url(), "2"));
  CHECK(result.error == http_error::broken);
  CHECK(result.connection_made);
  CHECK(result.request_sent);
  CHECK_EQ(result.status, 0);
  CHECK_EQ(result.message, "the kept connection ended without an answer; the request was not sent again");
  CHECK_EQ(server.requests().size(), 2); // three: libcurl repeated it
  CHECK_EQ(fetch(client, post(server.url(), "3")).body, "first");
}

TROUPE_TEST("the same holds when the kept connection is reset, and for a GET") {
  test_server server([](const auto& request) {
    return request.on_connection == 1 ? test_server::reply{test_server::ok("first")} : test_server::reply{"", then::reset};
  });
  http_client client;
  for (const bool with_body : {true, false}) {
    const auto before = server.requests().size();
    fetch(client, get(server.url()));
    const auto result = fetch(client, with_body ? post(server.url(), "x") : get(server.url()));
    CHECK(result.error == http_error::broken);
    CHECK(result.request_sent);
    CHECK_EQ(server.requests().size(), before + 2);
  }
}

TROUPE_TEST("what was never connected was never sent") {
  http_client client;
  for (const auto& url : {"http://127.0.0.1:" + std::to_string(closed_port()) + "/", std::string("http://no-such-host.invalid/")}) {
    IN_ROW(url);
    const auto result = fetch(client, post(url, "x"));
    CHECK(result.error == http_error::not_connected);
    CHECK(!result.connection_made);
    CHECK(!result.request_sent);
    CHECK(!result.message.empty());
  }
}

TROUPE_TEST("a timeout covers the whole transfer, a slow drip included") {
  struct row {
    const char* name;
    std::string bytes;
  };
  for (const auto& each : {row{"silence", ""}, row{"headers only", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"},
                           row{"part of a body", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"}}) {
    IN_ROW(each.name);
    test_server server([&](const auto&) { return test_server::reply{each.bytes, then::hold}; });
    http_client client;
    auto request = post(server.url(), "x");
    request.timeout = 60ms;
    const auto result = fetch(client, std::move(request));
    CHECK(result.error == http_error::timed_out);
    CHECK(result.request_sent);
    CHECK_EQ(result.status, each.bytes.empty() ? 0 : 200);
  }
  http_client client;
  auto request = post("http://127.0.0.1:1/", "x");
  request.timeout = 0ms;
  const auto result = fetch(client, std::move(request));
  CHECK(result.error == http_error::timed_out);
  CHECK(!result.request_sent);
}

TROUPE_TEST("a body that ends early is broken and keeps what had come") {
  test_server server([](const auto&) { return test_server::reply{"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", then::close}; });
  http_client client;
  const auto result = fetch(client, get(server.url()));
  CHECK(result.error == http_error::broken);
  CHECK_EQ(result.status, 200);
  CHECK_EQ(result.body, "abc");
}

TROUPE_TEST("what is no HTTP at all is broken") {
  test_server server([](const auto&) { return test_server::reply{"SSH-2.0-OpenSSH_9.2\r\n", then::close}; });
  http_client client;
  const auto result = fetch(client, post(server.url(), "x"));
  CHECK(result.error == http_error::broken);
  CHECK(result.request_sent);
}

TROUPE_TEST("a cancelled transfer is answered once, as cancelled, and its connection goes") {
  std::promise<void> arrived;
  test_server server([&](const auto&) {
    arrived.set_value();
    return test_server::reply{"", then::hold};
  });
  http_client client;
  http_id id = 0;
  auto future = start(client, post(server.url(), "x"), &id);
  arrived.get_future().wait();
  client.cancel(id);
  const auto result = future.get();
  CHECK(result.error == http_error::cancelled);
  CHECK(result.request_sent);
  client.cancel(id); // again, and unknown ones
  client.cancel(0);
  client.cancel(~http_id{0});
  CHECK_EQ(client.in_flight(), 0);
}

TROUPE_TEST("a request that is cancelled right after it was submitted is answered once") {
  test_server server([](const auto&) { return test_server::reply{test_server::ok("x")}; });
  http_client client;
  for (int i = 0; i < 50; ++i) {
    http_id id = 0;
    auto future = start(client, get(server.url()), &id);
    client.cancel(id);
    const auto error = future.get().error;
    CHECK((error == http_error::cancelled || error == http_error::none));
  }
}

TROUPE_TEST("a response above its limit is too large, in its body and in its headers") {
  test_server server([](const auto& request) {
    if (request.target == "/headers")
      return test_server::reply{"HTTP/1.1 200 OK\r\nA: " + std::string(60'000, 'a') + "\r\nB: " + std::string(60'000, 'a')
                                + "\r\nC: " + std::string(60'000, 'a') + "\r\nD: " + std::string(60'000, 'a')
                                + "\r\nE: " + std::string(60'000, 'a') + "\r\nContent-Length: 0\r\n\r\n"};
    return test_server::reply{test_server::ok(std::string(2'000, 'b'))};
  });
  http_client client;
  auto request = get(server.url());
  request.max_response_bytes = 1'999;
  CHECK(fetch(client, std::move(request)).error == http_error::too_large);
  request = get(server.url());
  request.max_response_bytes = 2'000;
  CHECK(fetch(client, std::move(request)).error == http_error::none);
  CHECK(fetch(client, get(server.url("/headers"))).error == http_error::too_large);
}

TROUPE_TEST("on_data takes the body in pieces with status and headers at hand, and can stop") {
  test_server server([](const auto&) {
    return test_server::reply{"HTTP/1.1 201 Created\r\nX-A: b\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n",
                              then::keep, 1};
  });
  http_client client;
  auto request = get(server.url());
  auto got = std::make_shared<std::string>();
  request.on_data = [got](const http_result& head, std::string_view piece) {
    *got += piece;
    return head.status == 201 && head.headers.find("x-a") != nullptr;
  };
  auto result = fetch(client, std::move(request));
  CHECK(result.error == http_error::none);
  CHECK_EQ(*got, "abcdef");
  CHECK(result.body.empty());
  request = get(server.url());
  request.on_data = [](const http_result&, std::string_view) { return false; };
  result = fetch(client, std::move(request));
  CHECK(result.error == http_error::stopped);
  CHECK_EQ(result.status, 201);
}

TROUPE_TEST("headers are those of the final response: interim ones and trailers do not count") {
  test_server server([](const auto&) {
    return test_server::reply{
        "HTTP/1.1 103 Early Hints\r\nX-Early: 1\r\n\r\nHTTP/1.1 200 OK\r\nX-Late:   2  \r\nTransfer-Encoding: chunked\r\n\r\n"
        "1\r\na\r\n0\r\nX-Trailer: 3\r\n\r\n"};
  });
  http_client client;
  const auto result = fetch(client, get(server.url()));
  CHECK_EQ(result.status, 200);
  CHECK(result.headers.find("x-early") == nullptr);
  CHECK(result.headers.find("x-trailer") == nullptr);
  REQUIRE(result.headers.find("x-late") != nullptr);
  CHECK_EQ(*result.headers.find("x-late"), "2");
}

TROUPE_TEST("a request that could smuggle is refused before anything is tried") {
  test_server server([](const auto&) { return test_server::reply{test_server::ok("x")}; });
  http_client client;
  std::vector<http_request> wrong;
  wrong.push_back(get(server.url()));
  wrong.back().headers = {{"X", "a\r\nInjected: 1"}};
  wrong.push_back(get(server.url()));
  wrong.back().headers = {{"X: y\r\nInjected", "a"}};
  wrong.push_back(get(server.url()));
  wrong.back().method = "GET / HTTP/1.1\r\nInjected: 1\r\n\r\nGET";
  wrong.push_back(get(server.url("/a b")));
  wrong.push_back(get("file:///etc/passwd"));
  wrong.push_back(get("gopher://127.0.0.1:1/x"));
  wrong.push_back(get("not a url"));
  wrong.push_back(get(""));
  for (auto& request : wrong) {
    IN_ROW(request.url);
    const auto result = fetch(client, std::move(request));
    CHECK(result.error == http_error::invalid_request);
    CHECK(!result.connection_made);
  }
  CHECK(server.requests().empty());
}

TROUPE_TEST("methods and bodies go out as asked") {
  test_server server([](const auto& request) {
    return test_server::reply{request.method == "HEAD" ? "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n" : test_server::ok("x")};
  });
  http_client client;
  for (const char* method : {"GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"}) {
    IN_ROW(method);
    auto request = get(server.url());
    request.method = method;
    const bool body = std::string_view("POST PUT PATCH").find(method) != std::string_view::npos;
    if (body)
      request.body = std::string("a\0b", 3);
    CHECK(fetch(client, std::move(request)).error == http_error::none);
    CHECK_EQ(server.last().method, method);
    CHECK_EQ(server.last().body.size(), body ? 3 : 0);
    CHECK(server.last().headers.find("content-type") == nullptr);
  }
  auto large = post(server.url(), std::string(3'000'000, 'z'));
  CHECK(fetch(client, std::move(large)).error == http_error::none);
  CHECK_EQ(server.last().body.size(), 3'000'000);
  CHECK(server.last().headers.find("expect") == nullptr);
}

TROUPE_TEST("a redirect is an answer, unless it may be followed") {
  test_server server([](const auto& request) {
    if (request.target == "/a")
      return test_server::reply{test_server::ok("moved", "Location: /b\r\n", "302 Found")};
    if (request.target == "/b")
      return test_server::reply{test_server::ok("moved", "Location: /c?d=1\r\n", "307 Temporary Redirect")};
    if (request.target == "/loop")
      return test_server::reply{test_server::ok("", "Location: /loop\r\n", "301 Moved Permanently")};
    return test_server::reply{test_server::ok(request.method + request.body)};
  });
  http_client client;
  CHECK_EQ(fetch(client, get(server.url("/a"))).status, 302);
  CHECK_EQ(fetch(client, get(server.url("/a"))).body, "moved");

  auto request = post(server.url("/a"), "body");
  request.headers = {{"Content-Type", "text/plain"}, {"X-Kept", "1"}};
  request.max_redirects = 5;
  std::vector<std::string> asked;
  request.on_redirect = [&](const std::string& url) {
    asked.push_back(url);
    return true;
  };
  auto result = fetch(client, std::move(request));
  CHECK_EQ(result.body, "GET"); // 302 made it a GET, and 307 kept that
  CHECK_EQ(result.status, 200);
  CHECK_EQ(result.final_url, server.url("/c?d=1"));
  CHECK((asked == std::vector<std::string>{server.url("/b"), server.url("/c?d=1")}));
  CHECK(server.last().headers.find("content-type") == nullptr);
  CHECK(server.last().headers.find("x-kept") != nullptr);

  request = post(server.url("/b"), "body");
  request.max_redirects = 1;
  CHECK_EQ(fetch(client, std::move(request)).body, "POSTbody");

  request = get(server.url("/loop"));
  request.max_redirects = 3;
  const auto before = server.requests().size();
  CHECK_EQ(fetch(client, std::move(request)).status, 301);
  CHECK_EQ(server.requests().size(), before + 4);

  request = get(server.url("/a"));
  request.max_redirects = 5;
  request.on_redirect = [](const std::string& url) { return url.find("/c") == std::string::npos; };
  result = fetch(client, std::move(request));
  CHECK(result.error == http_error::refused);
}

TROUPE_TEST("a redirect changes a method only where its status says so") {
  struct row {
    int status;
    const char* method;
    const char* then;
  };
  test_server server([](const auto& request) {
    if (request.target[1] == '3')
      return test_server::reply{test_server::ok("", "Location: /there\r\n", request.target.substr(1) + " Elsewhere")};
    return test_server::reply{test_server::ok(request.method + request.body)};
  });
  http_client client;
  for (const auto& each :
       {row{301, "POST", "GET"}, row{302, "POST", "GET"}, row{303, "POST", "GET"}, row{307, "POST", "POSTbody"},
        row{308, "POST", "POSTbody"}, row{301, "PUT", "PUTbody"}, row{302, "PATCH", "PATCHbody"}, row{301, "DELETE", "DELETEbody"},
        row{308, "DELETE", "DELETEbody"}, row{303, "PUT", "GET"}, row{303, "DELETE", "GET"}, row{301, "GET", "GET"}, row{303, "GET", "GET"},
        row{301, "HEAD", "HEAD"}, row{303, "HEAD", "HEAD"}}) {
    IN_ROW(std::to_string(each.status) + " " + each.method);
    auto request = post(server.url("/" + std::to_string(each.status)), "body");
    request.method = each.method;
    if (request.method == "GET" || request.method == "HEAD")
      request.body.clear();
    request.max_redirects = 1;
    CHECK_EQ(fetch(client, std::move(request)).status, 200);
    CHECK_EQ(server.last().method + server.last().body, each.then);
  }
}

TROUPE_TEST("a header that libcurl does not take is told as that") {
  test_server server([](const auto&) { return test_server::reply{test_server::ok("abc", "X-A: " + std::string(200'000, 'a') + "\r\n")}; });
  http_client client;
  const auto result = fetch(client, get(server.url("/")));
  CHECK(result.error == http_error::too_large);
  CHECK(result.message.find("header of more than 100 KiB") != std::string::npos);
}

TROUPE_TEST("credentials stay behind when a redirect leaves their origin, and scripts of other schemes are not followed") {
  test_server other([](const auto&) { return test_server::reply{test_server::ok("there")}; });
  test_server server([&](const auto& request) {
    return test_server::reply{
        test_server::ok("", "Location: " + (request.target == "/file" ? "file:///etc/passwd" : other.url()) + "\r\n", "302 Found")};
  });
  http_client client;
  auto request = get(server.url());
  request.headers = {{"Authorization", "Bearer k"}, {"X-API-Key", "k"}, {"Cookie", "k"}, {"X-Other", "o"}};
  request.max_redirects = 2;
  CHECK_EQ(fetch(client, request).body, "there");
  const auto seen = other.requests();
  REQUIRE(seen.size() == 1);
  CHECK_EQ(seen[0].head.find("k\r\n"), std::string::npos);
  CHECK(seen[0].headers.find("x-other") != nullptr);
  request.url = server.url("/file");
  const auto result = fetch(client, request);
  CHECK(result.error != http_error::none);
  CHECK(result.body.empty());
}

TROUPE_TEST("the address filter is asked for every connection, on every hop, and for a kept one too") {
  test_server second([](const auto&) { return test_server::reply{test_server::ok("inside")}; });
  test_server first([&](const auto& request) {
    return request.target == "/hop" ? test_server::reply{test_server::ok("", "Location: " + second.url() + "\r\n", "302 Found")}
                                    : test_server::reply{test_server::ok("first")};
  });
  http_client client;
  const auto only_first = [&](const sockaddr* address) {
    return address->sa_family == AF_INET && ntohs(reinterpret_cast<const sockaddr_in*>(address)->sin_port) == first.port();
  };
  auto request = get(first.url());
  request.address_filter = only_first;
  CHECK_EQ(fetch(client, request).body, "first");
  request.url = second.url();
  auto result = fetch(client, request);
  CHECK(result.error == http_error::refused);
  CHECK(!result.request_sent);
  request.url = first.url("/hop");
  request.max_redirects = 3;
  CHECK(fetch(client, request).error == http_error::refused);
  CHECK(second.requests().empty());
  CHECK_EQ(fetch(client, get(second.url())).body, "inside"); // leaves a kept connection that was opened without a filter
  request.url = second.url();
  result = fetch(client, request);
  CHECK(result.error == http_error::refused);
  CHECK(!result.request_sent);
  CHECK_EQ(second.requests().size(), 1);
}

TROUPE_TEST("a proxy is used where configured and never because of the environment") {
  test_server server([](const auto&) { return test_server::reply{test_server::ok("direct")}; });
  test_server proxy([](const auto& request) { return test_server::reply{test_server::ok("proxied " + request.target)}; });
  ::setenv("http_proxy", proxy.url().c_str(), 1);
  ::setenv("all_proxy", proxy.url().c_str(), 1);
  ::setenv("no_proxy", "*", 1);
  http_client client;
  CHECK_EQ(fetch(client, get(server.url())).body, "direct");
  auto request = get(server.url("/x"));
  request.proxy = proxy.url();
  CHECK_EQ(fetch(client, std::move(request)).body, "proxied " + server.url("/x"));
  for (const char* name : {"http_proxy", "all_proxy", "no_proxy"})
    ::unsetenv(name);
}

TROUPE_TEST("shutdown answers every transfer exactly once, those that callbacks submit meanwhile too") {
  test_server server([](const auto&) { return test_server::reply{"", then::hold}; });
  std::atomic<int> answers{0};
  std::atomic<int> cancelled{0};
  {
    auto client = std::make_unique<http_client>(http_client_options{.shards = 3, .shard_fill = 4});
    auto* raw = client.get();
    const auto count = [&](http_result result) {
      ++answers;
      cancelled += result.error == http_error::cancelled ? 1 : 0;
    };
    for (int i = 0; i < 60; ++i) {
      auto request = post(server.url(), "x");
      request.on_done = [&, raw, count](http_result result) {
        count(std::move(result));
        auto again = get(server.url());
        again.on_done = count;
        raw->submit(std::move(again));
      };
      client->submit(std::move(request));
    }
  }
  CHECK_EQ(answers.load(), 120);
  CHECK_EQ(cancelled.load(), 120);
}

TROUPE_TEST("requests from many threads over several shards are each answered with their own response") {
  test_server server([](const auto& request) { return test_server::reply{test_server::ok(request.body)}; });
  http_client client({.shards = 2, .shard_fill = 2});
  std::atomic<int> right{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      std::vector<std::pair<std::string, std::future<http_result>>> running;
      for (int i = 0; i < 50; ++i) {
        auto body = std::to_string(t) + "/" + std::to_string(i);
        running.emplace_back(body, start(client, post(server.url(), body)));
      }
      for (auto& [body, future] : running)
        right += future.get().body == body ? 1 : 0;
    });
  for (auto& each : threads)
    each.join();
  CHECK_EQ(right.load(), 200);
  CHECK_EQ(client.in_flight(), 0);
}
