#include "mock_llm/server.hpp"

#include <charconv>
#include <csignal>
#include <cstdio>
#include <deque>
#include <sys/resource.h>
#include <thread>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>

#include "mock_llm/session.hpp"
#include "troupe/util/suggest.hpp"

namespace troupe::mock_llm {

namespace {

using problem = boost::system::error_code;

/// "host:port", where the host may be "[::1]". Of this machine only: no key is checked here, so whoever reached it could use it.
expected<tcp::endpoint> endpoint_of(const std::string& text) {
  const auto wrong = [&] {
    return fail(error_code::invalid_argument, in_quotes(text) + " is no address; write HOST:PORT, for instance 127.0.0.1:0", "--listen");
  };
  const auto colon = text.rfind(':');
  if (colon == std::string::npos)
    return wrong();
  unsigned port = 0;
  const auto [end, status] = std::from_chars(text.data() + colon + 1, text.data() + text.size(), port);
  if (status != std::errc{} || end != text.data() + text.size() || port > 65'535)
    return wrong();
  std::string host = text.substr(0, colon);
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']')
    host = host.substr(1, host.size() - 2);
  if (host == "localhost" || host.empty())
    host = "127.0.0.1";
  problem failed;
  const auto address = boost::asio::ip::make_address(host, failed);
  if (failed)
    return wrong();
  if (!address.is_loopback())
    return fail(error_code::invalid_argument,
                in_quotes(host) + " can be reached from other machines, and no key is checked here; listen on 127.0.0.1:"
                    + std::to_string(port) + ", and let a proxy that knows its users, or ssh -L, lead there",
                "--listen");
  return tcp::endpoint(address, static_cast<std::uint16_t>(port));
}

/// Thousands of connections need thousands of descriptors.
void raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);
  }
}

} // namespace

/// The workers stand before whatever runs on their loops: a base, so that they are made first and go last.
struct server_workers {
  explicit server_workers(options chosen) : shared(std::move(chosen)) {
    const auto count = std::max(1u, std::min(shared.chosen.threads, 64u));
    for (unsigned i = 0; i < count; ++i)
      shared.shards.push_back(std::make_unique<stats_shard>());
    for (auto& shard : shared.shards)
      workers.emplace_back(shared, *shard);
  }

  shared_state shared;
  std::deque<worker> workers;
};

struct server::impl : server_workers {
  explicit impl(options chosen) : server_workers(std::move(chosen)) {}

  /// Accepts in turn for each thread; so does one listening socket serve them all evenly.
  void accept() {
    auto& chosen = workers[next_worker++ % workers.size()];
    acceptor.async_accept(chosen.loop, [this, &chosen](problem failed, tcp::socket socket) {
      if (failed == boost::asio::error::operation_aborted)
        return;
      if (failed) {
        // Out of descriptors: looking again at once would only spin.
        retry.expires_after(std::chrono::milliseconds(50));
        retry.async_wait([this](problem cancelled) {
          if (!cancelled)
            accept();
        });
        return;
      }
      boost::asio::post(chosen.loop, [&chosen, held = std::make_shared<tcp::socket>(std::move(socket))] {
        if (chosen.sessions.size() * chosen.shared.shards.size() < chosen.shared.chosen.max_connections)
          std::make_shared<session>(chosen, std::move(*held))->start();
      });
      accept();
    });
  }

  std::size_t next_worker = 0;
  tcp::acceptor acceptor{workers.front().loop};
  boost::asio::steady_timer retry{workers.front().loop};
  std::vector<std::thread> threads;
};

server::server() = default;

server::~server() {
  stop();
}

expected<std::uint16_t> server::start(options chosen) {
  if (!chosen.script)
    return fail(error_code::invalid_argument, "there is no script to answer from", "--script");
  double chances = 0;
  for (const auto& fault : chosen.faults)
    chances += fault.probability;
  if (chances > 1)
    return fail(error_code::invalid_argument, "the probabilities of all faults add up to more than 1", "--fault");
  const auto endpoint = endpoint_of(chosen.listen);
  if (!endpoint)
    return tl::unexpected<error>(endpoint.error());
  const auto listen = chosen.listen;
  auto made = std::make_unique<impl>(std::move(chosen));
  problem failed;
  auto& acceptor = made->acceptor;
  acceptor.open(endpoint->protocol(), failed);
  if (!failed)
    acceptor.set_option(tcp::acceptor::reuse_address(true), failed);
  if (!failed)
    acceptor.bind(*endpoint, failed);
  if (!failed)
    acceptor.listen(4'096, failed);
  if (failed)
    return fail(error_code::unavailable, "cannot listen there: " + failed.message() + "; choose another address, or port 0 for a free one",
                listen);
  const auto port = acceptor.local_endpoint().port();
  impl_ = std::move(made);
  impl_->accept();
  for (auto& worker : impl_->workers) {
    worker.sweep();
    impl_->threads.emplace_back([&worker] { worker.loop.run(); });
  }
  return port;
}

json server::stats() const {
  return impl_ ? impl_->shared.stats() : json::object();
}

void server::stop() {
  if (!impl_)
    return;
  for (auto& worker : impl_->workers)
    worker.loop.stop();
  for (auto& thread : impl_->threads)
    thread.join();
  impl_.reset();
}

int run_mock_llm(options chosen) {
  raise_descriptor_limit();
  // The signals are taken by their loop before any thread could get them.
  boost::asio::io_context loop;
  boost::asio::signal_set signals(loop, SIGINT, SIGTERM);
  std::signal(SIGPIPE, SIG_IGN);
  const auto listen = chosen.listen;
  server running;
  const auto port = running.start(std::move(chosen));
  if (!port) {
    std::fprintf(stderr, "%s\n", port.error().text().c_str());
    return port.error().code == error_code::unavailable ? 4 : 2;
  }
  auto host = listen.substr(0, listen.rfind(':'));
  if (host.empty() || host == "localhost")
    host = "127.0.0.1";
  if (host.find(':') != std::string::npos && host.front() != '[')
    host = "[" + host + "]";
  std::printf("listening on http://%s:%u\n", host.c_str(), static_cast<unsigned>(*port));
  std::fflush(stdout);
  signals.async_wait([](problem, int) {});
  loop.run();
  return 0;
}

} // namespace troupe::mock_llm
