#include "troupe/policy/task_graph.hpp"

#include <algorithm>
#include <charconv>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "troupe/model/described.hpp"
#include "troupe/policy/budget_scope.hpp"
#include "troupe/policy/conflict.hpp"
#include "troupe/policy/replay.hpp"
#include "troupe/policy/task_graph_plan.hpp"
#include "troupe/util/assert.hpp"

namespace troupe::policy {

namespace {

bool failed(task_status s) {
  return s != task_status::success && s != task_status::skipped;
}

bool may_try_again(const task_outcome& outcome) {
  switch (outcome.status) {
  case task_status::error:
  case task_status::timeout:
  case task_status::max_retries:
  case task_status::quality_failed:
  case task_status::conflict:
    return !outcome.fatal;
  default:
    return false;
  }
}

/// Of members that were stopped because the task had its answer: no abort ended them.
constexpr const char* decided_reason = "decided";

task_status status_of(abort_reason reason) {
  switch (reason) {
  case abort_reason::budget_exceeded:
    return task_status::budget_exceeded;
  case abort_reason::timeout:
    return task_status::timeout;
  default:
    return task_status::cancelled;
  }
}

} // namespace

struct task_graph::impl {
  /// Several agents at one piece of work: a seat for each member, and a last one for who decides between them.
  struct panel {
    answer_panel answers;
    std::vector<bool> at_work;
    std::string instruction;
    std::vector<std::size_t> shown; // to who decides: members, in that order
    std::string_view asked;         // the seat that decides; empty: nobody was asked
    bool decided = false;
    task_outcome outcome;
    std::size_t running = 0;
  };
  /// One piece of work: a task, or one item of a for_each.
  struct unit {
    enum { idle, running, done } state = idle;
    bool cancelled = false;
    std::int64_t attempt = 1;
    std::unique_ptr<panel> several;
  };
  struct task_state {
    enum { waiting, open, done } state = waiting;
    std::size_t waits_for = 0;
    std::vector<unit> units;
    std::size_t next = 0; // the first item that was not looked at
    std::size_t busy = 0;
    bool halted = false;              // no further item starts
    bool cut = false;                 // an abort ended one of its items
    std::optional<std::size_t> worst; // the first failed item, by index
    task_outcome failure;             // its outcome, without output
    json items, outputs;
  };
  static constexpr std::size_t no_seat = static_cast<std::size_t>(-1);
  struct place {
    std::size_t node;
    std::size_t unit;
    std::size_t seat = no_seat; // of a panel
  };

  std::shared_ptr<const graph_plan> plan;
  std::string prefix, seed;
  restored_state restored;
  json scope; // what templates read
  std::function<json()> state;
  std::vector<task_state> nodes;
  std::vector<std::size_t> ready; // from `ready_at` on
  std::size_t ready_at = 0;
  std::size_t open = 0, done = 0, completed = 0, busy = 0;
  bool started = false, ended = false, failing = false;
  std::optional<abort_reason> aborting;
  std::string reason, error; // of a failing run

  const task_spec& spec(std::size_t n) const { return plan->workflow.tasks[n]; }
  bool items(std::size_t n) const { return !spec(n).for_each.empty(); }
  bool stopping() const { return failing || aborting.has_value(); }
  std::string path(std::size_t n) const { return prefix + spec(n).id; }
  std::string path(place p) const { return items(p.node) ? path(p.node) + "[" + std::to_string(p.unit) + "]" : path(p.node); }
  std::optional<place> find(const std::string& path) const;
  /// Of what is at work there.
  std::vector<std::string> paths_of(place p) const;
  const restored_task* before(const std::string& path) const {
    auto it = restored.find(path);
    return it == restored.end() ? nullptr : &it->second;
  }

