#pragma once
// Ctrl-C and its kin, while a run goes on in this process.

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

namespace troupe::cli {

/// Turns SIGINT, SIGTERM and SIGHUP into calls on a thread of its own. Made in the main thread before any other, which inherit that these
/// signals are blocked. While a run goes on, the first one asks for a graceful end; before that and afterwards, and with the second one,
/// the program ends at once: the journal has all that was acknowledged.
class signal_watch {
public:
  signal_watch();
  ~signal_watch();
  signal_watch(const signal_watch&) = delete;
  signal_watch& operator=(const signal_watch&) = delete;

  /// `last_words` are said when the program then ends at once.
  void graceful_end(std::function<void()> ask, std::string last_words);
  /// Set when this process goes on after it was stopped (Ctrl-Z, `fg`): what is on the terminal is not what it drew there last. Whoever
  /// draws resets it.
  const std::shared_ptr<std::atomic<bool>>& continued() const { return continued_; }

private:
  void watch();

  std::mutex mutex_;
  std::function<void()> ask_; ///< for a graceful end; null: nobody to ask yet
  std::string last_words_;
  bool asked_ = false;
  std::shared_ptr<std::atomic<bool>> continued_ = std::make_shared<std::atomic<bool>>(false);
  int descriptor_ = -1;
  int stop_ = -1;
  std::thread thread_;
};

} // namespace troupe::cli
