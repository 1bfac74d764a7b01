#pragma once
// The parts of the agent: one actor's state, and what its files have of each other.
//
//   agent.cpp          tasks from their beginning to their end, humans, and the model
//   agent_steps.cpp    what the model asks for: tools, other agents; and loops
//   agent_answer.cpp   what it answers: checks, repairs, reviewers
//
// A task: (restoring) --> asking the model <--> [verdict] running its tools --> checking the answer [verdict] --> answered
//                              ^------------------- feedback -------------------------'
// At [verdict] it waits for its supervisor, which sees whether it goes round in circles: then a call is refused, the agent is restarted, a
// human is asked, or the task ends.
// Where it waits for other agents, or gives its task to one, it leaves its member: the task comes back once they have answered, and goes on
// from the journal.
// Cancelled, or out of time: nothing new begins, and the task ends once nothing of it is under way.

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "troupe/actors/agent.hpp"
#include "troupe/actors/agent_context.hpp"
#include "troupe/actors/agent_loops.hpp"
#include "troupe/actors/agent_tools.hpp"
#include "troupe/actors/context.hpp"
#include "troupe/actors/human_time.hpp"
#include "troupe/policy/answer_quality.hpp"
#include "troupe/policy/approval.hpp"
#include "troupe/policy/contract.hpp"
#include "troupe/policy/tool_call.hpp"

