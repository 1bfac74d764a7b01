#include "troupe/actors/llm_gateway.hpp"

#include <random>
#include <unordered_map>

#include "troupe/actors/human_time.hpp"
#include "troupe/actors/outbox.hpp"
#include "troupe/model/described.hpp"
#include "troupe/policy/llm_call.hpp"
#include "troupe/policy/replay.hpp"
#include "troupe/util/batch.hpp"
#include "troupe/util/timer_queue.hpp"

namespace troupe::actors {

namespace {

using policy::llm_step;

// A call: reserving --granted--> recording --durable--> in flight --outcome--> waiting | reserving | answered.
// `llm_call` decides all of it; here it is only carried out.
struct gateway_call {
  llm_ask ask;
  std::vector<caf::typed_response_promise<llm_answer>> askers; ///< more than one after the agent died and came back
  std::shared_ptr<const model_spec> model;
  std::unique_ptr<policy::llm_call> decide;
  std::string reservation;  ///< id of the one that is asked for or held; empty: none
  std::int64_t request = 0; ///< the one that is being recorded or in flight
  std::size_t link = 0;
  std::optional<llm::transfer_id> transfer;
  bool abort = false;     ///< cancelled before its transfer could start
  reserve_answer refused; ///< what the guard said last, when it refused
  // Of a step with a second request, which is a call of its own.
  bool second = false;
  std::uint64_t other = 0;          ///< the step's other call; 0: none is under way
  std::unique_ptr<llm_answer> held; ///< what the other one brought: the step is answered once nothing of it is under way
};

/// What became of one request.
struct ended_transfer {
  std::uint64_t call = 0;
  std::int64_t request = 0;
  llm_outcome outcome;
};

struct gateway_state {
  explicit gateway_state(llm_gateway_actor::pointer) {}
  /// One that has died sends nothing any more, and what it has sent is asked again by others.
  ~gateway_state() {
    for (const auto& [id, call] : calls)
      if (call.transfer)
        known.at(call.model->chain[call.link].provider)->cancel(*call.transfer);
    for (auto& [run, asker] : settling)
      asker.deliver(calls_settled{});
  }
  gateway_state(const gateway_state&) = delete;
  gateway_state& operator=(const gateway_state&) = delete;
  static inline const char* name = "llm_gateway";
  journal_actor journal;
  providers known;
  policy::link_states links;
  std::mt19937_64 dice;
  std::unordered_map<std::uint64_t, gateway_call> calls;
  std::unordered_map<std::string, std::uint64_t> by_step; ///< run_id + '\n' + step_id
  std::uint64_t next_call = 1;
  timer_queue<std::uint64_t> timers; ///< of the calls
  std::shared_ptr<outbox<ended_transfer>> ended = std::make_shared<outbox<ended_transfer>>();
  std::vector<std::pair<std::string, caf::typed_response_promise<calls_settled>>> settling; ///< run, who waits until nothing of it is left
};

using gateway_self = llm_gateway_actor::stateful_pointer<gateway_state>;

double random_of(gateway_self self) {
  return std::uniform_real_distribution<double>(0, 1)(state_of(self).dice);
}

std::string step_key(const llm_ask& ask) {
  return ask.run->run_id + '\n' + ask.step_id;
}

llm_request request_of(const gateway_call& call, std::size_t link, std::int64_t max_tokens, milliseconds timeout) {
  llm_request request;
  request.model = call.model->chain[link].model;
  request.agent = call.ask.agent;
  request.messages = call.ask.messages;
  request.tools = call.ask.tools;
  request.tool_choice = call.ask.tool_choice;
  request.temperature = call.ask.temperature;
  request.reasoning_effort = call.model->chain[link].reasoning_effort;
  request.max_tokens = max_tokens;
  request.timeout = timeout;
  request.stream = call.ask.run->config->providers.at(call.model->chain[link].provider).stream;
  return request;
}

void perform(gateway_self self, std::uint64_t id, llm_step step);

/// Without a record nothing leaves for a provider.
llm_answer journal_gone(const caf::error& reason) {
  return {.status = task_status::error, .fatal = true, .reason = "journal_unavailable", .error = "the journal is gone: " + text_of(reason)};
}

/// Nothing more is to come for the step.
bool decides(const llm_answer& said) {
  return said.message != nullptr || said.crash;
}

/// One of the step's two calls has ended: the other one goes on alone, or is ended too.
void leave_to_other(gateway_self self, gateway_call& ended, const llm_answer& said) {
  auto& state = state_of(self);
  auto& other = state.calls.at(ended.other);
  other.other = 0;
  other.held = std::make_unique<llm_answer>(said);
  std::move(ended.askers.begin(), ended.askers.end(), std::back_inserter(other.askers));
  state.by_step.insert_or_assign(step_key(ended.ask), ended.other);
  if (decides(said))
    perform(self, ended.other, other.decide->overtaken(self->clock().now()));
}

bool has_calls(const gateway_state& state, const std::string& run_id) {
  return std::any_of(state.calls.begin(), state.calls.end(), [&](const auto& known) { return known.second.ask.run->run_id == run_id; });
}

/// After the end of a call.
void tell_settled(gateway_self self) {
  auto& state = state_of(self);
  for (auto at = state.settling.begin(); at != state.settling.end();) {
    if (has_calls(state, at->first)) {
      ++at;
      continue;
    }
    at->second.deliver(calls_settled{});
    at = state.settling.erase(at);
  }
}

void answer(gateway_self self, std::uint64_t id, const llm_answer& with) {
  auto& state = state_of(self);
  auto node = state.calls.extract(id);
  if (node.empty())
    return;
  auto& call = node.mapped();
  state.timers.drop(id);
  if (call.other != 0) {
    leave_to_other(self, call, with);
    return;
  }
  state.by_step.erase(step_key(call.ask));
  // The first response counts; where both failed, what the first request met.
  const bool earlier = call.held && (decides(*call.held) || (call.second && !decides(with)));
  auto said = earlier ? std::move(*call.held) : llm_answer(with);
  said.requests = std::max(said.requests, with.requests);
  for (auto& asker : call.askers)
    asker.deliver(said);
  tell_settled(self);
}

void ask_for_wake_up(gateway_self self) {
  if (const auto at = state_of(self).timers.to_ask()) {
    const auto now = self->clock().now();
    tell_later(self, llm_gateway_actor(self), *at > now ? *at - now : clock_point::duration::zero(), wake_up{});
  }
}

void arm_timer(gateway_self self, std::uint64_t id, clock_point at) {
  state_of(self).timers.set(id, at);
  ask_for_wake_up(self);
}

void ask_guard(gateway_self self, std::uint64_t id, gateway_call& call, const policy::reserve_for& wanted) {
  call.reservation =
      call.ask.step_id + "#" + std::to_string(call.decide->requests() + 1) + "/" + std::to_string(self->id()) + "." + std::to_string(id);
  call.link = wanted.link;
  if (wanted.until)
    arm_timer(self, id, *wanted.until);
  const auto reservation = call.reservation;
  const auto guard = call.ask.run->guard;
  ask(self, guard, reserve{reservation, call.ask.task, call.ask.agent, wanted.worst_case, wanted.least, wanted.waits, {}})
      .then(
          [self, id, reservation, guard](const reserve_answer& said) {
            auto found = state_of(self).calls.find(id);
            if (found == state_of(self).calls.end() || found->second.reservation != reservation) {
              if (said.granted) // nobody is there any more who could use it
                tell(self, guard, release{reservation});
              return;
            }
            const auto now = self->clock().now();
            if (said.granted && found->second.ask.run->winding_down) {
              perform(self, id, found->second.decide->cancel(now));
            } else if (said.granted) {
              perform(self, id, found->second.decide->granted(now));
            } else {
              found->second.reservation.clear();
              found->second.refused = said;
              perform(self, id, found->second.decide->refused({said.scope, said.kind, said.left, said.message}, now));
            }
          },
          [self, id](const caf::error& reason) {
            answer(self, id,
                   llm_answer{.status = task_status::error,
                              .reason = "internal",
                              .error = "the budget guard of the run is gone: " + text_of(reason)});
          });
}

void start_transfer(gateway_self self, std::uint64_t id, gateway_call& call, const policy::send_to& sending) {
  const auto& provider = state_of(self).known.at(call.model->chain[sending.link].provider);
  const auto weak = self->address();
  call.transfer = provider->start(request_of(call, sending.link, sending.max_tokens, sending.timeout),
                                  [weak, into = state_of(self).ended, id, request = sending.request](llm_outcome outcome) {
                                    if (!into->put({id, request, std::move(outcome)}))
                                      return;
                                    batch::at_end([weak] {
                                      if (auto strong = caf::actor_cast<llm_gateway_actor>(weak))
                                        tell_from_outside(strong, transfers_ended{});
                                    });
                                  });
  if (const auto at = call.decide->hedge_at())
    arm_timer(self, id, *at);
}

/// A call that ends here gives back what it holds: the guards above the run's are told by nobody else.
void answer_without_journal(gateway_self self, std::uint64_t id, const llm_answer& with) {
  const auto found = state_of(self).calls.find(id);
  if (found == state_of(self).calls.end())
    return;
  if (!found->second.reservation.empty())
    tell(self, found->second.ask.run->guard, release{found->second.reservation});
  answer(self, id, with);
}

void send(gateway_self self, std::uint64_t id, gateway_call& call, std::vector<event_body>&& events, const policy::send_to& sending) {
  call.request = sending.request;
  call.link = sending.link;
  call.transfer.reset();
  call.abort = false;
  ask(self, state_of(self).journal, append{call.ask.run->run_id, call.ask.task, call.ask.agent, std::move(events)})
      .then(
          [self, id, sending](const appended& stored) {
            auto found = state_of(self).calls.find(id);
            if (found == state_of(self).calls.end() || found->second.request != sending.request)
              return;
            auto& call_now = found->second;
            if (stored.failure.code != error_code::none) {
              answer_without_journal(
                  self, id,
                  llm_answer{.status = task_status::error, .fatal = true, .reason = "journal_unavailable", .error = stored.failure.text()});
            } else if (call_now.abort) {
              llm_failure never;
              never.kind = llm_failure_kind::cancelled;
              never.sent = false;
              perform(self, id, call_now.decide->failed(sending.request, never, self->clock().now(), random_of(self)));
            } else {
              start_transfer(self, id, call_now, sending);
            }
          },
          [self, id](const caf::error& reason) { answer_without_journal(self, id, journal_gone(reason)); });
}

llm_answer answer_from(const llm_responded& response, std::size_t link, std::int64_t requests) {
  return {.message = response.message,
          .finish = response.finish,
          .link = link,
          .requests = requests,
          .input_tokens = response.estimated ? 0 : response.usage.input};
}

/// What the policy says, in its order: settle, store, act.
void perform(gateway_self self, std::uint64_t id, llm_step step) {
  auto& state = state_of(self);
  auto found = state.calls.find(id);
  if (found == state.calls.end())
    return;
  auto& call = found->second;
  if (step.settle && !call.reservation.empty()) {
    tell(self, call.ask.run->guard, settle{call.reservation, *step.settle});
    call.ask.run->costs.add(call.ask.task, step.settle->money);
    call.reservation.clear();
  }
  if (auto* sending = std::get_if<policy::send_to>(&step.next)) {
    send(self, id, call, std::move(step.events), *sending);
    return;
  }
  if (auto* end = std::get_if<policy::gave_up>(&step.next); end != nullptr && end->status == task_status::budget_exceeded)
    step.events.emplace_back(budget_refused{call.refused.scope, call.refused.kind, call.refused.message});
  if (!step.events.empty())
    tell(self, state.journal, note{call.ask.run->run_id, call.ask.task, call.ask.agent, std::move(step.events)});
  if (auto* wanted = std::get_if<policy::reserve_for>(&step.next)) {
    if (call.ask.run->winding_down) // no further request: whoever takes the run up makes it
      perform(self, id, call.decide->cancel(self->clock().now()));
    else
      ask_guard(self, id, call, *wanted);
  } else if (auto* waiting = std::get_if<policy::wait_until>(&step.next)) {
    arm_timer(self, id, waiting->at);
  } else if (std::holds_alternative<policy::abort_transfer>(step.next)) {
    if (call.transfer)
      state.known.at(call.model->chain[call.link].provider)->cancel(*call.transfer);
    else
      call.abort = true;
  } else if (auto* done = std::get_if<policy::succeeded>(&step.next)) {
    answer(self, id, answer_from(done->response, done->link, call.decide->requests()));
  } else if (auto* gave_up = std::get_if<policy::gave_up>(&step.next)) {
    // Whoever waits in the guard's line, or was granted meanwhile, leaves it.
    if (!call.reservation.empty())
      tell(self, call.ask.run->guard, release{call.reservation});
    llm_answer said{.status = gave_up->status,
                    .fatal = gave_up->fatal,
                    .reason = name_of(gave_up->reason),
                    .error = gave_up->message,
                    .limit_scope = gave_up->status == task_status::budget_exceeded ? call.refused.scope : std::string{},
                    .requests = call.decide->requests()};
    if (call.ask.makes_fit && gave_up->too_long_for) {
      said.too_long = true;
      said.refused =
          gave_up->reason == policy::llm_reason::llm_context_length && !gave_up->attempts.empty() && gave_up->attempts.back().request > 0;
      said.link = *gave_up->too_long_for;
    }
    answer(self, id, said);
  } else if (auto* crash = std::get_if<policy::crash_agent>(&step.next)) {
    answer(self, id, llm_answer{.status = task_status::error, .reason = "agent_crash", .error = crash->message, .crash = true});
  }
}

/// The request in flight is slow: perhaps a second one goes out.
void hedge(gateway_self self, std::uint64_t id) {
  auto& state = state_of(self);
  const auto found = state.calls.find(id);
  if (found == state.calls.end())
    return;
  const auto now = self->clock().now();
  auto decide = found->second.decide->hedge(now);
  if (!decide)
    return;
  const auto second_id = state.next_call++;
  gateway_call second;
  second.ask = found->second.ask;
  second.model = found->second.model;
  second.decide = std::move(decide);
  second.second = true;
  second.other = id;
  found->second.other = second_id;
  perform(self, second_id, state.calls.emplace(second_id, std::move(second)).first->second.decide->start(now));
}

std::shared_ptr<const model_spec> model_of(const llm_ask& ask) {
  const auto& models = ask.run->config->models;
  const auto found = models.find(ask.model);
  if (found == models.end())
    return nullptr;
  // Shares the configuration's life instead of copying the chain for each call.
  return std::shared_ptr<const model_spec>(ask.run->config, &found->second);
}

/// A recorded response is never paid for again.
void look_up(gateway_self self, std::uint64_t id, const task_events& recorded) {
  auto found = state_of(self).calls.find(id);
  if (found == state_of(self).calls.end())
    return;
  if (recorded.failure.code != error_code::none) {
    answer_without_journal(
        self, id,
        llm_answer{.status = task_status::error, .fatal = true, .reason = "journal_unavailable", .error = recorded.failure.text()});
    return;
  }
  for (const auto& e : recorded.events)
    if (auto* responded = std::get_if<llm_responded>(&e->body); responded != nullptr && responded->step_id == found->second.ask.step_id) {
      answer(self, id, answer_from(*responded, 0, responded->request));
      return;
    }
  // What the gateway before had sent when it died: nobody knows its outcome.
  const auto& ask = found->second.ask;
  std::vector<event_body> lost;
  for (const auto& request : policy::rebuild(recorded.events).unanswered)
    if (request.step_id == ask.step_id)
      lost.emplace_back(outcome_unknown{request.id(), request.worst_case});
  if (!lost.empty())
    tell(self, state_of(self).journal, note{ask.run->run_id, ask.task, ask.agent, std::move(lost)});
  perform(self, id, found->second.decide->start(self->clock().now()));
}

caf::result<llm_answer> begin(gateway_self self, llm_ask& wanted) {
  auto& state = state_of(self);
  const auto key = step_key(wanted);
  if (const auto joined = state.by_step.find(key); joined != state.by_step.end()) {
    auto promise = self->make_response_promise<llm_answer>();
    state.calls.at(joined->second).askers.push_back(promise);
    return promise;
  }
  auto model = model_of(wanted);
  if (!model)
    return llm_answer{
        .status = task_status::error, .fatal = true, .reason = "llm_not_found", .error = "no model chain named \"" + wanted.model + "\""};
  for (const auto& link : model->chain)
    if (state.known.count(link.provider) == 0)
      return llm_answer{.status = task_status::error,
                        .fatal = true,
                        .reason = "llm_not_found",
                        .error = "provider \"" + link.provider + "\" is not running here"};
  // From here on only: once there is a promise, what is returned is no answer any more.
  auto promise = self->make_response_promise<llm_answer>();
  const auto id = state.next_call++;
  auto& call = state.calls[id];
  call.ask = std::move(wanted);
  call.model = model;
  call.askers.push_back(promise);
  state.by_step.emplace(key, id);
  policy::llm_call_facts facts{.step_id = call.ask.step_id,
                               .max_tokens = call.ask.max_tokens,
                               .tools = call.ask.tools,
                               .context_length_ends = call.ask.makes_fit,
                               .input_tokens = call.ask.input_tokens,
                               .first_link = std::min(call.ask.first_link, model->chain.size() - 1),
                               .requests_before = call.ask.requests_before};
  const auto unless_never = [](clock_point at) { return at == clock_point::max() ? std::nullopt : std::optional(at); };
  facts.until = {unless_never(call.ask.deadline), unless_never(call.ask.task_deadline), unless_never(fixed_deadline_of(*call.ask.run))};
  if (call.ask.stands)
    facts.as_it_stands = [unless_never, stands = call.ask.stands, run = call.ask.run](clock_point now) {
      return policy::deadlines{unless_never(stands->of_agent(now)), unless_never(stands->of_task(now)),
                               unless_never(deadline_of(*run, now))};
    };
  for (std::size_t link = 0; link < model->chain.size(); ++link) {
    const auto& name = model->chain[link].provider;
    const auto request = request_of(call, link, call.ask.max_tokens, milliseconds{0});
    const auto& provider = *state.known.at(name);
    facts.links.push_back(
        {provider.input_token_bound(request), provider.input_token_estimate(request), call.ask.run->config->providers.at(name).timeout});
  }
  call.decide = std::make_unique<policy::llm_call>(model, std::move(facts), state.links.of(*model));
  if (!call.ask.recovering) {
    perform(self, id, call.decide->start(self->clock().now()));
    return promise;
  }
  // Its agent came back: the response may have been recorded after the agent read the journal.
  ask(self, state.journal, read_task{call.ask.run->run_id, call.ask.task})
      .then([self, id](const task_events& recorded) { look_up(self, id, recorded); },
            [self, id](const caf::error& reason) { answer_without_journal(self, id, journal_gone(reason)); });
  return promise;
}

void cancel(gateway_self self, const cancel_calls& which) {
  std::vector<std::uint64_t> ids;
  for (const auto& [id, call] : state_of(self).calls)
    if (call.ask.run->run_id == which.run_id && (which.task.empty() || call.ask.task == which.task))
      ids.push_back(id);
  for (const auto id : ids)
    if (auto found = state_of(self).calls.find(id); found != state_of(self).calls.end())
      perform(self, id, found->second.decide->cancel(self->clock().now()));
}

void take_outcome(gateway_self self, ended_transfer& ended) {
  auto found = state_of(self).calls.find(ended.call);
  if (found == state_of(self).calls.end())
    return;
  auto& call = found->second;
  const auto now = self->clock().now();
  if (auto* response = std::get_if<llm_response>(&ended.outcome))
    perform(self, ended.call, call.decide->responded(ended.request, std::move(*response), call.ask.messages, now, random_of(self)));
  else
    perform(self, ended.call, call.decide->failed(ended.request, std::get<llm_failure>(ended.outcome), now, random_of(self)));
}

llm_gateway_actor::behavior_type llm_gateway(gateway_self self, journal_actor journal, providers known, std::uint64_t seed) {
  install_handlers(self);
  state_of(self).journal = std::move(journal);
  state_of(self).known = std::move(known);
  state_of(self).dice.seed(seed);
  return {
      [self](llm_ask& ask) { return begin(self, ask); },
      [self](const cancel_calls& which) { cancel(self, which); },
      [self](const settle_calls& which) {
        auto promise = self->make_response_promise<calls_settled>();
        cancel(self, cancel_calls{which.run_id, {}});
        state_of(self).settling.emplace_back(which.run_id, promise);
        tell_settled(self);
        return promise;
      },
      [self](const transfers_ended&) {
        for (auto& each : state_of(self).ended->take())
          take_outcome(self, each);
      },
      [self](const wake_up&) {
        const auto now = self->clock().now();
        for (const auto id : state_of(self).timers.woken(now))
          if (auto found = state_of(self).calls.find(id); found != state_of(self).calls.end()) {
            perform(self, id, found->second.decide->tick(now));
            hedge(self, id);
          }
        ask_for_wake_up(self);
      },
  };
}

} // namespace

llm_gateway_actor spawn_llm_gateway(caf::actor_system& system, journal_actor journal, providers known, std::uint64_t seed) {
  return system.spawn(llm_gateway, std::move(journal), std::move(known), seed);
}

} // namespace troupe::actors
