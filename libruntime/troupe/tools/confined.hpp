#pragma once
// Files below one folder, and nothing else: `..`, absolute paths, symbolic links that lead out and races cannot leave it, because the
// kernel resolves each path beneath the folder's descriptor (openat2, RESOLVE_BENEATH). Where the kernel has no openat2, each component is
// opened without following links. Special files are never opened for reading, so that nothing blocks.

#include <string>
#include <string_view>
#include <vector>

#include <sys/stat.h>

#include "troupe/model/error.hpp"
#include "troupe/util/unique_fd.hpp"

namespace troupe::tools {

/// A path that a model wrote, relative to `root`: "." for the root itself, no empty or "." component, no leading slash. An absolute path is
/// taken where it is below the root as it is written. `invalid_argument` for NUL, more than 4,096 bytes, `..` that leads out. Pure.
expected<std::string> relative_path(std::string_view root, std::string_view path);

/// `permission_denied` for what the system will refuse again, `unavailable` for what may pass (a full disk, too many open files).
error_code code_of_errno(int number);

class confined_folder {
public:
  /// `not_found` when the root is no folder. `hidden` paths and what is below them are not there.
  static expected<confined_folder> open(const std::string& root, const std::vector<std::string>& hidden);

  const std::string& root() const { return root_; }

  /// Opens what is there, for reading. Regular files only; `info` is filled in. Errors are words for the model, with the path as it wrote
  /// it.
  expected<unique_fd> open_file(const std::string& relative, struct stat& info) const;

  /// Opens a folder, for reading its entries and for `openat`.
  expected<unique_fd> open_folder(const std::string& relative) const;

  /// As `open_folder`, and makes what is missing of it.
  expected<unique_fd> make_folders(const std::string& relative) const;

  /// Whether the file or folder behind a descriptor, or the entry `name` of it, is hidden.
  bool is_hidden(int fd, std::string_view name = {}) const;

private:
  confined_folder() = default;
  unique_fd open_beneath(const std::string& relative, int flags) const;

  std::string root_;
  unique_fd fd_;
  std::vector<std::string> hidden_;                   ///< resolved
  std::vector<std::pair<dev_t, ino_t>> hidden_files_; ///< of those that are there: a hard link is the same file
};

} // namespace troupe::tools
