#pragma once
// Which actions wait for humans (SEMANTICS 7): by their risk, as `checkpoint.policy` says. Defaults: low and medium run, high and critical
// ask.

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "troupe/model/config.hpp"

namespace troupe::policy {

/// How many humans must agree before an action of this risk runs; 0: none. A risk that the policy does not name asks one: what nobody
/// decided about is not run unseen.
std::int64_t approvals_needed(const checkpoint_spec& checkpoint, risk how_bad);

/// What a call of a tool asks for. Where the tool fails, its alternatives run without a further question: whoever agrees to the call agrees
/// to each of them, so that the riskiest one decides.
struct call_approval {
  std::int64_t needed = 0;                    ///< the most that one of them needs
  risk how_bad = risk::low;                   ///< of the riskiest
  std::vector<const tool_spec*> alternatives; ///< in the order in which the call turns to them; they live in the tools
};
/// `tools` has the tool, as the host that runs it knows it.
call_approval approval_of_call(const checkpoint_spec& checkpoint, const std::map<std::string, tool_spec>& tools, const std::string& tool);

/// Whether anything in this configuration may wait for a human, so that what has a limit of time may get some of it back.
bool may_ask_humans(const configuration& config);

/// What a human is told of a call that may have taken effect.
std::string doubt_question(const std::string& tool);

/// What an agent reads of it when a human did not let it be made again; `reviewer` empty: nobody decided in time.
std::string not_again_text(const std::string& reviewer, const std::string& comment);

/// What the model reads in place of a result when humans did not agree; `reviewer` empty: nobody decided in time.
std::string rejected_text(const std::string& tool, const std::string& reviewer, const std::string& comment);

} // namespace troupe::policy
