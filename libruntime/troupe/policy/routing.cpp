#include "troupe/policy/routing.hpp"

#include <algorithm>

#include "troupe/util/assert.hpp"

namespace troupe::policy {

routing::rank routing::rank_of(const member_state& m) {
  return {static_cast<std::int64_t>(m.tasks.size()) + m.others, m.idle_since, m.joined};
}

void routing::count(const member_state& m, std::int64_t sign) {
  coming_ += m.up ? 0 : sign;
  up_ += m.up ? sign : 0;
  taking_ += takes(m) ? sign : 0;
  busy_ += m.up && !m.tasks.empty() ? sign : 0;
  slots_ += takes(m) ? sign * m.capacity : 0;
}

/// Whatever changes a member goes through here, so that counts and ranks cannot disagree with it.
template <class Change>
void routing::change(members::value_type& member, Change change) {
  auto& m = member.second;
  auto has_room = [&m] { return takes(m) && static_cast<std::int64_t>(m.tasks.size()) < m.capacity; };
  if (has_room())
    free_.erase(rank_of(m));
  count(m, -1);
  change(m);
  count(m, 1);
  if (has_room())
    free_.emplace(rank_of(m), &member);
}

void routing::forget(members::iterator it) {
  change(*it, [](member_state& m) {
    m.up = true;
    m.leaving = true; // counted as one that is up and takes nothing
  });
  count(it->second, -1);
  members_.erase(it);
}

assignment routing::give(const std::string& task, task_state& t, time_point now) {
  TROUPE_ASSERT(!free_.empty());
  auto& member = *free_.begin()->second;
  change(member, [&](member_state& m) { m.tasks.insert(std::lower_bound(m.tasks.begin(), m.tasks.end(), task), task); });
  t.member = member.first;
  t.started = now;
  return {task, member.first, ++t.attempt};
}

/// Its member has it no more.
void routing::take_back(const std::string& task, const task_state& t, time_point now) {
  auto it = members_.find(t.member);
  TROUPE_ASSERT(it != members_.end());
  change(*it, [&](member_state& m) {
    std::erase(m.tasks, task);
    m.idle_since = now;
  });
  if (it->second.leaving && it->second.tasks.empty())
    forget(it);
}

/// Gives waiting tasks to free members; fails them where none is left or coming.
void routing::settle(time_point now, routing_changes& changes) {
  while (!line_.empty() && !free_.empty()) {
    auto first = line_.begin();
    const auto task = std::move(first->second);
    line_.erase(first);
    changes.assigned.push_back(give(task, tasks_.at(task), now));
  }
  if (!deserted())
    return;
  for (const auto& [place, task] : line_) {
    auto it = tasks_.find(task);
    changes.failed.push_back({task, "no_member", "pool \"" + pool_ + "\" has no member left, and none is coming", it->second.crashes});
    tasks_.erase(it);
  }
  line_.clear();
}

void routing::lose_tasks(members::value_type& member, bool crashed, time_point now, routing_changes& changes) {
  std::vector<std::string> lost;
  change(member, [&](member_state& m) {
    lost.swap(m.tasks);
    m.idle_since = now;
  });
  for (auto it = lost.rbegin(); it != lost.rend(); ++it) {
    auto& t = tasks_.at(*it);
    t.member.clear();
    t.crashes += crashed ? 1 : 0;
    const bool poison = t.crashes > options_.max_crashes;
    changes.poison = changes.poison || poison;
    if (t.cancelled) {
      changes.stopped.push_back(*it);
      tasks_.erase(*it);
      continue;
    }
    if (poison) {
      changes.failed.push_back(
          {*it, "poison", "this task has killed its agent " + std::to_string(t.crashes) + " times; it is not tried again", t.crashes});
      tasks_.erase(*it);
      continue;
    }
    t.place = --head_;
    line_.emplace_hint(line_.begin(), t.place, *it);
    changes.requeued.push_back(*it);
  }
}

// --- members -------------------------------------------------------------------------------------------------------

void routing::expect(const std::string& member) {
  if (auto [it, added] = members_.try_emplace(member); added)
    count(it->second, 1);
}

routing_changes routing::join(const std::string& member, time_point now, std::int64_t capacity) {
  routing_changes changes;
  expect(member);
  auto it = members_.find(member);
  if (it->second.up)
    lose_tasks(*it, false, now, changes);
  change(*it, [&](member_state& m) {
    m.up = true;
    m.leaving = m.last = false;
    m.capacity = std::max<std::int64_t>(1, capacity);
    m.others = 0;
    m.idle_since = now;
    m.joined = ++joins_;
  });
  settle(now, changes);
  return changes;
}

routing_changes routing::report_load(const std::string& member, std::int64_t others, time_point) {
  if (auto it = members_.find(member); it != members_.end())
    change(*it, [&](member_state& m) { m.others = std::clamp<std::int64_t>(others, 0, 1'000'000'000); });
  return {};
}

routing_changes routing::leave(const std::string& member, time_point now) {
  routing_changes changes;
  auto it = members_.find(member);
  if (it == members_.end())
    return changes;
  if (it->second.up && !it->second.tasks.empty())
    change(*it, [](member_state& m) { m.leaving = true; });
  else
    forget(it);
  settle(now, changes);
  return changes;
}

routing_changes routing::member_down(const std::string& member, bool crashed, bool coming, time_point now) {
  routing_changes changes;
  auto it = members_.find(member);
  if (it == members_.end())
    return changes;
  const bool stays_away = it->second.leaving || it->second.last;
  lose_tasks(*it, crashed, now, changes);
  if (coming && !stays_away)
    change(*it, [](member_state& m) { m.up = false; });
  else
    forget(it);
  settle(now, changes);
  return changes;
}

void routing::blame(const std::string& task) {
  if (auto it = tasks_.find(task); it != tasks_.end())
    ++it->second.crashes;
}

routing_changes routing::not_coming(const std::string& member, time_point now) {
  routing_changes changes;
  if (auto it = members_.find(member); it != members_.end()) {
    if (it->second.up)
      it->second.last = true; // the news of its end are on their way
    else
      forget(it);
  }
  settle(now, changes);
  return changes;
}

// --- tasks ---------------------------------------------------------------------------------------------------------

submit_answer routing::submit(const std::string& task, time_point now, std::int64_t crashes) {
  submit_answer answer;
  if (auto it = tasks_.find(task); it != tasks_.end()) {
    answer.assigned = where(task);
    answer.status = answer.assigned ? submit_status::assigned : submit_status::queued;
    return answer;
  }
  if (deserted()) {
    answer.status = submit_status::failed;
    answer.error = "pool \"" + pool_ + "\" has no member, and none is coming";
    return answer;
  }
  if (free_.empty() && line_.size() >= options_.max_queue) {
    answer.status = submit_status::refused;
    answer.retry_after = retry_hint();
    answer.error = "pool \"" + pool_ + "\" has " + std::to_string(line_.size()) + " tasks in line; try again in "
                   + std::to_string(answer.retry_after.count()) + " ms";
    return answer;
  }
  auto& t = tasks_[task];
  t.crashes = crashes;
  if (!free_.empty()) {
    answer.status = submit_status::assigned;
    answer.assigned = give(task, t, now);
    return answer;
  }
  t.place = tail_++;
  line_.emplace_hint(line_.end(), t.place, task);
  answer.status = submit_status::queued;
  return answer;
}

bool routing::finished(const std::string& task, std::int64_t attempt, time_point now, routing_changes& changes) {
  auto it = tasks_.find(task);
  if (it == tasks_.end() || it->second.member.empty() || it->second.attempt != attempt)
    return false;
  const auto took = std::chrono::duration<double, std::micro>(now - it->second.started).count();
  average_us_ += (std::max(0.0, took) - average_us_) * 0.1;
  take_back(task, it->second, now);
  tasks_.erase(it);
  settle(now, changes);
  return true;
}

std::optional<assignment> routing::cancel(const std::string& task) {
  auto it = tasks_.find(task);
  if (it == tasks_.end())
    return std::nullopt;
  if (auto at = where(task)) {
    it->second.cancelled = true;
    return at;
  }
  line_.erase(it->second.place);
  tasks_.erase(it);
  return std::nullopt;
}

std::optional<assignment> routing::where(const std::string& task) const {
  auto it = tasks_.find(task);
  if (it == tasks_.end() || it->second.member.empty())
    return std::nullopt;
  return assignment{task, it->second.member, it->second.attempt};
}

std::vector<std::string> routing::tasks_of(const std::string& member) const {
  const auto it = members_.find(member);
  return it == members_.end() ? std::vector<std::string>{} : it->second.tasks;
}

pool_stats routing::stats() const {
  return {up_, static_cast<std::int64_t>(line_.size()), busy_, up_ - busy_};
}

milliseconds routing::retry_hint() const {
  const double us = average_us_ * static_cast<double>(line_.size() + 1) / static_cast<double>(std::max<std::int64_t>(1, slots_));
  return milliseconds(static_cast<std::int64_t>(std::clamp(us / 1000, 100.0, 60'000.0)));
}

} // namespace troupe::policy
