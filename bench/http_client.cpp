// Requests a second and our CPU for each, with N in flight over S shards, against a small server in a process of its own.
//
//   bench_http_client [SECONDS]
//
// CPU is this process's, user and system; the server's does not count, but it shares the cores.

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "troupe/llm/http_client.hpp"

#include "usage.hpp"

namespace {

using namespace troupe::llm;
using clock_type = std::chrono::steady_clock;

constexpr std::size_t body_bytes = 1'000; // of each request: its connection has one at a time

/// Answers each request with 600 bytes, on kept connections, for ever.
[[noreturn]] void serve(int listener) {
  const std::string body(600, 'x');
  const auto answer =
      "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
  const int poll = ::epoll_create1(0);
  epoll_event event{.events = EPOLLIN, .data = {.fd = listener}};
  ::epoll_ctl(poll, EPOLL_CTL_ADD, listener, &event);
  std::unordered_map<int, std::string> partial;
  epoll_event ready[256];
  char buffer[65536];
  for (;;) {
    const int count = ::epoll_wait(poll, ready, 256, -1);
    for (int i = 0; i < count; ++i) {
      const int fd = ready[i].data.fd;
      if (fd == listener) {
        const int accepted = ::accept(listener, nullptr, nullptr);
        const int one = 1;
        ::setsockopt(accepted, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        event.data.fd = accepted;
        ::epoll_ctl(poll, EPOLL_CTL_ADD, accepted, &event);
        continue;
      }
      const auto got = ::recv(fd, buffer, sizeof buffer, 0);
      if (got <= 0) {
        partial.erase(fd);
        ::close(fd);
        continue;
      }
      auto& text = partial[fd];
      text.append(buffer, static_cast<std::size_t>(got));
      if (const auto end = text.find("\r\n\r\n"); end != std::string::npos && text.size() >= end + 4 + body_bytes) {
        if (::send(fd, answer.data(), answer.size(), MSG_NOSIGNAL) < 0)
          continue;
        text.erase(0, end + 4 + body_bytes);
      }
    }
  }
}

struct load {
  http_client& client;
  std::string url;
  clock_type::time_point until;
  std::atomic<long> done{0};
  std::atomic<long> wrong{0};
  std::atomic<long> live{0};

  void next() {
    http_request request;
    request.method = "POST";
    request.url = url;
    request.headers = {{"Content-Type", "application/json"}, {"Accept", "application/json"}, {"Authorization", "Bearer 0123456789"}};
    request.body = std::string(body_bytes, 'q');
    request.on_done = [this](http_result result) {
      ++done;
      wrong += result.status == 200 && result.body.size() == 600 ? 0 : 1;
      if (clock_type::now() < until)
        next();
      else
        --live; // last: nobody waits for this object longer
    };
    client.submit(std::move(request));
  }
};

} // namespace

int main(int argc, char** argv) {
  const double seconds = argc > 1 ? std::atof(argv[1]) : 2;
  const int listener = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  if (::bind(listener, reinterpret_cast<sockaddr*>(&address), size) != 0 || ::listen(listener, 4096) != 0
      || ::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size) != 0)
    return 1;
  const pid_t server = ::fork();
  if (server == 0)
    serve(listener);
  const auto url = "http://127.0.0.1:" + std::to_string(ntohs(address.sin_port)) + "/v1/chat/completions";
  std::printf("%10s %7s %12s %14s %7s\n", "in flight", "shards", "requests/s", "CPU us/request", "wrong");
  for (const int in_flight : {1, 64, 256, 1'000})
    for (const int shards : {1, 2, 4, 8}) {
      if (shards > in_flight)
        continue;
      http_client_options options;
      options.shards = static_cast<std::size_t>(shards);
      options.shard_fill = static_cast<std::size_t>(in_flight / shards);
      const auto client = std::make_unique<http_client>(options);
      const auto start = clock_type::now();
      const auto cpu = bench::cpu_seconds();
      load work{*client, url, start + std::chrono::microseconds(static_cast<std::int64_t>(seconds * 1e6))};
      work.live = in_flight;
      for (int i = 0; i < in_flight; ++i)
        work.next();
      while (work.live > 0)
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      const auto wall = std::chrono::duration<double>(clock_type::now() - start).count();
      const auto count = static_cast<double>(work.done.load());
      std::printf("%10d %7d %12.0f %14.1f %7ld\n", in_flight, shards, count / wall, (bench::cpu_seconds() - cpu) * 1e6 / count,
                  work.wrong.load());
      std::fflush(stdout);
    }
  ::kill(server, SIGKILL);
  ::waitpid(server, nullptr, 0);
}