  void look_at_state() {
    if (plan->reads_state && state)
      scope["state"] = state();
  }
  bool fail_as_before();
  void begin(std::size_t n, graph_commands& out);
  void open_items(std::size_t n, graph_commands& out);
  void fill(std::size_t n, graph_commands& out);
  void launch(place p, bool resumed, graph_commands& out);
  std::optional<std::size_t> find_seat(const task_spec& task, std::string_view name) const;
  std::string_view seat_name(const panel& several, std::size_t seat) const;
  void launch_panel(place p, std::string instruction, bool resumed, graph_commands& out);
  void start_seat(place p, bool resumed, graph_commands& out);
  bool seat_ended(place p, task_outcome outcome, graph_commands& out);
  void decide(place p, graph_commands& out);
  bool advance(place p, graph_commands& out);
  void end_unit(place p, task_outcome outcome, graph_commands& out);
  void unit_done(place p, task_outcome outcome, bool record, graph_commands& out);
  void close_items(std::size_t n, graph_commands& out);
  void conclude(std::size_t n, task_outcome outcome, bool record, std::int64_t attempt, graph_commands& out);
  void cancel_all(milliseconds grace, graph_commands& out);
  void go_on(graph_commands& out);
  void record_finish(const std::string& path, std::size_t n, std::int64_t attempt, const task_outcome& outcome, graph_commands& out) const {
    out.push_back(record_event{path, spec(n).agent, task_finished{attempt, outcome.status, outcome.reason, outcome.error, outcome.output}});
  }
};

std::optional<task_graph::impl::place> task_graph::impl::find(const std::string& path) const {
  if (path.compare(0, prefix.size(), prefix) != 0)
    return std::nullopt;
  const auto rest = std::string_view(path).substr(prefix.size());
  if (const auto seat = seat_of(rest); !seat.empty()) {
    auto at = find(path.substr(0, path.size() - seat.size() - 2));
    const auto number = at ? find_seat(spec(at->node), seat) : std::nullopt;
    if (!number)
      return std::nullopt;
    at->seat = *number;
    return at;
  }
  if (auto it = plan->ids.find(std::string(rest)); it != plan->ids.end())
    return items(it->second) ? std::nullopt : std::optional(place{it->second, 0});
  const auto bracket = rest.rfind('[');
  if (bracket == std::string_view::npos || rest.back() != ']')
    return std::nullopt;
  auto it = plan->ids.find(std::string(rest.substr(0, bracket)));
  std::size_t index = 0;
  const auto* last = rest.data() + rest.size() - 1;
  if (it == plan->ids.end() || !items(it->second) || std::from_chars(rest.data() + bracket + 1, last, index).ptr != last)
    return std::nullopt;
  return place{it->second, index};
}

std::vector<std::string> task_graph::impl::paths_of(place p) const {
  const auto& u = nodes[p.node].units[p.unit];
  if (!u.several)
    return {path(p)};
  std::vector<std::string> out;
  for (std::size_t i = 0; i < u.several->at_work.size(); ++i)
    if (u.several->at_work[i])
      out.push_back(seat_path(path(p), seat_name(*u.several, i)));
  return out;
}

/// A run that was killed while it failed goes on failing, for the same reason: what was cancelled on its account comes later in
/// the journal.
bool task_graph::impl::fail_as_before() {
  const restored_task* first = nullptr;
  for (std::size_t n = 0; n < nodes.size(); ++n) {
    const auto* old = before(path(n));
    if (!old || !old->finished)
      continue;
    const bool bad = failed(old->finished->status);
    completed += bad ? 0 : 1;
    if (bad && spec(n).on_failure == on_failure_type::fail && (!first || old->order < first->order))
      first = old;
  }
  if (!first) {
    completed = 0; // they are counted as they are adopted
    return false;
  }
  failing = true;
  reason = first->finished->reason.empty() ? name_of(first->finished->status) : first->finished->reason;
  error = first->finished->error;
  return true;
}

/// All that this task needs has ended.
void task_graph::impl::begin(std::size_t n, graph_commands& out) {
  const auto& t = spec(n);
  const auto& p = plan->tasks[n];
  auto& node = nodes[n];
  node.state = task_state::open;
  ++open;
  const auto* old = before(path(n));
  if (old && old->finished) {
    const auto& f = *old->finished;
    return conclude(n, {f.status, f.reason, f.error, f.output, false}, false, f.attempt, out);
  }
  if (p.when && !p.when->is_valid(plan->output_of(scope, t.when->task)))
    return conclude(n, {task_status::skipped, {}, {}, {}, false}, true, 1, out);
  if (items(n))
    return open_items(n, out);
  node.units.resize(1);
  node.units[0].attempt = old ? old->attempt : 1;
  launch({n, 0}, old && old->started, out);
}

void task_graph::impl::open_items(std::size_t n, graph_commands& out) {
  const auto& t = spec(n);
  auto& node = nodes[n];
  look_at_state();
  node.items = plan->tasks[n].for_each.evaluate(scope);
  auto refuse = [&](std::string why) {
    conclude(n, {task_status::error, "for_each", "task \"" + t.id + "\": for_each " + std::move(why), {}, true}, true, 1, out);
  };
  if (!node.items.is_array())
    return refuse("needs an array, but " + t.for_each + " is "
                  + (node.items.is_null() ? "absent" : std::string("of type ") + node.items.type_name()));
  const auto count = static_cast<std::int64_t>(node.items.size());
  if (count > max_for_each_items)
    return refuse("has " + std::to_string(count) + " elements; at most " + std::to_string(max_for_each_items) + " are run");
  const auto* old = before(path(n));
  if (old && old->items && *old->items != count)
    return refuse("had " + std::to_string(*old->items) + " elements before the run was taken up and has " + std::to_string(count) + " now");
  if (!old)
    out.push_back(record_event{path(n), t.agent, task_started{1, {}, count}});
  node.units.resize(node.items.size());
  node.outputs = json::array();
  node.outputs.get_ref<json::array_t&>().resize(node.items.size());
  for (std::size_t i = 0; i < node.units.size(); ++i) {
    const auto* item = before(path({n, i}));
    if (!item)
      continue;
    node.units[i].attempt = item->attempt;
    if (item->finished) {
      const auto& f = *item->finished;
      unit_done({n, i}, {f.status, f.reason, f.error, f.output, false}, false, out);
    }
  }
  fill(n, out);
}

/// Starts items while there is room, and ends the task after the last one.
void task_graph::impl::fill(std::size_t n, graph_commands& out) {
  auto& node = nodes[n];
  const auto parallel = static_cast<std::size_t>(std::max<std::int64_t>(1, spec(n).parallel));
  while (!stopping() && !node.halted && node.busy < parallel && node.next < node.units.size()) {
    const auto i = node.next++;
    if (node.units[i].state != unit::idle)
      continue;
    const auto* old = before(path({n, i}));
    launch({n, i}, old && old->started, out);
  }
  if (node.busy == 0 && (stopping() || node.halted || node.next == node.units.size()))
    close_items(n, out);
}

void task_graph::impl::launch(place p, bool resumed, graph_commands& out) {
  const auto& t = spec(p.node);
  const auto& compiled = plan->tasks[p.node];
  auto& u = nodes[p.node].units[p.unit];
  u.state = unit::running;
  ++nodes[p.node].busy;
  ++busy;
  std::optional<std::int64_t> index;
  if (items(p.node)) {
    index = static_cast<std::int64_t>(p.unit);
    scope["item"] = nodes[p.node].items[p.unit];
    scope["index"] = p.unit;
  }
  auto where = path(p);
  look_at_state();
  const auto* old = resumed ? before(where) : nullptr;
  std::string instruction = old ? old->instruction : compiled.instruction.render(scope);
  if (u.attempt > 1 && !old)
    instruction += (instruction.empty() ? "" : "\n\n") + std::string(next_attempt_words);
  if (!resumed)
    out.push_back(record_event{where, t.agent, task_started{u.attempt, instruction, std::nullopt}});
  if (!t.agents.empty())
    launch_panel(p, std::move(instruction), resumed, out);
  else if (t.workflow.empty())
    out.push_back(start_task{std::move(where), &t, t.agent, std::move(instruction), u.attempt, index, resumed, {}});
  else
    out.push_back(start_subworkflow{std::move(where), &t, t.workflow, compiled.with.evaluate(scope), u.attempt, index, resumed});
  if (index) {
    scope.erase("item");
    scope.erase("index");
  }
}

// --- several agents at one task ------------------------------------------------------------------------------------

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
  for (const auto i : there) {
    const auto& f = *known(members[i].name)->finished;
    several.answers.ended(i, {f.status, f.reason, f.error, f.output, false});
  }
  const auto* task = resumed ? before(where) : nullptr;
  if (task && task->resolved) {
    const auto* ruling = known(arbiter_seat);
    several.decided = true;
    several.outcome = several.answers.outcome_of(*task->resolved, ruling && ruling->finished ? ruling->finished->output : json());
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
      out.push_back(record_event{where, members[p.seat].agent, task_started{u.attempt, {}, std::nullopt}});
    out.push_back(start_task{std::move(where), &t, members[p.seat].agent, several.instruction, u.attempt, index, resumed, {}});
    return;
  }
  several.shown = several.answers.shuffled(seed + "/" + path(p) + "@" + std::to_string(u.attempt));
  if (several.asked == human_seat) {
    ask_human question{where, &t, several.instruction, {}, u.attempt, resumed};
    for (const auto i : several.shown)
      question.answers.emplace_back(members[i].name, several.answers.answer(i));
    if (!resumed)
      out.push_back(record_event{std::move(where), {}, task_started{u.attempt, {}, std::nullopt}});
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
    out.push_back(record_event{where, t.resolve->arbiter, task_started{u.attempt, {}, std::nullopt}});
  out.push_back(start_task{std::move(where), &t, t.resolve->arbiter, std::move(instruction), u.attempt, index, resumed, std::move(agents)});
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
  const auto& f = *old->finished;
  settle(several.answers.decided(several.asked.substr(1), {f.status, f.reason, f.error, f.output, false}, several.shown));
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
                             task_finished{u.attempt, outcome.status, outcome.reason, outcome.error, outcome.output}});
  // One that an abort has stopped may still answer once the run is resumed: until then it counts as at work.
  const bool cut = u.cancelled && failed(outcome.status);
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

