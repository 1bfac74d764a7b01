#include "troupe/tools/confined.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace troupe::tools {

namespace {

constexpr std::size_t path_bytes_max = 4'096;

tl::unexpected<error> refuse(error_code code, const std::string& path, const std::string& words) {
  return fail(code, "\"" + path + "\" " + words);
}

tl::unexpected<error> because_of(int number, const std::string& path) {
  switch (number) {
  case ENOENT:
    return refuse(error_code::not_found, path, "does not exist");
  case EXDEV:
    return refuse(error_code::permission_denied, path, "leads out of the tool's folder");
  case ELOOP:
    return refuse(error_code::permission_denied, path, "goes through a symbolic link that may not be followed");
  case ENOTDIR:
    return refuse(error_code::invalid_argument, path, "takes a file for a folder");
  case EACCES:
  case EPERM:
    return refuse(error_code::permission_denied, path, "is not accessible to this program");
  default:
    return refuse(code_of_errno(number), path, std::string("cannot be opened: ") + std::strerror(number));
  }
}

bool is_below(std::string_view path, std::string_view folder) {
  return path.substr(0, folder.size()) == folder && (path.size() == folder.size() || path[folder.size()] == '/');
}

/// One component after the other, none of which may be a link. For kernels without openat2.
int walk(int root, const std::string& relative, int flags) {
  unique_fd at(::fcntl(root, F_DUPFD_CLOEXEC, 3));
  for (std::size_t from = 0; at;) {
    const auto slash = relative.find('/', from);
    const bool last = slash == std::string::npos;
    const auto name = relative.substr(from, last ? slash : slash - from);
    unique_fd next(::openat(at.get(), name.c_str(), (last ? flags : O_PATH | O_DIRECTORY) | O_NOFOLLOW | O_CLOEXEC));
    if (last)
      return next.release();
    at = std::move(next);
    from = slash + 1;
  }
  return -1;
}

/// Where a descriptor is now, or empty.
std::string path_of(int fd) {
  char buffer[path_bytes_max + 1];
  const auto link = "/proc/self/fd/" + std::to_string(fd);
  const auto got = ::readlink(link.c_str(), buffer, sizeof buffer);
  return got > 0 ? std::string(buffer, static_cast<std::size_t>(got)) : std::string();
}

} // namespace

expected<std::string> relative_path(std::string_view root, std::string_view path) {
  const auto shown = std::string(path.substr(0, 200));
  if (path.find('\0') != std::string_view::npos)
    return fail(error_code::invalid_argument, "the path has a NUL character");
  if (path.size() > path_bytes_max)
    return fail(error_code::invalid_argument, "the path is longer than " + std::to_string(path_bytes_max) + " bytes");
  if (!path.empty() && path.front() == '/') {
    while (root.size() > 1 && root.back() == '/')
      root.remove_suffix(1);
    if (root != "/" && !is_below(path, root))
      return refuse(error_code::permission_denied, shown, "is outside of the tool's folder; name a path relative to it");
    path.remove_prefix(root == "/" ? 0 : root.size());
  }
  std::vector<std::string_view> parts;
  while (!path.empty()) {
    const auto part = path.substr(0, path.find('/'));
    path.remove_prefix(std::min(part.size() + 1, path.size()));
    if (part.empty() || part == ".")
      continue;
    if (part != "..") {
      parts.push_back(part);
    } else if (parts.empty()) {
      return refuse(error_code::permission_denied, shown, "leads out of the tool's folder");
    } else {
      parts.pop_back();
    }
  }
  std::string out;
  for (const auto part : parts)
    out.append(out.empty() ? "" : "/").append(part);
  return out.empty() ? "." : out;
}

error_code code_of_errno(int number) {
  switch (number) {
  case EAGAIN:
  case EBUSY:
  case EDQUOT:
  case EINTR:
  case EIO:
  case EMFILE:
  case ENFILE:
  case ENOMEM:
  case ENOSPC:
  case ESTALE:
  case ETXTBSY:
    return error_code::unavailable;
  default:
    return error_code::permission_denied;
  }
}

