#pragma once
// What a run looks like while it goes on. Pure: events and the time in, lines out.

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "background_writer.hpp"
#include "timeline.hpp"
#include "troupe/metrics/run_summary.hpp"
#include "troupe/model/event.hpp"

namespace troupe::cli {

/// Of a terminal.
struct window {
  std::size_t rows = 24, columns = 100;
};

/// Folds events into a small board: one line a task with its agent and what it is doing, and the money, steps and time against the
/// budget below.
class progress_board {
public:
  explicit progress_board(timeline_style style) : style_(std::move(style)) {}

  void apply(const event& e);
  /// Somebody asked for its end; what is under way is ended first.
  void end_soon() { ends_soon_ = true; }
  /// The board at a time (UTC). It fits the window, with one row left for the cursor, and no line is as wide as it. Where there are too
  /// many tasks, those at work come first, then those that ended last, and "… and 7 more".
  std::vector<std::string> lines(std::int64_t now_us, window of) const;
  std::int64_t started_us() const { return started_us_; }

private:
  struct row {
    std::string agent;
    std::string doing;
    bool over = false;
    bool good = false;
    std::int64_t since_us = 0;
    std::int64_t until_us = 0;
  };
  row& at(const event& e);
  std::vector<const std::string*> chosen(std::size_t room) const;
  std::string line_of(const std::string& path, std::int64_t now_us, std::size_t wide) const;
  std::string foot(std::int64_t now_us) const;
  std::string painted(const char* code, const std::string& text) const;

  timeline_style style_;
  metrics::run_fold fold_;
  std::vector<std::string> order_;
  std::map<std::string, row> rows_;
  std::int64_t started_us_ = 0;
  bool ends_soon_ = false;
};

/// Draws boards over each other on a terminal: only what changed moves, in one write, so that nothing flickers.
class live_view {
public:
  explicit live_view(std::shared_ptr<background_writer> to) : to_(std::move(to)) {}
  /// Not while the terminal has not taken the last board: the next one is newer.
  void draw(const std::vector<std::string>& lines);
  /// Removes the board, so that what follows stands in its place.
  void clear();
  /// Others have written to the terminal since: the next board stands below that.
  void forget() { drawn_ = 0; }

private:
  std::shared_ptr<background_writer> to_;
  std::size_t drawn_ = 0;
};

} // namespace troupe::cli