// --- the end of what was started -----------------------------------------------------------------------------------

/// It starts anew, where it may; else it is done.
void task_graph::impl::end_unit(place p, task_outcome outcome, graph_commands& out) {
  auto& node = nodes[p.node];
  auto& u = node.units[p.unit];
  const auto& t = spec(p.node);
  if (failed(outcome.status) && outcome.reason.empty())
    outcome.reason = name_of(outcome.status);
  if (u.cancelled && outcome.status == task_status::cancelled && aborting) {
    outcome.status = status_of(*aborting);
    outcome.reason = name_of(outcome.status);
  }
  u.several.reset();
  if (u.attempt >= t.attempts || !may_try_again(outcome) || stopping() || node.halted)
    return unit_done(p, std::move(outcome), true, out);
  --node.busy;
  --busy;
  ++u.attempt;
  out.push_back(record_event{path(p), t.agent, task_retried{u.attempt, outcome.error.empty() ? outcome.reason : outcome.error}});
  launch(p, false, out);
}

void task_graph::impl::unit_done(place p, task_outcome outcome, bool record, graph_commands& out) {
  auto& node = nodes[p.node];
  auto& u = node.units[p.unit];
  if (record) {
    --node.busy;
    --busy;
  }
  u.state = unit::done;
  if (!items(p.node))
    return conclude(p.node, std::move(outcome), record, u.attempt, out);
  if (record)
    record_finish(path(p), p.node, u.attempt, outcome, out);
  if (!failed(outcome.status)) {
    node.outputs[p.unit] = std::move(outcome.output);
    return;
  }
  if (u.cancelled && aborting && outcome.status == status_of(*aborting)) {
    node.cut = true;
    return;
  }
  node.halted = node.halted || spec(p.node).on_failure == on_failure_type::fail;
  if (!node.worst || p.unit < *node.worst) {
    node.worst = p.unit;
    outcome.output = nullptr;
    node.failure = std::move(outcome);
  }
}

