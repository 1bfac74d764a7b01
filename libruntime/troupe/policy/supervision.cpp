#include "troupe/policy/supervision.hpp"

#include <algorithm>
#include <set>

#include "troupe/model/described.hpp"
#include "troupe/util/assert.hpp"

namespace troupe::policy {

namespace {

constexpr microseconds first_back_off{100'000};
constexpr int max_depth = 32;
constexpr std::int64_t max_members = 100'000;

bool has_members(const child_spec& c) {
  return c.kind == child_kind::pool || c.size > 1;
}

void validate(const supervisor_spec& spec, const std::string& where, int depth, std::vector<error>& out) {
  auto wrong = [&](const std::string& at, std::string message) { out.push_back({error_code::invalid_argument, std::move(message), at}); };
  if (depth > max_depth)
    return wrong(where, "supervisors are nested deeper than " + std::to_string(max_depth));
  if (spec.max_restarts < 0)
    wrong(where, "max_restarts is " + std::to_string(spec.max_restarts) + "; it must not be negative");
  if (spec.within.count() <= 0)
    wrong(where, "within is " + std::to_string(spec.within.count()) + " ms; it must be more than nothing");
  std::set<std::string> ids;
  for (const auto& c : spec.children) {
    const auto at = where + "/" + c.id;
    if (c.id.empty())
      wrong(at, "a child without a name");
    if (c.size < 1 || c.size > max_members) {
      wrong(at, "size is " + std::to_string(c.size) + "; it must be from 1 to " + std::to_string(max_members));
      continue;
    }
    for (std::int64_t i = 1; i <= c.size; ++i)
      if (const auto id = has_members(c) ? c.id + "/" + std::to_string(i) : c.id; !ids.insert(id).second) {
        wrong(at, "two children have the name \"" + id + "\"");
        break;
      }
    if (c.shutdown.time.count() < 0)
      wrong(at, "shutdown is " + std::to_string(c.shutdown.time.count()) + " ms; it must not be negative");
    if (c.significant && spec.auto_shutdown == auto_shutdown_type::never)
      wrong(at, "a significant child needs auto_shutdown: any_significant or all_significant");
    if (c.significant && c.restart == restart_type::permanent)
      wrong(at, "a significant child cannot be permanent: it would always be restarted; make it transient or temporary");
    if ((c.kind == child_kind::supervisor) != (c.supervisor.size() == 1))
      wrong(at, "a child that is a supervisor has exactly one description of it, any other has none");
    if (c.kind == child_kind::supervisor && c.size != 1)
      wrong(at, "a supervisor has no size");
    for (const auto& inner : c.supervisor)
      validate(inner, at, depth + 1, out);
  }
}

} // namespace

std::vector<error> validate(const supervisor_spec& spec) {
  std::vector<error> out;
  validate(spec, spec.name, 1, out);
  return out;
}

std::vector<std::string> member_ids(const child_spec& spec) {
  std::vector<std::string> ids;
  if (!has_members(spec))
    return {spec.id};
  for (std::int64_t i = 1; i <= spec.size; ++i)
    ids.push_back(spec.id + "/" + std::to_string(i));
  return ids;
}

supervision::supervision(supervisor_spec spec) : spec_(std::move(spec)), window_(spec_.max_restarts, spec_.within) {
  for (const auto& c : spec_.children)
    TROUPE_ASSERT(append(c.id, std::make_shared<const child_spec>(c)));
  described_ = last_position_;
}

// --- children ------------------------------------------------------------------------------------------------------

/// False: one of the names is taken.
bool supervision::append(std::string id, const std::shared_ptr<const child_spec>& spec) {
  auto names = id == spec->id ? member_ids(*spec) : std::vector<std::string>{std::move(id)};
  for (const auto& name : names)
    if (ids_.count(name) != 0)
      return false;
  for (auto& name : names) {
    const auto at = ++last_position_;
    auto& c = children_.emplace_hint(children_.end(), at, child{})->second;
    c.id = std::move(name);
    c.spec = spec;
    ids_.emplace(c.id, at);
  }
  return true;
}

/// The child, where this incarnation of it is alive as far as is known.
supervision::child* supervision::find(const std::string& id, std::int64_t incarnation, position* at) {
  auto it = ids_.find(id);
  if (it == ids_.end())
    return nullptr;
  auto& c = children_.at(it->second);
  if (c.incarnation != incarnation || c.state == child_state::stopped || c.state == child_state::restarting)
    return nullptr;
  if (at)
    *at = it->second;
  return &c;
}

/// It does not come back. While all end that is not for this supervisor to say.
void supervision::tell_gone(position at, const child& c) {
  if (op_.kind != operation::end || at > described_)
    gone_.push_back({c.id, c.spec});
}

void supervision::forget(position at) {
  auto it = children_.find(at);
  ids_.erase(it->second.id);
  children_.erase(it);
}

void supervision::launch(child& c, supervision_commands& out) {
  c.state = child_state::starting;
  c.timer = 0;
  c.dead = c.killed = false;
  out.push_back(start_child{c.id, ++c.incarnation, c.spec.get()});
}

void supervision::ask_to_stop(position at, child& c, supervision_commands& out) {
  const auto& how = c.spec->shutdown;
  c.state = child_state::stopping;
  c.killed = how.brutal_kill;
  c.timer = 0;
  if (how.brutal_kill) {
    out.push_back(kill_child{c.id, c.incarnation});
    return;
  }
  out.push_back(stop_child{c.id, c.incarnation});
  if (!how.infinity)
    c.timer = new_timer(at, how.time, out);
}

std::uint64_t supervision::new_timer(position at, microseconds after, supervision_commands& out) {
  timers_.emplace(++last_timer_, at);
  out.push_back(start_timer{last_timer_, after});
  return last_timer_;
}

microseconds supervision::backoff_cap() const {
  return microseconds(spec_.within) / (2 * std::max<std::int64_t>(1, spec_.max_restarts));
}

microseconds supervision::back_off(child& c, bool ran, const moment& m) const {
  if (ran && m.now - c.since >= spec_.within)
    c.in_a_row = 0;
  const auto upper = std::min(first_back_off * (std::int64_t{1} << std::min(c.in_a_row, 20)), backoff_cap());
  c.in_a_row = std::min(c.in_a_row + 1, 1000);
  return microseconds(static_cast<std::int64_t>(static_cast<double>(upper.count()) * m.random));
}

// --- inputs --------------------------------------------------------------------------------------------------------

supervision_commands supervision::start(const moment&) {
  supervision_commands out;
  if (phase_ != supervisor_phase::idle)
    return out;
  phase_ = supervisor_phase::booting;
  op_ = {};
  op_.kind = operation::boot;
  op_.step = operation::starting;
  go_on(out);
  return out;
}

supervision_commands supervision::stop(const moment&) {
  supervision_commands out;
  if (phase_ != supervisor_phase::stopping && phase_ != supervisor_phase::ended)
    begin_end(end_reason::shutdown, {}, out);
  return out;
}

supervision_commands supervision::child_started(const std::string& id, std::int64_t incarnation, const moment& m) {
  supervision_commands out;
  auto* c = find(id, incarnation);
  if (!c || c->state != child_state::starting)
    return out;
  c->state = child_state::running;
  c->since = m.now;
  if (std::exchange(c->again, false))
    out.push_back(child_restarted{id, ++c->restarts, c->waited});
  c->adding = false;
  if (std::exchange(c->asked, false))
    out.push_back(request_done{id, {}});
  go_on(out);
  return out;
}

supervision_commands supervision::child_start_failed(const std::string& id, std::int64_t incarnation, const std::string& reason,
                                                     const moment& m) {
  supervision_commands out;
  position at = 0;
  auto* c = find(id, incarnation, &at);
  if (!c)
    return out;
  if (c->state == child_state::starting)
    start_failed(at, reason, m, out);
  else if (c->state == child_state::stopping)
    has_stopped(at, exit_kind::shutdown, reason, out);
  go_on(out);
  return out;
}

supervision_commands supervision::child_exited(const std::string& id, std::int64_t incarnation, exit_kind kind, const std::string& reason,
                                               const moment& m, bool counts) {
  supervision_commands out;
  position at = 0;
  auto* c = find(id, incarnation, &at);
  if (!c)
    return out;
  if (c->state == child_state::stopping) {
    has_stopped(at, kind, reason, out);
  } else if (c->state == child_state::starting) {
    start_failed(at, reason, m, out);
  } else if (op_.kind != operation::none && op_.step == operation::stopping && at >= op_.from) {
    // It would have been stopped anyway: no restart of its own.
    if (kind == exit_kind::crash)
      out.push_back(supervisor_report{supervisor_report::child_terminated, id, reason});
    c->state = child_state::stopped;
    if (c->spec->restart == restart_type::temporary) {
      tell_gone(at, *c);
      forget(at);
    }
  } else if (disturbs()) {
    c->dead = true;
    c->state = child_state::restarting;
    deferred_.push_back(exit_input{id, incarnation, kind, reason, counts, m});
  } else {
    handle_exit(at, {id, incarnation, kind, reason, counts, m}, out);
  }
  go_on(out);
  return out;
}

supervision_commands supervision::timer_fired(std::uint64_t timer, const moment&) {
  supervision_commands out;
  auto it = timers_.find(timer);
  if (it == timers_.end())
    return out;
  const auto at = it->second;
  timers_.erase(it);
  if (at == 0) {
    if (op_.kind == operation::restart && op_.step == operation::waiting && op_.timer == timer) {
      op_.step = operation::starting;
      op_.cursor = op_.from;
      go_on(out);
    }
    return out;
  }
  auto found = children_.find(at);
  if (found == children_.end() || found->second.timer != timer)
    return out;
  auto& c = found->second;
  if (c.state == child_state::restarting) {
    launch(c, out);
  } else if (c.state == child_state::stopping) {
    c.killed = true;
    out.push_back(kill_child{c.id, c.incarnation});
  }
  return out;
}

// --- decisions -----------------------------------------------------------------------------------------------------

/// Whether several children are being started or stopped, which exits of others must not disturb.
bool supervision::disturbs() const {
  return op_.kind != operation::none && op_.step != operation::waiting;
}

/// A child that was told to stop is gone.
void supervision::has_stopped(position at, exit_kind kind, const std::string& reason, supervision_commands& out) {
  auto& c = children_.at(at);
  const auto& spec = *c.spec;
  if (c.killed && !spec.shutdown.brutal_kill)
    out.push_back(supervisor_report{supervisor_report::shutdown_error, c.id,
                                    "killed: it did not stop within " + std::to_string(spec.shutdown.time.count()) + " ms"});
  else if (!c.killed && (kind == exit_kind::crash || (kind == exit_kind::normal && spec.restart == restart_type::permanent)))
    out.push_back(supervisor_report{supervisor_report::shutdown_error, c.id, reason});
  c.state = child_state::stopped;
  c.timer = 0;
  c.killed = false;
  const bool on_request = std::exchange(c.asked, false) && !c.adding;
  if (on_request)
    out.push_back(request_done{c.id, {}});
  const bool forgotten = c.removing || (spec.restart == restart_type::temporary && !c.adding);
  if (on_request || forgotten)
    tell_gone(at, c);
  if (forgotten)
    forget(at);
}

void supervision::handle_exit(position at, const exit_input& x, supervision_commands& out) {
  auto& c = children_.at(at);
  c.state = child_state::stopped;
  c.dead = false;
  const auto type = c.spec->restart;
  if (x.kind == exit_kind::crash || type == restart_type::permanent)
    out.push_back(supervisor_report{supervisor_report::child_terminated, c.id, x.reason});
  if (type == restart_type::permanent || (type == restart_type::transient && x.kind == exit_kind::crash))
    return restart(at, x.reason, x.counts, true, x.when, out);
  const auto spec = c.spec;
  gone_.push_back({c.id, spec});
  if (type == restart_type::temporary)
    forget(at);
  end_with_significant(*spec, x.id, out);
}

/// A start came to nothing: at boot, at run time on request, or while restarting.
void supervision::start_failed(position at, const std::string& reason, const moment& m, supervision_commands& out) {
  auto& c = children_.at(at);
  c.state = child_state::stopped;
  out.push_back(supervisor_report{supervisor_report::start_error, c.id, reason});
  if (phase_ == supervisor_phase::stopping)
    return;
  if (op_.kind == operation::boot)
    return begin_end(end_reason::boot_failed, "supervisor \"" + spec_.name + "\": child \"" + c.id + "\" did not start: " + reason, out);
  if (c.adding || (c.asked && !c.again)) {
    out.push_back(request_done{c.id, "child \"" + c.id + "\" did not start: " + reason});
    c.asked = false;
    if (c.adding)
      forget(at);
    return;
  }
  restart(at, reason, true, false, m, out);
}

void supervision::restart(position at, const std::string& reason, bool counts, bool ran, const moment& m, supervision_commands& out) {
  auto& c = children_.at(at);
  if (counts && !window_.add(m.now)) {
    out.push_back(supervisor_report{supervisor_report::intensity_reached, c.id, reason});
    return begin_end(end_reason::escalation,
                     "supervisor \"" + spec_.name + "\" gave up: child \"" + c.id + "\" would be restart number "
                         + std::to_string(spec_.max_restarts + 1) + " within " + std::to_string(spec_.within.count())
                         + " ms (max_restarts: " + std::to_string(spec_.max_restarts) + "); its last reason: " + reason,
                     out);
  }
  ++restarts_;
  const auto wait = back_off(c, ran, m);
  if (spec_.strategy == restart_strategy::one_for_one) {
    c.again = true;
    c.waited = wait;
    c.state = child_state::restarting;
    c.timer = new_timer(at, wait, out);
    return;
  }
  auto from = spec_.strategy == restart_strategy::one_for_all ? position{0} : at;
  if (op_.kind == operation::restart)
    from = std::min(from, op_.step == operation::waiting ? op_.from : from);
  op_ = {};
  op_.kind = operation::restart;
  op_.from = from;
  op_.cursor = last_position_;
  op_.wait = wait;
  for (auto it = children_.lower_bound(from); it != children_.end(); ++it) {
    it->second.again = true;
    it->second.waited = wait;
  }
}

/// A child has ended by itself and is not restarted.
void supervision::end_with_significant(const child_spec& gone, const std::string& id, supervision_commands& out) {
  if (!gone.significant || spec_.auto_shutdown == auto_shutdown_type::never)
    return;
  if (spec_.auto_shutdown == auto_shutdown_type::all_significant)
    for (const auto& [at, c] : children_)
      if (c.spec->significant && c.state != child_state::stopped)
        return;
  begin_end(end_reason::shutdown, "supervisor \"" + spec_.name + "\" ended with its significant child \"" + id + "\"", out);
}

void supervision::begin_end(end_reason reason, std::string text, supervision_commands& out) {
  phase_ = supervisor_phase::stopping;
  for (const auto& d : std::exchange(deferred_, {}))
    if (const auto* r = std::get_if<request_input>(&d))
      out.push_back(request_done{r->id, "supervisor \"" + spec_.name + "\" stops"});
  op_ = {};
  op_.kind = operation::end;
  op_.cursor = last_position_;
  op_.reason = reason;
  op_.text = std::move(text);
  go_on(out);
}

/// Stops the next one from the right; true when all are gone.
bool supervision::stop_step(supervision_commands& out) {
  auto it = children_.upper_bound(op_.cursor);
  while (it != children_.begin()) {
    --it;
    auto& [at, c] = *it;
    if (at < op_.from)
      return true;
    op_.cursor = at;
    switch (c.state) {
    case child_state::running:
    case child_state::starting:
      ask_to_stop(at, c, out);
      return false;
    case child_state::stopping:
      return false;
    case child_state::restarting:
      c.state = child_state::stopped;
      c.timer = 0;
      c.dead = false;
      break;
    case child_state::stopped:
      break;
    }
    if (c.spec->restart == restart_type::temporary && !c.adding) { // its exit was deferred
      const auto next = std::next(it);
      tell_gone(at, c);
      forget(at);
      it = next;
    }
  }
  return true;
}

/// Starts the next one from the left; true when all are up.
bool supervision::start_step(supervision_commands& out) {
  for (auto it = children_.lower_bound(std::max(op_.cursor, op_.from)); it != children_.end(); ++it) {
    auto& [at, c] = *it;
    op_.cursor = at;
    if (c.state == child_state::stopped)
      launch(c, out);
    if (c.state == child_state::starting || c.state == child_state::stopping)
      return false;
  }
  return true;
}

/// Does what can be done now: steps of the operation, then what was deferred.
void supervision::go_on(supervision_commands& out) {
  for (;;) {
    if (op_.kind == operation::none) {
      if (deferred_.empty())
        return;
      const auto next = std::move(deferred_.front());
      deferred_.pop_front();
      if (const auto* r = std::get_if<request_input>(&next)) {
        handle_request(*r, out);
      } else {
        const auto& x = std::get<exit_input>(next);
        auto it = ids_.find(x.id);
        if (it != ids_.end() && children_.at(it->second).dead && children_.at(it->second).incarnation == x.incarnation)
          handle_exit(it->second, x, out);
      }
      continue;
    }
    if (op_.step == operation::waiting || phase_ == supervisor_phase::ended)
      return;
    if (op_.step == operation::stopping) {
      if (!stop_step(out))
        return;
      if (op_.kind == operation::end) {
        phase_ = supervisor_phase::ended;
        out.push_back(end_supervisor{op_.reason, std::move(op_.text)});
        return;
      }
      op_.step = operation::waiting;
      op_.timer = new_timer(0, op_.wait, out);
      return;
    }
    if (!start_step(out))
      return;
    if (op_.kind == operation::boot) {
      phase_ = supervisor_phase::running;
      out.push_back(boot_finished{});
    }
    op_ = {};
  }
}

// --- requests ------------------------------------------------------------------------------------------------------

supervision_commands supervision::request(request_input r, const moment&) {
  supervision_commands out;
  if (phase_ != supervisor_phase::running && phase_ != supervisor_phase::booting)
    out.push_back(request_done{r.id, "supervisor \"" + spec_.name + "\" is " + name_of(phase_)});
  else if (op_.kind != operation::none)
    deferred_.push_back(std::move(r));
  else
    handle_request(r, out);
  go_on(out);
  return out;
}

supervision_commands supervision::add_child(child_spec spec, const moment& m) {
  const auto id = spec.id;
  return request({request_input::add, id, std::make_shared<const child_spec>(std::move(spec))}, m);
}

supervision_commands supervision::terminate_child(const std::string& id, const moment& m) {
  return request({request_input::terminate, id, nullptr}, m);
}

supervision_commands supervision::restart_child(const std::string& id, const moment& m) {
  return request({request_input::restart, id, nullptr}, m);
}

supervision_commands supervision::remove_child(const std::string& id, const moment& m) {
  return request({request_input::remove, id, nullptr}, m);
}

void supervision::handle_request(const request_input& r, supervision_commands& out) {
  auto done = [&](std::string why) { out.push_back(request_done{r.id, std::move(why)}); };
  if (r.kind == request_input::add) {
    supervisor_spec alone;
    alone.auto_shutdown = spec_.auto_shutdown;
    alone.children.push_back(*r.spec);
    if (const auto wrong = validate(alone); !wrong.empty())
      return done(wrong.front().message);
    const auto before = last_position_;
    if (!append(r.id, r.spec))
      return done("supervisor \"" + spec_.name + "\" has a child \"" + r.id + "\" already");
    for (auto it = children_.upper_bound(before); it != children_.end(); ++it) {
      it->second.adding = it->second.asked = true;
      launch(it->second, out);
    }
    return;
  }
  auto it = ids_.find(r.id);
  if (it == ids_.end())
    return done("supervisor \"" + spec_.name + "\" has no child \"" + r.id + "\"");
  const auto at = it->second;
  auto& c = children_.at(at);
  if (r.kind == request_input::restart) {
    if (c.state != child_state::stopped)
      return done("child \"" + r.id + "\" is " + name_of(c.state));
    c.asked = true;
    return launch(c, out);
  }
  if (c.state == child_state::stopping || c.adding)
    return done("child \"" + r.id + "\" is " + name_of(c.state));
  c.removing = r.kind == request_input::remove;
  c.again = c.dead = false;
  if (c.state == child_state::running || c.state == child_state::starting) {
    if (std::exchange(c.asked, true)) // it was being started on request
      out.push_back(request_done{c.id, "child \"" + c.id + "\" was told to stop"});
    return ask_to_stop(at, c, out);
  }
  c.state = child_state::stopped;
  c.timer = 0;
  const bool forgotten = c.removing || c.spec->restart == restart_type::temporary;
  gone_.push_back({c.id, c.spec});
  done({});
  if (forgotten)
    forget(at);
}

supervisor_description supervision::describe() const {
  supervisor_description out{spec_.name, spec_.strategy, phase_, restarts_, {}};
  out.children.reserve(children_.size());
  for (const auto& [at, c] : children_)
    out.children.push_back({c.id, c.spec->kind, c.spec->restart, c.state, c.incarnation, c.restarts});
  return out;
}

} // namespace troupe::policy
