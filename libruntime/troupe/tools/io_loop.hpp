#pragma once
// The one thread on which tool processes (and MCP sessions) wait for the kernel: a Boost.Asio io_context. Nothing blocks on it.

#include <cstdint>
#include <functional>
#include <memory>

namespace boost::asio {
class io_context;
}

namespace troupe::tools {

class fork_server;

class io_loop {
public:
  /// Starts the thread, with all signals blocked. Throws std::system_error where the system has no thread or descriptor left.
  io_loop();

  /// Asks everything that is registered to end at once, waits until it has, and joins the thread. Everything that was started is answered
  /// before this returns. Not from the loop's own thread.
  ~io_loop();

  io_loop(const io_loop&) = delete;
  io_loop& operator=(const io_loop&) = delete;

  boost::asio::io_context& context();

  /// Of the programs that this loop watches.
  fork_server& forks();

  /// Runs `job` on the loop's thread, after what was posted before. Any thread. A job that throws ends the program.
  void post(std::function<void()> job);

  /// Registers work under way; `end_now` is called on the loop's thread when the loop is to end, and must make the work end soon.
  /// Loop thread only. Returns what `leave` takes, or 0 when the loop is ending: start nothing then.
  std::uint64_t enter(std::function<void()> end_now);
  void leave(std::uint64_t entry);

private:
  struct impl;
  std::unique_ptr<impl> impl_;
};

} // namespace troupe::tools