void task_graph::impl::close_items(std::size_t n, graph_commands& out) {
  auto& node = nodes[n];
  task_outcome outcome;
  const auto ran = std::count_if(node.units.begin(), node.units.end(), [](const unit& u) { return u.state == unit::done; });
  const bool all = static_cast<std::size_t>(ran) == node.units.size();
  // What an abort cut short is unfinished, whatever failed before: it goes on when the run is resumed.
  const bool cut = aborting && (node.cut || (!all && !node.halted));
  if (node.worst && !cut) {
    outcome = std::move(node.failure);
    outcome.error = "item " + std::to_string(*node.worst) + ": " + outcome.error;
  } else if (cut || !all) {
    outcome.status = aborting ? status_of(*aborting) : task_status::cancelled;
    outcome.reason = name_of(outcome.status);
    outcome.error = std::to_string(ran) + " of " + std::to_string(node.units.size()) + " items had ended when the run stopped";
  }
  outcome.output = std::move(node.outputs);
  conclude(n, std::move(outcome), true, 1, out);
}

/// The task has ended: what depends on it may start, or the run fails.
void task_graph::impl::conclude(std::size_t n, task_outcome outcome, bool record, std::int64_t attempt, graph_commands& out) {
  auto& node = nodes[n];
  const auto& t = spec(n);
  if (failed(outcome.status) && outcome.reason.empty())
    outcome.reason = name_of(outcome.status);
  if (record)
    record_finish(path(n), n, attempt, outcome, out);
  node.state = task_state::done;
  --open;
  ++done;
  const bool bad = failed(outcome.status);
  completed += bad ? 0 : 1;
  auto& visible = scope["tasks"][t.id] = {{"status", name_of(outcome.status)}};
  if (outcome.status == task_status::success || (bad && items(n)))
    visible["output"] = std::move(outcome.output);
  node.items = nullptr;
  if (bad && t.on_failure == on_failure_type::fail && !stopping()) {
    failing = true;
    reason = std::move(outcome.reason);
    error = std::move(outcome.error);
    return cancel_all(milliseconds{0}, out);
  }
  for (auto d : plan->tasks[n].dependents)
    if (--nodes[d].waits_for == 0)
      ready.push_back(d);
}

