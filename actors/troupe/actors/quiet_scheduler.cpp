#include "troupe/actors/quiet_scheduler.hpp"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#ifndef CAF_VERSION_MAJOR
#include <caf/detail/thread_safe_actor_clock.hpp>
#include <caf/execution_unit.hpp>
#include <caf/logger.hpp>
#include <caf/resumable.hpp>
#include <caf/scheduler/abstract_coordinator.hpp>
#endif

namespace troupe::actors {

#ifndef CAF_VERSION_MAJOR

namespace {

/// CAF's own clock hands every timer, and every end of an actor, to its thread: a switch of threads each, two thirds of all that a run had.
/// This one wakes its thread for a timer only that is due before all others. What waits for an actor goes when the actor ends; CAF would
/// keep a delayed message, and with it the dead actor, until its time comes.
class quiet_clock final : public caf::detail::thread_safe_actor_clock {
public:
  quiet_clock() : thread_([this] { loop(); }) {}

  ~quiet_clock() override { stop(); }

  void stop() {
    {
      const std::lock_guard guard(mutex_);
      stopping_ = true;
    }
    earlier_.notify_one();
    if (thread_.joinable())
      thread_.join();
    cancel_all();
  }

  void set_ordinary_timeout(time_point due, caf::abstract_actor* self, caf::atom_value type, std::uint64_t id) override {
    cancel_ordinary_timeout(self, type);
    add(self->id(), std::make_unique<ordinary_timeout>(due, strong(self), type, id));
  }

  void set_multi_timeout(time_point due, caf::abstract_actor* self, caf::atom_value type, std::uint64_t id) override {
    add(self->id(), std::make_unique<multi_timeout>(due, strong(self), type, id));
  }

  void set_request_timeout(time_point due, caf::abstract_actor* self, caf::message_id id) override {
    add(self->id(), std::make_unique<request_timeout>(due, strong(self), id));
  }

  void cancel_ordinary_timeout(caf::abstract_actor* self, caf::atom_value type) override {
    drop(self->id(), [&](const delayed_event& e) {
      return e.subtype == ordinary_timeout_type && static_cast<const ordinary_timeout&>(e).type == type;
    });
  }

  void cancel_request_timeout(caf::abstract_actor* self, caf::message_id id) override {
    drop(self->id(),
         [&](const delayed_event& e) { return e.subtype == request_timeout_type && static_cast<const request_timeout&>(e).id == id; });
  }

  /// CAF calls it at an actor's end.
  void cancel_timeouts(caf::abstract_actor* self) override {
    drop(self->id(), [](const delayed_event&) { return true; });
  }

  void schedule_message(time_point due, caf::strong_actor_ptr receiver, caf::mailbox_element_ptr content) override {
    const auto whose = receiver ? receiver->id() : caf::invalid_actor_id;
    add(whose, std::make_unique<actor_msg>(due, std::move(receiver), std::move(content)));
  }

  void schedule_message(time_point due, caf::group target, caf::strong_actor_ptr sender, caf::message content) override {
    add(caf::invalid_actor_id, std::make_unique<group_msg>(due, std::move(target), std::move(sender), std::move(content)));
  }

  void cancel_all() override {
    std::map<by_time, waiting> gone; // its end may end actors, which cancel their timers: outside of the lock
    const std::lock_guard guard(mutex_);
    gone.swap(events_);
    of_actor_.clear();
  }

private:
  using by_time = std::pair<time_point, std::uint64_t>;
  struct waiting {
    caf::actor_id whose = 0;
    unique_delayed_event_ptr what;
  };

  static caf::strong_actor_ptr strong(caf::abstract_actor* self) { return caf::strong_actor_ptr{self->ctrl()}; }

  void add(caf::actor_id whose, unique_delayed_event_ptr what) {
    const auto due = what->due;
    {
      const std::lock_guard guard(mutex_);
      const auto number = ++last_;
      of_actor_.emplace(std::pair(whose, number), due);
      events_.emplace(by_time{due, number}, waiting{whose, std::move(what)});
      if (due >= sleeps_until_)
        return;
      sleeps_until_ = due; // told once
    }
    earlier_.notify_one();
  }

  template <class Unwanted>
  void drop(caf::actor_id whose, Unwanted unwanted) {
    std::vector<unique_delayed_event_ptr> gone;
    const std::lock_guard guard(mutex_);
    for (auto it = of_actor_.lower_bound({whose, 0}); it != of_actor_.end() && it->first.first == whose;) {
      const auto found = events_.find({it->second, it->first.second});
      if (!unwanted(*found->second.what)) {
        ++it;
        continue;
      }
      gone.push_back(std::move(found->second.what));
      events_.erase(found);
      it = of_actor_.erase(it);
    }
  }

