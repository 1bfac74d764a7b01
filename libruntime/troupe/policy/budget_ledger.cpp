#include "troupe/policy/budget_ledger.hpp"

#include <algorithm>
#include <array>
#include <queue>

#include "troupe/util/assert.hpp"

namespace troupe::policy {

namespace {

// Every number here is in [0, huge], so that sums and differences of two cannot overflow.
constexpr std::int64_t huge = budget_unlimited;
constexpr std::array<std::int64_t, 3> thresholds{50, 80, 95};

std::int64_t bounded(std::int64_t n) {
  return std::clamp<std::int64_t>(n, 0, huge);
}
spend bounded(spend s) {
  return {{bounded(s.money.micro)}, bounded(s.steps)};
}
spend limit_of(const limits& l) {
  return {{l.money ? bounded(l.money->micro) : huge}, l.steps ? bounded(*l.steps) : huge};
}
bool within(spend amount, spend room) {
  return amount.money <= room.money && amount.steps <= room.steps;
}
spend least_of(spend a, spend b) {
  return {std::min(a.money, b.money), std::min(a.steps, b.steps)};
}
/// The smallest amount that is at least `percent` of the limit.
std::int64_t threshold(std::int64_t limit, std::int64_t percent) {
  return limit / 100 * percent + (limit % 100 * percent + 99) / 100;
}
/// How many thresholds `used` has reached; none where nothing is allowed.
std::uint8_t level(std::int64_t used, std::int64_t limit) {
  std::uint8_t reached = 0;
  while (limit > 0 && reached < thresholds.size() && used >= threshold(limit, thresholds[reached]))
    ++reached;
  return reached;
}
std::int64_t us_of(milliseconds ms) {
  return ms.count() > huge / 1000 ? huge : bounded(ms.count()) * 1000;
}

} // namespace

// --- scopes --------------------------------------------------------------------------------------------------------

std::optional<budget_ledger::scope_index> budget_ledger::find(const std::string& scope) const {
  auto it = names_.find(scope);
  return it == names_.end() ? std::nullopt : std::optional(it->second);
}

budget_ledger::scope_index budget_ledger::index_of(const std::string& scope) {
  auto [it, added] = names_.try_emplace(scope, static_cast<scope_index>(scopes_.size()));
  if (added)
    scopes_.emplace_back().name = scope;
  return it->second;
}

budget_ledger::scope_set budget_ledger::indices(const std::vector<std::string>& scopes) const {
  scope_set out;
  out.reserve(scopes.size());
  for (const auto& name : scopes)
    if (auto at = find(name))
      out.push_back(*at);
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

spend budget_ledger::room(const scope_state& s) {
  return bounded(limit_of(s.limit) - s.committed - s.reserved);
}

spend budget_ledger::room_if_settled(const scope_state& s) {
  return bounded(limit_of(s.limit) - s.committed);
}

/// `forced` is what stands above the limit; only `charge` and lower limits may make it grow.
void budget_ledger::measure_excess(scope_state& s, bool may_grow) {
  const spend excess = bounded(s.committed + s.reserved - limit_of(s.limit));
  TROUPE_ASSERT(may_grow || within(excess, s.forced));
  s.forced = excess;
}

ledger_changes budget_ledger::define(const std::string& scope, const limits& limit) {
  auto& s = scopes_[index_of(scope)];
  s.limit = limit;
  return limits_changed(s);
}

ledger_changes budget_ledger::raise(const std::string& scope, const limits& more) {
  auto& s = scopes_[index_of(scope)];
  if (s.limit.money && more.money)
    s.limit.money = usd{bounded(bounded(s.limit.money->micro) + bounded(more.money->micro))};
  if (s.limit.steps && more.steps)
    s.limit.steps = bounded(bounded(*s.limit.steps) + bounded(*more.steps));
  if (s.limit.time && more.time)
    s.limit.time = milliseconds(bounded(bounded(s.limit.time->count()) + bounded(more.time->count())));
  return limits_changed(s);
}

ledger_changes budget_ledger::start_period(const std::string& scope) {
  auto& s = scopes_[index_of(scope)];
  s.committed = {};
  return limits_changed(s);
}

ledger_changes budget_ledger::limits_changed(scope_state& s) {
  measure_excess(s, true);
  const spend limit = limit_of(s.limit);
  auto rearm = [&s](limit_kind kind, std::uint8_t now) {
    auto& told = s.warned[static_cast<std::size_t>(kind)];
    told = std::min(told, now);
  };
  rearm(limit_kind::money, level(s.committed.money.micro, limit.money.micro));
  rearm(limit_kind::steps, level(s.committed.steps, limit.steps));
  if (s.limit.time)
    rearm(limit_kind::time, level(s.clock_used.count(), us_of(*s.limit.time)));
  ledger_changes changes;
  refuse_impossible({static_cast<scope_index>(&s - scopes_.data())}, changes);
  advance(changes);
  return changes;
}

// --- reserving -----------------------------------------------------------------------------------------------------

reserve_answer budget_ledger::reserve(const std::string& id, const std::vector<std::string>& scopes, spend worst,
                                      std::optional<spend> least, time_point now) {
  if (auto it = entries_.find(id); it != entries_.end())
    return it->second.seq == 0 ? reserve_answer(budget_granted{it->second.amount}) : reserve_answer(budget_waiting{});
  entry e;
  e.scopes = indices(scopes);
  TROUPE_ASSERT(e.scopes.size() <= 64);
  e.worst = bounded(worst);
  e.least = least ? least_of(bounded(*least), e.worst) : e.worst;
  for (auto i : e.scopes)
    if (const auto& s = scopes_[i]; s.limit.time && used(s, now).count() >= us_of(*s.limit.time))
      return budget_refusal{s.name, limit_kind::time,
                            "the time limit of " + std::to_string(s.limit.time->count()) + " ms (" + s.name + ") is used up"};
  if (auto refused = impossible(e))
    return *refused;
  for (std::size_t bit = 0; bit < e.scopes.size(); ++bit)
    if (scopes_[e.scopes[bit]].claims > 0)
      e.claims |= std::uint64_t{1} << bit;
  const auto [fits, amount, crowded] = assess(e);
  if (e.claims == 0 && fits) {
    hold(e, amount);
    entries_.emplace(id, std::move(e));
    return budget_granted{amount};
  }
  e.claims |= crowded;
  if (waiting_ >= max_waiting_)
    return budget_refusal{scopes_[e.scopes.front()].name, limit_kind::money,
                          std::to_string(waiting_) + " requests wait for this budget already; try again later"};
  enqueue(*entries_.emplace(id, std::move(e)).first);
  return budget_waiting{};
}

/// Whether it can be granted now as far as the room goes, how much, and else (bits) which of its scopes are too full.
budget_ledger::assessment budget_ledger::assess(const entry& e) const {
  spend amount = e.worst;
  for (auto i : e.scopes)
    amount = least_of(amount, room_if_settled(scopes_[i])); // less than the worst case only where that can never fit again
  assessment out{true, amount, 0};
  for (std::size_t bit = 0; bit < e.scopes.size(); ++bit)
    if (!within(amount, room(scopes_[e.scopes[bit]]))) {
      out.fits = false;
      out.crowded |= std::uint64_t{1} << bit;
    }
  return out;
}

std::optional<budget_refusal> budget_ledger::too_small(const scope_state& s, spend least, usd told) {
  const spend left = room_if_settled(s);
  if (least.steps > left.steps)
    return budget_refusal{s.name, limit_kind::steps,
                          left.steps == 0 ? "the limit of " + std::to_string(bounded(*s.limit.steps)) + " steps (" + s.name + ") is used up"
                                          : "the limit of " + std::to_string(bounded(*s.limit.steps)) + " steps (" + s.name + ") has "
                                                + std::to_string(left.steps) + " left and " + std::to_string(least.steps) + " are needed"};
  if (least.money > left.money)
    return budget_refusal{s.name, limit_kind::money,
                          "the budget of " + to_string(limit_of(s.limit).money) + " (" + s.name + ") has " + to_string(left.money)
                              + " left and the next step could cost " + to_string(told)};
  return std::nullopt;
}

std::optional<budget_refusal> budget_ledger::impossible(const entry& e) const {
  for (auto i : e.scopes)
    if (auto refused = too_small(scopes_[i], e.least, e.least.money))
      return refused;
  return std::nullopt;
}

std::optional<budget_refusal> budget_ledger::stands_in_the_way(const std::vector<std::string>& scopes, spend worst, spend least) const {
  const auto asked = bounded(worst);
  for (const auto& name : scopes)
    if (const auto at = find(name))
      if (auto refused = too_small(scopes_[*at], least_of(bounded(least), asked), asked.money))
        return refused;
  return std::nullopt;
}

void budget_ledger::hold(entry& e, spend amount) {
  for (auto i : e.scopes) {
    auto& s = scopes_[i];
    TROUPE_ASSERT(within(amount, room(s)));
    s.reserved = s.reserved + amount;
  }
  e.amount = amount;
}

/// Takes `less` out of what is held.
void budget_ledger::unhold(entry& e, spend less) {
  for (auto i : e.scopes) {
    auto& s = scopes_[i];
    TROUPE_ASSERT(within(less, s.reserved));
    s.reserved = s.reserved - less;
    measure_excess(s, false);
  }
  e.amount = e.amount - less;
}

// --- the line ------------------------------------------------------------------------------------------------------

void budget_ledger::count_claims(const entry& e, bool add) {
  for (std::size_t bit = 0; bit < e.scopes.size(); ++bit)
    if ((e.claims >> bit & 1U) != 0)
      scopes_[e.scopes[bit]].claims += add ? 1U : ~0U;
}

void budget_ledger::enqueue(entries::value_type& node) {
  auto& e = node.second;
  e.seq = ++last_seq_;
  ++waiting_;
  by_seq_.emplace(e.seq, &node);
  for (auto i : e.scopes) {
    scopes_[i].waiting_money.emplace(e.least.money.micro, e.seq);
    scopes_[i].waiting_steps.emplace(e.least.steps, e.seq);
  }
  auto& queue = lines_[e.scopes].queue;
  queue.emplace_hint(queue.end(), e.seq, &node);
  if (queue.size() == 1)
    count_claims(e, true);
}

void budget_ledger::dequeue(entries::value_type& node) {
  auto& e = node.second;
  auto at = lines_.find(e.scopes);
  auto& queue = at->second.queue;
  const bool head = queue.begin()->first == e.seq;
  queue.erase(e.seq);
  if (head)
    count_claims(e, false);
  if (queue.empty())
    lines_.erase(at);
  else if (head)
    count_claims(queue.begin()->second->second, true);
  for (auto i : e.scopes) {
    scopes_[i].waiting_money.erase({e.least.money.micro, e.seq});
    scopes_[i].waiting_steps.erase({e.least.steps, e.seq});
  }
  by_seq_.erase(e.seq);
  e.seq = 0;
  e.claims = 0;
  --waiting_;
}

/// Those who can never fit any more need not wait.
void budget_ledger::refuse_impossible(const scope_set& scopes, ledger_changes& changes) {
  auto refuse = [&](sequence seq) {
    auto& node = *by_seq_.at(seq);
    auto why = impossible(node.second);
    TROUPE_ASSERT(why.has_value());
    dequeue(node);
    changes.refused.emplace_back(node.first, std::move(*why));
    entries_.erase(entries_.find(node.first));
  };
  for (auto i : scopes) {
    const auto& s = scopes_[i];
    const spend left = room_if_settled(s);
    while (!s.waiting_money.empty() && s.waiting_money.rbegin()->first > left.money.micro)
      refuse(s.waiting_money.rbegin()->second);
    while (!s.waiting_steps.empty() && s.waiting_steps.rbegin()->first > left.steps)
      refuse(s.waiting_steps.rbegin()->second);
  }
}

/// Grants what fits, in the order of the line. Only the heads of lines with different scopes have to be looked at: who needs the
/// same scopes as an earlier one waits behind it.
void budget_ledger::advance(ledger_changes& changes) {
  if (waiting_ == 0)
    return;
  using candidate = std::pair<sequence, line*>;
  std::priority_queue<candidate, std::vector<candidate>, std::greater<>> heads;
  for (auto& [scopes, l] : lines_)
    heads.emplace(l.queue.begin()->first, &l);
  std::vector<bool> claimed(scopes_.size()); // by an earlier one that goes on waiting
  while (!heads.empty()) {
    auto* l = heads.top().second;
    heads.pop();
    auto& node = *l->queue.begin()->second;
    auto& e = node.second;
    const auto [fits, amount, crowded] = assess(e);
    std::uint64_t blocked = crowded;
    for (std::size_t bit = 0; bit < e.scopes.size(); ++bit)
      if (claimed[e.scopes[bit]])
        blocked |= std::uint64_t{1} << bit;
    if (blocked != 0) {
      count_claims(e, false);
      e.claims |= blocked;
      count_claims(e, true);
      for (std::size_t bit = 0; bit < e.scopes.size(); ++bit)
        if ((e.claims >> bit & 1U) != 0)
          claimed[e.scopes[bit]] = true;
      continue;
    }
    const bool more = l->queue.size() > 1;
    dequeue(node);
    hold(e, amount);
    changes.granted.emplace_back(node.first, budget_granted{amount});
    if (more)
      heads.emplace(l->queue.begin()->first, l);
  }
}

// --- settling ------------------------------------------------------------------------------------------------------

ledger_changes budget_ledger::settle(const std::string& id, spend actual) {
  return finish(id, actual);
}

ledger_changes budget_ledger::settle_worst_case(const std::string& id) {
  return finish(id, std::nullopt);
}

ledger_changes budget_ledger::release(const std::string& id) {
  return finish(id, spend{});
}

ledger_changes budget_ledger::finish(const std::string& id, std::optional<spend> actual) {
  ledger_changes changes;
  auto it = entries_.find(id);
  if (it == entries_.end()) {
    changes.known = false;
    return changes;
  }
  auto& e = it->second;
  if (e.seq != 0) {
    changes.clamped = actual.value_or(spend{}) != spend{};
    dequeue(*it);
    entries_.erase(it);
    advance(changes);
    return changes;
  }
  const spend held = e.amount;
  spend cost = actual.value_or(held);
  if (cost.money.micro < 0 || cost.money > held.money) {
    cost.money = held.money;
    changes.clamped = true;
  }
  if (cost.steps < 0 || cost.steps > held.steps) {
    cost.steps = held.steps;
    changes.clamped = true;
  }
  for (auto i : e.scopes) {
    auto& s = scopes_[i];
    s.reserved = s.reserved - held;
    s.committed = s.committed + cost; // not more than was held: the sum does not grow
    measure_excess(s, false);
    warn(s, changes);
  }
  const scope_set scopes = std::move(e.scopes);
  entries_.erase(it);
  if (cost != spend{})
    refuse_impossible(scopes, changes);
  advance(changes);
  return changes;
}

void budget_ledger::warn(scope_state& s, ledger_changes& changes) {
  const spend limit = limit_of(s.limit);
  auto tell = [&](limit_kind kind, std::uint8_t reached) {
    for (auto& told = s.warned[static_cast<std::size_t>(kind)]; told < reached; ++told)
      changes.warnings.push_back({s.name, kind, thresholds[told]});
  };
  if (s.limit.money)
    tell(limit_kind::money, level(s.committed.money.micro, limit.money.micro));
  if (s.limit.steps)
    tell(limit_kind::steps, level(s.committed.steps, limit.steps));
}

ledger_changes budget_ledger::cancel_waiting(const std::string& id) {
  ledger_changes changes;
  auto it = entries_.find(id);
  if (it == entries_.end() || it->second.seq == 0) {
    changes.known = false;
    return changes;
  }
  dequeue(*it);
  entries_.erase(it);
  advance(changes);
  return changes;
}

ledger_changes budget_ledger::reduce(const std::string& id, spend amount) {
  ledger_changes changes;
  auto it = entries_.find(id);
  if (it == entries_.end() || it->second.seq != 0) {
    changes.known = false;
    return changes;
  }
  auto& e = it->second;
  unhold(e, e.amount - least_of(e.amount, bounded(amount)));
  advance(changes);
  return changes;
}

ledger_changes budget_ledger::charge(const std::vector<std::string>& scopes, spend spent) {
  ledger_changes changes;
  const auto at = indices(scopes);
  for (auto i : at) {
    auto& s = scopes_[i];
    s.committed = bounded(s.committed + bounded(spent));
    measure_excess(s, true);
    warn(s, changes);
  }
  refuse_impossible(at, changes);
  advance(changes);
  return changes;
}

// --- time ----------------------------------------------------------------------------------------------------------

microseconds budget_ledger::used(const scope_state& s, time_point now) {
  auto running = microseconds{0};
  if (s.clock_started)
    running = std::max(running, std::chrono::duration_cast<microseconds>(now - *s.clock_started));
  return s.clock_used + running;
}

void budget_ledger::start_clock(const std::string& scope, time_point now, milliseconds used_before) {
  auto& s = scopes_[index_of(scope)];
  if (s.clock_started)
    return;
  s.clock_started = now;
  s.clock_used += microseconds(us_of(used_before));
}

void budget_ledger::pause_clock(const std::string& scope, time_point now) {
  auto at = find(scope);
  if (!at || !scopes_[*at].clock_started)
    return;
  auto& s = scopes_[*at];
  s.clock_used = used(s, now);
  s.clock_started.reset();
}

std::optional<milliseconds> budget_ledger::time_left(const std::vector<std::string>& scopes, time_point now) const {
  std::optional<milliseconds> left;
  for (auto i : indices(scopes))
    if (const auto& s = scopes_[i]; s.limit.time) {
      const auto here = std::max(milliseconds{0}, *s.limit.time - std::chrono::ceil<milliseconds>(used(s, now)));
      left = left ? std::min(*left, here) : here;
    }
  return left;
}

milliseconds budget_ledger::time_used(const std::string& scope, time_point now) const {
  auto at = find(scope);
  return at ? std::chrono::duration_cast<milliseconds>(used(scopes_[*at], now)) : milliseconds{0};
}

std::vector<budget_warned> budget_ledger::time_warnings(time_point now) {
  std::vector<budget_warned> out;
  for (auto& s : scopes_) {
    if (!s.limit.time)
      continue;
    const auto reached = level(used(s, now).count(), us_of(*s.limit.time));
    for (auto& told = s.warned[static_cast<std::size_t>(limit_kind::time)]; told < reached; ++told)
      out.push_back({s.name, limit_kind::time, thresholds[told]});
  }
  return out;
}

std::optional<milliseconds> budget_ledger::next_time_warning(time_point now) const {
  std::optional<milliseconds> next;
  for (const auto& s : scopes_) {
    const auto told = s.warned[static_cast<std::size_t>(limit_kind::time)];
    if (!s.limit.time || s.limit.time->count() <= 0 || !s.clock_started || told >= thresholds.size())
      continue;
    const microseconds due{threshold(us_of(*s.limit.time), thresholds[told])};
    const auto wait = std::max(milliseconds{0}, std::chrono::ceil<milliseconds>(due - used(s, now)));
    next = next ? std::min(*next, wait) : wait;
  }
  return next;
}

// --- looking -------------------------------------------------------------------------------------------------------

spend budget_ledger::left_now(const std::vector<std::string>& scopes) const {
  spend left{{huge}, huge};
  for (auto i : indices(scopes))
    left = least_of(left, room(scopes_[i]));
  return left;
}

spend budget_ledger::left_if_all_settle(const std::vector<std::string>& scopes) const {
  spend left{{huge}, huge};
  for (auto i : indices(scopes))
    left = least_of(left, room_if_settled(scopes_[i]));
  return left;
}

std::vector<scope_usage> budget_ledger::usage(time_point now) const {
  std::vector<scope_usage> out;
  out.reserve(scopes_.size());
  for (const auto& s : scopes_)
    out.push_back({s.name, s.limit, s.committed, s.reserved, std::chrono::duration_cast<milliseconds>(used(s, now))});
  return out;
}

void budget_ledger::check() const {
  std::vector<spend> reserved(scopes_.size());
  std::size_t waiting = 0, in_lines = 0;
  for (const auto& [id, e] : entries_) {
    waiting += e.seq != 0 ? 1 : 0;
    TROUPE_ASSERT(e.seq == 0 || e.amount == spend{});
    for (auto i : e.scopes)
      reserved[i] = reserved[i] + e.amount;
  }
  for (const auto& [scopes, l] : lines_) {
    TROUPE_ASSERT(!l.queue.empty());
    TROUPE_ASSERT(l.queue.begin()->second->second.claims != 0); // who waits first in its line waits for something
    in_lines += l.queue.size();
  }
  TROUPE_ASSERT(waiting == waiting_ && in_lines == waiting_ && by_seq_.size() == waiting_);
  for (std::size_t i = 0; i < scopes_.size(); ++i) {
    const auto& s = scopes_[i];
    TROUPE_ASSERT(s.reserved == reserved[i]);
    TROUPE_ASSERT(within(s.committed + s.reserved, limit_of(s.limit) + s.forced));
  }
}

} // namespace troupe::policy