void task_graph::impl::cancel_all(milliseconds grace, graph_commands& out) {
  for (std::size_t n = 0; n < nodes.size(); ++n)
    for (std::size_t i = 0; nodes[n].busy > 0 && i < nodes[n].units.size(); ++i)
      if (auto& u = nodes[n].units[i]; u.state == unit::running) {
        u.cancelled = true;
        for (const auto& each : paths_of({n, i}))
          out.push_back(cancel_task{each, grace, false});
      }
}

void task_graph::impl::go_on(graph_commands& out) {
  while (!stopping() && ready_at < ready.size()) {
    const auto n = ready[ready_at++];
    if (ready_at == ready.size())
      ready.clear(), ready_at = 0;
    begin(n, out);
  }
  if (ended || !started || busy > 0 || (!stopping() && done < nodes.size()))
    return;
  // A for_each whose other items were finished before: nothing of it runs, nothing more may start.
  for (std::size_t n = 0; open > 0 && n < nodes.size(); ++n)
    if (nodes[n].state == task_state::open)
      close_items(n, out);
  ended = true;
  if (aborting)
    out.push_back(finish_run{run_status::aborted, name_of(*aborting), {}, nullptr});
  else if (failing)
    out.push_back(finish_run{run_status::failed, reason, error, nullptr});
  else
    look_at_state(), out.push_back(finish_run{run_status::completed, {}, {}, plan->result_of(scope)});
}

// --- the machine's surface -----------------------------------------------------------------------------------------

