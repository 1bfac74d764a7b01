#pragma once
// SUPERVISION: the decisions of one supervisor, as OTP's `supervisor` takes them (SEMANTICS 8; supervisor.erl is the reference).
// This comment is the specification. The machine is pure: each input returns commands; the actor executes them in order and feeds
// the results back.
//
// Flags (supervisor_spec)
//   strategy       one_for_one    a child that has to be restarted is restarted alone (default)
//                  one_for_all    all children are stopped, then all are started
//                  rest_for_one   it and those after it are stopped, then started; earlier ones are not touched
//   max_restarts   3, within 5 s  restart intensity: more restarts than this within that time, and the supervisor stops its
//                                 children and ends (escalation). A restart whose age is exactly `within` counts. 0: the first one
//                                 escalates.
//   auto_shutdown  never (default) | any_significant | all_significant: ends the supervisor when one, or the last active one, of
//                                 its `significant` children has ended by itself and is not restarted. Not when the supervisor or
//                                 `terminate_child` stopped it.
// Children (child_spec)
//   restart        permanent      restarted whatever it ended with (default)
//                  transient      restarted after a crash only; `normal` and `shutdown` are no crash
//                  temporary      never restarted, not even by a sibling's one_for_all; it is forgotten when it ends
//   shutdown       5 s            asked to stop, killed after that time; `infinity`: never killed; `brutal_kill`: killed at once
//   size           n > 1 or pool  members NAME/1 … NAME/n, each a child of its own
//   significant                   only with auto_shutdown other than never, and not for permanent children
//
// Order. Children start left to right, each after the one before it is up, and stop right to left, each after the one to its right
//   is gone.
// Boot. A child that does not start at boot stops those that did, right to left, and the supervisor ends with
//   `boot_failed`, naming it. What happens to other children meanwhile is handled when the boot is over, as OTP does.
// Restart. One crash counts one restart, whatever the strategy. A child that does not start while being restarted is tried again,
//   and each attempt counts: with one_for_all and rest_for_one as if that child had crashed. A crash that does not count (poison
//   task) restarts without counting.
// Back-off. Before a restart: uniform in [0, min(100 ms · 2^n, within / (2 · max_restarts))), n being the restarts in a row of
//   this child; it starts anew once a child has run for `within`. (OTP has none; the upper bound keeps the intensity reachable.)
//   The wait is a timer: the supervisor answers and obeys meanwhile.
// End. `stop` stops the children, whatever goes on, and ends with `shutdown`. An escalation and an auto_shutdown end likewise. To
//   its own supervisor both are a `shutdown`, as in OTP: a transient child supervisor that escalated is not restarted (see
//   `exit_of`).
//
// Cost: O(log children) for a crash under one_for_one, O(children concerned) for the other strategies.

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "troupe/model/config.hpp"
#include "troupe/model/error.hpp"
#include "troupe/policy/moment.hpp"
#include "troupe/policy/restart_window.hpp"

