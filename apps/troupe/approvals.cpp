// `troupe approvals`, `approve`, `reject`, `modify`: humans decide, from any process.

#include <cstdio>
#include <optional>
#include <string>

#include <unistd.h>

#include "approving.hpp"
#include "command.hpp"
#include "input.hpp"
#include "output.hpp"
#include "session.hpp"
#include "timeline.hpp"
#include "troupe/model/described.hpp"
#include "troupe/store/approvals.hpp"
#include "troupe/util/clock.hpp"
#include "troupe/util/redact.hpp"

namespace troupe::cli {

namespace {

struct approval_arguments {
  std::string config;
  std::string id;
  std::string comment;
  std::optional<std::string> reviewer;
  std::string action;
  bool as_json = false;
};

json document_of(const store::approval_row& row) {
  const auto& what = row.request.what();
  const auto& end = row.request.end();
  const auto text = [](const std::string& words) { return words.empty() ? json(nullptr) : json(words); };
  const auto& changed = end ? end->modified_action : row.request.modified_action();
  return {{"id", row.request.id()},
          {"request_id", what.id},
          {"workflow_id", row.run_id},
          {"workflow", row.workflow},
          {"task_id", row.task},
          {"agent_name", text(row.agent)},
          {"kind", name_of(what.kind)},
          {"subject", what.subject},
          {"action", what.action},
          {"details", what.details},
          {"risk_level", name_of(what.risk_level)},
          {"status", name_of(end ? end->status : approval_status::pending)},
          {"approvals", row.request.approvals()},
          {"needed", what.needed},
          {"requested", iso8601_utc(row.asked_us)},
          {"deadline", iso8601_utc(what.deadline_us)},
          {"sha256", row.request.sha256()},
          {"reviewer", end ? text(end->reviewer) : json(nullptr)},
          {"reviewer_comment", end ? text(end->comment) : json(nullptr)},
          {"modified_action", changed},
          {"modified_by", text(end ? end->modified_by : row.request.modified_by())},
          {"running", row.owned}};
}

int list(const approval_arguments& arguments) {
  const auto config = load_for_journal(arguments.config);
  if (!config)
    return status_usage;
  auto journal = open_journal_to_read(*config);
  if (!journal && journal.error().code != error_code::not_found)
    return tell(journal.error());
  std::vector<store::approval_row> rows;
  if (journal) {
    auto found = store::pending_approvals(**journal);
    if (!found)
      return tell(found.error());
    rows = std::move(*found);
  }
  if (arguments.as_json) {
    json documents = json::array();
    for (const auto& row : rows)
      documents.push_back(document_of(row));
    print_document({{"approvals", std::move(documents)}});
    return status_completed;
  }
  if (rows.empty())
    std::printf("Nothing waits for approval.\n");
  const auto width = ::isatty(STDOUT_FILENO) != 0 ? terminal_width(STDOUT_FILENO) : std::size_t{120};
  for (const auto& row : rows) {
    for (const auto& line : request_lines(row.request, row.task, row.agent, utc_now_us(), width))
      std::printf("%s\n", redacted(line).c_str());
    if (row.owned)
      continue;
    const bool late = row.request.what().deadline_us < utc_now_us();
    const auto resume = "troupe resume " + shell_word(arguments.config) + " " + row.run_id;
    std::printf("  Nobody works on its run now; %s when it is resumed: %s\n", late ? "it is rejected" : "what is decided counts",
                resume.c_str());
  }
  return status_completed;
}

int decide(const approval_arguments& arguments, policy::approval_choice choice) {
  policy::approval_decision decision{choice, arguments.reviewer.value_or(user_name()), arguments.comment, nullptr, {}};
  if (choice == policy::approval_choice::modify) {
    const auto action = read_json_argument(arguments.action, "--action");
    if (!action)
      return tell(action.error());
    decision.modified_action = *action;
  }
  return on_journal(arguments.config, [&](store::journal& journal) -> int {
    const auto row = store::decide(journal, arguments.id, decision, utc_now_us());
    if (!row) {
      tell_error(row.error().text());
      return status_of_decision(row.error());
    }
    print_text(redacted(outcome_line(row->request, row->owned)) + "\n");
    return status_completed;
  });
}

void add_decision(CLI::App& app, action& chosen, const char* name, const char* help, policy::approval_choice choice) {
  auto arguments = std::make_shared<approval_arguments>();
  auto* command = app.add_subcommand(name, help);
  command->add_option("CONFIG", arguments->config, "Configuration file")->required();
  command->add_option("ID", arguments->id, "Id of the request, or its last 8 digits")->required();
  if (choice == policy::approval_choice::modify)
    command
        ->add_option("--action", arguments->action,
                     "JSON that takes the action's place: a tool's arguments, an output, { \"instruction\": … } of a task")
        ->required();
  command->add_option("--comment", arguments->comment, "Why; after a rejection the agent reads it");
  command->add_option("--reviewer", arguments->reviewer, "Who decides; your login name by default");
  command->callback([arguments, &chosen, choice] { chosen = [arguments, choice] { return decide(*arguments, choice); }; });
}

} // namespace

void add_approvals(CLI::App& app, const global_options&, action& chosen) {
  auto arguments = std::make_shared<approval_arguments>();
  auto* command = app.add_subcommand("approvals", "Lists what waits for a human");
  command->add_option("CONFIG", arguments->config, "Configuration file")->required();
  command->add_flag("--json", arguments->as_json, "Print one JSON document");
  command->callback([arguments, &chosen] { chosen = [arguments] { return list(*arguments); }; });
}

void add_approve(CLI::App& app, const global_options&, action& chosen) {
  add_decision(app, chosen, "approve", "Approves what waits, exactly as it is", policy::approval_choice::approve);
}

void add_reject(CLI::App& app, const global_options&, action& chosen) {
  add_decision(app, chosen, "reject", "Rejects what waits", policy::approval_choice::reject);
}

void add_modify(CLI::App& app, const global_options&, action& chosen) {
  add_decision(app, chosen, "modify", "Approves something else in its place", policy::approval_choice::modify);
}

} // namespace troupe::cli
