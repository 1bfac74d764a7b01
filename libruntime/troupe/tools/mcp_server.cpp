#include "troupe/tools/mcp_server.hpp"

#include <random>
#include <set>
#include <unordered_map>
#include <utility>

#include <boost/asio/steady_timer.hpp>
#include <spdlog/spdlog.h>

#include "troupe/policy/backoff.hpp"
#include "troupe/policy/restart_window.hpp"
#include "troupe/schema/canonical_json.hpp"
#include "troupe/tools/io_loop.hpp"
#include "troupe/tools/mcp_digest.hpp"
#include "troupe/util/redact.hpp"
#include "troupe/util/suggest.hpp"

namespace troupe::tools {

namespace {

using clock = std::chrono::steady_clock;
constexpr std::chrono::seconds restart_span{60};
constexpr retry_spec restart_backoff{.attempts = 1'000, .base = milliseconds{100}, .cap = milliseconds{5'000}};

mcp_session_options options_of(const tool_spec& spec) {
  mcp_session_options out;
  out.server = spec.name;
  out.http = spec.command.empty();
  out.protocol = spec.mcp.protocol;
  out.answer_with_defaults = spec.mcp.elicitation == "defaults";
  out.open_timeout = spec.mcp.start_timeout;
  out.ping = spec.mcp.ping;
  out.output_bytes = static_cast<std::size_t>(std::max<std::int64_t>(1, spec.limits.output_bytes));
  return out;
}

tool_outcome outcome(tool_status status, std::string words) {
  tool_outcome out;
  out.status = status;
  out.error = std::move(words);
  return out;
}

} // namespace

std::string mcp_fingerprint(const mcp_tool& tool) {
  return sha256_hex(schema::canonical_json(tool.definition()));
}

/// All of it is the loop's thread's.
struct mcp_server::impl : std::enable_shared_from_this<mcp_server::impl> {
  /// A session with its transport. One is current; others only wait for answers that are still to come.
  struct connection {
    explicit connection(mcp_session_options options) : session(std::move(options)) {}
    mcp_session session;
    std::shared_ptr<mcp_transport> transport;
  };
  using connection_ptr = std::shared_ptr<connection>;

  struct asked {
    mcp_call wanted;
    on_outcome done;
    time_point until;
    connection_ptr on; ///< null: it waits
  };

  impl(const tool_spec& of, environment& with, std::shared_ptr<mcp_authorizer> by)
      : spec(of), shared(with), authorizer(std::move(by)), timer(with.loop.context()), window(of.mcp.max_restarts, restart_span) {}

  tool_spec spec;
  environment& shared;
  std::shared_ptr<mcp_authorizer> authorizer;
  boost::asio::steady_timer timer;
  policy::restart_window window;
  std::mt19937_64 dice{std::random_device{}()};
  std::int64_t failures = 0; ///< in a row
  std::function<void(expected<mcp_listing>)> on_opened;
  connection_ptr current;
  std::set<connection_ptr> draining;
  std::unordered_map<running_id, asked> calls;
  std::optional<time_point> open_at; ///< the pause before it is opened again
  std::optional<error> given_up;     ///< why it is not
  time_point given_up_until{};
  std::map<std::string, std::string> approved;
  std::map<std::string, std::string> offered; ///< fingerprints, as the server tells its tools now
  bool ever_open = false;
  bool closing = false;
  std::uint64_t entry = 0;

  std::string who() const { return "MCP server " + in_quotes(spec.name); }

