#pragma once
// A blocking HTTP client over a real socket, for the tests of the server: sends bytes as they are told, reads answers as they come.

#include <chrono>
#include <string>
#include <string_view>

#include <boost/asio/connect.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>
#include <sys/socket.h>

#include "mock_llm/server.hpp"

namespace troupe::test {

struct http_answer {
  int status = 0;        ///< 0: none came
  std::string head;      ///< in lower case
  std::string body;      ///< chunks put together
  bool complete = false; ///< as long as its head said
  bool reset = false;    ///< the connection was reset
  nlohmann::json document() const { return nlohmann::json::parse(body, nullptr, false); }
  /// A part of the document, by its pointer; null where it is not there.
  nlohmann::json at(const char* pointer) const {
    const auto whole = document();
    const nlohmann::json::json_pointer where(pointer);
    return whole.is_structured() && whole.contains(where) ? whole.at(where) : nlohmann::json();
  }
};

class http_client {
public:
  explicit http_client(std::uint16_t port) : socket_(loop_) {
    socket_.connect({boost::asio::ip::make_address("127.0.0.1"), port});
    const timeval limit{20, 0};
    ::setsockopt(socket_.native_handle(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  }

  void send(std::string_view bytes) {
    boost::system::error_code ignored;
    boost::asio::write(socket_, boost::asio::buffer(bytes.data(), bytes.size()), ignored);
  }

  void post(std::string_view path, std::string_view body, std::string_view headers = "") {
    send("POST " + std::string(path) + " HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: "
         + std::to_string(body.size()) + "\r\n" + std::string(headers) + "\r\n" + std::string(body));
  }

  void get(std::string_view path, std::string_view method = "GET") {
    send(std::string(method) + " " + std::string(path) + " HTTP/1.1\r\nHost: x\r\n\r\n");
  }

  /// The next answer on this connection.
  http_answer read() {
    http_answer answer;
    std::size_t end = std::string::npos;
    while ((end = bytes_.find("\r\n\r\n")) == std::string::npos)
      if (!more(answer))
        return answer;
    answer.head = bytes_.substr(0, end + 2);
    bytes_.erase(0, end + 4);
    for (auto& c : answer.head)
      c = static_cast<char>(::tolower(c));
    answer.status = std::stoi(answer.head.substr(9, 3));
    if (answer.head.find("transfer-encoding: chunked") != std::string::npos)
      read_chunks(answer);
    else
      read_sized(answer);
    return answer;
  }

  /// True when the other side has closed the connection.
  bool at_end() {
    http_answer ignored;
    return bytes_.empty() && !more(ignored) && !timed_out_;
  }

  void close() { socket_.close(); }
  /// Ends both directions, also for another thread that is sending.
  void shut_down() {
    boost::system::error_code ignored;
    socket_.shutdown(boost::asio::ip::tcp::socket::shutdown_both, ignored);
  }

private:
  bool more(http_answer& answer) {
    char buffer[16'384];
    boost::system::error_code failed;
    const auto got = socket_.read_some(boost::asio::buffer(buffer), failed);
    answer.reset = failed == boost::asio::error::connection_reset;
    timed_out_ = failed == boost::asio::error::try_again || failed == boost::asio::error::would_block;
    bytes_.append(buffer, got);
    return !failed;
  }

  void read_sized(http_answer& answer) {
    const auto at = answer.head.find("content-length: ");
    const std::size_t size = at == std::string::npos ? 0 : std::stoul(answer.head.substr(at + 16));
    while (bytes_.size() < size)
      if (!more(answer)) {
        answer.body.swap(bytes_);
        return;
      }
    answer.body = bytes_.substr(0, size);
    bytes_.erase(0, size);
    answer.complete = true;
  }

  void read_chunks(http_answer& answer) {
    while (true) {
      std::size_t end = std::string::npos;
      while ((end = bytes_.find("\r\n")) == std::string::npos)
        if (!more(answer))
          return;
      const auto size = std::stoul(bytes_.substr(0, end), nullptr, 16);
      bytes_.erase(0, end + 2);
      while (bytes_.size() < size + 2)
        if (!more(answer)) {
          answer.body += bytes_;
          return;
        }
      answer.body += bytes_.substr(0, size);
      bytes_.erase(0, size + 2);
      if (size == 0) {
        answer.complete = true;
        return;
      }
    }
  }

  boost::asio::io_context loop_;
  boost::asio::ip::tcp::socket socket_;
  std::string bytes_;
  bool timed_out_ = false;
};

/// A server that answers from these rules, on a free port.
struct running_server {
  explicit running_server(const char* rules, mock_llm::options chosen = {}) {
    auto made = llm::parse_script(nlohmann::json{{"rules", nlohmann::json::parse(rules)}});
    REQUIRE(made.has_value());
    chosen.script = *made;
    const auto started = server.start(std::move(chosen));
    REQUIRE(started.has_value());
    port = *started;
  }

  http_answer ask(std::string_view path, std::string_view body, std::string_view headers = "") {
    http_client client(port);
    client.post(path, body, headers);
    return client.read();
  }

  mock_llm::server server;
  std::uint16_t port = 0;
};

/// The `data:` lines of a stream of events.
inline std::vector<std::string> events_of(const std::string& body) {
  std::vector<std::string> events;
  for (std::size_t at = body.find("data: "); at != std::string::npos; at = body.find("data: ", at + 1)) {
    if (at > 0 && body[at - 1] != '\n')
      continue;
    events.push_back(body.substr(at + 6, body.find('\n', at) - at - 6));
  }
  return events;
}

} // namespace troupe::test
