#include "troupe/policy/circuit_breaker.hpp"

#include <algorithm>
#include <utility>

namespace troupe::policy {

breaker_permit::breaker_permit(breaker_permit&& other) noexcept
    : breaker_(std::exchange(other.breaker_, nullptr)), generation_(other.generation_) {}

breaker_permit& breaker_permit::operator=(breaker_permit&& other) noexcept {
  if (this != &other) {
    abandoned();
    breaker_ = std::exchange(other.breaker_, nullptr);
    generation_ = other.generation_;
  }
  return *this;
}

breaker_permit::~breaker_permit() {
  abandoned();
}

std::optional<breaker_state> breaker_permit::succeeded(time_point now) {
  auto* const breaker = std::exchange(breaker_, nullptr);
  return breaker ? breaker->settle(generation_, true, now) : std::nullopt;
}

std::optional<breaker_state> breaker_permit::failed(time_point now) {
  auto* const breaker = std::exchange(breaker_, nullptr);
  return breaker ? breaker->settle(generation_, false, now) : std::nullopt;
}

void breaker_permit::abandoned() {
  if (auto* const breaker = std::exchange(breaker_, nullptr))
    breaker->abandon(generation_);
}

breaker_state circuit_breaker::state(time_point now) const {
  return state_ == breaker_state::open && now >= open_until_ ? breaker_state::half_open : state_;
}

bool circuit_breaker::admits(time_point now) const {
  return state(now) != breaker_state::open && !probing_;
}

time_point circuit_breaker::next_probe(time_point now) const {
  if (admits(now))
    return now;
  return probing_ ? now + spec_.open_for : open_until_;
}

circuit_breaker::admission circuit_breaker::acquire(time_point now) {
  if (!admits(now))
    return {};
  admission result;
  if (state_ == breaker_state::open) {
    enter(breaker_state::half_open);
    result.changed = state_;
  }
  probing_ = state_ == breaker_state::half_open;
  result.permit = breaker_permit(*this, generation_);
  return result;
}

std::optional<breaker_state> circuit_breaker::settle(std::uint64_t generation, bool success, time_point now) {
  if (generation != generation_)
    return std::nullopt;
  if (state_ == breaker_state::half_open) {
    enter(success ? breaker_state::closed : breaker_state::open);
  } else {
    count(success, now);
    in_a_row_ = success ? 0 : in_a_row_ + 1;
    std::int64_t calls = 0, failures = 0;
    const auto second_now = std::chrono::floor<std::chrono::seconds>(now.time_since_epoch()).count();
    for (const auto& one : seconds_)
      if (one.calls > 0 && second_now - one.at < window.count()) {
        calls += one.calls;
        failures += one.failures;
      }
    if (in_a_row_ < std::max<std::int64_t>(spec_.failures, 1) && !(calls >= window_calls_min && failures * 2 >= calls))
      return std::nullopt;
    enter(breaker_state::open);
  }
  if (state_ == breaker_state::open)
    open_until_ = now + spec_.open_for;
  return state_;
}

void circuit_breaker::abandon(std::uint64_t generation) {
  if (generation == generation_)
    probing_ = false;
}

void circuit_breaker::enter(breaker_state state) {
  state_ = state;
  ++generation_;
  probing_ = false;
  in_a_row_ = 0;
  seconds_ = {};
}

void circuit_breaker::count(bool success, time_point now) {
  const auto at = std::chrono::floor<std::chrono::seconds>(now.time_since_epoch()).count();
  auto& slot = seconds_[static_cast<std::size_t>((at % window.count() + window.count()) % window.count())];
  if (slot.calls == 0 || slot.at != at)
    slot = {at, 0, 0};
  ++slot.calls;
  slot.failures += success ? 0 : 1;
}

} // namespace troupe::policy
