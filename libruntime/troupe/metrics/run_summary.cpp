#include "troupe/metrics/run_summary.hpp"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "troupe/metrics/answer_rows.hpp"
#include "troupe/model/described.hpp"
#include "troupe/policy/paused_time.hpp"
#include "troupe/policy/replay.hpp"

namespace troupe::metrics {

namespace {

constexpr std::size_t failures_max = 1'000;

/// Sums of what may come from a damaged or hostile source never wrap around.
std::int64_t plus(std::int64_t a, std::int64_t b) {
  std::int64_t sum = 0;
  return __builtin_add_overflow(a, b, &sum) ? std::numeric_limits<std::int64_t>::max() : sum;
}

std::string request_key(const event& e, const std::string& step_id, std::int64_t request) {
  return e.task + '\0' + step_id + '#' + std::to_string(request);
}

struct task_tally {
  std::string agent;
  usd cost;
  std::int64_t attempts = 0;
  std::shared_ptr<const task_finished> end; ///< null: not yet
  bool for_each = false;
  std::map<std::int64_t, item_result> items; ///< those that have ended
  std::map<std::int64_t, usd> item_costs;
  std::map<std::int64_t, answer_rows> answers; ///< of elements; -1: of the task itself
};

/// What must count once, however often it is told.
struct trouble {
  std::set<std::string> doubtful; ///< calls counted as in doubt
  std::set<std::string> rejected; ///< steps whose usage is not believed
  std::set<std::string> failed;   ///< reasons by task path, of all that failed there or below
};

} // namespace

struct run_fold::state { // of few tasks and calls mostly, ten thousand times: trees, which hold no buckets
  run_summary sum;
  bool ended = false;
  std::vector<std::string> order;   ///< top-level tasks as they first appeared
  std::vector<std::string> planned; ///< as the workflow lists them, where known
  std::map<std::string, task_tally> tasks;
  std::set<std::string> agents;
  std::set<std::string> in_flight;            ///< LLM requests without an outcome
  std::set<std::string> open_calls;           ///< tool calls without a result
  std::set<std::string> open_effects;         ///< … of those a tool at work whose effect must not be repeated
  std::map<std::string, token_usage> counted; ///< usage by task and step: a later rejection takes it back
  std::unique_ptr<trouble> met;               ///< on its own: most runs meet none
  std::int64_t owned_before_us = 0;
  std::int64_t owner_since_us = 0;
  policy::paused_time paused;

  trouble& troubles() {
    if (!met)
      met = std::make_unique<trouble>();
    return *met;
  }

  task_tally& tally(std::string_view path) {
    const auto top = std::string(path.substr(0, path.find_first_of("/[(>")));
    const auto [found, fresh] = tasks.try_emplace(top);
    if (fresh)
      order.push_back(top);
    return found->second;
  }

  /// The element of a top-level for_each task that a path lies in.
  static std::optional<std::int64_t> element_of(std::string_view path) {
    return policy::element_index(path.substr(0, path.find_first_of("/(>")));
  }

  /// Who answered what, where several agents do a top-level task, or an element of one.
  answer_rows& answers_of(std::string_view path) { return tally(path).answers[element_of(path).value_or(-1)]; }

  void charge(const event& e, usd amount) {
    const usd real{std::max<std::int64_t>(amount.micro, 0)};
    const auto add = [&](usd& to) { to.micro = plus(to.micro, real.micro); };
    add(sum.total_cost);
    if (e.task.empty())
      return;
    auto& task = tally(e.task);
    add(task.cost);
    if (const auto index = element_of(e.task))
      add(task.item_costs[*index]);
    if (const auto seat = top_seat(e.task); !seat.empty())
      add(answers_of(e.task).row(seat, e.agent).cost);
  }

  void count_tokens(const token_usage& usage, int sign) {
    const auto add = [&](std::int64_t& to, std::int64_t amount) { to = plus(to, sign * std::max<std::int64_t>(amount, 0)); };
    add(sum.tokens.input, usage.input);
    add(sum.tokens.cached_input, usage.cached_input);
    add(sum.tokens.cache_write, usage.cache_write);
    add(sum.tokens.output, usage.output);
  }