  void loop() {
    std::vector<unique_delayed_event_ptr> due;
    std::unique_lock lock(mutex_);
    while (!stopping_) {
      const auto at = clock_type::now();
      while (!events_.empty() && events_.begin()->first.first <= at) {
        const auto first = events_.begin();
        of_actor_.erase({first->second.whose, first->first.second});
        due.push_back(std::move(first->second.what));
        events_.erase(first);
      }
      if (!due.empty()) {
        sleeps_until_ = time_point::min(); // awake: it looks again
        lock.unlock();
        for (auto& each : due)
          ship(*each);
        due.clear();
        lock.lock();
        continue;
      }
      sleeps_until_ = events_.empty() ? time_point::max() : events_.begin()->first.first;
      if (events_.empty())
        earlier_.wait(lock);
      else
        earlier_.wait_until(lock, sleeps_until_);
    }
  }

  std::mutex mutex_; // guards what follows
  std::condition_variable earlier_;
  std::map<by_time, waiting> events_;
  std::map<std::pair<caf::actor_id, std::uint64_t>, time_point> of_actor_;
  std::uint64_t last_ = 0;
  time_point sleeps_until_ = time_point::min();
  bool stopping_ = false;
  std::thread thread_; // last: it uses all the others
};

/// The actors whose turn it is, for all workers. CAF's own wakes a worker while it still holds the lock, on which that one goes to sleep
/// again, and allocates for each turn.
class turns {
public:
  turns() = default;
  turns(const turns&) = delete;
  turns& operator=(const turns&) = delete;
  /// A thread that is no worker (a client's, the journal's) may still be in the middle of a wake-up: whom it woke, or another one that was
  /// awake, may have done all that was left, and the system may end.
  ~turns() {
    while (waking_.load(std::memory_order_acquire) != 0)
      std::this_thread::yield();
  }

  /// Null ends the worker that takes it.
  void put(caf::resumable* next) {
    {
      const std::lock_guard guard(mutex_);
      waiting_.push_back(next);
      if (asleep_ == 0)
        return;
      waking_.fetch_add(1, std::memory_order_relaxed);
    }
    come_.notify_one();
    waking_.fetch_sub(1, std::memory_order_release);
  }

  caf::resumable* take() {
    std::unique_lock lock(mutex_);
    while (waiting_.empty()) {
      ++asleep_;
      come_.wait(lock);
      --asleep_;
    }
    auto* const next = waiting_.front();
    waiting_.pop_front();
    return next;
  }

  std::deque<caf::resumable*> take_rest() {
    const std::lock_guard guard(mutex_);
    return std::exchange(waiting_, {});
  }

private:
  std::mutex mutex_; // guards what follows
  std::condition_variable come_;
  std::deque<caf::resumable*> waiting_;
  std::size_t asleep_ = 0;
  std::atomic<std::size_t> waking_ = 0;
};

class worker final : public caf::execution_unit {
public:
  worker(caf::actor_system& system, turns& from, std::size_t messages_max) : execution_unit(&system), from_(from), max_(messages_max) {}

  void exec_later(caf::resumable* next) override { from_.put(next); }

  void start() {
    thread_ = std::thread([this] {
      caf::logger::set_current_actor_system(&system());
      system().thread_started();
      run();
      system().thread_terminates();
    });
  }

  void join() { thread_.join(); }

private:
  void run() {
    while (auto* const next = from_.take()) {
      if (next->resume(this, max_) == caf::resumable::resume_later)
        from_.put(next); // with its reference
      else
        caf::intrusive_ptr_release(next);
    }
  }

  turns& from_;
  const std::size_t max_;
  std::thread thread_;
};

class quiet_coordinator final : public caf::scheduler::abstract_coordinator {
public:
  using abstract_coordinator::abstract_coordinator;

  static caf::actor_system::module* make(caf::actor_system& system, caf::detail::type_list<>) { return new quiet_coordinator(system); }

  caf::actor_clock& clock() noexcept override { return quiet_; }
  void enqueue(caf::resumable* next) override { turns_.put(next); }

protected:
  void start() override {
    for (std::size_t i = 0; i < num_workers(); ++i)
      workers_.push_back(std::make_unique<worker>(system(), turns_, max_throughput()));
    for (auto& each : workers_)
      each->start();
    abstract_coordinator::start();
  }

  /// What had its turn before is still done.
  void stop() override {
    for (std::size_t i = 0; i < workers_.size(); ++i)
      turns_.put(nullptr);
    for (auto& each : workers_)
      each->join();
    stop_actors();
    for (auto* const left : turns_.take_rest())
      cleanup_and_release(left);
    quiet_.stop();
  }

private:
  quiet_clock quiet_;
  turns turns_;
  std::vector<std::unique_ptr<worker>> workers_;
};

} // namespace

#endif

void use_quiet_scheduler(caf::actor_system_config& config, std::size_t threads) {
  const auto cores = std::max(1u, std::thread::hardware_concurrency());
  set_workers(config, threads > 0 ? threads : std::max(1u, cores - 1));
#ifndef CAF_VERSION_MAJOR
  config.load<quiet_coordinator>();
#endif
}

} // namespace troupe::actors
