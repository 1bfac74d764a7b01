#pragma once
// What humans have let in: the definition of each tool of each MCP server as it was first seen, or approved. A file beside the journal, for
// this user only. A tool that is not as it stands here is held (SEMANTICS 4): its new words reach no model.

#include <map>
#include <string>
#include <vector>

#include "troupe/model/config.hpp"
#include "troupe/model/error.hpp"
#include "troupe/tools/mcp_tool.hpp"

namespace troupe::tools {

enum class pin_verdict { known, fresh, changed };

class mcp_pins {
public:
  /// A file that is not there is empty; `corrupt` for one that is none of ours.
  static expected<mcp_pins> load(const std::string& path);

  /// `source` says which server it is (its command or address): another one under the same name is seen for the first time.
  pin_verdict judge(const std::string& server, const std::string& source, const mcp_tool& tool) const;
  /// The definition that was let in, or null.
  json definition(const std::string& server, const std::string& source, const std::string& tool) const;
  void pin(const std::string& server, const std::string& source, const mcp_tool& tool);

  /// Judges all tools, and pins what is seen for the first time. The digests of what may be called; what is held is left out.
  static expected<std::map<std::string, std::string>> admit(const std::string& path, const tool_spec& server,
                                                            const std::vector<mcp_tool>& tools);
  /// Pins all of them as they are now.
  static expected<void> approve(const std::string& path, const tool_spec& server, const std::vector<mcp_tool>& tools);

private:
  expected<void> save(const std::string& path) const;
  json servers_ = json::object();
};

/// Which server an entry means.
std::string mcp_source(const tool_spec& server);

/// A file that only this user reads, replaced whole; its folder is made. Another process that does the same waits.
expected<std::string> read_private_file(const std::string& path);
expected<void> write_private_file(const std::string& path, const std::string& text);
/// Holds a file's lock (PATH.lock) while it lives, so that reading, changing and writing it are one.
class file_guard {
public:
  explicit file_guard(const std::string& path);
  ~file_guard();
  file_guard(const file_guard&) = delete;
  file_guard& operator=(const file_guard&) = delete;

private:
  int fd_ = -1;
};

} // namespace troupe::tools
