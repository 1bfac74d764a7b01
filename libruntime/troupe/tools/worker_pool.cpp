#include "troupe/tools/worker_pool.hpp"

#include <csignal>
#include <utility>

#include <pthread.h>

namespace troupe::tools {

worker_pool::worker_pool(std::size_t threads) {
  for (std::size_t i = 0; i < (threads > 0 ? threads : 1); ++i)
    threads_.emplace_back([this] { work(); });
}

worker_pool::~worker_pool() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  ready_.notify_all();
  for (auto& each : threads_)
    each.join();
}

void worker_pool::submit(std::function<void()> job) {
  {
    const std::lock_guard lock(mutex_);
    jobs_.push_back(std::move(job));
  }
  ready_.notify_one();
}

void worker_pool::work() {
  pthread_setname_np(pthread_self(), "troupe-files");
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, nullptr);
  for (;;) {
    std::function<void()> job;
    {
      std::unique_lock lock(mutex_);
      ready_.wait(lock, [this] { return ending_ || !jobs_.empty(); });
      if (jobs_.empty())
        return;
      job = std::move(jobs_.front());
      jobs_.pop_front();
    }
    job();
  }
}

} // namespace troupe::tools
