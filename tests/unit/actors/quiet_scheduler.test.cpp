#include "troupe/actors/quiet_scheduler.hpp"

#include <memory>
#include <vector>

#include "test.hpp"

TROUPE_SUITE(quiet_scheduler)

// The real clock, since it is the clock that is tried: nothing here waits longer than its last message.

namespace {

using namespace troupe::actors;
using std::chrono::milliseconds;

struct quiet_system {
  caf::actor_system_config config;
  std::unique_ptr<caf::actor_system> system;
  quiet_system() {
    use_quiet_scheduler(config, 1);
    system = std::make_unique<caf::actor_system>(config);
  }
};

TROUPE_TEST_WITH(quiet_system, "delayed messages come in the order of their time, whatever the order they were asked for") {
  caf::scoped_actor self{*system};
  for (const int after : {40, 10, 30, 20})
    self->delayed_send(self, milliseconds(after), after);
  std::vector<int> came;
  while (came.size() < 4)
    self->receive([&](int after) { came.push_back(after); });
  CHECK((came == std::vector<int>{10, 20, 30, 40}));
}

TROUPE_TEST_WITH(quiet_system, "no message comes before its time") {
  caf::scoped_actor self{*system};
  const auto asked = std::chrono::steady_clock::now();
  self->delayed_send(self, std::chrono::minutes(60), 1); // the clock sleeps until then when the next one is asked for
  self->delayed_send(self, milliseconds(15), 2);
  self->receive([&](int which) { CHECK_EQ(which, 2); });
  CHECK(std::chrono::steady_clock::now() - asked >= milliseconds(15));
}

TROUPE_TEST_WITH(quiet_system, "what waits for an actor goes with it") {
  const auto witness = std::make_shared<int>(0);
  const auto actor = system->spawn(
      [](caf::event_based_actor* self, const std::shared_ptr<int>& held) -> caf::behavior {
        self->delayed_send(self, std::chrono::minutes(60), 1);
        return {[held](int) {}};
      },
      witness);
  caf::scoped_actor self{*system};
  const auto before = caf::actor_cast<caf::actor_addr>(actor);
  self->monitor(actor);
  self->send_exit(actor, caf::exit_reason::user_shutdown);
  self->receive([&](const caf::down_msg& down) { CHECK(down.source == before); });
  CHECK_EQ(witness.use_count(), 1);
}

TROUPE_TEST_WITH(quiet_system, "a request that is not answered in time fails, and one that is leaves nothing") {
  const auto silent = system->spawn(
      [](caf::event_based_actor* self, int) -> caf::behavior {
        self->set_default_handler(caf::skip);
        return {[](int x) { return x; }};
      },
      0);
  caf::scoped_actor self{*system};
  self->request(silent, std::chrono::minutes(60), 5).receive([](int x) { CHECK_EQ(x, 5); }, [](const caf::error&) { CHECK(false); });
  self->request(silent, milliseconds(10), std::string("?"))
      .receive([](const std::string&) { CHECK(false); }, [](const caf::error& reason) { CHECK(reason == caf::sec::request_timeout); });
  self->send_exit(silent, caf::exit_reason::kill);
}

TROUPE_TEST_WITH(quiet_system, "an actor that hears nothing for a while is told so, again and again") {
  caf::scoped_actor self{*system};
  const auto waiter = system->spawn(
      [](caf::event_based_actor* me, const caf::actor& whom) -> caf::behavior {
        const auto rounds = std::make_shared<int>(0);
        return {[](int) {}, caf::after(milliseconds(5)) >>
                                [=] {
                                  me->send(whom, ++*rounds);
                                  if (*rounds == 3)
                                    me->quit();
                                }};
      },
      caf::actor_cast<caf::actor>(self.ptr()));
  std::vector<int> rounds;
  while (rounds.size() < 3)
    self->receive([&](int round) { rounds.push_back(round); });
  CHECK((rounds == std::vector<int>{1, 2, 3}));
}

TROUPE_TEST("several workers share the actors, and each message is handled once and in its order") {
  caf::actor_system_config config;
  use_quiet_scheduler(config, 3);
  caf::actor_system system{config};
  caf::scoped_actor self{system};
  constexpr int actors = 50, rounds = 200; // more messages than an actor may handle in one turn
  std::vector<caf::actor> relays;
  for (int i = 0; i < actors; ++i)
    relays.push_back(system.spawn(
        [](caf::event_based_actor* me, const caf::actor& whom) -> caf::behavior {
          const auto next = std::make_shared<int>(0);
          return {[=](int round) {
            if (round == (*next)++)
              me->send(whom, round);
          }};
        },
        caf::actor_cast<caf::actor>(self.ptr())));
  for (int round = 0; round < rounds; ++round)
    for (const auto& relay : relays)
      self->send(relay, round);
  int came = 0;
  while (came < actors * rounds)
    self->receive([&](int) { ++came; });
  for (const auto& relay : relays)
    self->send_exit(relay, caf::exit_reason::user_shutdown);
  CHECK_EQ(came, actors * rounds);
}

TROUPE_TEST("a system that does not wait for its actors stops with turns left, and lets go of them") {
  const auto witness = std::make_shared<int>(0);
  {
    caf::actor_system_config config;
    use_quiet_scheduler(config, 1);
    config.set("scheduler.max-throughput", 5); // else one that always has work left is never asked to stop
    caf::actor_system system{config};
    system.await_actors_before_shutdown(false);
    system.spawn(
        [](caf::event_based_actor* me, const std::shared_ptr<int>& held) -> caf::behavior {
          me->send(me, 1);
          return {[=](int) {
            ++*held;
            me->send(me, 1); // has always work left
          }};
        },
        witness);
  }
  CHECK_EQ(witness.use_count(), 1);
}

} // namespace