expected<confined_folder> confined_folder::open(const std::string& root, const std::vector<std::string>& hidden) {
  confined_folder out;
  out.root_ = root;
  out.fd_.reset(::open(root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!out.fd_)
    return fail(error_code::not_found, "the tool's folder \"" + root + "\" cannot be opened: " + std::strerror(errno));
  for (const auto& path : hidden) {
    std::error_code ignored;
    const auto real = std::filesystem::weakly_canonical(path, ignored).native();
    struct stat info {};
    if (::stat(path.c_str(), &info) == 0 && !S_ISDIR(info.st_mode))
      out.hidden_files_.emplace_back(info.st_dev, info.st_ino);
    out.hidden_.push_back(ignored ? path : real);
  }
  return out;
}

unique_fd confined_folder::open_beneath(const std::string& relative, int flags) const {
  open_how how{};
  how.flags = static_cast<std::uint64_t>(flags | O_CLOEXEC);
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
  for (int attempt = 0; attempt < 100; ++attempt) { // EAGAIN: something was renamed meanwhile, so the kernel is not sure
    const auto fd = static_cast<int>(::syscall(SYS_openat2, fd_.get(), relative.c_str(), &how, sizeof how));
    if (fd >= 0)
      return unique_fd(fd);
    if (errno == ENOSYS)
      return unique_fd(walk(fd_.get(), relative, flags));
    if (errno != EAGAIN && errno != EINTR)
      break;
  }
  return {};
}

expected<unique_fd> confined_folder::open_file(const std::string& relative, struct stat& info) const {
  // First without opening it for anything: to open a FIFO blocks, and to open a device may do things.
  const auto seen = open_beneath(relative, O_PATH);
  if (!seen)
    return because_of(errno, relative);
  if (::fstat(seen.get(), &info) != 0)
    return because_of(errno, relative);
  if (is_hidden(seen.get()))
    return because_of(ENOENT, relative);
  if (S_ISDIR(info.st_mode))
    return refuse(error_code::invalid_argument, relative, "is a folder");
  if (!S_ISREG(info.st_mode))
    return refuse(error_code::invalid_argument, relative, "is no regular file (a pipe, a socket or a device)");
  // The very file that was looked at, whatever the path leads to by now.
  const auto link = "/proc/self/fd/" + std::to_string(seen.get());
  unique_fd fd(::open(link.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
  if (!fd)
    return because_of(errno, relative);
  return fd;
}

expected<unique_fd> confined_folder::open_folder(const std::string& relative) const {
  auto fd = open_beneath(relative, O_RDONLY | O_DIRECTORY | O_NONBLOCK);
  if (!fd)
    return errno == ENOTDIR ? refuse(error_code::invalid_argument, relative, "is no folder") : because_of(errno, relative);
  if (is_hidden(fd.get()))
    return because_of(ENOENT, relative);
  return fd;
}

expected<unique_fd> confined_folder::make_folders(const std::string& relative) const {
  for (std::size_t end = 0; end != std::string::npos && relative != ".";) {
    end = relative.find('/', end + 1);
    const auto part = relative.substr(0, end);
    const auto slash = part.rfind('/');
    auto parent = open_folder(slash == std::string::npos ? "." : part.substr(0, slash));
    if (!parent)
      return parent;
    const auto name = part.substr(slash == std::string::npos ? 0 : slash + 1);
    if (is_hidden(parent->get(), name))
      return because_of(EACCES, part);
    if (::mkdirat(parent->get(), name.c_str(), 0777) != 0 && errno != EEXIST)
      return because_of(errno, part);
  }
  return open_folder(relative);
}

bool confined_folder::is_hidden(int fd, std::string_view name) const {
  if (hidden_.empty())
    return false;
  struct stat info {};
  const bool there = name.empty() ? ::fstat(fd, &info) == 0 : ::fstatat(fd, std::string(name).c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0;
  if (there && std::find(hidden_files_.begin(), hidden_files_.end(), std::pair(info.st_dev, info.st_ino)) != hidden_files_.end())
    return true;
  auto path = path_of(fd);
  if (!name.empty())
    path.append("/").append(name);
  return std::any_of(hidden_.begin(), hidden_.end(), [&path](const std::string& each) { return is_below(path, each); });
}

} // namespace troupe::tools
