#include "test.hpp"

#include <random>

#include "troupe/policy/routing.hpp"

TROUPE_SUITE(routing)

using namespace troupe;
using namespace troupe::policy;

namespace {

time_point at(std::int64_t ms) {
  return time_point{} + milliseconds(ms);
}

struct pool {
  routing r{"writers"};
  std::int64_t now = 0;
  /// "task -> member #attempt", or the status.
  std::string submit(const std::string& task, std::int64_t crashes = 0) {
    const auto a = r.submit(task, at(now), crashes);
    static const char* names[] = {"assigned", "queued", "refused", "failed"};
    return a.assigned ? show(*a.assigned) : names[static_cast<int>(a.status)];
  }
  static std::string show(const assignment& a) { return a.task + " -> " + a.member + " #" + std::to_string(a.attempt); }
  static std::string show(const routing_changes& c) {
    std::string out;
    for (const auto& t : c.requeued)
      out += "requeued " + t + "; ";
    for (const auto& a : c.assigned)
      out += show(a) + "; ";
    for (const auto& f : c.failed)
      out += "failed " + f.task + " " + f.reason + "; ";
    for (const auto& t : c.stopped)
      out += "stopped " + t + "; ";
    if (c.poison)
      out += "poison; ";
    return out;
  }
  std::string join(const std::string& m, std::int64_t capacity = 1) { return show(r.join(m, at(now), capacity)); }
  std::string down(const std::string& m, bool crashed = true, bool coming = true) {
    return show(r.member_down(m, crashed, coming, at(now)));
  }
  std::string done(const std::string& task, std::int64_t attempt = 1) {
    routing_changes c;
    return r.finished(task, attempt, at(now), c) ? "ok; " + show(c) : "ignored";
  }
};

} // namespace

TROUPE_TEST("a task goes to a free member; without one it waits, first in, first out") {
  pool p;
  p.join("m1");
  CHECK_EQ(p.submit("a"), "a -> m1 #1");
  CHECK_EQ(p.submit("b"), "queued");
  CHECK_EQ(p.submit("c"), "queued");
  CHECK_EQ(p.done("a"), "ok; b -> m1 #1; ");
  CHECK_EQ(p.join("m2"), "c -> m2 #1; ");
}

TROUPE_TEST("least loaded first: its own tasks and those from elsewhere count, then the longest idle, then the order of joining") {
  pool p;
  p.join("m1", 4);
  p.join("m2", 4);
  p.join("m3", 4);
  CHECK_EQ(p.submit("a"), "a -> m1 #1"); // all alike: the first
  CHECK_EQ(p.submit("b"), "b -> m2 #1");
  CHECK_EQ(p.submit("c"), "c -> m3 #1");
  p.now = 10;
  p.done("b");
  p.now = 20;
  p.done("a");
  CHECK_EQ(p.submit("d"), "d -> m2 #1"); // idle for longer than m1
  p.r.report_load("m1", 5, at(20));
  CHECK_EQ(p.submit("e"), "e -> m3 #1"); // 1 and 1 against 5; m3 has been idle since it joined
  CHECK_EQ(p.submit("f"), "f -> m2 #1");
}

TROUPE_TEST("a member gets no more than its capacity at once") {
  pool p;
  p.join("m", 2);
  p.submit("a");
  p.submit("b");
  CHECK_EQ(p.submit("c"), "queued");
  CHECK_EQ(p.done("a"), "ok; c -> m #1; ");
}

TROUPE_TEST("a line longer than max_queue is refused with a hint when to come again") {
  pool p{routing("writers", {3, 3})};
  p.join("m");
  for (const char* t : {"a", "b", "c", "d"})
    p.submit(t);
  const auto refused = p.r.submit("e", at(0));
  CHECK(refused.status == submit_status::refused);
  CHECK_EQ(refused.retry_after.count(), 4000); // four tasks of a second
  CHECK_EQ(refused.error, "pool \"writers\" has 3 tasks in line; try again in 4000 ms");
  p.done("a");
  CHECK_EQ(p.submit("e"), "queued");
}

