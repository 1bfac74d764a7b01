#include "troupe/policy/parallel_limits.hpp"

#include <algorithm>
#include <deque>
#include <random>

#include "test.hpp"

TROUPE_SUITE(parallel_limits)

using namespace troupe::policy;
using ids = std::vector<std::uint64_t>;

TROUPE_TEST("at most 8 calls an agent run at once, and the ninth goes when one ends") {
  parallel_limits limits;
  for (std::uint64_t i = 1; i <= 8; ++i)
    CHECK(limits.admit(i, "ann", "tool" + std::to_string(i), 16));
  CHECK(!limits.admit(9, "ann", "other", 16));
  CHECK(limits.admit(10, "bob", "other", 16)); // other agents go on
  CHECK(limits.finished(3) == ids{9});
}

TROUPE_TEST("at most 16 calls a tool run at once, or what it says") {
  parallel_limits limits;
  for (std::uint64_t i = 1; i <= 16; ++i)
    CHECK(limits.admit(i, "agent" + std::to_string(i), "grep", 16));
  CHECK(!limits.admit(17, "zoe", "grep", 16));
  CHECK(limits.admit(18, "zoe", "single", 1));
  CHECK(!limits.admit(19, "yan", "single", 1));
  CHECK(limits.finished(18) == ids{19});
  CHECK(limits.finished(1) == ids{17});
}

TROUPE_TEST("at most 64 calls of the process run at once, of 799 that one response asks for") {
  parallel_limits limits;
  std::uint64_t admitted = 0;
  for (std::uint64_t i = 1; i <= 799; ++i)
    admitted += limits.admit(i, "agent" + std::to_string(i % 100), "tool" + std::to_string(i % 90), 16);
  CHECK_EQ(admitted, 64u);
  CHECK_EQ(limits.running(), 64);
  CHECK_EQ(limits.waiting(), 799 - 64);
  CHECK(limits.finished(1) == ids{65}); // first come, first served
}

TROUPE_TEST("a full tool holds up nobody who wants another one, and those who wait keep their order") {
  parallel_limits limits;
  CHECK(limits.admit(1, "ann", "slow", 1));
  CHECK(!limits.admit(2, "ann", "slow", 1));
  CHECK(!limits.admit(3, "bob", "slow", 1));
  CHECK(!limits.admit(4, "ann", "slow", 1));
  CHECK(limits.admit(5, "ann", "fast", 16));
  CHECK(limits.admit(6, "bob", "fast", 16));
  CHECK(limits.finished(1) == ids{2});
  CHECK(limits.finished(2) == ids{3});
  CHECK(limits.finished(3) == ids{4});
}

TROUPE_TEST("an older call that its agent holds up does not hold up younger ones of the same tool") {
  parallel_limits limits(1, 64);
  CHECK(limits.admit(1, "ann", "a", 16));
  CHECK(limits.admit(2, "bob", "b", 1));
  CHECK(!limits.admit(3, "ann", "b", 1)); // ann is full, and so is b
  CHECK(!limits.admit(4, "cid", "b", 1));
  CHECK(limits.finished(2) == ids{4}); // ann is still full
  CHECK(limits.finished(4).empty());
  CHECK(limits.finished(1) == ids{3});
}

TROUPE_TEST("what runs already takes its place beyond every limit, and holds up who comes until there is room again") {
  parallel_limits limits(2, 3);
  CHECK(limits.admit(1, "ann", "slow", 1));
  CHECK(!limits.admit(2, "bob", "slow", 1));
  for (const std::uint64_t id : {3, 4, 5})
    limits.occupy(id, "ann", "slow", 1);
  CHECK_EQ(limits.running(), 4);
  CHECK(!limits.admit(6, "ann", "fast", 16));
  CHECK(!limits.admit(7, "bob", "fast", 16)); // the process is full
  CHECK(limits.finished(1).empty());
  CHECK(limits.finished(3) == ids{7});
  CHECK(limits.finished(4) == ids{6}); // ann has one left
  CHECK(limits.finished(5) == ids{2}); // and the tool none
  for (const std::uint64_t id : {2, 6, 7})
    CHECK(limits.finished(id).empty());
  CHECK_EQ(limits.running(), 0);
}

TROUPE_TEST("a call that is given up while it waits leaves the line, and an unknown one changes nothing") {
  parallel_limits limits;
  CHECK(limits.admit(1, "ann", "slow", 1));
  CHECK(!limits.admit(2, "ann", "slow", 1));
  CHECK(!limits.admit(3, "ann", "slow", 1));
  CHECK(limits.finished(2).empty());
  CHECK(limits.finished(99).empty());
  CHECK(limits.finished(1) == ids{3});
  CHECK(limits.finished(3).empty());
  CHECK_EQ(limits.running() + limits.waiting(), 0);
}

TROUPE_TEST("any order of calls, ends and give-ups admits exactly what a plain scan of the line would") {
  struct plain {
    struct entry {
      std::uint64_t id;
      std::string agent, tool;
    };
    std::deque<entry> line;
    std::vector<entry> running;
    std::int64_t of_agent, of_process, of_tool;
    ids scan() {
      ids admitted;
      for (auto at = line.begin(); at != line.end();) {
        const auto same_agent = std::count_if(running.begin(), running.end(), [&](const auto& e) { return e.agent == at->agent; });
        const auto same_tool = std::count_if(running.begin(), running.end(), [&](const auto& e) { return e.tool == at->tool; });
        if (std::cmp_less(running.size(), of_process) && same_agent < of_agent && same_tool < of_tool) {
          admitted.push_back(at->id);
          running.push_back(*at);
          at = line.erase(at);
        } else {
          ++at;
        }
      }
      return admitted;
    }
    bool end(std::uint64_t id) {
      const auto is = [&](const auto& e) { return e.id == id; };
      const auto at = std::find_if(running.begin(), running.end(), is);
      if (at != running.end())
        running.erase(at);
      const auto waiting = std::find_if(line.begin(), line.end(), is);
      if (waiting != line.end())
        line.erase(waiting);
      return true;
    }
  };
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    std::mt19937_64 dice(seed);
    const auto up_to = [&](std::uint64_t most) { return std::uniform_int_distribution<std::uint64_t>(0, most)(dice); };
    const auto of_agent = static_cast<std::int64_t>(1 + up_to(3)), of_process = static_cast<std::int64_t>(1 + up_to(7)),
               of_tool = static_cast<std::int64_t>(1 + up_to(3));
    parallel_limits limits(of_agent, of_process);
    plain model{{}, {}, of_agent, of_process, of_tool};
    std::uint64_t next = 1;
    for (int i = 0; i < 400; ++i) {
      if (up_to(9) < 6) {
        const auto agent = "a" + std::to_string(up_to(4)), tool = "t" + std::to_string(up_to(4));
        const bool now = limits.admit(next, agent, tool, of_tool);
        model.line.push_back({next, agent, tool});
        REQUIRE(model.scan() == (now ? ids{next} : ids{}));
        ++next;
      } else if (next > 1) {
        const auto id = 1 + up_to(next - 2); // running, waiting or long gone
        const auto got = limits.finished(id);
        model.end(id);
        REQUIRE(got == model.scan());
      }
      REQUIRE(std::cmp_equal(limits.running(), model.running.size()));
      REQUIRE(std::cmp_equal(limits.waiting(), model.line.size()));
    }
  }
}
