#pragma once
// A document against config/troupe.schema.json, in the words of this format.

#include "troupe/config/issue.hpp"
#include "troupe/model/described.hpp"

namespace troupe::config {

/// Adds what the schema refuses. The schema is compiled once, on first use; any thread.
void check_schema(const json& document, issue_list& into);

} // namespace troupe::config
