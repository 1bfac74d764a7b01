#pragma once
// Server-sent events, incrementally, as WHATWG's HTML standard (9.2.6) parses them: CR, LF and CRLF end lines wherever the bytes are
// split, one leading BOM is skipped, comments are ignored, `data` lines are joined by LF, an event without data is
// none, and what stands after the last blank line at the end of the stream is no event.

#include <chrono>
#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace troupe::llm {

/// One event; the views are valid within the callback only.
struct sse_event {
  std::string_view type; ///< "message" where none is named
  std::string_view data;
};

/// Not thread-safe. Memory is bounded by the limits.
class sse_parser {
public:
  struct limits {
    std::size_t line_bytes = std::size_t{1} << 20;
    std::size_t event_bytes = std::size_t{8} << 20; ///< of all data lines of one event
  };
  /// Returns false to stop parsing: the rest of the piece is dropped.
  using on_event = std::function<bool(const sse_event&)>;

  sse_parser() = default;
  explicit sse_parser(limits bounds) : limits_(bounds) {}

  /// Takes the next piece of the stream, of any size, and calls `sink` for each event that it completes. False: a limit was broken or
  /// the sink stopped; every later call answers false without calling the sink.
  bool feed(std::string_view piece, const on_event& sink);

  /// The `id` that a resumed stream goes on after; empty: none was told.
  const std::string& last_id() const { return last_id_; }
  /// How long the server wants one to wait before that; nothing: it did not say.
  std::optional<std::chrono::milliseconds> retry() const { return retry_; }

  /// A limit was broken.
  bool overflowed() const { return overflowed_; }

private:
  bool line(std::string_view text, const on_event& sink);
  bool dispatch(const on_event& sink);
  bool overflow();

  limits limits_;
  std::string partial_; // of the line that has not ended yet
  std::string data_;
  std::string type_;
  std::string id_, last_id_; // of the event under way, of the last one that ended
  std::optional<std::chrono::milliseconds> retry_;
  std::size_t start_ = 0; // bytes of the stream's start seen while looking for a BOM, up to 3
  bool has_data_ = false;
  bool skip_lf_ = false; // the last piece ended in CR
  bool stopped_ = false;
  bool overflowed_ = false;
};

} // namespace troupe::llm
