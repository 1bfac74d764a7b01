#pragma once
// How an event becomes a row of a journal, and is checked when it is read again. The same for every backend.

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "troupe/model/error.hpp"
#include "troupe/model/event.hpp"

namespace troupe::store {

/// What every backend answers for a run that is not there.
tl::unexpected<error> no_such_run(const std::string& run_id);

using digest = std::array<char, 32>;
digest sha256(std::string_view bytes);

/// Views on one row; `blob` is the digest of the text kept once for all rows that share it, empty where there is none.
struct row_view {
  std::int64_t seq = 0;
  std::int64_t time_us = 0;
  std::string_view type;
  std::string_view task;
  std::string_view agent;
  std::string_view body;
  std::string_view blob;
};

/// What the first row of a run is chained to: a row of another run does not fit.
std::uint32_t first_checksum(std::string_view run_id);
/// CRC-32 over the row and the checksum of the row before it.
std::uint32_t row_checksum(std::uint32_t previous, const row_view& row);

/// Large configurations that many runs share, remembered so that each is printed and hashed once.
class shared_texts {
public:
  struct entry {
    json_ptr document;
    std::string text;
    digest hash;
  };
  using ptr = std::shared_ptr<const entry>;
  /// Null for a document that is not worth it (less than 256 bytes of text).
  ptr find(const json_ptr& document);

private:
  static constexpr std::size_t most = 8;
  std::vector<ptr> recent_; // newest first
};

/// Appends the JSON of an event's body to `out`; what is shared stays out of it and is returned.
shared_texts::ptr write_body(const event_body& body, shared_texts& texts, std::string& out);
/// The body again; `shared` is the text that was kept apart. `corrupt` where it does not parse.
expected<event_body> read_body(std::string_view type, std::string_view text, std::string_view shared);

/// What the listing of runs learns from an event.
struct run_change {
  std::optional<run_status> status;
  std::string reason;
  bool unless_waiting = false; ///< one that waits for humans goes on waiting for them
};
run_change change_of(const event_body& body);
/// Under this name a tenant is owned, beside the runs: no run id has a colon.
inline std::string tenant_key(const std::string& tenant) {
  return "tenant:" + tenant;
}

/// Somebody else counts what a tenant spends; `who` as in "process 4711".
tl::unexpected<error> tenant_is_counted_elsewhere(const std::string& tenant, const std::string& who);

/// Nothing follows in its journal.
inline bool has_ended(run_status status) {
  return status == run_status::completed || status == run_status::failed || status == run_status::aborted;
}

/// What is wrong with the rows of one run, found while they pass by in their order (SEMANTICS 9).
class chain_check {
public:
  /// `last_seq`, `last_checksum`: of the row before the first one that will be seen.
  chain_check(std::int64_t last_seq, std::uint32_t last_checksum) : last_seq_(last_seq), last_checksum_(last_checksum) {}

  /// True: the row is good, and so are all before it.
  bool see(const row_view& row, std::uint32_t checksum);

  bool good() const { return !bad_seq_; }
  /// The first sequence that is wrong or missing.
  std::int64_t bad_seq() const { return bad_seq_.value_or(0); }
  /// Good rows follow bad ones, or rows are missing between others: no torn tail.
  bool damaged_inside() const { return inside_; }
  std::int64_t last_seq() const { return last_seq_; }
  std::uint32_t last_checksum() const { return last_checksum_; }

private:
  std::int64_t last_seq_;
  std::uint32_t last_checksum_;
  std::optional<std::int64_t> bad_seq_;
  std::int64_t seen_seq_ = 0;       // of the row before, good or bad
  std::uint32_t seen_checksum_ = 0; // as it was stored
  bool inside_ = false;
};

} // namespace troupe::store
