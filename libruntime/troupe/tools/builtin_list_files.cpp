// The builtin `list_files`.
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "troupe/tools/builtin_parts.hpp"
#include "troupe/tools/confined.hpp"
#include "troupe/tools/glob.hpp"
#include "troupe/util/utf8.hpp"

namespace troupe::tools {

namespace {

constexpr std::size_t entries_max = 1'000;   // shown
constexpr std::size_t visited_max = 100'000; // looked at
constexpr std::size_t depth_max = 32;

tool_declaration declare_list_files() {
  return {"list_files",
          "The names of files and folders (those with a slash at their end), sorted. At most 1000.",
          {{"type", "object"},
           {"properties",
            {{"path", {{"type", "string"}, {"description", "the folder, relative to the tool's; default: the tool's own"}}},
             {"pattern", {{"type", "string"}, {"maxLength", 256}, {"description", "only these, for example *.txt or src/**/*.cpp"}}},
             {"recursive", {{"type", "boolean"}, {"description", "also what is in folders below; default false"}}}}},
           {"additionalProperties", false}},
          effect::none,
          risk::low};
}

struct directory_close {
  void operator()(DIR* directory) const { ::closedir(directory); }
};

struct listing {
  const confined_folder& folder;
  const std::string& pattern;
  bool recursive;
  const call_token& token;
  std::vector<std::string> found;
  std::size_t visited = 0;
  bool cut = false;

  bool wants(const std::string& path, const std::string& name) const {
    return pattern.empty() || glob_matches(pattern, pattern.find('/') == std::string::npos ? name : path);
  }

  /// Adds what is in the folder behind `fd`; links are listed, never followed.
  void add(unique_fd fd, const std::string& prefix, std::size_t depth) {
    std::unique_ptr<DIR, directory_close> directory(::fdopendir(fd.get()));
    if (!directory)
      return;
    fd.release(); // the stream's now
    const int at = ::dirfd(directory.get());
    std::vector<std::pair<std::string, bool>> entries; // name, folder
    while (const auto* entry = ::readdir(directory.get())) {
      const std::string name = entry->d_name;
      if (name == "." || name == "..")
        continue;
      if (++visited > visited_max || token.should_end()) {
        cut = true;
        return;
      }
      if (folder.is_hidden(at, name))
        continue;
      bool is_folder = entry->d_type == DT_DIR;
      if (entry->d_type == DT_UNKNOWN) {
        struct stat info {};
        is_folder = ::fstatat(at, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(info.st_mode);
      }
      entries.emplace_back(name, is_folder);
    }
    for (const auto& [name, is_folder] : entries) {
      const auto path = prefix + name;
      if (wants(path, name))
        found.push_back(is_folder ? path + "/" : path);
      if (!is_folder || !recursive || cut)
        continue;
      if (depth >= depth_max) {
        cut = true;
        continue;
      }
      if (unique_fd below(::openat(at, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)); below)
        add(std::move(below), path + "/", depth + 1);
    }
  }
};

tool_outcome list_files(const tool_spec& spec, const std::vector<std::string>& hidden, const json& arguments, const call_token& token) {
  const auto path = relative_path(spec.root, text_argument(arguments, "path"));
  if (!path)
    return builtin_failure(spec.name, path.error());
  const auto folder = confined_folder::open(spec.root, hidden);
  if (!folder)
    return builtin_failure(spec.name, folder.error());
  auto fd = folder->open_folder(*path);
  if (!fd)
    return builtin_failure(spec.name, fd.error());
  const auto pattern = text_argument(arguments, "pattern");
  const bool deep = pattern.find('/') != std::string::npos || pattern.find("**") != std::string::npos;
  listing all{*folder, pattern, flag_argument(arguments, "recursive") || deep, token, {}, 0, false};
  all.add(std::move(*fd), {}, 0);
  std::sort(all.found.begin(), all.found.end());
  tool_outcome out;
  std::size_t shown = 0;
  for (; shown < std::min(all.found.size(), entries_max) && out.output.size() < builtin_text_bytes_max / 4; ++shown)
    out.output.append(all.found[shown]).push_back('\n');
  mend_utf8(out.output);
  out.truncated = all.cut || shown < all.found.size();
  if (out.truncated)
    out.output += "[cut: these are " + std::to_string(shown) + " of " + (all.cut ? "more than " : "") + std::to_string(all.found.size())
                  + "; name a folder below or a pattern]\n";
  else if (all.found.empty())
    out.output = "[nothing found]\n";
  return out;
}

expected<std::unique_ptr<runner>> make_list_files(const tool_spec& spec, environment& shared) {
  if (spec.root.empty() || spec.root.front() != '/')
    return fail(error_code::invalid_argument, "list_files needs `root`: the folder whose files it may list");
  return worker_runner(shared.workers, spec.name, [spec, hidden = shared.hidden](const json& arguments, const call_token& token) {
    return list_files(spec, hidden, arguments, token);
  });
}

} // namespace

const builtin_row list_files_row{"list_files", &declare_list_files, &make_list_files};

} // namespace troupe::tools
