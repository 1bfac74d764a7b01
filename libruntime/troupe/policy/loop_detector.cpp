#include "troupe/policy/loop_detector.hpp"

#include <algorithm>

namespace troupe::policy {

namespace {

constexpr std::size_t rounds = 3;
constexpr std::size_t period_max = 4;
/// Tools, and calls of polling tools, that are watched at once: a model may invent names without end.
constexpr std::size_t watched_max = 32;

/// The same as far as is known; what was refused says nothing of the world.
bool agree(const observed_result& a, bool a_known, const observed_result& b, bool b_known) {
  return !a_known || !b_known || !a.ran || !b.ran || a.outcome == b.outcome;
}

} // namespace

void loop_detector::begin_step() {
  step_.clear();
  step_begin_ = gone_ + calls_.size();
  ++steps_;
}

std::optional<loop_found> loop_detector::call(const observed_call& asked) {
  const auto place = step_.size();
  step_.push_back(asked);
  const auto kept = std::max<std::size_t>(static_cast<std::size_t>(std::max<std::int64_t>(rules_.window, 1)), rounds * period_max);
  while (calls_.size() >= kept) {
    calls_.erase(calls_.begin());
    ++gone_;
  }
  calls_.push_back({asked, {}, false, true});
  if (auto found = judge_repeat(asked, place))
    return found;
  return judge_cycle(place);
}

std::optional<loop_found> loop_detector::judge_repeat(const observed_call& asked, std::size_t place) {
  if (asked.polling) {
    const auto known = std::find_if(polls_.begin(), polls_.end(), [&](const poll& each) { return each.sign == asked.sign; });
    if (known == polls_.end() || known->count + 1 < rules_.polls)
      return std::nullopt;
    return loop_found{loop_kind::repeat, place, known->count + 1, true};
  }
  const auto window = static_cast<std::size_t>(std::max<std::int64_t>(rules_.window, 1));
  const auto first = calls_.size() > window ? calls_.size() - window : 0;
  std::int64_t count = 0;
  bool same = true;
  const entry* earlier = nullptr;
  for (std::size_t i = first; i < calls_.size(); ++i) {
    const auto& each = calls_[i];
    if (!each.counts || each.asked.sign != asked.sign)
      continue;
    ++count;
    if (i + 1 == calls_.size())
      break;
    if (!each.known)
      same = same && gone_ + i < step_begin_; // of an earlier response: it never ran
    else if (each.came.ran) {
      same = same && (!earlier || earlier->came.outcome == each.came.outcome);
      earlier = &each;
    }
  }
  if (count < rules_.repeats)
    return std::nullopt;
  return loop_found{loop_kind::repeat, place, count, same};
}

std::optional<loop_found> loop_detector::judge_cycle(std::size_t place) const {
  for (std::size_t period = 2; period <= period_max; ++period)
    if (goes_round(period))
      return loop_found{loop_kind::cycle, place, rounds, true};
  return std::nullopt;
}

bool loop_detector::goes_round(std::size_t period) const {
  const auto length = rounds * period;
  if (calls_.size() < length)
    return false;
  const auto from = calls_.size() - length;
  for (std::size_t i = from + period; i < calls_.size(); ++i)
    if (calls_[i].asked.sign != calls_[i - period].asked.sign)
      return false;
  for (std::size_t i = from; i < from + period; ++i) {
    if (calls_[i].asked.polling)
      return false;
    for (std::size_t j = i + 1; j < from + period; ++j)
      if (calls_[i].asked.sign == calls_[j].asked.sign)
        return false;
  }
  for (std::size_t i = from + period; i < calls_.size(); ++i)
    if (!agree(calls_[i].came, calls_[i].known, calls_[i - period].came, calls_[i - period].known))
      return false;
  return true;
}

/// A call that changes something succeeded: what was asked before may be answered otherwise now.
void loop_detector::written(const entry& by) {
  const auto sign = by.asked.sign;
  bool again = false;
  for (auto& each : calls_) {
    if (each.asked.sign != sign)
      each.counts = false;
    else if (&each != &by)
      again = true;
  }
  std::erase_if(polls_, [&](const poll& each) { return each.sign != sign; });
  if (!again) // to write the same once more is no progress
    streaks_.clear();
}

std::optional<loop_found> loop_detector::result(std::size_t place, const observed_result& came) {
  if (place >= step_.size() || came.outcome == 0)
    return std::nullopt;
  const auto asked = step_[place];
  if (came.ran)
    said_.clear();
  if (asked.polling) {
    if (!came.ran)
      return std::nullopt;
    auto known = std::find_if(polls_.begin(), polls_.end(), [&](const poll& each) { return each.sign == asked.sign; });
    if (known == polls_.end()) {
      if (polls_.size() == watched_max)
        polls_.erase(polls_.begin());
      known = polls_.insert(polls_.end(), poll{asked.sign, came.outcome, 0});
    }
    known->count = known->outcome == came.outcome ? known->count + 1 : 1;
    known->outcome = came.outcome;
  }
  if (const auto number = step_begin_ + place; number >= gone_) {
    auto& mine = calls_[number - gone_];
    mine.came = came;
    mine.known = true;
    if (came.ran && came.succeeded && !asked.reads && !asked.polling && !asked.idle)
      written(mine);
  }
  return count_outcome(place, asked, came);
}

loop_detector::streak* loop_detector::find_streak(std::uint64_t tool, bool ran) {
  for (auto& each : streaks_)
    if (each.tool == tool && each.ran == ran)
      return &each;
  return nullptr;
}

bool loop_detector::was_found(const streak* which) const {
  return which && which->count >= rules_.same_outcomes
         && steps_ - which->step <= static_cast<std::uint64_t>(std::max<std::int64_t>(rules_.window, 1));
}

std::optional<loop_found> loop_detector::count_outcome(std::size_t place, const observed_call& asked, const observed_result& came) {
  if (asked.polling || (came.ran && !asked.reads))
    return std::nullopt;
  if (came.ran) // it got through: whatever was refused before is over
    std::erase_if(streaks_, [&](const streak& each) { return each.tool == asked.tool && !each.ran; });
  const bool is_taken = asked.taken && !came.ran;
  auto* mine = find_streak(asked.tool, true);
  if (!came.ran && !(is_taken && was_found(mine)))
    mine = find_streak(asked.tool, false);
  const bool goes_on = is_taken && was_found(mine); // what the tool was taken away for: a refusal resets no streak
  if (came.ran && came.hollow) {
    if (mine)
      mine->count = 0;
    return std::nullopt;
  }
  if (!mine) {
    if (streaks_.size() == watched_max)
      streaks_.erase(streaks_.begin());
    mine = &streaks_.emplace_back(streak{.tool = asked.tool, .ran = came.ran});
  }
  if (!goes_on && (mine->count == 0 || mine->outcome != came.outcome)) {
    mine->outcome = came.outcome;
    mine->count = 0;
    mine->signs.fill(0);
  } else if (mine->step == steps_) {
    return std::nullopt; // a fan-out: nobody had seen the other outcomes
  }
  if (!goes_on && std::find(mine->signs.begin(), mine->signs.end(), asked.sign) != mine->signs.end())
    return std::nullopt;
  mine->signs[static_cast<std::size_t>(mine->count) % mine->signs.size()] = asked.sign;
  mine->step = steps_;
  if (++mine->count < rules_.same_outcomes)
    return std::nullopt;
  return loop_found{loop_kind::no_progress, place, mine->count, true};
}

bool loop_detector::waits_for_results() const {
  for (const auto& each : streaks_)
    if (each.count + 1 >= rules_.same_outcomes)
      for (const auto& asked : step_)
        if (asked.tool == each.tool)
          return true;
  return false;
}

std::optional<loop_found> loop_detector::said(const text_sketch& text, std::uint64_t reply) {
  const auto before = static_cast<std::size_t>(std::max<std::int64_t>(rules_.monologue, 2) - 1);
  const bool same =
      said_.size() >= before && std::all_of(said_.end() - static_cast<std::ptrdiff_t>(before), said_.end(), [&](const message& each) {
        return each.reply == reply && similarity(each.text, text) >= rules_.similarity;
      });
  said_.push_back({text, reply});
  if (said_.size() > before)
    said_.erase(said_.begin());
  if (!same)
    return std::nullopt;
  return loop_found{loop_kind::monologue, 0, rules_.monologue, true};
}

} // namespace troupe::policy
