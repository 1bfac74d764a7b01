#include "troupe/policy/task_graph_parts.hpp"

#include "troupe/model/described.hpp"
#include "troupe/policy/answer_quality.hpp"
#include "troupe/policy/budget_scope.hpp"
#include "troupe/policy/paused_time.hpp"
#include "troupe/policy/replay.hpp"

namespace troupe::policy {

namespace {

/// A sub-workflow may have a task of that name: its path is below one that is no agent's.
bool is_review(const std::string& path, const restored_state& known) {
  if (!path.ends_with(review_of({})))
    return false;
  const auto reviewed = known.find(path.substr(0, path.size() - review_of({}).size()));
  return reviewed != known.end() && reviewed->second.by_agent;
}

} // namespace

restored_state fold_tasks(const std::vector<event_ptr>& events) {
  restored_state out;
  replay_fold run;
  paused_time paused;
  bool run_refused = false; // a limit of the run, or above it, was met by this owner: another task may begin before that is known
  // Finished since the last start, or since that: an abort starts nothing, so that what it ended is among them. Agents begin reviews by
  // themselves, and may not have heard of it yet.
  std::vector<std::string> last;
  std::int64_t order = 0;
  const auto begun = [&](const std::string& path) {
    if (!run_refused && !is_review(path, out))
      last.clear();
  };
  const auto unfinish = [&](const auto& ended_by_abort) {
    for (const auto& path : last)
      if (auto& t = out[path]; t.finished && t.finished->reason != decided_reason && ended_by_abort(t.finished->status))
        t.finished.reset();
    last.clear();
    run_refused = false;
  };
  // A process may have died while it aborted the run, before that end was recorded. A task is only ever cancelled by an abort, or by a run
  // that fails, which fails again.
  const auto taken_up = [&] {
    const auto before = run.history();
    const bool out_of_time = before.budget.time && before.owned_ms - paused.until(before.last_us) / 1000 >= before.budget.time->count();
    unfinish([&](task_status status) {
      return status == task_status::cancelled || (status == task_status::budget_exceeded && run_refused)
             || (status == task_status::timeout && out_of_time);
    });
  };
  for (const auto& e : events) {
    if (const auto* s = std::get_if<task_started>(&e->body)) {
      auto& t = out[e->task];
      t.attempt = s->attempt;
      t.started = true;
      t.by_agent = !e->agent.empty();
      t.instruction = s->instruction;
      t.given = s->given;
      t.within = s->within.value_or(std::string());
      if (s->items)
        t.items = s->items;
      t.finished.reset();
      t.resolved.reset();
      begun(e->task);
    } else if (const auto* r = std::get_if<task_retried>(&e->body)) {
      auto& t = out[e->task];
      t.attempt = r->next_attempt;
      t.started = false;
      t.resolved.reset();
      // A sub-workflow that starts anew starts all of its tasks anew; so does a task that several agents do.
      for (const auto* below : {"/", "("}) {
        const auto inner = e->task + below;
        for (auto it = out.lower_bound(inner); it != out.end() && it->first.compare(0, inner.size(), inner) == 0;)
          it = out.erase(it);
      }
      begun(e->task);
    } else if (const auto* f = std::get_if<task_finished>(&e->body)) {
      auto [it, added] = out.try_emplace(e->task);
      it->second.started = !added;
      it->second.attempt = f->attempt;
      it->second.finished = *f;
      it->second.agent = e->agent;
      it->second.order = ++order;
      last.push_back(e->task);
    } else if (const auto* differ = std::get_if<answers_differ>(&e->body)) {
      auto& t = out[seat_path(e->task, differ->next == "human" ? human_seat : arbiter_seat)];
      t.attempt = differ->attempt;
      t.started = false;
    } else if (const auto* resolved = std::get_if<answers_resolved>(&e->body)) {
      out[e->task].resolved = *resolved;
    } else if (const auto* end = std::get_if<run_finished>(&e->body); end && end->status == run_status::aborted) {
      unfinish([&](task_status status) { return status == task_status::cancelled || name_of(status) == end->reason; });
    } else if (const auto* refused = std::get_if<budget_refused>(&e->body)) {
      run_refused = run_refused || ends_the_run(refused->scope);
    } else if (std::holds_alternative<run_resumed>(e->body)) {
      taken_up();
    }
    run.apply(*e);
    paused.apply(*e);
  }
  taken_up();
  return out;
}

} // namespace troupe::policy
