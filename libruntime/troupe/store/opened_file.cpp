#include "troupe/store/opened_file.hpp"

#include <cerrno>

#include <sys/stat.h>

namespace troupe::store {

opened_file::opened_file(std::string path) : path_(std::move(path)) {
  struct stat found;
  if (::stat(path_.c_str(), &found) == 0)
    file_.emplace(found.st_dev, found.st_ino);
}

bool opened_file::in_place() const {
  struct stat found;
  if (::stat(path_.c_str(), &found) == 0)
    return file_ == std::pair(found.st_dev, found.st_ino);
  return errno != ENOENT;
}

} // namespace troupe::store
