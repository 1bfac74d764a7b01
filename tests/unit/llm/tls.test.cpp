// TLS is always verified, and HTTP/2 is spoken where it is offered, without repeating a request. Needs node and openssl; without them
// these tests say so and check nothing.
#include "test.hpp"

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <future>

#include <nlohmann/json.hpp>

#include "troupe/llm/http_client.hpp"

TROUPE_SUITE(http_client_tls)

using namespace troupe::llm;
using namespace std::chrono_literals;

namespace {

http_result fetch(http_client& client, const std::string& url, const std::string& method = "GET", std::string body = {}) {
  std::promise<http_result> promise;
  http_request request;
  request.url = url;
  request.method = method;
  request.body = std::move(body);
  request.timeout = 60s;
  request.on_done = [&](http_result result) { promise.set_value(std::move(result)); };
  client.submit(std::move(request));
  return promise.get_future().get();
}

struct tls_server {
  std::string folder, certificate;
  int port = 0;
  FILE* process = nullptr;

  tls_server() {
    char name[] = "/tmp/troupe-tls-XXXXXX";
    if (!mkdtemp(name))
      return;
    folder = name;
    certificate = folder + "/cert.pem";
    const auto make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost -addext "
                      "subjectAltName=IP:127.0.0.1 -keyout "
                      + folder + "/key.pem -out " + certificate + " 2>/dev/null >/dev/null && command -v node >/dev/null";
    if (std::system(make.c_str()) != 0)
      return;
    process = popen(("exec node " TROUPE_SOURCE_DIR "/tests/data/llm/h2_server.cjs " + folder + "/key.pem " + certificate).c_str(), "r");
    if (process && std::fscanf(process, "%d", &port) != 1)
      port = 0;
  }

  ~tls_server() {
    if (port != 0) {
      http_client client(trusting());
      fetch(client, url("/quit"));
    }
    if (process)
      pclose(process);
    std::error_code ignored;
    std::filesystem::remove_all(folder, ignored);
  }

  http_client_options trusting() const {
    http_client_options options;
    options.ca_file = certificate;
    return options;
  }
  std::string url(const std::string& path, const std::string& host = "127.0.0.1") const {
    return "https://" + host + ":" + std::to_string(port) + path;
  }
};

} // namespace

TROUPE_TEST("TLS is verified, HTTP/2 shares one connection, and nothing is sent twice") {
  tls_server server;
  if (server.port == 0) {
    CAF_MESSAGE("skipped: openssl and node are needed");
    return;
  }
  {
    http_client client; // the system's authorities do not know this one
    const auto result = fetch(client, server.url("/"));
    CHECK(result.error == http_error::not_connected);
    CHECK(!result.request_sent);
  }
  http_client client(server.trusting());
  const auto wrong_name = fetch(client, server.url("/", "localhost"));
  CHECK(wrong_name.error == http_error::not_connected);

  const auto first = fetch(client, server.url("/"), "POST", "one");
  REQUIRE(first.error == http_error::none);
  auto seen = nlohmann::json::parse(first.body);
  CHECK_EQ(seen["version"], "2.0");
  CHECK_EQ(seen["body"], "one");
  const int sessions = seen["sessions"]; // a client that refuses the name has finished the handshake before

  std::vector<std::future<http_result>> running;
  for (int i = 0; i < 40; ++i) {
    auto promise = std::make_shared<std::promise<http_result>>();
    running.push_back(promise->get_future());
    http_request request;
    request.url = server.url("/");
    request.method = "POST";
    request.body = std::to_string(i);
    request.on_done = [promise](http_result result) { promise->set_value(std::move(result)); };
    client.submit(std::move(request));
  }
  for (int i = 0; i < 40; ++i) {
    seen = nlohmann::json::parse(running[static_cast<std::size_t>(i)].get().body);
    CHECK_EQ(seen["body"], std::to_string(i));
  }
  seen = nlohmann::json::parse(fetch(client, server.url("/")).body);
  CHECK_EQ(seen["sessions"].get<int>(), sessions);
  const int before = seen["requests"];

  // libcurl would send a refused stream again, and one whose session dies.
  for (const char* path : {"/refuse", "/destroy"}) {
    const auto result = fetch(client, server.url(path), "POST", "x");
    CHECK(result.error == http_error::broken);
    CHECK(result.request_sent);
  }
  seen = nlohmann::json::parse(fetch(client, server.url("/")).body);
  CHECK_EQ(seen["requests"].get<int>(), before + 3);
}