  void fail(const event& e, const std::string& reason) {
    for (std::string_view path = e.task; !path.empty(); path = policy::parent_path(path))
      troubles().failed.insert(std::string(path) + '\0' + reason);
    if (sum.failures.size() < failures_max)
      sum.failures.push_back({e.task, e.agent, reason});
  }

  void step() {
    ++sum.steps;
    ++sum.llm_calls;
  }

  void read_plan(const run_started& start) {
    if (!start.configuration)
      return;
    const auto& from = *start.configuration;
    const auto at = json::json_pointer() / "workflows" / start.workflow / "tasks";
    if (!from.is_object() || !from.contains(at) || !from.at(at).is_array())
      return;
    for (const auto& task : from.at(at))
      if (task.is_object() && task.contains("id") && task["id"].is_string())
        planned.push_back(task["id"].get<std::string>());
  }

  // --- one for each event that counts ------------------------------------------------------------------------------

  void on(const event& e, const run_started& b) {
    if (!e.task.empty())
      return; // a sub-workflow is a task of this run
    sum.run_id = e.run_id;
    sum.workflow = b.workflow;
    sum.tenant = b.tenant;
    sum.total_tasks = b.total_tasks;
    sum.budget = b.budget;
    sum.started_us = owner_since_us = e.time_us;
    read_plan(b);
  }

  void on(const event& e, const run_resumed& b) {
    owned_before_us = plus(0, std::clamp<std::int64_t>(b.owned_before_ms, 0, std::numeric_limits<std::int64_t>::max() / 1000) * 1000);
    owner_since_us = e.time_us;
    ended = false;
    sum.status = run_status::running;
    sum.reason.clear();
    sum.finished_us = 0;
    sum.result = nullptr;
    if (sum.budget.money)
      sum.budget.money->micro = plus(sum.budget.money->micro, b.added_money.micro);
    if (sum.budget.steps)
      sum.budget.steps = plus(*sum.budget.steps, b.added_steps);
    if (sum.budget.time)
      sum.budget.time = std::chrono::milliseconds(plus(sum.budget.time->count(), b.added_time_ms));
  }

  void on(const event& e, const run_finished& b) {
    if (!e.task.empty())
      return;
    ended = true;
    sum.status = b.status;
    sum.reason = b.reason;
    sum.result = b.result;
    sum.finished_us = e.time_us;
    for (const auto& call : open_effects) // cut off by a limit of time, a cancel, or with whoever waited for it
      doubt(call);
    open_effects.clear();
  }

  void on(const event& e, const task_started& b) {
    auto& task = tally(e.task);
    const bool below = e.task.find_first_of("/>") != std::string::npos;
    if (const auto seat = top_seat(e.task); !seat.empty() && !below)
      answers_of(e.task).started(seat, e.agent, b.attempt);
    if (e.task.find_first_of("/[(>") != std::string::npos)
      return;
    if (!e.agent.empty())
      task.agent = e.agent;
    task.attempts = std::max(task.attempts, b.attempt);
    task.end.reset();
    if (b.items) {
      task.for_each = true;
      if (b.attempt > 1)
        task.items.clear();
    }
  }

  void on(const event& e, const task_finished& b) {
    auto& task = tally(e.task);
    const auto seat = top_seat(e.task);
    if (!seat.empty() && e.task.find_first_of("/>") == std::string::npos)
      answers_of(e.task).ended(seat, e.agent, b);
    if (b.reason == "decided" && b.status == task_status::cancelled)
      return; // its task had its answer: no failure
    if (b.status != task_status::success && b.status != task_status::skipped) {
      const std::string reason = b.reason.empty() ? name_of(b.status) : b.reason;
      if (!met || !met->failed.contains(e.task + '\0' + reason))
        fail(e, reason);
    }
    if (e.task.find_first_of("/>") != std::string::npos || !seat.empty())
      return;
    if (const auto index = policy::element_index(e.task)) {
      task.items[*index] = {*index, b.status, b.output, {}, b.error, {}, {}};
      return;
    }
    if (!e.agent.empty())
      task.agent = e.agent;
    task.attempts = std::max(task.attempts, b.attempt);
    task.end = std::make_shared<const task_finished>(b);
  }

