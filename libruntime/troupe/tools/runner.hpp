#pragma once
// What the tool host sees of a tool: start an invocation, get one outcome. Retries, alternatives and limits stand above.

#include <cstdint>
#include <functional>

#include "troupe/model/tool.hpp"

namespace troupe::tools {

using running_id = std::uint64_t;
using on_outcome = std::function<void(tool_outcome)>;

class runner {
public:
  virtual ~runner() = default;

  /// Starts a call whose arguments satisfy the tool's schema. `done` is called exactly once: on another thread, or within this call
  /// for builtins that answer at once. Any thread; never blocks.
  virtual running_id start(invocation call, on_outcome done) = 0;

  /// Stops a running call with everything it started; `done` is called with `cancelled` once nobody is left. Unknown ids are ignored.
  virtual void cancel(running_id id) = 0;
};

} // namespace troupe::tools
