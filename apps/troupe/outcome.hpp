#pragma once
// How a run ended here, told: the result on standard output, an exit status, and in words what can be done next.

#include <string>

#include "troupe/metrics/run_summary.hpp"
#include "troupe/model/error.hpp"
#include "troupe/store/journal.hpp"

namespace troupe::cli {

/// The summary of a run as its journal tells it.
expected<run_summary> recorded_summary(store::journal& journal, const std::string& run_id);

int status_of_run(const run_summary& summary);
/// The command that goes on with the run; `more` is what is added to it, with a space before.
std::string resume_hint(const std::string& config, const std::string& run_id, const std::string& more);
/// The result document, or the result alone.
void print_result(const run_summary& summary, bool as_json);
/// What is said beside the result: how it ended, for how much, and what can be done next.
std::string outcome_words(const std::string& config, const run_summary& summary, store::journal& journal);

} // namespace troupe::cli
