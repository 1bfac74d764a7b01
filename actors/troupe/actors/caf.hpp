#pragma once
// The only place that knows which CAF it is built on: 0.17.6 (the default, what every test runs on) or 1.x.
// Everything that differs between them is spelled here once (docs/decisions/caf-versions.md).

#include <chrono>
#include <exception>
#include <memory>
#include <set>
#include <string>
#include <type_traits>
#include <utility>

#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>
#include <caf/all.hpp>

#include <boost/describe.hpp>
#include <boost/mp11.hpp>

namespace troupe::actors {

using clock_point = caf::actor_clock::time_point;

#ifdef CAF_VERSION_MAJOR // CAF 1.x; CAF_VERSION itself is octal there
template <class Out, class In>
struct signature_of {
  using type = caf::result<Out>(In);
};
template <class In>
struct signature_of<void, In> {
  using type = caf::result<void>(In);
};
#else
template <class Out, class In>
struct signature_of {
  using type = typename caf::replies_to<In>::template with<Out>;
};
template <class In>
struct signature_of<void, In> {
  using type = caf::reacts_to<In>;
};
#endif

/// One line of a typed interface: takes an `In`, answers an `Out`.
template <class Out, class In>
using answers = typename signature_of<Out, In>::type;
/// One line of a typed interface: takes an `In`, answers nothing.
template <class In>
using takes = typename signature_of<void, In>::type;

template <class Self>
decltype(auto) state_of(Self* self) {
#ifdef CAF_VERSION_MAJOR
  return self->state();
#else
  return (self->state);
#endif
}

/// Sends without waiting for an answer.
template <class Self, class Handle, class Message>
void tell(Self* self, const Handle& to, Message&& message) {
#ifdef CAF_VERSION_MAJOR
  self->mail(std::forward<Message>(message)).send(to);
#else
  self->send(to, std::forward<Message>(message));
#endif
}

/// Sends after a while.
template <class Self, class Handle, class Rep, class Period, class Message>
void tell_later(Self* self, const Handle& to, std::chrono::duration<Rep, Period> after, Message&& message) {
#ifdef CAF_VERSION_MAJOR
  self->mail(std::forward<Message>(message)).delay(after).send(to);
#else
  self->delayed_send(to, after, std::forward<Message>(message));
#endif
}

/// Asks without a timer of its own: an answered request would leave its timeout behind (192 bytes until it fires). A dead receiver is
/// an error at once. `.then(on_answer, on_error)`.
template <class Self, class Handle, class Message>
auto ask(Self* self, const Handle& to, Message&& message) {
#ifdef CAF_VERSION_MAJOR
  return self->mail(std::forward<Message>(message)).request(to, caf::infinite);
#else
  return self->request(to, caf::infinite, std::forward<Message>(message));
#endif
}

/// From outside of any actor: a client's thread reports to the actor that waits.
template <class Handle, class Message>
void tell_from_outside(const Handle& to, Message&& message) {
#ifdef CAF_VERSION_MAJOR
  caf::anon_mail(std::forward<Message>(message)).send(to);
#else
  caf::anon_send(to, std::forward<Message>(message));
#endif
}

/// Asks from outside of any actor, and waits: `.receive(on_answer, on_error)`.
template <class Handle, class Message>
auto ask(caf::scoped_actor& self, const Handle& to, Message&& message) {
  return ask(self.ptr(), to, std::forward<Message>(message));
}

// One handler an actor for the end of whomever it monitors. CAF 1.x has it still, and would have a callback each.
#ifdef CAF_VERSION_MAJOR
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
#endif

/// `handler` takes a caf::down_msg&.
template <class Self, class Handler>
void on_down(Self* self, Handler handler) {
  self->set_down_handler(std::move(handler));
}

/// `handler` takes a caf::exit_msg&.
template <class Self, class Handler>
void on_exit(Self* self, Handler handler) {
  self->set_exit_handler(std::move(handler));
}

template <class Self, class Handle>
void monitor(Self* self, const Handle& whom) {
  self->monitor(whom);
}

template <class Self, class Handle>
void demonitor(Self* self, const Handle& whom) {
  self->demonitor(whom);
}

#ifdef CAF_VERSION_MAJOR
#pragma GCC diagnostic pop
#endif

/// Before the actor system is made: the messages of `Block`, and how many workers it has; they share one queue.
template <class Block>
void add_messages(caf::actor_system_config& config) {
#ifdef CAF_VERSION_MAJOR
  static_cast<void>(config);
  static const bool once = [] { // CAF would have them before the configuration is made, and reads them when the system is
    caf::init_global_meta_objects<Block>();
    caf::core::init_global_meta_objects();
    return true;
  }();
  static_cast<void>(once);
#else
  config.add_message_types<Block>();
#endif
}

inline void set_workers(caf::actor_system_config& config, std::size_t threads) {
#ifdef CAF_VERSION_MAJOR
  config.set("caf.scheduler.policy", std::string("sharing"));
  config.set("caf.scheduler.max-threads", threads);
#else
  config.set("scheduler.policy", caf::atom("sharing")); // ignored when it is no atom
  config.set("scheduler.max-threads", static_cast<std::uint64_t>(threads));
#endif
}

/// Words of an exception, kept in the exit reason so that supervisors can say why a child died.
inline std::string words_of(const std::exception_ptr& thrown) {
  try {
    std::rethrow_exception(thrown);
  } catch (const std::exception& e) {
    return e.what();
  } catch (...) {
    return "an exception of unknown type";
  }
}

/// Why an actor ended by its own fault; the text is for people.
inline caf::error crash_error(std::string text) {
  return caf::make_error(caf::sec::runtime_error, std::move(text));
}

/// Marks a crash that a poison task caused: it does not count towards the restart intensity (SEMANTICS 8).
inline caf::error poison_error(std::string text) {
  return caf::make_error(caf::sec::runtime_error, std::string("poison"), std::move(text));
}

/// Ends an actor that is made anew for no fault of its own: no crash of its task, and no restart that counts.
inline caf::error replaced_error(std::string text) {
  return caf::make_error(caf::sec::runtime_error, std::string("replaced"), std::move(text));
}

/// A supervisor that escalates: to its own supervisor a shutdown (as in OTP), with words.
inline caf::error escalation_error(std::string text) {
  return caf::make_error(caf::sec::runtime_error, std::string("escalation"), std::move(text));
}

/// Text of an exit reason for people and events.
std::string text_of(const caf::error& reason);
bool is_poison(const caf::error& reason);
bool is_replaced(const caf::error& reason);
bool is_escalation(const caf::error& reason);

/// Whom an actor monitors, each once. It stops doing so when it ends: what is monitored keeps a note of each monitor, and with that the
/// memory of an actor that has ended, for as long as it lives itself. Made once, while the actor starts.
class watch_list {
public:
  template <class Self>
  explicit watch_list(Self* self) {
    self->attach_functor([self, watched = watched_] {
      for (const auto& each : *watched)
        demonitor(self, each);
    });
  }
  template <class Self, class Handle>
  void add(Self* self, const Handle& whom) {
    if (watched_->insert(caf::actor_cast<caf::actor_addr>(whom)).second)
      monitor(self, whom);
  }
  /// It has ended.
  void forget(const caf::actor_addr& whom) { watched_->erase(whom); }

private:
  std::shared_ptr<std::set<caf::actor_addr>> watched_ =
      std::make_shared<std::set<caf::actor_addr>>(); // the state goes before the functor runs
};

/// Installs what every actor of ours has instead of CAF's defaults, which print to standard output: an exception ends the actor with
/// its words as the reason, a down message that nobody handles is dropped.
template <class Self>
void install_handlers(Self* self) {
  self->set_exception_handler([](std::exception_ptr& thrown) -> caf::error { return crash_error(words_of(thrown)); });
  on_down(self, [](caf::down_msg&) {});
}

} // namespace troupe::actors
