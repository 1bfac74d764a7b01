#pragma once
// The parts of the orchestrator: one actor's state, and what its files have of each other.
//
//   orchestrator.cpp             the graph's commands, the run's end
//   orchestrator_members.cpp     tasks that members of pools work on
//   orchestrator_time.cpp        what is left of the limits of time
//   orchestrator_approvals.cpp   tasks and answers that wait for humans
//   orchestrator_colleagues.cpp  agents that ask each other, and hand-offs

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "troupe/actors/human_time.hpp"
#include "troupe/actors/orchestrator.hpp"

namespace troupe::actors::orchestration {

struct graph_of {
  policy::task_graph graph;
  std::string parent_prefix; ///< of the graph above; for the top: itself
  std::string parent_path;   ///< of the task there; empty: the top
  std::int64_t attempt = 1;
  std::string within;                     ///< the attempts of the tasks above, as `task_started` has them
  std::shared_ptr<human_time> human;      ///< of the task above; null: the top
  clock_point until = clock_point::max(); ///< of the task above; from `given` on, and moved as that is
  time_mark given;
};

/// A task that an agent works on.
struct given_task {
  task_assignment order;
  std::string prefix;
  caf::actor_addr pool;                   ///< that has it; null: its pool died, and it waits for the next one
  bool stopped = false;                   ///< it was told to end
  bool late = false;                      ///< because its own time is up
  clock_point until = clock_point::max(); ///< of the task, whatever agent has it; from `order.given` on, and moved as that is
  // Of a task that asks other agents.
  std::set<std::string> asked;            ///< paths that are at work for it
  std::set<std::string> told;             ///< paths whose end it has been told
  bool resting = false;                   ///< it has left its member, and waits for those
  std::shared_ptr<const task_result> end; ///< its own, which comes after theirs
  json left = nullptr;                    ///< its last answer when it left its member: what an end that comes meanwhile still has
  bool looked_up = false;                 ///< its agent is gone; the journal was asked for its last answer
  policy::handoff_watch handoffs;
  // Of a delegated task.
  std::string parent; ///< path of who asked; empty: a task of the workflow
  std::string call_id;
  std::string call_for; ///< the agent that was asked
  clock_point began;
};

/// A task that starts once humans have approved it.
struct task_to_approve {
  std::uint64_t number = 0; ///< of its request: what is answered to another one at this path is not for it
  policy::start_task what;
  std::string prefix;
  approval_ask wanted;
  caf::actor_addr checkpoint; ///< that was asked
  std::unique_ptr<human_time_guard> waits;
};

/// A command of the graph with this prefix.
struct graph_order {
  std::string prefix;
  policy::graph_command what;
};

struct orchestrator_state {
  explicit orchestrator_state(orchestrator_actor::pointer) {}
  /// One that dies owes an answer to whoever waits for the run: CAF gives none.
  ~orchestrator_state() {
    if (asker)
      asker->deliver(run_ended{run_status::running, "interrupted", nullptr,
                               error{error_code::unavailable, "its orchestrator died", "run " + setup.run->run_id}});
  }
  static inline const char* name = "orchestrator";
  std::optional<place_at_work> place; ///< first: it is left when all else is gone
  orchestrator_setup setup;
  std::map<std::string, graph_of> graphs;            ///< by prefix: "", "archive/"
  std::vector<graph_order> to_do;                    ///< in the order in which the graphs gave them; empty between messages
  std::map<std::string, given_task> with_pool;       ///< by path
  std::map<std::string, task_to_approve> to_approve; ///< by path
  std::uint64_t last_request = 0;
  std::map<std::string, std::string> last_agent; ///< of tasks that were handed on, until their end is recorded
  std::optional<asked_services> asked;           ///< what one had when it died is never answered
  std::optional<caf::typed_response_promise<run_ended>> asker;
  bool suspended = false;
  std::string why_suspended;
  bool timed_out = false;
  bool abandoned = false; ///< calls may be under way whose agents are gone
  bool over = false;
  std::optional<policy::abort_reason> early;                ///< an abort that came before the start
  std::map<std::string, time_mark> began;                   ///< when a task or an agent with a limit of time was first at work, by scope
  std::map<std::string, std::shared_ptr<human_time>> human; ///< by the path of a whole task
};

using orchestrator_self = orchestrator_actor::stateful_pointer<orchestrator_state>;

// --- orchestrator.cpp

void task_ended(orchestrator_self self, const std::string& prefix, const std::string& path, std::int64_t attempt,
                policy::task_outcome outcome);
void abort_all(orchestrator_self self, policy::abort_reason reason);
/// The run is left as it is, once nothing of it is under way: what was cut off is done again by whoever resumes it.
void leave_if_quiet(orchestrator_self self);

// --- orchestrator_members.cpp

void start_now(orchestrator_self self, const std::string& prefix, policy::start_task& what);
/// Gives a task to its agent's pool.
void give(orchestrator_self self, const std::string& path);
/// What a task's agent, or whoever ends it in its stead, says.
void take_result(orchestrator_self self, std::string prefix, const task_result& result);
/// The end of a task that no pool has.
void end_unserved(orchestrator_self self, const std::string& path, task_status status, std::string reason, std::string error);
/// Ends what an agent works on; its result says so.
void stop_given(orchestrator_self self, const std::string& path);
/// The end of a task that was told to stop: in time, or too late.
task_result cut_off(orchestrator_self self, const given_task& given);
/// What a dead pool had goes to its successor, as a task that may have gone on.
void pool_down(orchestrator_self self, const caf::actor_addr& pool);
/// What whoever decides between answers must say: one of them, or an own one under the contracts of the agents who gave them.
output_spec ruling_contract(const configuration& config, const std::vector<std::string>& agents, const std::string& arbiter);

// --- orchestrator_time.cpp

/// The task as the file has it: elements of a for_each, and several agents, share its time, and so do its attempts.
const std::shared_ptr<human_time>& human_time_of(orchestrator_self self, const std::string& prefix, const std::string& path,
                                                 const task_spec& task);
/// When a task's time is over, whatever agent has it.
clock_point end_of(orchestrator_self self, const given_task& given);
/// What is left of a scope's limit of time, which runs from when it was first at work; never less than nothing. `human`: what gives it time
/// back; null: nothing does.
milliseconds time_left(orchestrator_self self, std::string scope, milliseconds limit, const std::shared_ptr<human_time>& human = {});
/// The least of the limits of time that hold for a task now; nothing: there is none. `agent`: whose limit counts too; empty: nobody's.
std::optional<milliseconds> time_for(orchestrator_self self, const std::string& prefix, const std::string& path, const task_spec& task,
                                     const limits& task_limits, const std::string& agent);
/// The end of the run's time, with what waiting for humans has given back.
clock_point run_deadline(orchestrator_self self);
/// When its timer fires: how long it must still wait. While something waits, it looks again.
clock_point::duration time_given_back(orchestrator_self self);
/// Warnings of the run's time come when they are due, also while nothing is reserved.
void warn_of_time(orchestrator_self self);

// --- orchestrator_approvals.cpp

void ask_to_start(orchestrator_self self, const std::string& prefix, policy::start_task& what);
void carry_out(orchestrator_self self, const std::string& prefix, policy::ask_human& what);
void send_approval(orchestrator_self self, const std::string& path);
/// A task that is stopped while it waits: its request stays in the journal for whoever resumes the run.
bool withdraw(orchestrator_self self, const std::string& path);
void checkpoint_down(orchestrator_self self, const caf::actor_addr& who);

// --- orchestrator_colleagues.cpp

/// A task's agent has left its member: it waits for others, or hands the task on.
void pause(orchestrator_self self, const std::string& path, const task_result& result);
void start_delegated(orchestrator_self self, delegate& wanted);
void delegated_ended(orchestrator_self self, const given_task& was, const task_result& result);
/// One of those that it waits for has ended.
void one_less(orchestrator_self self, const std::string& parent, const std::string& path);
void delegated_late(orchestrator_self self, const std::string& path);

} // namespace troupe::actors::orchestration
