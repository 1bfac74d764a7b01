#include "troupe/policy/task_graph.hpp"

#include <algorithm>
#include <charconv>
#include <deque>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "troupe/model/described.hpp"
#include "troupe/policy/budget_scope.hpp"
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
  /// One piece of work: a task, or one item of a for_each.
  struct unit {
    enum { idle, running, done } state = idle;
    bool cancelled = false;
    std::int64_t attempt = 1;
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
  struct place {
    std::size_t node;
    std::size_t unit;
  };

  graph_plan plan;
  std::string prefix;
  restored_state restored;
  json scope; // what templates read
  std::vector<task_state> nodes;
  std::deque<std::size_t> ready;
  std::size_t open = 0, done = 0, completed = 0, busy = 0;
  bool started = false, ended = false, failing = false;
  std::optional<abort_reason> aborting;
  std::string reason, error; // of a failing run

  const task_spec& spec(std::size_t n) const { return plan.workflow.tasks[n]; }
  bool items(std::size_t n) const { return !spec(n).for_each.empty(); }
  bool stopping() const { return failing || aborting.has_value(); }
  std::string path(std::size_t n) const { return prefix + spec(n).id; }
  std::string path(place p) const { return items(p.node) ? path(p.node) + "[" + std::to_string(p.unit) + "]" : path(p.node); }
  std::optional<place> find(const std::string& path) const;
  const restored_task* before(const std::string& path) const {
    auto it = restored.find(path);
    return it == restored.end() ? nullptr : &it->second;
  }

  bool fail_as_before();
  void begin(std::size_t n, graph_commands& out);
  void open_items(std::size_t n, graph_commands& out);
  void fill(std::size_t n, graph_commands& out);
  void launch(place p, bool resumed, graph_commands& out);
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
  if (auto it = plan.ids.find(std::string(rest)); it != plan.ids.end())
    return items(it->second) ? std::nullopt : std::optional(place{it->second, 0});
  const auto bracket = rest.rfind('[');
  if (bracket == std::string_view::npos || rest.back() != ']')
    return std::nullopt;
  auto it = plan.ids.find(std::string(rest.substr(0, bracket)));
  std::size_t index = 0;
  const auto* last = rest.data() + rest.size() - 1;
  if (it == plan.ids.end() || !items(it->second) || std::from_chars(rest.data() + bracket + 1, last, index).ptr != last)
    return std::nullopt;
  return place{it->second, index};
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
  const auto& p = plan.tasks[n];
  auto& node = nodes[n];
  node.state = task_state::open;
  ++open;
  const auto* old = before(path(n));
  if (old && old->finished) {
    const auto& f = *old->finished;
    return conclude(n, {f.status, f.reason, f.error, f.output, false}, false, f.attempt, out);
  }
  if (p.when && !p.when->is_valid(plan.output_of(scope, t.when->task)))
    return conclude(n, {task_status::skipped, {}, {}, {}, false}, true, 1, out);
  if (!t.agents.empty())
    return conclude(n,
                    {task_status::error,
                     "unsupported",
                     "task \"" + t.id + "\" gives one task to several `agents`, which is not run yet; name one `agent`",
                     {},
                     true},
                    true, 1, out);
  if (items(n))
    return open_items(n, out);
  node.units.resize(1);
  node.units[0].attempt = old ? old->attempt : 1;
  launch({n, 0}, old && old->started, out);
}

void task_graph::impl::open_items(std::size_t n, graph_commands& out) {
  const auto& t = spec(n);
  auto& node = nodes[n];
  node.items = plan.tasks[n].for_each.evaluate(scope);
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
  const auto& compiled = plan.tasks[p.node];
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
  std::string instruction = compiled.instruction.render(scope);
  if (u.attempt > 1)
    instruction += (instruction.empty() ? "" : "\n\n") + std::string(next_attempt_words);
  if (!resumed)
    out.push_back(record_event{where, t.agent, task_started{u.attempt, instruction, std::nullopt}});
  if (t.workflow.empty())
    out.push_back(start_task{std::move(where), &t, t.agent, std::move(instruction), u.attempt, index, resumed});
  else
    out.push_back(start_subworkflow{std::move(where), &t, t.workflow, compiled.with.evaluate(scope), u.attempt, index, resumed});
  if (index) {
    scope.erase("item");
    scope.erase("index");
  }
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
  for (auto d : plan.tasks[n].dependents)
    if (--nodes[d].waits_for == 0)
      ready.push_back(d);
}

