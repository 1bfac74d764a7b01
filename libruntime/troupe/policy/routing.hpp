#pragma once
// ROUTING: the decisions of an agent pool (SEMANTICS 9, "Agent pool"). Tasks go to the least loaded member, then to the one that
// has been idle longest; what finds no free member waits in line, first in first out; a longer line than `max_queue` is refused
// with a hint when to come again.
//
//   submit ──► assigned ──► finished
//     │  └───► queued ────► assigned, told by whatever later call made room
//     └──────► refused (line too long), failed (no member is left or coming)
//
// A member that dies gives its tasks back: they go to the head of the line with the next attempt number, so that a late answer of
// the old attempt is recognised and ignored. A task that killed its member more than `max_crashes` times is poison and fails. One that was
// cancelled is given to nobody any more: it ends with its member's answer, or with its member.
// All calls are O(log members + tasks of one member) for each task that they move.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "troupe/policy/moment.hpp"

namespace troupe::policy {

struct routing_options {
  std::size_t max_queue = 10'000;
  std::int64_t max_crashes = 3; ///< deaths of its member that one task may cause; one more and it is poison
};

/// Give this task to this member. `attempt` counts assignments of the task from 1.
struct assignment {
  std::string task;
  std::string member;
  std::int64_t attempt = 1;
  friend bool operator==(const assignment&, const assignment&) = default;
};

/// A task that ends here. `reason` is "poison" or "no_member".
struct routing_failure {
  std::string task;
  std::string reason;
  std::string error;        ///< for people
  std::int64_t crashes = 0; ///< of its members so far
  friend bool operator==(const routing_failure&, const routing_failure&) = default;
};

/// What a call set in motion.
struct routing_changes {
  std::vector<assignment> assigned;
  std::vector<std::string> requeued; ///< lost their member and wait at the head of the line again
  std::vector<routing_failure> failed;
  std::vector<std::string> stopped; ///< were cancelled, and lost their member before it answered: they end here
  bool poison = false;              ///< of `member_down`: its death was a poison task's fault and does not count towards restart intensity
};

enum class submit_status { assigned, queued, refused, failed };

struct submit_answer {
  submit_status status = submit_status::queued;
  std::optional<assignment> assigned;
  milliseconds retry_after{0}; ///< of a refusal
  std::string error;           ///< of a refusal or failure, for people
};

struct pool_stats {
  std::int64_t pool_size = 0; ///< members that are up
  std::int64_t queued_tasks = 0;
  std::int64_t active_workers = 0; ///< members with a task
  std::int64_t idle_workers = 0;
  friend bool operator==(const pool_stats&, const pool_stats&) = default;
};

class routing {
public:
  explicit routing(std::string pool, routing_options options = {}) : pool_(std::move(pool)), options_(options) {}

  /// A member will come (it starts, or its supervisor restarts it): tasks wait for it. No effect on one that is up.
  void expect(const std::string& member);
  /// A member is up and takes up to `capacity` tasks at once. Joining again under the same name replaces the old incarnation as if
  /// it had gone without a crash.
  routing_changes join(const std::string& member, time_point now, std::int64_t capacity = 1);
  /// Tasks that a member has from elsewhere (its node's own line): they count as its load.
  routing_changes report_load(const std::string& member, std::int64_t others, time_point now);
  /// It takes no new task; those it has go on. It is gone after the last one.
  routing_changes leave(const std::string& member, time_point now);
  /// A member is gone. `crashed`: it died of itself, which counts against its tasks (a lost node does not). `coming`: its
  /// supervisor restarts it.
  routing_changes member_down(const std::string& member, bool crashed, bool coming, time_point now);
  /// The end of a task's last member, which was not known yet when that one joined again, was a crash: it counts against the task from its
  /// next crash on.
  void blame(const std::string& task);
  /// A member that was expected does not come. Of one whose end was not seen yet: it will not come again after it.
  routing_changes not_coming(const std::string& member, time_point now);

  /// `crashes`: deaths that the task has caused before (from the journal). A task that is here already is not taken twice: answers
  /// how it stands.
  submit_answer submit(const std::string& task, time_point now, std::int64_t crashes = 0);
  /// A member answered. False: a late answer of an old attempt, or an unknown task: ignore it.
  bool finished(const std::string& task, std::int64_t attempt, time_point now, routing_changes& changes);
  /// The task is given to nobody any more. Where it runs, for the caller to stop it there: its member has it until it answers, or is gone
  /// (`stopped`). Absent: it waited and is forgotten, or is unknown.
  std::optional<assignment> cancel(const std::string& task);

  pool_stats stats() const;
  std::size_t queued() const { return line_.size(); }
  std::optional<assignment> where(const std::string& task) const;
  /// What a member has now, by name.
  std::vector<std::string> tasks_of(const std::string& member) const;
  /// How long until a line of this length is worked off, judged by recent durations; from 100 ms to 60 s.
  milliseconds retry_hint() const;

private:
  struct member_state {
    bool up = false; // false: expected
    bool leaving = false;
    bool last = false; // its supervisor will not start it again
    std::int64_t capacity = 1;
    std::int64_t others = 0;
    time_point idle_since{};
    std::uint64_t joined = 0;       // order of joining: the last tie-breaker
    std::vector<std::string> tasks; // those it has, by name; few
  };
  struct task_state {
    std::string member; // empty: waits
    std::int64_t attempt = 0;
    std::int64_t crashes = 0;
    std::int64_t place = 0; // in line
    bool cancelled = false;
    time_point started{};
  };
  using rank = std::tuple<std::int64_t, time_point, std::uint64_t>; // load, idle since, order of joining

  using members = std::unordered_map<std::string, member_state>;

  static rank rank_of(const member_state& m);
  static bool takes(const member_state& m) { return m.up && !m.leaving; }
  bool deserted() const { return taking_ == 0 && coming_ == 0; }
  void count(const member_state& m, std::int64_t sign);
  template <class Change>
  void change(members::value_type& member, Change change);
  assignment give(const std::string& task, task_state& t, time_point now);
  void take_back(const std::string& task, const task_state& t, time_point now);
  void lose_tasks(members::value_type& member, bool crashed, time_point now, routing_changes& changes);
  void forget(members::iterator it);
  void settle(time_point now, routing_changes& changes);

  std::string pool_;
  routing_options options_;
  members members_;
  std::map<rank, members::value_type*> free_; // those that take a task now
  std::unordered_map<std::string, task_state> tasks_;
  std::map<std::int64_t, std::string> line_;
  std::int64_t head_ = 0, tail_ = 0; // places: requeued ones go before head_
  std::uint64_t joins_ = 0;
  std::int64_t up_ = 0, taking_ = 0, busy_ = 0, coming_ = 0, slots_ = 0; // slots: tasks that can run at once
  double average_us_ = 1e6;                                              // of a task, exponentially weighted
};

} // namespace troupe::policy
