#include "troupe/util/batch.hpp"

#include <string>
#include <thread>

#include "test.hpp"

TROUPE_SUITE(batch)

using troupe::batch;

TROUPE_TEST("without a batch it is done at once") {
  std::string did;
  batch::at_end([&] { did += "a"; });
  CHECK_EQ(did, "a");
}

TROUPE_TEST("in a batch it is done at its end, in order") {
  std::string did;
  {
    const batch all;
    batch::at_end([&] { did += "a"; });
    batch::at_end([&] { did += "b"; });
    did += "work ";
  }
  CHECK_EQ(did, "work ab");
}

TROUPE_TEST("a batch within a batch waits for the outer one") {
  std::string did;
  {
    const batch outer;
    {
      const batch inner;
      batch::at_end([&] { did += "a"; });
    }
    did += "outer ";
  }
  CHECK_EQ(did, "outer a");
}

TROUPE_TEST("what is done at the end may ask for more, and other threads have batches of their own") {
  std::string did;
  const batch all;
  std::thread([&] {
    const batch other;
    batch::at_end([&] { batch::at_end([&] { did += "a"; }); });
  }).join();
  CHECK_EQ(did, "a");
}
