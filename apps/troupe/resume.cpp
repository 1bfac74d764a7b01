// `troupe resume`: goes on with a run from the journal.

#include <charconv>
#include <cstdio>

#include "command.hpp"
#include "drive.hpp"
#include "outcome.hpp"
#include "session.hpp"
#include "troupe/config/load.hpp"
#include "troupe/policy/replay.hpp"
#include "troupe/util/duration.hpp"
#include "troupe/util/suggest.hpp"

namespace troupe::cli {

namespace {

int resume(const run_arguments& arguments) {
  signal_watch signals;
  const auto config = load_for_journal(arguments.config);
  if (!config)
    return status_usage;
  auto journal = open_journal(*config, false);
  if (!journal)
    return tell(journal.error());
  const auto events = (*journal)->read_run(arguments.run_id);
  if (!events)
    return tell(events.error());
  for (const auto& words : (*journal)->notes(arguments.run_id))
    tell_error(words);
  const auto history = policy::rebuild_run(*events);
  if (history.ended && history.end.status != run_status::aborted) {
    const auto summary = recorded_summary(**journal, arguments.run_id);
    if (!summary)
      return tell(summary.error());
    if (arguments.add_usd > 0 || arguments.add_steps > 0 || !arguments.add_time.empty())
      tell_error("run " + arguments.run_id + " has ended, and what is added to its limits changes nothing; this is its result");
    print_result(*summary, arguments.as_json);
    std::fputs(outcome_words(arguments.config, *summary, **journal).c_str(), stderr);
    return status_of_run(*summary);
  }
  // A run keeps the configuration that it started with.
  auto kept = config::resolve(history.start.configuration ? *history.start.configuration : json(), config->file);
  if (!kept)
    return tell(kept.error());
  kept->journal = config->journal; // it may have been moved: this one is open, and hidden from tools
  actors::run_additions more;
  more.approve_all = arguments.yes;
  more.money = usd::from_dollars(arguments.add_usd);
  more.steps = arguments.add_steps;
  if (!arguments.add_time.empty()) {
    const auto time = parse_duration(arguments.add_time);
    if (!time)
      return tell(time.error());
    more.time = *time;
  }
  return drive(arguments, std::make_shared<const configuration>(std::move(*kept)), *journal, signals,
               [&](actors::runtime& runtime) { return runtime.resume_run(arguments.run_id, more); });
}

// --- options -------------------------------------------------------------------------------------------------------

/// What is wrong with it, or nothing. CLI::Range would let nan through, which is neither below nor above anything.
std::string dollars_problem(const std::string& text) {
  double dollars = 0;
  const auto* end = text.data() + text.size();
  const auto read = std::from_chars(text.data(), end, dollars);
  if (read.ec == std::errc{} && read.ptr == end && dollars > 0 && usd::from_dollars(dollars).micro == 0)
    return in_quotes(text) + " is less than can be counted; the least is 0.000001";
  if (read.ec == std::errc{} && read.ptr == end && dollars >= 0 && dollars <= 1e9)
    return {};
  return in_quotes(text) + " is no amount that can be added; write dollars from 0 to 1000000000, as in 2.50";
}

std::string duration_problem(const std::string& text) {
  const auto time = parse_duration(text);
  return time ? std::string() : time.error().message;
}

} // namespace

void add_resume(CLI::App& app, const global_options& global, action& chosen) {
  auto arguments = std::make_shared<run_arguments>();
  auto* command = app.add_subcommand("resume", "Goes on with a run from the journal; of one that has ended, prints its result again");
  command->add_option("CONFIG", arguments->config, "Configuration file")->required();
  command->add_option("RUN", arguments->run_id, "Id of the run")->required();
  command->add_option("--add-usd", arguments->add_usd, "Dollars more for the run")->check(dollars_problem, "0 to 1000000000");
  command->add_option("--add-steps", arguments->add_steps, "Steps (LLM calls) more")
      ->check(CLI::Range(std::int64_t{0}, std::int64_t{1'000'000'000}));
  command->add_option("--add-time", arguments->add_time, "Time more, as in 5m")->check(duration_problem);
  command->add_flag("--json", arguments->as_json, "Print the result document, and nothing else, on standard output");
  command->add_flag("--yes", arguments->yes, "Approve every risky action");
  command->callback([arguments, &global, &chosen] {
    chosen = [arguments, &global] {
      arguments->logs = global.wants_logs;
      return resume(*arguments);
    };
  });
}

} // namespace troupe::cli
