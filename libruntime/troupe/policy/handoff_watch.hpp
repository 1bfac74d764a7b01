#pragma once
// The hand-offs of one task (SEMANTICS 2): who has it, and whether it may be given on. Refused: the agent keeps the task, and is told; the
// second refusal of an attempt ends the task as `loop`.

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "troupe/model/event.hpp"
#include "troupe/policy/handoff_cycle.hpp"

namespace troupe::policy {

class handoff_watch {
public:
  static constexpr std::int64_t refusals_max = 1;

  /// What `wish` comes to; a refused one leaves no trace but its count.
  handoff_ruling rule(const std::string& from, const std::string& to, std::uint64_t said, std::uint64_t brought) {
    auto trial = cycle_;
    const auto ruling = trial.pass_said(from, to, said, brought);
    if (ruling != handoff_ruling::pass) {
      ++refusals_;
      return ruling;
    }
    cycle_ = std::move(trial);
    agent_ = to;
    ++number_;
    return ruling;
  }

  const std::string& agent() const { return agent_; } ///< that has the task; empty: the one it was given to first
  std::int64_t number() const { return number_; }     ///< hand-offs so far
  std::int64_t refusals() const { return refusals_; }
  bool ends_the_task() const { return refusals_ > refusals_max; }

  void apply(const event& e) {
    if (const auto* handed = std::get_if<handed_off>(&e.body))
      rule(handed->from, handed->to, static_cast<std::uint64_t>(handed->said), static_cast<std::uint64_t>(handed->brought));
    else if (std::holds_alternative<handoff_refused>(e.body))
      ++refusals_;
  }

private:
  handoff_cycle cycle_;
  std::string agent_;
  std::int64_t number_ = 0;
  std::int64_t refusals_ = 0;
};

/// By path, of the attempts that are under way. Tasks without hand-offs are absent.
inline std::map<std::string, handoff_watch> fold_handoffs(const std::vector<event_ptr>& events) {
  std::map<std::string, handoff_watch> all;
  std::map<std::string, std::pair<std::int64_t, std::string>> attempts; ///< and of the tasks above
  for (const auto& e : events) {
    if (const auto* started = std::get_if<task_started>(&e->body)) {
      const std::pair attempt(started->attempt, started->within.value_or(std::string()));
      if (std::exchange(attempts[e->task], attempt) != attempt)
        all.erase(e->task);
    } else if (std::holds_alternative<handed_off>(e->body) || std::holds_alternative<handoff_refused>(e->body)) {
      all[e->task].apply(*e);
    }
  }
  return all;
}

} // namespace troupe::policy
