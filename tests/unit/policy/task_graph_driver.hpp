#pragma once
// Drives a task graph as an orchestrator would, and writes down what it says: one short line a command.

#include <map>
#include <string>
#include <vector>

#include "troupe/model/described.hpp"
#include "troupe/policy/task_graph.hpp"

namespace troupe::test {

struct lines : std::vector<std::string> {
  using std::vector<std::string>::vector;
  std::string back() const { return empty() ? "<nothing>" : std::vector<std::string>::back(); } // a value: the lines are mostly temporary
};

inline std::string line_of(const policy::graph_command& command) {
  using namespace policy;
  struct writer {
    std::string operator()(const record_event& r) const {
      if (const auto* s = std::get_if<task_started>(&r.body))
        return "record " + r.path + " started" + (s->items ? " items=" + std::to_string(*s->items) : "#" + std::to_string(s->attempt));
      if (const auto* t = std::get_if<task_retried>(&r.body))
        return "record " + r.path + " retried#" + std::to_string(t->next_attempt);
      if (const auto* d = std::get_if<answers_differ>(&r.body))
        return "record " + r.path + " differ, " + d->next + " decides" + (d->who.empty() ? "" : ": " + d->who);
      if (const auto* a = std::get_if<answers_resolved>(&r.body))
        return "record " + r.path + " " + name_of(a->status) + " by " + a->by + (a->chosen.empty() ? "" : ": " + a->chosen);
      const auto& f = std::get<task_finished>(r.body);
      return "record " + r.path + " " + name_of(f.status) + (f.reason.empty() ? "" : " " + f.reason);
    }
    std::string operator()(const start_task& s) const {
      return "start " + s.path + "#" + std::to_string(s.attempt) + (s.resumed ? " resumed" : "");
    }
    std::string operator()(const start_subworkflow& s) const {
      return "sub " + s.path + "#" + std::to_string(s.attempt) + " " + s.workflow + " " + s.input.dump() + (s.resumed ? " resumed" : "");
    }
    std::string operator()(const cancel_task& c) const {
      return "cancel " + c.path + (c.grace.count() > 0 ? " in " + std::to_string(c.grace.count()) : "")
             + (c.if_harmless ? " if harmless" : "");
    }
    std::string operator()(const ask_human& a) const {
      return "ask " + a.path + "#" + std::to_string(a.attempt) + (a.resumed ? " resumed" : "");
    }
    std::string operator()(const finish_run& f) const {
      return std::string("finish ") + name_of(f.status) + (f.reason.empty() ? "" : " " + f.reason)
             + (f.result.is_null() ? "" : " " + f.result.dump());
    }
  };
  return std::visit(writer{}, command);
}

/// One run: the graph, its journal, and the commands as lines.
struct run {
  policy::task_graph graph;
  std::vector<event_ptr> journal;
  policy::graph_commands last;
  std::map<std::string, std::int64_t> attempts; ///< of what runs
  std::int64_t now_us = 0;                      ///< the time of what is recorded

  explicit run(workflow_spec w, std::string prefix = {}, std::string seed = {})
      : graph(std::move(policy::task_graph::create(std::move(w), std::move(prefix), std::move(seed)).value())) {}

  lines take(policy::graph_commands commands) {
    lines out;
    for (const auto& c : commands) {
      out.push_back(line_of(c));
      if (const auto* r = std::get_if<policy::record_event>(&c))
        note(r->path, r->body, r->agent);
      else if (const auto* s = std::get_if<policy::start_task>(&c))
        attempts[s->path] = s->attempt;
      else if (const auto* sub = std::get_if<policy::start_subworkflow>(&c))
        attempts[sub->path] = sub->attempt;
      else if (const auto* question = std::get_if<policy::ask_human>(&c))
        attempts[question->path] = question->attempt;
      else if (const auto* f = std::get_if<policy::finish_run>(&c))
        note({}, run_finished{f->status, f->reason, f->result});
    }
    last = std::move(commands);
    return out;
  }
  void note(const std::string& path, event_body body, std::string agent = {}) {
    journal.push_back(std::make_shared<const event>(
        event{static_cast<std::int64_t>(journal.size()) + 1, now_us, "r", path, std::move(agent), std::move(body)}));
  }
  lines start(json input = json::object(), policy::restored_state restored = {}) {
    return take(graph.start(std::move(input), std::move(restored)));
  }
  lines ends(const std::string& path, policy::task_outcome outcome) {
    return take(graph.task_ended(path, attempts[path], std::move(outcome)));
  }
  lines succeeds(const std::string& path, json output = nullptr) {
    return ends(path, {task_status::success, {}, {}, std::move(output), false});
  }
  lines fails(const std::string& path, task_status status = task_status::error, std::string reason = "broken", bool fatal = false) {
    return ends(path, {status, std::move(reason), "it broke", nullptr, fatal});
  }
  /// The instruction of the last start_task of this path.
  std::string instruction(const std::string& path) const {
    for (const auto& c : last)
      if (const auto* s = std::get_if<policy::start_task>(&c); s && s->path == path)
        return s->instruction;
    return "<not started>";
  }
};

inline task_spec task(std::string id, std::vector<std::string> needs = {}, std::string instruction = {}) {
  task_spec t;
  t.id = std::move(id);
  t.agent = "worker";
  t.needs = std::move(needs);
  t.instruction = std::move(instruction);
  return t;
}

inline workflow_spec workflow(std::vector<task_spec> tasks, std::string result = {}) {
  workflow_spec w;
  w.name = "w";
  w.tasks = std::move(tasks);
  w.result = std::move(result);
  return w;
}

} // namespace troupe::test
