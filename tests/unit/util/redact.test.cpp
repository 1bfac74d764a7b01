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

TROUPE_TEST("a secret is found as any writer of JSON escapes it, and in base64, also behind a user's name") {
  redactor all;
  all.add("abc/def+ghi<1234>");
  all.add("p\xC3\xA4ssw\xC3\xB6rd-\xF0\x9F\x98\x80");
  all.add("pa55word9");
  struct row {
    const char* says;
    const char* text;
    const char* shown;
  };
  for (const auto& row : std::vector<row>{
           {"PHP", R"({"h":"abc\/def+ghi<1234>"})", R"({"h":"[redacted]"})"},
           {"Go", R"(abc/def+ghi\u003c1234\u003e)", "[redacted]"},
           {".NET", R"(abc/def\u002Bghi\u003C1234\u003E)", "[redacted]"},
           {"Python", R"(p\u00e4ssw\u00f6rd-\ud83d\ude00)", "[redacted]"},
           {"in upper case", R"(p\u00E4ssw\u00F6rd-\uD83D\uDE00)", "[redacted]"},
           {"a URL in lower case", "abc%2fdef%2bghi%3c1234%3e", "[redacted]"},
           {"base64", "cGE1NXdvcmQ5", "[redacted]"},
           {"behind one byte more", "OnBhNTV3b3JkOQ==", "On[redacted]Q=="},      // :pa55word9
           {"Basic", "Basic dXNlcjpwYTU1d29yZDk=", "Basic dXNlcjp[redacted]k="}, // user:pa55word9
       }) {
    IN_ROW(row.says);
    CHECK_EQ(all.apply(row.text), row.shown);
  }
}

TROUPE_TEST("what a cut leaves of a secret goes too, from four bytes on") {
  redactor all;
  all.add("s3cretvalue123");
  all.add("value");
  using enum redactor::cut;
  CHECK_EQ(std::string(all.without_remains("it is s3cretvalue12", end)), "it is ");
  CHECK_EQ(std::string(all.without_remains("it is s3cr", end)), "it is ");
  CHECK_EQ(std::string(all.without_remains("it is s3c", end)), "it is s3c");
  CHECK_EQ(std::string(all.without_remains("tvalue123 it is", start)), " it is");
  CHECK_EQ(std::string(all.without_remains("", end)), "");
  CHECK_EQ(std::string(redactor().without_remains("s3cr", end)), "s3cr");
  all.add("abcdabcd"); // its end is its beginning
  CHECK_EQ(std::string(all.without_remains("it is abcdabcd", end)), "it is ");
  CHECK_EQ(std::string(all.without_remains("abcdabcd it is", start)), " it is");
  CHECK_EQ(std::string(all.without_remains("s3cretvalue123s3cretvalue123s3cret", end)), "s3cretvalue123s3cretvalue123"); // found later
  CHECK_EQ(std::string(all.without_remains("it is abcdabcdabcd", end)), "it is ");
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
