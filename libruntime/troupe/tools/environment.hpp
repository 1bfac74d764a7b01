#pragma once
// What the tools of one configuration share. It outlives every runner that is made with it.

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "troupe/model/error.hpp"

namespace troupe::llm {
class http_client;
}

namespace troupe::tools {

class io_loop;
class worker_pool;
class mcp_servers;

/// How `tool_limits::processes` is enforced (RLIMIT_NPROC does not bind root, TRAPS).
enum class process_counting {
  automatic, ///< a cgroup's `pids.max` where one can be made; else RLIMIT_NPROC in the sandbox's user namespace or, where that does not
             ///< bind, a watch
  watch,     ///< descendants are counted every 20 ms and all are killed beyond the limit; for tests of that path
};

struct environment {
  io_loop& loop;
  worker_pool& workers;
  llm::http_client* http = nullptr; ///< of http_fetch; without one that builtin is refused
  std::string folder;               ///< the configuration's: absolute; process tools run there
  std::vector<std::string> hidden;  ///< absolute paths no tool sees: the journal's folder, or its file and `-wal`, `-shm`
  /// A secret that `env_from` names. Asked once a tool, when its runner is made. Empty function: the process environment.
  std::function<std::optional<std::string>(const std::string& name)> secret;
  std::string bwrap;                      ///< absolute path; empty: looked for in /usr/local/bin, /usr/bin, /bin
  std::chrono::milliseconds grace{2'000}; ///< between SIGTERM and SIGKILL
  process_counting counting = process_counting::automatic;
  mcp_servers* mcp = nullptr; ///< of MCP tools; without them these are refused
};

/// The value of a variable that `env_from` names. `not_found`: it is not set.
expected<std::string> secret_named(const std::string& name, const environment& shared);

} // namespace troupe::tools
