#include "test.hpp"

#include <cstdlib>
#include <cstring>

#include "troupe/util/redact.hpp"

TROUPE_SUITE(redact)

using namespace troupe;

TROUPE_TEST("a secret is replaced wherever it stands, also as JSON and in a URL") {
  redactor all;
  CHECK(all.empty());
  CHECK_EQ(all.apply("nothing is known"), "nothing is known");
  all.add("s3cr\"t/+");
  all.add("s3cr");
  all.add("abc"); // too short to hide anything
  CHECK_EQ(all.apply("s3cr\"t/+ and xs3cr\"t/+x"), "[redacted] and x[redacted]x");
  CHECK_EQ(all.apply(R"({"key":"s3cr\"t/+"})"), R"({"key":"[redacted]"})");
  CHECK_EQ(all.apply("?key=s3cr%22t%2F%2B&abc"), "?key=[redacted]&abc");
  CHECK_EQ(all.apply("s3cr"), "[redacted]");
  CHECK_EQ(all.apply(""), "");
}

TROUPE_TEST("a secret that was taken from the environment no longer stands there, and is redacted from then on") {
  ::setenv("TROUPE_TEST_SECRET", "hunter2-hunter2", 1);
  const char* raw = std::getenv("TROUPE_TEST_SECRET");
  const auto first = take_secret("TROUPE_TEST_SECRET");
  REQUIRE(first.has_value());
  CHECK_EQ(*first, "hunter2-hunter2");
  for (std::size_t i = 0; i < std::strlen("hunter2-hunter2"); ++i)
    CHECK(raw[i] == 0); // the very bytes that /proc/PID/environ shows
  CHECK_EQ(std::string(std::getenv("TROUPE_TEST_SECRET")), "");
  CHECK_EQ(redacted("key=hunter2-hunter2"), "key=[redacted]");
  CHECK_EQ(*take_secret("TROUPE_TEST_SECRET"), "hunter2-hunter2"); // again, for another provider
  ::setenv("TROUPE_TEST_SECRET", "another-one", 1);
  CHECK_EQ(*take_secret("TROUPE_TEST_SECRET"), "another-one");
}

TROUPE_TEST("a variable that is not set is named") {
  const auto none = take_secret("TROUPE_TEST_NOT_SET");
  REQUIRE(!none.has_value());
  CHECK(none.error().code == error_code::not_found);
  CHECK(none.error().message.find("\"TROUPE_TEST_NOT_SET\"") != std::string::npos);
}
