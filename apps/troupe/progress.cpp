#include "progress.hpp"

#include <algorithm>
#include <utility>

#include "troupe/model/described.hpp"

namespace troupe::cli {

namespace {

std::string padded(std::string text, std::size_t columns) {
  if (text.size() < columns)
    text.append(columns - text.size(), ' ');
  return text;
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

std::vector<std::string> progress_board::lines(std::int64_t now_us, std::size_t rows) const {
  const auto summary = fold_.summary();
  const auto paint = [&](const char* code, const std::string& text) {
    return style_.colour ? std::string("\x1b[") + code + "m" + text + "\x1b[0m" : text;
  };
  std::vector<std::string> lines;
  // What is over goes first when there is no room for all.
  const auto room = rows > 2 ? rows - 2 : 1;
  std::vector<const std::string*> shown;
  for (const auto& path : order_)
    shown.push_back(&path);
  for (auto at = shown.begin(); shown.size() > room && at != shown.end();)
    at = rows_.at(**at).over ? shown.erase(at) : at + 1;
  const auto hidden = order_.size() - std::min(shown.size(), room);
  shown.resize(std::min(shown.size(), room));
  for (const auto* path : shown) {
    const auto& line = rows_.at(*path);
    const char* mark = !line.over ? "·" : line.good ? "✓" : "✗";
    const auto took = duration_text((line.over ? line.until_us : now_us) - line.since_us);
    const auto text = padded(printable(*path, 24), 24) + " " + padded(printable(line.agent, 14), 14) + " " + padded(took, 9) + " "
                      + printable(line.doing, style_.width > 56 ? style_.width - 54 : 10);
    lines.push_back(paint(!line.over ? "36" : line.good ? "32" : "31", mark) + " " + text);
  }
  auto foot = std::to_string(summary.completed_tasks) + "/" + std::to_string(summary.total_tasks) + " tasks";
  foot += "  " + to_string(summary.total_cost);
  if (summary.budget.money)
    foot += " of " + to_string(*summary.budget.money) + share(summary.total_cost.micro, summary.budget.money->micro);
  foot += "  " + std::to_string(summary.steps);
  if (summary.budget.steps)
    foot += " of " + std::to_string(*summary.budget.steps);
  foot += " steps  " + duration_text(now_us - started_us_);
  if (summary.budget.time)
    foot += " of " + duration_text(summary.budget.time->count() * 1'000);
  if (hidden > 0)
    foot += "  (" + std::to_string(hidden) + " more)";
  lines.push_back(paint("1", printable(foot, style_.width > 2 ? style_.width - 1 : 1)));
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
  to_->write("\x1b[" + std::to_string(std::exchange(drawn_, 0)) + "A\r\x1b[J");
}

} // namespace troupe::cli