  void connect() {
    open_at.reset();
    given_up.reset();
    auto made = std::make_shared<connection>(options_of(spec));
    const std::weak_ptr<impl> weak = weak_from_this();
    const std::weak_ptr<connection> which = made;
    const auto on = [weak, which](auto handle) {
      return [weak, which, handle](auto&&... of) {
        const auto self = weak.lock();
        const auto from = which.lock();
        if (self && from)
          self->perform(from, handle(from->session, std::forward<decltype(of)>(of)...));
      };
    };
    mcp_transport_events events;
    events.on_message = on([](mcp_session& s, mcp_message message) { return s.receive(std::move(message), clock::now()); });
    events.on_garbage = on([](mcp_session& s, const std::string& what) { return s.garbage(what); });
    events.on_taken = on([](mcp_session& s, std::int64_t id) { return s.taken(id, clock::now()); });
    events.on_failed =
        on([](mcp_session& s, std::int64_t id, const mcp_http_failure& failure) { return s.request_failed(id, failure, clock::now()); });
    events.on_lost = on([](mcp_session& s, const error& why) { return s.lost(why); });
    auto transport = spec.command.empty() ? open_mcp_http(spec, shared, authorizer, std::move(events))
                                          : start_mcp_process(spec, shared, std::move(events));
    current = made;
    if (!transport) {
      perform(made, made->session.lost(transport.error()));
      return;
    }
    made->transport = std::move(*transport);
    perform(made, made->session.open(clock::now()));
  }

  void perform(connection_ptr on, mcp_actions actions) { // a copy: what it does may replace the current one
    for (auto& action : actions)
      std::visit([&](auto& each) { act(on, each); }, action);
    if (draining.count(on) > 0 && on->session.calls_in_flight() == 0)
      retire(on);
    set_timer();
  }

  void act(const connection_ptr& on, mcp_send& what) { on->transport->send(std::move(what)); }
  void act(const connection_ptr& on, mcp_drop& what) { on->transport->drop(what.id); }
  void act(const connection_ptr& on, mcp_greeted&) { on->transport->follow(); }

  void act(const connection_ptr& on, mcp_ready&) {
    if (on == current)
      give_waiting();
  }

  void act(const connection_ptr&, mcp_answer& what) {
    const auto found = calls.find(what.call);
    if (found == calls.end())
      return;
    const auto done = std::move(found->second.done);
    calls.erase(found);
    done(std::move(what.outcome));
  }

  void act(const connection_ptr&, mcp_again& what) {
    if (const auto found = calls.find(what.call.id); found != calls.end()) {
      found->second.wanted = std::move(what.call);
      found->second.on = nullptr;
    }
  }

  void act(const connection_ptr& on, mcp_expired&) {
    if (on != current)
      return;
    spdlog::info("{}: its session expired, another one is opened", who());
    draining.insert(on);
    current = nullptr;
    if (window.add(clock::now()))
      connect();
    else
      give_up({error_code::unavailable, who() + " forgets its sessions as fast as they are made", {}});
  }

  void act(const connection_ptr& on, mcp_listed&) {
    if (on != current)
      return;
    failures = 0;
    ever_open = true;
    offered.clear();
    for (const auto& tool : on->session.tools())
      offered.emplace(tool.name, mcp_fingerprint(tool));
    for (const auto& why : on->session.refused_tools())
      spdlog::warn("{}: not offered: {}", who(), redacted(why));
    if (const auto told = std::exchange(on_opened, nullptr))
      told(mcp_listing{on->session.version(), on->session.tools(), on->session.refused_tools()});
    for (const auto& [name, digest] : approved)
      if (const auto now = offered.find(name); now == offered.end())
        spdlog::warn("{}: it does not offer {} any more", who(), in_quotes(name));
      else if (now->second != digest)
        spdlog::warn("{}: {} is held: {}", who(), in_quotes(name), held_advice());
    give_waiting();
  }

  void act(const connection_ptr& on, mcp_broken& what) {
    retire(on);
    if (on != current)
      return;
    current = nullptr;
    if (const auto told = std::exchange(on_opened, nullptr)) {
      closing = true; // the first opening decides whether there is such a server
      told(tl::unexpected(what.why));
      leave();
      return;
    }
    if (closing)
      return;
    const auto now = clock::now();
    if (window.add(now)) {
      const auto wait = policy::backoff_wait(restart_backoff, failures++, std::uniform_real_distribution<double>(0, 1)(dice));
      spdlog::warn("{}; it is opened again", redacted(what.why.message));
      open_at = now + wait;
      return;
    }
    give_up(what.why);
  }

