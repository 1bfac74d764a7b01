#include "troupe/store/memory.hpp"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <thread>

#include <unistd.h>

#include "troupe/store/row.hpp"
#include "troupe/util/id.hpp"

namespace troupe::store {

namespace {

class memory_journal;

} // namespace

class memory_file {
public:
  struct run {
    run_row row;
    std::vector<event_ptr> events;
    std::uint64_t order = 0;
  };

  std::mutex mutex; // guards what follows
  std::map<std::string, run> runs;
  std::map<std::string, const void*> owners; ///< of runs and tenants: the journal that has it
  std::set<std::string> wishes;
  std::vector<decision_row> decisions;
  std::set<memory_journal*> journals;
  std::uint64_t next_order = 0;
  std::int64_t last_decision = 0;
};

namespace {

class memory_journal final : public journal {
public:
  explicit memory_journal(std::shared_ptr<memory_file> file) : file_(std::move(file)) {
    const std::lock_guard guard(file_->mutex);
    file_->journals.insert(this);
    thread_ = std::thread([this] { loop(); });
  }

  ~memory_journal() override {
    {
      const std::lock_guard guard(mutex_);
      stopping_ = true;
    }
    asked_.notify_one();
    thread_.join();
    const std::lock_guard guard(file_->mutex);
    file_->journals.erase(this);
    std::erase_if(file_->owners, [&](const auto& entry) { return entry.second == this; });
  }

  void append(std::vector<event_ptr> events, on_durable done) override {
    post([this, events = std::move(events), done = std::move(done)] {
      auto result = write(events);
      if (result)
        events_ += events.size(), ++commits_;
      else
        ++failures_;
      done(std::move(result));
    });
  }

  expected<std::vector<event_ptr>> read_run(const std::string& run_id, std::int64_t after_seq) override {
    std::optional<expected<std::vector<event_ptr>>> got;
    std::mutex mutex;
    std::condition_variable ready;
    post([&] {
      auto read = read_here(run_id, after_seq);
      const std::lock_guard guard(mutex);
      got.emplace(std::move(read));
      ready.notify_one();
    });
    std::unique_lock lock(mutex);
    ready.wait(lock, [&] { return got.has_value(); });
    return std::move(*got);
  }

  void read_run_async(std::string run_id, std::int64_t after_seq, on_events done) override {
    post([this, run_id = std::move(run_id), after_seq, done = std::move(done)] { done(read_here(run_id, after_seq)); });
  }

  std::vector<std::string> notes(const std::string&) override { return {}; }

  expected<std::vector<run_row>> list_runs(std::size_t limit) override {
    const std::lock_guard guard(file_->mutex);
    std::vector<const memory_file::run*> order;
    for (const auto& [id, run] : file_->runs)
      order.push_back(&run);
    std::sort(order.begin(), order.end(), [](auto* a, auto* b) { return a->order > b->order; });
    std::vector<run_row> rows;
    for (std::size_t i = 0; i < std::min(limit, order.size()); ++i)
      rows.push_back(row_of(*order[i]));
    return rows;
  }

  expected<run_row> find_run(const std::string& run_id) override {
    const std::lock_guard guard(file_->mutex);
    const auto found = file_->runs.find(run_id);
    if (found == file_->runs.end())
      return no_such_run(run_id);
    return row_of(found->second);
  }

  expected<void> own(const std::string& run_id) override {
    if (!is_run_id(run_id))
      return fail(error_code::invalid_argument, "a run id is 1 to 64 letters, digits, dots, dashes and underscores", run_id);
    {
      const std::lock_guard guard(file_->mutex);
      if (!file_->owners.emplace(run_id, this).second)
        return fail(error_code::conflict,
                    "this process (" + std::to_string(::getpid()) + ") is running it; wait until it ends, or cancel it", "run " + run_id);
    }
    look();
    return {};
  }

  void disown(const std::string& run_id) override {
    const std::lock_guard guard(file_->mutex);
    const auto found = file_->owners.find(run_id);
    if (found == file_->owners.end() || found->second != this)
      return;
    file_->owners.erase(found);
    told_.erase(run_id);
    told_decisions_.erase(run_id);
  }

