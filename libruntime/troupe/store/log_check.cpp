#include "troupe/store/log_check.hpp"

#include <filesystem>
#include <fstream>
#include <system_error>

#include <boost/endian/conversion.hpp>
#include <spdlog/spdlog.h>

namespace troupe::store {

namespace {

constexpr std::size_t header_bytes = 32;
constexpr std::size_t frame_header_bytes = 24;
constexpr std::uint32_t magic = 0x377F0682; ///< its last bit: checksums are of big-endian words

std::uint32_t big_endian(std::string_view bytes, std::size_t at) {
  return boost::endian::load_big_u32(reinterpret_cast<const unsigned char*>(bytes.data() + at));
}

std::uint32_t little_endian(std::string_view bytes, std::size_t at) {
  return boost::endian::load_little_u32(reinterpret_cast<const unsigned char*>(bytes.data() + at));
}

struct checksum {
  std::uint32_t first = 0, second = 0;

  void add(std::string_view bytes, bool big) {
    const auto word = big ? big_endian : little_endian;
    for (std::size_t at = 0; at + 8 <= bytes.size(); at += 8) {
      first += word(bytes, at) + second;
      second += word(bytes, at + 4) + first;
    }
  }
  bool stands(std::string_view bytes, std::size_t at) const {
    return big_endian(bytes, at) == first && big_endian(bytes, at + 4) == second;
  }
};

} // namespace

log_findings check_log(std::string_view log) {
  log_findings found;
  found.left_out = static_cast<std::int64_t>(log.size());
  if (log.size() < header_bytes + frame_header_bytes)
    return found;
  const bool big = (big_endian(log, 0) & 1) != 0;
  const std::size_t page = big_endian(log, 8);
  checksum sum;
  sum.add(log.substr(0, 24), big);
  if ((big_endian(log, 0) & ~1U) != magic || page < 512 || page > 65'536 || (page & (page - 1)) != 0 || !sum.stands(log, 24)) {
    found.damaged = true; // frames without a header that says how to read them
    return found;
  }
  const auto salts = log.substr(16, 8);
  const auto frame_bytes = frame_header_bytes + page;
  const auto frame_at = [&](std::size_t index) { return log.substr(header_bytes + index * frame_bytes, frame_bytes); };
  const auto count = (log.size() - header_bytes) / frame_bytes;
  const auto of_this_log = [&](std::string_view frame) { return frame.substr(8, 8) == salts && big_endian(frame, 0) != 0; };
  std::size_t index = 0;
  for (; index < count; ++index) {
    const auto frame = frame_at(index);
    sum.add(frame.substr(0, 8), big);
    sum.add(frame.substr(frame_header_bytes), big);
    if (!of_this_log(frame) || !sum.stands(frame, 16))
      break;
    if (big_endian(frame, 4) != 0) // ends a commit
      found.frames = static_cast<std::int64_t>(index) + 1;
  }
  found.left_out = static_cast<std::int64_t>(log.size() - header_bytes) - found.frames * static_cast<std::int64_t>(frame_bytes);
  for (++index; index < count && !found.damaged; ++index)
    found.damaged = of_this_log(frame_at(index)) && big_endian(frame_at(index), 4) != 0;
  return found;
}

expected<void> keep_damaged_log(const std::string& path, std::int64_t utc_us) {
  namespace fs = std::filesystem;
  const auto log = path + "-wal";
  std::ifstream file(log, std::ios::binary);
  if (!file)
    return {}; // none is there, or SQLite will say what is wrong with it
  std::error_code problem;
  const auto size = fs::file_size(log, problem);
  if (problem)
    return {};
  std::string bytes(static_cast<std::size_t>(size), '\0');
  if (!file.read(bytes.data(), static_cast<std::streamsize>(bytes.size())))
    return {};
  const auto found = check_log(bytes);
  if (!found.damaged)
    return {};
  const auto copy = path + "-wal-damaged-" + std::to_string(utc_us / 1'000'000);
  fs::copy_file(log, copy, fs::copy_options::skip_existing, problem);
  if (problem) {
    std::error_code ignored;
    fs::remove(copy, ignored); // a part of it helps nobody
    return fail(error_code::corrupt,
                "its log is damaged, and no copy of it can be kept (" + problem.message() + "); make room, or move " + log
                    + " away: runs then go on from what the journal has without it",
                "journal " + path);
  }
  spdlog::error("journal {}: its log is damaged: {} bytes behind the last commit that can be read are left out. Runs that were recorded "
                "there are missing, or go on from an earlier step, which may ask again what was paid for, and run again what was done. "
                "The log is kept in {}: compare it with a copy from before the damage",
                path, found.left_out, copy);
  return {};
}

} // namespace troupe::store
