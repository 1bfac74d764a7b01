#pragma once
// A raw HTTP/1.1 server for tests: it shows what really came over the wire, and can misbehave in every way that a socket can.

#include <atomic>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "troupe/llm/http_client.hpp"

namespace troupe::test {

class test_server {
public:
  struct request {
    std::string method, target, body, head;
    llm::http_headers headers;
    int connection = 0;    ///< 1, 2, … in the order accepted
    int on_connection = 0; ///< 1, 2, … of that connection
  };
  enum class then {
    keep,  ///< read the next request
    close, ///< orderly
    reset, ///< RST
    hold,  ///< until the client goes away
  };
  struct reply {
    std::string bytes;
    then after = then::keep;
    std::size_t piece = 0; ///< bytes a write; 0: all at once
  };
  using handler = std::function<reply(const request&)>;

  explicit test_server(handler answer) : answer_(std::move(answer)) {
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    if (::bind(listener_, reinterpret_cast<sockaddr*>(&address), size) != 0 || ::listen(listener_, 1024) != 0
        || ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0)
      throw std::runtime_error("the test server cannot listen");
    port_ = ntohs(address.sin_port);
    acceptor_ = std::thread([this] { accept(); });
  }

  ~test_server() { stop(); }

  void stop() {
    if (stopped_.exchange(true))
      return;
    ::shutdown(listener_, SHUT_RDWR);
    acceptor_.join();
    ::close(listener_);
    {
      const std::lock_guard lock(mutex_);
      for (const int fd : open_)
        ::shutdown(fd, SHUT_RDWR);
    }
    for (auto& each : threads_)
      each.join();
  }

  std::string url(std::string_view target = "/") const { return "http://127.0.0.1:" + std::to_string(port_) + std::string(target); }
  int port() const { return port_; }

  std::vector<request> requests() const {
    const std::lock_guard lock(mutex_);
    return seen_;
  }
  request last() const {
    const std::lock_guard lock(mutex_);
    return seen_.back();
  }
  int connections() const { return connections_.load(); }

  /// A response with a Content-Length.
  static std::string ok(std::string_view body, std::string_view headers = {}, std::string_view status = "200 OK") {
    return "HTTP/1.1 " + std::string(status) + "\r\n" + std::string(headers) + "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n"
           + std::string(body);
  }

private:
  void accept() {
    for (;;) {
      const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      if (fd < 0)
        return;
      const int one = 1;
      ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
      const std::lock_guard lock(mutex_);
      open_.push_back(fd);
      threads_.emplace_back([this, fd, number = ++connections_] { serve(fd, number); });
    }
  }

  static bool send_all(int fd, std::string_view bytes) {
    while (!bytes.empty()) {
      const auto sent = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0)
        return false;
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
    return true;
  }

  void serve(int fd, int number) {
    std::string in;
    bool more = true;
    for (int count = 1; more; ++count) {
      request seen;
      seen.connection = number;
      seen.on_connection = count;
      if (!read_request(fd, in, seen))
        break;
      {
        const std::lock_guard lock(mutex_);
        seen_.push_back(seen);
      }
      const auto out = answer_(seen);
      const std::string_view bytes = out.bytes;
      for (std::size_t at = 0; more && at < bytes.size();) {
        const auto piece = bytes.substr(at, out.piece ? out.piece : bytes.size());
        more = send_all(fd, piece);
        at += piece.size();
      }
      if (out.after == then::hold) {
        char buffer[256];
        while (::recv(fd, buffer, sizeof buffer, 0) > 0) {
        }
      } else if (out.after == then::reset) {
        const linger now{1, 0};
        ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
      }
      more = more && out.after == then::keep;
    }
    const std::lock_guard lock(mutex_);
    std::erase(open_, fd);
    ::close(fd);
  }

  bool read_request(int fd, std::string& in, request& into) {
    std::size_t end = 0;
    while ((end = in.find("\r\n\r\n")) == std::string::npos)
      if (!read_more(fd, in))
        return false;
    into.head = in.substr(0, end + 2);
    in.erase(0, end + 4);
    const auto line = into.head.substr(0, into.head.find("\r\n"));
    into.method = line.substr(0, line.find(' '));
    into.target = line.substr(into.method.size() + 1, line.rfind(' ') - into.method.size() - 1);
    for (std::size_t at = line.size() + 2; at < into.head.size();) {
      const auto stop = into.head.find("\r\n", at);
      const auto field = into.head.substr(at, stop - at);
      const auto colon = field.find(':');
      auto value = field.substr(colon + 1);
      into.headers.add(field.substr(0, colon), value.substr(std::min(value.size(), value.find_first_not_of(' '))));
      at = stop + 2;
    }
    std::size_t length = 0;
    if (const auto* text = into.headers.find("content-length"))
      length = std::stoul(*text);
    while (in.size() < length)
      if (!read_more(fd, in))
        return false;
    into.body = in.substr(0, length);
    in.erase(0, length);
    return true;
  }

  static bool read_more(int fd, std::string& in) {
    char buffer[16384];
    const auto got = ::recv(fd, buffer, sizeof buffer, 0);
    if (got <= 0)
      return false;
    in.append(buffer, static_cast<std::size_t>(got));
    return true;
  }

  handler answer_;
  int listener_ = -1;
  int port_ = 0;
  std::thread acceptor_;
  std::atomic<bool> stopped_{false};
  std::atomic<int> connections_{0};
  mutable std::mutex mutex_;
  std::vector<int> open_;
  std::vector<std::thread> threads_;
  std::vector<request> seen_;
};

} // namespace troupe::test