  void on(const event& e, const llm_requested& b) {
    in_flight.insert(request_key(e, b.step_id, b.request));
    if (!e.agent.empty() && agents.insert(e.agent).second)
      sum.agents_used.push_back(e.agent);
  }

  void on(const event& e, const llm_responded& b) {
    in_flight.erase(request_key(e, b.step_id, b.request));
    step();
    charge(e, b.cost);
    const std::string key = e.task + '\0' + b.step_id;
    if (met && met->rejected.contains(key))
      return;
    count_tokens(b.usage, 1);
    counted[key] = b.usage;
  }

  void on(const event& e, const llm_failed& b) {
    in_flight.erase(request_key(e, b.step_id, b.request));
    if (b.counted)
      step();
    charge(e, b.charged);
    if (b.reason == "cancelled" && !top_seat(e.task).empty() && answers_of(e.task).decided())
      return;                                                 // its task had its answer: no failure
    if (b.reason != "agent_crash" && b.reason != "overtaken") // rehearsed: the crash that follows is the failure; its step has its answer
      fail(e, b.reason.empty() ? "llm_failed" : b.reason);
  }

  void on(const event&, const llm_failed_over&) { ++sum.fail_overs; }

  void on(const event& e, const usage_rejected& b) {
    const std::string key = e.task + '\0' + b.step_id;
    if (!troubles().rejected.insert(key).second)
      return;
    if (const auto found = counted.find(key); found != counted.end())
      count_tokens(found->second, -1);
  }

  void on(const event& e, const outcome_unknown& b) {
    charge(e, b.charged);
    if (in_flight.erase(e.task + '\0' + b.id) > 0)
      step();
    else
      doubt(e.task + '\0' + b.id);
  }

  void doubt(const std::string& call) {
    if (troubles().doubtful.insert(call).second)
      ++sum.in_doubt;
  }

  /// What was at work when a task, or what it comes to, began anew: the next attempt may give its calls the same ids.
  void cut_off(const std::string& task) {
    const auto of_it = [&](const std::string& call) { return policy::is_within(std::string_view(call).substr(0, call.find('\0')), task); };
    for (const auto& call : open_effects)
      if (of_it(call))
        doubt(call);
    std::erase_if(open_effects, of_it);
    std::erase_if(open_calls, of_it);
    if (met)
      std::erase_if(met->doubtful, of_it); // counted, and no name for calls to come
  }

  void on(const event& e, const task_retried&) { cut_off(e.task); }

  void on(const event& e, const tool_started& b) {
    const auto call = e.task + '\0' + b.call_id;
    if (open_calls.insert(call).second)
      ++sum.tool_calls;
    if (b.effect == effect::once)
      open_effects.insert(call);
  }

  void on(const event& e, const tool_failed& b) {
    open_effects.erase(e.task + '\0' + b.call_id);
    fail(e, "tool_failed");
  }

  // A status of in doubt counts nothing by itself: of what may be repeated nobody has to find out what became of it.
  void on(const event& e, const tool_finished& b) {
    open_calls.erase(e.task + '\0' + b.call_id);
    open_effects.erase(e.task + '\0' + b.call_id);
  }

  void on(const event& e, const answers_resolved& b) {
    if (e.task.find('/') == std::string::npos)
      answers_of(e.task).resolved(b);
  }

  void on(const event& e, const state_written& b) {
    const auto at = std::lower_bound(sum.state.begin(), sum.state.end(), b.key,
                                     [](const state_result& each, const std::string& key) { return each.key < key; });
    if (at != sum.state.end() && at->key == b.key)
      *at = {b.key, b.version, b.value, e.agent};
    else
      sum.state.insert(at, {b.key, b.version, b.value, e.agent});
  }

