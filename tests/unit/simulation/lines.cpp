#include "simulation/lines.hpp"

#include <algorithm>

#include "troupe/policy/approval_requests.hpp"
#include "troupe/store/row.hpp"

namespace troupe::simulation {

// --- journal -------------------------------------------------------------------------------------------------------

void held_journal::write(entry& e) {
  if (e.written || e.events.empty())
    return;
  e.written = true;
  auto& run = world_.disk[e.events.front()->run_id];
  for (const auto& event : e.events) {
    if (event->seq != static_cast<std::int64_t>(run.size()) + 1)
      world_.broken.push_back("event " + std::to_string(event->seq) + " was appended after event " + std::to_string(run.size()));
    run.push_back(event);
    if (std::holds_alternative<llm_requested>(event->body))
      ++world_.requests_recorded;
    else if (const auto* start = std::get_if<tool_started>(&event->body); start != nullptr && start->effect != effect::none)
      ++world_.effects_recorded;
    approve(*event);
  }
}

void held_journal::approve(const event& asked) {
  const auto* request = std::get_if<approval_requested>(&asked.body);
  if (!request
      || std::any_of(world_.decisions.begin(), world_.decisions.end(), [&](const auto& row) { return row.approval_id == request->id; }))
    return;
  // Of a call in doubt this human finds out.
  const bool done = request->details.contains("in_doubt") && world_.starts_of_tool.count(request->subject) > 0;
  const policy::approval_decision decision{done ? policy::approval_choice::reject : policy::approval_choice::approve, "ana", {}, nullptr};
  decide({0, asked.run_id, request->id, policy::text_of(decision), asked.time_us});
}

void held_journal::decide(store::decision_row row) {
  row.id = static_cast<std::int64_t>(world_.decisions.size()) + 1;
  world_.decisions.push_back(std::move(row));
  tell(world_.decisions.back());
}

void held_journal::add_decision(store::decision_row row, store::admit_decision admit, store::on_durable done) {
  if (!cut_)
    queue_.push_back({{}, [this, row = std::move(row), admit = std::move(admit), done = std::move(done)]() mutable {
                        std::vector<store::decision_row> earlier;
                        std::copy_if(world_.decisions.begin(), world_.decisions.end(), std::back_inserter(earlier),
                                     [&](const auto& other) { return other.approval_id == row.approval_id; });
                        const auto may = admit(earlier);
                        if (may)
                          decide(std::move(row));
                        done(may);
                      }});
}

expected<std::vector<store::decision_row>> held_journal::decisions(const std::string& run_id) {
  std::vector<store::decision_row> found;
  std::copy_if(world_.decisions.begin(), world_.decisions.end(), std::back_inserter(found),
               [&](const auto& row) { return row.run_id == run_id; });
  return found;
}

void held_journal::on_decision(std::function<void(store::decision_row)> take) {
  take_ = std::move(take);
  for (const auto& row : world_.decisions) // whoever takes them now is told of all
    tell(row);
}

void held_journal::tell(const store::decision_row& row) {
  if (!cut_)
    queue_.push_back({{}, [this, row] {
                        if (take_)
                          take_(row);
                      }});
}

void held_journal::write_all() {
  for (auto& e : queue_)
    write(e);
}

void held_journal::deliver() {
  auto e = std::move(queue_.front());
  queue_.pop_front();
  write(e);
  e.answer();
}

void held_journal::cut(last_words kept) {
  if (kept == last_words::written)
    write_all();
  else if (kept == last_words::one_written)
    for (auto& e : queue_)
      if (!e.written && !e.events.empty()) {
        write(e);
        break;
      }
  queue_.clear();
  cut_ = true;
  std::erase_if(world_.owners, [&](const auto& owner) { return owner.second == this; });
}

void held_journal::append(std::vector<event_ptr> events, store::on_durable done) {
  if (!cut_)
    queue_.push_back({std::move(events), [done = std::move(done)] { done({}); }});
}

expected<std::vector<event_ptr>> held_journal::read_run(const std::string& run_id, std::int64_t after_seq) {
  write_all();
  const auto found = world_.disk.find(run_id);
  if (found == world_.disk.end())
    return store::no_such_run(run_id);
  return std::vector<event_ptr>(found->second.begin() + after_seq, found->second.end());
}

void held_journal::read_run_async(std::string run_id, std::int64_t after_seq, store::on_events done) {
  if (!cut_)
    queue_.push_back({{}, [this, run_id = std::move(run_id), after_seq, done = std::move(done)] { done(read_run(run_id, after_seq)); }});
}

expected<std::vector<store::run_row>> held_journal::list_runs(std::size_t limit) {
  std::vector<store::run_row> rows;
  for (const auto& [run_id, events] : world_.disk)
    if (rows.size() < limit)
      rows.push_back(*find_run(run_id));
  return rows;
}

expected<store::run_row> held_journal::find_run(const std::string& run_id) {
  write_all();
  const auto found = world_.disk.find(run_id);
  if (found == world_.disk.end())
    return store::no_such_run(run_id);
  store::run_row row;
  row.run_id = run_id;
  for (const auto& e : found->second) {
    if (const auto* start = std::get_if<run_started>(&e->body)) {
      row.workflow = start->workflow;
      row.tenant = start->tenant;
      row.started_us = e->time_us;
    }
    if (const auto change = store::change_of(e->body); change.status)
      row.status = *change.status;
    row.updated_us = e->time_us;
    row.last_seq = e->seq;
  }
  row.owned = world_.owners.count(run_id) != 0;
  return row;
}

expected<void> held_journal::own(const std::string& run_id) {
  if (!world_.owners.emplace(run_id, this).second)
    return fail(error_code::conflict, "somebody has it", "run " + run_id);
  for (const auto& row : world_.decisions)
    tell(row);
  return {};
}

void held_journal::disown(const std::string& run_id) {
  if (const auto owner = world_.owners.find(run_id); owner != world_.owners.end() && owner->second == this)
    world_.owners.erase(owner);
}

expected<void> held_journal::own_tenant(const std::string& tenant) {
  if (!world_.owners.emplace(store::tenant_key(tenant), this).second)
    return store::tenant_is_counted_elsewhere(tenant, "somebody");
  return {};
}

expected<void> held_journal::request_cancel(const std::string& run_id) {
  return fail(error_code::unavailable, "no other process can be heard here", "run " + run_id);
}

// --- post ----------------------------------------------------------------------------------------------------------

post::id post::send(clock_point due, std::function<void()> deliver, std::function<void()> deliver_cancelled) {
  letters_.emplace(++last_, letter{due, std::move(deliver), std::move(deliver_cancelled)});
  return last_;
}

void post::cancel(id which, clock_point now) {
  const auto found = letters_.find(which);
  if (found == letters_.end() || !found->second.deliver_cancelled)
    return;
  found->second.due = now;
  found->second.deliver = std::exchange(found->second.deliver_cancelled, nullptr);
}

std::optional<clock_point> post::next_due() const {
  std::optional<clock_point> next;
  for (const auto& [which, each] : letters_)
    next = next ? std::min(*next, each.due) : each.due;
  return next;
}

std::size_t post::due(clock_point now) const {
  return static_cast<std::size_t>(std::count_if(letters_.begin(), letters_.end(), [&](const auto& l) { return l.second.due <= now; }));
}

void post::deliver(std::size_t n, clock_point now) {
  for (auto at = letters_.begin(); at != letters_.end(); ++at)
    if (at->second.due <= now && n-- == 0) {
      auto taken = std::move(at->second);
      letters_.erase(at);
      taken.deliver();
      return;
    }
}

// --- providers and tools -------------------------------------------------------------------------------------------

namespace {

class held_provider final : public llm::provider {
public:
  held_provider(world& of, post& line, const caf::actor_clock& clock, provider_spec spec)
      : world_(of), line_(line), clock_(clock), spec_(std::move(spec)) {}

