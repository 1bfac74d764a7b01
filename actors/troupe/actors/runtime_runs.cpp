// What a runtime does about runs: how one begins, is taken up and is left, and who counts for its tenant.
#include "troupe/actors/runtime.hpp"

#include <algorithm>
#include <limits>
#include <map>

#include "troupe/actors/budget_guard.hpp"
#include "troupe/actors/orchestrator.hpp"
#include "troupe/policy/approval.hpp"
#include "troupe/policy/approval_requests.hpp"
#include "troupe/policy/budget_scope.hpp"
#include "troupe/policy/replay.hpp"
#include "troupe/policy/shared_state.hpp"
#include "troupe/policy/task_graph.hpp"
#include "troupe/policy/time_used.hpp"
#include "troupe/schema/schema.hpp"
#include "troupe/store/row.hpp"
#include "troupe/util/clock.hpp"
#include "troupe/util/id.hpp"
#include "troupe/util/suggest.hpp"

namespace troupe::actors {

/// How a run begins: new, or taken up.
struct launch_plan {
  limits budget;
  json input;
  spend spent;
  std::map<std::string, spend> spent_by_task, spent_by_agent;
  milliseconds time_used{0};
  std::vector<event_body> opening;
  std::vector<note> found;
  std::shared_ptr<const earlier_owners> before = no_earlier_owners();
  std::map<std::string, std::int64_t> crashes;
  std::shared_ptr<policy::shared_state> state = std::make_shared<policy::shared_state>();
  bool approve_all = false;
  waiting_requests waiting;
};

namespace {

std::string words_of(const std::vector<schema::violation>& broken) {
  std::string words;
  for (const auto& violation : broken)
    words += (words.empty() ? "" : "\n") + ("input" + violation.pointer) + ": " + violation.message;
  return words;
}

/// A mistyped name must not run without the limits of the one that was meant. Where nobody is listed, anybody may have runs.
expected<void> check_tenant(const configuration& config, const std::string& tenant) {
  if (!is_run_id(tenant)) // the same characters
    return fail(error_code::invalid_argument,
                "a tenant's name is 1 to 64 letters, digits, '.', '_' or '-'; " + in_quotes(tenant) + " is not");
  if (config.tenants.empty() || tenant == run_order{}.tenant || config.tenants.count(tenant) > 0)
    return {};
  return fail(error_code::not_found, "no tenant named " + in_quotes(tenant)
                                         + " among the configuration's `tenants`, which lists all that have runs"
                                         + did_you_mean(tenant, names_of(config.tenants)));
}

/// However much is added, a limit stays one.
limits with(const limits& base, const run_additions& more) {
  constexpr milliseconds longest = std::chrono::hours{24} * 36'525; // as of any duration (util/duration.hpp): no clock overflows by it
  limits sum = base;
  if (sum.money)
    *sum.money += more.money;
  if (sum.steps)
    *sum.steps += std::min(more.steps, std::numeric_limits<std::int64_t>::max() - std::max<std::int64_t>(0, *sum.steps));
  if (sum.time)
    sum.time = std::min(longest, std::min(longest, *sum.time) + std::min(longest, more.time));
  return sum;
}

/// What a tenant has spent in its period.
struct tenant_past {
  spend spent;
  milliseconds time_used{0};
};

constexpr std::size_t runs_read_max = 1'000'000;

/// Whatever of it cannot be read was spent all the same: then nothing is known, and nothing may be spent.
expected<tenant_past> past_of(store::journal& journal, const std::string& tenant, std::int64_t since_us) {
  const auto unknown = [&](const error& why, const std::string& todo) {
    return fail(why.code,
                "what it has spent in this period cannot be told, so that its limit could be overshot: " + why.text() + "; " + todo,
                "tenant " + tenant);
  };
  const auto rows = journal.list_runs(runs_read_max);
  if (!rows)
    return tl::unexpected(rows.error());
  if (rows->size() == runs_read_max)
    return unknown({error_code::exhausted, "the journal has too many runs to count", {}}, "begin another journal");
  tenant_past sum;
  for (const auto& row : *rows) {
    if (row.tenant != tenant || row.updated_us < since_us)
      continue;
    const auto events = journal.read_run(row.run_id);
    if (!events)
      return unknown(events.error(), "or wait until this period is over, or take the tenant's budget out of the configuration");
    if (events->empty() || events->back()->seq < row.last_seq)
      return unknown({error_code::corrupt, "its last events are damaged or missing", "run " + row.run_id},
                     "resume that run, which cuts them off and goes on without them");
    const auto history = policy::rebuild_run(*events);
    sum.spent = sum.spent + history.spent;
    sum.time_used += milliseconds(history.owned_ms);
  }
  return sum;
}

} // namespace

/// A limit that several processes count is overshot by all but one of them: so one counts, from before it reads what was spent until
/// its last run of the tenant has ended.
expected<void> runtime::enter_tenant(const std::string& tenant, const std::string& run_id) {
  const auto spec = config_->tenants.find(tenant);
  if (spec == config_->tenants.end())
    return {};
  const limits limit{spec->second.money, spec->second.time, spec->second.steps};
  if (limit == limits{})
    return {};
  if (const auto counted = tenants_.find(tenant); counted != tenants_.end()) {
    counted->second.runs.insert(run_id);
    return {};
  }
  auto& journal = *options_.journal;
  if (auto owned = journal.own_tenant(tenant); !owned)
    return owned;
  const auto period_us = std::chrono::duration_cast<std::chrono::microseconds>(spec->second.per).count();
  const auto past = past_of(journal, tenant, options_.utc_now_us() - period_us);
  if (!past) {
    journal.disown_tenant(tenant);
    return tl::unexpected(past.error());
  }
  counted_tenant counted;
  if (limit.time)
    counted.until = system_.clock().now() + (*limit.time - std::min(past->time_used, *limit.time));
  counted.guard = spawn_budget_guard(system_, guard_setup{.scope = policy::tenant_scope(tenant),
                                                          .limit = limit,
                                                          .spent = past->spent,
                                                          .time_used = past->time_used,
                                                          .parent = process_guard_,
                                                          .journal = journal_});
  counted.runs.insert(run_id);
  tenants_.emplace(tenant, std::move(counted));
  return {};
}

/// After the tenant's last run here another process may count. Whoever reads the journal then finds all of it: what has no recorded
/// outcome counts with its worst case.
void runtime::leave_tenant(const std::string& run_id) {
  const auto left = std::find_if(tenants_.begin(), tenants_.end(), [&](const auto& each) { return each.second.runs.count(run_id) != 0; });
  if (left == tenants_.end())
    return;
  // A run whose end nobody recorded (its orchestrator died) may have agents that are still at work: it is left with the runtime, after
  // them.
  const auto row = options_.journal->find_run(run_id);
  if (row ? !store::has_ended(row->status) && row->reason.empty() : row.error().code != error_code::not_found)
    return;
  left->second.runs.erase(run_id);
  if (!left->second.runs.empty())
    return;
  caf::scoped_actor self{system_};
  self->monitor(left->second.guard);
  self->send_exit(left->second.guard, caf::exit_reason::user_shutdown);
  run_actors();
  self->receive([](const caf::down_msg&) {}); // it grants nothing more
  options_.journal->disown_tenant(left->first);
  tenants_.erase(left);
}

started_run runtime::launch(const std::string& run_id, const std::string& tenant, const std::string& workflow, launch_plan plan) {
  const auto counted = tenants_.find(tenant);
  guard_setup guard{.scope = std::string(policy::run_scope),
                    .limit = plan.budget,
                    .spent = plan.spent,
                    .time_used = plan.time_used,
                    .parent = counted == tenants_.end() ? process_guard_ : counted->second.guard,
                    .journal = journal_,
                    .run_id = run_id};
  for (const auto& [name, agent] : config_->agents)
    if (agent.budget != limits{})
      guard.inner[policy::agent_scope(name)].limit = agent.budget;
  if (policy::any_task_has_limits(*config_, workflow))
    guard.limits_of_task = [config = config_, workflow](std::string_view path) { return policy::limits_of_task(*config, workflow, path); };
  for (const auto& [name, spent] : plan.spent_by_agent)
    guard.inner[policy::agent_scope(name)].spent = spent;
  for (const auto& [path, spent] : plan.spent_by_task)
    guard.inner[policy::task_scope(path)].spent = spent;

  auto context = std::make_shared<run_context>();
  context->run_id = run_id;
  context->tenant = tenant;
  context->config = config_;
  context->approve_all = plan.approve_all;
  context->humans_may_wait = policy::may_ask_humans(*config_);
  context->state = std::move(plan.state);
  context->waiting = std::move(plan.waiting);
  for (const auto& [path, spent] : plan.spent_by_task)
    context->costs.put(path, spent.money);
  context->deadline = clock_point::max();
  if (plan.budget.time) {
    const auto left = *plan.budget.time - std::min(plan.time_used, *plan.budget.time);
    context->deadline = system_.clock().now() + left;
  }
  context->above = process_until_;
  if (counted != tenants_.end())
    context->above = std::min(context->above, counted->second.until);
  guard.pause = context->pause;
  guard.gateway = gateway_;
  context->guard = spawn_budget_guard(system_, std::move(guard));
  const auto run_guard = context->guard;
  orchestrator_setup setup;
  setup.run = std::move(context);
  setup.workflow = workflow;
  setup.input = std::move(plan.input);
  setup.opening = std::move(plan.opening);
  setup.found = std::move(plan.found);
  setup.before = std::move(plan.before);
  setup.crashes = std::move(plan.crashes);
  setup.pools = {peers_, &peers_->pools};
  setup.journal = journal_;
  setup.checkpoint = checkpoint_;
  setup.gateway = gateway_;
  setup.plans = plans_;
  setup.at_work = at_work_;
  return {run_id, spawn_orchestrator(system_, std::move(setup)), run_guard};
}

expected<started_run> runtime::start_run(run_order order) {
  const auto workflow = config_->workflows.find(order.workflow);
  if (workflow == config_->workflows.end())
    return fail(error_code::not_found,
                "no workflow named " + in_quotes(order.workflow) + did_you_mean_or_list(order.workflow, names_of(config_->workflows)));
  if (auto known = check_tenant(*config_, order.tenant); !known)
    return tl::unexpected(known.error());
  if (!order.input.is_object())
    return fail(error_code::invalid_argument, "the input must be an object");
  if (!workflow->second.input_schema.is_null()) {
    const auto compiled = schema::compiled_schema::compile(workflow->second.input_schema);
    if (!compiled)
      return tl::unexpected(compiled.error());
    if (const auto broken = compiled->validate(order.input); !broken.empty())
      return fail(error_code::invalid_argument, words_of(broken));
  }
  const bool named = !order.run_id.empty(); // nobody has the id that is made here
  if (!named) {
    static id_maker ids;
    order.run_id = ids.next(options_.utc_now_us() / 1000);
  } else if (!is_run_id(order.run_id)) {
    return fail(error_code::invalid_argument,
                "a run id is 1 to 64 letters, digits, '.', '_' or '-'; " + in_quotes(order.run_id) + " is not");
  }
  auto& journal = *options_.journal;
  if (auto owned = named ? journal.own(order.run_id) : journal.own_new(order.run_id); !owned)
    return tl::unexpected(owned.error());
  if (named) {
    if (const auto exists = journal.find_run(order.run_id); exists || exists.error().code != error_code::not_found) {
      journal.disown(order.run_id);
      if (!exists)
        return tl::unexpected(exists.error());
      return fail(error_code::conflict, "run " + order.run_id + " exists already; go on with it by `resume`, or choose another --id");
    }
  }
  if (auto entered = enter_tenant(order.tenant, order.run_id); !entered) {
    journal.disown(order.run_id);
    return tl::unexpected(entered.error());
  }
  tell_from_outside(journal_, open_run{order.run_id, 0, 0});
  launch_plan plan;
  plan.budget = workflow->second.budget;
  plan.approve_all = order.approve_all;
  plan.opening.emplace_back(run_started{order.workflow, order.tenant, order.input, plan.budget, 0, json_ptr(config_, &config_->source)});
  plan.input = std::move(order.input);
  return launch(order.run_id, order.tenant, order.workflow, std::move(plan));
}

namespace {

/// `--yes`: whatever waited to be begun is approved, and nobody is asked again.
void approve_waiting(const std::string& run_id, const std::vector<event_ptr>& events, launch_plan& plan) {
  for (const auto& e : events) {
    const auto* asked = std::get_if<approval_requested>(&e->body);
    if (!asked || (asked->kind != approval_kind::tool && asked->kind != approval_kind::task) || plan.waiting.erase(asked->id) == 0)
      continue;
    approval_decided end{asked->id, approval_status::approved, {}, "approved by --yes", nullptr, false, 0, {}};
    end.pending = static_cast<std::int64_t>(plan.waiting.size());
    plan.found.push_back(note{run_id, e->task, e->agent, {std::move(end)}});
  }
}

} // namespace

expected<started_run> runtime::resume_run(const std::string& run_id, const run_additions& more) {
  if (auto owned = options_.journal->own(run_id); !owned)
    return tl::unexpected(owned.error());
  const auto give_up = [&](error why) -> expected<started_run> {
    options_.journal->disown(run_id);
    return tl::unexpected(std::move(why));
  };
  const auto events = options_.journal->read_run(run_id);
  if (!events)
    return give_up(events.error());
  auto history = policy::rebuild_run(*events);
  const bool resumable = !history.ended || history.end.status == run_status::aborted;
  if (!history.started || !resumable)
    return give_up(
        error{error_code::invalid_argument, history.started ? "run " + run_id + " has ended" : "run " + run_id + " never started", run_id});
  if (config_->workflows.count(history.start.workflow) == 0)
    return give_up(error{error_code::not_found, "the configuration has no workflow " + in_quotes(history.start.workflow), run_id});
  if (auto entered = enter_tenant(history.start.tenant, run_id); !entered)
    return give_up(entered.error());

  launch_plan plan;
  plan.budget = with(history.budget, more);
  plan.approve_all = more.approve_all;
  plan.input = history.start.input;
  plan.spent = history.spent;
  plan.spent_by_task = history.spent_by_task;
  plan.spent_by_agent = history.spent_by_agent;
  plan.time_used = milliseconds(history.owned_ms);
  plan.opening.emplace_back(run_resumed{history.owned_ms, more.money, more.steps, more.time.count()});
  plan.before = std::make_shared<const earlier_owners>(
      earlier_owners{policy::fold_tasks(*events), policy::fold_handoffs(*events), policy::time_used(*events)});
  plan.waiting = policy::open_requests(*events);
  for (const auto& e : *events)
    if (const auto* written = std::get_if<state_written>(&e->body))
      plan.state->restore(*written, e->agent);
  for (const auto& [path, task] : history.tasks)
    if (task.crashes > 0)
      plan.crashes.emplace(path, task.crashes);
  tell_from_outside(journal_, open_run{run_id, history.last_seq, history.last_us});
  // What nobody knows the outcome of is charged with its worst case, and told so once.
  for (const auto& lost : history.unanswered)
    plan.found.push_back(note{run_id, lost.task, lost.agent, {outcome_unknown{lost.id(), lost.worst_case}}});
  if (plan.approve_all)
    approve_waiting(run_id, *events, plan);
  return launch(run_id, history.start.tenant, history.start.workflow, std::move(plan));
}

void runtime::finish_run(const std::string& run_id) {
  tell_from_outside(journal_, close_run{run_id});
  tell_from_outside(metrics_, close_run{run_id});
  options_.journal->disown(run_id);
  leave_tenant(run_id);
}

} // namespace troupe::actors
