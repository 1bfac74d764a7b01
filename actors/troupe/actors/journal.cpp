#include "troupe/actors/journal.hpp"

#include <algorithm>
#include <deque>
#include <map>
#include <optional>
#include <unordered_map>

#include "troupe/actors/outbox.hpp"
#include "troupe/util/batch.hpp"

namespace troupe::actors {

namespace {

/// What one group of appends still owes: its writer's answer, its waiting asker, its events for those who listen.
struct open_group {
  caf::typed_response_promise<appended> asker;
  std::vector<event_ptr> events;
};

/// What the writer says of one group.
struct written_group {
  std::uint64_t ticket = 0;
  error failure;
};

/// Where a run's events go on. Their times are the wall clock's of when this process took the run up, and go on with the steady clock: a
/// wall clock that is set makes no duration, no order and no expiry wrong.
struct run_line {
  std::int64_t last_seq = 0;
  std::int64_t utc_less_steady_us = 0;
  bool ended = false; ///< its end is recorded, or that it was left: nothing of it waits for humans here any more
  /// By task, its first event. Of a run that began here, so that it is known of all; another one's tasks are read from the run's start.
  std::optional<std::map<std::string, std::int64_t>> first_seq = std::nullopt;
};

struct journal_state {
  explicit journal_state(journal_actor::pointer) {}
  /// One that dies owes answers: whoever waits for one would wait for ever. What was handed over may become durable all the same.
  ~journal_state() {
    const error dead{error_code::unavailable, "the journal's actor died", "journal"};
    for (auto& [ticket, group] : open)
      if (group.asker.pending())
        group.asker.deliver(appended{dead});
    for (auto& [ticket, read] : reads)
      read.second.deliver(task_events{dead, {}});
  }
  journal_state(const journal_state&) = delete;
  journal_state& operator=(const journal_state&) = delete;
  static inline const char* name = "journal";
  std::shared_ptr<store::journal> store;
  std::function<std::int64_t()> utc_now_us;
  std::unordered_map<std::string, run_line> lines;
  std::unordered_map<std::string, error> refused; ///< runs whose write was refused: nothing more of them is stored
  std::unordered_map<std::uint64_t, open_group> open;
  std::unordered_map<std::uint64_t, std::pair<std::string, caf::typed_response_promise<task_events>>> reads;
  std::vector<std::pair<std::string, event_sink_actor>> subscribers; ///< run ("": all), who
  std::uint64_t next_ticket = 1;
  std::shared_ptr<outbox<written_group>> written = std::make_shared<outbox<written_group>>();
};

using journal_self = journal_actor::stateful_pointer<journal_state>;

std::int64_t steady_us(journal_self self) {
  return std::chrono::duration_cast<std::chrono::microseconds>(self->clock().now().time_since_epoch()).count();
}

/// The time of a run's next event is now by the wall clock, and not before `at_least_us`.
run_line line_from(journal_self self, std::int64_t last_seq, std::int64_t at_least_us) {
  run_line line{last_seq, std::max(state_of(self).utc_now_us(), at_least_us) - steady_us(self)};
  if (last_seq == 0)
    line.first_seq.emplace();
  return line;
}

/// What comes too late for its run: a request, its decision or its withdrawal which was on its way while the run ended or was left.
bool too_late(journal_self self, const std::string& run_id, const std::vector<event_body>& bodies) {
  const auto& lines = state_of(self).lines;
  const auto line = lines.find(run_id);
  return (line == lines.end() || line->second.ended) && std::any_of(bodies.begin(), bodies.end(), [](const event_body& body) {
           return std::holds_alternative<approval_requested>(body) || std::holds_alternative<approval_voted>(body)
                  || std::holds_alternative<approval_decided>(body) || std::holds_alternative<approval_withdrawn>(body);
         });
}

/// Gives the events their place and hands them to the writer.
std::uint64_t hand_over(journal_self self, const std::string& run_id, const std::string& task, const std::string& agent,
                        std::vector<event_body>&& bodies, bool waited_for) {
  auto& state = state_of(self);
  auto line = state.lines.find(run_id);
  if (line == state.lines.end())
    line = state.lines.emplace(run_id, line_from(self, 0, 0)).first;
  auto& last = line->second.last_seq;
  const auto now_us = line->second.utc_less_steady_us + steady_us(self);
  std::vector<event_ptr> events;
  events.reserve(bodies.size());
  for (auto& body : bodies) {
    line->second.ended = line->second.ended || std::holds_alternative<run_finished>(body) || std::holds_alternative<run_interrupted>(body);
    auto made = std::make_shared<event>();
    made->seq = ++last;
    made->time_us = now_us;
    made->run_id = run_id;
    made->task = task;
    made->agent = agent;
    made->body = std::move(body);
    events.push_back(std::move(made));
  }
  if (line->second.first_seq && !events.empty() && !task.empty())
    line->second.first_seq->emplace(task, events.front()->seq);
  const auto ticket = state.next_ticket++;
  state.open[ticket].events = events;
  // The writer answers on its own thread: a weak handle, so that a late answer does not keep the actor alive.
  auto done = [weak = caf::actor_cast<caf::actor_addr>(self->address()), into = state.written, ticket](expected<void> written) {
    if (!into->put({ticket, written ? error{} : std::move(written.error())}))
      return;
    batch::at_end([weak] {
      if (auto strong = caf::actor_cast<journal_actor>(weak))
        tell_from_outside(strong, groups_written{});
    });
  };
  if (waited_for)
    state.store->append(std::move(events), std::move(done));
  else
    state.store->append_soon(std::move(events), std::move(done));
  return ticket;
}

/// Behind which event of its run all of a task's stand: a run's tasks, one after the other, are not to read the whole of it each.
std::int64_t seq_before(journal_self self, const read_task& wanted) {
  const auto& lines = state_of(self).lines;
  const auto line = lines.find(wanted.run_id);
  if (line == lines.end() || !line->second.first_seq)
    return 0;
  const auto first = line->second.first_seq->find(wanted.task);
  return first == line->second.first_seq->end() ? line->second.last_seq : first->second - 1; // it has none yet
}

void publish(journal_self self, const std::vector<event_ptr>& events) {
  for (const auto& one : state_of(self).subscribers) {
    const auto& run_id = one.first;
    published news;
    if (run_id.empty())
      news.events = events;
    else
      std::copy_if(events.begin(), events.end(), std::back_inserter(news.events), [&](const event_ptr& e) { return e->run_id == run_id; });
    if (!news.events.empty())
      tell(self, one.second, std::move(news));
  }
}

/// Those who listen hear of it before those who wait go on.
void close_groups(journal_self self) {
  auto& state = state_of(self);
  std::vector<event_ptr> durable;
  std::vector<std::pair<caf::typed_response_promise<appended>, error>> answers;
  for (auto& [ticket, failure] : state.written->take()) {
    auto node = state.open.extract(ticket);
    if (node.empty())
      continue;
    auto& group = node.mapped();
    if (failure.code != error_code::none)
      state.refused.emplace(group.events.front()->run_id, failure);
    else
      durable.insert(durable.end(), std::make_move_iterator(group.events.begin()), std::make_move_iterator(group.events.end()));
    if (group.asker.pending())
      answers.emplace_back(std::move(group.asker), std::move(failure));
  }
  if (!durable.empty())
    publish(self, durable);
  for (auto& [asker, failure] : answers)
    asker.deliver(appended{std::move(failure)});
}

journal_actor::behavior_type journal(journal_self self, std::shared_ptr<store::journal> store, std::function<std::int64_t()> utc_now_us) {
  install_handlers(self);
  auto& state = state_of(self);
  state.store = std::move(store);
  state.utc_now_us = std::move(utc_now_us);
  on_down(self, [self](caf::down_msg& down) {
    std::erase_if(state_of(self).subscribers, [&](const auto& s) { return s.second.address() == down.source; });
  });
  return {
      [self](append& wanted) -> caf::result<appended> {
        auto& s = state_of(self);
        if (auto bad = s.refused.find(wanted.run_id); bad != s.refused.end())
          return appended{bad->second};
        if (too_late(self, wanted.run_id, wanted.bodies))
          return appended{error{error_code::conflict, "the run has ended; nothing of it waits for approval any more", wanted.run_id}};
        auto promise = self->make_response_promise<appended>();
        const auto ticket = hand_over(self, wanted.run_id, wanted.task, wanted.agent, std::move(wanted.bodies), true);
        s.open[ticket].asker = promise;
        return promise;
      },
      [self](note& wanted) {
        if (state_of(self).refused.count(wanted.run_id) != 0 || wanted.bodies.empty() || too_late(self, wanted.run_id, wanted.bodies))
          return;
        hand_over(self, wanted.run_id, wanted.task, wanted.agent, std::move(wanted.bodies), false);
      },
      [self](const open_run& run) {
        state_of(self).lines.insert_or_assign(run.run_id, line_from(self, run.last_seq, run.last_us));
        state_of(self).refused.erase(run.run_id);
      },
      [self](const close_run& run) {
        auto& s = state_of(self);
        s.lines.erase(run.run_id);
        s.refused.erase(run.run_id);
        std::erase_if(s.subscribers, [&](const auto& entry) { return entry.first == run.run_id; });
      },
      [self](const read_task& wanted) -> caf::result<task_events> {
        auto& s = state_of(self);
        const auto ticket = s.next_ticket++;
        auto promise = self->make_response_promise<task_events>();
        s.reads.emplace(ticket, std::pair(wanted.task, promise));
        s.store->read_run_async(
            wanted.run_id, seq_before(self, wanted),
            [weak = caf::actor_cast<caf::actor_addr>(self->address()), ticket](expected<std::vector<event_ptr>> read) {
              if (auto strong = caf::actor_cast<journal_actor>(weak))
                tell_from_outside(strong, read ? events_read{ticket, {}, std::move(*read)} : events_read{ticket, read.error(), {}});
            });
        return promise;
      },
      [self](const subscribe& wanted) {
        monitor(self, wanted.subscriber);
        state_of(self).subscribers.emplace_back(wanted.run_id, wanted.subscriber);
      },
      [self](const groups_written&) { close_groups(self); },
      [self](const events_read& read) {
        auto& s = state_of(self);
        auto node = s.reads.extract(read.ticket);
        if (node.empty())
          return;
        auto& [task, promise] = node.mapped();
        task_events answer{read.failure, {}};
        for (const auto& e : read.events)
          if (e->task == task)
            answer.events.push_back(e);
        promise.deliver(std::move(answer));
      },
  };
}

} // namespace

journal_actor spawn_journal(caf::actor_system& system, std::shared_ptr<store::journal> store, std::function<std::int64_t()> utc_now_us) {
  return system.spawn(journal, std::move(store), std::move(utc_now_us));
}

} // namespace troupe::actors
