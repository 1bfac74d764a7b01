#include "troupe/policy/time_used.hpp"

#include <algorithm>
#include <set>

#include "troupe/policy/budget_scope.hpp"
#include "troupe/policy/replay.hpp"

namespace troupe::policy {

namespace {

struct stop_watch {
  bool runs = false;
  std::int64_t since_us = 0;
  std::int64_t used_us = 0;
  std::set<std::string> humans; ///< requests that it waits for
  std::int64_t waits_since_us = 0;

  void start(std::int64_t now_us) {
    if (!runs) {
      runs = true;
      since_us = now_us;
    }
  }
  void stop(std::int64_t now_us) {
    if (runs)
      used_us += std::max<std::int64_t>((humans.empty() ? now_us : std::min(now_us, waits_since_us)) - since_us, 0);
    runs = false;
    humans.clear();
  }
  void ask(const std::string& id, std::int64_t now_us) {
    if (humans.insert(id).second && humans.size() == 1)
      waits_since_us = now_us;
  }
  void decide(const std::string& id, std::int64_t now_us) {
    if (humans.erase(id) != 0 && humans.empty())
      since_us += now_us - waits_since_us;
  }
};

} // namespace

std::map<std::string, std::chrono::milliseconds> time_used(const std::vector<event_ptr>& events) {
  std::map<std::string, stop_watch> tasks, agents;
  std::int64_t last_us = 0;
  const auto stop_all = [&] {
    for (auto* watches : {&tasks, &agents})
      for (auto& [name, watch] : *watches)
        watch.stop(last_us);
  };
  for (const auto& e : events) {
    if (std::holds_alternative<run_resumed>(e->body))
      stop_all();
    last_us = e->time_us;
    // The end of a request is no work: it may come after its task's.
    const bool works = !std::holds_alternative<approval_decided>(e->body) && !std::holds_alternative<approval_withdrawn>(e->body);
    if (works && !e->agent.empty())
      agents[agent_scope(e->agent)].start(last_us);
    // A task's limit holds for its elements, its members and its sub-workflow too.
    for (std::string_view path = e->task; !path.empty(); path = parent_path(path)) {
      auto& watch = tasks[task_scope(path)];
      if (works)
        watch.start(last_us);
      if (const auto* asked = std::get_if<approval_requested>(&e->body))
        watch.ask(asked->id, last_us);
      else if (const auto* decided = std::get_if<approval_decided>(&e->body))
        watch.decide(decided->id, last_us);
      else if (const auto* withdrawn = std::get_if<approval_withdrawn>(&e->body))
        watch.decide(withdrawn->id, last_us);
      else if (std::holds_alternative<task_finished>(e->body) && path == e->task)
        watch.stop(last_us);
    }
  }
  stop_all();
  std::map<std::string, std::chrono::milliseconds> out;
  for (const auto* watches : {&tasks, &agents})
    for (const auto& [name, watch] : *watches)
      out.emplace(name, watch.used_us / 1000);
  return out;
}

} // namespace troupe::policy
