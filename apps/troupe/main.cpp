// The `troupe` command line.

#include <csignal>
#include <cstdio>
#include <exception>

#include "command.hpp"
#include "logging.hpp"

int main(int argc, char** argv) {
  using namespace troupe::cli;
  std::signal(SIGPIPE, SIG_IGN); // a reader that goes away is an error of the write, not the end of a run
  std::signal(SIGXFSZ, SIG_IGN); // so is a file that may not grow further (ulimit -f)

  CLI::App app{"troupe runs companies of LLM agents that keep working when parts of them fail", "troupe"};
  app.set_version_flag("--version", std::string("troupe ") + TROUPE_VERSION);
  app.require_subcommand(1);
  app.fallthrough();
  global_options global;
  app.add_option("--log-level", global.log_level, "trace debug info warn error off; logs go to standard error")
      ->check(CLI::IsMember({"trace", "debug", "info", "warn", "error", "off"}))
      ->capture_default_str();
  app.add_option("--log-format", global.log_format, "text or json")->check(CLI::IsMember({"text", "json"}))->capture_default_str();

  action chosen;
  using adder = void (*)(CLI::App&, const global_options&, action&);
  for (const adder add : {add_run, add_resume, add_validate, add_tree, add_doctor, add_runs, add_show, add_cancel, add_approvals,
                          add_approve, add_reject, add_modify, add_init, add_mcp, add_mock_llm})
    add(app, global, chosen);

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& problem) {
    return app.exit(problem) == 0 ? status_completed : status_usage;
  }
  start_logging(global);
  try {
    return chosen();
  } catch (const std::exception& problem) {
    std::fprintf(stderr, "troupe: %s. This is a defect of troupe; please report it with the command that you ran.\n", problem.what());
    return status_failed;
  }
}
