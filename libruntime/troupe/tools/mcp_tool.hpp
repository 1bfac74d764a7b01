#pragma once
// What a server says of its tools, and what a call of one brought, in our terms. Pure; all of it is hostile.

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "troupe/model/config.hpp"
#include "troupe/model/error.hpp"
#include "troupe/model/tool.hpp"
#include "troupe/tools/mcp_message.hpp"

namespace troupe::tools {

constexpr std::size_t mcp_tools_max = 1'000; ///< of one server

/// A tool as its server describes it.
struct mcp_tool {
  std::string name;
  std::string description; ///< or its title, where it has none
  json input_schema;
  json output_schema; ///< null: none
  json annotations;   ///< null: none
  /// Arguments that HTTP repeats in headers (`x-mcp-header`): where they stand, and the header's name without "Mcp-Param-".
  std::vector<std::pair<std::vector<std::string>, std::string>> headers;

  /// All that a change must not slip through: what a model reads and what decides its risk. Canonical JSON.
  json definition() const;
};

/// A document with its strings and keys redacted.
json without_secrets(json of);

/// One element of a server's list, without secrets: models, files and people see what is made of it. `invalid_argument` says why it cannot
/// be offered. `http`: wrong `x-mcp-header` marks are a reason.
expected<mcp_tool> read_mcp_tool(const json& from, bool http);

/// What the server's annotations say, and the file over it: effect none for readOnlyHint, idempotent for idempotentHint; risk high for
/// destructiveHint. The file's words for one tool stand over those for the whole server.
void apply_annotations(const mcp_tool& tool, const mcp_spec& said, tool_spec& into);

/// The arguments' headers of one call: "Mcp-Param-Region" and its value. Absent and null arguments have none.
std::vector<std::pair<std::string, std::string>> mcp_argument_headers(const mcp_tool& tool, const json& arguments);
/// A text as a header's value: as it is where that is safe, else =?base64?…?=.
std::string mcp_header_value(std::string_view text);

/// The result of tools/call as an outcome: texts as they are, what is not text as a note of its kind and size, structured content as JSON
/// where no text says the same. Without secrets, then cut at `bytes_max`. Structured content must satisfy the tool's output schema.
tool_outcome mcp_outcome(const std::string& who, const mcp_tool& tool, const json& result, std::size_t bytes_max);

/// A server and its tools by the server's names, in its order.
struct mcp_offer {
  std::string server;
  std::vector<std::string> tools;
  bool prefix = false;
};
/// How agents call them: the server's own name where it is unique among all of `offers` and `taken`, SERVER_NAME else; characters that
/// providers refuse are replaced by '_', and names are cut to 64 with the rest told by a digest. (server, tool) -> name; a name that
/// is left twice is `conflict`.
expected<std::map<std::pair<std::string, std::string>, std::string>> mcp_names(const std::vector<mcp_offer>& offers,
                                                                               const std::set<std::string>& taken);

} // namespace troupe::tools
