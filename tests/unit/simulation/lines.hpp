#pragma once
// The lines between one simulated process and the world. Nothing moves on them by itself: the simulation delivers one thing at a time, and
// cuts all of them when the process dies.

#include <deque>
#include <optional>

#include "simulation/world.hpp"
#include "troupe/store/journal.hpp"
#include "troupe/store/row.hpp"

namespace troupe::simulation {

/// What of the appends that nobody has acknowledged has reached the disk when a process dies.
enum class last_words { lost, one_written, written };

/// The journal of one process: an append is durable and acknowledged when the simulation says so, in order.
class held_journal final : public store::journal {
public:
  explicit held_journal(world& of) : world_(of) {}
  ~held_journal() override { cut(last_words::lost); }

  bool waits() const { return !queue_.empty(); }
  /// Writes and acknowledges the oldest append, or answers the oldest read.
  void deliver();
  void cut(last_words kept);

  void append(std::vector<event_ptr> events, store::on_durable done) override;
  expected<std::vector<event_ptr>> read_run(const std::string& run_id, std::int64_t after_seq) override;
  void read_run_async(std::string run_id, std::int64_t after_seq, store::on_events done) override;
  std::vector<std::string> notes(const std::string&) override { return {}; }
  expected<std::vector<store::run_row>> list_runs(std::size_t limit) override;
  expected<store::run_row> find_run(const std::string& run_id) override;
  expected<void> own(const std::string& run_id) override;
  void disown(const std::string& run_id) override;
  expected<void> own_tenant(const std::string& tenant) override;
  void disown_tenant(const std::string& tenant) override { disown(store::tenant_key(tenant)); }
  expected<void> request_cancel(const std::string& run_id) override;
  void on_cancel_request(std::function<void(std::string)>) override {}
  void add_decision(store::decision_row row, store::admit_decision admit, store::on_durable done) override;
  expected<std::vector<store::decision_row>> decisions(const std::string& run_id) override;
  void on_decision(std::function<void(store::decision_row)> take) override;
  expected<std::int64_t> delete_ended(std::int64_t) override { return 0; }
  store::journal_stats stats() const override { return {}; }

private:
  struct entry {
    std::vector<event_ptr> events; ///< empty: a read
    std::function<void()> answer;
    bool written = false;
  };
  void write(entry& e);
  void write_all();
  /// A human approves what waits, and whoever owns the run hears of it.
  void approve(const event& asked);
  void decide(store::decision_row row);
  void tell(const store::decision_row& row);

  world& world_;
  std::deque<entry> queue_;
  std::function<void(store::decision_row)> take_;
  bool cut_ = false;
};

/// Answers of providers and tools that are under way, each with the time at which it arrives.
class post {
public:
  using id = std::uint64_t;
  struct letter {
    clock_point due;
    std::function<void()> deliver;
    std::function<void()> deliver_cancelled;
  };

  id send(clock_point due, std::function<void()> deliver, std::function<void()> deliver_cancelled);
  /// It arrives now, as cancelled.
  void cancel(id which, clock_point now);
  std::optional<clock_point> next_due() const;
  std::size_t due(clock_point now) const;
  /// Delivers the n-th of those that are due, in the order in which they were sent.
  void deliver(std::size_t n, clock_point now);
  void cut() { letters_.clear(); }

private:
  std::map<id, letter> letters_;
  id last_ = 0;
};

/// One provider, and one tool's runner, of a simulated process. `clock` is the actors'.
std::shared_ptr<llm::provider> make_held_provider(world& of, post& line, const caf::actor_clock& clock, provider_spec spec);
std::unique_ptr<tools::runner> make_held_runner(world& of, post& line, const caf::actor_clock& clock, tool_spec spec);

} // namespace troupe::simulation