  llm::transfer_id start(llm_request request, llm::on_outcome done) override {
    const auto& around = world_.around();
    const auto own = around.latency_of.find(spec_.name);
    auto latency = own == around.latency_of.end() ? around.model_latency : own->second;
    auto outcome = world_.answer(spec_, request);
    if (latency > request.timeout) {
      latency = request.timeout;
      llm_failure late;
      late.kind = llm_failure_kind::timeout;
      outcome = late;
    }
    const auto share = std::make_shared<llm::on_outcome>(std::move(done));
    return line_.send(
        clock_.now() + latency, [share, outcome] { (*share)(outcome); },
        [share] {
          llm_failure failure;
          failure.kind = llm_failure_kind::cancelled;
          (*share)(failure);
        });
  }
  void cancel(llm::transfer_id id) override { line_.cancel(id, clock_.now()); }
  std::int64_t input_token_bound(const llm_request& request) const override { return world_.model().input_token_bound(request); }
  std::int64_t input_token_estimate(const llm_request& request) const override { return world_.model().input_token_estimate(request); }

private:
  world& world_;
  post& line_;
  const caf::actor_clock& clock_;
  provider_spec spec_;
};

class held_runner final : public tools::runner {
public:
  held_runner(world& of, post& line, const caf::actor_clock& clock, tool_spec spec)
      : world_(of), line_(line), clock_(clock), spec_(std::move(spec)) {}

  tools::running_id start(invocation call, tools::on_outcome done) override {
    auto latency = world_.around().tool_latency;
    auto outcome = world_.perform(spec_, call);
    if (latency > call.timeout || outcome.status == tool_status::timed_out) {
      latency = call.timeout;
      outcome.status = tool_status::timed_out;
    }
    const auto share = std::make_shared<tools::on_outcome>(std::move(done));
    return line_.send(
        clock_.now() + latency, [share, outcome] { (*share)(outcome); },
        [share] {
          tool_outcome stopped;
          stopped.status = tool_status::cancelled;
          (*share)(stopped);
        });
  }
  void cancel(tools::running_id id) override { line_.cancel(id, clock_.now()); }

private:
  world& world_;
  post& line_;
  const caf::actor_clock& clock_;
  tool_spec spec_;
};

} // namespace

std::shared_ptr<llm::provider> make_held_provider(world& of, post& line, const caf::actor_clock& clock, provider_spec spec) {
  return std::make_shared<held_provider>(of, line, clock, std::move(spec));
}

std::unique_ptr<tools::runner> make_held_runner(world& of, post& line, const caf::actor_clock& clock, tool_spec spec) {
  return std::make_unique<held_runner>(of, line, clock, std::move(spec));
}

} // namespace troupe::simulation
