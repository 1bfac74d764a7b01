#pragma once
// HTTP for everything that calls out: a few threads, each over one libcurl multi handle. Requests go in from any thread, one answer
// comes back for each. Nothing here retries, and libcurl's own silent repeat of a request is stopped (SEMANTICS 1: one place sends).

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

struct sockaddr;

namespace troupe::llm {

/// Why a transfer brought no whole response.
enum class http_error {
  none,
  invalid_request, ///< an unusable URL, or a header or method with control characters; nothing was tried
  not_connected,   ///< name resolution, connect or TLS did not succeed: nothing was sent
  refused,         ///< the address filter or `on_redirect` said no: nothing was sent to that place
  timed_out,       ///< the whole transfer took longer than its timeout (see `request_sent`)
  broken,          ///< the connection ended before the response did; it may have been served
  too_large,       ///< the response has more bytes than `max_response_bytes`, or more than 256 KiB of headers
  stopped,         ///< `on_data` returned false
  cancelled,       ///< by `cancel`, or the client is shutting down
};

/// "timed_out" and so on.
const char* name_of(http_error kind);

/// Header fields in the order received, names lower-cased.
class http_headers {
public:
  void add(std::string_view name, std::string_view value);
  void clear() { fields_.clear(); }
  /// The first value of a field; `name` in lower case. Nullptr: absent.
  const std::string* find(std::string_view name) const;
  const std::vector<std::pair<std::string, std::string>>& fields() const { return fields_; }

private:
  std::vector<std::pair<std::string, std::string>> fields_;
};

/// What came back. With an `error`, status, headers and body are what had arrived until then.
struct http_result {
  http_error error = http_error::none;
  std::string message;          ///< libcurl's words for the error, for people
  int status = 0;               ///< 0: none was read
  http_headers headers;         ///< of the last response, without trailers
  std::string body;             ///< empty where `on_data` took it
  bool connection_made = false; ///< a connection (and TLS, where asked for) stood
  bool request_sent = false;    ///< bytes of the request may have left: the server may have acted. False means it surely has not
  bool connection_reused = false;
  std::string final_url; ///< where the last hop went, once a redirect was followed; else empty
};

struct http_request {
  std::string method = "GET";
  std::string url;                                          ///< http or https only
  std::vector<std::pair<std::string, std::string>> headers; ///< a value with CR, LF or NUL makes the request invalid
  std::string body;                                         ///< sent from here, without a copy
  std::chrono::milliseconds timeout{60'000};                ///< over the whole transfer, redirects included; <= 0: already over
  std::chrono::milliseconds connect_timeout{10'000};
  std::size_t max_response_bytes = std::size_t{64} << 20; ///< of the body
  std::string proxy;                                      ///< empty: none, whatever the environment says

  /// How many redirects are followed (0: a 3xx is the answer). 301 and 302 turn a POST into a GET without body, 303 all but HEAD;
  /// whatever else is redirected keeps method and body. Authorization, Cookie, Proxy-Authorization and x-api-key stay behind when the
  /// origin changes.
  int max_redirects = 0;
  /// Names of further headers that stay behind when the origin changes. Any case.
  std::vector<std::string> credentials;
  /// Asked before each hop with its absolute URL; false ends the transfer as `refused`. Empty: every http(s) URL is followed.
  std::function<bool(const std::string& url)> on_redirect;
  /// Asked with each address before a connection to it is opened or reused, on every hop; false: not this one. With a proxy, the
  /// address is the proxy's. Connections that were opened without a filter are checked again before they are reused.
  std::function<bool(const sockaddr* address)> address_filter;

  /// Takes the body in pieces as it arrives (of the final response, whatever its status), instead of `http_result::body`. `head` has
  /// status and headers already. Returning false ends the transfer as `stopped`. Called on a client's thread; must not throw or block.
  std::function<bool(const http_result& head, std::string_view piece)> on_data;
  /// Called exactly once, on a client's thread, or within `submit` when the client is shutting down. Must not throw or block.
  std::function<void(http_result)> on_done;
};

using http_id = std::uint64_t;

struct http_client_options {
  /// Threads, each with an own multi handle and own connections. libcurl's CPU for a request grows with what is in flight in one handle,
  /// so a request goes to the first shard with fewer than `shard_fill` in flight, and to the least loaded once all have as many.
  std::size_t shards = 1;
  std::size_t shard_fill = 128;
  std::size_t idle_connections = 1'024; ///< kept open, for each shard
  std::string ca_file{};                ///< PEM; empty: the system's. Verification itself cannot be turned off
  std::string user_agent = "troupe";
};

class http_client {
public:
  explicit http_client(const http_client_options& options = {});
  /// Ends every transfer as `cancelled`, calls every callback, and joins. Never from a callback.
  ~http_client();
  http_client(const http_client&) = delete;
  http_client& operator=(const http_client&) = delete;

  /// Starts a request. Any thread, callbacks included; never blocks on the network.
  http_id submit(http_request request);

  /// Ends a transfer: its `on_done` is called with `cancelled`, on the client's thread. Unknown and finished ids are ignored. Any thread.
  void cancel(http_id id);

  /// Transfers whose `on_done` has not been called yet; one that is being called does not count.
  std::size_t in_flight() const;

private:
  class shard;
  std::vector<std::unique_ptr<shard>> shards_;
  std::size_t shard_fill_;
  std::atomic<std::uint64_t> next_{1};
};

} // namespace troupe::llm
