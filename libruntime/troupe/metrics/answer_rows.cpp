#include "troupe/metrics/answer_rows.hpp"

#include <algorithm>

#include "troupe/model/described.hpp"
#include "troupe/policy/conflict.hpp"

namespace troupe::metrics {

std::string_view top_seat(std::string_view path) {
  return policy::seat_of(path.substr(0, path.find_first_of("/>")));
}

answer_rows::seat_row& answer_rows::find(std::string_view seat, const std::string& agent) {
  const auto known = std::find_if(rows_.begin(), rows_.end(), [&](const seat_row& each) { return each.row.member == seat; });
  if (known != rows_.end())
    return *known;
  auto& made = rows_.emplace_back();
  made.row.member = seat;
  made.row.agent = agent;
  return made;
}

answer_result& answer_rows::row(std::string_view seat, const std::string& agent) {
  return find(seat, agent).row;
}

void answer_rows::started(std::string_view seat, const std::string& agent, std::int64_t attempt) {
  if (attempt > attempt_) {
    attempt_ = attempt;
    for (auto& each : rows_)
      each.ended = false;
  }
  find(seat, agent).ended = false;
  resolution_.reset();
}

void answer_rows::ended(std::string_view seat, const std::string& agent, const task_finished& end) {
  auto& at = find(seat, agent);
  at.ended = true;
  at.row.status = end.status;
  at.row.output = end.output;
  at.row.error = end.error;
}

void answer_rows::resolved(const answers_resolved& event) {
  resolution_ = resolution_result{event.by, event.chosen, event.why, event.groups};
}

void answer_rows::into(std::vector<answer_result>& answers, std::optional<resolution_result>& resolution) const {
  const auto add = [&](bool members) {
    for (const auto& each : rows_)
      if (each.ended && (each.row.member.front() != ':') == members)
        answers.push_back(each.row);
  };
  add(true);
  add(false);
  resolution = resolution_;
}

void add_answers(json& row, const std::vector<answer_result>& answers, const std::optional<resolution_result>& resolution) {
  if (answers.empty() && !resolution)
    return;
  auto& list = row["answers"] = json::array();
  for (const auto& each : answers) {
    json one{{"member", each.member},
             {"agent", each.agent.empty() ? json() : json(each.agent)},
             {"status", name_of(each.status)},
             {"output", each.output},
             {"cost_usd", each.cost.dollars()}};
    if (!each.error.empty())
      one["error"] = each.error;
    list.push_back(std::move(one));
  }
  if (!resolution)
    return;
  json groups = json::array();
  for (const auto& group : resolution->groups)
    groups.push_back({{"value", group.value}, {"members", group.members}});
  row["resolution"] = {{"by", resolution->by},
                       {"chosen", resolution->chosen.empty() ? json() : json(resolution->chosen)},
                       {"why", resolution->why},
                       {"groups", std::move(groups)}};
}

} // namespace troupe::metrics
