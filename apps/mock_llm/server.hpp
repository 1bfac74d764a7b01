#pragma once
// `troupe mock-llm`: an OpenAI- and Anthropic-compatible server that answers from a script and misbehaves on request (INTERFACES 4).
//
//   POST /v1/chat/completions (and /chat/completions), POST /v1/messages, GET /v1/models, GET /stats, GET /healthz
//
// Histories that a vendor would refuse are refused with its words, so that a test that passes proves that what was sent is valid.

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "troupe/llm/script.hpp"
#include "troupe/model/error.hpp"

namespace troupe::mock_llm {

/// One part of `--fault`: `429:0.1` happens to a tenth of the requests, `503:2` to the first two.
/// `429 500 503 529` (any status from 400 to 599): the vendor's error body · `timeout`: never answers · `reset`: TCP reset ·
/// `truncate`: the answer stops in its middle · `slow`: 20 pieces, 100 ms apart · `malformed`: JSON that does not parse ·
/// `empty`: neither text nor tool call · `error200`: an error object under 200.
struct fault_spec {
  llm::fault what;
  double probability = 0; ///< 0: it is a count
  std::int64_t count = 0;
};

/// Reads "429:0.1 500:0.05 503:2" (parts separated by white space or commas).
expected<std::vector<fault_spec>> parse_faults(std::string_view text);

struct options {
  std::string script_path; ///< for messages; `script` is what answers
  llm::script_ptr script;
  std::string listen = "127.0.0.1:0";   ///< host:port; port 0 takes a free one, and any host but loopback is refused
  std::chrono::milliseconds latency{0}; ///< of every answer, beside the rule's own
  std::vector<fault_spec> faults;       ///< probabilities sum up to at most 1
  std::uint64_t seed = 0;
  unsigned threads = 1;
  std::size_t max_connections = 20'000;              ///< more are closed at once
  std::size_t max_body_bytes = 16u << 20;            ///< more is 413
  std::size_t max_header_bytes = 16u << 10;          ///< more is 431
  std::chrono::milliseconds request_timeout{30'000}; ///< for a request to arrive whole, and for a client to take an answer
  std::chrono::milliseconds idle_timeout{300'000};   ///< a connection without a request
};

/// The server and its threads. `start` once; `stop` (or destruction) closes everything and joins.
class server {
public:
  server();
  ~server();
  server(const server&) = delete;
  server& operator=(const server&) = delete;

  /// Listens and serves in `options::threads` own threads. The port that it listens on, or why not.
  expected<std::uint16_t> start(options chosen);
  /// { requests, by_status, by_agent, max_in_flight, tokens: { input, output } }; requests to the two model paths only. A request that got
  /// no status is counted as "reset" or "timeout". Any thread.
  json stats() const;
  void stop();

private:
  struct impl;
  std::unique_ptr<impl> impl_;
};

/// Serves until SIGINT or SIGTERM, then prints nothing more and returns 0. The first line on standard output is
/// "listening on http://HOST:PORT"; what went wrong goes to standard error with status 2 (options) or 4 (address cannot be had).
int run_mock_llm(options chosen);

} // namespace troupe::mock_llm