namespace troupe::actors::agency {

struct tool_slot {
  tool_call call;
  message_ptr result; ///< null: not there yet
  policy::observed_result came;
  caf::actor_addr asked;                           ///< the host that has it
  std::optional<policy::colleague_call> colleague; ///< another agent is to answer it, or to go on in its place
};

/// A contract's command that runs; it is stopped when nobody waits for it any more.
struct running_check {
  ~running_check() { tool->run->cancel(id); }
  std::shared_ptr<tools::prepared_tool> tool;
  tools::running_id id = 0;
  clock_point began;
};

/// What waits for a human, and how it goes on.
struct human_wait {
  approval_ask wanted;
  std::function<void(const approval_answer&)> then;
};

struct work {
  task_assignment assignment;
  caf::typed_response_promise<task_result> asker;
  const agent_spec* spec = nullptr; ///< lives in the run's configuration
  std::shared_ptr<const agent_tools> may;
  conversation messages;
  message_ptr response;              ///< the last one with calls
  std::vector<tool_slot> slots;      ///< of that response
  std::vector<message_ptr> injected; ///< recorded after that response: it follows its results
  agent_loops loops;
  agent_context context;
  std::size_t in_flight = 0; ///< requests to the gateway or to tool hosts
  std::int64_t steps = 0;    ///< responses so far in this attempt
  policy::answer_quality quality;
  std::shared_ptr<policy::tool_quota> quota;
  std::optional<task_status> ending; ///< it begins nothing more: the status that it ends with
  bool stopping = false;             ///< what it has under way was told to end
  bool recovering = false;           ///< the next request may have been made by the incarnation before, or the gateway before
  caf::actor_addr asked;             ///< the gateway that has the request in flight; null: none
  std::unique_ptr<running_check> check;
  std::unique_ptr<task_assignment> review; ///< its reviewer's
  caf::actor_addr reviewing;               ///< the pool that has it
  std::map<std::uint64_t, human_wait> humans;
  std::uint64_t last_human = 0;
  caf::actor_addr checkpoint;              ///< that was asked
  std::unique_ptr<human_time_guard> waits; ///< for a human; the clocks of all that it works for stand still meanwhile
};

struct agent_state {
  explicit agent_state(agent_actor::pointer) {}
  static inline const char* name = "agent";
  std::string member;
  caf::actor_addr supervisor;
  std::shared_ptr<const agent_peers> peers;
  std::unique_ptr<work> task;            ///< on its own: most agents of a large tree have none
  std::uint64_t generation = 0;          ///< of the task: what belongs to an earlier one is late
  std::optional<clock_point> wake_up_at; ///< the earliest that is under way
  std::set<caf::actor_addr> watched;     ///< whom it asks: a request to one that dies is never answered
  // What is made once an agent specification, not once a task.
  std::shared_ptr<const configuration> prepared_for;
  std::string prepared_agent;
  std::shared_ptr<const output_spec> prepared_contract;
  std::optional<contract> must_hold;
  std::shared_ptr<const agent_tools> own; ///< all that it has where no task says otherwise
};

using agent_self = agent_actor::stateful_pointer<agent_state>;

inline work& task_of(agent_self self) {
  return *state_of(self).task;
}

/// The first of its own limits, its agent's and its task's; max: there is none. The run's is watched by the orchestrator.
inline clock_point own_deadline(const work& task, clock_point now) {
  const auto& order = task.assignment;
  const auto of_task = end_of(order, now);
  return task.spec->timeout.count() > 0
             ? std::min<clock_point>(moved(order.begun.at + task.spec->timeout, order.begun, order.human, now), of_task)
             : of_task;
}
/// Until when a call that begins now may take. An end that may still move is no bound for it, since somebody else who works for the same
/// task may come to wait for a human: this agent ends what is under way when its time is up, the orchestrator when the run's is.
inline clock_point call_deadline(const work& task, clock_point now) {
  const auto& run = *task.assignment.run;
  return run.humans_may_wait ? fixed_deadline_of(run) : std::min(own_deadline(task, now), fixed_deadline_of(run));
}
/// What no wait goes beyond, where such an end may move.
inline std::shared_ptr<const standing_ends> ends_of(const work& task) {
  const auto& order = task.assignment;
  if (!order.run->humans_may_wait)
    return nullptr;
  return std::make_shared<const standing_ends>(
      standing_ends{task.spec->timeout.count() > 0 ? order.begun.at + task.spec->timeout : clock_point::max(), order.deadline, order.begun,
                    order.given, order.human});
}
/// The task's own part of it.
inline clock_point call_task_deadline(const work& task, clock_point now) {
  return task.assignment.run->humans_may_wait ? clock_point::max() : end_of(task.assignment, now);
}

/// A request that is in the hands of an actor when it dies is never answered: CAF tells by the down message only.
template <class Handle>
void watch(agent_self self, const Handle& peer) {
  if (state_of(self).watched.insert(peer.address()).second)
    monitor(self, peer);
}

inline void record(agent_self self, std::vector<event_body>&& events) {
  const auto& a = task_of(self).assignment;
  tell(self, state_of(self).peers->journal, note{a.run->run_id, a.task, a.agent, std::move(events)});
}

inline message_ptr message_of(role from, std::string text, std::string call_id = {}, bool is_error = false) {
  return std::make_shared<const chat_message>(chat_message{from, std::move(text), {}, std::move(call_id), is_error});
}

// --- agent.cpp -----------------------------------------------------------------------------------------------------

void finish(agent_self self, task_result&& result);
/// Where the run may begin nothing more, this task ends as if it were cancelled. True when the caller has nothing left to do.
bool leaves_with_run(agent_self self);
/// Ends a task that is being stopped, once nothing of it is under way. True when it has ended.
bool stop_if_ending(agent_self self);
/// Asks, and goes on with `then` when it is decided. The time until then does not count for this task.
void ask_human(agent_self self, approval_ask&& wanted, std::function<void(const approval_answer&)> then);
void next_step(agent_self self);
void go_on_from_journal(agent_self self);

// --- agent_steps.cpp -----------------------------------------------------------------------------------------------

using after_verdict = std::function<void(const policy::loop_verdict&)>;

/// Tells the supervisor, and goes on with `then` when it has judged.
void observe(agent_self self, policy::loop_step&& step, after_verdict then);
/// What is recorded of a loop, in these words.
loop_detected detected(agent_self self, const policy::loop_verdict& verdict, std::string text);
/// One of the calls has its result.
void slot_done(agent_self self, std::size_t index, message_ptr result, policy::observed_result came);
/// `cut_off`: the response ended in the middle of its calls. `recovering`: an incarnation before may have started it.
void start_slot(agent_self self, std::size_t index, bool cut_off, bool recovering);
/// All calls of one response at once, once they are judged; their results go back in the order asked. `known`: results that are recorded
/// already, and `came` what they are to the supervisor.
void run_tools(agent_self self, message_ptr response, finish_reason finish, const std::vector<message_ptr>& known,
               const std::vector<policy::observed_result>& came, bool recovering);

// --- agent_answer.cpp ----------------------------------------------------------------------------------------------

void judge(agent_self self, const std::string& text, finish_reason finish);
void take_check(agent_self self, const check_ended& ended);
void perform(agent_self self, policy::quality_commands&& commands);
void give_review(agent_self self, bool resumed);
void end_review(agent_self self, policy::review_outcome&& outcome);

} // namespace troupe::actors::agency
