#include "test.hpp"

#include "troupe/progress.hpp"

TROUPE_SUITE(progress)

using namespace troupe;
using namespace troupe::cli;

namespace {

constexpr std::int64_t began = 1'000'000'000;

struct company {
  progress_board board{{}};
  std::int64_t now = began;

  void apply(const std::string& task, event_body body) {
    event e;
    e.time_us = now += 1'000;
    e.task = task;
    e.agent = task.empty() ? "" : "worker";
    e.body = std::move(body);
    board.apply(e);
  }
  explicit company(int tasks) {
    apply("", run_started{.workflow = "w", .total_tasks = tasks});
    for (int i = 1; i <= tasks; ++i)
      apply("t" + std::to_string(i), task_started{});
  }
  void ends(const std::string& task) { apply(task, task_finished{}); }
  /// The tasks that are shown, in their order, and the line that says how many are not.
  std::string shown(std::size_t rows, std::size_t columns = 80) const {
    const auto lines = board.lines(now, {rows, columns});
    CHECK(lines.size() < rows || rows < 2);
    std::string words;
    for (std::size_t i = 0; i + 1 < lines.size(); ++i) {
      CHECK(shown_columns(lines[i]) < columns);
      const auto from = lines[i].starts_with("…") ? 0 : lines[i].find(' ') + 1;
      words += (i == 0 ? "" : " ") + (from == 0 ? lines[i] : lines[i].substr(from, lines[i].find(' ', from) - from));
    }
    CHECK(lines.back().find("tasks") != std::string::npos);
    return words;
  }
};

} // namespace

TROUPE_TEST("a board that fits shows its tasks in their order, another one those at work, then those that ended last, and how many more") {
  company of(5);
  of.ends("t4");
  of.ends("t1");
  CHECK_EQ(of.shown(7), "t1 t2 t3 t4 t5");
  CHECK_EQ(of.shown(6), "t2 t3 t5 … and 2 more");
  company later(5);
  for (const auto* task : {"t4", "t1", "t2"})
    later.ends(task);
  CHECK_EQ(later.shown(6), "t3 t5 t2 … and 2 more");
  CHECK_EQ(later.shown(5), "t3 t5 … and 3 more");
  CHECK_EQ(later.shown(4), "t3 … and 4 more");
  CHECK_EQ(later.shown(3), "t3");
  CHECK_EQ(later.shown(2), "");
  CHECK_EQ(later.shown(0), "");
}

TROUPE_TEST("no line is as wide as its window") {
  company of(3);
  of.apply("t1", llm_requested{.provider = std::string(300, 'p'), .model = "m"});
  of.apply("\xE6\x97\xA5\xE6\x9C\xAC\xE8\xAA\x9E\xE6\x97\xA5\xE6\x9C\xAC\xE8\xAA\x9E", task_started{});
  for (const std::size_t columns : {2u, 10u, 20u, 40u, 41u, 60u, 80u, 200u})
    for (const auto& line : of.board.lines(of.now, {24, columns})) {
      IN_ROW(std::to_string(columns));
      CHECK(shown_columns(line) < columns);
    }
}
