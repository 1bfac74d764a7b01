#pragma once
// One connection to an MCP server, as a pure state machine of both eras of the protocol: what came in, and what is due, goes in; what is to
// be sent, and who is to be answered, comes out. Transports and clocks stand outside (mcp_server).
//
//   fresh --open--> discovering --DiscoverResult-------------------------------> listing --last page--> open
//                       | \--UnsupportedProtocolVersion: once more, or the older --^                      |  ^
//                       |    era by what the server names                         |                       v  | tools/list_changed
//                       \--any other error, or silence--> initializing --result--> greeting --/         relisting
//   any --garbage, a missed ping, lost, no version in common--> broken: every call is answered
//
// A server may hang while its streams stay open. Over standard streams it is pinged half-way through a call's time, every `ping` while
// calls are in flight, and at once when a call ends that it has not answered (its time is up, or nobody wants it any more). After such an
// end it is suspected until it says something: it gets no calls.
//   open --a call ended unanswered: a ping goes out--> suspected --any word--> open
//                                                        \--none within `ping`--> broken
// So a tool that is slow on a server that answers costs one ping, and calls that wait meanwhile surely did not run.
//
// 2026-07-28 is stateless: each request says version, client and capabilities in `_meta`, and HTTP repeats them in headers. Up to
// 2025-11-25 a handshake (`initialize`) says so once. Rules: the specification's pages on versioning, transports, cancellation and MRTR.
// Invariants: a call is answered exactly once; no id is used twice; a call's end by time or by wish touches no other call.

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "troupe/model/tool.hpp"
#include "troupe/tools/mcp_message.hpp"
#include "troupe/tools/mcp_tool.hpp"
#include "troupe/util/time_point.hpp"

