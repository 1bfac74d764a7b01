#pragma once
// Which file a path led to when it was opened: what is written into one that was moved, removed or replaced since, nobody finds again.

#include <optional>
#include <string>
#include <utility>

#include <sys/types.h>

namespace troupe::store {

class opened_file {
public:
  /// The file at `path` now.
  explicit opened_file(std::string path);

  /// Whether the path still leads to it. What cannot be told is the file system's trouble, which writing will meet, and counts as in place.
  bool in_place() const;

private:
  std::string path_;
  std::optional<std::pair<dev_t, ino_t>> file_; ///< nullopt: there was none
};

} // namespace troupe::store
