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

} // namespace
