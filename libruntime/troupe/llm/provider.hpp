#pragma once
// What the gateway sees of a provider: start a request, get one outcome. Nothing here retries (SEMANTICS 1: one place sends).

#include <cstdint>
#include <functional>
#include <memory>

#include "troupe/model/llm.hpp"

namespace troupe::llm {

using transfer_id = std::uint64_t;
using on_outcome = std::function<void(llm_outcome)>;

class provider {
public:
  virtual ~provider() = default;

  /// Starts a request. `done` is called exactly once, on another thread or (scripted, without latency) within this call; never after
  /// `cancel` has been answered with a `cancelled` failure. May be called from any thread and never blocks on the network.
  virtual transfer_id start(llm_request request, on_outcome done) = 0;

  /// Ends a transfer that is under way: `done` is called with `cancelled`. Unknown ids are ignored. Any thread.
  virtual void cancel(transfer_id id) = 0;

  /// An upper bound of the input tokens that the provider can charge for this request: its bytes and what the provider adds for tools
  /// and roles. Never below what a truthful provider states.
  virtual std::int64_t input_token_bound(const llm_request& request) const = 0;

  /// A likely number of input tokens, for usage that a response does not state.
  virtual std::int64_t input_token_estimate(const llm_request& request) const = 0;
};

} // namespace troupe::llm