  expected<void> own_tenant(const std::string& tenant) override {
    const std::lock_guard guard(file_->mutex);
    if (!file_->owners.emplace(tenant_key(tenant), this).second)
      return tenant_is_counted_elsewhere(tenant, "this process (" + std::to_string(::getpid()) + ")");
    return {};
  }

  void disown_tenant(const std::string& tenant) override { disown(tenant_key(tenant)); }

  expected<void> request_cancel(const std::string& run_id) override {
    const std::lock_guard guard(file_->mutex);
    const auto found = file_->runs.find(run_id);
    if (found == file_->runs.end())
      return no_such_run(run_id);
    if (has_ended(found->second.row.status))
      return fail(error_code::conflict, "it has ended already", "run " + run_id);
    file_->wishes.insert(run_id);
    for (auto* each : file_->journals)
      each->look();
    return {};
  }

  void on_cancel_request(std::function<void(std::string)> wake) override {
    {
      const std::lock_guard guard(file_->mutex);
      wake_ = std::move(wake);
    }
    look();
  }

  void add_decision(decision_row row, admit_decision admit, on_durable done) override {
    post([this, row = std::move(row), admit = std::move(admit), done = std::move(done)]() mutable { done(decide(std::move(row), admit)); });
  }

  expected<std::vector<decision_row>> decisions(const std::string& run_id) override {
    const std::lock_guard guard(file_->mutex);
    std::vector<decision_row> found;
    std::copy_if(file_->decisions.begin(), file_->decisions.end(), std::back_inserter(found),
                 [&](const auto& row) { return row.run_id == run_id; });
    return found;
  }

  void on_decision(std::function<void(decision_row)> take) override {
    {
      const std::lock_guard guard(file_->mutex);
      take_ = std::move(take);
      told_decisions_.clear();
    }
    look();
  }

  expected<std::int64_t> delete_ended(std::int64_t before_us) override {
    const std::lock_guard guard(file_->mutex);
    return static_cast<std::int64_t>(std::erase_if(file_->runs, [&](const auto& entry) {
      const auto& row = entry.second.row;
      if (!has_ended(row.status) || row.updated_us >= before_us || file_->owners.contains(row.run_id))
        return false;
      std::erase_if(file_->decisions, [&](const auto& decision) { return decision.run_id == row.run_id; });
      return true;
    }));
  }

  journal_stats stats() const override { return {events_, commits_, failures_}; }

  /// Tells new wishes and decisions, on this journal's thread.
  void look() {
    post([this] {
      std::vector<std::string> wanted;
      std::vector<decision_row> decided;
      std::function<void(std::string)> wake;
      std::function<void(decision_row)> take;
      {
        const std::lock_guard guard(file_->mutex);
        wake = wake_;
        for (const auto& run_id : file_->wishes) {
          const auto owner = file_->owners.find(run_id);
          if (wake && owner != file_->owners.end() && owner->second == this && told_.insert(run_id).second)
            wanted.push_back(run_id);
        }
        take = take_;
        for (const auto& row : file_->decisions) {
          const auto owner = file_->owners.find(row.run_id);
          if (take && owner != file_->owners.end() && owner->second == this && told_decisions_[row.run_id].insert(row.id).second)
            decided.push_back(row);
        }
      }
      for (auto& run_id : wanted)
        wake(std::move(run_id));
      for (auto& row : decided)
        take(std::move(row));
    });
  }

private:
  void post(std::function<void()> job) {
    {
      const std::lock_guard guard(mutex_);
      queue_.push_back(std::move(job));
    }
    asked_.notify_one();
  }

  void loop() {
    std::unique_lock lock(mutex_);
    while (true) {
      asked_.wait(lock, [&] { return stopping_ || !queue_.empty(); });
      if (queue_.empty())
        return;
      auto job = std::move(queue_.front());
      queue_.pop_front();
      lock.unlock();
      job();
      lock.lock();
    }
  }

