#include "troupe/policy/loop_watch.hpp"

namespace troupe::policy {

void loop_watch::take(std::int64_t step, const loop_found& found, const observed_call& call, loop_verdict& verdict) {
  if (verdict.found)
    return;
  verdict.found = found;
  verdict.again = ladder_.climbed_in(step);
  verdict.rung = ladder_.climb(step, call.sign, call.tool);
}

void loop_watch::take_results(std::int64_t step, const std::vector<observed_result>& results, loop_verdict& verdict) {
  for (std::size_t i = 0; i < results.size(); ++i)
    if (const auto found = detector_.result(i, results[i]))
      take(step, *found, detector_.step_calls()[i], verdict);
}

loop_verdict loop_watch::observe(const loop_step& step) {
  loop_verdict verdict;
  take_results(step.number, step.earlier, verdict);
  if (!step.calls.empty()) {
    detector_.begin_step();
    for (std::size_t i = 0; i < step.calls.size(); ++i) {
      auto asked = step.calls[i];
      auto ruling = ladder_.ruling(asked.sign, asked.tool); // before this very call may be added
      asked.taken = ruling == call_ruling::refused_tool;
      if (const auto found = detector_.call(asked)) {
        take(step.number, *found, asked, verdict);
        ruling = call_ruling::looping;
      }
      if (ruling != call_ruling::run || !verdict.rulings.empty()) {
        verdict.rulings.resize(i, call_ruling::run);
        verdict.rulings.push_back(ruling);
      }
    }
  }
  take_results(step.number, step.results, verdict);
  verdict.report_results = !step.calls.empty() && step.results.empty() && detector_.waits_for_results();
  if (step.said)
    if (const auto found = detector_.said(*step.said, step.reply); found && !verdict.found)
      verdict.found = found;
  return verdict;
}

void loop_watch::replay(const loop_step& step) {
  detector_.begin_step();
  for (auto asked : step.calls) {
    asked.taken = ladder_.ruling(asked.sign, asked.tool) == call_ruling::refused_tool;
    detector_.call(asked);
  }
  for (std::size_t i = 0; i < step.results.size(); ++i)
    detector_.result(i, step.results[i]);
  if (step.said)
    detector_.said(*step.said, step.reply);
}

} // namespace troupe::policy
