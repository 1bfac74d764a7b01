#pragma once
// `${ENV_NAME}` in the strings of providers, journal, queue, node, api and every notify (INTERFACES 1). `$${` writes `${`.

#include <string>

#include "troupe/config/issue.hpp"
#include "troupe/config/load.hpp"
#include "troupe/config/view.hpp"

namespace troupe::config {

/// Replaces in place. A variable that is not set and a name that is none are issues at their string. The pointers of what was replaced
/// are added to `in.secret`.
void substitute_environment(json& document, const environment& variables, reading& in);

} // namespace troupe::config
