#pragma once
// Which actions wait for humans (SEMANTICS 7): by their risk, as `checkpoint.policy` says. Defaults: low and medium run, high and critical
// ask.

#include <cstdint>
#include <string>

#include "troupe/model/config.hpp"

namespace troupe::policy {

/// How many humans must agree before an action of this risk runs; 0: none. A risk that the policy does not name asks one: what nobody
/// decided about is not run unseen.
std::int64_t approvals_needed(const checkpoint_spec& checkpoint, risk how_bad);

/// What the model reads in place of a result when humans did not agree; `reviewer` empty: nobody decided in time.
std::string rejected_text(const std::string& tool, const std::string& reviewer, const std::string& comment);

} // namespace troupe::policy
