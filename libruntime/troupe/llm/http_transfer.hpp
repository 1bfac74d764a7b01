#pragma once
// One request on its way through libcurl: what its callbacks see, and how a handle is set up for it. Internal to the HTTP client.

#include <array>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <curl/curl.h>

#include "troupe/llm/http_client.hpp"

namespace troupe::llm {

class multi_loop;

struct slist_free {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
using slist = std::unique_ptr<curl_slist, slist_free>;

/// One request on its way: what libcurl's callbacks see.
struct transfer {
  http_id id = 0;
  http_request request;
  http_result result;
  CURL* easy = nullptr;
  multi_loop* loop = nullptr; // whose handle `easy` belongs to
  slist headers;
  std::chrono::steady_clock::time_point deadline;
  int hops = 0;
  int entries = 0; // of the pre-request callback in this hop
  bool address_refused = false;
  bool body_started = false;
  bool drop_credentials = false;
  std::size_t header_bytes = 0;
  std::size_t body_bytes = 0;
  std::optional<http_error> verdict; // what our own callbacks decided
  std::array<char, CURL_ERROR_SIZE> words{};

  /// The response that has come so far is a redirect that is to be followed.
  bool will_follow() const;
};

/// Why the request cannot be sent at all (a method, header or URL that could smuggle another one); empty: it can.
std::string problem_of(const http_request& request);

/// Sets the transfer's handle up for its next hop, which may take `left`. Throws std::bad_alloc.
void prepare(transfer& t, const http_client_options& options, std::chrono::milliseconds left);

/// What tells two origins apart: scheme, host and port; empty for what does not parse.
std::string origin_of(const std::string& url);

/// ASCII letters in lower case.
std::string lower_case(std::string_view text);

} // namespace troupe::llm
