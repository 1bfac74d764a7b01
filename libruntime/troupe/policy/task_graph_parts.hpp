#pragma once
// The parts of the task graph: its state, and what its files have of each other.
//
//   task_graph.cpp         tasks and items from their start to their end, and the machine's surface
//   task_graph_panel.cpp   several agents at one task
//   task_graph_fold.cpp    what a run's events tell whoever takes it up
//   task_graph_plan.cpp    a workflow, compiled

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "troupe/policy/conflict.hpp"
#include "troupe/policy/task_graph.hpp"
#include "troupe/policy/task_graph_plan.hpp"

namespace troupe::policy {

/// Of members that were stopped because the task had its answer: no abort ended them.
inline constexpr const char* decided_reason = "decided";

inline bool is_failure(task_status s) {
  return s != task_status::success && s != task_status::skipped;
}

/// What is recorded of an end, and back.
inline task_finished finished_as(std::int64_t attempt, const task_outcome& outcome) {
  return {attempt, outcome.status, outcome.reason, outcome.error, outcome.output, outcome.fatal};
}
inline task_outcome outcome_of(const task_finished& end, std::string agent = {}) {
  return {end.status, end.reason, end.error, end.output, end.fatal, std::move(agent)};
}

struct task_graph::impl {
  /// Several agents at one piece of work: a seat for each member, and a last one for who decides between them.
  struct panel {
    answer_panel answers;
    std::vector<bool> at_work;
    std::string instruction;
    std::vector<std::size_t> shown; // to who decides: members, in that order
    std::string_view asked;         // the seat that decides; empty: nobody was asked
    bool decided = false;
    task_outcome outcome;
    std::size_t running = 0;
  };
  /// One piece of work: a task, or one item of a for_each.
  struct unit {
    enum { idle, running, done } state = idle;
    bool cancelled = false;
    std::int64_t attempt = 1;
    std::unique_ptr<panel> several;
  };
  struct task_state {
    enum { waiting, open, done } state = waiting;
    std::size_t waits_for = 0;
    std::vector<unit> units;
    std::size_t next = 0; // the first item that was not looked at
    std::size_t busy = 0;
    bool halted = false;              // no further item starts
    bool cut = false;                 // an abort ended one of its items
    std::size_t succeeded = 0;        // items
    std::size_t stopped = 0;          // items that the abort ended, or what it is about
    std::optional<std::size_t> worst; // the first failed item, by index
    task_outcome failure;             // its outcome, without output
    json items, outputs;
  };
  static constexpr std::size_t no_seat = static_cast<std::size_t>(-1);
  struct place {
    std::size_t node;
    std::size_t unit;
    std::size_t seat = no_seat; // of a panel
  };

  std::shared_ptr<const graph_plan> plan;
  std::string prefix, seed;
  std::string within; // the attempts above
  restored_state restored;
  json scope; // what templates read
  std::function<json()> state;
  std::function<usd(const std::string&)> costs;
  std::vector<task_state> nodes;
  std::vector<std::size_t> ready; // from `ready_at` on
  std::size_t ready_at = 0;
  std::size_t open = 0, done = 0, completed = 0, busy = 0;
  bool started = false, ended = false, failing = false;
  std::optional<abort_reason> aborting;
  std::string reason, error; // of a failing run
  task_status cause = task_status::success;
  bool fatal = false;

  const task_spec& spec(std::size_t n) const { return plan->workflow.tasks[n]; }
  bool items(std::size_t n) const { return !spec(n).for_each.empty(); }
  bool stopping() const { return failing || aborting.has_value(); }
  std::string path(std::size_t n) const { return prefix + spec(n).id; }
  std::string path(place p) const { return items(p.node) ? path(p.node) + "[" + std::to_string(p.unit) + "]" : path(p.node); }
  std::optional<place> find(const std::string& path) const;
  /// Of what is at work there.
  std::vector<std::string> paths_of(place p) const;
  const restored_task* before(const std::string& path) const {
    auto it = restored.find(path);
    return it == restored.end() ? nullptr : &it->second;
  }

  /// What was started before goes on under the names that it has.
  std::string within_of(const std::string& path, bool resumed) const {
    const auto* old = resumed ? before(path) : nullptr;
    return old ? old->within : within;
  }
  task_started start_of(std::int64_t attempt, std::string instruction = {}, std::optional<std::int64_t> items = {}) const {
    return {attempt, std::move(instruction), items, within.empty() ? std::nullopt : std::optional(within), nullptr};
  }

  void look_at_state() {
    if (plan->reads_state && state)
      scope["state"] = state();
  }
  void fail(task_outcome outcome);
  bool fail_as_before();
  void begin(std::size_t n, graph_commands& out);
  void open_items(std::size_t n, graph_commands& out);
  void fill(std::size_t n, graph_commands& out);
  void launch(place p, bool resumed, graph_commands& out);
  std::optional<std::size_t> find_seat(const task_spec& task, std::string_view name) const;
  std::string_view seat_name(const panel& several, std::size_t seat) const;
  void launch_panel(place p, std::string instruction, bool resumed, graph_commands& out);
  void start_seat(place p, bool resumed, graph_commands& out);
  bool seat_ended(place p, task_outcome outcome, graph_commands& out);
  void decide(place p, graph_commands& out);
  bool advance(place p, graph_commands& out);
  void end_unit(place p, task_outcome outcome, graph_commands& out);
  void unit_done(place p, task_outcome outcome, bool record, graph_commands& out);
  void close_items(std::size_t n, graph_commands& out);
  void conclude(std::size_t n, task_outcome outcome, bool record, std::int64_t attempt, graph_commands& out);
  void cancel_all(milliseconds grace, graph_commands& out);
  void go_on(graph_commands& out);
  void record_finish(const std::string& path, std::size_t n, std::int64_t attempt, const task_outcome& outcome, graph_commands& out) const {
    out.push_back(record_event{path, spec(n).agent, finished_as(attempt, outcome)});
  }
};

} // namespace troupe::policy
