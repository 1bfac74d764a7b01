#include <thread>

#include "test.hpp"

#include "troupe/actors/services.hpp"

TROUPE_SUITE(services)

using namespace troupe;

namespace {

/// With an argument: without one CAF 0.17 binds a reference to nothing, which the sanitizer reports.
caf::behavior idle(caf::event_based_actor*, int) {
  return {[](int) {}};
}

struct fixture {
  caf::actor_system_config config;
  caf::actor_system system{config};
  caf::actor first = system.spawn(idle, 1), second = system.spawn(idle, 2);
  std::shared_ptr<actors::service<caf::actor>> service = std::make_shared<actors::service<caf::actor>>(first);
  caf::scoped_actor asker{system};

  /// Whose death the asker is told of next; null: of nobody's.
  static caf::actor_addr told(caf::scoped_actor& whom) {
    caf::actor_addr who;
    whom->receive([&](const caf::down_msg& down) { who = down.source; }, caf::after(std::chrono::seconds(0)) >> [] {});
    return who;
  }
  caf::down_msg death_of(const caf::actor& who) { return {who.address(), caf::make_error(caf::exit_reason::kill)}; }
};

} // namespace

TROUPE_TEST_WITH(fixture, "who has asked a service is told of each of its deaths, until it forgets it") {
  CHECK(service->now(asker->address()) == first);
  caf::scoped_actor other{system};
  service->replace(second);
  service->tell_all(death_of(first), false);
  CHECK(told(asker) == first.address());
  CHECK(told(other) == nullptr); // it never asked
  CHECK(service->now(other->address()) == second);
  service->tell_all(death_of(second), false);
  CHECK(told(asker) == second.address());
  CHECK(told(other) == second.address());
  service->forget(asker->address());
  service->tell_all(death_of(second), false);
  CHECK(told(asker) == nullptr);
  CHECK(told(other) == second.address());
}

TROUPE_TEST_WITH(fixture, "who asks a service that died for good is told at once") {
  service->tell_all(death_of(first), true);
  CHECK(told(asker) == nullptr);
  CHECK(service->now(asker->address()) == first);
  CHECK(told(asker) == first.address());
}

TROUPE_TEST_WITH(fixture, "an actor that has ended is told no more, and nothing keeps it") {
  caf::actor_addr gone;
  {
    caf::scoped_actor brief{system};
    gone = brief->address();
    service->now(gone);
  }
  service->tell_all(death_of(first), true);
  service->now(gone);
  CHECK(caf::actor_cast<caf::actor>(gone) == nullptr);
}

TROUPE_TEST_WITH(fixture, "an actor's list of what it asks is forgotten with its end") {
  const auto brief = system.spawn(
      [](caf::event_based_actor* self, const std::shared_ptr<actors::service<caf::actor>>& wanted) -> caf::behavior {
        actors::asked_services(self).now(self, wanted);
        return {[self](int) { self->quit(); }};
      },
      service);
  asker->send(brief, 1);
  asker->wait_for(brief);
  // The asker may be told of its end a moment before it has done all that it does then.
  for (const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(10);
       service->asker_count() != 0 && std::chrono::steady_clock::now() < until;)
    std::this_thread::yield();
  CHECK_EQ(service->asker_count(), 0u);
}
