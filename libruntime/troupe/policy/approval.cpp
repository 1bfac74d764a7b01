#include "troupe/policy/approval.hpp"

#include <algorithm>

#include "troupe/model/described.hpp"

namespace troupe::policy {

std::int64_t approvals_needed(const checkpoint_spec& checkpoint, risk how_bad) {
  const auto found = checkpoint.approvals.find(name_of(how_bad));
  return found == checkpoint.approvals.end() ? 1 : std::max<std::int64_t>(0, found->second);
}

} // namespace troupe::policy
