#pragma once
// From a request to the bytes of its answer, and how they are to be sent. No sockets here.

#include <chrono>
#include <memory>
#include <string>

#include "mock_llm/faults.hpp"
#include "mock_llm/http_request.hpp"
#include "mock_llm/server.hpp"
#include "mock_llm/stats.hpp"
#include "mock_llm/wire.hpp"

namespace troupe::mock_llm {

/// How an answer is sent.
struct answer {
  enum class kind {
    send,  ///< `bytes`
    drip,  ///< `bytes` in 20 pieces, 100 ms apart
    hold,  ///< nothing, until the client goes away
    reset, ///< nothing, and a TCP reset
  };
  kind how = kind::send;
  bool is_last = false; ///< the connection ends after it; else the next request is read
  std::string bytes;
  std::chrono::milliseconds delay{0};
};

/// What all threads share. Immutable but for its counters.
struct shared_state {
  explicit shared_state(options chosen_options) : chosen(std::move(chosen_options)), faults(chosen.faults, chosen.seed) {}

  const options chosen;
  fault_plan faults;
  flight_counter in_flight;
  std::vector<std::unique_ptr<stats_shard>> shards;

  json stats() const;
};

/// Answers the requests of one thread.
class responder {
public:
  responder(shared_state& shared, stats_shard& stats) : shared_(shared), stats_(stats) {}

  /// Fills `into`, whose buffer is reused.
  void respond(const http_request& request, answer& into);
  /// An answer to what is no acceptable HTTP request; the connection ends after it.
  void refuse(int status, std::string_view words, answer& into);

private:
  struct call;
  void respond_model(vendor from, const http_request& request, answer& into);
  void respond_plain(const http_request& request, int status, std::string_view body, answer& into, std::string_view extra_headers = {});
  bool misbehave(const llm::fault& met, const call& now, answer& into);
  void answer_reply(const call& now, const llm::scripted_reply& reply, bool cut, answer& into);
  void answer_error(const call& now, const wire_error& error, std::string_view retry_after, answer& into);
  void list_models(const http_request& request, answer& into);

  shared_state& shared_;
  stats_shard& stats_;
  parse_memory memory_;
  std::string body_; ///< reused
};

} // namespace troupe::mock_llm
