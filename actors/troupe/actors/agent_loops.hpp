#pragma once
// What an agent keeps of its supervisor's verdicts (SEMANTICS 2), and what follows from them for its requests.

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "troupe/actors/interfaces.hpp"
#include "troupe/model/llm.hpp"
#include "troupe/policy/loop_history.hpp"
#include "troupe/policy/loop_texts.hpp"

namespace troupe::actors {

struct agent_loops {
  std::shared_ptr<const policy::loop_watch> restored; ///< to be handed over with the next observation
  std::vector<policy::observed_result> earlier;       ///< of the last response: not told yet
  std::vector<std::string> taken;                     ///< tools that are refused for the rest of the task
  bool told = false;                                  ///< its temperature is halved
  bool force_other = false;                           ///< the next answer must be another action
  bool report = false;                                ///< what comes of these calls is told before the next request
  std::string excuse;                                 ///< what the agent is told whom a human lets go on

  /// Takes a rung, now or from the journal.
  void stand(loop_rung rung, const std::string& tool);
  /// A human lets it go on: nothing is refused any more, and its supervisor forgets what it has seen.
  void begin_anew(const loop_spec& spec, std::string told_to_it);
  std::optional<double> temperature(std::optional<double> configured) const;
  /// Tools that the agent still has.
  std::vector<std::string> left(const std::vector<std::string>& tools) const;
  /// Those, and what was taken away where the history has calls of it: providers want that declared.
  tool_declarations declared(const tool_declarations& all, const conversation& messages) const;
  /// `tool_choice` of the next request, once: another tool, or none where there is no other.
  std::string choice(const std::vector<std::string>& tools, const tool_declarations& declared);
};

/// What a human is asked at the last rung. `text`: how the agent got there. The same at each time that it is asked.
approval_ask loop_request(const task_assignment& of, std::int64_t step, const policy::loop_found& found, const tool_call& call,
                          const std::string& text);

} // namespace troupe::actors
