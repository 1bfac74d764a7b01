#pragma once
// A libcurl multi handle on epoll: what a turn costs depends on the sockets that have news, not on the transfers under way, where
// curl_multi_perform and curl_multi_poll look at each one (80 s of CPU for 20,000 requests with 10,000 in flight).
// Internal to the HTTP client.

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <vector>

#include <curl/curl.h>
#include <sys/epoll.h>

#include "troupe/util/unique_fd.hpp"

namespace troupe::llm {

/// All of it is one thread's, but `wake`.
class multi_loop {
public:
  /// Throws std::bad_alloc or std::system_error.
  multi_loop();
  ~multi_loop();
  multi_loop(const multi_loop&) = delete;
  multi_loop& operator=(const multi_loop&) = delete;

  CURLM* handle() const { return multi_; }

  /// Sleeps until a socket has news, a timer of libcurl's is due or `wake` was called; without `may_sleep` it only looks.
  void wait(bool may_sleep);

  /// Lets libcurl work on what `wait` found and on what is due.
  void work();

  /// Ends the `wait` under way, or the next one. Any thread.
  void wake() noexcept;

  /// For CURLOPT_OPENSOCKETFUNCTION and CURLOPT_CLOSESOCKETFUNCTION, both or none: a socket of which these tell stays registered while its
  /// connection is idle, which saves two calls of the kernel for each request.
  void opened(curl_socket_t socket);
  int close(curl_socket_t socket) noexcept;

private:
  struct watched {
    std::uint32_t wanted = 0;     // by libcurl: EPOLLIN, EPOLLOUT
    std::uint32_t registered = 0; // with the kernel
    bool ours = false;            // `close` will tell its end
  };

  static int on_socket(CURL*, curl_socket_t socket, int what, void* self, void*) noexcept;
  static int on_timer(CURLM*, long timeout_ms, void* self) noexcept;
  watched& entry(curl_socket_t socket);
  void watch(curl_socket_t socket, std::uint32_t events);
  void act(const epoll_event& event);

  CURLM* multi_;
  unique_fd epoll_;
  unique_fd wakeup_;
  std::vector<watched> sockets_; // by descriptor
  std::optional<std::chrono::steady_clock::time_point> due_;
  std::array<epoll_event, 256> found_;
  int found_count_ = 0;
};

} // namespace troupe::llm