namespace troupe::tools {

inline constexpr const char* mcp_modern_version = "2026-07-28";
/// Those that begin with a handshake, newest first.
inline constexpr const char* mcp_legacy_versions[] = {"2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"};

using header_list = std::vector<std::pair<std::string, std::string>>;
using std::chrono::milliseconds;

struct mcp_session_options {
  std::string server; ///< the entry's name, for words
  bool http = false;
  std::string protocol;               ///< the only version that is spoken; empty: the newest that both know
  bool answer_with_defaults = false;  ///< elicitation: accepted with the server's own defaults; else declined
  milliseconds open_timeout{30'000};  ///< for all that is asked until it has told its tools; later for each list of them
  milliseconds probe_timeout{10'000}; ///< silence after server/discover that means: an older server (stdio); at most half of open_timeout
  milliseconds ping{30'000};          ///< of stdio: its pause while calls are in flight, and the time for a word after it; 0: none
  std::size_t output_bytes = std::size_t{1} << 20;
};

/// One call of one of its tools.
struct mcp_call {
  std::uint64_t id = 0; ///< the caller's
  std::string tool;     ///< the server's name
  json arguments;
  std::string idempotency_key;
  milliseconds timeout{30'000};
};

// --- what comes out ------------------------------------------------------------------------------------------------

/// To be sent. `id` 0: what becomes of it is told to nobody (a notification, an answer). A notification with an id: `taken` is told.
struct mcp_send {
  std::int64_t id = 0;
  json message;
  header_list headers;     ///< of HTTP
  bool stays_open = false; ///< its answer is a stream that lasts
};
/// HTTP: nothing more of this request is wanted; its response is closed.
struct mcp_drop {
  std::int64_t id = 0;
};
/// The server has told its tools: `tools()`. Also when it told them anew.
struct mcp_listed {};
/// The server has said something after all: it takes calls again.
struct mcp_ready {};
/// HTTP, handshake era: the session stands, and the server may say something by itself (changes, questions): a stream for that may be
/// opened.
struct mcp_greeted {};
/// This call surely did not run, since its session was forgotten: it is to be given to a new one.
struct mcp_again {
  mcp_call call;
};
/// The server forgot the session (HTTP): a new connection is needed; what is in flight on this one still gets its answers.
struct mcp_expired {};
/// The connection is of no use any more. All its calls have been answered.
struct mcp_broken {
  error why;
};
struct mcp_answer {
  std::uint64_t call = 0;
  tool_outcome outcome;
};
using mcp_action = std::variant<mcp_send, mcp_drop, mcp_listed, mcp_ready, mcp_greeted, mcp_again, mcp_expired, mcp_broken, mcp_answer>;
using mcp_actions = std::vector<mcp_action>;

/// Why HTTP brought no JSON-RPC answer to a request.
struct mcp_http_failure {
  int status = 0;            ///< 0: none was read
  std::string body;          ///< its first bytes
  std::string words;         ///< for people
  bool sent = true;          ///< the server may have acted
  bool needs_login = false;  ///< 401, or 403 for its scope
  bool session_gone = false; ///< 404 to a request of a session
};

/// One thread only. Times never go back.
class mcp_session {
public:
  explicit mcp_session(mcp_session_options options);

  mcp_actions open(time_point now);
  mcp_actions receive(mcp_message message, time_point now);
  /// What came is no message: the connection cannot be trusted any more.
  mcp_actions garbage(const std::string& what);
  /// HTTP only: the server has taken this notification (202).
  mcp_actions taken(std::int64_t id, time_point now);
  /// HTTP only: of one request.
  mcp_actions request_failed(std::int64_t id, const mcp_http_failure& failure, time_point now);
  /// The transport is gone. `sent`: what was in flight may have run.
  mcp_actions lost(const error& why);

  /// Only while `takes_calls()`.
  mcp_actions call(mcp_call wanted, time_point now);
  mcp_actions cancel(std::uint64_t call, time_point now);
  mcp_actions tick(time_point now);
  /// When `tick` is due.
  std::optional<time_point> next_tick() const;

  bool is_open() const { return phase_ == phase::open; }
  /// Open, and not suspected to hang.
  bool takes_calls() const { return is_open() && !suspected_; }
  bool is_broken() const { return phase_ == phase::broken; }
  bool modern() const { return modern_; }
  const std::string& version() const { return version_; }
  const std::vector<mcp_tool>& tools() const { return tools_; }
  /// What the server offers and we do not take, with the reasons.
  const std::vector<std::string>& refused_tools() const { return refused_; }
  const std::string& instructions() const { return instructions_; }
  std::size_t calls_in_flight() const { return calls_.size(); }

private:
  enum class phase { fresh, discovering, initializing, greeting, listing, open, broken };
  enum class purpose { discover, initialize, greet, list, listen, ping, call };
  struct pending {
    purpose what = purpose::call;
    std::uint64_t call = 0;
    std::optional<time_point> until;
  };
  struct running {
    mcp_call wanted;
    time_point until;
    std::int64_t request = 0;
    int rounds = 0; ///< of input that the server asked for
    std::string progress;
  };

  std::int64_t request(mcp_actions& out, purpose what, std::string_view method, json params, std::optional<time_point> until,
                       std::uint64_t call = 0);
  header_list headers_of(std::string_view method, const json& params) const;
  json meta() const;
  json capabilities() const;
  void discover(mcp_actions& out, time_point now);
  void initialize(mcp_actions& out, const std::string& version, time_point now);
  void list(mcp_actions& out, const std::string& cursor, time_point now);
  time_point answer_due(time_point now) const;
  void discovered(mcp_actions& out, const json& result, time_point now);
  void discover_failed(mcp_actions& out, std::int64_t code, const json& data, const std::string& words, time_point now);
  void choose_version(mcp_actions& out, const json& supported, time_point now);
  void initialized(mcp_actions& out, const json& result, time_point now);
  void greeted(mcp_actions& out, time_point now);
  void listed(mcp_actions& out, const json& result, time_point now);
  void open_now(mcp_actions& out);
  void listen(mcp_actions& out);
  void answered(mcp_actions& out, std::int64_t id, mcp_message& message, time_point now);
  void call_answered(mcp_actions& out, std::uint64_t call, mcp_message& message);
  void input_required(mcp_actions& out, running& which, const json& result);
  void send_call(mcp_actions& out, running& which, const json& more);
  void asked(mcp_actions& out, const mcp_message& message);
  void noticed(mcp_actions& out, const mcp_message& message, time_point now);
  void end_call(mcp_actions& out, std::uint64_t call, tool_outcome outcome);
  void abandon_call(mcp_actions& out, std::uint64_t call, tool_outcome outcome, const char* reason, time_point now);
  void ping(mcp_actions& out, time_point now);
  void heard(mcp_actions& out);
  void breaks(mcp_actions& out, error why);
  json elicited(const json& params) const;
  const mcp_tool* tool_named(const std::string& name) const;
  std::string who() const;

  mcp_session_options options_;
  phase phase_ = phase::fresh;
  bool modern_ = true;
  std::string version_;
  std::set<std::string> tried_versions_;
  bool offers_tools_ = true;
  bool tells_changes_ = false;
  bool relist_ = false; ///< a change was told while the list was on its way
  std::int64_t next_id_ = 1;
  std::map<std::int64_t, pending> pending_;
  time_point open_until_{};
  std::map<std::uint64_t, running> calls_;
  std::vector<mcp_tool> tools_, coming_;
  std::vector<std::string> refused_, coming_refused_;
  std::set<std::string> cursors_;
  std::string instructions_;
  std::optional<time_point> listen_at_; ///< when the stream of changes is opened again
  milliseconds listen_pause_{5'000};
  std::optional<time_point> ping_at_;  ///< the next one, while calls are in flight
  std::optional<std::int64_t> pinged_; ///< the ping since which nothing came
  bool suspected_ = false;
};

} // namespace troupe::tools
