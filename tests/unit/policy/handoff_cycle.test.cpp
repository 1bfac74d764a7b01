#include "troupe/policy/handoff_cycle.hpp"

#include "test.hpp"

TROUPE_SUITE(handoff_cycle)

using namespace troupe::policy;

TROUPE_TEST("three rounds without anything new are a cycle; new text or a new outcome is something new") {
  struct row {
    const char* name;
    bool new_text, new_outcome, found;
  };
  for (const auto& r :
       {row{"nothing new", false, false, true}, row{"new text", true, false, false}, row{"new outcomes", false, true, false}}) {
    IN_ROW(r.name);
    handoff_cycle watch;
    bool found = false;
    for (int i = 0; i < 12 && !found; ++i)
      found = watch.pass(i % 2 == 0 ? "a" : "b", i % 2 == 0 ? "b" : "a", "words" + std::to_string(r.new_text ? i : i % 2),
                         outcome_sign(std::to_string(r.new_outcome ? i : 0)))
              != handoff_ruling::pass;
    CHECK_EQ(found, r.found);
  }
}

TROUPE_TEST("a cycle is found with its third round") {
  handoff_cycle watch;
  for (int i = 0; i < 5; ++i)
    CHECK(watch.pass(i % 2 == 0 ? "a" : "b", i % 2 == 0 ? "b" : "a", i % 2 == 0 ? "x" : "y", 0) == handoff_ruling::pass);
  CHECK(watch.pass("b", "a", "Y ", 0) == handoff_ruling::cycle);
}

TROUPE_TEST("another order is no cycle") {
  handoff_cycle watch;
  const char* order[] = {"a", "b", "c", "a", "c", "b", "a", "b", "d", "a"};
  for (std::size_t i = 0; i + 1 < std::size(order); ++i)
    CHECK(watch.pass(order[i], order[i + 1], "x", 0) == handoff_ruling::pass);
}

TROUPE_TEST("twenty hand-offs a task, whatever they bring") {
  handoff_cycle watch;
  for (int i = 0; i < 20; ++i)
    CHECK(watch.pass("a" + std::to_string(i), "a" + std::to_string(i + 1), std::to_string(i), 0) == handoff_ruling::pass);
  CHECK(watch.pass("a20", "a21", "still new", 0) == handoff_ruling::too_many);
}
