#include "troupe/actors/orchestrator_parts.hpp"

#include "troupe/policy/budget_scope.hpp"
#include "troupe/policy/conflict.hpp"
#include "troupe/policy/replay.hpp"

namespace troupe::actors::orchestration {

milliseconds time_left(orchestrator_self self, std::string scope, milliseconds limit, const std::shared_ptr<human_time>& human) {
  const auto now = self->clock().now();
  auto& state = state_of(self);
  const auto before = state.setup.before->time_used.find(scope);
  const auto used = before == state.setup.before->time_used.end() ? milliseconds{0} : before->second;
  const auto since = state.began.emplace(std::move(scope), mark(human, now)).first->second;
  return std::max(milliseconds{0}, limit - used - std::chrono::duration_cast<milliseconds>(now - moved(since.at, since, human, now)));
}

namespace {

std::string whole_of(std::string_view path, const task_spec& task) {
  for (auto parts = (task.for_each.empty() ? 0 : 1) + (policy::seat_of(path).empty() ? 0 : 1); parts > 0; --parts)
    path = policy::parent_path(path);
  return std::string(path);
}

} // namespace

const std::shared_ptr<human_time>& human_time_of(orchestrator_self self, const std::string& prefix, const std::string& path,
                                                 const task_spec& task) {
  auto& state = state_of(self);
  auto& known = state.human[whole_of(path, task)];
  if (!known) {
    const auto graph = state.graphs.find(prefix);
    known = std::make_shared<human_time>(graph == state.graphs.end() ? nullptr : graph->second.human);
  }
  return known;
}

clock_point end_of(orchestrator_self self, const given_task& given) {
  return moved(given.until, given.order.given, given.order.human, self->clock().now());
}

std::optional<milliseconds> time_for(orchestrator_self self, const std::string& prefix, const std::string& path, const task_spec& task,
                                     const limits& task_limits, const std::string& agent) {
  std::optional<milliseconds> least;
  const auto take = [&](milliseconds time) { least = least ? std::min(*least, time) : time; };
  for (const auto limit : {task.timeout, task_limits.time.value_or(milliseconds{0})})
    if (limit.count() > 0)
      take(time_left(self, policy::task_scope(whole_of(path, task)), limit, human_time_of(self, prefix, path, task)));
  const auto& agents = state_of(self).setup.run->config->agents;
  if (const auto spec = agents.find(agent); spec != agents.end() && spec->second.budget.time)
    take(time_left(self, policy::agent_scope(agent), *spec->second.budget.time));
  return least;
}

clock_point run_deadline(orchestrator_self self) {
  return deadline_of(*state_of(self).setup.run, self->clock().now());
}

clock_point::duration time_given_back(orchestrator_self self) {
  const auto& run = *state_of(self).setup.run;
  const auto now = self->clock().now();
  const auto left = deadline_of(run, now) - now;
  if (run.pause->since_ns == 0)
    return left;
  return std::min<clock_point::duration>(std::max<clock_point::duration>(left, std::chrono::seconds{1}), run.above - now);
}

void warn_of_time(orchestrator_self self) {
  ask(self, state_of(self).setup.run->guard, time_check{})
      .then(
          [self](time_checked& due) {
            auto& state = state_of(self);
            if (state.over || state.suspended)
              return;
            if (!due.warnings.empty())
              tell(self, state.setup.journal,
                   note{state.setup.run->run_id, {}, {}, std::vector<event_body>(due.warnings.begin(), due.warnings.end())});
            if (due.next)
              tell_later(self, orchestrator_actor(self), *due.next, run_timer{run_alarm::warning_due});
          },
          [](const caf::error&) {});
}

} // namespace troupe::actors::orchestration