task_graph::task_graph(std::unique_ptr<impl> i) : impl_(std::move(i)) {}
task_graph::task_graph(task_graph&&) noexcept = default;
task_graph& task_graph::operator=(task_graph&&) noexcept = default;
task_graph::~task_graph() = default;

expected<task_graph> task_graph::create(workflow_spec workflow, std::string prefix, std::string seed) {
  auto plan = graph_plan::make(std::move(workflow));
  if (!plan)
    return tl::unexpected<troupe::error>(std::move(plan.error()));
  return create(std::make_shared<const graph_plan>(std::move(*plan)), std::move(prefix), std::move(seed));
}

task_graph task_graph::create(std::shared_ptr<const graph_plan> plan, std::string prefix, std::string seed) {
  auto i = std::make_unique<impl>();
  i->plan = std::move(plan);
  i->prefix = std::move(prefix);
  i->seed = std::move(seed);
  i->nodes.resize(i->plan->tasks.size());
  for (const auto& t : i->plan->tasks)
    for (auto d : t.dependents)
      ++i->nodes[d].waits_for;
  return task_graph(std::move(i));
}

void task_graph::read_state(std::function<json()> values) {
  impl_->state = std::move(values);
}

graph_commands task_graph::start(json input, restored_state restored) {
  auto& g = *impl_;
  graph_commands out;
  if (std::exchange(g.started, true))
    return out;
  g.restored = std::move(restored);
  g.scope = {{"input", std::move(input)}, {"tasks", json::object()}};
  if (!g.fail_as_before())
    for (std::size_t n = 0; n < g.nodes.size(); ++n)
      if (g.nodes[n].waits_for == 0)
        g.ready.push_back(n);
  g.go_on(out);
  return out;
}

graph_commands task_graph::task_ended(const std::string& path, std::int64_t attempt, task_outcome outcome) {
  auto& g = *impl_;
  graph_commands out;
  const auto at = g.find(path);
  if (!at || at->unit >= g.nodes[at->node].units.size())
    return out;
  auto& u = g.nodes[at->node].units[at->unit];
  if (u.state != impl::unit::running || u.attempt != attempt)
    return out;
  if (failed(outcome.status) && outcome.reason.empty())
    outcome.reason = name_of(outcome.status);
  if (u.cancelled && outcome.status == task_status::cancelled && g.aborting) {
    outcome.status = status_of(*g.aborting);
    outcome.reason = name_of(outcome.status);
  }
  if (u.several) {
    if (at->seat >= u.several->at_work.size() || !u.several->at_work[at->seat] || !g.seat_ended(*at, std::move(outcome), out))
      return out;
  } else {
    g.end_unit(*at, std::move(outcome), out);
  }
  if (g.items(at->node))
    g.fill(at->node, out);
  g.go_on(out);
  return out;
}

graph_commands task_graph::abort(abort_reason reason) {
  auto& g = *impl_;
  graph_commands out;
  if (g.ended || g.failing || (g.aborting && (*g.aborting != abort_reason::budget_exceeded || reason == abort_reason::budget_exceeded)))
    return out;
  if (!g.aborting)
    g.aborting = reason;
  g.cancel_all(reason == abort_reason::budget_exceeded ? budget_abort_grace : milliseconds{0}, out);
  g.started = true;
  g.go_on(out);
  return out;
}

graph_commands task_graph::give_up() {
  auto& g = *impl_;
  graph_commands out;
  if (!g.stopping() || g.ended)
    return out;
  for (const auto& path : running()) {
    const auto at = *g.find(path);
    auto more = task_ended(path, g.nodes[at.node].units[at.unit].attempt,
                           {task_status::cancelled, {}, "it did not stop in time; its outcome is unknown", {}, true});
    std::move(more.begin(), more.end(), std::back_inserter(out));
  }
  return out;
}

bool task_graph::finished() const {
  return impl_->ended;
}

std::int64_t task_graph::total_tasks() const {
  return static_cast<std::int64_t>(impl_->nodes.size());
}