  run_row row_of(const memory_file::run& run) const {
    run_row row = run.row;
    row.owned = file_->owners.contains(row.run_id);
    return row;
  }

  expected<void> decide(decision_row row, const admit_decision& admit) {
    const std::lock_guard guard(file_->mutex);
    std::vector<decision_row> earlier;
    std::copy_if(file_->decisions.begin(), file_->decisions.end(), std::back_inserter(earlier),
                 [&](const auto& one) { return one.run_id == row.run_id && one.approval_id == row.approval_id; });
    if (auto may = admit(earlier); !may)
      return may;
    row.id = ++file_->last_decision;
    file_->decisions.push_back(std::move(row));
    for (auto* each : file_->journals)
      each->look();
    return {};
  }

  expected<void> write(const std::vector<event_ptr>& events) {
    if (events.empty())
      return {};
    if (!events.front() || !is_run_id(events.front()->run_id))
      return fail(error_code::internal, "an event has no valid run id", "journal");
    const auto& run_id = events.front()->run_id;
    for (std::size_t i = 1; i < events.size(); ++i)
      if (!events[i] || events[i]->run_id != run_id || events[i]->seq != events[i - 1]->seq + 1)
        return fail(error_code::internal, "events appended together are not of one run in order", "run " + run_id);
    const std::lock_guard guard(file_->mutex);
    const auto found = file_->runs.find(run_id);
    const std::int64_t last = found == file_->runs.end() ? 0 : found->second.row.last_seq;
    const auto first = events.front()->seq;
    if (first <= last)
      return fail(error_code::conflict, "event " + std::to_string(first) + " is in the journal already", "run " + run_id);
    if (first > last + 1)
      return fail(error_code::internal, "event " + std::to_string(first) + " would leave a gap after event " + std::to_string(last),
                  "run " + run_id);
    auto& run = file_->runs[run_id];
    auto& row = run.row;
    if (last == 0) {
      run.order = ++file_->next_order;
      row.run_id = run_id;
      row.started_us = events.front()->time_us;
      if (const auto* start = std::get_if<run_started>(&events.front()->body)) {
        row.workflow = start->workflow;
        row.tenant = start->tenant;
      }
    }
    for (const auto& e : events) {
      run.events.push_back(e);
      row.last_seq = e->seq;
      row.updated_us = e->time_us;
      auto change = change_of(e->body);
      if (!change.status || (change.unless_waiting && row.status == run_status::waiting_approval))
        continue;
      row.status = *change.status;
      row.reason = std::move(change.reason);
      if (has_ended(row.status))
        file_->wishes.erase(run_id);
    }
    return {};
  }

  expected<std::vector<event_ptr>> read_here(const std::string& run_id, std::int64_t after_seq) {
    const std::lock_guard guard(file_->mutex);
    const auto found = file_->runs.find(run_id);
    if (found == file_->runs.end())
      return no_such_run(run_id);
    const auto& events = found->second.events;
    const auto from = std::clamp<std::int64_t>(after_seq, 0, static_cast<std::int64_t>(events.size()));
    return std::vector<event_ptr>(events.begin() + from, events.end());
  }

  std::shared_ptr<memory_file> file_;
  std::function<void(std::string)> wake_; // this and what follows up to told_decisions_: guarded by the file's mutex
  std::function<void(decision_row)> take_;
  std::set<std::string> told_;
  std::map<std::string, std::set<std::int64_t>> told_decisions_; ///< by run, while it is owned here
  std::atomic<std::uint64_t> events_{0}, commits_{0}, failures_{0};
  std::mutex mutex_; // guards queue_ and stopping_
  std::condition_variable asked_;
  std::deque<std::function<void()>> queue_;
  bool stopping_ = false;
  std::thread thread_;
};

} // namespace

std::shared_ptr<memory_file> make_memory_file() {
  return std::make_shared<memory_file>();
}

std::unique_ptr<journal> open_memory(std::shared_ptr<memory_file> file) {
  return std::make_unique<memory_journal>(std::move(file));
}

} // namespace troupe::store
