#pragma once
// Tools: what one is, what is asked of it, what comes back.

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include <boost/describe.hpp>
#include <nlohmann/json.hpp>

namespace troupe {

using json = nlohmann::json;

/// What a repeat would do (SEMANTICS 4): nothing at all, nothing more, or it again.
enum class effect { none, idempotent, once };
BOOST_DESCRIBE_ENUM(effect, none, idempotent, once)

enum class risk { low, medium, high, critical };
BOOST_DESCRIBE_ENUM(risk, low, medium, high, critical)

enum class tool_kind { builtin, process, http, mcp };
BOOST_DESCRIBE_ENUM(tool_kind, builtin, process, http, mcp)

/// One call of one tool, with arguments that satisfy its schema.
struct invocation {
  std::string call_id; ///< unique in the run; stable over a crash
  std::string tool;
  json arguments;
  std::string idempotency_key; ///< the same for every repeat of this call
  std::chrono::milliseconds timeout{30'000};
};

enum class tool_status {
  ok,
  failed, ///< it ran and says no: exit status, HTTP status, an error of a builtin
  timed_out,
  not_started, ///< nothing ran: program missing, sandbox missing, arguments refused
  cancelled,
  in_doubt, ///< it may have run: the process that knew is gone
};
BOOST_DESCRIBE_ENUM(tool_status, ok, failed, timed_out, not_started, cancelled, in_doubt)

/// Who hears first of a call that may have taken effect, nobody knows, and must not be made twice (SEMANTICS 4).
enum class doubt_rule {
  tell,   ///< the agent: the call is over
  ask,    ///< a human, for a high risk: the call is not over before that
  repeat, ///< a human has, and wants it made again
};

/// Such a call: the tool that it had turned to, and at which attempt.
struct tool_in_doubt {
  std::string tool;
  std::int64_t attempt = 1;
};

/// What a call brought. `output` is valid UTF-8 and bounded; `error` says what failed, for the model to replan from.
struct tool_outcome {
  tool_status status = tool_status::ok;
  std::string output;
  std::string error;
  std::int64_t exit_status = 0;
  bool truncated = false;           ///< the output was cut at its limit; the text says so too
  std::int64_t retry_after_ms = -1; ///< the tool asks not to be called again before that; -1: it says nothing
  bool permanent = false;           ///< it would fail again in the same way: not repeated, the alternative is next
  friend bool operator==(const tool_outcome&, const tool_outcome&) = default;
};
BOOST_DESCRIBE_STRUCT(tool_outcome, (), (status, output, error, exit_status, truncated, retry_after_ms, permanent))

} // namespace troupe