  void on(const event& e, const agent_crashed&) { fail(e, "agent_crashed"); }
  void on(const event&, const agent_restarted&) { ++sum.restarts; }
  void on(const event&, const delegated&) { ++sum.delegations; }
  void on(const event& e, const handed_off& b) {
    ++sum.handoffs;
    if (e.task.find_first_of("/[(>") == std::string::npos)
      tally(e.task).agent = b.to;
  }
  void on(const event& e, const contract_violated&) { fail(e, "contract_violated"); }

  void on(const event&, const run_interrupted&) { sum.status = run_status::running; }
  void on(const event&, const approval_requested&) { sum.status = run_status::waiting_approval; }
  void on(const event&, const approval_withdrawn& b) { sum.status = b.pending > 0 ? run_status::waiting_approval : run_status::running; }
  void on(const event&, const approval_decided& b) {
    sum.status = b.pending > 0 ? run_status::waiting_approval : run_status::running;
    if (b.by_human && b.status != approval_status::rejected)
      ++sum.human_approvals;
  }

  template <class Other>
  void on(const event&, const Other&) {}
};

run_fold::run_fold() : state_(std::make_unique<state>()) {}
run_fold::~run_fold() = default;
run_fold::run_fold(run_fold&&) noexcept = default;
run_fold& run_fold::operator=(run_fold&&) noexcept = default;

void run_fold::apply(const event& e) {
  auto& s = *state_;
  if (s.sum.run_id.empty())
    s.sum.run_id = e.run_id;
  if (s.sum.started_us == 0)
    s.sum.started_us = s.owner_since_us = e.time_us;
  s.sum.last_us = std::max(s.sum.last_us, e.time_us);
  std::visit([&](const auto& body) { s.on(e, body); }, e.body);
  s.paused.apply(e);
  // Time that nobody owned does not count: it begins anew with each owner. A clock that steps back takes nothing away.
  std::int64_t since = 0;
  if (__builtin_sub_overflow(e.time_us, s.owner_since_us, &since))
    since = 0;
  s.sum.owned_us = std::max(std::holds_alternative<run_resumed>(e.body) ? 0 : s.sum.owned_us,
                            plus(s.owned_before_us, std::max<std::int64_t>(since - s.paused.until(e.time_us), 0)));
}

run_summary run_fold::summary() const {
  const auto& s = *state_;
  run_summary out = s.sum;
  out.effects_under_way = std::count_if(s.open_effects.begin(), s.open_effects.end(),
                                        [&](const std::string& call) { return !s.met || !s.met->doubtful.contains(call); });
  std::vector<std::string_view> order;
  const auto add = [&](const std::vector<std::string>& names) {
    for (const auto& name : names)
      if (s.tasks.contains(name) && std::find(order.begin(), order.end(), name) == order.end())
        order.push_back(name);
  };
  add(s.planned);
  add(s.order);
  for (const auto name : order) {
    const auto& task = s.tasks.at(std::string(name));
    if (!task.end)
      continue;
    auto& row = out.results.emplace_back();
    row.task_id = name;
    row.agent = task.agent;
    row.status = task.end->status;
    row.attempts = task.attempts;
    row.cost = task.cost;
    row.output = task.end->output;
    row.error = task.end->error;
    if (row.status == task_status::success)
      ++out.completed_tasks;
    if (const auto answers = task.answers.find(-1); answers != task.answers.end())
      answers->second.into(row.answers, row.resolution);
    if (!task.for_each)
      continue;
    auto& items = row.items.emplace();
    for (const auto& [index, item] : task.items) {
      items.push_back(item);
      if (const auto cost = task.item_costs.find(index); cost != task.item_costs.end())
        items.back().cost = cost->second;
      if (const auto answers = task.answers.find(index); answers != task.answers.end())
        answers->second.into(items.back().answers, items.back().resolution);
    }
  }
  return out;
}

} // namespace troupe::metrics
