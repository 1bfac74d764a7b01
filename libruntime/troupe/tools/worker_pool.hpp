#pragma once
// A few threads for what blocks in the kernel and cannot be waited for otherwise: the files of the builtins.

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace troupe::tools {

class worker_pool {
public:
  explicit worker_pool(std::size_t threads = 4);

  /// Does what is queued, then joins.
  ~worker_pool();

  worker_pool(const worker_pool&) = delete;
  worker_pool& operator=(const worker_pool&) = delete;

  /// Queues a job; jobs start in the order given. Any thread, never blocks. Jobs must not throw. Callers bound their number (64 tool
  /// calls a process, SEMANTICS 4).
  void submit(std::function<void()> job);

private:
  void work();

  std::mutex mutex_;
  std::condition_variable ready_;
  std::deque<std::function<void()>> jobs_;
  bool ending_ = false;
  std::vector<std::thread> threads_;
};

} // namespace troupe::tools
