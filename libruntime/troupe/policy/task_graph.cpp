#include "troupe/policy/task_graph_parts.hpp"

#include <algorithm>
#include <charconv>
#include <utility>

#include "troupe/model/described.hpp"

namespace troupe::policy {

namespace {

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

bool may_try_again(const task_outcome& outcome) {
  switch (outcome.status) {
  case task_status::error:
  case task_status::timeout:
  case task_status::max_retries:
  case task_status::quality_failed:
  case task_status::conflict:
    return !outcome.fatal && outcome.reason != rejected_reason;
  default:
    return false;
  }
}

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

void task_graph::impl::fail(task_outcome outcome) {
  failing = true;
  fatal = !may_try_again(outcome);
  cause = outcome.status == task_status::cancelled ? task_status::error : outcome.status; // only an abort cancels a task
  reason = std::move(outcome.reason);
  error = std::move(outcome.error);
}

/// A run that was killed while it failed goes on failing, for the same reason: what was cancelled on its account comes later in
/// the journal.
bool task_graph::impl::fail_as_before() {
  const restored_task* first = nullptr;
  for (std::size_t n = 0; n < nodes.size(); ++n) {
    const auto* old = before(path(n));
    if (!old || !old->finished)
      continue;
    const bool bad = is_failure(old->finished->status);
    completed += bad ? 0 : 1;
    if (bad && spec(n).on_failure == on_failure_type::fail && (!first || old->order < first->order))
      first = old;
  }
  if (!first) {
    completed = 0; // they are counted as they are adopted
    return false;
  }
  const auto& f = *first->finished;
  fail({f.status, f.reason.empty() ? name_of(f.status) : f.reason, f.error, {}, f.fatal});
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
    // Of several agents the one whose answer it is: "sceptic#2" is sceptic's second.
    auto agent = old->resolved ? old->resolved->chosen.substr(0, old->resolved->chosen.find('#')) : old->agent;
    return conclude(n, outcome_of(*old->finished, std::move(agent)), false, old->finished->attempt, out);
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
  const auto* old = before(path(n));
  node.items = old && !old->given.is_null() ? old->given : plan->tasks[n].for_each.evaluate(scope);
  auto refuse = [&](std::string why) {
    conclude(n, {task_status::error, "for_each", "task \"" + t.id + "\": for_each " + std::move(why), {}, true}, true, 1, out);
  };
  if (!node.items.is_array())
    return refuse("needs an array, but " + t.for_each + " is "
                  + (node.items.is_null()     ? "absent"
                     : node.items.is_string() ? "a text; an input that is given by -i is one, unless the workflow's input schema says array"
                                              : std::string("of type ") + node.items.type_name()));
  const auto count = static_cast<std::int64_t>(node.items.size());
  if (count > max_for_each_items)
    return refuse("has " + std::to_string(count) + " elements; at most " + std::to_string(max_for_each_items) + " are run");
  if (old && old->items && *old->items != count)
    return refuse("had " + std::to_string(*old->items) + " elements before the run was taken up and has " + std::to_string(count) + " now");
  if (!old) {
    auto begun = start_of(1, {}, count);
    if (plan->tasks[n].items_of_state)
      begun.given = node.items;
    out.push_back(record_event{path(n), t.agent, std::move(begun)});
  }
  node.units.resize(node.items.size());
  node.outputs = json::array();
  node.outputs.get_ref<json::array_t&>().resize(node.items.size());
  for (std::size_t i = 0; i < node.units.size(); ++i) {
    const auto* item = before(path({n, i}));
    if (!item)
      continue;
    node.units[i].attempt = item->attempt;
    if (item->finished)
      unit_done({n, i}, outcome_of(*item->finished), false, out);
  }
  fill(n, out);
}

/// Starts items while there is room, and ends the task after the last one.
void task_graph::impl::fill(std::size_t n, graph_commands& out) {
  auto& node = nodes[n];
  const auto parallel = static_cast<std::size_t>(std::max<std::int64_t>(1, spec(n).parallel));
  while (!stopping() && node.busy < parallel && node.next < node.units.size()) {
    const auto i = node.next++;
    if (node.units[i].state != unit::idle)
      continue;
    const auto* old = before(path({n, i}));
    const bool begun = old && old->started;
    if (begun || !node.halted) // what was at work when another one failed goes on, over a change of owners too
      launch({n, i}, begun, out);
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
  json with = t.workflow.empty() ? json() : old && !old->given.is_null() ? old->given : compiled.with.evaluate(scope);
  if (!resumed) {
    auto begun = start_of(u.attempt, instruction);
    if (compiled.with_of_state)
      begun.given = with;
    out.push_back(record_event{where, t.agent, std::move(begun)});
  }
  if (!t.agents.empty())
    launch_panel(p, std::move(instruction), resumed, out);
  else if (t.workflow.empty())
    out.push_back(start_task{where, &t, t.agent, std::move(instruction), u.attempt, index, resumed, {}, within_of(where, resumed)});
  else
    out.push_back(start_subworkflow{std::move(where), &t, t.workflow, std::move(with), u.attempt, index, resumed});
  if (index) {
    scope.erase("item");
    scope.erase("index");
  }
}

// --- the end of what was started -----------------------------------------------------------------------------------

/// It starts anew, where it may; else it is done.
void task_graph::impl::end_unit(place p, task_outcome outcome, graph_commands& out) {
  auto& node = nodes[p.node];
  auto& u = node.units[p.unit];
  const auto& t = spec(p.node);
  if (is_failure(outcome.status) && outcome.reason.empty())
    outcome.reason = name_of(outcome.status);
  const bool again = u.attempt < t.attempts && may_try_again(outcome) && !node.halted;
  // Nothing begins while the run is aborted: its next attempt is made when the run is resumed.
  if (u.cancelled && aborting && (again || outcome.status == task_status::cancelled)) {
    outcome.status = status_of(*aborting);
    outcome.reason = name_of(outcome.status);
  }
  u.several.reset();
  if (!again || stopping())
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
  if (!is_failure(outcome.status)) {
    node.outputs[p.unit] = std::move(outcome.output);
    ++node.succeeded;
    return;
  }
  if (aborting && outcome.status == status_of(*aborting))
    ++node.stopped;
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

namespace {

/// How far a for_each was that the run's end cut short.
std::string stopped_words(const auto& node, std::size_t ran) {
  const auto count = [](std::size_t n, const char* one, const char* many) {
    return n == 0 ? std::string() : ", " + std::to_string(n) + " " + (n == 1 ? one : many);
  };
  return std::to_string(node.succeeded) + " of " + std::to_string(node.units.size()) + " items had succeeded when the run stopped"
         + count(node.stopped, "was stopped", "were stopped") + count(ran - node.succeeded - node.stopped, "had failed", "had failed")
         + count(node.units.size() - ran, "had not begun", "had not begun");
}

} // namespace

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
    outcome.error = stopped_words(node, static_cast<std::size_t>(ran));
  }
  outcome.output = std::move(node.outputs);
  conclude(n, std::move(outcome), true, 1, out);
}

/// The task has ended: what depends on it may start, or the run fails.
void task_graph::impl::conclude(std::size_t n, task_outcome outcome, bool record, std::int64_t attempt, graph_commands& out) {
  auto& node = nodes[n];
  const auto& t = spec(n);
  if (is_failure(outcome.status) && outcome.reason.empty())
    outcome.reason = name_of(outcome.status);
  if (record)
    record_finish(path(n), n, attempt, outcome, out);
  node.state = task_state::done;
  --open;
  ++done;
  const bool bad = is_failure(outcome.status);
  completed += bad ? 0 : 1;
  auto& visible =
      scope["tasks"][t.id] = {{"status", name_of(outcome.status)}, {"attempts", outcome.status == task_status::skipped ? 0 : attempt}};
  if (const auto& agent = outcome.agent.empty() ? t.agent : outcome.agent; !agent.empty())
    visible["agent"] = agent;
  if (bad)
    visible["error"] = outcome.error;
  if (plan->reads_costs && costs)
    visible["cost_usd"] = costs(path(n)).dollars();
  if (items(n))
    visible["items"] = outcome.output;
  if (outcome.status == task_status::success || (bad && items(n)))
    visible["output"] = std::move(outcome.output);
  node.items = nullptr;
  if (bad && t.on_failure == on_failure_type::fail && !stopping()) {
    fail(std::move(outcome));
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
    out.push_back(finish_run{run_status::failed, reason, error, nullptr, cause, fatal});
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

void task_graph::belongs_to(std::string attempts_above) {
  impl_->within = std::move(attempts_above);
}

void task_graph::read_costs(std::function<usd(const std::string&)> costs) {
  impl_->costs = std::move(costs);
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
  if (is_failure(outcome.status) && outcome.reason.empty())
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

} // namespace troupe::policy
