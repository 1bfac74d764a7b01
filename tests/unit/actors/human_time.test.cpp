#include "troupe/actors/human_time.hpp"

#include "test.hpp"

TROUPE_SUITE(human_time)

using namespace troupe::actors;
using std::chrono::seconds;

namespace {

constexpr clock_point start{seconds{1'000}};

TROUPE_TEST("those who wait at the same time give back that time once") {
  human_time t;
  t.begin(start);
  t.begin(start + seconds{2});
  CHECK(t.until(start + seconds{3}) == seconds{3}); // while they wait
  t.end(start + seconds{5});
  t.end(start + seconds{6});
  CHECK(t.until(start + seconds{60}) == seconds{6});
  t.begin(start + seconds{100});
  t.end(start + seconds{101});
  CHECK(t.until(start + seconds{200}) == seconds{7});
}

TROUPE_TEST("an end is moved by what was given back since its mark, not by what came before") {
  const auto human = std::make_shared<human_time>();
  human->begin(start);
  human->end(start + seconds{10});
  const auto given = mark(human, start + seconds{20});
  CHECK(moved(given.at + seconds{5}, given, human, start + seconds{21}) == start + seconds{25});
  human->begin(start + seconds{22});
  CHECK(moved(given.at + seconds{5}, given, human, start + seconds{24}) == start + seconds{27});
  human->end(start + seconds{25});
  CHECK(moved(given.at + seconds{5}, given, human, start + seconds{90}) == start + seconds{28});
  CHECK(moved(clock_point::max(), given, human, start + seconds{90}) == clock_point::max());
  CHECK(moved(given.at, given, nullptr, start + seconds{90}) == given.at); // nobody can be waited for
}

TROUPE_TEST("who waits in a sub-workflow gives back time to its own task and to all above it, and only once") {
  const auto top = std::make_shared<human_time>();
  const auto middle = std::make_shared<human_time>(top);
  human_time one(middle), other(middle);
  one.begin(start);
  other.begin(start + seconds{1});
  one.end(start + seconds{2});
  CHECK(middle->until(start + seconds{3}) == seconds{3}); // one after the other, without a gap
  other.end(start + seconds{4});
  middle->begin(start + seconds{10});
  middle->end(start + seconds{11});
  const auto late = start + seconds{60};
  CHECK(one.until(late) == seconds{2});
  CHECK(other.until(late) == seconds{3});
  CHECK(middle->until(late) == seconds{5});
  CHECK(top->until(late) == seconds{5});
}

TROUPE_TEST("while somebody waits, an end that recedes is not looked at over and over") {
  human_time t;
  CHECK(t.next_look(std::chrono::milliseconds{3}) == std::chrono::milliseconds{3});
  CHECK(t.next_look(-seconds{3}) == seconds{0});
  t.begin(start);
  CHECK(t.next_look(std::chrono::milliseconds{3}) == human_pause);
  CHECK(t.next_look(seconds{3}) == seconds{3});
}

TROUPE_TEST("a task's time is over as long after its mark as it was given, and as what humans gave back since") {
  const auto human = std::make_shared<human_time>();
  human->begin(start);
  human->end(start + seconds{10});
  task_assignment order{.given = mark(human, start + seconds{20}), .human = human, .desk = {}};
  CHECK(end_of(order, start + seconds{90}) == clock_point::max());
  order.deadline = order.given.at + seconds{5};
  CHECK(end_of(order, start + seconds{21}) == start + seconds{25});
  human->begin(start + seconds{22});
  human->end(start + seconds{24});
  CHECK(end_of(order, start + seconds{90}) == start + seconds{27});
  CHECK(next_look(start + seconds{27}, human, start + seconds{26}) == seconds{1});
  CHECK(next_look(start + seconds{27}, nullptr, start + seconds{26}) == seconds{1});
  CHECK(!next_look(start + seconds{27}, human, start + seconds{27}));
  human->begin(start + seconds{25});
  CHECK(next_look(start + seconds{26}, human, start + seconds{26} - std::chrono::milliseconds{1}) == human_pause);
  CHECK(!next_look(start + seconds{26}, human, start + seconds{26})); // who waits moves the end, and so this one was not moved
}

} // namespace
