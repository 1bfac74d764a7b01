#pragma once
// What is outside of a simulated process and survives it: the disk, the model providers, what tools have done. It sees the runtime as the
// world does, and notes each promise that is broken.

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "troupe/actors/caf.hpp"
#include "troupe/llm/scripted.hpp"
#include "troupe/model/config.hpp"
#include "troupe/model/event.hpp"
#include "troupe/store/journal.hpp"
#include "troupe/tools/runner.hpp"

namespace troupe::simulation {

using actors::clock_point;

/// What a tool does on its n-th start, counted over all of its calls (from 1).
using tool_work = std::function<tool_outcome(const invocation&, std::int64_t n)>;

/// What happens outside, the same in each run of a scenario.
struct surroundings {
  std::shared_ptr<const configuration> config;
  std::string script_file;                ///< of all scripted providers
  std::map<std::string, tool_work> tools; ///< by name; others answer "NAME did ARGUMENTS"
  milliseconds model_latency{200};
  std::map<std::string, milliseconds> latency_of; ///< by provider, where it is another
  milliseconds tool_latency{50};
  bool any_latency = false; ///< an answer may arrive at any event after its request, so that it meets everything that goes on meanwhile
};

class world {
public:
  explicit world(const surroundings& around);

  /// One request to a model: checked, billed, answered.
  llm_outcome answer(const provider_spec& provider, const llm_request& request);
  /// One start of a tool: counted, done.
  tool_outcome perform(const tool_spec& tool, const invocation& call);
  llm::scripted_provider& model() { return model_; }
  const surroundings& around() const { return around_; }

  std::map<std::string, std::vector<event_ptr>> disk; ///< by run, durable
  std::map<std::string, const void*> owners;          ///< by run or tenant
  std::vector<store::decision_row>
      decisions; ///< what humans have decided, once a request can be read: yes, or no where a call in doubt was made
  clock_point now{std::chrono::hours(1)};             ///< as the last process left it
  std::int64_t requests = 0;                          ///< that reached a provider
  std::int64_t requests_recorded = 0;                 ///< that are on the disk as about to leave
  std::int64_t effects = 0;                           ///< starts of tools whose effect is not none
  std::int64_t effects_recorded = 0;                  ///< … that are on the disk as about to run
  usd billed;                                         ///< what the providers want for their answers
  std::map<std::string, std::int64_t> starts_of_call; ///< by idempotency key
  std::map<std::string, std::int64_t> starts_of_tool; ///< by name
  std::vector<std::string> broken;                    ///< promises that were seen broken

private:
  surroundings around_;
  llm::scripted_provider model_;
};

} // namespace troupe::simulation
