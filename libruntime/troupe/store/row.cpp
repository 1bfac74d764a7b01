#include "troupe/store/row.hpp"

#include <algorithm>

#include <openssl/sha.h>
#include <zlib.h>

#include "troupe/model/described_writer.hpp"
#include "troupe/model/event_types.hpp"

namespace troupe::store {

namespace {

/// A CRC-32 over what is added, as if it stood in one piece. Short parts are gathered first: each call of the library costs as much as many
/// bytes do.
class crc {
public:
  crc& add(std::int64_t number) {
    std::array<char, 8> bytes;
    for (std::size_t i = 0; i < bytes.size(); ++i)
      bytes[i] = static_cast<char>(static_cast<std::uint64_t>(number) >> (8 * i));
    return add_bytes({bytes.data(), bytes.size()});
  }
  /// With its length, so that text cannot move from one column to the next unnoticed.
  crc& add(std::string_view text) { return add(static_cast<std::int64_t>(text.size())).add_bytes(text); }
  crc& add_bytes(std::string_view bytes) {
    if (bytes.size() > gathered_.size() - used_)
      flush();
    if (bytes.size() > gathered_.size()) {
      sum_ = crc32_z(sum_, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size());
    } else {
      std::copy(bytes.begin(), bytes.end(), gathered_.begin() + static_cast<std::ptrdiff_t>(used_));
      used_ += bytes.size();
    }
    return *this;
  }
  std::uint32_t sum() {
    flush();
    return static_cast<std::uint32_t>(sum_);
  }

private:
  void flush() {
    if (used_ > 0)
      sum_ = crc32_z(sum_, reinterpret_cast<const Bytef*>(gathered_.data()), used_);
    used_ = 0;
  }

  uLong sum_ = 0;
  std::size_t used_ = 0;
  std::array<char, 256> gathered_{};
};

} // namespace

tl::unexpected<error> no_such_run(const std::string& run_id) {
  return fail(error_code::not_found, "there is no run \"" + run_id + "\" in the journal; `troupe runs` lists them");
}

tl::unexpected<error> tenant_is_counted_elsewhere(const std::string& tenant, const std::string& who) {
  return fail(error_code::conflict,
              who
                  + " is running something for it, and the limit of a tenant is counted by one process at a time; wait until that process"
                    " has ended, or cancel its runs",
              "tenant " + tenant);
}

digest sha256(std::string_view bytes) {
  digest out;
  SHA256(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), reinterpret_cast<unsigned char*>(out.data()));
  return out;
}

std::uint32_t first_checksum(std::string_view run_id) {
  return crc().add(run_id).sum();
}

std::uint32_t row_checksum(std::uint32_t previous, const row_view& row) {
  crc all;
  all.add(std::int64_t{previous}).add(row.seq).add(row.time_us);
  return all.add(row.type).add(row.task).add(row.agent).add(row.body).add(row.blob).sum();
}

shared_texts::ptr shared_texts::find(const json_ptr& document) {
  if (!document || !document->is_structured())
    return nullptr;
  for (std::size_t i = 0; i < recent_.size(); ++i)
    if (recent_[i]->document == document || *recent_[i]->document == *document) {
      std::rotate(recent_.begin(), recent_.begin() + static_cast<std::ptrdiff_t>(i), recent_.begin() + static_cast<std::ptrdiff_t>(i) + 1);
      return recent_.front();
    }
  std::string text;
  write_json(*document, text);
  if (text.size() < 256)
    return nullptr;
  if (recent_.size() == most)
    recent_.pop_back();
  const digest hash = sha256(text);
  recent_.insert(recent_.begin(), std::make_shared<const entry>(entry{document, std::move(text), hash}));
  return recent_.front();
}

shared_texts::ptr write_body(const event_body& body, shared_texts& texts, std::string& out) {
  if (const auto* start = std::get_if<run_started>(&body)) {
    if (auto shared = texts.find(start->configuration)) {
      write_document(run_started{start->workflow, start->tenant, start->input, start->budget, start->total_tasks, nullptr}, out);
      return shared;
    }
  }
  std::visit([&](const auto& b) { write_document(b, out); }, body);
  return nullptr;
}

expected<event_body> read_body(std::string_view type, std::string_view text, std::string_view shared) {
  const auto document = json::parse(text.begin(), text.end(), nullptr, false);
  if (document.is_discarded())
    return fail(error_code::corrupt, "its text is no JSON");
  auto body = body_from_document(type, document);
  if (body && !shared.empty()) {
    auto* start = std::get_if<run_started>(&*body);
    if (!start)
      return fail(error_code::corrupt, "it refers to a shared text, which events of its type never do");
    start->configuration = std::make_shared<const json>(json::parse(shared.begin(), shared.end(), nullptr, false));
    if (start->configuration->is_discarded())
      return fail(error_code::corrupt, "its configuration is no JSON");
  }
  return body;
}

run_change change_of(const event_body& body) {
  if (std::holds_alternative<run_started>(body))
    return {run_status::running, {}};
  if (std::holds_alternative<run_resumed>(body))
    return {run_status::running, {}, true};
  if (const auto* stop = std::get_if<run_interrupted>(&body))
    return {run_status::running, stop->why};
  if (const auto* end = std::get_if<run_finished>(&body))
    return {end->status, end->reason};
  if (std::holds_alternative<approval_requested>(body))
    return {run_status::waiting_approval, {}};
  if (const auto* decided = std::get_if<approval_decided>(&body))
    return {decided->pending > 0 ? run_status::waiting_approval : run_status::running, {}};
  if (const auto* withdrawn = std::get_if<approval_withdrawn>(&body))
    return {withdrawn->pending > 0 ? run_status::waiting_approval : run_status::running, {}};
  return {};
}

bool chain_check::see(const row_view& row, std::uint32_t checksum) {
  if (good()) {
    const bool follows = row.seq == last_seq_ + 1;
    if (follows && row_checksum(last_checksum_, row) == checksum) {
      last_seq_ = row.seq;
      last_checksum_ = checksum;
      return true;
    }
    bad_seq_ = last_seq_ + 1;
    inside_ = !follows;
  } else if (!inside_) {
    inside_ = row.seq != seen_seq_ + 1 || row_checksum(seen_checksum_, row) == checksum;
  }
  seen_seq_ = row.seq;
  seen_checksum_ = checksum;
  return false;
}

} // namespace troupe::store
