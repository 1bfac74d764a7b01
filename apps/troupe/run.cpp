// `troupe run`

#include "command.hpp"
#include "drive.hpp"
#include "input.hpp"
#include "session.hpp"

namespace troupe::cli {

namespace {

int run(const run_arguments& arguments) {
  signal_watch signals;
  auto config = load_and_warn(arguments.config);
  if (!config)
    return status_usage;
  const auto workflow = config->workflows.find(arguments.workflow);
  auto input =
      read_input(arguments.input_file, arguments.pairs, workflow == config->workflows.end() ? json() : workflow->second.input_schema);
  if (!input)
    return tell(input.error());
  auto journal = open_journal(*config, true);
  if (!journal)
    return tell(journal.error());
  return drive(arguments, config, *journal, signals, [&](actors::runtime& runtime) {
    return runtime.start_run({.run_id = arguments.run_id,
                              .workflow = arguments.workflow,
                              .tenant = arguments.tenant,
                              .input = *input,
                              .approve_all = arguments.yes});
  });
}

} // namespace

void add_run(CLI::App& app, const global_options& global, action& chosen) {
  auto arguments = std::make_shared<run_arguments>();
  auto* command = app.add_subcommand("run", "Runs a workflow in this process and prints its result");
  command->add_option("CONFIG", arguments->config, "Configuration file")->required();
  command->add_option("WORKFLOW", arguments->workflow, "Name of a workflow in it")->required();
  command->add_option("-i", arguments->pairs, "Input: key=value; a string where the input's schema allows one, else JSON")
      ->take_all()
      ->allow_extra_args(false);
  command->add_option("--input", arguments->input_file, "Input: a JSON or YAML file, - for standard input");
  command->add_option("--tenant", arguments->tenant, "Whose run it is")->capture_default_str();
  command->add_option("--id", arguments->run_id, "Id of the run; by default a new one is made")
      ->check(
          [](const std::string& id) {
            if (id.empty())
              return std::string("an id is 1 to 64 letters, digits, dots, dashes and underscores");
            return id.front() == '-' ? std::string("an id does not begin with a dash: commands would take it for an option")
                                     : std::string();
          },
          "");
  command->add_flag("--json", arguments->as_json, "Print the result document, and nothing else, on standard output");
  command->add_flag("--yes", arguments->yes, "Approve every risky action");
  command->callback([arguments, &global, &chosen] {
    chosen = [arguments, &global] {
      arguments->logs = global.wants_logs;
      return run(*arguments);
    };
  });
}

} // namespace troupe::cli
