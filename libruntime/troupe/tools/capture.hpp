#pragma once
// What a program writes, up to a bound: the start of it, or the end. The rest is counted and dropped.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace troupe::tools {

class capture {
public:
  enum class keep { start, end };
  capture(keep which, std::size_t limit_bytes) : which_(which), limit_(limit_bytes) {}

  void take(std::string_view bytes);

  std::uint64_t total_bytes() const { return total_; }
  bool cut() const { return total_ > limit_; }

  /// What was kept, as valid UTF-8 of at most the limit, without secrets, also those that the bound cuts, and without a note. Ends the
  /// capture.
  std::string take_text();

private:
  keep which_;
  std::size_t limit_;
  std::uint64_t total_ = 0;
  std::string text_; // of `end`: up to twice the limit, so that the front is dropped rarely
};

} // namespace troupe::tools
