#pragma once
// How many tool calls run at once (SEMANTICS 4): at most 8 an agent, 16 a tool (its `max_parallel`), 64 a process. Whoever has to wait goes
// first when there is room for it; a full tool or agent never holds up calls to other tools or of other agents.

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace troupe::policy {

/// An admission queue. Calls are admitted in the order in which they came among those that agent, tool and process have room for.
/// One thread only. Each operation is O(log n) in the calls that wait, times at most the number of agents and tools that are full (which
/// the process limit bounds). Memory is linear in the calls that run or wait: idle agents and tools leave nothing behind.
///
/// How: waiting calls of one agent to one tool stand in one lane. A lane is parked at the gate that blocks it (its agent or its tool), or
/// is ready and waits for the process only. A gate that gets room stands itself among the ready, under the age of its oldest lane.
class parallel_limits {
public:
  static constexpr std::int64_t agent_max = 8;
  static constexpr std::int64_t process_max = 64;

  explicit parallel_limits(std::int64_t for_agent = agent_max, std::int64_t for_process = process_max)
      : agent_limit_(for_agent < 1 ? 1 : for_agent), process_limit_(for_process < 1 ? 1 : for_process) {}

  using call_id = std::uint64_t;

  /// Whether the call may run now; else it waits and a later `finished` or `cancelled` names it. `id` is the caller's, unique among the
  /// calls that run or wait. `agent` is the agent's instance in its run; `tool_limit` the tool's `max_parallel` (less than 1 counts as 1;
  /// the latest value holds).
  [[nodiscard]] bool admit(call_id id, const std::string& agent, const std::string& tool, std::int64_t tool_limit);

  /// A call that runs already has its place, whether there is room or not: whoever let it in is gone. `id` as above.
  void occupy(call_id id, const std::string& agent, const std::string& tool, std::int64_t tool_limit);

  /// A running call ended, or one that waits is given up. The ids that may run now, oldest first; none for unknown ids.
  [[nodiscard]] std::vector<call_id> finished(call_id id);

  std::int64_t running() const { return running_; }
  std::int64_t waiting() const { return waiting_; }

private:
  using order = std::uint64_t; ///< of arrival, from 1
  struct lane;
  /// An agent or a tool.
  struct gate {
    std::string name;
    std::int64_t limit = 1;
    std::int64_t running = 0;
    std::int64_t lanes = 0;        ///< with waiting calls, wherever they are parked
    std::map<order, lane*> parked; ///< blocked here, by the age of their oldest call
    order ready_as = 0;            ///< its key in `ready_`; 0: it is not there
    bool full() const { return running >= limit; }
  };
  using gates = std::unordered_map<std::string, gate>;
  using lane_key = std::pair<gate*, gate*>; ///< agent and tool
  struct lane {
    gate* agent = nullptr;
    gate* tool = nullptr;
    std::map<order, call_id> calls;
    gate* parked_at = nullptr; ///< null: it is ready
    order age() const { return calls.begin()->first; }
  };
  struct ready_entry {
    lane* of_lane = nullptr; ///< either this
    gate* of_gate = nullptr; ///< or this: a gate with room, for what is parked there
  };
  struct call {
    gate* agent = nullptr;
    gate* tool = nullptr;
    order waits_as = 0; ///< 0: it runs
  };

  static gate& gate_of(gates& where, const std::string& name, std::int64_t limit);
  static void drop_if_idle(gates& where, gate& which);
  void park_or_ready(lane& which);
  void unpark(lane& which);
  void show_room(gate& which);
  void hide_room(gate& which);
  void begin_at(gate& agent, gate& tool);
  void start_oldest(lane& which, std::vector<call_id>& admitted);
  void drain(std::vector<call_id>& admitted);

  std::int64_t agent_limit_;
  std::int64_t process_limit_;
  std::int64_t running_ = 0;
  std::int64_t waiting_ = 0;
  order next_order_ = 1;
  gates agents_;
  gates tools_;
  std::map<lane_key, lane> lanes_;
  std::map<order, ready_entry> ready_; ///< what may go on once the process has room, oldest first
  std::unordered_map<call_id, call> calls_;
};

} // namespace troupe::policy
