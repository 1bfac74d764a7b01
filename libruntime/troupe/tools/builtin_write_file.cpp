// The builtin `write_file`: the whole file or nothing of it.
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "troupe/tools/builtin_parts.hpp"
#include "troupe/tools/confined.hpp"

namespace troupe::tools {

namespace {

constexpr int temporary_tries = 1'000;

tool_declaration declare_write_file() {
  return {"write_file",
          "Writes a text file, in place of what is there; missing folders are made. At most 1 MiB.",
          {{"type", "object"},
           {"required", {"path", "content"}},
           {"properties",
            {{"path", {{"type", "string"}, {"minLength", 1}, {"description", "relative to the tool's folder"}}},
             {"content", {{"type", "string"}}}}},
           {"additionalProperties", false}},
          effect::idempotent, // the same content once more changes nothing more
          risk::low};
}

bool write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const auto got = ::write(fd, text.data(), text.size());
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      return false;
    text.remove_prefix(static_cast<std::size_t>(got));
  }
  return true;
}

/// Writes beside the target, makes it durable, and puts it in the target's place. False: errno says why, and nothing has changed.
bool replace(int folder, const std::string& name, std::string_view content, mode_t mode) {
  static std::atomic<std::uint64_t> next{1};
  std::string temporary;
  unique_fd fd;
  // A process that was killed left its file behind, and in a container the next one has its number.
  for (int tries = 0; !fd && tries < temporary_tries; ++tries) {
    temporary = ".troupe-" + std::to_string(::getpid()) + "-" + std::to_string(next.fetch_add(1)) + ".tmp";
    fd.reset(::openat(folder, temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666));
    if (!fd && errno != EEXIST)
      return false;
  }
  if (!fd)
    return false;
  const bool good = (mode == 0 || ::fchmod(fd.get(), mode) == 0) && write_all(fd.get(), content) && ::fsync(fd.get()) == 0
                    && ::renameat(folder, temporary.c_str(), folder, name.c_str()) == 0;
  if (!good) {
    const int why = errno;
    ::unlinkat(folder, temporary.c_str(), 0);
    errno = why;
    return false;
  }
  ::fsync(folder); // the name, too; where a file system cannot, the content is safe all the same
  return true;
}

tool_outcome write_file(const tool_spec& spec, const std::vector<std::string>& hidden, const json& arguments) {
  const auto content = text_argument(arguments, "content");
  if (content.size() > builtin_text_bytes_max)
    return builtin_failure(spec.name, "the content has " + std::to_string(content.size()) + " bytes, and at most "
                                          + std::to_string(builtin_text_bytes_max) + " can be written at once");
  const auto given = text_argument(arguments, "path");
  const auto path = relative_path(spec.root, given);
  if (!path)
    return builtin_failure(spec.name, path.error());
  if (*path == "." || given.back() == '/')
    return builtin_failure(spec.name, "\"" + given + "\" names a folder, not a file");
  const auto folder = confined_folder::open(spec.root, hidden);
  if (!folder)
    return builtin_failure(spec.name, folder.error());
  const auto slash = path->rfind('/');
  const auto parent = folder->make_folders(slash == std::string::npos ? "." : path->substr(0, slash));
  if (!parent)
    return builtin_failure(spec.name, parent.error());
  const auto name = path->substr(slash == std::string::npos ? 0 : slash + 1);
  if (folder->is_hidden(parent->get(), name))
    return builtin_failure(spec.name, "\"" + *path + "\" is not accessible to this program");
  struct stat there {};
  mode_t mode = 0;
  if (::fstatat(parent->get(), name.c_str(), &there, AT_SYMLINK_NOFOLLOW) == 0) {
    if (!S_ISREG(there.st_mode))
      return builtin_failure(spec.name, "\"" + *path + "\" is " + (S_ISDIR(there.st_mode) ? "a folder" : "no regular file")
                                            + ", and is left as it is");
    mode = there.st_mode & 0777;
  }
  if (!replace(parent->get(), name, content, mode))
    return builtin_failure(spec.name, error{code_of_errno(errno), "\"" + *path + "\" cannot be written: " + std::strerror(errno), {}});
  return {tool_status::ok, "wrote " + std::to_string(content.size()) + " bytes to " + *path, {}, 0, false};
}

expected<std::unique_ptr<runner>> make_write_file(const tool_spec& spec, environment& shared) {
  if (spec.root.empty() || spec.root.front() != '/')
    return fail(error_code::invalid_argument, "write_file needs `root`: the folder that it may write to");
  return worker_runner(shared.workers, spec.name, [spec, hidden = shared.hidden](const json& arguments, const call_token&) {
    return write_file(spec, hidden, arguments);
  });
}

} // namespace

const builtin_row write_file_row{"write_file", &declare_write_file, &make_write_file};

} // namespace troupe::tools
