#include "troupe/policy/task_graph_parts.hpp"

#include <algorithm>

namespace troupe::policy {

std::optional<std::size_t> task_graph::impl::find_seat(const task_spec& task, std::string_view name) const {
  const auto members = panel_members(task.agents);
  for (std::size_t i = 0; i < members.size(); ++i)
    if (members[i].name == name)
      return i;
  return !members.empty() && (name == arbiter_seat || name == human_seat) ? std::optional(members.size()) : std::nullopt;
}

std::string_view task_graph::impl::seat_name(const panel& several, std::size_t seat) const {
  return seat < several.answers.members().size() ? std::string_view(several.answers.members()[seat].name) : several.asked;
}

void task_graph::impl::launch_panel(place p, std::string instruction, bool resumed, graph_commands& out) {
  const auto& t = spec(p.node);
  auto& u = nodes[p.node].units[p.unit];
  const auto where = path(p);
  u.several =
      std::make_unique<panel>(panel{answer_panel(t.resolve.value_or(resolve_spec{.by = "vote", .tie = "fail"}), t.agents, u.attempt),
                                    std::vector<bool>(t.agents.size() + 1),
                                    std::move(instruction),
                                    {},
                                    {},
                                    false,
                                    {},
                                    0});
  auto& several = *u.several;
  const auto& members = several.answers.members();
  const auto known = [&](std::string_view name) { return resumed ? before(seat_path(where, name)) : nullptr; };
  std::vector<std::size_t> there;
  for (std::size_t i = 0; i < members.size(); ++i)
    if (const auto* old = known(members[i].name); old && old->finished)
      there.push_back(i);
  std::sort(there.begin(), there.end(),
            [&](std::size_t a, std::size_t b) { return known(members[a].name)->order < known(members[b].name)->order; });
  for (const auto i : there)
    several.answers.ended(i, outcome_of(*known(members[i].name)->finished));
  const auto* task = resumed ? before(where) : nullptr;
  if (task && task->resolved) {
    const auto* ruling = known(arbiter_seat);
    several.decided = true;
    several.outcome = several.answers.outcome_of(*task->resolved, ruling && ruling->finished ? ruling->finished->output : json());
    if (ruling && ruling->finished && is_failure(ruling->finished->status) && !may_try_again(outcome_of(*ruling->finished)))
      several.outcome.fatal = is_failure(several.outcome.status);
  }
  for (std::size_t i = 0; i < members.size(); ++i) {
    const auto* old = known(members[i].name);
    if ((old && old->finished) || (several.decided && (!old || !old->started)))
      continue;
    start_seat({p.node, p.unit, i}, old && old->started, out);
    if (several.decided)
      out.push_back(cancel_task{seat_path(where, members[i].name), milliseconds{0}, true});
  }
  advance(p, out);
}

void task_graph::impl::start_seat(place p, bool resumed, graph_commands& out) {
  const auto& t = spec(p.node);
  auto& u = nodes[p.node].units[p.unit];
  auto& several = *u.several;
  const auto& members = several.answers.members();
  several.at_work[p.seat] = true;
  ++several.running;
  std::optional<std::int64_t> index;
  if (items(p.node))
    index = static_cast<std::int64_t>(p.unit);
  auto where = seat_path(path(p), seat_name(several, p.seat));
  if (p.seat < members.size()) {
    if (!resumed) // what it is told stands with the task
      out.push_back(record_event{where, members[p.seat].agent, start_of(u.attempt)});
    out.push_back(
        start_task{where, &t, members[p.seat].agent, several.instruction, u.attempt, index, resumed, {}, within_of(where, resumed)});
    return;
  }
  several.shown = several.answers.shuffled(seed + "/" + path(p) + "@" + std::to_string(u.attempt));
  if (several.asked == human_seat) {
    ask_human question{where, &t, several.instruction, {}, u.attempt, resumed, within_of(where, resumed)};
    for (const auto i : several.shown)
      question.answers.emplace_back(members[i].name, several.answers.answer(i));
    if (!resumed)
      out.push_back(record_event{std::move(where), {}, start_of(u.attempt)});
    out.push_back(std::move(question));
    return;
  }
  std::vector<json> answers;
  std::vector<std::string> agents;
  for (const auto i : several.shown) {
    answers.push_back(several.answers.answer(i));
    agents.push_back(members[i].agent);
  }
  auto instruction = arbiter_instruction(several.instruction, answers);
  if (!resumed)
    out.push_back(record_event{where, t.resolve->arbiter, start_of(u.attempt)});
  out.push_back(start_task{where, &t, t.resolve->arbiter, std::move(instruction), u.attempt, index, resumed, std::move(agents),
                           within_of(where, resumed)});
}

/// The decision is durable before those that it makes superfluous are stopped.
void task_graph::impl::decide(place p, graph_commands& out) {
  auto& several = *nodes[p.node].units[p.unit].several;
  const auto settle = [&](panel_decided&& made) {
    several.decided = true;
    several.outcome = std::move(made.outcome);
    out.push_back(record_event{path(p), {}, std::move(made.event)});
    for (std::size_t i = 0; i < several.answers.members().size(); ++i)
      if (several.at_work[i])
        out.push_back(cancel_task{seat_path(path(p), several.answers.members()[i].name), milliseconds{0}, true});
  };
  auto step = several.answers.next();
  if (auto* made = std::get_if<panel_decided>(&step))
    return settle(std::move(*made));
  auto* asks = std::get_if<panel_asks>(&step);
  if (!asks || stopping() || !several.asked.empty())
    return;
  several.asked = asks->event.next == "human" ? human_seat : arbiter_seat;
  const auto* old = before(seat_path(path(p), several.asked));
  if (old && old->attempt != nodes[p.node].units[p.unit].attempt)
    old = nullptr;
  if (!old)
    out.push_back(record_event{path(p), {}, std::move(asks->event)});
  const place who{p.node, p.unit, several.answers.members().size()};
  if (!old || !old->finished)
    return start_seat(who, old && old->started, out);
  several.shown = several.answers.shuffled(seed + "/" + path(p) + "@" + std::to_string(old->attempt));
  settle(several.answers.decided(several.asked.substr(1), outcome_of(*old->finished), several.shown));
}

/// True: the unit has ended.
bool task_graph::impl::advance(place p, graph_commands& out) {
  auto& several = *nodes[p.node].units[p.unit].several;
  if (!several.decided)
    decide(p, out);
  if (several.running > 0)
    return false;
  // Nobody is at work, and nothing was decided: the run is being stopped.
  auto outcome = several.decided ? std::move(several.outcome)
                                 : task_outcome{task_status::cancelled, {}, "it was stopped before its answers were there", {}, false};
  end_unit({p.node, p.unit}, std::move(outcome), out);
  return true;
}

bool task_graph::impl::seat_ended(place p, task_outcome outcome, graph_commands& out) {
  auto& u = nodes[p.node].units[p.unit];
  auto& several = *u.several;
  const bool member = p.seat < several.answers.members().size();
  several.at_work[p.seat] = false;
  --several.running;
  if (several.decided && outcome.status == task_status::cancelled) {
    outcome.reason = decided_reason;
    outcome.error = "the task had its answer before this one ended";
  }
  out.push_back(record_event{seat_path(path(p), seat_name(several, p.seat)),
                             member                          ? several.answers.members()[p.seat].agent
                             : several.asked == arbiter_seat ? spec(p.node).resolve->arbiter
                                                             : std::string(),
                             finished_as(u.attempt, outcome)});
  // One that an abort has stopped may still answer once the run is resumed: until then it counts as at work.
  const bool cut = u.cancelled && is_failure(outcome.status);
  if (!several.decided && !cut && member)
    several.answers.ended(p.seat, std::move(outcome));
  else if (!several.decided && !cut) {
    auto made = several.answers.decided(several.asked.substr(1), outcome, several.shown);
    several.decided = true;
    several.outcome = std::move(made.outcome);
    out.push_back(record_event{path(p), {}, std::move(made.event)});
  }
  return advance({p.node, p.unit}, out);
}

} // namespace troupe::policy
