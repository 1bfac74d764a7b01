#include "test.hpp"

#include "../llm/test_server.hpp"
#include "fixture.hpp"
#include "troupe/tools/address_check.hpp"
#include "troupe/tools/builtin.hpp"

#include <arpa/inet.h>

TROUPE_SUITE(tools_http_fetch)

using namespace troupe;
using namespace troupe::tools::test;
using troupe::test::test_server;

namespace {

struct address {
  sockaddr_storage storage{};
  explicit address(const char* text) {
    auto* four = reinterpret_cast<sockaddr_in*>(&storage);
    auto* six = reinterpret_cast<sockaddr_in6*>(&storage);
    if (inet_pton(AF_INET, text, &four->sin_addr) == 1)
      storage.ss_family = AF_INET;
    else if (inet_pton(AF_INET6, text, &six->sin6_addr) == 1)
      storage.ss_family = AF_INET6;
  }
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

struct fetch_fixture : tool_fixture {
  llm::http_client http;
  fetch_fixture() { shared.http = &http; }

  std::unique_ptr<tools::runner> fetcher(std::vector<std::string> hosts) {
    tool_spec spec;
    spec.name = "http_fetch";
    spec.allow_hosts = std::move(hosts);
    return std::move(*tools::make_builtin_runner(spec, shared));
  }
  tool_outcome fetch(std::vector<std::string> hosts, const std::string& url, std::chrono::milliseconds timeout = 30s) {
    return start(*fetcher(std::move(hosts)), {{"url", url}}, timeout).get();
  }
};

std::string at(const test_server& server) {
  return "127.0.0.1:" + std::to_string(server.port());
}

test_server::reply redirect_to(const std::string& url) {
  return {test_server::ok("", "Location: " + url + "\r\n", "302 Found")};
}

} // namespace

TROUPE_TEST("only addresses of the public Internet are public") {
  for (const char* text : {"1.1.1.1", "8.8.8.8", "172.15.0.1", "172.32.0.1", "100.63.0.1", "100.128.0.1", "192.169.0.1", "223.255.255.255",
                           "2606:4700:4700::1111", "64:ff9b::808:808"}) {
    IN_ROW(text);
    CHECK(tools::is_public_address(address(text).get()));
  }
  for (const char* text : {"0.0.0.0",       "0.1.2.3",          "10.0.0.1",       "100.64.0.1",      "127.0.0.1",
                           "127.255.0.1",   "169.254.169.254",  "172.16.0.1",     "172.31.255.255",  "192.0.0.1",
                           "192.0.2.1",     "192.168.1.1",      "198.18.0.1",     "198.51.100.1",    "203.0.113.1",
                           "224.0.0.1",     "239.1.1.1",        "240.0.0.1",      "255.255.255.255", "::",
                           "::1",           "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::127.0.0.1",     "fe80::1",
                           "fc00::1",       "fd00:ec2::254",    "ff02::1",        "2001:db8::1",     "2001::1",
                           "2002:7f00:1::", "2002:808:808::",   "3fff::1",        "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe",
                           "64:ff9b:1::1",  "100::1",           "5f00::1"}) {
    IN_ROW(text);
    CHECK(!tools::is_public_address(address(text).get()));
  }
}

TROUPE_TEST("an own network is private, and where clouds keep their metadata is not") {
  for (const char* text :
       {"10.0.0.1", "100.64.0.1", "127.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "::1", "fd00::1", "fc00::1"}) {
    IN_ROW(text);
    CHECK(tools::is_private_address(address(text).get()));
  }
  for (const char* text : {"0.0.0.0", "8.8.8.8", "169.254.169.254", "169.254.1.1", "100.100.100.200", "172.32.0.1", "224.0.0.1",
                           "255.255.255.255", "::", "fe80::1", "fd00:ec2::254", "2606:4700:4700::1111", "::ffff:10.0.0.1", "ff02::1"}) {
    IN_ROW(text);
    CHECK(!tools::is_private_address(address(text).get()));
  }
  const auto entry = [](const char* host, bool allow_private) { return tools::parse_allowed_hosts({host}, allow_private)->front(); };
  CHECK(tools::may_connect(entry("billing.internal", true), address("10.1.2.3").get()));
  CHECK(!tools::may_connect(entry("billing.internal", false), address("10.1.2.3").get()));
  CHECK(!tools::may_connect(entry("billing.internal", true), address("169.254.169.254").get()));
}

TROUPE_TEST("a URL leads where libcurl will go") {
  struct row {
    const char* url;
    const char* target; // null: refused
  };
  for (const auto& [url, target] : {
           row{"https://Example.COM/x", "https example.com 443"},
           row{"http://example.com.:8080", "http example.com 8080"},
           row{"http://127.1/", "http 127.0.0.1 80"},
           row{"http://2130706433/", "http 127.0.0.1 80"},
           row{"http://0x7f.0.0.1/", "http 127.0.0.1 80"},
           row{"http://[::1]:8080/", "http ::1 8080"},
           row{"http://[0:0:0:0:0:0:0:1]/", "http ::1 80"},
           row{"http://example.com@evil.com/", nullptr},
           row{"http://user:pw@example.com/", nullptr},
           row{"ftp://example.com/", nullptr},
           row{"file:///etc/passwd", nullptr},
           row{"example.com", nullptr},
           row{"http://", nullptr},
           row{"http://exa mple.com/", nullptr},
           row{"http://example.com/\r\nHost: evil", nullptr},
           row{"", nullptr},
       }) {
    IN_ROW(url);
    const auto got = tools::target_of(url);
    CHECK_EQ(got ? got->scheme + " " + got->host + " " + std::to_string(got->port) : std::string("refused"), target ? target : "refused");
  }
}

TROUPE_TEST("allow_hosts names hosts, ports, names below a domain, and literal addresses") {
  const auto allowed =
      tools::parse_allowed_hosts({"example.com", "*.wild.org", "port.net:8443", "127.0.0.1:8080", "[::1]:80", "Upper.Case"});
  REQUIRE(allowed.has_value());
  const auto allows = [&](const char* url) { return tools::entry_for(*allowed, *tools::target_of(url)) != nullptr; };
  CHECK(allows("https://example.com/"));
  CHECK(allows("http://example.com:99/"));
  CHECK(!allows("http://sub.example.com/"));
  CHECK(!allows("http://notexample.com/"));
  CHECK(allows("http://a.b.wild.org/"));
  CHECK(!allows("http://wild.org/"));
  CHECK(!allows("http://evilwild.org/"));
  CHECK(allows("https://port.net:8443/"));
  CHECK(!allows("https://port.net/"));
  CHECK(allows("http://127.1:8080/"));
  CHECK(!allows("http://127.0.0.1/"));
  CHECK(allows("http://[::1]/"));
  CHECK(allows("http://upper.case/"));
  for (const char* wrong :
       {"", "http://example.com", "example.com/path", "example.com:0", "example.com:99999", "*.127.0.0.1", "*", "a b", "user@host"}) {
    IN_ROW(wrong);
    CHECK(!tools::parse_allowed_hosts({wrong}));
  }
}

TROUPE_TEST_WITH(fetch_fixture, "a page is fetched with GET, its text mended and its status told") {
  test_server server([](const test_server::request& r) {
    if (r.target == "/missing")
      return test_server::reply{test_server::ok("nothing here", "", "404 Not Found")};
    return test_server::reply{test_server::ok("caf\xE9", "Content-Type: text/plain\r\n")};
  });
  const auto page = fetch({at(server)}, server.url("/page?q=1"));
  CHECK(page.status == tool_status::ok);
  CHECK_EQ(page.output, "caf\xEF\xBF\xBD");
  CHECK_EQ(page.exit_status, 200);
  CHECK_EQ(server.last().method, "GET");
  CHECK_EQ(server.last().target, "/page?q=1");
  const auto missing = fetch({at(server)}, server.url("/missing"));
  CHECK(missing.status == tool_status::failed);
  CHECK_EQ(missing.output, "nothing here");
  CHECK_EQ(missing.error, "tool \"http_fetch\": the server answered with status 404");
}

TROUPE_TEST_WITH(fetch_fixture, "a host that is not listed is refused before anything is sent") {
  test_server server([](const auto&) { return test_server::reply{test_server::ok("secret")}; });
  for (const auto& url :
       {server.url(), "http://localhost:" + std::to_string(server.port()), "http://[::ffff:127.0.0.1]:" + std::to_string(server.port())}) {
    IN_ROW(url);
    const auto outcome = fetch({"example.com"}, url);
    CHECK(outcome.status == tool_status::failed);
    CHECK(outcome.error.find("allow_hosts") != std::string::npos);
  }
  CHECK_EQ(server.connections(), 0);
}

TROUPE_TEST_WITH(fetch_fixture, "a listed name that resolves to this machine is refused at the connection") {
  test_server server([](const auto&) { return test_server::reply{test_server::ok("secret")}; });
  const auto outcome =
      fetch({"rebound.localhost"}, "http://rebound.localhost:" + std::to_string(server.port()) + "/"); // libcurl resolves it to loopback
  CHECK(outcome.status == tool_status::failed);
  CHECK(outcome.error.find("not allowed") != std::string::npos);
  CHECK_EQ(server.connections(), 0);
  CHECK_EQ(fetch({"localhost"}, "http://localhost:" + std::to_string(server.port()) + "/").output, "secret");
}

TROUPE_TEST_WITH(fetch_fixture, "each redirect is checked anew, and at most 5 are followed") {
  test_server inner([](const auto&) { return test_server::reply{test_server::ok("inner")}; });
  test_server outer([&](const test_server::request& r) {
    if (r.target == "/out")
      return redirect_to(inner.url());
    if (r.target == "/file")
      return redirect_to("file:///etc/passwd");
    if (r.target == "/end")
      return test_server::reply{test_server::ok("end")};
    const auto n = std::stoi(r.target.substr(1));
    return redirect_to(n == 0 ? "/end" : "/" + std::to_string(n - 1));
  });
  const auto refused = fetch({at(outer)}, outer.url("/out"));
  CHECK(refused.status == tool_status::failed);
  CHECK(refused.error.find("not allowed") != std::string::npos);
  CHECK_EQ(inner.connections(), 0);
  CHECK(fetch({at(outer)}, outer.url("/file")).status == tool_status::failed);
  CHECK_EQ(fetch({at(outer), at(inner)}, outer.url("/out")).output, "inner");
  CHECK_EQ(fetch({at(outer)}, outer.url("/4")).output, "end");
  CHECK(fetch({at(outer)}, outer.url("/5")).status == tool_status::failed);
}

TROUPE_TEST_WITH(fetch_fixture, "a response is cut at 1 MiB, and what is binary is refused politely") {
  test_server server([](const test_server::request& r) {
    return test_server::reply{r.target == "/big" ? test_server::ok(std::string(3'000'000, 'x'))
                                                 : test_server::ok(std::string_view("\x89PNG\0", 5), "Content-Type: image/png\r\n")};
  });
  const auto big = fetch({at(server)}, server.url("/big"));
  CHECK(big.status == tool_status::ok);
  CHECK(big.truncated);
  CHECK(big.output.size() <= (1u << 20) + 100);
  CHECK(big.output.find("[cut: ") != std::string::npos);
  const auto image = fetch({at(server)}, server.url("/image"));
  CHECK(image.status == tool_status::failed);
  CHECK(image.error.find("binary (image/png)") != std::string::npos);
}

TROUPE_TEST_WITH(fetch_fixture, "a server that does not answer ends at the timeout, or when the call is cancelled") {
  test_server server([](const auto&) { return test_server::reply{"", test_server::then::hold}; });
  CHECK(fetch({at(server)}, server.url(), 100ms).status == tool_status::timed_out);
  const auto runner = fetcher({at(server)});
  auto call = start(*runner, {{"url", server.url()}});
  while (server.connections() < 2)
    std::this_thread::yield();
  runner->cancel(call.id);
  CHECK(call.get().status == tool_status::cancelled);
}