  void give_up(const error& why) {
    if (const auto told = std::exchange(on_opened, nullptr)) {
      closing = true; // the first opening decides whether there is such a server
      told(tl::unexpected(why));
      leave();
      return;
    }
    spdlog::error("{}; it broke more than {} times within {} s and is left alone for as long", redacted(why.message), spec.mcp.max_restarts,
                  restart_span.count());
    given_up = why;
    given_up_until = clock::now() + restart_span;
    fail_waiting();
  }

  void retire(const connection_ptr& which) {
    draining.erase(which);
    if (which->transport)
      which->transport->close(false, [keep = which] {});
  }

  // --- calls -------------------------------------------------------------------------------------------------------

  std::string held_advice() const {
    return "its description or schema is not the one that was approved; a human looks at it with `troupe mcp tools CONFIG " + spec.name
           + "` and lets it in with `troupe mcp approve CONFIG " + spec.name + "`";
  }

  void take(running_id id, asked call) {
    if (closing) {
      call.done(outcome(tool_status::cancelled, who() + " is being closed"));
      return;
    }
    if (given_up && clock::now() >= given_up_until)
      connect();
    calls.emplace(id, std::move(call));
    if (given_up)
      fail_waiting();
    else
      give_waiting();
    set_timer();
  }

  void fail_waiting() {
    std::vector<running_id> ids;
    for (const auto& [id, call] : calls)
      if (!call.on)
        ids.push_back(id);
    for (const auto id : ids)
      finish(id, outcome(tool_status::not_started, given_up->message + "; it broke too often and is left alone for a minute"));
  }

  void give_waiting() {
    if (!current || !current->session.takes_calls())
      return;
    std::vector<running_id> ids;
    for (const auto& [id, call] : calls)
      if (!call.on)
        ids.push_back(id);
    for (const auto id : ids)
      give(id);
  }

  void give(running_id id) {
    const auto found = calls.find(id);
    if (found == calls.end() || !current || !current->session.takes_calls())
      return;
    auto& call = found->second;
    const auto now = offered.find(call.wanted.tool);
    const auto then = approved.find(call.wanted.tool);
    if (now == offered.end()) {
      finish(id, outcome(tool_status::failed, who() + " does not offer " + in_quotes(call.wanted.tool) + " any more"));
      return;
    }
    if (then == approved.end() || now->second != then->second) {
      finish(id, outcome(tool_status::failed, "it was not called, for it is held: " + held_advice()));
      return;
    }
    auto wanted = call.wanted;
    wanted.timeout = std::max(milliseconds{1}, std::chrono::duration_cast<milliseconds>(call.until - clock::now()));
    call.on = current;
    perform(current, current->session.call(std::move(wanted), clock::now()));
  }

  void finish(running_id id, tool_outcome with) {
    if (auto node = calls.extract(id); !node.empty())
      node.mapped().done(std::move(with));
  }

  void cancel(running_id id) {
    const auto found = calls.find(id);
    if (found == calls.end())
      return;
    if (const auto on = found->second.on)
      perform(on, on->session.cancel(id, clock::now()));
    else
      finish(id, outcome(tool_status::cancelled, "it was cancelled"));
  }

  // --- time --------------------------------------------------------------------------------------------------------

  void set_timer() {
    std::optional<time_point> next = open_at;
    const auto sooner = [&](std::optional<time_point> at) {
      if (at && (!next || *at < *next))
        next = at;
    };
    if (current)
      sooner(current->session.next_tick());
    for (const auto& each : draining)
      sooner(each->session.next_tick());
    for (const auto& [id, call] : calls)
      if (!call.on)
        sooner(call.until);
    if (!next) {
      timer.cancel();
      return;
    }
    timer.expires_at(*next);
    timer.async_wait([weak = weak_from_this()](boost::system::error_code failed) {
      if (const auto self = weak.lock(); self && !failed)
        self->tick();
    });
  }

