#pragma once
// The journal's interface: append-only events of runs, durable in groups. One writer thread; any thread may call.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "troupe/model/error.hpp"
#include "troupe/model/event.hpp"

namespace troupe::store {

/// One row of `runs`: what is known without reading a run's events.
struct run_row {
  std::string run_id;
  std::string workflow;
  std::string tenant;
  run_status status = run_status::running; ///< of the last recorded event
  std::string reason;
  std::int64_t started_us = 0;
  std::int64_t updated_us = 0;
  std::int64_t last_seq = 0;
  bool owned = false;                      ///< a living process has it
};

using on_durable = std::function<void(expected<void>)>;

class journal {
public:
  virtual ~journal() = default;

  /// Appends events of one run whose `seq` follow the last one without a gap. `done` is called on the writer's thread after they
  /// are durable (or with an error: nothing of the group was written). Commits happen as soon as the last one is done, with whatever has
  /// gathered; no timer. Never blocks.
  virtual void append(std::vector<event_ptr> events, on_durable done) = 0;

  /// All events of a run from `after_seq` + 1 on, checked against their checksums. Sees what this process appended before (it flushes).
  /// Blocks: not for a scheduler thread. A damaged run is `corrupt` and names the sequence; a torn tail is cut and reported in `notes`.
  virtual expected<std::vector<event_ptr>> read_run(const std::string& run_id, std::int64_t after_seq = 0) = 0;

  /// The same on the writer's thread; answers through `done`. Never blocks.
  virtual void read_run_async(std::string run_id, std::int64_t after_seq, std::function<void(expected<std::vector<event_ptr>>)> done) = 0;

  /// Newest first; at most `limit`.
  virtual expected<std::vector<run_row>> list_runs(std::size_t limit) = 0;

  /// Takes ownership of a run (a kernel lock that dies with this process). `conflict` when another process has it: names its pid.
  virtual expected<void> own(const std::string& run_id) = 0;
  virtual void disown(const std::string& run_id) = 0;

  /// A wish of another process, seen by the owner: asks to cancel a run. Durable.
  virtual expected<void> request_cancel(const std::string& run_id) = 0;
  /// Calls `wake` (on any thread) when another process has asked to cancel one of the runs that this process owns. Without polling.
  virtual void on_cancel_request(std::function<void(std::string run_id)> wake) = 0;
};

} // namespace troupe::store
