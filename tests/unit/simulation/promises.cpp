#include <set>

#include "simulation/scenario.hpp"
#include "troupe/policy/replay.hpp"

namespace troupe::simulation {

namespace {

using key = std::pair<std::string, std::string>; // task, step or call

/// A response or an outcome that stands in the journal is never asked for again.
void check_repeats(const std::vector<event_ptr>& events, std::vector<std::string>& broken) {
  std::set<key> answered;
  std::set<key> hedged;                               // their second answer is no repeat
  std::map<std::string, std::set<std::string>> ended; // calls of a task's last step
  for (const auto& e : events) {
    if (const auto* asked = std::get_if<llm_requested>(&e->body)) {
      if (answered.count({e->task, asked->step_id}) != 0)
        broken.push_back("step " + asked->step_id + " is recorded, and was asked for again in event " + std::to_string(e->seq));
    } else if (const auto* second = std::get_if<llm_hedged>(&e->body)) {
      if (!hedged.insert({e->task, second->step_id}).second && answered.count({e->task, second->step_id}) != 0)
        broken.push_back("step " + second->step_id + " has its answer, and was hedged");
    } else if (const auto* response = std::get_if<llm_responded>(&e->body)) {
      const bool first = answered.insert({e->task, response->step_id}).second;
      if (first)
        ended[e->task].clear();
      else if (hedged.erase({e->task, response->step_id}) == 0)
        broken.push_back("step " + response->step_id + " was answered twice");
    } else if (const auto* start = std::get_if<tool_started>(&e->body)) {
      if (ended[e->task].count(start->call_id) != 0)
        broken.push_back("call " + start->call_id + " has a result, and was started again in event " + std::to_string(e->seq));
    } else if (const auto* end = std::get_if<tool_finished>(&e->body)) {
      if (!ended[e->task].insert(end->call_id).second)
        broken.push_back("call " + end->call_id + " has two results");
    }
  }
}

/// committed + reserved <= limit, as the journal sees it after each event: a request without an outcome holds its worst case.
void check_limits(const std::vector<event_ptr>& events, const world& seen, std::vector<std::string>& broken) {
  const auto& config = *seen.around().config;
  policy::replay_fold fold;
  for (const auto& e : events) {
    fold.apply(*e);
    if (!std::holds_alternative<llm_requested>(e->body) && !std::holds_alternative<llm_responded>(e->body)
        && !std::holds_alternative<llm_failed>(e->body) && !std::holds_alternative<outcome_unknown>(e->body))
      continue;
    const auto now = fold.history();
    const auto hold = [&](const std::string& who, const limits& limit, spend spent) {
      if ((limit.money && spent.money > *limit.money) || (limit.steps && spent.steps > *limit.steps))
        broken.push_back(who + " has spent or holds " + to_string(spent.money) + " and " + std::to_string(spent.steps) + " steps at event "
                         + std::to_string(e->seq) + ", above its limit");
    };
    hold("the run", now.budget, now.spent);
    for (const auto& [name, agent] : config.agents)
      if (const auto spent = now.spent_by_agent.find(name); spent != now.spent_by_agent.end())
        hold("agent " + name, agent.budget, spent->second);
    if (const auto workflow = config.workflows.find(now.start.workflow); workflow != config.workflows.end())
      for (const auto& task : workflow->second.tasks)
        if (const auto spent = now.spent_by_task.find(task.id); spent != now.spent_by_task.end())
          hold("task " + task.id, task.budget, spent->second);
  }
}

/// What was decided is decided once; a key's versions have no gap, and a call writes once.
void check_decisions(const std::vector<event_ptr>& events, std::vector<std::string>& broken) {
  std::set<std::pair<std::string, std::int64_t>> resolved, ended;
  std::map<std::string, std::int64_t> versions;
  std::set<std::string> writes;
  for (const auto& e : events) {
    if (const auto* decision = std::get_if<answers_resolved>(&e->body)) {
      if (!resolved.insert({e->task, decision->attempt}).second)
        broken.push_back("the answer of " + e->task + " was decided on twice");
    } else if (const auto* end = std::get_if<task_finished>(&e->body); end != nullptr && end->status == task_status::success) {
      if (!ended.insert({e->task, end->attempt}).second)
        broken.push_back("task " + e->task + " ended with success twice");
    } else if (const auto* write = std::get_if<state_written>(&e->body)) {
      if (write->version != ++versions[write->key])
        broken.push_back("key " + write->key + " has a gap before version " + std::to_string(write->version));
      if (!writes.insert(write->call).second)
        broken.push_back("call " + write->call + " wrote twice");
    }
  }
}

} // namespace

std::vector<std::string> broken_promises(const std::vector<event_ptr>& events, const world& seen) {
  auto broken = seen.broken;
  for (std::size_t i = 0; i < events.size(); ++i)
    if (events[i]->seq != static_cast<std::int64_t>(i) + 1)
      broken.push_back("the journal has a gap before event " + std::to_string(events[i]->seq));
  check_repeats(events, broken);
  check_limits(events, seen, broken);
  check_decisions(events, broken);
  const auto run = policy::rebuild_run(events);
  if (seen.billed > run.spent.money)
    broken.push_back("the providers want " + to_string(seen.billed) + ", and only " + to_string(run.spent.money) + " were counted");
  if (seen.requests > run.spent.steps + static_cast<std::int64_t>(std::count_if(events.begin(), events.end(), [](const auto& e) {
                        const auto* failure = std::get_if<llm_failed>(&e->body);
                        return failure != nullptr && !failure->counted;
                      })))
    broken.push_back("the providers saw " + std::to_string(seen.requests) + " requests, and only " + std::to_string(run.spent.steps)
                     + " steps were counted");
  return broken;
}

} // namespace troupe::simulation
