#include "troupe/actors/checkpoint.hpp"

#include <algorithm>
#include <map>

#include "troupe/actors/context.hpp"
#include "troupe/policy/approval_requests.hpp"

namespace troupe::actors {

namespace {

// A request: (looking into the journal) --known end--> answered
//                     |--> recording it --> open --decided, expired--> recording the end --> answered
//                                             '--withdrawn--> recorded, answered as pending; the journal keeps it for whoever asks again
// Decisions and the deadline both come by the journal's table, which gives them one order; `policy::approval_request` folds them.

constexpr std::chrono::seconds retry_pause{1};

struct open_request {
  run_ptr run;
  std::string task, agent;
  std::string hash;
  std::vector<caf::typed_response_promise<approval_answer>> askers;
  std::optional<policy::approval_request> request; ///< null: not recorded yet
  std::int64_t votes_recorded = 0;                 ///< by an owner before; they are folded again, not recorded again
  bool ending = false;                             ///< its end is being recorded
};

struct checkpoint_state {
  explicit checkpoint_state(checkpoint_actor::pointer) {}
  static inline const char* name = "checkpoint";
  journal_actor journal;
  std::shared_ptr<store::journal> store;
  std::function<std::int64_t()> utc_now_us;
  std::map<std::string, open_request> requests;                   ///< by id
  std::map<std::string, std::vector<decision_arrived>> decisions; ///< by id, of runs that are owned here; also of what was not asked yet
};

using checkpoint_self = checkpoint_actor::stateful_pointer<checkpoint_state>;

// --- the run's clock -----------------------------------------------------------------------------------------------

bool something_waits(checkpoint_self self, const std::string& run_id) {
  const auto& requests = state_of(self).requests;
  return std::any_of(requests.begin(), requests.end(), [&](const auto& each) {
    return each.second.run->run_id == run_id && each.second.request && each.second.request->pending();
  });
}

/// Stops the run's clock while something of it waits, where the configuration says so.
void keep_clock(checkpoint_self self, const run_ptr& run) {
  if (!run->config->checkpoint.pause_clock)
    return;
  auto& pause = *run->pause;
  const auto now = std::chrono::duration_cast<std::chrono::nanoseconds>(self->clock().now().time_since_epoch()).count();
  const bool waits = something_waits(self, run->run_id);
  if (waits && pause.since_ns == 0) {
    pause.since_ns = now;
  } else if (!waits && pause.since_ns != 0) {
    pause.total_ns += now - pause.since_ns;
    pause.since_ns = 0;
  }
}

// --- ends ----------------------------------------------------------------------------------------------------------

void answer_all(checkpoint_self self, const std::string& id, const approval_answer& answer) {
  auto node = state_of(self).requests.extract(id);
  if (node.empty())
    return;
  const auto& one = node.mapped();
  const bool waited = one.run->waiting.erase(id) != 0;
  // It is known to wait, and nobody decided: before whoever asked hears of it, so that it stands before the end of the task.
  if (waited && answer.status == approval_status::pending && answer.failure.code == error_code::none)
    tell(self, state_of(self).journal,
         note{one.run->run_id, one.task, one.agent, {approval_withdrawn{id, static_cast<std::int64_t>(one.run->waiting.size())}}});
  keep_clock(self, one.run);
  for (auto& asker : node.mapped().askers)
    asker.deliver(answer);
}

approval_answer answer_of(const approval_decided& end) {
  return {end.status, end.id, end.reviewer, end.comment, end.modified_action, end.by_human, {}, end.modified_by};
}

approval_answer no_answer(const std::string& id, error failure) {
  approval_answer answer;
  answer.id = id;
  answer.failure = std::move(failure);
  return answer;
}

/// The end is durable before whoever waits goes on by it. `before`: what is recorded with it.
void record_end(checkpoint_self self, const std::string& id, approval_decided end, std::vector<event_body> before = {}) {
  auto& one = state_of(self).requests.at(id);
  one.ending = true;
  one.request->ended(end); // by a decision it has; not by --yes
  one.run->waiting.erase(id);
  end.pending = static_cast<std::int64_t>(one.run->waiting.size());
  before.emplace_back(end);
  ask(self, state_of(self).journal, append{one.run->run_id, one.task, one.agent, std::move(before)})
      .then(
          [self, id, end](const appended& stored) {
            answer_all(self, id, stored.failure.code == error_code::none ? answer_of(end) : no_answer(id, stored.failure));
          },
          [self, id](const caf::error& reason) {
            answer_all(self, id, no_answer(id, error{error_code::unavailable, text_of(reason), "journal"}));
          });
}

// --- decisions -----------------------------------------------------------------------------------------------------

/// Folds one. What is refused here was refused to whoever made it, too.
void take(checkpoint_self self, const std::string& id, const decision_arrived& row) {
  auto& one = state_of(self).requests.at(id);
  if (!one.request->pending())
    return;
  const auto decision = policy::decision_of(row.body);
  if (!decision)
    return;
  const auto effect = one.request->apply(*decision, row.time_us);
  if (!effect)
    return;
  if (const auto* vote = std::get_if<approval_voted>(&*effect)) {
    if (vote->approvals > one.votes_recorded)
      tell(self, state_of(self).journal, note{one.run->run_id, one.task, one.agent, {event_body(*vote)}});
    return;
  }
  record_end(self, id, std::get<approval_decided>(*effect));
}

void arrived(checkpoint_self self, decision_arrived& row) {
  auto& state = state_of(self);
  const auto id = row.approval_id;
  auto& known = state.decisions[id];
  // A run that is taken up again in this process is told of from the start.
  if (std::any_of(known.begin(), known.end(), [&](const auto& one) { return one.time_us == row.time_us && one.body == row.body; }))
    return;
  known.push_back(std::move(row));
  if (const auto found = state.requests.find(id); found != state.requests.end() && found->second.request)
    if (static_cast<std::int64_t>(known.size()) > found->second.request->what().void_decisions)
      take(self, id, decision_arrived(known.back()));
}

/// Those about this asking, in order.
std::vector<decision_arrived> decisions_about(checkpoint_self self, const approval_requested& what) {
  const auto& known = state_of(self).decisions[what.id];
  const auto begin = std::min<std::int64_t>(what.void_decisions, static_cast<std::int64_t>(known.size()));
  return {known.begin() + begin, known.end()};
}

/// At the deadline a decision of nobody goes the way of all others: where a human's was admitted before, that one stands.
void expire(checkpoint_self self, const std::string& id) {
  auto& state = state_of(self);
  const auto found = state.requests.find(id);
  if (found == state.requests.end() || !found->second.request || !found->second.request->pending())
    return;
  const auto& what = found->second.request->what();
  const auto now = state.utc_now_us();
  if (now <= what.deadline_us) {
    tell_later(self, checkpoint_actor(self), std::chrono::microseconds(what.deadline_us - now + 1), approval_timer{id});
    return;
  }
  const policy::approval_decision nobody{policy::approval_choice::expire, {}, {}, nullptr, {}};
  state.store->add_decision({0, found->second.run->run_id, id, policy::text_of(nobody), now}, policy::admission_of(what, nobody, now),
                            [](const expected<void>&) {});
  tell_later(self, checkpoint_actor(self), retry_pause, approval_timer{id}); // should the journal not have taken it
}

// --- requests ------------------------------------------------------------------------------------------------------

void opened(checkpoint_self self, const std::string& id, const approval_requested& what) {
  auto& state = state_of(self);
  auto& one = state.requests.at(id);
  one.request.emplace(what);
  keep_clock(self, one.run);
  if (one.askers.empty()) { // withdrawn meanwhile
    answer_all(self, id, {});
    return;
  }
  for (const auto& row : decisions_about(self, what))
    if (state.requests.count(id) != 0)
      take(self, id, row);
  expire(self, id);
}

/// Whether nobody needs to be asked: of `--yes`, or asked before and decided meanwhile, or past its deadline. Then its end is all that is
/// recorded, behind the request where that is new.
bool is_settled(checkpoint_self self, const std::string& id, approval_requested what, bool asked_before) {
  auto& state = state_of(self);
  auto& one = state.requests.at(id);
  if (one.run->approve_all) {
    std::vector<event_body> request;
    if (!asked_before) {
      what.needed = 0;
      request.emplace_back(what);
    }
    one.request.emplace(std::move(what));
    record_end(self, id, approval_decided{id, approval_status::approved, {}, "approved by --yes", nullptr, false, 0, {}},
               std::move(request));
    return true;
  }
  if (!asked_before)
    return false;
  const auto rows = decisions_about(self, what);
  policy::approval_request now(what);
  for (const auto& row : rows)
    if (const auto decision = policy::decision_of(row.body))
      static_cast<void>(now.apply(*decision, row.time_us));
  if (now.pending() && state.utc_now_us() <= what.deadline_us)
    return false;
  one.request.emplace(std::move(what));
  for (const auto& row : rows)
    take(self, id, row);
  expire(self, id);
  return true;
}

/// What the journal knows of it: its end, or that it waits with its old deadline, or nothing.
void look_up(checkpoint_self self, const std::string& id, const approval_ask& wanted, const task_events& recorded) {
  auto& state = state_of(self);
  auto& one = state.requests.at(id);
  std::optional<approval_requested> before;
  bool anew = false; // an abort of the run had ended its task: what was decided by then is not about what is asked now
  std::int64_t ended_us = 0;
  std::int64_t votes = 0; // of all askings: each was a decision that was admitted
  for (const auto& e : recorded.events) {
    if (const auto* requested = std::get_if<approval_requested>(&e->body); requested && requested->sha256 == one.hash)
      before = *requested, anew = false;
    else if (std::holds_alternative<task_finished>(e->body))
      anew = true, one.votes_recorded = 0, ended_us = e->time_us;
    else if (const auto* vote = std::get_if<approval_voted>(&e->body); vote && vote->id == id)
      one.votes_recorded = vote->approvals, ++votes;
    else if (const auto* end = std::get_if<approval_decided>(&e->body); end && before && end->id == before->id) {
      answer_all(self, id, answer_of(*end));
      return;
    }
  }
  const auto& policy = one.run->config->checkpoint;
  const auto deadline = state.utc_now_us() + std::chrono::duration_cast<std::chrono::microseconds>(policy.timeout).count();
  auto what = before.value_or(approval_requested{id, wanted.kind, wanted.subject, wanted.action, wanted.details, wanted.risk_level,
                                                 std::max<std::int64_t>(1, wanted.needed), deadline, one.hash, policy.pause_clock, 0});
  if (anew) { // who agreed then did not agree to it now
    what.deadline_us = deadline;
    const auto& told = state.decisions[id];
    const auto by_then = std::count_if(told.begin(), told.end(), [&](const auto& each) { return each.time_us <= ended_us; });
    what.void_decisions = std::max<std::int64_t>(votes, by_then); // votes may be told of later
  }
  if (one.askers.empty()) { // withdrawn meanwhile: nobody is to decide about it
    answer_all(self, id, {});
    return;
  }
  if (what.needed == 0) // of a run with --yes that was killed between the request and its end
    what.needed = std::max<std::int64_t>(1, wanted.needed);
  // It waits from here on for whoever counts: a decision about another one comes after it in the journal.
  one.run->waiting.insert(id);
  if (is_settled(self, id, what, before.has_value()))
    return;
  // Recorded again when it is asked again: who listens to this process, and the run's row, learn that it waits.
  ask(self, state.journal, append{one.run->run_id, one.task, one.agent, {what}})
      .then(
          [self, id, what](const appended& stored) {
            if (state_of(self).requests.count(id) == 0)
              return;
            if (stored.failure.code == error_code::none)
              opened(self, id, what);
            else
              answer_all(self, id, no_answer(id, stored.failure));
          },
          [self, id](const caf::error& reason) {
            answer_all(self, id, no_answer(id, error{error_code::unavailable, text_of(reason), "journal"}));
          });
}

caf::result<approval_answer> wait_for(checkpoint_self self, const approval_ask& wanted) {
  auto& state = state_of(self);
  const auto hash = policy::approval_hash({wanted.run->run_id, wanted.task, wanted.kind, wanted.subject, wanted.moment, wanted.action});
  const auto id = policy::approval_id(wanted.run->run_id, hash);
  auto promise = self->make_response_promise<approval_answer>();
  if (const auto waiting = state.requests.find(id); waiting != state.requests.end()) {
    waiting->second.askers.push_back(promise); // who asked before has died
    return promise;
  }
  state.requests.emplace(id, open_request{wanted.run, wanted.task, wanted.agent, hash, {promise}, {}, 0, false});
  ask(self, state.journal, read_task{wanted.run->run_id, wanted.task})
      .then(
          [self, id, wanted](const task_events& recorded) {
            if (state_of(self).requests.count(id) == 0)
              return;
            if (recorded.failure.code == error_code::none)
              look_up(self, id, wanted, recorded);
            else
              answer_all(self, id, no_answer(id, recorded.failure));
          },
          [self, id](const caf::error& reason) {
            answer_all(self, id, no_answer(id, error{error_code::unavailable, text_of(reason), "journal"}));
          });
  return promise;
}

void withdraw(checkpoint_self self, const cancel_calls& which) {
  auto& state = state_of(self);
  std::vector<std::string> ids;
  for (auto& [id, one] : state.requests) {
    if (one.run->run_id != which.run_id || (!which.task.empty() && one.task != which.task) || one.ending)
      continue;
    if (one.request) {
      ids.push_back(id);
      continue;
    }
    for (auto& asker : one.askers) // it is on its way into the journal
      asker.deliver(approval_answer{});
    one.askers.clear();
  }
  for (const auto& id : ids)
    answer_all(self, id, {});
}

checkpoint_actor::behavior_type checkpoint(checkpoint_self self, journal_actor journal, std::shared_ptr<store::journal> store,
                                           std::function<std::int64_t()> utc_now_us) {
  install_handlers(self);
  auto& state = state_of(self);
  state.journal = std::move(journal);
  state.store = std::move(store);
  state.utc_now_us = std::move(utc_now_us);
  return {
      [self](const approval_ask& wanted) { return wait_for(self, wanted); },
      [self](const cancel_calls& which) { withdraw(self, which); },
      [self](decision_arrived& row) { arrived(self, row); },
      [self](const approval_timer& due) { expire(self, due.id); },
  };
}

} // namespace

checkpoint_actor spawn_checkpoint(caf::actor_system& system, journal_actor journal, std::shared_ptr<store::journal> store,
                                  std::function<std::int64_t()> utc_now_us) {
  return system.spawn(checkpoint, std::move(journal), std::move(store), std::move(utc_now_us));
}

void hear_decisions(store::journal& from, const checkpoint_service& to) {
  if (!to) {
    from.on_decision(nullptr);
    return;
  }
  from.on_decision([to](store::decision_row row) {
    tell_from_outside(to->now(), decision_arrived{std::move(row.run_id), std::move(row.approval_id), std::move(row.body), row.time_us});
  });
}

} // namespace troupe::actors
