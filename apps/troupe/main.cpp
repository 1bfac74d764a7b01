// The `troupe` command line.

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <exception>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include "command.hpp"
#include "logging.hpp"
#include "timeline.hpp"
#include "troupe/util/suggest.hpp"

namespace {

/// What was printed is lost, and not because its reader had enough of it (`troupe show … | head`).
bool output_lost() {
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0)
    return false;
  const int why = errno;
  pollfd out{STDOUT_FILENO, 0, 0};
  if (::poll(&out, 1, 0) == 1 && (out.revents & POLLERR) != 0)
    return false;
  std::fprintf(stderr,
               "troupe: standard output could not be written (%s), so what it should hold is not there; a run's result is kept: "
               "troupe show CONFIG RUN --json\n",
               std::strerror(why));
  return true;
}

/// A closed standard stream would be the next file that is opened: what is printed would go into the journal.
void open_standard_streams() {
  int descriptor = ::open("/dev/null", O_RDWR);
  while (descriptor >= 0 && descriptor <= STDERR_FILENO)
    descriptor = ::dup(descriptor);
  if (descriptor > STDERR_FILENO)
    ::close(descriptor);
}

/// CLI11 says only that a command is missing.
bool tell_unknown_command(const CLI::App& app, int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word.empty() || word[0] == '-') {
      if (word == "--log-level" || word == "--log-format")
        ++i;
      continue;
    }
    std::vector<std::string> names;
    for (const auto* command : app.get_subcommands(nullptr))
      names.push_back(command->get_name());
    const std::vector<std::string_view> known(names.begin(), names.end());
    if (std::find(known.begin(), known.end(), word) != known.end())
      return false;
    std::string all;
    for (const auto& name : known)
      all.append(" ").append(name);
    std::fprintf(stderr, "troupe: there is no command %s in this version%s; there are:%s\n",
                 troupe::cli::printable(troupe::in_quotes(word), 200).c_str(), troupe::did_you_mean(word, known).c_str(), all.c_str());
    return true;
  }
  return false;
}

constexpr const char* defect = "troupe: %s. This is a defect of troupe; please report it with the command that you ran.\n";

} // namespace

int main(int argc, char** argv) {
  using namespace troupe::cli;
  open_standard_streams();
  std::signal(SIGPIPE, SIG_IGN); // a reader that goes away is an error of the write, not the end of a run
  std::signal(SIGXFSZ, SIG_IGN); // so is a file that may not grow further (ulimit -f)

  CLI::App app{"troupe runs companies of LLM agents that keep working when parts of them fail", "troupe"};
  app.set_version_flag("--version", std::string("troupe ") + TROUPE_VERSION);
  app.require_subcommand(1);
  app.fallthrough();
  global_options global;
  auto* level = app.add_option("--log-level", global.log_level,
                               "trace debug info warn error off; logs go to standard error, on a terminal only where this is given")
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
    if (problem.get_exit_code() != 0 && tell_unknown_command(app, argc, argv))
      return status_usage;
    if (app.exit(problem) != 0)
      return status_usage;
    return output_lost() ? status_unavailable : status_completed; // --help and --version
  }
  global.wants_logs = level->count() > 0 && global.log_level != "off";
  start_logging(global);
  try {
    const int status = chosen();
    return output_lost() && status == status_completed ? status_unavailable : status;
  } catch (const std::system_error& problem) {
    if (problem.code() == std::errc::too_many_files_open || problem.code() == std::errc::too_many_files_open_in_system
        || problem.code() == std::errc::resource_unavailable_try_again) {
      std::fprintf(
          stderr, "troupe: %s: the system gives this process no more descriptors or threads; raise its limits (`ulimit -n`, `ulimit -u`)\n",
          printable(problem.what(), 1'000).c_str());
      return status_unavailable;
    }
    std::fprintf(stderr, defect, printable(problem.what(), 4'000).c_str());
    return status_failed;
  } catch (const std::exception& problem) {
    std::fprintf(stderr, defect, printable(problem.what(), 4'000).c_str());
    return status_failed;
  }
}
