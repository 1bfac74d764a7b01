// `troupe validate` and `troupe tree`.

#include <cstdio>

#include "command.hpp"
#include "output.hpp"
#include "session.hpp"
#include "timeline.hpp"
#include "tree.hpp"
#include "troupe/config/load.hpp"
#include "troupe/model/described.hpp"

namespace troupe::cli {

namespace {

json row_of(const config::problem& problem) {
  return {{"file", problem.file},
          {"line", problem.line},
          {"column", problem.column},
          {"pointer", problem.pointer},
          {"message", problem.message}};
}

int validate(const std::string& path, bool as_json) {
  if (!as_json) {
    const auto config = load_and_warn(path);
    if (!config)
      return status_usage;
    std::printf("%s: fine: %zu providers, %zu models, %zu tools, %zu agents, %zu workflows\n", printable(path, 4'000).c_str(),
                config->providers.size(), config->models.size(), config->tools.size(), config->agents.size(), config->workflows.size());
    return status_completed;
  }
  const auto loaded = config::load(path);
  json document{{"valid", loaded.ok()}, {"problems", json::array()}, {"warnings", json::array()}};
  for (const auto& problem : loaded.problems)
    document["problems"].push_back(row_of(problem));
  for (const auto& warning : loaded.warnings)
    document["warnings"].push_back(row_of(warning));
  print_document(document);
  return loaded.ok() ? status_completed : status_usage;
}

int tree(const std::string& path, bool as_json) {
  const auto config = load_or_tell(path);
  if (!config)
    return status_usage;
  if (as_json)
    print_document(to_document(config->supervision));
  else
    std::fputs(render_tree(config->supervision, *config).c_str(), stdout);
  return status_completed;
}

} // namespace

void add_validate(CLI::App& app, const global_options&, action& chosen) {
  auto path = std::make_shared<std::string>();
  auto as_json = std::make_shared<bool>(false);
  auto* command = app.add_subcommand("validate", "Checks a configuration and tells every problem at once");
  command->add_option("CONFIG", *path, "Configuration file")->required();
  command->add_flag("--json", *as_json, "Print problems and warnings as one JSON document");
  command->callback([path, as_json, &chosen] { chosen = [path, as_json] { return validate(*path, *as_json); }; });
}

void add_tree(CLI::App& app, const global_options&, action& chosen) {
  auto path = std::make_shared<std::string>();
  auto as_json = std::make_shared<bool>(false);
  auto* command = app.add_subcommand("tree", "Draws the supervision tree of a configuration");
  command->add_option("CONFIG", *path, "Configuration file")->required();
  command->add_flag("--json", *as_json, "Print the tree as one JSON document");
  command->callback([path, as_json, &chosen] { chosen = [path, as_json] { return tree(*path, *as_json); }; });
}

} // namespace troupe::cli
