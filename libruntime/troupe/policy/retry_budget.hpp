#pragma once
// The retry budget of one provider (SEMANTICS 1; Finagle's RetryBudget): in an outage the retries of all calls together stay a tenth of
// the load, however many calls there are.

#include <cstdint>

namespace troupe::policy {

/// A token bucket: every call adds 0.1, every retry takes 1, full at 10 and full at the start. Kept in tenths: no rounding.
class retry_budget {
public:
  /// A step turns to this provider for the first time. Its retries and fail-overs to other models of the provider add nothing.
  void add_call() { tenths_ = tenths_ < full_tenths ? tenths_ + 1 : full_tenths; }

  /// Takes one retry; false: the budget is empty, fail over.
  [[nodiscard]] bool take_retry() {
    if (tenths_ < retry_tenths)
      return false;
    tenths_ -= retry_tenths;
    return true;
  }

  double tokens() const { return static_cast<double>(tenths_) / 10; }

private:
  static constexpr std::int64_t full_tenths = 100;
  static constexpr std::int64_t retry_tenths = 10;
  std::int64_t tenths_ = full_tenths;
};

} // namespace troupe::policy