void task_graph::impl::cancel_all(milliseconds grace, graph_commands& out) {
  for (std::size_t n = 0; n < nodes.size(); ++n)
    for (std::size_t i = 0; nodes[n].busy > 0 && i < nodes[n].units.size(); ++i)
      if (auto& u = nodes[n].units[i]; u.state == unit::running) {
        u.cancelled = true;
        out.push_back(cancel_task{path({n, i}), grace});
      }
}

void task_graph::impl::go_on(graph_commands& out) {
  while (!stopping() && !ready.empty()) {
    const auto n = ready.front();
    ready.pop_front();
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
    out.push_back(finish_run{run_status::completed, {}, {}, plan.result_of(scope)});
}

// --- the machine's surface
// -------------------------------------------------------------------------------------------------------------

task_graph::task_graph(std::unique_ptr<impl> i) : impl_(std::move(i)) {}
task_graph::task_graph(task_graph&&) noexcept = default;
task_graph& task_graph::operator=(task_graph&&) noexcept = default;
task_graph::~task_graph() = default;

expected<task_graph> task_graph::create(workflow_spec workflow, std::string prefix, std::string) {
  auto plan = graph_plan::make(std::move(workflow));
  if (!plan)
    return tl::unexpected<troupe::error>(std::move(plan.error()));
  auto i = std::make_unique<impl>();
  i->plan = std::move(*plan);
  i->prefix = std::move(prefix);
  i->nodes.resize(i->plan.tasks.size());
  for (const auto& t : i->plan.tasks)
    for (auto d : t.dependents)
      ++i->nodes[d].waits_for;
  return task_graph(std::move(i));
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
  const auto& t = g.spec(at->node);
  if (u.attempt < t.attempts && may_try_again(outcome) && !g.stopping() && !g.nodes[at->node].halted) {
    --g.nodes[at->node].busy;
    --g.busy;
    ++u.attempt;
    out.push_back(record_event{path, t.agent, task_retried{u.attempt, outcome.error.empty() ? outcome.reason : outcome.error}});
    g.launch(*at, false, out);
    return out;
  }
  g.unit_done(*at, std::move(outcome), true, out);
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
        out.push_back(impl_->path(impl::place{n, i}));
  return out;
}

const workflow_spec& task_graph::workflow() const {
  return impl_->plan.workflow;
}

// --- what was before
// -------------------------------------------------------------------------------------------------------------------

restored_state fold_tasks(const std::vector<event_ptr>& events) {
  restored_state out;
  replay_fold run;
  bool run_refused = false; // a limit of the run, or above it, was met since the last start
  std::vector<std::string> last; // finished since the last start: an abort starts nothing, so that what it ended is among them
  std::int64_t order = 0;
  const auto unfinish = [&](const auto& ended_by_abort) {
    for (const auto& path : last)
      if (auto& t = out[path]; t.finished && ended_by_abort(t.finished->status))
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
      if (s->items)
        t.items = s->items;
      t.finished.reset();
      last.clear();
      run_refused = false;
    } else if (const auto* r = std::get_if<task_retried>(&e->body)) {
      auto& t = out[e->task];
      t.attempt = r->next_attempt;
      t.started = false;
      // A sub-workflow that starts anew starts all of its tasks anew.
      const auto inner = e->task + "/";
      for (auto it = out.lower_bound(inner); it != out.end() && it->first.compare(0, inner.size(), inner) == 0;)
        it = out.erase(it);
      last.clear();
    } else if (const auto* f = std::get_if<task_finished>(&e->body)) {
      auto [it, added] = out.try_emplace(e->task);
      it->second.started = !added;
      it->second.attempt = f->attempt;
      it->second.finished = *f;
      it->second.order = ++order;
      last.push_back(e->task);
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
