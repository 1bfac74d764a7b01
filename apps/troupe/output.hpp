#pragma once
// Standard output. Models, tools, peers and configurations have a say in what stands there: into a pipe or a file it goes byte for byte,
// on a terminal without what that would act upon.

#include <string>

#include <nlohmann/json_fwd.hpp>

namespace troupe::cli {

/// Prints a text as it is (it is redacted already); on a terminal its control characters become visible escapes.
void print_text(const std::string& text);
/// Prints a JSON document, redacted, and a line break; on a terminal its control characters become JSON's escapes. `indent` -1: on one
/// line.
void print_document(const nlohmann::json& document, int indent = 2);

} // namespace troupe::cli
