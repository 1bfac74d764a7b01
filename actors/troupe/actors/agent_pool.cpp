#include "troupe/actors/agent_pool.hpp"

#include <algorithm>
#include <set>
#include <unordered_map>

#include "troupe/actors/context.hpp"
#include "troupe/actors/human_time.hpp"
#include "troupe/policy/answer_quality.hpp"
#include "troupe/policy/routing.hpp"

namespace troupe::actors {

namespace {

/// A task that waits here or is with a member.
struct pooled_task {
  task_assignment assignment;
  caf::typed_response_promise<task_result> asker;
  std::optional<cancel_task> cancelled; ///< the first wish: its reason counts, as with its agent
};

struct pool_member {
  agent_actor handle;
  const std::string* supervisor = nullptr; ///< one text for all of its members
  std::int64_t restarts = 0;
  milliseconds waited{0};
  bool up = false;
};
using pool_members = std::unordered_map<std::string, pool_member>;

struct pool_state {
  explicit pool_state(agent_pool_actor::pointer) {}
  static inline const char* name = "agent_pool";
  std::string agent;
  std::shared_ptr<const agent_peers> peers;
  std::optional<policy::routing> routing;
  std::unordered_map<std::string, pooled_task> tasks; ///< by key
  pool_members members;
  std::unordered_map<caf::actor_addr, pool_members::value_type*> up; ///< members that are up
  std::set<std::string> supervisors;                                 ///< their names
  /// Incarnations that were replaced before their end was known here: their member, and what they had.
  std::unordered_map<caf::actor_addr, std::pair<std::string, std::vector<std::string>>> replaced;
};

using pool_self = agent_pool_actor::stateful_pointer<pool_state>;

std::string key_of(const std::string& run_id, const std::string& task) {
  return run_id + '\n' + task;
}

void apply(pool_self self, const policy::routing_changes& changes);

void answer(pool_self self, const std::string& key, task_result&& with) {
  auto node = state_of(self).tasks.extract(key);
  if (node.empty())
    return;
  with.crashes = node.mapped().assignment.crashes;
  node.mapped().asker.deliver(std::move(with));
}

void hand_over(pool_self self, const policy::assignment& given) {
  auto& state = state_of(self);
  auto found = state.tasks.find(given.task);
  auto member = state.members.find(given.member);
  if (found == state.tasks.end() || member == state.members.end())
    return;
  auto& task = found->second;
  const auto& to = member->second;
  if (task.assignment.crashes > 0 && given.attempt > 1)
    tell(self, state.peers->journal,
         note{task.assignment.run->run_id,
              task.assignment.task,
              state.agent,
              {agent_restarted{given.member, *to.supervisor, to.restarts, to.waited.count()}}});
  if (auto& order = task.assignment; !order.begun.set())
    order.begun = mark(order.human, self->clock().now());
  ask(self, to.handle, task.assignment)
      .then(
          [self, given](task_result& result) {
            policy::routing_changes changes;
            if (!state_of(self).routing->finished(given.task, given.attempt, self->clock().now(), changes))
              return; // a late answer of an old attempt
            answer(self, given.task, std::move(result));
            apply(self, changes);
          },
          [](const caf::error&) {}); // it died: the down message says what becomes of its tasks
}

/// The calls that the last member of a task made go on by themselves, would be paid for and would ask humans: they end with the task.
void end_what_it_left(pool_self self, const task_assignment& order, bool late) {
  const auto& peers = *state_of(self).peers;
  const auto spec = order.run->config->agents.find(order.agent);
  if (!order.resumed || spec == order.run->config->agents.end())
    return;
  end_calls(self, peers, spec->second, order.run->run_id, order.task);
  if (spec->second.output)
    if (const auto reviewer = peers.pools.find(spec->second.output->reviewer); reviewer != peers.pools.end())
      tell(self, reviewer->second->now(), cancel_task{order.run->run_id, policy::review_of(order.task), late});
}

/// The end of a cancelled task that no member has.
void end_cancelled(pool_self self, const std::string& key, bool in_line = false) {
  const auto& task = state_of(self).tasks.at(key);
  const auto& order = task.assignment;
  const bool late = task.cancelled->timed_out;
  end_what_it_left(self, order, late);
  answer(self, key,
         task_result{.task = order.task,
                     .attempt = order.attempt,
                     .status = late ? task_status::timeout : task_status::cancelled,
                     .reason = late ? "timeout" : "cancelled",
                     .error = in_line         ? "the task's time is over before a member of its pool was free"
                              : order.resumed ? "its agent was gone"
                                              : "it had not begun",
                     .abandoned = order.resumed});
}

/// A task's time goes on while it waits for a member; nobody else looks at it meanwhile.
void watch_in_line(pool_self self, const std::string& key) {
  auto& state = state_of(self);
  const auto found = state.tasks.find(key);
  if (found == state.tasks.end() || state.routing->where(key))
    return;
  const auto& order = found->second.assignment;
  if (order.deadline == clock_point::max())
    return;
  const auto now = self->clock().now();
  if (const auto again = next_look(end_of(order, now), order.human, now)) {
    tell_later(self, agent_pool_actor(self), *again, line_timer{key, order.attempt});
    return;
  }
  found->second.cancelled = cancel_task{order.run->run_id, order.task, true};
  static_cast<void>(state.routing->cancel(key));
  end_cancelled(self, key, true);
}

void apply(pool_self self, const policy::routing_changes& changes) {
  for (const auto& key : changes.stopped)
    end_cancelled(self, key);
  for (const auto& failed : changes.failed)
    if (const auto found = state_of(self).tasks.find(failed.task); found != state_of(self).tasks.end()) {
      const auto& order = found->second.assignment;
      end_what_it_left(self, order, false);
      answer(self, failed.task,
             task_result{.task = order.task,
                         .attempt = order.attempt,
                         .status = task_status::error,
                         .reason = failed.reason,
                         .error = failed.error,
                         .fatal = true,
                         .abandoned = order.resumed});
    }
  for (const auto& given : changes.assigned)
    hand_over(self, given);
}

caf::result<task_result> submit(pool_self self, task_assignment& assignment) {
  auto& state = state_of(self);
  const auto key = key_of(assignment.run->run_id, assignment.task);
  const auto refused = [&](std::string reason, std::string why) {
    return task_result{.task = assignment.task,
                       .attempt = assignment.attempt,
                       .status = task_status::error,
                       .reason = std::move(reason),
                       .error = std::move(why),
                       .abandoned = assignment.resumed};
  };
  if (const auto known = state.tasks.find(key);
      known != state.tasks.end() && assignment.contract && known->second.assignment.attempt == assignment.attempt) {
    // A review whose asker has died: the next incarnation waits for the same.
    known->second.asker = self->make_response_promise<task_result>();
    return known->second.asker;
  }
  if (state.tasks.count(key) != 0)
    return refused("conflict", "task \"" + assignment.task + "\" of run " + assignment.run->run_id + " is in this pool already");
  const auto placed = state.routing->submit(key, self->clock().now(), assignment.crashes);
  if (placed.status == policy::submit_status::refused || placed.status == policy::submit_status::failed) {
    end_what_it_left(self, assignment, false);
    return refused(placed.status == policy::submit_status::refused ? "pool_full" : "no_member", placed.error);
  }
  auto promise = self->make_response_promise<task_result>();
  state.tasks.emplace(key, pooled_task{std::move(assignment), promise});
  if (placed.assigned)
    hand_over(self, *placed.assigned);
  else
    watch_in_line(self, key);
  return promise;
}

void cancel(pool_self self, const cancel_task& which) {
  auto& state = state_of(self);
  std::vector<std::string> keys;
  for (const auto& [key, task] : state.tasks)
    if (task.assignment.run->run_id == which.run_id && (which.task.empty() || task.assignment.task == which.task))
      keys.push_back(key);
  for (const auto& key : keys) {
    if (auto& task = state.tasks.at(key); !task.cancelled)
      task.cancelled = which;
    if (const auto at = state.routing->cancel(key))
      tell(self, state.members.at(at->member).handle, which); // it answers once nothing of the task is under way
    else
      end_cancelled(self, key);
  }
}

/// A crash of its agent counts against a task.
void count_crash(pool_self self, const std::string& key, const std::string& member, const caf::error& reason) {
  auto& state = state_of(self);
  auto& order = state.tasks.at(key).assignment;
  ++order.crashes;
  tell(self, state.peers->journal,
       note{order.run->run_id, order.task, state.agent, {agent_crashed{member, text_of(reason), order.crashes}}});
}

void member_down(pool_self self, const caf::down_msg& down) {
  auto& state = state_of(self);
  const bool crashed =
      down.reason && down.reason != caf::exit_reason::user_shutdown && down.reason != caf::exit_reason::kill && !is_replaced(down.reason);
  const auto address = caf::actor_cast<caf::actor_addr>(down.source);
  if (const auto before = state.replaced.extract(address); !before.empty()) {
    const auto& [member, had] = before.mapped();
    for (const auto& key : had)
      if (crashed && state.tasks.count(key) != 0) {
        state.routing->blame(key);
        count_crash(self, key, member, down.reason);
      }
    return;
  }
  auto known = state.up.find(address);
  if (known == state.up.end())
    return;
  const auto& name = known->second->first;
  known->second->second.up = false;
  state.up.erase(known);
  const auto lost = state.routing->tasks_of(name);
  for (const auto& key : lost) {
    state.tasks.at(key).assignment.resumed = true;
    if (crashed)
      count_crash(self, key, name, down.reason);
  }
  // Its supervisor says whether it comes back: a join, or `member_gone`.
  apply(self, state.routing->member_down(name, crashed, true, self->clock().now()));
  for (const auto& key : lost)
    watch_in_line(self, key);
}

/// A member joins anew before the end of its last incarnation is known here: whatever comes of that one is late, its task goes on with the
/// new one, and whether it crashed is heard later.
void forget_incarnation(pool_self self, const std::string& name) {
  auto& state = state_of(self);
  const auto known = state.members.find(name);
  if (known == state.members.end() || !known->second.up)
    return;
  auto had = state.routing->tasks_of(name);
  for (const auto& key : had)
    state.tasks.at(key).assignment.resumed = true;
  state.up.erase(known->second.handle.address());
  state.replaced.emplace(known->second.handle.address(), std::pair(name, std::move(had)));
}

agent_pool_actor::behavior_type agent_pool(pool_self self, std::string agent, const std::vector<std::string>& expected_members,
                                           std::shared_ptr<const agent_peers> peers, policy::routing_options options) {
  install_handlers(self);
  auto& state = state_of(self);
  state.agent = agent;
  state.peers = std::move(peers);
  state.routing.emplace(std::move(agent), options);
  for (const auto& member : expected_members)
    state.routing->expect(member);
  on_down(self, [self](caf::down_msg& down) { member_down(self, down); });
  return {
      [self](task_assignment& assignment) { return submit(self, assignment); },
      [self](const cancel_task& which) { cancel(self, which); },
      [self](const member_joined& joined) {
        auto& s = state_of(self);
        forget_incarnation(self, joined.member);
        monitor(self, joined.handle);
        auto& member = *s.members
                            .insert_or_assign(joined.member, pool_member{joined.handle, &*s.supervisors.insert(joined.supervisor).first,
                                                                         joined.restarts, joined.waited, true})
                            .first;
        s.up[joined.handle.address()] = &member;
        apply(self, s.routing->join(joined.member, self->clock().now()));
      },
      [self](const member_gone& gone) { apply(self, state_of(self).routing->not_coming(gone.member, self->clock().now())); },
      [self](const line_timer& due) {
        const auto found = state_of(self).tasks.find(due.key);
        if (found != state_of(self).tasks.end() && found->second.assignment.attempt == due.attempt)
          watch_in_line(self, due.key);
      },
      [self](const pool_query&) {
        const auto now = state_of(self).routing->stats();
        return pool_stats{state_of(self).agent, now.pool_size, now.queued_tasks, now.active_workers, now.idle_workers};
      },
  };
}

} // namespace

agent_pool_actor spawn_agent_pool(caf::actor_system& system, std::string agent, std::vector<std::string> expected_members,
                                  std::shared_ptr<const agent_peers> peers, std::int64_t crashes, std::size_t max_queue) {
  policy::routing_options options;
  options.max_queue = max_queue;
  options.max_crashes = crashes;
  return system.spawn(agent_pool, std::move(agent), std::move(expected_members), std::move(peers), options);
}

} // namespace troupe::actors
