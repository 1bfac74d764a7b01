// SQLite's write-ahead log, as a damaged disk or somebody's hand might leave it. The first byte chooses: the bytes as they are, or made to
// a log whose checksums stand up to a flipped byte, which no mutation would find.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "troupe/store/log_check.hpp"

using namespace troupe;

namespace {

constexpr std::size_t header_bytes = 32, page_bytes = 512, frame_bytes = 24 + page_bytes;

void must(bool condition) {
  if (!condition)
    std::abort();
}

void put(std::string& bytes, std::size_t at, std::uint32_t word) {
  for (std::size_t each = 0; each < 4; ++each)
    bytes[at + each] = static_cast<char>((word >> (24 - 8 * each)) & 0xFF);
}

std::uint32_t word_at(std::string_view bytes, std::size_t at) {
  std::uint32_t word = 0;
  for (std::size_t each = 0; each < 4; ++each)
    word = (word << 8) | static_cast<std::uint8_t>(bytes[at + each]);
  return word;
}

struct sums {
  std::uint32_t first = 0, second = 0;
  void add(std::string_view bytes) {
    for (std::size_t at = 0; at + 8 <= bytes.size(); at += 8) {
      first += word_at(bytes, at) + second;
      second += word_at(bytes, at + 4) + first;
    }
  }
};

/// Each frame ends a commit where its first byte is odd.
std::string log_of(std::string_view content) {
  std::string log(header_bytes, '\0');
  put(log, 0, 0x377F0683);
  put(log, 4, 3'007'000);
  put(log, 8, page_bytes);
  put(log, 16, 0x12345678);
  put(log, 20, 0x9ABCDEF0);
  sums sum;
  sum.add(std::string_view(log).substr(0, 24));
  put(log, 24, sum.first);
  put(log, 28, sum.second);
  for (std::uint32_t index = 0; (index + 1) * page_bytes <= content.size(); ++index) {
    std::string frame(24, '\0');
    frame += content.substr(index * page_bytes, page_bytes);
    put(frame, 0, index + 1);
    put(frame, 4, static_cast<std::uint8_t>(frame[24]) % 2);
    frame.replace(8, 8, log, 16, 8);
    sum.add(std::string_view(frame).substr(0, 8));
    sum.add(std::string_view(frame).substr(24));
    put(frame, 16, sum.first);
    put(frame, 20, sum.second);
    log += frame;
  }
  return log;
}

void must_add_up(std::string_view log) {
  const auto found = store::check_log(log);
  must(found.frames >= 0 && found.left_out >= 0 && static_cast<std::size_t>(found.left_out) <= log.size());
  must(!found.damaged || found.left_out > 0);
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 3)
    return 0;
  const std::string_view rest(reinterpret_cast<const char*>(data) + 3, size - 3);
  if (data[0] % 2 == 0 || rest.size() < page_bytes) { // as it is, or no page of it would be whole
    must_add_up(rest);
    return 0;
  }
  auto log = log_of(rest);
  const auto whole = store::check_log(log);
  must(!whole.damaged);
  must(header_bytes + static_cast<std::size_t>(whole.frames) * frame_bytes + static_cast<std::size_t>(whole.left_out) == log.size());
  if (whole.frames == 0)
    return 0;
  // A byte of the first commit's first page is flipped: nothing is read any more, and what was whole behind it is told.
  const auto at = header_bytes + 24 + (data[1] * 256U + data[2]) % page_bytes;
  log[at] = static_cast<char>(log[at] ^ 0x40);
  const auto struck = store::check_log(log);
  must(struck.frames == 0);
  must(struck.damaged == (whole.frames > 1));
  must_add_up(std::string_view(log).substr(0, log.size() / 2));
  return 0;
}