namespace troupe::policy {

/// How a child ended.
enum class exit_kind { normal, shutdown, crash };
BOOST_DESCRIBE_ENUM(exit_kind, normal, shutdown, crash)

enum class end_reason {
  shutdown,    ///< it was told to, or auto_shutdown
  escalation,  ///< restart intensity
  boot_failed, ///< a child did not start at boot
};
BOOST_DESCRIBE_ENUM(end_reason, shutdown, escalation, boot_failed)

/// What the end of a supervisor is to its own supervisor.
constexpr exit_kind exit_of(end_reason reason) {
  return reason == end_reason::boot_failed ? exit_kind::crash : exit_kind::shutdown;
}

// --- commands ------------------------------------------------------------------------------------------------------

/// Start this child; answer with `child_started` or `child_start_failed`, and later with `child_exited`, all with this incarnation.
struct start_child {
  std::string id;
  std::int64_t incarnation = 1;     ///< from 1
  const child_spec* spec = nullptr; ///< valid until the machine dies or the child is removed; of a member: its pool's
  friend bool operator==(const start_child& a, const start_child& b) { return a.id == b.id && a.incarnation == b.incarnation; }
};
/// Ask it to stop (it may still be starting); `child_exited` tells that it has. The kill after its shutdown time comes from the
/// machine.
struct stop_child {
  std::string id;
  std::int64_t incarnation = 1;
  friend bool operator==(const stop_child&, const stop_child&) = default;
};
/// End it at once; `child_exited` tells that it is gone.
struct kill_child {
  std::string id;
  std::int64_t incarnation = 1;
  friend bool operator==(const kill_child&, const kill_child&) = default;
};
/// Call `timer_fired(timer)` once, after this time. A timer that is no longer wanted is ignored when it fires.
struct start_timer {
  std::uint64_t timer = 0;
  microseconds after{0};
  friend bool operator==(const start_timer&, const start_timer&) = default;
};
/// A child runs again.
struct child_restarted {
  std::string id;
  std::int64_t restarts = 1; ///< of this child, ever
  microseconds waited{0};
  friend bool operator==(const child_restarted&, const child_restarted&) = default;
};
/// An error report, as OTP's: in which context what happened to whom.
struct supervisor_report {
  enum context_type { child_terminated, start_error, shutdown_error, intensity_reached };
  context_type context = child_terminated;
  std::string child;
  std::string reason;
  friend bool operator==(const supervisor_report&, const supervisor_report&) = default;
};
/// All children are up for the first time.
struct boot_finished {
  friend bool operator==(const boot_finished&, const boot_finished&) = default;
};
/// The end of a request about one child (`add_child`, `terminate_child`, `restart_child`, `remove_child`): `error` is empty on
/// success.
struct request_done {
  std::string id;
  std::string error;
  friend bool operator==(const request_done&, const request_done&) = default;
};
/// All children are gone: the actor ends. Nothing comes after it.
struct end_supervisor {
  end_reason reason = end_reason::shutdown;
  std::string text; ///< for people; names the child at fault
  friend bool operator==(const end_supervisor&, const end_supervisor&) = default;
};

using supervision_command = std::variant<start_child, stop_child, kill_child, start_timer, child_restarted, supervisor_report,
                                         boot_finished, request_done, end_supervisor>;
using supervision_commands = std::vector<supervision_command>;

// --- what it looks like --------------------------------------------------------------------------------------------

enum class child_state { stopped, starting, running, stopping, restarting };
BOOST_DESCRIBE_ENUM(child_state, stopped, starting, running, stopping, restarting)
enum class supervisor_phase { idle, booting, running, stopping, ended };
BOOST_DESCRIBE_ENUM(supervisor_phase, idle, booting, running, stopping, ended)

struct child_description {
  std::string id;
  child_kind kind = child_kind::agent;
  restart_type restart = restart_type::permanent;
  child_state state = child_state::stopped;
  std::int64_t incarnation = 0;
  std::int64_t restarts = 0;
};
struct supervisor_description {
  std::string name;
  restart_strategy strategy = restart_strategy::one_for_one;
  supervisor_phase phase = supervisor_phase::idle;
  std::int64_t restarts = 0;               ///< ever
  std::vector<child_description> children; ///< left to right
};

/// Everything that is wrong with the tree: duplicate ids, negative numbers and times, significant without auto_shutdown, nesting
/// deeper than 32. Empty: fine.
std::vector<error> validate(const supervisor_spec& spec);

/// A child that ended for good.
struct gone_child {
  std::string id;
  std::shared_ptr<const child_spec> spec; ///< of a member: its pool's
};

/// The ids under which a child specification runs: NAME/1 … NAME/n of a pool, else its own.
std::vector<std::string> member_ids(const child_spec& spec);

// --- the machine ---------------------------------------------------------------------------------------------------

class supervision {
public:
  /// `spec` must be valid. Pools are expanded into members.
  explicit supervision(supervisor_spec spec);
  supervision(const supervision&) = delete;
  supervision& operator=(const supervision&) = delete;

  /// Once. Starts the children.
  supervision_commands start(const moment& m);
  /// Stops the children, whatever goes on, and ends. Again: no effect.
  supervision_commands stop(const moment& m);

  supervision_commands child_started(const std::string& id, std::int64_t incarnation, const moment& m);
  supervision_commands child_start_failed(const std::string& id, std::int64_t incarnation, const std::string& reason, const moment& m);
  /// `counts` false: the crash was its task's fault (poison), it does not count towards the intensity. Exits of unknown children
  /// and old incarnations are ignored.
  supervision_commands child_exited(const std::string& id, std::int64_t incarnation, exit_kind kind, const std::string& reason,
                                    const moment& m, bool counts = true);
  supervision_commands timer_fired(std::uint64_t timer, const moment& m);

