// `troupe runs`, `troupe show`, `troupe cancel`: what the journal knows.

#include <algorithm>
#include <cstdio>

#include <unistd.h>

#include "command.hpp"
#include "output.hpp"
#include "session.hpp"
#include "timeline.hpp"
#include "troupe/metrics/run_summary.hpp"
#include "troupe/model/described.hpp"
#include "troupe/util/clock.hpp"
#include "troupe/util/redact.hpp"
#include "troupe/util/suggest.hpp"

namespace troupe::cli {

namespace {

struct listing_arguments {
  std::string config;
  std::string run_id;
  std::string after; ///< a run: the list goes on behind it
  std::size_t limit = 50;
  bool as_json = false;
  bool events = false;
  bool full = false;
};

timeline_style style_for(int descriptor) {
  return {.colour = wants_colour(descriptor), .width = ::isatty(descriptor) != 0 ? terminal_width(descriptor) : 120};
}

/// What a list says of a run: a run that nobody owns any more is not running.
std::string status_word(const store::run_row& row) {
  return row.status == run_status::running && !row.owned ? "interrupted" : name_of(row.status);
}

struct page {
  std::vector<store::run_row> rows;
  std::string next; ///< the cursor of what follows; empty: nothing does
};

/// The rows behind the run `after`, newest first; empty: from the first one. A journal lists from its newest run on, so as much is read as
/// it takes to find the cursor, and one row more, which says that the list goes on.
expected<page> page_of(store::journal& from, const std::string& after, std::size_t limit) {
  for (std::size_t wanted = limit + 1;; wanted *= 4) {
    auto rows = from.list_runs(wanted);
    if (!rows)
      return tl::unexpected(rows.error());
    const bool all = rows->size() < wanted;
    auto begin = rows->begin();
    if (!after.empty()) {
      begin = std::find_if(begin, rows->end(), [&](const auto& row) { return row.run_id == after; });
      if (begin == rows->end() && all)
        return fail(error_code::not_found, "--after takes a run of this journal, and there is none named " + in_quotes(after));
      if (begin != rows->end())
        ++begin;
    }
    const auto found = static_cast<std::size_t>(rows->end() - begin);
    if (found <= limit && !all)
      continue;
    const auto end = begin + static_cast<std::ptrdiff_t>(std::min(found, limit));
    return page{{begin, end}, found > limit ? std::prev(end)->run_id : std::string()};
  }
}

int runs(const listing_arguments& arguments) {
  const auto config = load_for_journal(arguments.config);
  if (!config)
    return status_usage;
  auto journal = open_journal_to_read(*config);
  page shown;
  if (!journal && (journal.error().code != error_code::not_found || !arguments.after.empty()))
    return tell(journal.error());
  if (journal) {
    auto listed = page_of(**journal, arguments.after, arguments.limit);
    if (!listed)
      return tell(listed.error());
    shown = std::move(*listed);
  }
  if (!arguments.as_json) {
    if (shown.rows.empty() && !arguments.after.empty())
      std::fputs("no older runs\n", stdout);
    else
      std::fputs(render_runs(shown.rows, utc_now_us(), style_for(STDOUT_FILENO)).c_str(), stdout);
    if (!shown.next.empty())
      std::fprintf(stderr, "There are older runs: troupe runs %s --limit %zu --after %s\n", shell_word(arguments.config).c_str(),
                   arguments.limit, shell_word(shown.next).c_str());
    return status_completed;
  }
  json list = json::array();
  for (const auto& row : shown.rows)
    list.push_back({{"run_id", row.run_id},
                    {"workflow", row.workflow},
                    {"tenant", row.tenant},
                    {"workflow_status", status_word(row)},
                    {"reason", row.reason.empty() ? json(nullptr) : json(row.reason)},
                    {"started", iso8601_utc(row.started_us)},
                    {"updated", iso8601_utc(row.updated_us)},
                    {"events", row.last_seq}});
  print_document({{"runs", std::move(list)}, {"next", shown.next.empty() ? json(nullptr) : json(shown.next)}});
  return status_completed;
}

int show(store::journal& journal, const listing_arguments& arguments) {
  const auto events = journal.read_run(arguments.run_id);
  if (!events)
    return tell(events.error());
  for (const auto& words : journal.notes(arguments.run_id))
    tell_error(words);
  metrics::run_fold fold;
  for (const auto& e : *events)
    fold.apply(*e);
  auto summary = fold.summary();
  if (arguments.events) {
    for (const auto& e : *events)
      print_document(event_to_document(*e), -1);
    return status_completed;
  }
  const auto row = journal.find_run(arguments.run_id);
  const bool interrupted = row && status_word(*row) == "interrupted";
  if (interrupted)
    summary.is_left();
  if (arguments.as_json) {
    print_document(result_document(summary));
  } else {
    auto style = style_for(STDOUT_FILENO);
    if (arguments.full)
      style.width = std::size_t{16} << 20;
    style.interrupted = interrupted;
    std::fputs(redacted(render_timeline(summary, *events, style)).c_str(), stdout);
  }
  return status_completed;
}

int cancel(store::journal& journal, const listing_arguments& arguments) {
  const auto row = journal.find_run(arguments.run_id);
  if (!row)
    return tell(row.error());
  if (row->status == run_status::completed || row->status == run_status::failed || row->status == run_status::aborted) {
    tell_error("run " + arguments.run_id + " has ended already: " + name_of(row->status));
    return status_usage;
  }
  if (auto asked = journal.request_cancel(arguments.run_id); !asked)
    return tell(asked.error());
  std::printf("%s\n", row->owned ? "asked its process to stop it" : "nobody works on it now; it ends as cancelled when it is resumed");
  return status_completed;
}

} // namespace

void add_runs(CLI::App& app, const global_options&, action& chosen) {
  auto arguments = std::make_shared<listing_arguments>();
  auto* command = app.add_subcommand("runs", "Lists the runs of a journal, newest first");
  command->add_option("CONFIG", arguments->config, "Configuration file")->required();
  command->add_option("--limit", arguments->limit, "How many at most")
      ->check(CLI::Range(std::size_t{1}, std::size_t{100'000}))
      ->capture_default_str();
  command->add_option("--after", arguments->after, "Only runs older than this one: `next` of the list before");
  command->add_flag("--json", arguments->as_json, "Print one JSON document");
  command->callback([arguments, &chosen] { chosen = [arguments] { return runs(*arguments); }; });
}

void add_show(CLI::App& app, const global_options&, action& chosen) {
  auto arguments = std::make_shared<listing_arguments>();
  auto* command = app.add_subcommand("show", "Shows one run with its timeline: who did what, when, for how much");
  command->add_option("CONFIG", arguments->config, "Configuration file")->required();
  command->add_option("RUN", arguments->run_id, "Id of the run")->required();
  command->add_flag("--json", arguments->as_json, "Print the result document");
  command->add_flag("--full", arguments->full, "Cut no line of the timeline");
  command->add_flag("--events", arguments->events, "Print every event, one JSON object a line");
  command->callback([arguments, &chosen] {
    chosen = [arguments] {
      return on_journal_to_read(arguments->config, [&](store::journal& journal) { return show(journal, *arguments); });
    };
  });
}

void add_cancel(CLI::App& app, const global_options&, action& chosen) {
  auto arguments = std::make_shared<listing_arguments>();
  auto* command = app.add_subcommand("cancel", "Stops a run gracefully, in whichever process it is");
  command->add_option("CONFIG", arguments->config, "Configuration file")->required();
  command->add_option("RUN", arguments->run_id, "Id of the run")->required();
  command->callback([arguments, &chosen] {
    chosen = [arguments] { return on_journal(arguments->config, [&](store::journal& journal) { return cancel(journal, *arguments); }); };
  });
}

} // namespace troupe::cli
