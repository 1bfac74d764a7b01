#pragma once
// A file and what it includes -> one document.

#include <string>

#include "troupe/config/load.hpp"
#include "troupe/config/located.hpp"
#include "troupe/config/problem.hpp"

namespace troupe::config {

/// Reads `path` and, depth first, what `include` names. Sections are merged entry by entry; an entry (or a section that is no mapping)
/// that stands twice is a problem that names both places. A file that is reached twice is merged once; one that includes itself is a
/// problem. Relative paths of an included file are made absolute, those of the first one stay. The result has no `include`, and is
/// null when the first file could not be read. At most 100 files, 16 MiB, 10 levels.
located_document read_with_includes(const std::string& path, const file_access& files, problem_list& problems);

} // namespace troupe::config
