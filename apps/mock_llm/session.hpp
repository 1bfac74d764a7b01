#pragma once
// One connection, and the thread that serves it.

#include <array>
#include <chrono>
#include <list>
#include <memory>
#include <optional>
#include <string>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>

#include "mock_llm/responder.hpp"

namespace troupe::mock_llm {

using tcp = boost::asio::ip::tcp;

class session;

/// What the connections of one thread share: its loop, its memory for reading and answering, and the list of them.
struct worker {
  using clock = std::chrono::steady_clock;

  worker(shared_state& state, stats_shard& stats) : shared(state), answers(state, stats) {}

  /// Closes connections that are past their deadlines, once a second; one timer for all of them.
  void sweep();

  std::list<std::weak_ptr<session>> sessions; ///< before the loop: what dies with the loop takes itself out of it
  boost::asio::io_context loop{1};
  shared_state& shared;
  responder answers;
  std::array<char, 64u << 10> incoming{}; ///< where the next bytes of whatever connection are read into
  boost::asio::steady_timer sweeper{loop};
};

/// A connection: reads a request, answers it, and so on. Requests that come in before an answer is out wait for it, in order. Lives on its
/// worker's thread alone. Holds no buffers while it is idle.
class session : public std::enable_shared_from_this<session> {
public:
  session(worker& home, tcp::socket socket);
  ~session();

  void start();
  void close();
  /// Ends what takes too long.
  void check(worker::clock::time_point now);

private:
  enum class state {
    reading, ///< a request, or nothing yet
    waiting, ///< the answer is due later
    holding, ///< no answer will come
    writing,
    draining, ///< the last answer is out; what still comes is thrown away, so that the client sees the answer and no reset
    closed,
  };

  void wait_readable();
  void on_readable();
  void read();
  /// Gives bytes to the parser; what it does not take is kept. True when a request is complete (or cannot become one).
  bool feed(std::string_view bytes);
  void parse_pending();
  void respond();
  void send();
  void write_rest();
  void drip();
  void written();
  void drain();
  void read_on();
  void expect(std::chrono::milliseconds time) { deadline_ = worker::clock::now() + time; }
  void leave_flight();

  worker& home_;
  tcp::socket socket_;
  boost::asio::steady_timer timer_;
  std::list<std::weak_ptr<session>>::iterator place_;
  std::optional<http_request> request_;
  std::string pending_; ///< bytes that arrived and are not parsed yet
  answer answer_;
  std::size_t written_ = 0;
  worker::clock::time_point deadline_;
  state state_ = state::reading;
  std::uint64_t drained_ = 0;
  bool watching_ = false;  ///< a wait for incoming bytes is under way
  bool is_queued_ = false; ///< the next of several pipelined requests waits for its turn on the loop; nothing is read before it
  bool in_flight_ = false;
};

} // namespace troupe::mock_llm
