#pragma once

#include <string>

#include "troupe/model/config.hpp"

namespace troupe::cli {

/// The supervision tree as a drawing, with each agent's model and tools beside it.
std::string render_tree(const supervisor_spec& root, const configuration& config);

} // namespace troupe::cli
