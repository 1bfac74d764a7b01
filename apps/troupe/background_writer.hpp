#pragma once
// Text for standard error that holds nobody up: a reader that sleeps (a pipe that nobody reads, a terminal after Ctrl-S) must stop neither
// a deadline nor a cancel.

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

namespace troupe::cli {

class background_writer {
public:
  struct limits {
    std::size_t waiting_bytes = std::size_t{4} << 20;
    std::chrono::milliseconds patience{2'000}; ///< of `finish`, while the reader takes nothing
  };

  explicit background_writer(int descriptor) : background_writer(descriptor, limits()) {}
  background_writer(int descriptor, limits most);
  /// Finishes.
  ~background_writer();
  background_writer(const background_writer&) = delete;
  background_writer& operator=(const background_writer&) = delete;

  /// Never blocks. What is too much is dropped, counted, and the count told with the next text that fits.
  void write(std::string_view text);
  /// Nothing waits to be written.
  bool idle() const;
  /// Waits until all is written, or the reader has taken nothing for a while.
  void finish();

private:
  void loop();
  bool writable();

  const int descriptor_;
  const limits limits_;
  int poke_ = -1;            ///< eventfd: it ends
  mutable std::mutex mutex_; // guards what follows
  std::condition_variable changed_;
  std::string waiting_;
  std::uint64_t dropped_ = 0;
  std::uint64_t taken_ = 0; ///< times that the reader took something
  bool gave_up_ = false;    ///< the reader took nothing while it was waited for, nor since
  bool stopping_ = false;
  std::thread thread_;
};

} // namespace troupe::cli
