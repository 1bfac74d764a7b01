#include "troupe/actors/tool_host.hpp"

#include <algorithm>
#include <random>
#include <unordered_map>

#include "troupe/actors/human_time.hpp"
#include "troupe/policy/replay.hpp"
#include "troupe/policy/shared_state.hpp"
#include "troupe/policy/tool_call.hpp"
#include "troupe/util/redact.hpp"

namespace troupe::actors {

namespace {

using policy::tool_step;

// A call: (looking up, when its agent came back) --> admitted --> recorded --> running --outcome--> waiting | admitted again | answered.
// `tool_attempts` decides all of it; here it is only carried out.
struct hosted_call {
  invoke wanted;
  std::vector<caf::typed_response_promise<tool_answer>> askers; ///< more than one after the agent died and came back
  std::unique_ptr<policy::tool_attempts> decide;
  clock_point began;
  std::uint64_t timer = 0;
  std::int64_t attempt = 0; ///< run numbers of this call, over tools
  policy::run_tool what;    ///< that runs, or is to
  caf::actor_addr gate;     ///< that was asked for a place; null: none is needed
  std::uint64_t asks = 0;   ///< for a place: answers to earlier ones come late
  bool let_in = false;      ///< it has its place, also while a new gate is being told so
  std::optional<std::uint64_t> ticket;
  std::optional<tools::running_id> running;
  bool abort = false;     ///< cancelled before it could start
  bool left_open = false; ///< cancelled: no more of it is recorded than that it did not begin, so that a resume decides by its effect
};

struct host_state {
  explicit host_state(tool_host_actor::pointer) {}
  /// What it runs ends with it: its places at the gate are free again, and its successor may repeat a call.
  ~host_state() {
    for (const auto& [id, call] : calls)
      if (call.running)
        tools->prepared.at(call.what.tool->name).run->cancel(*call.running);
  }
  host_state(const host_state&) = delete;
  host_state& operator=(const host_state&) = delete;
  static inline const char* name = "tool_host";
  journal_actor journal;
  gate_service gate;
  std::optional<asked_services> asked;
  toolset_ptr tools;
  policy::tool_breakers breakers;
  std::mt19937_64 dice;
  std::unordered_map<std::uint64_t, hosted_call> calls;
  std::unordered_map<std::string, std::uint64_t> by_key;
  std::uint64_t next_call = 1;
};

/// Builtins that answer within the call: nothing of them is ever in flight, so no limit has to hold them back.
bool answers_at_once(const tool_spec& tool) {
  return tool.builtin == "calculator" || tool.builtin == "clock" || tool.builtin == "state_get" || tool.builtin == "state_set";
}

using host_self = tool_host_actor::stateful_pointer<host_state>;

std::string key_of(const invoke& call) {
  return call.run->run_id + '\n' + call.step_id + '\n' + call.call_id;
}

void perform(host_self self, std::uint64_t id, tool_step step);

hosted_call* find(host_self self, std::uint64_t id) {
  auto found = state_of(self).calls.find(id);
  return found == state_of(self).calls.end() ? nullptr : &found->second;
}

void record(host_self self, const hosted_call& call, std::vector<event_body>&& events) {
  if (!events.empty() && !call.left_open)
    tell(self, state_of(self).journal, note{call.wanted.run->run_id, call.wanted.task, call.wanted.agent, std::move(events)});
}

void leave_gate(host_self self, hosted_call& call) {
  const auto gate = caf::actor_cast<tool_gate_actor>(std::exchange(call.gate, nullptr));
  if (gate && call.ticket)
    tell(self, gate, leave{*call.ticket});
  call.ticket.reset();
  call.let_in = false;
  ++call.asks;
}

void answer(host_self self, std::uint64_t id, const tool_answer& with) {
  auto& state = state_of(self);
  auto node = state.calls.extract(id);
  if (node.empty())
    return;
  leave_gate(self, node.mapped());
  state.by_key.erase(key_of(node.mapped().wanted));
  for (auto& asker : node.mapped().askers)
    asker.deliver(with);
}

/// The result stands in the journal before the agent goes on: what it appends next can never be durable without it. Nor is `events`, the
/// failure that it comes from.
void report(host_self self, std::uint64_t id, hosted_call& call, const policy::report_tool& what, std::vector<event_body>&& events) {
  if (what.in_doubt)
    events.emplace_back(outcome_unknown{.id = call.wanted.call_id, .charged = usd{}});
  const auto took = std::chrono::duration_cast<std::chrono::microseconds>(self->clock().now() - call.began).count();
  events.emplace_back(tool_finished{call.wanted.call_id, what.tool, what.status, what.text, took});
  if (what.status == tool_status::ok) // it ended well before it heard of a cancel: nothing is left open
    call.left_open = false;
  record(self, call, std::move(events));
  answer(self, id, tool_answer{what.text, what.status != tool_status::ok, what.status});
}

void outcome_of_nothing(host_self self, std::uint64_t id, tool_status status, std::string why) {
  tool_outcome outcome;
  outcome.status = status;
  outcome.error = std::move(why);
  tell(self, tool_host_actor(self), tool_ended{id, find(self, id)->attempt, std::make_shared<tool_outcome>(std::move(outcome))});
}

/// The run's state is no runner's: it belongs to the run, and a write is recorded before anybody reads it.
void use_state(host_self self, std::uint64_t id, const hosted_call& call, bool write) {
  const auto& arguments = call.wanted.arguments;
  const auto& run = *call.wanted.run;
  const auto key = arguments.value("key", std::string());
  auto outcome = std::make_shared<tool_outcome>();
  if (!run.state)
    *outcome = {tool_status::failed, {}, "this run has no state", 0, false};
  else if (write)
    *outcome = run.state->write(key, arguments.value("value", json()), arguments.value("version", std::int64_t{0}), call.wanted.agent,
                                call.wanted.step_id + "/" + call.wanted.call_id, [&](const state_written& written) {
                                  tell(self, state_of(self).journal, note{run.run_id, call.wanted.task, call.wanted.agent, {written}});
                                });
  else
    outcome->output = run.state->read(key).dump(-1, ' ', false, json::error_handler_t::replace);
  tell(self, tool_host_actor(self), tool_ended{id, call.attempt, std::move(outcome)});
}

/// Cancelled while its start was being recorded: whoever resumes has to know that nothing ran, and makes the attempt that is due.
void record_not_begun(host_self self, const hosted_call& call, const policy::run_tool& what) {
  tell(self, state_of(self).journal,
       note{call.wanted.run->run_id,
            call.wanted.task,
            call.wanted.agent,
            {tool_failed{call.wanted.call_id, what.tool->name, what.attempt, "it was cancelled before it began", "retry", 0}}});
}

void start_runner(host_self self, std::uint64_t id, hosted_call& call, const policy::run_tool& what) {
  if (const auto& spec = what.tool->builtin; what.tool->kind == tool_kind::builtin && (spec == "state_get" || spec == "state_set")) {
    use_state(self, id, call, spec == "state_set");
    return;
  }
  invocation order;
  order.call_id = call.wanted.call_id;
  order.tool = what.tool->name;
  order.arguments = call.wanted.arguments;
  order.idempotency_key = call.wanted.run->run_id + "/" + call.wanted.step_id + "/" + call.wanted.call_id;
  // The wait at the gate and for the record took from it.
  const auto left = std::chrono::floor<milliseconds>(call.wanted.deadline - self->clock().now());
  order.timeout = std::clamp(left, milliseconds{0}, what.timeout);
  const auto weak = self->address();
  call.running = state_of(self)
                     .tools->prepared.at(what.tool->name)
                     .run->start(std::move(order), [weak, id, attempt = call.attempt](tool_outcome outcome) {
                       if (auto strong = caf::actor_cast<tool_host_actor>(weak))
                         tell_from_outside(strong, tool_ended{id, attempt, std::make_shared<tool_outcome>(std::move(outcome))});
                     });
}

/// About to run: durable before it does, unless a repeat would do nothing.
void record_and_start(host_self self, std::uint64_t id, hosted_call& call) {
  const auto& what = call.what;
  if (call.wanted.run->winding_down) // it begins nothing more: whoever takes the run up makes the attempt that is due
    call.left_open = call.abort = true;
  if (call.abort) { // it waited for its place until now
    outcome_of_nothing(self, id, tool_status::cancelled, "cancelled");
    return;
  }
  std::vector<event_body> events;
  events.emplace_back(
      tool_started{call.wanted.call_id, what.tool->name, call.wanted.arguments, what.tool->effect, what.attempt, what.instead_of});
  if (what.tool->effect == effect::none) {
    record(self, call, std::move(events));
    start_runner(self, id, call, what);
    return;
  }
  ask(self, state_of(self).journal, append{call.wanted.run->run_id, call.wanted.task, call.wanted.agent, std::move(events)})
      .then(
          [self, id, what](const appended& stored) {
            auto* call_now = find(self, id);
            if (call_now == nullptr)
              return;
            if (stored.failure.code != error_code::none) {
              outcome_of_nothing(self, id, tool_status::not_started,
                                 "the journal did not take the record of this call: " + stored.failure.text());
            } else if (call_now->abort) {
              record_not_begun(self, *call_now, what);
              outcome_of_nothing(self, id, tool_status::cancelled, "cancelled");
            } else {
              start_runner(self, id, *call_now, what);
            }
          },
          [self, id](const caf::error& reason) {
            if (find(self, id) != nullptr)
              outcome_of_nothing(self, id, tool_status::not_started, "the journal is gone: " + text_of(reason));
          });
}

/// Limits hold for an agent in its run, whatever member works for it.
void ask_for_place(host_self self, std::uint64_t id, hosted_call& call) {
  auto& state = state_of(self);
  const auto gate = state.asked->now(self, state.gate);
  call.gate = gate.address();
  const auto& tool = *call.what.tool;
  ask(self, gate, admit{id, call.wanted.run->run_id + "/" + call.wanted.agent, tool.name, tool.max_parallel, call.let_in})
      .then(
          [self, id, gate, number = ++call.asks](const admitted& may) {
            auto* call_now = find(self, id);
            if (call_now == nullptr || call_now->asks != number) {
              tell(self, gate, leave{may.ticket});
              return;
            }
            call_now->ticket = may.ticket;
            if (!std::exchange(call_now->let_in, true))
              record_and_start(self, id, *call_now);
          },
          [](const caf::error&) {
            // It died: the keeper tells (gate_down) once there is another one, or none any more.
          });
}

/// What runs keeps its place with the next gate; what waits is asked for again.
void gate_down(host_self self, const caf::actor_addr& gate) {
  auto& state = state_of(self);
  const bool gone = state.gate->now().address() == gate; // a successor is named before anybody is told
  std::vector<std::pair<bool, std::uint64_t>> affected;  // what runs, then what waits, each as it came
  for (const auto& [id, call] : state.calls)
    if (call.gate == gate)
      affected.emplace_back(!call.let_in, id);
  std::sort(affected.begin(), affected.end());
  for (const auto& [waits, id] : affected) {
    auto& call = *find(self, id);
    call.ticket.reset();
    if (!gone) {
      ask_for_place(self, id, call);
      continue;
    }
    call.gate = nullptr;
    ++call.asks;
    if (waits)
      outcome_of_nothing(self, id, tool_status::not_started, "the tool gate died too often");
  }
}

void run(host_self self, std::uint64_t id, hosted_call& call, const policy::run_tool& what) {
  auto& state = state_of(self);
  call.what = what;
  ++call.attempt;
  call.running.reset();
  const auto& prepared = state.tools->prepared.at(what.tool->name);
  if (!what.instead_of.empty() && (what.attempt == 1 || call.attempt == 1)) { // the alternative has a schema of its own
    if (const auto broken = prepared.arguments.validate(call.wanted.arguments); !broken.empty()) {
      std::string words;
      for (const auto& violation : broken)
        words += (words.empty() ? "" : "; ") + violation.pointer + ": " + violation.message;
      perform(self, id, call.decide->refused(words, self->clock().now()));
      return;
    }
  }
  if (prepared.spec.kind == tool_kind::builtin && answers_at_once(prepared.spec)) {
    record_and_start(self, id, call);
    return;
  }
  ask_for_place(self, id, call);
}
void perform(host_self self, std::uint64_t id, tool_step step) {
  auto* call = find(self, id);
  if (call == nullptr)
    return;
  if (auto* over = std::get_if<policy::report_tool>(&step.next)) {
    report(self, id, *call, *over, std::move(step.events));
    return;
  }
  if (auto* question = std::get_if<tool_in_doubt>(&step.next)) {
    record(self, *call, std::move(step.events));
    answer(self, id, tool_answer{{}, true, tool_status::in_doubt, std::move(*question)});
    return;
  }
  record(self, *call, std::move(step.events));
  if (auto* what = std::get_if<policy::run_tool>(&step.next)) {
    run(self, id, *call, *what);
  } else if (auto* waiting = std::get_if<policy::wait_tool>(&step.next)) {
    const auto now = self->clock().now();
    tell_later(self, tool_host_actor(self), waiting->at > now ? waiting->at - now : clock_point::duration::zero(),
               call_timer{id, ++call->timer});
  } else if (std::holds_alternative<policy::abort_tool>(step.next)) {
    if (call->running) {
      state_of(self).tools->prepared.at(call->what.tool->name).run->cancel(*call->running);
    } else if (call->gate && !call->let_in) { // it has nothing to wait for; a place that it is given later goes back
      leave_gate(self, *call);
      outcome_of_nothing(self, id, tool_status::cancelled, "cancelled");
    } else {
      call->abort = true;
    }
  }
}

void start(host_self self, std::uint64_t id, hosted_call& call) {
  perform(self, id, call.decide->start(self->clock().now()));
}

/// Nothing is begun that may have been begun before, and nothing can be recorded.
void answer_without_journal(host_self self, std::uint64_t id, const std::string& why) {
  answer(self, id,
         tool_answer{"Nobody knows whether this call was made before: the journal cannot be read: " + why, true, tool_status::not_started});
}

/// The agent came back. What is recorded decides: the result, or how the call goes on (SEMANTICS 4).
void look_up(host_self self, std::uint64_t id, const task_events& recorded) {
  auto* call = find(self, id);
  if (call == nullptr)
    return;
  if (recorded.failure.code != error_code::none) {
    answer_without_journal(self, id, recorded.failure.text());
    return;
  }
  const auto known = policy::record_of(recorded.events, call->wanted.call_id);
  if (known.end)
    answer(self, id, tool_answer{known.end->text, known.end->status != tool_status::ok, known.end->status});
  else if (known.open)
    perform(self, id, call->decide->go_on(*known.open, self->clock().now()));
  else
    start(self, id, *call);
}

caf::result<tool_answer> begin(host_self self, invoke& wanted) {
  auto& state = state_of(self);
  auto promise = self->make_response_promise<tool_answer>();
  const auto key = key_of(wanted);
  if (const auto joined = state.by_key.find(key); joined != state.by_key.end()) {
    state.calls.at(joined->second).askers.push_back(promise);
    return promise;
  }
  const auto id = state.next_call++;
  auto& call = state.calls[id];
  call.wanted = std::move(wanted);
  call.askers.push_back(promise);
  call.began = self->clock().now();
  state.by_key.emplace(key, id);
  policy::tool_call_facts facts;
  facts.call_id = call.wanted.call_id;
  facts.tool = call.wanted.tool;
  facts.agent_tools = call.wanted.agent_tools;
  facts.deadline = call.wanted.deadline;
  if (call.wanted.stands)
    facts.stands = [stands = call.wanted.stands, run = call.wanted.run](clock_point now) {
      return std::min({stands->of_agent(now), stands->of_task(now), deadline_of(*run, now)});
    };
  facts.doubt = call.wanted.doubt;
  facts.doubt_words = call.wanted.doubt_words;
  call.decide = std::make_unique<policy::tool_attempts>(state.tools->specs, std::move(facts), state.breakers, call.wanted.quota);
  if (!call.wanted.recovering) {
    start(self, id, call);
    return promise;
  }
  ask(self, state.journal, read_task{call.wanted.run->run_id, call.wanted.task})
      .then([self, id](const task_events& recorded) { look_up(self, id, recorded); },
            [self, id](const caf::error& reason) { answer_without_journal(self, id, text_of(reason)); });
  return promise;
}

tool_host_actor::behavior_type tool_host(host_self self, journal_actor journal, gate_service gate, toolset_ptr tools, std::uint64_t seed) {
  install_handlers(self);
  on_down(self, [self](const caf::down_msg& down) { gate_down(self, caf::actor_cast<caf::actor_addr>(down.source)); });
  state_of(self).asked.emplace(self);
  state_of(self).journal = std::move(journal);
  state_of(self).gate = std::move(gate);
  state_of(self).tools = std::move(tools);
  state_of(self).dice.seed(seed);
  return {
      [self](invoke& wanted) { return begin(self, wanted); },
      [self](const cancel_calls& which) {
        std::vector<std::uint64_t> ids;
        for (const auto& [id, call] : state_of(self).calls)
          if (call.wanted.run->run_id == which.run_id && (which.task.empty() || call.wanted.task == which.task))
            ids.push_back(id);
        for (const auto id : ids)
          if (auto* call = find(self, id)) {
            call->left_open = true;
            perform(self, id, call->decide->cancel(self->clock().now()));
          }
      },
      [self](tool_ended& ended) {
        auto* call = find(self, ended.call);
        if (call == nullptr || call->attempt != ended.attempt)
          return;
        leave_gate(self, *call);
        call->running.reset();
        const auto random = std::uniform_real_distribution<double>(0, 1)(state_of(self).dice);
        // A tool that was given a secret may print it: no event and no model sees it.
        ended.outcome->output = redacted(std::move(ended.outcome->output));
        ended.outcome->error = redacted(std::move(ended.outcome->error));
        perform(self, ended.call, call->decide->finished(*ended.outcome, self->clock().now(), random));
      },
      [self](const call_timer& fired) {
        auto* call = find(self, fired.call);
        if (call != nullptr && call->timer == fired.generation)
          perform(self, fired.call, call->decide->tick(self->clock().now()));
      },
  };
}

} // namespace

tool_host_actor spawn_tool_host(caf::actor_system& system, journal_actor journal, gate_service gate, toolset_ptr tools,
                                std::uint64_t seed) {
  return system.spawn(tool_host, std::move(journal), std::move(gate), std::move(tools), seed);
}

} // namespace troupe::actors
