// The real files and the real environment.

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "troupe/config/load.hpp"

namespace troupe::config {

namespace {

/// Closes itself.
class descriptor {
public:
  explicit descriptor(const std::string& path) : fd_(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK)) {}
  ~descriptor() {
    if (fd_ >= 0)
      ::close(fd_);
  }
  descriptor(const descriptor&) = delete;
  descriptor& operator=(const descriptor&) = delete;
  int get() const { return fd_; }

private:
  int fd_;
};

std::string cannot_read(int code) {
  switch (code) {
  case ENOENT:
  case ENOTDIR:
    return "no such file";
  case EACCES:
  case EPERM:
    return "cannot be read: permission denied";
  default:
    return std::string("cannot be read: ") + std::strerror(code);
  }
}

expected<std::string> read_file(const std::string& path, std::size_t most_bytes) {
  const descriptor file(path);
  if (file.get() < 0)
    return fail(errno == ENOENT || errno == ENOTDIR ? error_code::not_found : error_code::permission_denied, cannot_read(errno), path);
  struct stat status {};
  if (::fstat(file.get(), &status) != 0)
    return fail(error_code::internal, cannot_read(errno), path);
  // A FIFO or a device could block, or never end.
  if (S_ISDIR(status.st_mode))
    return fail(error_code::invalid_argument, "is a folder, not a file", path);
  if (!S_ISREG(status.st_mode))
    return fail(error_code::invalid_argument, "is no regular file", path);
  return read_to_end(file.get(), path, most_bytes);
}

bool is_readable(const std::string& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode) && ::access(path.c_str(), R_OK) == 0;
}

} // namespace

expected<std::string> read_to_end(int descriptor, const std::string& name, std::size_t most_bytes) {
  std::string out;
  char buffer[64 * 1024];
  while (out.size() <= most_bytes) {
    const auto count = ::read(descriptor, buffer, std::min(sizeof buffer, most_bytes + 1 - out.size()));
    if (count < 0 && errno == EINTR)
      continue;
    if (count < 0)
      return fail(error_code::unavailable, cannot_read(errno), name);
    if (count == 0)
      break;
    out.append(buffer, static_cast<std::size_t>(count));
  }
  return out;
}

file_access real_files() {
  return {read_file, is_readable};
}

environment process_environment() {
  return [](const std::string& name) -> std::optional<std::string> {
    const char* value = std::getenv(name.c_str());
    return value == nullptr ? std::nullopt : std::optional<std::string>(value);
  };
}

} // namespace troupe::config
