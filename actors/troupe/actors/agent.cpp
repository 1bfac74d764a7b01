#include "troupe/actors/agent.hpp"

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "troupe/actors/agent_parts.hpp"
#include "troupe/policy/history.hpp"
#include "troupe/policy/replay.hpp"

namespace troupe::actors {

namespace agency {

namespace {

void watch_deadline(agent_self self);

} // namespace

void finish(agent_self self, task_result&& result) {
  auto& state = state_of(self);
  result.task = state.task->assignment.task;
  result.attempt = state.task->assignment.attempt;
  // Whatever ended it, or will while it rests: what it last answered is its partial result.
  if ((result.status != task_status::success || result.pause) && result.output.is_null())
    result.output = state.task->quality.left();
  auto asker = state.task->asker;
  state.task.reset();
  ++state.generation;
  asker.deliver(std::move(result));
}

bool stop_if_ending(agent_self self) {
  auto& task = task_of(self);
  if (!task.ending)
    return false;
  if (task.in_flight != 0)
    return true;
  const auto status = *task.ending;
  const bool late = status == task_status::timeout;
  finish(self,
         task_result{.status = status, .reason = late ? "timeout" : "cancelled", .error = late ? "its time is up" : "it was cancelled"});
  return true;
}

namespace {

void begin_ending(agent_self self, task_status status) {
  auto& state = state_of(self);
  if (!state.task || std::exchange(state.task->stopping, true))
    return;
  if (!state.task->ending)
    state.task->ending = status;
  const auto& a = state.task->assignment;
  end_calls(self, *state.peers, *state.task->spec, a.run->run_id, a.task);
  if (state.task->review)
    if (const auto pool = state.peers->pools.find(state.task->review->agent); pool != state.peers->pools.end())
      tell(self, pool->second->now(), cancel_task{a.run->run_id, state.task->review->task, status == task_status::timeout});
  if (state.task->check)
    state.task->check->tool->run->cancel(state.task->check->id);
  stop_if_ending(self);
}

} // namespace

bool leaves_with_run(agent_self self) {
  auto& task = task_of(self);
  if (!task.assignment.run->winding_down)
    return false;
  if (!task.ending) { // what is in flight is let finish
    task.ending = task_status::cancelled;
    stop_if_ending(self);
  }
  return true;
}

namespace {

// --- humans --------------------------------------------------------------------------------------------------------

void send_human(agent_self self, std::uint64_t number);

} // namespace

void ask_human(agent_self self, approval_ask&& wanted, std::function<void(const approval_answer&)> then) {
  if (leaves_with_run(self))
    return;
  auto& task = task_of(self);
  if (task.humans.empty())
    task.waits = std::make_unique<human_time_guard>(task.assignment.human, self->clock());
  ++task.in_flight;
  task.humans.emplace(++task.last_human, human_wait{std::move(wanted), std::move(then)});
  send_human(self, task.last_human);
}

namespace {

void take_decision(agent_self self, std::uint64_t number, const approval_answer& answer) {
  auto& task = task_of(self);
  auto node = task.humans.extract(number);
  if (node.empty())
    return;
  --task.in_flight;
  if (task.humans.empty()) {
    task.waits.reset();
    watch_deadline(self);
  }
  if (stop_if_ending(self))
    return;
  if (answer.failure.code != error_code::none)
    finish(self, task_result{.status = task_status::error, .reason = "journal_unavailable", .error = answer.failure.text(), .fatal = true});
  else
    node.mapped().then(answer);
}

void send_human(agent_self self, std::uint64_t number) {
  auto& state = state_of(self);
  const auto& peers = *state.peers;
  if (!peers.checkpoint || peers.checkpoint->gone()) {
    approval_answer nobody;
    nobody.failure = error{error_code::unavailable, "nobody can be asked: the checkpoint is gone", "checkpoint"};
    take_decision(self, number, nobody);
    return;
  }
  const auto to = peers.checkpoint->now();
  state.task->checkpoint = to.address();
  watch(self, to);
  ask(self, to, state.task->humans.at(number).wanted)
      .then(
          [self, number, generation = state.generation](const approval_answer& answer) {
            if (state_of(self).generation == generation && state_of(self).task)
              take_decision(self, number, answer);
          },
          [](const caf::error&) {}); // it died: the down message comes too
}

// --- the model -----------------------------------------------------------------------------------------------------

/// How a task ends that got no message.
task_result end_without_message(const llm_answer& answer) {
  return {
      .status = answer.status, .reason = answer.reason, .error = answer.error, .limit_scope = answer.limit_scope, .fatal = answer.fatal};
}

void take_answer(agent_self self, const llm_answer& answer) {
  auto& task = task_of(self);
  if (answer.too_long && task.context.too_long(answer, task.messages)) {
    next_step(self);
    return;
  }
  if (!answer.message) {
    finish(self, end_without_message(answer));
    return;
  }
  ++task.steps;
  task.context.answered(answer, task.messages);
  task.messages.push_back(answer.message);
  if (answer.message->tool_calls.empty())
    judge(self, answer.message->text, answer.finish);
  else
    run_tools(self, answer.message, answer.finish, {}, {}, false);
}

std::string next_step_id(const work& task) {
  return step_of(task.assignment, task.steps + 1);
}

/// `then` hears the answer, unless the task is over by then.
template <class Then>
void ask_gateway(agent_self self, llm_ask&& order, Then then) {
  auto& state = state_of(self);
  ++state.task->in_flight;
  const auto gateway = state.peers->gateway->now();
  state.task->asked = gateway.address();
  watch(self, gateway);
  ask(self, gateway, std::move(order))
      .then(
          [self, generation = state.generation, then = std::move(then)](const llm_answer& answer) {
            if (state_of(self).generation != generation || !state_of(self).task)
              return;
            auto& task = task_of(self);
            --task.in_flight;
            task.asked = nullptr;
            if (answer.crash)
              throw std::runtime_error(answer.error.empty() ? "rehearsed crash" : answer.error);
            if (!stop_if_ending(self))
              then(answer);
          },
          [](const caf::error&) {}); // it died: the down message comes too
}

/// One call outside of the conversation: its answer takes the place of what the cut counts.
void ask_summary(agent_self self, const policy::summary_wanted& wanted) {
  auto& task = task_of(self);
  const auto& a = task.assignment;
  llm_ask order{.run = a.run,
                .task = a.task,
                .agent = a.agent,
                .step_id = policy::summary_step(next_step_id(task)),
                .model = task.spec->model,
                .messages = task.context.summary_of(task.messages, wanted),
                .temperature = task.spec->temperature,
                .max_tokens = wanted.tokens,
                .deadline = call_deadline(task, self->clock().now()),
                .task_deadline = call_task_deadline(task, self->clock().now()),
                .stands = ends_of(task),
                .recovering = task.recovering,
                .first_link = task.context.link()};
  ask_gateway(self, std::move(order), [self, wanted](const llm_answer& answer) {
    if (!answer.message && answer.status != task_status::error) { // budget, time
      finish(self, end_without_message(answer));
      return;
    }
    auto& now = task_of(self);
    if (const auto made = now.context.summarised(wanted, answer)) {
      record(self, {*made});
      now.context.take(now.messages, *made);
    } else {
      now.context.no_summary();
    }
    next_step(self);
  });
}

/// Makes the conversation fit its model's context, each cut durable before the request that it was made for. False: a summary has to come
/// first, or the task has ended.
bool make_fit(agent_self self) {
  auto& task = task_of(self);
  for (;;) {
    const auto plan = task.context.plan(task.messages, task.steps + 1);
    if (const auto* cut = std::get_if<context_cut>(&plan)) {
      std::vector<event_body> events{*cut};
      if (cut->kind == context_cut_kind::failed_over)
        events.emplace_back(llm_failed_over{next_step_id(task), cut->model, task.context.name_of_link(static_cast<std::size_t>(cut->link)),
                                            "llm_context_length"});
      record(self, std::move(events));
      task.context.take(task.messages, *cut);
    } else if (const auto* wanted = std::get_if<policy::summary_wanted>(&plan)) {
      ask_summary(self, *wanted);
      return false;
    } else if (const auto* end = std::get_if<policy::context_exhausted>(&plan)) {
      finish(self, task_result{.status = task_status::error, .reason = "llm_context_length", .error = end->why, .fatal = true});
      return false;
    } else {
      return true;
    }
  }
}

} // namespace

void next_step(agent_self self) {
  if (leaves_with_run(self) || !make_fit(self))
    return;
  auto& task = task_of(self);
  const auto& a = task.assignment;
  llm_ask order{.run = a.run,
                .task = a.task,
                .agent = a.agent,
                .step_id = next_step_id(task),
                .model = task.spec->model,
                .messages = task.messages,
                .tools = task.loops.declared(task.may->declared, task.messages),
                .temperature = task.loops.temperature(task.spec->temperature),
                .max_tokens = task.spec->max_tokens,
                .deadline = call_deadline(task, self->clock().now()),
                .task_deadline = call_task_deadline(task, self->clock().now()),
                .stands = ends_of(task),
                .recovering = std::exchange(task.recovering, false)};
  order.tool_choice = task.loops.choice(task.may->names, order.tools);
  task.context.write(order);
  ask_gateway(self, std::move(order), [self](const llm_answer& answer) { take_answer(self, answer); });
}

namespace {

/// Of a task that ends: nobody decides any more about what it waits for.
void end_waits(agent_self self) {
  auto& state = state_of(self);
  while (state.task && state.task->ending && !state.task->humans.empty())
    take_decision(self, state.task->humans.begin()->first, {});
}

/// Whom it asked has died. It has a successor, which goes by the journal.
void peer_down(agent_self self, const caf::actor_addr& peer) {
  auto& state = state_of(self);
  state.watched.erase(peer);
  if (!state.task)
    return;
  auto& task = *state.task;
  if (task.asked == peer) {
    task.asked = nullptr;
    --task.in_flight;
    if (stop_if_ending(self))
      return;
    if (state.peers->gateway->gone()) {
      finish(self, task_result{.status = task_status::error, .reason = "internal", .error = "the gateway died, and does not come back"});
      return;
    }
    task.recovering = true;
    tell_later(self, agent_actor(self), service_pause, ask_again{state.generation, {}});
    return;
  }
  const auto generation = state.generation;
  if (task.reviewing == peer) {
    task.reviewing = nullptr;
    if (!task.ending) {
      tell_later(self, agent_actor(self), service_pause, ask_again{.generation = generation, .review = true});
      return;
    }
    end_review(self, {});
    return;
  }
  if (state.peers->checkpoint && !task.humans.empty() && peer == task.checkpoint) {
    end_waits(self);
    if (state.generation != generation || !state.task || state.task->ending)
      return;
    tell_later(self, agent_actor(self), service_pause, ask_again{.generation = generation, .approval = true});
    return;
  }
  std::vector<std::size_t> lost;
  for (std::size_t i = 0; i < task.slots.size(); ++i)
    if (auto& slot = task.slots[i]; !slot.result && slot.asked == peer) {
      slot.asked = nullptr;
      --task.in_flight;
      lost.push_back(i);
    }
  if (lost.empty() || stop_if_ending(self))
    return;
  for (const auto i : lost) {
    if (state.generation != generation || !state.task || i >= state.task->slots.size())
      return;
    if (const auto& call = state.task->slots[i].call; state.peers->hosts.at(call.name)->gone())
      slot_done(self, i,
                message_of(role::tool, "The host of \"" + call.name + "\" died; nobody knows whether the call took effect.", call.id, true),
                policy::observed_result{});
    else
      tell_later(self, agent_actor(self), service_pause, ask_again{generation, i});
  }
}

// --- the beginning -------------------------------------------------------------------------------------------------

/// Contract and declarations: made once for all tasks of this agent under one configuration.
void prepare(agent_self self, const std::shared_ptr<const configuration>& config, const agent_spec& spec,
             const std::shared_ptr<const output_spec>& other) {
  auto& state = state_of(self);
  if (state.prepared_for == config && state.prepared_agent == spec.name && state.prepared_contract == other)
    return;
  state.prepared_for = config;
  state.prepared_agent = spec.name;
  state.prepared_contract = other;
  state.must_hold.reset();
  if (const auto* rules = policy::rules_for(other.get(), &spec)) {
    auto compiled = contract::compile(*rules);
    if (!compiled) // the loader refuses such a file; a stored configuration may be older than a rule
      throw std::runtime_error("the contract of agent \"" + spec.name + "\" does not compile: " + compiled.error().text());
    state.must_hold = std::move(*compiled);
  }
  state.own = *state.peers->own_tools->get(config, spec.name,
                                           [&] { return tools_of(*config, spec, policy::rights_of(spec, {}), *state.peers->tools); });
}

/// What the agent is told first. A schema is part of it: no model guesses one.
conversation opening(const agent_spec& spec, const output_spec* rules, const std::string& instruction) {
  conversation messages;
  if (!spec.system.empty())
    messages.push_back(message_of(role::system, spec.system));
  auto text = instruction;
  if (rules && !rules->schema.is_null())
    text += "\n\nAnswer with one JSON value that satisfies this JSON Schema, and nothing else:\n" + rules->schema.dump();
  messages.push_back(message_of(role::user, std::move(text)));
  return messages;
}

void begin_conversation(agent_self self) {
  auto& task = task_of(self);
  task.messages = opening(*task.spec, policy::rules_for(task.assignment.contract.get(), task.spec), task.assignment.instruction);
  task.context = agent_context(*task.spec, *task.assignment.run->config, task.may->meter, task.messages.size());
}

/// Goes on where the journal ends: at the step after the last recorded one.
void restore(agent_self self, const task_events& recorded) {
  auto& task = task_of(self);
  const auto history = policy::rebuild(recorded.events);
  task.recovering = true;
  task.quota = std::make_shared<policy::tool_quota>(history.calls_of);
  if (!history.started || history.attempt != task.assignment.attempt || history.within != task.assignment.within) {
    next_step(self);
    return;
  }
  task.steps = history.steps;
  task.quality.restore(recorded.events, history.repairs);
  auto loops = policy::rebuild_loops(recorded.events, task.assignment.attempt, policy::rules_of(task.spec->loop),
                                     [&](const std::string& name) { return task.may->known(*state_of(self).peers->tools, name); });
  task.loops.told = loops.watch.rung() >= loop_rung::told;
  task.loops.taken = std::move(loops.taken);
  task.loops.restored = std::make_shared<const policy::loop_watch>(std::move(loops.watch));
  if (!history.results.empty()) {
    task.messages.append(history.messages);
    task.context.restore(history, task.messages);
    task.injected = history.injected;
    run_tools(self, history.messages.back(), history.last_finish, history.results, loops.results, true);
    return;
  }
  const auto all = history.assembled();
  task.messages.append(all);
  task.context.restore(history, task.messages);
  if (!all.empty() && all.back()->from == role::assistant && all.back()->tool_calls.empty()) {
    task.recovering = false;
    judge(self, all.back()->text, history.last_finish);
    return;
  }
  next_step(self);
}

/// One wake-up under way, not one a task: it stays until it fires, however early its task ends.
void watch_deadline(agent_self self) {
  auto& state = state_of(self);
  const auto now = self->clock().now();
  const auto end = own_deadline(*state.task, now);
  if (end == clock_point::max())
    return;
  const auto left = state.task->assignment.human->next_look(end - now); // others who work for the same task may wait
  if (state.wake_up_at && *state.wake_up_at <= now + left)
    return;
  state.wake_up_at = now + left;
  tell_later(self, agent_actor(self), left, deadline_hit{});
}

} // namespace

void go_on_from_journal(agent_self self) {
  auto& task = task_of(self);
  ++state_of(self).generation;
  begin_conversation(self);
  task.slots.clear();
  task.loops = {};
  ++task.in_flight;
  ask(self, state_of(self).peers->journal, read_task{task.assignment.run->run_id, task.assignment.task})
      .then(
          [self, generation = state_of(self).generation](const task_events& recorded) {
            if (state_of(self).generation != generation || !state_of(self).task)
              return;
            --task_of(self).in_flight;
            if (stop_if_ending(self))
              return;
            if (recorded.failure.code != error_code::none)
              finish(self,
                     task_result{
                         .status = task_status::error, .reason = "journal_unavailable", .error = recorded.failure.text(), .fatal = true});
            else
              restore(self, recorded);
          },
          [self, generation = state_of(self).generation](const caf::error& reason) {
            if (state_of(self).generation == generation && state_of(self).task)
              finish(self,
                     task_result{.status = task_status::error, .reason = "journal_unavailable", .error = text_of(reason), .fatal = true});
          });
}

namespace {

/// `max_calls` is of a task, whichever of its attempts made the calls.
bool counts_earlier_calls(const task_assignment& order) {
  const auto& tools = order.run->config->tools;
  return (order.attempt > 1 || !order.within.empty())
         && std::any_of(tools.begin(), tools.end(), [](const auto& each) { return each.second.max_calls > 0; });
}

/// What its agent may use in this task. A review comes from no orchestrator's desk: it has no colleagues.
std::shared_ptr<const agent_tools> tools_for(agent_self self, const task_assignment& order) {
  const auto& state = state_of(self);
  const auto& spec = *state.task->spec;
  const bool has_colleagues = !spec.delegates.empty() || !spec.handoffs.empty();
  if (order.rights)
    return tools_of(*order.run->config, spec, policy::rights_of(spec, order.rights), *state.peers->tools);
  if (!order.desk && has_colleagues)
    return tools_of(*order.run->config, spec, policy::rights_of_reviewer(spec), *state.peers->tools);
  return state.own;
}

caf::result<task_result> begin(agent_self self, task_assignment& assignment) {
  auto& state = state_of(self);
  const auto& agents = assignment.run->config->agents;
  const auto spec = agents.find(assignment.agent);
  if (state.task || spec == agents.end())
    return task_result{.task = assignment.task,
                       .attempt = assignment.attempt,
                       .status = task_status::error,
                       .reason = "internal",
                       .error = state.task ? "member " + state.member + " is at work" : "no agent named \"" + assignment.agent + "\""};
  auto promise = self->make_response_promise<task_result>();
  state.task = std::make_unique<work>();
  auto& task = *state.task;
  ++state.generation;
  task.assignment = std::move(assignment);
  task.asker = promise;
  task.spec = &spec->second;
  prepare(self, task.assignment.run->config, *task.spec, task.assignment.contract);
  const auto* rules = policy::rules_for(task.assignment.contract.get(), task.spec);
  task.quality = policy::answer_quality(rules, state.must_hold, task.assignment.attempt, task.assignment.instruction);
  task.may = tools_for(self, task.assignment);
  task.quota = std::make_shared<policy::tool_quota>();
  begin_conversation(self);
  auto& order = task.assignment;
  if (!order.human)
    order.human = std::make_shared<human_time>();
  if (!order.begun.set())
    order.begun = mark(order.human, self->clock().now());
  watch_deadline(self);
  if (task.assignment.resumed || counts_earlier_calls(task.assignment))
    go_on_from_journal(self);
  else
    next_step(self);
  return promise;
}

agent_actor::behavior_type agent(agent_self self, std::string member, caf::actor_addr supervisor,
                                 std::shared_ptr<const agent_peers> peers) {
  install_handlers(self);
  state_of(self).member = std::move(member);
  state_of(self).supervisor = std::move(supervisor);
  state_of(self).peers = std::move(peers);
  on_down(self, [self](const caf::down_msg& down) { peer_down(self, caf::actor_cast<caf::actor_addr>(down.source)); });
  self->set_exception_handler([self](std::exception_ptr& thrown) -> caf::error {
    const auto& task = state_of(self).task;
    // One death more than a task may cause: the task is the culprit, the restart intensity is spared (SEMANTICS 8).
    if (task && task->assignment.crashes + 1 > task->spec->crashes)
      return poison_error(words_of(thrown));
    return crash_error(words_of(thrown));
  });
  return {
      [self](task_assignment& assignment) { return begin(self, assignment); },
      [self](const cancel_task& which) {
        auto& state = state_of(self);
        if (state.task && state.task->assignment.run->run_id == which.run_id
            && (which.task.empty() || state.task->assignment.task == which.task))
          begin_ending(self, which.timed_out ? task_status::timeout : task_status::cancelled);
      },
      [self](const deadline_hit&) {
        auto& state = state_of(self);
        state.wake_up_at.reset();
        if (!state.task || !state.task->humans.empty())
          return;
        if (const auto now = self->clock().now(); now >= own_deadline(*state.task, now))
          begin_ending(self, task_status::timeout);
        else
          watch_deadline(self);
      },
      [self](const check_ended& ended) { take_check(self, ended); },
      [self](const ask_again& due) {
        if (due.generation != state_of(self).generation || !state_of(self).task)
          return;
        if (state_of(self).task->ending) { // since whom it asked died: nobody is asked again
          if (due.review && state_of(self).task->review)
            end_review(self, {});
          else if (due.approval)
            end_waits(self);
          return;
        }
        if (due.call) {
          start_slot(self, *due.call, false, true);
        } else if (due.review) {
          give_review(self, true);
        } else if (due.approval) {
          std::vector<std::uint64_t> numbers;
          for (const auto& [number, wait] : state_of(self).task->humans)
            numbers.push_back(number);
          for (const auto number : numbers)
            if (state_of(self).generation == due.generation && state_of(self).task)
              send_human(self, number);
        } else {
          next_step(self);
        }
      },
  };
}

} // namespace

} // namespace agency

agent_actor spawn_agent(caf::actor_system& system, std::string member, const supervisor_actor& supervisor,
                        std::shared_ptr<const agent_peers> peers) {
  return system.spawn(agency::agent, std::move(member), supervisor.address(), std::move(peers));
}

} // namespace troupe::actors
