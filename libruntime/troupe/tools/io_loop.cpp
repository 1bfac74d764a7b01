#include "troupe/tools/io_loop.hpp"

#include <csignal>
#include <map>
#include <thread>
#include <utility>

#include <pthread.h>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>

#include "troupe/tools/fork_server.hpp"

namespace troupe::tools {

struct io_loop::impl {
  fork_server forks;
  boost::asio::io_context context{1};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> guard{context.get_executor()};
  std::map<std::uint64_t, std::function<void()>> entries; // loop thread only, as the next two
  std::uint64_t next = 1;
  bool ending = false;
  std::thread thread;

  void run() noexcept {
    pthread_setname_np(pthread_self(), "troupe-tools");
    sigset_t all;
    sigfillset(&all); // SIGPIPE of a tool that does not read above all; the others belong to the program's own threads
    pthread_sigmask(SIG_BLOCK, &all, nullptr);
    context.run();
  }
};

io_loop::io_loop() : impl_(std::make_unique<impl>()) {
  impl_->thread = std::thread([this] { impl_->run(); });
}

io_loop::~io_loop() {
  post([this] {
    impl_->ending = true;
    for (auto entries = impl_->entries; auto& [id, end_now] : entries) // a copy: ending may leave at once
      end_now();
  });
  impl_->guard.reset(); // run() returns when nothing is waited for any more
  impl_->thread.join();
}

boost::asio::io_context& io_loop::context() {
  return impl_->context;
}

fork_server& io_loop::forks() {
  return impl_->forks;
}

void io_loop::post(std::function<void()> job) {
  boost::asio::post(impl_->context, std::move(job));
}

std::uint64_t io_loop::enter(std::function<void()> end_now) {
  if (impl_->ending)
    return 0;
  const auto entry = impl_->next++;
  impl_->entries.emplace(entry, std::move(end_now));
  return entry;
}

void io_loop::leave(std::uint64_t entry) {
  impl_->entries.erase(entry);
}

} // namespace troupe::tools
