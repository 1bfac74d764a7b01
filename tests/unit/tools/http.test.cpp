#include "test.hpp"

#include <atomic>
#include <map>

#include "../llm/test_server.hpp"
#include "fixture.hpp"
#include "troupe/tools/http.hpp"

TROUPE_SUITE(tools_http)

using namespace troupe;
using namespace troupe::tools::test;
using troupe::test::test_server;

namespace {

struct http_fixture : tool_fixture {
  llm::http_client http;
  std::map<std::string, std::string> variables{{"API_TOKEN", "s3cret-value"}};
  http_fixture() {
    shared.http = &http;
    shared.secret = [this](const std::string& name) {
      const auto found = variables.find(name);
      return found == variables.end() ? std::nullopt : std::optional(found->second);
    };
  }

  static tool_spec web(std::string method, std::string url) {
    tool_spec spec;
    spec.name = "web";
    spec.kind = tool_kind::http;
    spec.method = std::move(method);
    spec.url = std::move(url);
    spec.effect = spec.method == "GET" || spec.method == "HEAD" ? effect::none : effect::once;
    spec.success.clear();
    return spec;
  }
  tool_outcome call(const tool_spec& spec, json arguments = json::object(), std::chrono::milliseconds timeout = 30s) {
    auto made = tools::make_http_runner(spec, shared);
    if (!made)
      return {tool_status::not_started, {}, made.error().text(), 0, false};
    return start(**made, std::move(arguments), timeout).get();
  }
};

test_server::reply ok(std::string body, std::string headers = "Content-Type: application/json\r\n") {
  return {test_server::ok(std::move(body), std::move(headers))};
}

test_server::reply redirect(const std::string& url, const char* status = "302 Found") {
  return {test_server::ok("", "Location: " + url + "\r\n", status)};
}

std::string field(const test_server::request& of, const std::string& name) {
  const auto* value = of.headers.find(name);
  return value ? *value : "";
}

bool has(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

} // namespace

TROUPE_TEST_WITH(http_fixture, "a call becomes a request, with its secret, its body and its key") {
  test_server server([](const auto&) { return ok(R"({"ok":true})"); });
  auto spec = web("POST", server.url("/items/{{ id }}?dry={{ dry }}"));
  spec.headers = {{"Authorization", "Bearer {{ env.API_TOKEN }}"}};
  spec.env_from = {"API_TOKEN"};
  const auto got = call(spec, {{"id", "a/b"}, {"n", 2}});
  CHECK(got.status == tool_status::ok);
  CHECK_EQ(got.output, R"({"ok":true})");
  const auto sent = server.last();
  CHECK_EQ(sent.method, "POST");
  CHECK_EQ(sent.target, "/items/a%2Fb");
  CHECK_EQ(sent.body, R"({"n":2})");
  CHECK_EQ(field(sent, "content-type"), "application/json");
  CHECK_EQ(field(sent, "authorization"), "Bearer s3cret-value");
  CHECK_EQ(field(sent, "idempotency-key"), "key-1");
  CHECK(has(field(sent, "accept"), "application/json"));
}

TROUPE_TEST_WITH(http_fixture, "each method is sent as it is called") {
  test_server server([](const test_server::request& r) {
    return r.method == "HEAD" ? test_server::reply{"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nX-Seen: yes\r\n\r\n"} : ok("{}");
  });
  for (const char* method : {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"}) {
    IN_ROW(method);
    const auto got = call(web(method, server.url("/x")));
    CHECK(got.status == tool_status::ok);
    CHECK_EQ(server.last().method, method);
    CHECK_EQ(field(server.last(), "idempotency-key").empty(), server.last().method == "GET" || server.last().method == "HEAD");
    if (std::string_view(method) == "HEAD")
      CHECK(has(got.output, "status 200") && has(got.output, "x-seen: yes"));
  }
}

TROUPE_TEST_WITH(http_fixture, "what a status means") {
  struct row {
    int status;
    tool_status outcome;
    bool permanent;
  };
  std::atomic<int> status = 0; // the server's thread reads it
  test_server server(
      [&](const auto&) { return test_server::reply{test_server::ok("no\n", "Retry-After: 3\r\n", std::to_string(status) + " Status")}; });
  for (const auto& row : {row{200, tool_status::ok, false}, row{201, tool_status::ok, false}, row{304, tool_status::failed, true},
                          row{400, tool_status::failed, true}, row{401, tool_status::failed, true}, row{404, tool_status::failed, true},
                          row{408, tool_status::failed, false}, row{429, tool_status::failed, false}, row{500, tool_status::failed, false},
                          row{501, tool_status::failed, true}, row{503, tool_status::failed, false}}) {
    IN_ROW(std::to_string(row.status));
    status = row.status;
    const auto got = call(web("GET", server.url()));
    CHECK(got.status == row.outcome);
    CHECK_EQ(got.permanent, row.permanent);
    CHECK_EQ(got.exit_status, row.status);
    CHECK_EQ(got.retry_after_ms, row.outcome == tool_status::ok || row.permanent ? -1 : 3'000);
  }
  auto spec = web("GET", server.url());
  spec.success = {404};
  status = 404;
  CHECK(call(spec).status == tool_status::ok);
  status = 200;
  CHECK(call(spec).status == tool_status::failed);
}

TROUPE_TEST_WITH(http_fixture, "a secret stays behind when a redirect leads elsewhere, and the body's method too") {
  test_server other([](const auto&) { return ok("other"); });
  test_server server([&](const test_server::request& r) {
    return r.target == "/home" ? ok("home") : redirect(r.target == "/out" ? other.url("/x") : "/home");
  });
  auto spec = web("GET", server.url("/{{ to }}"));
  spec.headers = {{"X-Token", "{{ env.API_TOKEN }}"}, {"X-Plain", "p"}};
  spec.env_from = {"API_TOKEN"};
  CHECK_EQ(call(spec, {{"to", "in"}}).output, "home");
  CHECK_EQ(field(server.last(), "x-token"), "s3cret-value");
  CHECK(call(spec, {{"to", "out"}}).status == tool_status::failed); // not in allow_hosts
  CHECK_EQ(other.connections(), 0);
  spec.allow_hosts = {"127.0.0.1:" + std::to_string(other.port())};
  CHECK_EQ(call(spec, {{"to", "out"}}).output, "other");
  CHECK_EQ(field(other.last(), "x-token"), "");
  CHECK_EQ(field(other.last(), "x-plain"), "p");
  spec.http.redirects = 0;
  const auto got = call(spec, {{"to", "out"}});
  CHECK(got.status == tool_status::failed);
  CHECK(has(got.error, "302"));
}

TROUPE_TEST_WITH(http_fixture, "a redirect into the cloud's metadata or to a file is refused") {
  for (const char* evil : {"http://169.254.169.254/latest/meta-data/", "http://[::ffff:169.254.169.254]/", "http://2852039166/",
                           "http://[fd00:ec2::254]/", "file:///etc/passwd", "gopher://127.0.0.1/", "http://metadata.google.internal/"}) {
    IN_ROW(evil);
    test_server server([&](const auto&) { return redirect(evil); });
    auto spec = web("GET", server.url());
    spec.allow_private = true; // even so
    const auto got = call(spec);
    CHECK(got.status == tool_status::failed);
    CHECK(got.permanent);
  }
}

TROUPE_TEST_WITH(http_fixture, "a name that leads to this machine is refused at the connection, unless private addresses are allowed") {
  test_server server([](const auto&) { return ok("inside"); });
  auto spec = web("GET", "http://rebound.localhost:" + std::to_string(server.port())
                             + "/"); // libcurl takes it to loopback, as a rebinding name server would
  const auto refused = call(spec);
  CHECK(refused.status == tool_status::failed);
  CHECK(refused.permanent);
  CHECK(has(refused.error, "not allowed"));
  CHECK_EQ(server.connections(), 0);
  spec.allow_private = true;
  CHECK_EQ(call(spec).output, "inside");
}

TROUPE_TEST_WITH(http_fixture, "arguments that make no request are told to the model, and nothing is sent") {
  test_server server([](const auto&) { return ok("x"); });
  auto spec = web("GET", server.url("/users/{{ id }}"));
  spec.headers = {{"X-Who", "{{ who }}"}};
  for (const json& arguments : {json{{"id", ".."}}, json{{"id", ""}}, json::object(), json{{"id", "1"}, {"who", "a\r\nX-Evil: 1"}},
                                json{{"id", std::string(9'000, 'x')}}}) {
    IN_ROW(arguments.dump().substr(0, 80));
    const auto got = call(spec, arguments);
    CHECK(got.status == tool_status::failed);
    CHECK(got.permanent);
    CHECK(has(got.error, "was not called"));
  }
  CHECK_EQ(server.connections(), 0);
}

TROUPE_TEST_WITH(http_fixture, "an answer is bounded, is text, and is of a type that is accepted") {
  test_server server([](const test_server::request& r) {
    if (r.target == "/big")
      return ok(std::string(5'000, 'x'));
    if (r.target == "/binary")
      return ok(std::string("a\0b", 3), "Content-Type: image/png\r\n");
    return ok("caf\xE9", "Content-Type: Text/HTML; charset=latin1\r\n");
  });
  auto spec = web("GET", server.url("/{{ what }}"));
  spec.limits.output_bytes = 1'000;
  const auto big = call(spec, {{"what", "big"}});
  CHECK(big.status == tool_status::ok);
  CHECK(big.truncated);
  CHECK(big.output.size() <= 1'100);
  CHECK(has(call(spec, {{"what", "binary"}}).error, "binary (image/png)"));
  CHECK_EQ(call(spec, {{"what", "page"}}).output, "caf\xEF\xBF\xBD");
  spec.http.accept = {"text/*"};
  CHECK(call(spec, {{"what", "page"}}).status == tool_status::ok);
  spec.http.accept = {"application/json", "image/*"};
  CHECK(has(call(spec, {{"what", "page"}}).error, "not among what this tool accepts"));
}

TROUPE_TEST_WITH(http_fixture, "what is known after a failure decides: nothing sent, answered, or in doubt") {
  std::uint16_t closed = 0;
  {
    test_server gone([](const auto&) { return ok(""); });
    closed = static_cast<std::uint16_t>(gone.port());
  }
  test_server resets([](const auto&) { return test_server::reply{"", test_server::then::reset}; });
  test_server holds([](const auto&) { return test_server::reply{"", test_server::then::hold}; });
  const auto nobody = "http://127.0.0.1:" + std::to_string(closed) + "/";
  CHECK(call(web("POST", nobody)).status == tool_status::not_started);
  CHECK(call(web("GET", nobody)).status == tool_status::not_started);
  CHECK(call(web("POST", resets.url())).status == tool_status::in_doubt);
  CHECK(call(web("GET", resets.url())).status == tool_status::failed);
  CHECK(call(web("POST", holds.url()), json::object(), 100ms).status == tool_status::timed_out);
  CHECK(call(web("POST", holds.url()), json::object(), 0ms).status == tool_status::not_started);
  const auto made = tools::make_http_runner(web("GET", holds.url()), shared);
  auto running = start(**made);
  while (holds.connections() < 2)
    std::this_thread::yield();
  (*made)->cancel(running.id);
  CHECK(running.get().status == tool_status::cancelled);
}

TROUPE_TEST_WITH(http_fixture, "a tool that can never run says so when it is made") {
  auto spec = web("GET", "https://api.example.com/");
  spec.env_from = {"NOT_SET"};
  CHECK(has(call(spec).error, "`env_from` names NOT_SET, which is not set"));
  CHECK(has(call(web("GET", "https://{{ host }}/")).error, "fixed text"));
  shared.http = nullptr;
  CHECK(has(call(web("GET", "https://x/")).error, "HTTP client"));
}
