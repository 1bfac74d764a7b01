#pragma once
// Drives a supervision machine as its actor would, and writes down what it says: one short line a command.

#include <map>
#include <string>
#include <vector>

#include "troupe/policy/supervision.hpp"

namespace troupe::test {

/// The lines of some commands.
struct said : std::vector<std::string> {
  using std::vector<std::string>::vector;
  // Values, since the lines are mostly temporary.
  std::string back() const { return empty() ? "<nothing>" : std::vector<std::string>::back(); }
  std::string nth(std::size_t n) const { return n < size() ? (*this)[n] : "<nothing>"; }
};

inline std::string line_of(const policy::supervision_command& command) {
  using namespace policy;
  struct writer {
    static std::string nth(const std::string& id, std::int64_t n) { return id + "#" + std::to_string(n); }
    std::string operator()(const start_child& c) const { return "start " + nth(c.id, c.incarnation); }
    std::string operator()(const stop_child& c) const { return "stop " + nth(c.id, c.incarnation); }
    std::string operator()(const kill_child& c) const { return "kill " + nth(c.id, c.incarnation); }
    std::string operator()(const start_timer& t) const { return "timer " + std::to_string(t.after.count() / 1000); }
    std::string operator()(const child_restarted& c) const { return "restarted " + nth(c.id, c.restarts); }
    std::string operator()(const supervisor_report& r) const {
      static const char* names[] = {"terminated", "start_error", "shutdown_error", "intensity"};
      return std::string("report ") + names[r.context] + " " + r.child + ": " + r.reason;
    }
    std::string operator()(const boot_finished&) const { return "booted"; }
    std::string operator()(const request_done& r) const { return "done " + r.id + (r.error.empty() ? "" : ": " + r.error); }
    std::string operator()(const end_supervisor& e) const {
      static const char* names[] = {"shutdown", "escalation", "boot_failed"};
      return std::string("end ") + names[static_cast<int>(e.reason)];
    }
  };
  return std::visit(writer{}, command);
}

/// A supervisor whose children do as the test says; time stands still unless moved.
struct tree {
  policy::supervision machine;
  policy::moment now{time_point{}, 0.5};
  std::map<std::string, std::int64_t> incarnation;
  std::vector<policy::start_timer> timers;
  std::string end_text;

  explicit tree(supervisor_spec spec) : machine(std::move(spec)) {}

  said take(const policy::supervision_commands& commands) {
    said out;
    for (const auto& c : commands) {
      out.push_back(line_of(c));
      if (const auto* s = std::get_if<policy::start_child>(&c))
        incarnation[s->id] = s->incarnation;
      else if (const auto* t = std::get_if<policy::start_timer>(&c))
        timers.push_back(*t);
      else if (const auto* e = std::get_if<policy::end_supervisor>(&c))
        end_text = e->text;
    }
    return out;
  }
  said start() { return take(machine.start(now)); }
  said stop() { return take(machine.stop(now)); }
  said up(const std::string& id) { return take(machine.child_started(id, incarnation[id], now)); }
  said not_up(const std::string& id, const std::string& why = "why") {
    return take(machine.child_start_failed(id, incarnation[id], why, now));
  }
  said exits(const std::string& id, policy::exit_kind kind, const std::string& why = "why", bool counts = true) {
    return take(machine.child_exited(id, incarnation[id], kind, why, now, counts));
  }
  said crashes(const std::string& id, bool counts = true) { return exits(id, policy::exit_kind::crash, "boom", counts); }
  said stops(const std::string& id) { return exits(id, policy::exit_kind::shutdown, "shutdown"); }
  /// The last timer fires.
  said fires() { return timers.empty() ? said{"<no timer>"} : take(machine.timer_fired(timers.back().timer, now)); }
  /// Starts it and all of its children.
  tree& boot() {
    auto commands = machine.start(now);
    for (;;) {
      take(commands);
      std::string next;
      for (const auto& c : commands)
        if (const auto* s = std::get_if<policy::start_child>(&c))
          next = s->id;
      if (next.empty())
        return *this;
      commands = machine.child_started(next, incarnation[next], now);
    }
  }
  tree& pass(milliseconds time) {
    now.now += time;
    return *this;
  }
  policy::child_state state(const std::string& id) const {
    for (const auto& c : machine.describe().children)
      if (c.id == id)
        return c.state;
    return policy::child_state::stopped;
  }
  bool knows(const std::string& id) const {
    for (const auto& c : machine.describe().children)
      if (c.id == id)
        return true;
    return false;
  }
};

inline child_spec child(std::string id, restart_type restart = restart_type::permanent) {
  child_spec c;
  c.id = std::move(id);
  c.restart = restart;
  return c;
}

inline supervisor_spec supervisor(restart_strategy strategy, std::vector<child_spec> children) {
  supervisor_spec s;
  s.strategy = strategy;
  s.children = std::move(children);
  return s;
}

} // namespace troupe::test