  void tick() {
    const auto now = clock::now();
    auto connections = std::vector<connection_ptr>(draining.begin(), draining.end());
    if (current)
      connections.push_back(current);
    for (const auto& each : connections)
      perform(each, each->session.tick(now));
    std::vector<running_id> late;
    for (const auto& [id, call] : calls)
      if (!call.on && call.until <= now)
        late.push_back(id);
    const bool silent = current && current->session.is_open();
    for (const auto id : late)
      finish(id,
             outcome(tool_status::not_started, who()
                                                   + (silent ? " answered neither an earlier call nor a ping, and this call waited for that"
                                                             : " was being opened and did not answer in time")));
    if (open_at && *open_at <= now && !closing)
      connect();
    set_timer();
  }

  // --- end ---------------------------------------------------------------------------------------------------------

  void leave() {
    if (const auto mine = std::exchange(entry, 0); mine != 0)
      shared.loop.leave(mine);
  }

  void close(bool gently, const std::function<void()>& closed) {
    closing = true;
    timer.cancel();
    open_at.reset();
    auto gone = std::exchange(calls, {});
    for (auto& [id, call] : gone)
      call.done(outcome(tool_status::cancelled, who() + " is being closed"));
    for (const auto& each : std::set(draining))
      retire(each);
    const auto last = std::exchange(current, nullptr);
    const auto end = [self = shared_from_this(), closed] {
      self->leave();
      if (closed)
        closed();
    };
    if (last && last->transport)
      last->transport->close(gently, [last, end] { end(); });
    else
      end();
  }
};

mcp_server::mcp_server(const tool_spec& spec, environment& shared, std::shared_ptr<mcp_authorizer> authorizer)
    : name_(spec.name), impl_(std::make_shared<impl>(spec, shared, std::move(authorizer))) {}

mcp_server::~mcp_server() {
  if (closed_)
    return; // the loop may be gone already
  impl_->shared.loop.post([self = impl_] {
    if (!self->closing)
      self->close(false, {});
  });
}

void mcp_server::open(std::function<void(expected<mcp_listing>)> opened) {
  impl_->shared.loop.post([self = impl_, opened = std::move(opened)]() mutable {
    self->on_opened = std::move(opened);
    self->entry = self->shared.loop.enter([weak = std::weak_ptr(self)] {
      if (const auto still = weak.lock())
        still->close(false, {});
    });
    self->connect();
  });
}

void mcp_server::approve(std::map<std::string, std::string> digests) {
  impl_->shared.loop.post([self = impl_, digests = std::move(digests)]() mutable { self->approved = std::move(digests); });
}

running_id mcp_server::call(std::string tool, invocation wanted, on_outcome done) {
  const auto id = next_.fetch_add(1, std::memory_order_relaxed);
  mcp_call call{id, std::move(tool), std::move(wanted.arguments), std::move(wanted.idempotency_key), wanted.timeout};
  const auto until = clock::now() + std::min(wanted.timeout, milliseconds(std::chrono::hours(24 * 365)));
  impl_->shared.loop.post(
      [self = impl_, id, item = std::make_shared<impl::asked>(impl::asked{std::move(call), std::move(done), until, nullptr})] {
        self->take(id, std::move(*item));
      });
  return id;
}

void mcp_server::cancel(running_id id) {
  impl_->shared.loop.post([self = impl_, id] { self->cancel(id); });
}

void mcp_server::close(std::function<void()> closed) {
  closed_ = true;
  impl_->shared.loop.post([self = impl_, closed = std::move(closed)] {
    if (self->closing && !self->current) {
      if (closed)
        closed();
      return;
    }
    self->close(true, closed);
  });
}

} // namespace troupe::tools
