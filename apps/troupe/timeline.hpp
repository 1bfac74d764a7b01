#pragma once
// A run for people to read: who did what, when, for how much. Pure text functions; model and tool text is hostile and is escaped.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "troupe/model/event.hpp"
#include "troupe/model/run.hpp"
#include "troupe/store/journal.hpp"

namespace troupe::cli {

struct timeline_style {
  bool colour = false;      ///< ANSI colours; meaning never hangs on them alone
  std::size_t width = 100;  ///< columns of a line at most; at least 40 are used
  bool interrupted = false; ///< the run has not ended, and nobody works on it
  std::string result_path;  ///< where the result was written; empty: only its beginning is shown
};

/// One event as one line (time since `started_us`, task, agent, what happened, for how much), or "" for those that a timeline leaves out.
std::string render_event(const event& e, std::int64_t started_us, const timeline_style& style);

/// Head (run, workflow, status, cost against budget, duration, calls), one line an event, foot (result).
std::string render_timeline(const run_summary& summary, const std::vector<event_ptr>& events, const timeline_style& style);

/// The table of `troupe runs`, newest first; `now_us` is UTC, for ages.
std::string render_runs(const std::vector<store::run_row>& rows, std::int64_t now_us, const timeline_style& style);

/// Text from outside on one line: control characters, escape sequences and bidirectional overrides become visible escapes, what is longer
/// than `columns` ends with "…". Invalid UTF-8 becomes U+FFFD.
std::string printable(std::string_view text, std::size_t columns);
/// Columns of a text that `printable` made.
std::size_t shown_columns(std::string_view text);
/// A text of several lines from outside, whole: line breaks and tabs stay.
std::string printable_text(std::string_view text);
/// The same of a JSON document: the escapes are JSON's, so that it stays the same document.
std::string printable_json(std::string_view text);

/// "+1:02.345", "+1:02:03.456"; never negative.
std::string relative_time(std::int64_t microseconds);
/// "4.2 s", "3 min 05 s", "2 h 03 min".
std::string duration_text(std::int64_t microseconds);

} // namespace troupe::cli
