#include "test.hpp"

#include <random>

#include "supervision_driver.hpp"

TROUPE_SUITE(supervision_property)

using namespace troupe;
using namespace troupe::policy;
using namespace troupe::test;

namespace {

/// An actor system of one supervisor: children that start late, crash, hang, and exit, in random order.
struct world {
  std::mt19937 random;
  supervision machine;
  moment now{time_point{}, 0};
  enum life { dead, starting, alive, dying, doomed }; // dying: asked to stop; doomed: killed
  std::map<std::string, std::pair<life, std::int64_t>> lives;
  std::map<std::string, std::size_t> order;
  std::vector<start_timer> timers;
  restart_strategy strategy;
  bool ended = false;
  std::size_t reports = 0;

  world(unsigned seed, supervisor_spec spec) : random(seed), machine(spec), strategy(spec.strategy) {
    for (const auto& c : spec.children)
      order[c.id] = order.size();
  }
  std::size_t below(std::size_t n) { return static_cast<std::size_t>(random() % n); }
  moment tick() {
    now.now += milliseconds(below(40));
    now.random = static_cast<double>(random() % 1000) / 1000;
    return now;
  }
  void take(const supervision_commands& commands) {
    for (const auto& c : commands) {
      REQUIRE(!ended);
      if (const auto* s = std::get_if<start_child>(&c)) {
        auto& [state, n] = lives[s->id];
        REQUIRE(state == dead);                                  // never two at once
        REQUIRE(s->incarnation == n + 1 || s->incarnation == 1); // 1: removed and added again
        state = starting;
        n = s->incarnation;
      } else if (const auto* stop = std::get_if<stop_child>(&c)) {
        auto& [state, n] = lives[stop->id];
        REQUIRE((state == starting || state == alive) && n == stop->incarnation);
        state = dying;
      } else if (const auto* kill = std::get_if<kill_child>(&c)) {
        auto& [state, n] = lives[kill->id];
        REQUIRE(state != dead && n == kill->incarnation);
        state = doomed;
      } else if (const auto* t = std::get_if<start_timer>(&c)) {
        timers.push_back(*t);
      } else if (std::holds_alternative<end_supervisor>(c)) {
        ended = true;
        for (const auto& [id, l] : lives)
          REQUIRE(l.first == dead); // nobody is left
      }
    }
  }
  /// One thing happens; false: nothing can.
  bool step() {
    std::vector<std::function<void()>> can;
    for (auto& [id, l] : lives) {
      const auto n = l.second;
      auto exits = [this, id = id, n](exit_kind kind) {
        lives[id].first = dead;
        take(machine.child_exited(id, n, kind, "r", tick(), below(10) != 0));
      };
      if (l.first == starting) {
        can.push_back([this, id = id, n] {
          lives[id].first = alive;
          take(machine.child_started(id, n, tick()));
        });
        if (below(4) == 0)
          can.push_back([this, id = id, n] {
            lives[id].first = dead;
            take(machine.child_start_failed(id, n, "r", tick()));
          });
      } else if (l.first == alive && below(6) == 0) {
        can.push_back([exits, this] { exits(static_cast<exit_kind>(below(3))); });
      } else if (l.first == dying || l.first == doomed) {
        can.push_back([exits, this] { exits(static_cast<exit_kind>(below(3))); });
      }
    }
    if (!timers.empty())
      can.push_back([this] {
        const auto at = static_cast<std::ptrdiff_t>(below(timers.size()));
        const auto t = timers[static_cast<std::size_t>(at)];
        timers.erase(timers.begin() + at);
        take(machine.timer_fired(t.timer, tick()));
      });
    if (can.empty())
      return false;
    can[below(can.size())]();
    return true;
  }
};

} // namespace

TROUPE_TEST("in any interleaving no child lives twice, nobody outlives the supervisor, and it always comes to rest") {
  for (unsigned seed = 0; seed < 3000; ++seed) {
    std::mt19937 random(seed);
    supervisor_spec spec;
    spec.strategy = static_cast<restart_strategy>(random() % 3);
    spec.max_restarts = static_cast<std::int64_t>(random() % 6);
    spec.within = milliseconds(100 + random() % 2000);
    spec.auto_shutdown = static_cast<auto_shutdown_type>(random() % 3);
    const auto children = 1 + random() % 6;
    for (unsigned n = 0; n < children; ++n) {
      auto c = child("c" + std::to_string(n), static_cast<restart_type>(random() % 3));
      c.shutdown = {random() % 5 == 0, random() % 5 == 0, milliseconds{random() % 50}};
      c.significant = c.restart != restart_type::permanent && spec.auto_shutdown != auto_shutdown_type::never && random() % 2 == 0;
      spec.children.push_back(c);
    }
    REQUIRE(validate(spec).empty());
    world w(seed, spec);
    w.take(w.machine.start(w.tick()));
    for (int n = 0; n < 300 && !w.ended; ++n) {
      switch (w.below(40)) {
      case 0:
        w.take(w.machine.terminate_child("c" + std::to_string(w.below(6)), w.tick()));
        break;
      case 1:
        w.take(w.machine.restart_child("c" + std::to_string(w.below(6)), w.tick()));
        break;
      case 2:
        w.take(w.machine.remove_child("c" + std::to_string(w.below(6)), w.tick()));
        break;
      case 3:
        w.take(w.machine.add_child(child("c" + std::to_string(w.below(6))), w.tick()));
        break;
      default:
        w.step();
      }
      (void) w.machine.describe(); // answers at any time
      for (const auto& c : w.machine.describe().children) {
        const auto life = w.lives[c.id].first;
        CHECK((c.state == child_state::starting) == (life == world::starting));
        CHECK((c.state == child_state::running) == (life == world::alive));
        CHECK((c.state == child_state::stopping) == (life == world::dying || life == world::doomed));
      }
    }
    if (!w.ended)
      w.take(w.machine.stop(w.tick()));
    for (int n = 0; !w.ended; ++n) {
      REQUIRE(n < 1000);
      REQUIRE(w.step());
    }
    CHECK(w.machine.phase() == supervisor_phase::ended);
  }
}

TROUPE_TEST("a crash costs no more with many children than with few") {
  auto seconds = [](std::int64_t children) {
    auto pool = child("p");
    pool.kind = child_kind::pool;
    pool.size = children;
    auto spec = supervisor(restart_strategy::one_for_one, {pool});
    spec.max_restarts = 1'000'000;
    tree t(spec);
    t.boot();
    t.now.random = 0;
    const auto before = std::chrono::steady_clock::now();
    for (int n = 0; n < 20'000; ++n) {
      const auto id = "p/" + std::to_string(1 + n % children);
      t.take(t.machine.child_exited(id, t.incarnation[id], exit_kind::crash, "boom", t.now));
      t.timers.clear();
      t.take(t.machine.timer_fired(static_cast<std::uint64_t>(n) + 1, t.now));
      t.up(id);
    }
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - before).count();
  };
  const auto few = seconds(10), many = seconds(10'000);
  CAF_MESSAGE("20,000 crashes: " << few * 1000 << " ms with 10 children, " << many * 1000 << " ms with 10,000");
  CHECK(many < few * 20 + 0.5); // a scan would be a thousand times as long
}
