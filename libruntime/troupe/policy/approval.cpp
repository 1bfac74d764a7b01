#include "troupe/policy/approval.hpp"

#include <algorithm>

#include "troupe/model/described.hpp"
#include "troupe/util/suggest.hpp"

namespace troupe::policy {

std::int64_t approvals_needed(const checkpoint_spec& checkpoint, risk how_bad) {
  const auto found = checkpoint.approvals.find(name_of(how_bad));
  return found == checkpoint.approvals.end() ? 1 : std::max<std::int64_t>(0, found->second);
}

std::string rejected_text(const std::string& tool, const std::string& reviewer, const std::string& comment) {
  const auto why = reviewer.empty() ? comment : reviewer + " rejected it" + (comment.empty() ? "" : ": " + comment);
  return "Rejected: the call of " + in_quotes(tool) + " was not run. " + why + (why.empty() || why.back() == '.' ? "" : ".")
         + " Do not try the same again: find another way, or say what you could not do.";
}

} // namespace troupe::policy
