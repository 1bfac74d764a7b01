#pragma once
// The larger parts of a rule, each with its reader. Problems go to the checker.

#include <deque>
#include <vector>

#include "troupe/llm/script_check.hpp"
#include "troupe/llm/script_data.hpp"

namespace troupe::llm::detail {

/// `capture:` of a rule.
void read_captures(checker& check, const spot& rule, std::vector<capture>& into);
/// `fault:` of a rule: one, or a list of them.
void read_faults(checker& check, const spot& rule, std::deque<planned_fault>& into);
/// `reply:` of a rule.
void read_reply(checker& check, const spot& reply, const template_names& names, rule& into);

} // namespace troupe::llm::detail
