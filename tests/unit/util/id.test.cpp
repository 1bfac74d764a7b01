#include "test.hpp"

#include <set>
#include <thread>

#include "troupe/util/id.hpp"

TROUPE_SUITE(id)

using namespace troupe;

namespace {

random_source constant(std::uint64_t bits) {
  return [bits] { return bits; };
}

} // namespace

TROUPE_TEST("a ULID is the time and the random bits in Crockford's base 32") {
  CHECK_EQ(ulid_text(0, {}), "00000000000000000000000000");
  CHECK_EQ(ulid_text(1469918176385, {}), "01ARYZ6S410000000000000000"); // the ULID specification's example time
  std::array<std::uint8_t, 10> ones;
  ones.fill(0xFF);
  CHECK_EQ(ulid_text((std::int64_t{1} << 48) - 1, ones), "7ZZZZZZZZZZZZZZZZZZZZZZZZZ");
  CHECK_EQ(ulid_text(0, {0, 0, 0, 0, 1, 0, 0, 0, 0, 31}), "0000000000000000010000000Z");
}

TROUPE_TEST("a time that a ULID cannot hold is clamped") {
  CHECK_EQ(ulid_text(-5, {}).substr(0, 10), "0000000000");
  CHECK_EQ(ulid_text(std::numeric_limits<std::int64_t>::max(), {}).substr(0, 10), "7ZZZZZZZZZ");
}

TROUPE_TEST("ids of one process grow within a millisecond and when the clock steps back") {
  id_maker make(system_random());
  std::string last;
  for (const std::int64_t now : {1000, 1000, 1000, 999, 5, 1001, 1001, 0}) {
    const auto id = make.next(now);
    CHECK(last < id);
    CHECK(is_run_id(id));
    last = id;
  }
}

TROUPE_TEST("random bits that overflow carry into the time") {
  id_maker make(constant(~std::uint64_t{0}));
  CHECK_EQ(make.next(7), "0000000007ZZZZZZZZZZZZZZZZ");
  CHECK_EQ(make.next(7), "00000000080000000000000000");
  CHECK_EQ(make.next(7), "00000000080000000000000001");
}

TROUPE_TEST("two threads never get the same id") {
  id_maker make(constant(1));
  std::vector<std::string> ids[2];
  const auto work = [&](std::size_t i) {
    for (int n = 0; n < 2000; ++n)
      ids[i].push_back(make.next(1));
  };
  std::thread other(work, 1);
  work(0);
  other.join();
  std::set<std::string> all(ids[0].begin(), ids[0].end());
  all.insert(ids[1].begin(), ids[1].end());
  CHECK_EQ(all.size(), 4000u);
}

TROUPE_TEST("a run id that people choose is short and plain") {
  struct row {
    std::string text;
    bool good;
  };
  const std::vector<row> rows{{"a", true},
                              {"Nightly-2026.11_24", true},
                              {std::string(64, 'x'), true},
                              {std::string(65, 'x'), false},
                              {"", false},
                              {"a b", false},
                              {"a/b", false},
                              {"a\nb", false},
                              {"\xC3\xA4", false},
                              {std::string("a\0b", 3), false},
                              {"'; DROP--", false}};
  for (const auto& r : rows) {
    IN_ROW(r.text);
    CHECK_EQ(is_run_id(r.text), r.good);
  }
}
