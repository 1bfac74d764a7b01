#include "mock_llm/stats.hpp"

namespace troupe::mock_llm {

namespace {

constexpr std::size_t most_agents = 1'000;
constexpr std::size_t most_name_bytes = 100;

void add(nlohmann::json& into, const std::string& name, std::int64_t count) {
  into[name] = into.value(name, std::int64_t{0}) + count;
}

} // namespace

void stats_shard::count(std::string_view agent, int status, const char* unanswered, const token_usage& usage) {
  agent = agent.substr(0, most_name_bytes);
  const std::lock_guard lock(mutex_);
  ++requests_;
  if (unanswered)
    ++unanswered_.try_emplace(unanswered).first->second;
  else
    ++by_status_[status];
  auto found = by_agent_.find(agent);
  if (found == by_agent_.end())
    found = by_agent_.try_emplace(by_agent_.size() < most_agents ? std::string(agent) : "other").first;
  ++found->second;
  tokens_.input += usage.input;
  tokens_.output += usage.output;
}

void stats_shard::add_to(nlohmann::json& total) const {
  const std::lock_guard lock(mutex_);
  add(total, "requests", requests_);
  for (const auto& [status, count] : by_status_)
    add(total["by_status"], std::to_string(status), count);
  for (const auto& [reason, count] : unanswered_)
    add(total["by_status"], reason, count);
  for (const auto& [agent, count] : by_agent_)
    add(total["by_agent"], agent, count);
  add(total["tokens"], "input", tokens_.input);
  add(total["tokens"], "output", tokens_.output);
}

} // namespace troupe::mock_llm
