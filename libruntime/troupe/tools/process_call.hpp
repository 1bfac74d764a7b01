#pragma once
// One running program of a process tool: its pipes, its clocks and its end. Everything here happens on the loop's thread.

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "troupe/model/config.hpp"
#include "troupe/tools/capture.hpp"
#include "troupe/tools/environment.hpp"
#include "troupe/tools/spawn.hpp"

namespace troupe::tools {

class io_loop;

/// What is to run, with every template rendered.
struct process_job {
  launch plan;            ///< without descriptors and control group: the call sets those
  bool sandboxed = true;  ///< the plan starts bubblewrap (sandbox.hpp) and not the program itself
  std::string input;      ///< standard input; empty: /dev/null
  bool converses = false; ///< standard input stays open for `write`, and `on_output` gets standard output as it comes, not the ending
  std::function<void(std::string_view piece)> on_output;
  std::function<void()>
      on_output_end; ///< of one that converses and lives on: bubblewrap holds standard output open as long as it runs itself
  tool_limits limits;
  std::chrono::milliseconds timeout{30'000};
  std::chrono::milliseconds grace{2'000};
  process_counting counting = process_counting::automatic;
};

struct process_ending {
  enum class how {
    exited,      ///< `status` is its exit status; 128 + n where signal n ended it
    not_started, ///< `problem` says why; nothing ran
    timed_out,
    cancelled,
    too_many, ///< killed for having more than `limits.processes`
    lost,     ///< ended without saying how: `problem`
  };
  how why = how::exited;
  int status = 0;
  bool signalled = false;    ///< surely by a signal; in the sandbox a status above 128 only looks like it
  bool fork_refused = false; ///< it asked for more than `limits.processes` and got none
  std::string problem;
  capture output{capture::keep::start, 0};
  capture errors{capture::keep::end, 0};
};

/// What may wait for a program that does not read.
constexpr std::size_t waiting_input_max = std::size_t{32} << 20;

class process_call : public std::enable_shared_from_this<process_call> {
public:
  using on_end = std::function<void(process_ending)>;

  /// Starts the job; `done` is called once, when nobody of it is left, possibly within this call.
  static std::shared_ptr<process_call> start(io_loop& loop, process_job job, on_end done);

  /// Of one that converses: sent after what was given before. False: it does not read, and `waiting_input_max` bytes wait already.
  bool write(std::string_view bytes);
  /// Closes its standard input once all is written.
  void close_input();

  /// SIGTERM, after the grace SIGKILL, to all of it.
  void cancel();
  /// SIGKILL to all of it.
  void kill_now();

  ~process_call();

private:
  struct impl;
  process_call();
  std::unique_ptr<impl> impl_;
};

} // namespace troupe::tools
