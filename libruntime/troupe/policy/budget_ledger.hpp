#pragma once
// Budgets (SEMANTICS 3): reserve, then spend. A ledger holds the scopes of one guard; guards form a chain run -> tenant -> process.
//
//   reserve ──► granted ──► settle (actual is committed, the rest is free again) | settle_worst_case | release
//      │  └───► waiting ──► granted | refused, told by whatever later call made it so | cancel_waiting
//      └──────► refused
//
// Invariant at every instant, in every scope: committed + reserved <= limit. (Only `charge`, which tells of money that is gone
// already, can lift committed above a limit.)
//
// Chain. A guard reserves in its own ledger first; once that grants, it asks its parent for the granted amount, and so on upward;
// a refusal above is answered by `release` below, a smaller grant above by `reduce` below: in the whole chain or nowhere. A guard
// holds its own part while it waits for its parent. Everybody asks in the same order, upward, and what is held at the top is a
// call in flight that ends, so that no circle of waiting can arise.
//
// Waiting. What does not fit now, but could once others settle, waits in line. Nobody overtakes in a scope for which an earlier
// one waits: once a scope has been too full for a waiter, that waiter keeps its claim on the scope until it leaves the line, and
// later ones that need this scope queue behind it. So the big one is not starved by small ones, and who shares no contended scope
// with a waiter is not delayed by it. What could not fit even if all that is held were released unspent is refused at once, also
// while it waits.
//
// Less than asked. `least` is the smallest useful amount (the request with max_tokens lowered to 256). Waiting comes before
// lowering: only when the worst case can never fit again, and `least` still can, the ledger grants what is left, once nobody else
// holds anything in the scopes that are too small. The gateway then lowers max_tokens to the granted amount.
//
// Cost: O(scopes of the reservation) for each call, plus O(log waiting + distinct scope sets that wait) where somebody waits.

#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "troupe/model/event.hpp"
#include "troupe/policy/moment.hpp"