  /// Children at run time; each ends in one `request_done` (for each member of a pool), after a boot or restart of several that is
  /// under way. `add_child` starts it after the others; when it does not start it is not kept.
  /// `terminate_child` stops it without removing it, `restart_child` starts one that is stopped, `remove_child` stops and forgets
  /// it.
  supervision_commands add_child(child_spec spec, const moment& m);
  supervision_commands terminate_child(const std::string& id, const moment& m);
  supervision_commands restart_child(const std::string& id, const moment& m);
  supervision_commands remove_child(const std::string& id, const moment& m);

  /// Children that ended since the last call and do not come back (while this supervisor lives): whoever waits for them may stop waiting.
  /// When it ends itself nothing is said of those that it was described with: they come back with it, or its own supervisor says so.
  std::vector<gone_child> take_gone() { return std::exchange(gone_, {}); }

  /// Answers at any time. O(children).
  supervisor_description describe() const;
  supervisor_phase phase() const { return phase_; }
  const supervisor_spec& spec() const { return spec_; }
  /// At most this long before a restart.
  microseconds backoff_cap() const;

private:
  struct child {
    std::string id;
    std::shared_ptr<const child_spec> spec; // shared by the members of a pool
    std::int64_t incarnation = 0;
    std::int64_t restarts = 0;
    std::uint64_t timer = 0; // the only one that counts
    time_point since{};      // running since
    microseconds waited{0};
    std::int32_t in_a_row = 0;
    child_state state = child_state::stopped;
    bool again = false; // its next start is a restart
    bool dead = false;  // its exit is deferred
    bool killed = false;
    bool adding = false;   // its first start: not kept when that does not succeed
    bool asked = false;    // a request waits for it to start or stop
    bool removing = false; // forget it when it has stopped
  };
  using position = std::uint64_t; // left to right; grows, never reused; 0 is nobody's
  using children = std::map<position, child>;
  /// What goes on with several children: stop from the right end down to `from`, wait, start from `from` on.
  struct operation {
    enum kind_type { none, boot, restart, end } kind = none;
    enum step_type { stopping, waiting, starting } step = stopping;
    position from = 0;
    position cursor = 0; // stopping: all to its right are gone; starting: all to its left are up
    std::uint64_t timer = 0;
    microseconds wait{0};
    end_reason reason = end_reason::shutdown;
    std::string text;
  };
  struct exit_input {
    std::string id;
    std::int64_t incarnation = 0;
    exit_kind kind = exit_kind::crash;
    std::string reason;
    bool counts = true;
    moment when;
  };
  struct request_input {
    enum kind_type { terminate, restart, remove, add } kind = terminate;
    std::string id;
    std::shared_ptr<const child_spec> spec; // of what is added
  };

  child* find(const std::string& id, std::int64_t incarnation, position* at = nullptr);
  bool append(std::string id, const std::shared_ptr<const child_spec>& spec);
  void tell_gone(position at, const child& c);
  void forget(position at);
  bool disturbs() const;
  void launch(child& c, supervision_commands& out);
  void ask_to_stop(position at, child& c, supervision_commands& out);
  void start_failed(position at, const std::string& reason, const moment& m, supervision_commands& out);
  void has_stopped(position at, exit_kind kind, const std::string& reason, supervision_commands& out);
  void handle_exit(position at, const exit_input& x, supervision_commands& out);
  void handle_request(const request_input& r, supervision_commands& out);
  supervision_commands request(request_input r, const moment& m);
  void restart(position at, const std::string& reason, bool counts, bool ran, const moment& m, supervision_commands& out);
  void end_with_significant(const child_spec& gone, const std::string& id, supervision_commands& out);
  void begin_end(end_reason reason, std::string text, supervision_commands& out);
  bool stop_step(supervision_commands& out);
  bool start_step(supervision_commands& out);
  void go_on(supervision_commands& out);
  microseconds back_off(child& c, bool ran, const moment& m) const;
  std::uint64_t new_timer(position at, microseconds after, supervision_commands& out);

  supervisor_spec spec_;
  std::vector<gone_child> gone_;
  supervisor_phase phase_ = supervisor_phase::idle;
  restart_window window_;
  children children_;
  std::unordered_map<std::string_view, position> ids_; // the names stand in the children
  operation op_;
  std::deque<std::variant<exit_input, request_input>> deferred_; // what came while an operation must not be disturbed
  std::unordered_map<std::uint64_t, position> timers_;
  std::uint64_t last_timer_ = 0;
  position last_position_ = 0;
  position described_ = 0; ///< the last one of those that it was described with
  std::int64_t restarts_ = 0;
};

} // namespace troupe::policy
