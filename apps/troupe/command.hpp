#pragma once
// A command of the command line: one file a command, one row in the table in main.cpp.

#include <functional>
#include <string>

#include <CLI/CLI.hpp>

namespace troupe::cli {

/// Exit statuses (INTERFACES 2).
enum exit_status : int {
  status_completed = 0,
  status_failed = 1,
  status_usage = 2,       ///< usage or configuration
  status_aborted = 3,     ///< budget_exceeded, timeout, cancelled
  status_unavailable = 4, ///< a needed service cannot be reached
  status_interrupted = 130,
};

/// Options that stand before or after any command.
struct global_options {
  std::string log_level = "warn";
  bool wants_logs = false; ///< a level was given
  std::string log_format = "text";
};

/// What the parsed command line asks for; returns the exit status.
using action = std::function<int()>;

// Each adds its subcommand with options and help, and sets `chosen` when that is what the user typed.
void add_run(CLI::App& app, const global_options& global, action& chosen);
void add_resume(CLI::App& app, const global_options& global, action& chosen);
void add_validate(CLI::App& app, const global_options& global, action& chosen);
void add_tree(CLI::App& app, const global_options& global, action& chosen);
void add_runs(CLI::App& app, const global_options& global, action& chosen);
void add_show(CLI::App& app, const global_options& global, action& chosen);
void add_cancel(CLI::App& app, const global_options& global, action& chosen);
void add_approvals(CLI::App& app, const global_options& global, action& chosen);
void add_approve(CLI::App& app, const global_options& global, action& chosen);
void add_reject(CLI::App& app, const global_options& global, action& chosen);
void add_modify(CLI::App& app, const global_options& global, action& chosen);
void add_init(CLI::App& app, const global_options& global, action& chosen);
void add_doctor(CLI::App& app, const global_options& global, action& chosen);
void add_mcp(CLI::App& app, const global_options& global, action& chosen);
void add_mock_llm(CLI::App& app, const global_options& global, action& chosen);

} // namespace troupe::cli