TROUPE_TEST("the default line holds 10,000 tasks") {
  pool p;
  p.join("m");
  for (int n = 0; n <= 10'000; ++n)
    p.submit(std::to_string(n));
  CHECK_EQ(p.submit("more"), "refused");
}

TROUPE_TEST("a dead member's task goes to the head of the line, with the next attempt number") {
  pool p;
  p.join("m1");
  p.submit("a");
  p.submit("b");
  CHECK_EQ(p.down("m1"), "requeued a; ");
  CHECK_EQ(p.join("m2"), "a -> m2 #2; ");
  CHECK_EQ(p.join("m1"), "b -> m1 #1; ");
}

TROUPE_TEST("a dead member's task goes to another one that is free, at once") {
  pool p;
  p.join("m1");
  p.join("m2");
  p.submit("a");
  CHECK_EQ(p.down("m1"), "requeued a; a -> m2 #2; ");
}

TROUPE_TEST("a late answer of an old attempt is ignored, and so are unknown and waiting tasks") {
  pool p;
  p.join("m1");
  p.join("m2");
  p.submit("a");
  p.down("m1");
  CHECK_EQ(p.done("a", 1), "ignored");
  CHECK_EQ(p.done("nobody", 1), "ignored");
  CHECK_EQ(p.done("a", 2), "ok; ");
  CHECK_EQ(p.done("a", 2), "ignored");
  p.submit("b");
  p.submit("c");
  CHECK_EQ(p.done("c", 0), "ignored");
}

TROUPE_TEST("a task that kills its member a fourth time is poison, and that death does not count") {
  pool p;
  for (int n = 1; n <= 4; ++n) {
    p.join("m");
    if (n == 1)
      p.submit("a");
    CHECK_EQ(p.down("m"), n < 4 ? "requeued a; " : "failed a poison; poison; ");
  }
  CHECK_EQ(p.r.stats().queued_tasks, 0);
}

TROUPE_TEST("deaths that the journal tells of count, and a lost node does not") {
  pool p;
  p.join("m");
  p.submit("a", 3);
  CHECK_EQ(p.down("m", false), "requeued a; ");
  p.join("m");
  CHECK_EQ(p.down("m", true), "failed a poison; poison; ");
}

TROUPE_TEST("a task for which no member is left or coming fails at once") {
  pool p;
  CHECK_EQ(p.submit("early"), "failed");
  p.r.expect("m");
  CHECK_EQ(p.submit("a"), "queued"); // one is coming
  CHECK_EQ(pool::show(p.r.not_coming("m", at(0))), "failed a no_member; ");
  p.join("m");
  p.submit("b");
  p.submit("c");
  CHECK_EQ(p.down("m", true, false), "requeued b; failed b no_member; failed c no_member; ");
  CHECK_EQ(p.r.stats(), pool_stats{});
}

TROUPE_TEST("a member that is said to stay away before its end is seen does not come back after it") {
  pool p;
  p.join("m");
  p.submit("a");
  p.submit("b");
  CHECK_EQ(pool::show(p.r.not_coming("m", at(0))), ""); // what it has may still end well
  CHECK_EQ(p.down("m", false), "requeued a; failed a no_member; failed b no_member; ");
  p.join("m"); // the same name once more: a new incarnation, of which nothing was said
  p.submit("c");
  CHECK_EQ(p.down("m", false), "requeued c; ");
}

TROUPE_TEST("a member that leaves finishes what it has and takes nothing new; it does not hold up the line") {
  pool p;
  p.join("m1");
  p.join("m2");
  p.submit("a");
  p.submit("b");
  p.submit("c");
  p.r.leave("m1", at(0));
  CHECK_EQ(p.done("a"), "ok; ");
  CHECK_EQ(p.r.stats(), (pool_stats{1, 1, 1, 0}));
  CHECK_EQ(p.done("b"), "ok; c -> m2 #1; ");
  CHECK_EQ(pool::show(p.r.leave("m2", at(0))), "");
  CHECK_EQ(p.submit("d"), "failed"); // nobody takes new ones
  CHECK_EQ(p.done("c"), "ok; ");
  CHECK_EQ(p.r.stats(), pool_stats{});
}

TROUPE_TEST("a member that dies while it leaves is not waited for") {
  pool p;
  p.join("m1");
  p.submit("a");
  p.r.leave("m1", at(0));
  CHECK_EQ(p.down("m1"), "requeued a; failed a no_member; ");
}

TROUPE_TEST("a member that joins again under its name has lost what it had, without blame") {
  pool p;
  p.join("m");
  p.submit("a", 3);
  CHECK_EQ(p.join("m"), "requeued a; a -> m #2; ");
}

TROUPE_TEST("… until it is known that it crashed: then it counts from the next crash on") {
  pool p;
  p.join("m");
  p.submit("a", 2);
  p.join("m");
  p.r.blame("a");
  p.r.blame("unknown");
  CHECK_EQ(p.down("m"), "failed a poison; poison; ");
}

TROUPE_TEST("a task is not taken twice") {
  pool p;
  p.join("m");
  CHECK_EQ(p.submit("a"), "a -> m #1");
  CHECK_EQ(p.submit("a"), "a -> m #1");
  CHECK_EQ(p.submit("b"), "queued");
  CHECK_EQ(p.submit("b"), "queued");
  CHECK_EQ(p.r.queued(), 1u);
}

TROUPE_TEST("a task that is cancelled while it waits is forgotten; one that runs stays with its member until that answers") {
  pool p;
  p.join("m");
  p.submit("a");
  p.submit("b");
  p.submit("c");
  CHECK(!p.r.cancel("b").has_value());
  CHECK_EQ(p.r.cancel("a")->member, "m");
  CHECK_EQ(p.r.cancel("a")->attempt, 1);
  CHECK(!p.r.cancel("nobody").has_value());
  CHECK_EQ(p.r.stats(), (pool_stats{1, 1, 1, 0}));
  CHECK_EQ(p.done("a"), "ok; c -> m #1; ");
  CHECK_EQ(p.submit("a"), "queued"); // the same task anew: nobody has cancelled this one
  CHECK_EQ(p.down("m"), "requeued c; ");
  CHECK_EQ(p.join("m"), "c -> m #2; ");
}

TROUPE_TEST("a table of ends of the member that has a cancelled task: nobody else gets it") {
  struct row {
    const char* name;
    std::int64_t crashes; ///< of the task before
    std::string (*ends)(pool&);
    const char* changes;
  };
  const std::vector<row> rows{
      {"it crashes", 0, [](pool& p) { return p.down("m1"); }, "stopped a; "},
      {"its supervisor ends it", 0, [](pool& p) { return p.down("m1", false); }, "stopped a; "},
      {"it does not come back", 0, [](pool& p) { return p.down("m1", false, false); }, "stopped a; "},
      {"it joins anew before its end is known", 0, [](pool& p) { return p.join("m1"); }, "b -> m1 #1; stopped a; "},
      {"it was the task's fault once too often: that death does not count, and the task is cancelled", 3,
       [](pool& p) { return p.down("m1"); }, "stopped a; poison; "},
  };
  for (const auto& each : rows) {
    IN_ROW(each.name);
    pool p;
    p.join("m1");
    p.r.expect("m2");
    p.submit("a", each.crashes);
    p.submit("b");
    p.r.cancel("a");
    CHECK_EQ(each.ends(p), each.changes);
    CHECK(!p.r.where("a").has_value());
    CHECK_EQ(p.done("a"), "ignored");
  }
}

TROUPE_TEST("the statistics count members that are up") {
  pool p;
  p.r.expect("m0");
  p.join("m1");
  p.join("m2");
  p.join("m3", 2);
  p.submit("a");
  CHECK_EQ(p.r.stats(), (pool_stats{3, 0, 1, 2}));
  p.down("m1");
  CHECK_EQ(p.r.stats(), (pool_stats{2, 0, 1, 1})); // a went on
}

TROUPE_TEST("in any order of joins, deaths, cancels and answers no task is lost, doubled, or left waiting beside a free member") {
  for (unsigned seed = 0; seed < 300; ++seed) {
    std::mt19937 random(seed);
    auto below = [&](std::size_t n) { return static_cast<std::size_t>(random() % n); };
    routing r("p", {20, 3});
    std::map<std::string, assignment> runs;
    std::set<std::string> waits, cancelled;
    std::map<std::string, std::int64_t> capacity;
    int submitted = 0, ended = 0;
    auto take = [&](const routing_changes& c) {
      for (const auto& t : c.requeued) {
        CHECK(runs.erase(t) == 1);
        CHECK(cancelled.count(t) == 0);
        waits.insert(t);
      }
      for (const auto& t : c.stopped) {
        CHECK(runs.erase(t) == 1);
        CHECK(cancelled.erase(t) == 1);
        ++ended;
      }
      for (const auto& a : c.assigned) {
        CHECK(waits.erase(a.task) == 1);
        CHECK(runs.emplace(a.task, a).second);
      }
      for (const auto& f : c.failed) {
        CHECK(waits.erase(f.task) + runs.erase(f.task) == 1);
        ++ended;
      }
    };
    for (int n = 0; n < 400; ++n) {
      const auto member = "m" + std::to_string(below(5));
      switch (below(11)) {
      case 0:
      case 1:
        capacity[member] = static_cast<std::int64_t>(1 + below(3));
        take(r.join(member, at(n), capacity[member]));
        break;
      case 2:
        take(r.member_down(member, below(2) == 0, below(3) != 0, at(n)));
        break;
      case 3:
        below(2) == 0 ? take(r.leave(member, at(n))) : take(r.not_coming(member, at(n)));
        break;
      case 4:
        take(r.report_load(member, static_cast<std::int64_t>(below(5)), at(n)));
        break;
      case 5:
      case 6: {
        if (runs.empty())
          break;
        auto it = runs.begin();
        std::advance(it, below(runs.size()));
        routing_changes changes;
        const auto a = it->second;
        CHECK(!r.finished(a.task, a.attempt - 1, at(n), changes));
        runs.erase(it);
        cancelled.erase(a.task);
        CHECK(r.finished(a.task, a.attempt, at(n), changes));
        take(changes);
        ++ended;
        break;
      }
      case 7: {
        const auto task = std::to_string(below(static_cast<std::size_t>(submitted) + 1));
        const bool runs_now = runs.count(task) != 0;
        CHECK_EQ(r.cancel(task).has_value(), runs_now);
        if (runs_now)
          cancelled.insert(task);
        else if (waits.erase(task) != 0)
          ++ended;
        break;
      }
      default: {
        const auto task = std::to_string(submitted++);
        const auto answer = r.submit(task, at(n));
        if (answer.status == submit_status::assigned)
          runs.emplace(task, *answer.assigned);
        else if (answer.status == submit_status::queued)
          waits.insert(task);
        else
          ++ended;
      }
      }
      CHECK_EQ(static_cast<std::size_t>(submitted), runs.size() + waits.size() + static_cast<std::size_t>(ended));
      const auto s = r.stats();
      CHECK_EQ(static_cast<std::size_t>(s.queued_tasks), waits.size());
      std::map<std::string, std::int64_t> load;
      for (const auto& [t, a] : runs)
        ++load[a.member];
      CHECK_EQ(static_cast<std::size_t>(s.active_workers), load.size());
      CHECK(s.idle_workers >= 0);
      CHECK(waits.empty() || s.idle_workers == 0);
      for (const auto& [m, l] : load)
        CHECK(l <= capacity[m]);
    }
  }
}