std::int64_t task_graph::completed_tasks() const {
  return static_cast<std::int64_t>(impl_->completed);
}

std::vector<std::string> task_graph::running() const {
  std::vector<std::string> out;
  for (std::size_t n = 0; n < impl_->nodes.size(); ++n)
    for (std::size_t i = 0; impl_->nodes[n].busy > 0 && i < impl_->nodes[n].units.size(); ++i)
      if (impl_->nodes[n].units[i].state == impl::unit::running)
        for (auto& each : impl_->paths_of({n, i}))
          out.push_back(std::move(each));
  return out;
}

const workflow_spec& task_graph::workflow() const {
  return impl_->plan->workflow;
}

// --- what was before -----------------------------------------------------------------------------------------------

restored_state fold_tasks(const std::vector<event_ptr>& events) {
  restored_state out;
  replay_fold run;
  bool run_refused = false;      // a limit of the run, or above it, was met since the last start
  std::vector<std::string> last; // finished since the last start: an abort starts nothing, so that what it ended is among them
  std::int64_t order = 0;
  const auto unfinish = [&](const auto& ended_by_abort) {
    for (const auto& path : last)
      if (auto& t = out[path]; t.finished && t.finished->reason != decided_reason && ended_by_abort(t.finished->status))
        t.finished.reset();
    last.clear();
    run_refused = false;
  };
  // A process may have died while it aborted the run, before that end was recorded. A task is only ever cancelled by an abort, or by a run
  // that fails, which fails again.
  const auto taken_up = [&] {
    const auto before = run.history();
    const bool out_of_time = before.budget.time && before.owned_ms >= before.budget.time->count();
    unfinish([&](task_status status) {
      return status == task_status::cancelled || (status == task_status::budget_exceeded && run_refused)
             || (status == task_status::timeout && out_of_time);
    });
  };
  for (const auto& e : events) {
    if (const auto* s = std::get_if<task_started>(&e->body)) {
      auto& t = out[e->task];
      t.attempt = s->attempt;
      t.started = true;
      t.instruction = s->instruction;
      if (s->items)
        t.items = s->items;
      t.finished.reset();
      t.resolved.reset();
      last.clear();
      run_refused = false;
    } else if (const auto* r = std::get_if<task_retried>(&e->body)) {
      auto& t = out[e->task];
      t.attempt = r->next_attempt;
      t.started = false;
      t.resolved.reset();
      // A sub-workflow that starts anew starts all of its tasks anew; so does a task that several agents do.
      for (const auto* below : {"/", "("}) {
        const auto inner = e->task + below;
        for (auto it = out.lower_bound(inner); it != out.end() && it->first.compare(0, inner.size(), inner) == 0;)
          it = out.erase(it);
      }
      last.clear();
    } else if (const auto* f = std::get_if<task_finished>(&e->body)) {
      auto [it, added] = out.try_emplace(e->task);
      it->second.started = !added;
      it->second.attempt = f->attempt;
      it->second.finished = *f;
      it->second.order = ++order;
      last.push_back(e->task);
    } else if (const auto* differ = std::get_if<answers_differ>(&e->body)) {
      auto& t = out[seat_path(e->task, differ->next == "human" ? human_seat : arbiter_seat)];
      t.attempt = differ->attempt;
      t.started = false;
    } else if (const auto* resolved = std::get_if<answers_resolved>(&e->body)) {
      out[e->task].resolved = *resolved;
    } else if (const auto* end = std::get_if<run_finished>(&e->body); end && end->status == run_status::aborted) {
      unfinish([&](task_status status) { return status == task_status::cancelled || name_of(status) == end->reason; });
    } else if (const auto* refused = std::get_if<budget_refused>(&e->body)) {
      run_refused = run_refused || ends_the_run(refused->scope);
    } else if (std::holds_alternative<run_resumed>(e->body)) {
      taken_up();
    }
    run.apply(*e);
  }
  taken_up();
  return out;
}

} // namespace troupe::policy
