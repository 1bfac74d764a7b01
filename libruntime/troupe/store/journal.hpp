#pragma once
// The journal's interface: append-only events of runs, durable in groups. One writer thread; any thread may call.
//
// What it promises (SEMANTICS 9)
// - An event that was acknowledged (`done` without an error) is there after kill -9, a power cut, or anything else that spares the disk.
// - An event that was not acknowledged may be there, or not; never a part of it, and never without those before it.
// - An error is never an acknowledgement. A full disk fails the appends of that moment with `unavailable`; the same events may be appended
//   again once there is room, and until then later events of that run are refused (they would leave a gap). After a sync that the kernel
//   refused nothing is known about what reached the disk: the journal refuses every append until it is opened anew.
// - Every row carries a checksum chained to the row before it, so that a damaged, missing or swapped row is noticed. A run that is damaged
//   in its middle is refused (`corrupt`, names run and sequence); damaged last rows are a torn tail, which is cut and noted. The other runs
//   go on.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "troupe/model/decision.hpp"
#include "troupe/model/error.hpp"
#include "troupe/model/event.hpp"

namespace troupe::store {

/// One row of `runs`: what is known without reading a run's events.
struct run_row {
  std::string run_id;
  std::string workflow;
  std::string tenant;
  run_status status = run_status::running; ///< of the last recorded event that changed it; `running` and not `owned`: interrupted
  std::string reason;                      ///< of the end; of an interrupted run: why it was interrupted
  std::int64_t started_us = 0;
  std::int64_t updated_us = 0;
  std::int64_t last_seq = 0;
  bool owned = false; ///< a living process has it
};

/// What a journal has done since it was opened.
struct journal_stats {
  std::uint64_t events = 0;   ///< durable
  std::uint64_t commits = 0;  ///< one sync each
  std::uint64_t failures = 0; ///< appends that were answered with an error
};

using on_durable = std::function<void(expected<void>)>;
using on_events = std::function<void(expected<std::vector<event_ptr>>)>;

using troupe::admit_decision;
using troupe::decision_row;

class journal {
public:
  /// Finishes what was appended, then frees what it owns.
  virtual ~journal() = default;

  /// Appends events of one run whose `seq` follow the last one without a gap. `done` is called on a thread of the journal's after they
  /// are durable (or with an error: nothing of these was written); it must not throw, nor block. Commits happen as soon as the last one is
  /// done, with whatever has gathered; no timer. Never blocks.
  /// Errors: `unavailable` (disk, lock), `conflict` (another process wrote this sequence), `corrupt` (the run is damaged; a torn tail must
  /// be cut first, by reading the run while owning it), `internal` (a gap, a wrong run id).
  virtual void append(std::vector<event_ptr> events, on_durable done) = 0;

  /// The same for events that nobody waits for: they go with the next `append`, or by themselves a few milliseconds later. A commit of
  /// their own would only keep those waiting that come next.
  virtual void append_soon(std::vector<event_ptr> events, on_durable done) { append(std::move(events), std::move(done)); }

  /// All events of a run from `after_seq` + 1 on, checked against their checksums. Sees what this process appended before (it flushes).
  /// Blocks: not for a scheduler thread, nor from `done`. `not_found`: no such run. A damaged run is `corrupt` and names the sequence; a
  /// torn tail is left out, told in `notes`, and removed from the file when this process owns the run.
  virtual expected<std::vector<event_ptr>> read_run(const std::string& run_id, std::int64_t after_seq = 0) = 0;

  /// The same on the writer's thread; answers through `done`. Never blocks.
  virtual void read_run_async(std::string run_id, std::int64_t after_seq, on_events done) = 0;

  /// What reading this run brought to light (a torn tail that was cut), in words for people; each is told once.
  virtual std::vector<std::string> notes(const std::string& run_id) = 0;

  /// Newest first; at most `limit`. Blocks on the disk. Sees what was acknowledged.
  virtual expected<std::vector<run_row>> list_runs(std::size_t limit) = 0;
  /// `not_found` when there is none.
  virtual expected<run_row> find_run(const std::string& run_id) = 0;

  /// Takes ownership of a run, which need not exist yet (a kernel lock that dies with this process). `conflict` when somebody has it, this
  /// process included: names the pid. Tells a wish to cancel that is waiting already.
  virtual expected<void> own(const std::string& run_id) = 0;
  /// The same for a run whose id was only just made, so that nobody can have wished anything of it.
  virtual expected<void> own_new(const std::string& run_id) { return own(run_id); }
  /// Gives it back at once: call it when every append has been answered. Neither blocks.
  virtual void disown(const std::string& run_id) = 0;

  /// Takes what a tenant that has limits may spend (a kernel lock, as a run's): who has it counts alone. Its past is complete when it is
  /// read after this. `conflict` when somebody has it, this process included: names the pid. Neither blocks.
  virtual expected<void> own_tenant(const std::string& tenant) = 0;
  virtual void disown_tenant(const std::string& tenant) = 0;

  /// A wish of another process, seen by the owner: asks to cancel a run. Durable when this returns; blocks. Kept until the run ends, so
  /// that an owner to come sees it too. `not_found` when there is no such run.
  virtual expected<void> request_cancel(const std::string& run_id) = 0;
  /// Calls `wake` (on any thread) when somebody has asked to cancel one of the runs that this process owns: once a wish. Without polling.
  /// Set it before `own`; null ends it.
  virtual void on_cancel_request(std::function<void(std::string run_id)> wake) = 0;

  /// Adds a decision if `admit` (called on the writer's thread) says so; else `done` gets its error. Durable when `done` is called. Never
  /// blocks.
  virtual void add_decision(decision_row, admit_decision, on_durable done) = 0;
  /// What was decided about an approval, in order. Blocks.
  virtual expected<std::vector<decision_row>> decisions(const std::string& run_id) = 0;
  /// Calls `take` (on any thread) for each decision about a run that this process owns, once an ownership; those that wait already after
  /// `own`.
  virtual void on_decision(std::function<void(decision_row)> take) = 0;

  /// Retention: deletes runs that ended before `before_us` (UTC), with all that only they used. Returns how many. Blocks.
  virtual expected<std::int64_t> delete_ended(std::int64_t before_us) = 0;

  virtual journal_stats stats() const = 0;
};

} // namespace troupe::store
