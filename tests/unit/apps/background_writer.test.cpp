#include "troupe/background_writer.hpp"

#include <array>
#include <chrono>
#include <csignal>
#include <utility>

#include <fcntl.h>
#include <unistd.h>

#include "test.hpp"

TROUPE_SUITE(background_writer)

using namespace troupe::cli;
using std::chrono::milliseconds;

namespace {

struct pipe_of {
  std::array<int, 2> ends{};
  pipe_of() { REQUIRE(::pipe2(ends.data(), O_CLOEXEC) == 0); }
  ~pipe_of() {
    for (const int end : ends)
      if (end >= 0)
        ::close(end);
  }
  /// What is there, and at least one byte.
  std::string read() const {
    std::array<char, 4096> piece;
    const auto n = ::read(ends[0], piece.data(), piece.size());
    return std::string(piece.data(), n > 0 ? static_cast<std::size_t>(n) : 0);
  }
};

TROUPE_TEST("what is written arrives, whole and in its order") {
  const pipe_of pipe;
  background_writer out(pipe.ends[1]);
  std::string all;
  for (int i = 0; i < 1'000; ++i) {
    const auto line = "line " + std::to_string(i) + "\n";
    all += line;
    out.write(line);
  }
  std::string got;
  while (got.size() < all.size())
    got += pipe.read();
  CHECK_EQ(got, all);
  out.finish();
  CHECK(out.idle());
}

TROUPE_TEST("a reader that sleeps holds nobody up: the rest waits, what is too much is dropped, and the count is told") {
  const pipe_of pipe;
  constexpr std::size_t most = 100'000;
  background_writer out(pipe.ends[1], {most, milliseconds(20)});
  const std::string line(999, 'x');
  for (int i = 0; i < 1'000; ++i) // fifteen times what a pipe takes
    out.write(line + "\n");
  out.finish(); // gives up
  CHECK(!out.idle());
  std::size_t lines = 0;
  std::string rest, told;
  while (told.empty()) {
    rest += pipe.read();
    out.write("last\n");
    for (auto end = rest.find('\n'); end != std::string::npos; end = rest.find('\n')) {
      const auto one = rest.substr(0, end);
      rest.erase(0, end + 1);
      if (one == line)
        ++lines;
      else if (told.empty() && one.find("lines were dropped") != std::string::npos)
        told = one;
    }
  }
  CHECK(lines >= most / 1'000 && lines < 300);
  CHECK_EQ(told.substr(0, 1), "(");
}

TROUPE_TEST("a reader that is gone ends nothing") {
  std::signal(SIGPIPE, SIG_IGN); // as the program does
  pipe_of pipe;
  ::close(std::exchange(pipe.ends[0], -1));
  background_writer out(pipe.ends[1]);
  out.write("nobody\n");
  out.finish();
  CHECK(out.idle());
}

} // namespace
