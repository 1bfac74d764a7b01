#pragma once

#include <string>
#include <vector>

namespace troupe::cli {

struct init_file {
  std::string path; ///< below the project's folder
  std::string text;
};

/// What `troupe init` writes.
const std::vector<init_file>& init_files();

} // namespace troupe::cli
