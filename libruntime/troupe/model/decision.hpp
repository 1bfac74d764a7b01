#pragma once
// Decisions about what waits for a human, as they come in and are kept.

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "troupe/model/error.hpp"

namespace troupe {

/// A human's (or the deadline's) decision about an approval, as it came in. `body` is the JSON of a policy::approval_decision.
struct decision_row {
  std::int64_t id = 0; ///< their order
  std::string run_id;
  std::string approval_id;
  std::string body;
  std::int64_t time_us = 0;
};
/// Sees the decisions about the same approval that were admitted before, in order; nothing comes between.
using admit_decision = std::function<expected<void>(const std::vector<decision_row>& earlier)>;

} // namespace troupe
