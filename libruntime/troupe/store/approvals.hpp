#pragma once
// What waits for humans as a journal tells it, and the one way to decide: for the terminal of the process that runs it, and for any other.

#include <cstdint>
#include <string>
#include <vector>

#include "troupe/model/error.hpp"
#include "troupe/policy/approval_requests.hpp"
#include "troupe/store/journal.hpp"

namespace troupe::store {

/// A request and how far it is. `owned`: a living process waits for it. `over`: nobody decided, and nobody
/// waits any more: its task has ended, or another attempt of it has begun.
struct approval_row {
  policy::approval_request request;
  std::string run_id, workflow, task, agent;
  std::int64_t asked_us = 0; ///< when it was asked first
  bool owned = false;
  bool over = false;
};

/// What waits in all runs, the oldest first. Blocks.
expected<std::vector<approval_row>> pending_approvals(journal& from);
/// One request, decided or not; its id whole, or its last 8 digits where it waits. `not_found`. Blocks.
expected<approval_row> find_approval(journal& in, const std::string& id);

/// Decides, durably, about what the id (or its digits) names: whoever waits is woken. Errors: what `policy::approval_request::apply` says,
/// `invalid_argument` for a modified action that does not hold (with every violation; it stays pending), `not_found`, `conflict` where its
/// task or the run has ended. Blocks.
expected<approval_row> decide(journal& in, const std::string& id, policy::approval_decision decision, std::int64_t now_us);

} // namespace troupe::store
