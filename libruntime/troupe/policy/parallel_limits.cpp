#include "troupe/policy/parallel_limits.hpp"

#include <algorithm>

namespace troupe::policy {

parallel_limits::gate& parallel_limits::gate_of(gates& where, const std::string& name, std::int64_t limit) {
  auto& found = where[name];
  if (found.running == 0 && found.lanes == 0) {
    found.name = name;
    found.limit = std::max<std::int64_t>(limit, 1);
  }
  return found;
}

void parallel_limits::drop_if_idle(gates& where, gate& which) {
  if (which.running == 0 && which.lanes == 0)
    where.erase(where.find(which.name));
}

bool parallel_limits::admit(call_id id, const std::string& agent_name, const std::string& tool_name, std::int64_t tool_limit) {
  auto& agent = gate_of(agents_, agent_name, agent_limit_);
  auto& tool = gate_of(tools_, tool_name, tool_limit);
  const auto waiting = lanes_.find({&agent, &tool});
  // Below the process limit nothing is ready, so that a newcomer with room at both gates overtakes nobody.
  if (waiting == lanes_.end() && running_ < process_limit_ && !agent.full() && !tool.full()) {
    begin_at(agent, tool);
    calls_[id] = {&agent, &tool, 0};
    return true;
  }
  const auto age = next_order_++;
  calls_[id] = {&agent, &tool, age};
  ++waiting_;
  if (waiting != lanes_.end()) {
    waiting->second.calls.emplace(age, id);
    return false;
  }
  auto& added = lanes_[{&agent, &tool}];
  added.agent = &agent;
  added.tool = &tool;
  added.calls.emplace(age, id);
  ++agent.lanes;
  ++tool.lanes;
  park_or_ready(added);
  return false;
}

void parallel_limits::occupy(call_id id, const std::string& agent_name, const std::string& tool_name, std::int64_t tool_limit) {
  auto& agent = gate_of(agents_, agent_name, agent_limit_);
  auto& tool = gate_of(tools_, tool_name, tool_limit);
  begin_at(agent, tool);
  calls_[id] = {&agent, &tool, 0};
}

std::vector<parallel_limits::call_id> parallel_limits::finished(call_id id) {
  std::vector<call_id> admitted;
  const auto found = calls_.find(id);
  if (found == calls_.end())
    return admitted;
  const auto ended = found->second;
  calls_.erase(found);
  if (ended.waits_as == 0) {
    --ended.agent->running;
    --ended.tool->running;
    --running_;
    show_room(*ended.agent);
    show_room(*ended.tool);
  } else {
    const auto at = lanes_.find({ended.agent, ended.tool});
    auto& where = at->second;
    unpark(where);
    where.calls.erase(ended.waits_as);
    --waiting_;
    if (where.calls.empty()) {
      --ended.agent->lanes;
      --ended.tool->lanes;
      lanes_.erase(at);
    } else {
      park_or_ready(where);
    }
  }
  drain(admitted);
  drop_if_idle(agents_, *ended.agent);
  drop_if_idle(tools_, *ended.tool);
  return admitted;
}

/// Puts a lane where its oldest call belongs: at the gate that blocks it, else among the ready.
void parallel_limits::park_or_ready(lane& which) {
  which.parked_at = which.agent->full() ? which.agent : which.tool->full() ? which.tool : nullptr;
  if (which.parked_at != nullptr)
    which.parked_at->parked.emplace(which.age(), &which);
  else
    ready_[which.age()] = {&which, nullptr};
}

void parallel_limits::unpark(lane& which) {
  if (which.parked_at == nullptr) {
    ready_.erase(which.age());
    return;
  }
  auto& at = *which.parked_at;
  hide_room(at); // its key may be this lane's age
  at.parked.erase(which.age());
  show_room(at);
}

void parallel_limits::show_room(gate& which) {
  if (which.full() || which.parked.empty() || which.ready_as != 0)
    return;
  which.ready_as = which.parked.begin()->first;
  ready_[which.ready_as] = {nullptr, &which};
}

void parallel_limits::hide_room(gate& which) {
  if (which.ready_as != 0)
    ready_.erase(which.ready_as);
  which.ready_as = 0;
}

/// A gate that fills up is no longer among the ready: what is parked there waits for its next end.
void parallel_limits::begin_at(gate& agent, gate& tool) {
  ++running_;
  for (auto* at : {&agent, &tool}) {
    ++at->running;
    if (at->full())
      hide_room(*at);
  }
}

/// Starts a lane's oldest call and puts the lane where its next one belongs. The lane stands nowhere.
void parallel_limits::start_oldest(lane& which, std::vector<call_id>& admitted) {
  const auto oldest = which.calls.begin();
  admitted.push_back(oldest->second);
  calls_.at(oldest->second).waits_as = 0;
  which.calls.erase(oldest);
  --waiting_;
  begin_at(*which.agent, *which.tool);
  if (!which.calls.empty()) {
    park_or_ready(which);
    return;
  }
  --which.agent->lanes;
  --which.tool->lanes;
  lanes_.erase({which.agent, which.tool});
}

void parallel_limits::drain(std::vector<call_id>& admitted) {
  while (running_ < process_limit_ && !ready_.empty()) {
    const auto entry = ready_.begin()->second;
    ready_.erase(ready_.begin());
    lane* next = entry.of_lane;
    if (entry.of_gate != nullptr) {
      auto& at = *entry.of_gate;
      at.ready_as = 0;
      next = at.parked.begin()->second;
      at.parked.erase(at.parked.begin());
    }
    // Taken before the lane may be gone.
    auto& agent = *next->agent;
    auto& tool = *next->tool;
    if (agent.full() || tool.full())
      park_or_ready(*next);
    else
      start_oldest(*next, admitted);
    show_room(agent);
    show_room(tool);
  }
}

} // namespace troupe::policy
