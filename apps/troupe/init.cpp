// `troupe init`: a small, commented project that runs at once.

#include <cstdio>
#include <filesystem>
#include <fstream>

#include "command.hpp"
#include "init_files.hpp"
#include "session.hpp"

namespace troupe::cli {

namespace {

int init(const std::string& folder) {
  namespace fs = std::filesystem;
  const fs::path root(folder);
  // Nothing of the user's is overwritten: all is checked before the first file is written.
  std::string there;
  for (const auto& file : init_files())
    if (std::error_code problem; fs::exists(root / file.path, problem))
      there += (there.empty() ? "" : ", ") + (root / file.path).string();
  if (!there.empty()) {
    tell_error("these exist already, and nothing was written: " + there + ". Choose another folder, as in: troupe init "
               + shell_word((root / "my-troupe").string()));
    return status_usage;
  }
  if (std::error_code problem; fs::exists(root, problem) && !fs::is_directory(root, problem)) {
    tell_error(root.string() + ": it is a file, not a folder, and nothing was written. Choose another name");
    return status_usage;
  }
  for (const auto& file : init_files()) {
    const auto path = root / file.path;
    std::error_code problem;
    fs::create_directories(path.parent_path(), problem);
    std::ofstream out(path, std::ios::binary);
    out << file.text;
    out.close();
    if (!out) {
      if (std::error_code ignored; fs::is_regular_file(path, ignored))
        fs::remove(path, ignored); // a part of it would be in the way of the next try
      tell_error(path.string() + ": it cannot be written; check the folder's permissions and space");
      return status_failed;
    }
    std::printf("wrote %s\n", path.string().c_str());
  }
  const auto config = shell_word((root / "troupe.yaml").string());
  std::printf("\nRun it:      troupe run %s greet -i name=Ada\nCheck it:    troupe validate %s\nSee its tree: troupe tree %s\n",
              config.c_str(), config.c_str(), config.c_str());
  return status_completed;
}

} // namespace

void add_init(CLI::App& app, const global_options&, action& chosen) {
  auto folder = std::make_shared<std::string>(".");
  auto* command = app.add_subcommand("init", "Writes a small, commented project that runs at once");
  command->add_option("DIR", *folder, "Where to")->capture_default_str();
  command->callback([folder, &chosen] { chosen = [folder] { return init(*folder); }; });
}

} // namespace troupe::cli
