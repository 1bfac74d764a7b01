#include "progress.hpp"

#include <algorithm>
#include <utility>

#include "troupe/model/described.hpp"

namespace troupe::cli {

namespace {

/// A text in so many columns.
std::string field(const std::string& text, std::size_t columns) {
  auto shown = printable(text, columns);
  shown.append(columns - shown_columns(shown), ' ');
  return shown;
}

std::string share(std::int64_t part, std::int64_t whole) {
  return whole <= 0 ? std::string{} : " (" + std::to_string(part * 100 / whole) + "%)";
}

} // namespace

progress_board::row& progress_board::at(const event& e) {
  auto [found, made] = rows_.try_emplace(e.task);
  if (made) {
    order_.push_back(e.task);
    found->second.since_us = e.time_us;
  }
  if (!e.agent.empty())
    found->second.agent = e.agent;
  return found->second;
}

void progress_board::apply(const event& e) {
  fold_.apply(e);
  if (started_us_ == 0)
    started_us_ = e.time_us;
  if (e.task.empty())
    return;
  auto& line = at(e);
  if (const auto* started = std::get_if<task_started>(&e.body)) {
    line.over = false;
    line.doing = started->items ? std::to_string(*started->items) + " elements" : "begins";
  } else if (const auto* finished = std::get_if<task_finished>(&e.body)) {
    line.over = true;
    line.good = finished->status == task_status::success || finished->status == task_status::skipped;
    line.until_us = e.time_us;
    line.doing = name_of(finished->status);
  } else if (const auto* requested = std::get_if<llm_requested>(&e.body)) {
    line.doing = "asks " + requested->provider + "/" + requested->model;
  } else if (const auto* failed = std::get_if<llm_failed>(&e.body); failed && failed->reason != "overtaken") {
    line.doing = failed->reason + ": " + failed->next;
  } else if (const auto* over = std::get_if<llm_failed_over>(&e.body)) {
    line.doing = "fails over to " + over->to;
  } else if (const auto* hedged = std::get_if<llm_hedged>(&e.body)) {
    line.doing = "asks " + hedged->to + " too";
  } else if (const auto* tool = std::get_if<tool_started>(&e.body)) {
    line.doing = "runs " + tool->tool;
  } else if (const auto* broken = std::get_if<tool_failed>(&e.body)) {
    line.doing = broken->tool + " failed: " + broken->next;
  } else if (std::holds_alternative<agent_crashed>(e.body)) {
    line.doing = "crashed";
  } else if (std::holds_alternative<agent_restarted>(e.body)) {
    line.doing = "restarted";
  } else if (std::holds_alternative<contract_violated>(e.body)) {
    line.doing = "mends its answer";
  } else if (const auto* asked = std::get_if<delegated>(&e.body)) {
    line.doing = "waits for " + asked->to;
  } else if (const auto* handed = std::get_if<handed_off>(&e.body)) {
    line.agent = handed->to;
    line.doing = "handed on by " + handed->from;
  } else if (const auto* loop = std::get_if<loop_detected>(&e.body)) {
    static constexpr const char* done[] = {"says the same", "told", "loses a tool", "restarted", "a human is asked", "failed"};
    line.doing = std::string("looping: ") + done[static_cast<int>(loop->rung)];
  }
}

/// Those that are shown where not all can be.
std::vector<const std::string*> progress_board::chosen(std::size_t room) const {
  std::vector<const std::string*> shown;
  for (const auto& path : order_)
    if (shown.size() < room && !rows_.at(path).over)
      shown.push_back(&path);
  std::vector<const std::string*> over;
  for (const auto& path : order_)
    if (rows_.at(path).over)
      over.push_back(&path);
  std::stable_sort(over.begin(), over.end(), [&](const auto* a, const auto* b) { return rows_.at(*a).until_us > rows_.at(*b).until_us; });
  over.resize(std::min(over.size(), room - shown.size()));
  shown.insert(shown.end(), over.begin(), over.end());
  return shown;
}

std::string progress_board::painted(const char* code, const std::string& text) const {
  return style_.colour ? std::string("\x1b[") + code + "m" + text + "\x1b[0m" : text;
}

/// A narrow window takes from the names first.
std::string progress_board::line_of(const std::string& path, std::int64_t now_us, std::size_t wide) const {
  const auto& line = rows_.at(path);
  const char* mark = !line.over ? "·" : line.good ? "✓" : "✗";
  const auto took = duration_text((line.over ? line.until_us : now_us) - line.since_us);
  const auto text = field(path, std::clamp<std::size_t>(wide / 3, 4, 24)) + " "
                    + field(line.agent, std::clamp<std::size_t>(wide / 5, 3, 14)) + " " + field(took, 9) + " "
                    + printable(line.doing, wide);
  return painted(!line.over ? "36" : line.good ? "32" : "31", mark) + (wide > 2 ? " " + printable(text, wide - 2) : "");
}

std::string progress_board::foot(std::int64_t now_us) const {
  const auto summary = fold_.summary();
  auto text = ends_soon_ ? std::string("stopping (Ctrl-C ends it at once)  ") : std::string();
  text += std::to_string(summary.completed_tasks) + "/" + std::to_string(summary.total_tasks) + " tasks";
  text += "  " + to_string(summary.total_cost);
  if (summary.budget.money)
    text += " of " + to_string(*summary.budget.money) + share(summary.total_cost.micro, summary.budget.money->micro);
  text += "  " + std::to_string(summary.steps);
  if (summary.budget.steps)
    text += " of " + std::to_string(*summary.budget.steps);
  text += " steps  " + duration_text(now_us - started_us_);
  if (summary.budget.time)
    text += " of " + duration_text(summary.budget.time->count() * 1'000);
  return text;
}

std::vector<std::string> progress_board::lines(std::int64_t now_us, window of) const {
  const auto wide = std::max<std::size_t>(of.columns, 2) - 1; // a full line would make some terminals begin another one
  auto room = std::max<std::size_t>(of.rows, 2) - 2;          // the foot, and the row of the cursor
  std::vector<const std::string*> shown;
  const bool all = order_.size() <= room;
  if (all) {
    for (const auto& path : order_)
      shown.push_back(&path);
  } else {
    room -= room > 1 ? 1 : 0; // for the count
    shown = chosen(room);
  }
  std::vector<std::string> lines;
  lines.reserve(shown.size() + 2);
  for (const auto* path : shown)
    lines.push_back(line_of(*path, now_us, wide));
  if (!all && room > 0 && of.rows > 3)
    lines.push_back(printable("… and " + std::to_string(order_.size() - shown.size()) + " more", wide));
  lines.push_back(painted("1", printable(foot(now_us), wide)));
  return lines;
}

void live_view::draw(const std::vector<std::string>& lines) {
  if (!to_->idle())
    return;
  // Synchronised output where the terminal knows it; each line is overwritten and its rest erased, never the whole screen.
  std::string out = "\x1b[?2026h\x1b[?25l";
  if (drawn_ > 0)
    out += "\x1b[" + std::to_string(drawn_) + "A";
  out += "\r";
  for (const auto& line : lines)
    out += line + "\x1b[K\n";
  if (lines.size() < drawn_)
    out += "\x1b[J";
  out += "\x1b[?25h\x1b[?2026l";
  drawn_ = lines.size();
  to_->write(std::move(out));
}

void live_view::clear() {
  if (drawn_ == 0)
    return;
  // Line by line: some terminals keep what is erased from the top of the screen on.
  const auto up = "\x1b[" + std::to_string(drawn_) + "A";
  auto out = up + "\r";
  for (; drawn_ > 0; --drawn_)
    out += "\x1b[K\n";
  to_->write(out + up);
}

} // namespace troupe::cli
