#include "troupe/tools/environment.hpp"

#include <cstdlib>

namespace troupe::tools {

expected<std::string> secret_named(const std::string& name, const environment& shared) {
  if (shared.secret) {
    if (auto value = shared.secret(name))
      return std::move(*value);
  } else if (const char* set = std::getenv(name.c_str())) {
    return set;
  }
  return fail(error_code::not_found, "`env_from` names " + name + ", which is not set in the environment; set it, or take it out");
}

} // namespace troupe::tools
