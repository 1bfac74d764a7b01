// What is kept of a program's output.
#include "troupe/tools/capture.hpp"

#include <string>

#include "test.hpp"
#include "troupe/util/redact.hpp"

using namespace troupe;
using namespace troupe::tools;

TROUPE_SUITE(capture)

TROUPE_TEST("wherever the bound cuts through a secret, nothing of it is left") {
  const std::string secret = "capt-s3cret-123456";
  secrets().add(secret);
  const auto leaks = [&](const std::string& text) {
    for (std::size_t at = 0; at + 4 <= secret.size(); ++at)
      if (text.find(secret.substr(at, 4)) != std::string::npos)
        return true;
    return false;
  };
  for (const auto which : {capture::keep::start, capture::keep::end})
    for (std::size_t before = 0; before < 90; ++before)
      for (const std::size_t after : {0u, 20u, 40u, 90u}) {
        capture kept(which, 64);
        const auto all = std::string(before, 'a') + secret + std::string(after, 'b');
        for (std::size_t at = 0; at < all.size(); at += 7) // as a pipe brings it
          kept.take(all.substr(at, 7));
        const auto text = kept.take_text();
        CHECK(text.size() <= 64);
        if (leaks(text))
          CAF_FAIL(text);
      }
}

TROUPE_TEST("the start of what was written is kept, or its end, whole characters only") {
  capture start(capture::keep::start, 4);
  start.take("abc\xC3\xA4 and more");
  CHECK(start.cut());
  CHECK_EQ(start.take_text(), "abc");
  capture end(capture::keep::end, 4);
  end.take("abc\xC3\xA4\x64\x65\x66");
  CHECK_EQ(end.take_text(), "def");
}
