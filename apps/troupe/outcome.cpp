#include "outcome.hpp"

#include <cstdio>
#include <optional>

#include "command.hpp"
#include "output.hpp"
#include "session.hpp"
#include "timeline.hpp"
#include "troupe/model/described.hpp"
#include "troupe/policy/budget_scope.hpp"
#include "troupe/util/redact.hpp"

namespace troupe::cli {

expected<run_summary> recorded_summary(store::journal& journal, const std::string& run_id) {
  const auto events = journal.read_run(run_id);
  if (!events)
    return tl::unexpected(events.error());
  metrics::run_fold fold;
  for (const auto& e : *events)
    fold.apply(*e);
  return fold.summary();
}

int status_of_run(const run_summary& summary) {
  switch (summary.status) {
  case run_status::completed:
    return status_completed;
  case run_status::aborted:
    return status_aborted;
  case run_status::failed:
    return status_failed;
  default:
    return status_interrupted;
  }
}

std::string resume_hint(const std::string& config, const std::string& run_id, const std::string& more) {
  return "troupe resume " + shell_word(config) + " " + run_id + more;
}

void print_result(const run_summary& summary, bool as_json) {
  if (as_json) {
    print_document(result_document(summary));
  } else {
    const auto& result = summary.result;
    if (!result.is_null()) {
      if (result.is_string()) {
        const auto text = redacted(result.get<std::string>());
        print_text(text.ends_with('\n') ? text : text + "\n");
      } else {
        print_document(result);
      }
    }
  }
  std::fflush(stdout);
}

namespace {

/// The limit that ended the run; null: no budget did.
std::optional<budget_refused> refusal_of(store::journal& journal, const std::string& run_id) {
  std::optional<budget_refused> last;
  if (const auto events = journal.read_run(run_id))
    for (const auto& e : *events)
      if (const auto* refused = std::get_if<budget_refused>(&e->body); refused && policy::ends_the_run(refused->scope))
        last = *refused;
  return last;
}

/// How to go on with a run that did not end, or was ended before its end.
std::string next_step(const std::string& config, const run_summary& summary, store::journal& journal) {
  const auto go_on = [&](const char* more) { return "Go on with: " + resume_hint(config, summary.run_id, more) + "\n"; };
  if (summary.status == run_status::running)
    return go_on("");
  if (summary.status != run_status::aborted)
    return {};
  if (summary.reason == "timeout")
    return go_on(" --add-time 5m");
  if (summary.reason != "budget_exceeded")
    return go_on("");
  const auto limit = refusal_of(journal, summary.run_id);
  if (!limit)
    return go_on(" --add-usd 1 --add-steps 50");
  if (limit->scope == policy::run_scope)
    return go_on(limit->kind == limit_kind::steps  ? " --add-steps 50"
                 : limit->kind == limit_kind::time ? " --add-time 5m"
                                                   : " --add-usd 1");
  if (limit->scope == policy::process_scope) // each process has its own
    return go_on("");
  return "The limit is that of " + limit->scope
         + ", and resume adds to the run's own only. Where it has a period, go on in the next one with: "
         + resume_hint(config, summary.run_id, "") + "; else raise it in " + shell_word(config) + " and start a new run\n";
}

} // namespace

std::string outcome_words(const std::string& config, const run_summary& summary, store::journal& journal) {
  auto words = "run " + summary.run_id + " " + (summary.status == run_status::running ? "is interrupted" : name_of(summary.status));
  if (!summary.reason.empty())
    words += " (" + summary.reason + ")";
  words += ": " + std::to_string(summary.completed_tasks) + " of " + std::to_string(summary.total_tasks) + " tasks, "
           + to_string(summary.total_cost) + ", " + std::to_string(summary.llm_calls) + " LLM calls, " + std::to_string(summary.tool_calls)
           + " tool calls, " + duration_text(summary.owned_us) + "\n";
  for (const auto& task : summary.results)
    if (task.status != task_status::success && task.status != task_status::skipped && !task.error.empty())
      words += lines_after("troupe: ", task.task_id + ": " + task.error);
  if (summary.in_doubt > 0)
    words += std::to_string(summary.in_doubt) + (summary.in_doubt == 1 ? " call" : " calls")
             + " of a tool with an effect may or may not have taken effect: look at the timeline, and find out\n";
  words += next_step(config, summary, journal);
  words += "Timeline: troupe show " + shell_word(config) + " " + summary.run_id + "\n";
  return redacted(std::move(words));
}

} // namespace troupe::cli
