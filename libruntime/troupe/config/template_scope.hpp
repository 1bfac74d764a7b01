#pragma once
// What the templates of a workflow may read.

#include "troupe/config/resolver.hpp"

namespace troupe::config {

struct resolver::template_scope {
  view workflow;
  std::vector<std::string_view> tasks; ///< ids, in order
  bool in_for_each = false;
};

} // namespace troupe::config