namespace troupe::policy {

/// What is left where there is no limit; also the largest amount that is counted.
inline constexpr std::int64_t budget_unlimited = std::numeric_limits<std::int64_t>::max() / 2;

/// Why money, steps or time were not given. `message` says which limit, what is left and what was needed.
struct budget_refusal {
  std::string scope;
  limit_kind kind = limit_kind::money;
  std::string message;
  friend bool operator==(const budget_refusal&, const budget_refusal&) = default;
};

struct budget_granted {
  spend amount; ///< the worst case, or less where `least` allowed it
  friend bool operator==(const budget_granted&, const budget_granted&) = default;
};
struct budget_waiting {
  friend bool operator==(const budget_waiting&, const budget_waiting&) = default;
};
using reserve_answer = std::variant<budget_granted, budget_waiting, budget_refusal>;

/// What a call changed for others. The guard tells those who waited, and records the warnings.
struct ledger_changes {
  bool known = true;    ///< false: no such reservation (it settled before, or never was): nothing changed
  bool clamped = false; ///< `actual` was more than was held, or negative: the worst case was committed
  std::vector<std::pair<std::string, budget_granted>> granted; ///< waiters, in the order of their line
  std::vector<std::pair<std::string, budget_refusal>> refused; ///< waiters that can never fit any more
  std::vector<budget_warned> warnings;                         ///< 50, 80, 95 % of a limit: each once a scope and kind
};

/// One scope, for the API and for reports.
struct scope_usage {
  std::string scope;
  limits limit;
  spend committed;
  spend reserved;
  milliseconds time_used{0};
};

class budget_ledger {
public:
  /// `max_waiting`: a longer line is refused instead of growing without bound.
  explicit budget_ledger(std::size_t max_waiting = 100'000) : max_waiting_(max_waiting) {}

  /// Adds a scope ("run", "task research", "agent writer", "tenant acme", "process") or replaces the limits of one that is there,
  /// e.g. for a tenant's next period (see `start_period`). Negative limits count as zero. A scope that was never defined is
  /// unlimited.
  ledger_changes define(const std::string& scope, const limits& limit);

  /// Sets the worst case of one request aside in all `scopes`, or in none. `id` names it in all later calls; asking again with an
  /// id that is held or waits changes nothing and answers how it stands. At most 64 scopes. Negative amounts count as zero.
  /// `least`: see above; absent: the worst case. Refuses at once when the time of one of the scopes has run out.
  reserve_answer reserve(const std::string& id, const std::vector<std::string>& scopes, spend worst, std::optional<spend> least,
                         time_point now);

  /// The response came: commits what was really spent and frees the rest. More than was held cannot be spent without overshooting:
  /// then the amount that was held is committed, and `clamped` says so.
  ledger_changes settle(const std::string& id, spend actual);
  /// Nobody knows the outcome (crash, kill, time-out after sending): commits all that was held.
  ledger_changes settle_worst_case(const std::string& id);
  /// Nothing was sent: frees all that was held, or leaves the line.
  ledger_changes release(const std::string& id);
  /// Leaves the line; what is granted already stays. `known` is false when it was not waiting.
  ledger_changes cancel_waiting(const std::string& id);
  /// A parent granted less: keeps only this much of what is held. A larger amount changes nothing.
  ledger_changes reduce(const std::string& id, spend amount);

  /// Already spent, by an earlier owner of the run or by a run that was taken up: committed without asking, even above a limit.
  ledger_changes charge(const std::vector<std::string>& scopes, spend spent);
  /// Adds to the limits of a scope (`resume --add-usd`); an unlimited kind stays so. Warnings above the new level may come again.
  ledger_changes raise(const std::string& scope, const limits& more);
  /// A tenant's next period: forgets what was committed; what is held stays held.
  ledger_changes start_period(const std::string& scope);

  /// The time limit of a scope runs from here, with `used_before` by earlier owners (monotonic time, summed over owners). Again:
  /// no effect while it runs.
  void start_clock(const std::string& scope, time_point now, milliseconds used_before = milliseconds{0});
  /// Stops it (`pause_clock: true` of a checkpoint); `start_clock` goes on.
  void pause_clock(const std::string& scope, time_point now);
  /// The least time left in these scopes, never negative; absent: unlimited. To end a run is its orchestrator's job.
  std::optional<milliseconds> time_left(const std::vector<std::string>& scopes, time_point now) const;
  milliseconds time_used(const std::string& scope, time_point now) const;
  /// Warnings of time limits that are due, each once; and when to ask again (absent: never).
  std::vector<budget_warned> time_warnings(time_point now);
  std::optional<milliseconds> next_time_warning(time_point now) const;

  /// Left in all of these scopes: now, and if all that is held were released unspent. `budget_unlimited` where nothing limits it.
  spend left_now(const std::vector<std::string>& scopes) const;
  spend left_if_all_settle(const std::vector<std::string>& scopes) const;
  /// Which limit stands in the way of a request for good, though it be lowered to `least`: the first of `scopes` (innermost first) that has
  /// not that much left. `worst` is what was asked for, and is told. Nothing: lowered, it may be asked for again.
  std::optional<budget_refusal> stands_in_the_way(const std::vector<std::string>& scopes, spend worst, spend least) const;

  std::vector<scope_usage> usage(time_point now) const;
  std::size_t held() const { return entries_.size() - waiting_; }
  std::size_t waiting() const { return waiting_; }

  /// Throws `assertion_failure` unless the invariant holds and the sums agree with the reservations. For tests; O(everything).
  void check() const;

private:
  using scope_index = std::uint32_t;
  using scope_set = std::vector<scope_index>; // sorted, without duplicates
  using sequence = std::uint64_t;

  struct scope_state {
    std::string name;
    limits limit;
    spend committed;
    spend reserved;
    spend forced;                       // by how much committed + reserved stand above the limit: only `charge` and lower limits do that
    std::uint8_t warned[3] = {0, 0, 0}; // by kind: how many of the thresholds were told
    std::uint32_t claims = 0;           // heads of lines that claim this scope
    std::optional<time_point> clock_started; // running since
    microseconds clock_used{0};
    std::set<std::pair<std::int64_t, sequence>> waiting_money; // least money of those who wait here
    std::set<std::pair<std::int64_t, sequence>> waiting_steps;
  };
  struct entry {
    scope_set scopes;
    spend worst;
    spend least;
    spend amount;             // held; nothing while it waits
    sequence seq = 0;         // 0: not waiting
    std::uint64_t claims = 0; // bit i: it has been too long for scopes[i]
  };
  using entries = std::unordered_map<std::string, entry>;
  struct line {
    std::map<sequence, entries::value_type*> queue; // the map's nodes do not move
  };
  struct assessment {
    bool fits;
    spend amount;
    std::uint64_t crowded;
  };

  scope_index index_of(const std::string& scope);
  std::optional<scope_index> find(const std::string& scope) const;
  scope_set indices(const std::vector<std::string>& scopes) const;
  static spend room(const scope_state& s);
  static spend room_if_settled(const scope_state& s);
  static microseconds used(const scope_state& s, time_point now);
  static void measure_excess(scope_state& s, bool may_grow);
  static void warn(scope_state& s, ledger_changes& changes);
  assessment assess(const entry& e) const;
  std::optional<budget_refusal> impossible(const entry& e) const;
  static std::optional<budget_refusal> too_small(const scope_state& s, spend least, usd told);
  void hold(entry& e, spend amount);
  void unhold(entry& e, spend less);
  void enqueue(entries::value_type& node);
  void dequeue(entries::value_type& node);
  void count_claims(const entry& e, bool add);
  void refuse_impossible(const scope_set& scopes, ledger_changes& changes);
  void advance(ledger_changes& changes);
  ledger_changes limits_changed(scope_state& s);
  ledger_changes finish(const std::string& id, std::optional<spend> actual);

  std::size_t max_waiting_;
  std::size_t waiting_ = 0;
  sequence last_seq_ = 0;
  std::vector<scope_state> scopes_;
  std::unordered_map<std::string, scope_index> names_;
  entries entries_;
  std::map<scope_set, line> lines_;
  std::unordered_map<sequence, entries::value_type*> by_seq_;
};

} // namespace troupe::policy
