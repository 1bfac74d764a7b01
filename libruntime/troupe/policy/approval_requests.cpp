#include "troupe/policy/approval_requests.hpp"

#include <array>
#include <map>

#include <openssl/sha.h>

#include "troupe/model/described.hpp"
#include "troupe/policy/replay.hpp"
#include "troupe/policy/task_graph.hpp"
#include "troupe/schema/canonical_json.hpp"
#include "troupe/util/parse_json.hpp"
#include "troupe/util/suggest.hpp"
#include "troupe/util/trim.hpp"

namespace troupe::policy {

namespace {

constexpr std::size_t id_digits = 8;

bool is_hexadecimal(std::string_view text) {
  return text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

/// The name without the spaces around it: "ana" and " ana" are one reviewer.
std::string reviewer_of(const approval_decision& decision) {
  return std::string(trimmed(decision.reviewer, " \t\r\n\v\f"));
}

} // namespace

std::string text_of(const approval_decision& decision) {
  return to_document(decision).dump(-1, ' ', false, json::error_handler_t::replace);
}

expected<approval_decision> decision_of(std::string_view text) {
  const auto document = parse_bounded(text);
  if (!document)
    return tl::unexpected(document.error());
  return from_document<approval_decision>(*document);
}

namespace {

std::string hash_of(const json& whole) {
  std::string digits;
  const std::string exact = schema::canonical_json(whole);
  std::array<unsigned char, SHA256_DIGEST_LENGTH> hash;
  SHA256(reinterpret_cast<const unsigned char*>(exact.data()), exact.size(), hash.data());
  for (const unsigned char value : hash) {
    constexpr const char* digit = "0123456789abcdef";
    digits += {digit[value >> 4], digit[value & 15]};
  }
  return digits;
}

} // namespace

std::string approval_hash(const approval_subject& of) {
  return hash_of({{"run_id", of.run_id},
                  {"task", of.task},
                  {"kind", name_of(of.kind)},
                  {"subject", of.subject},
                  {"moment", of.moment},
                  {"action", of.action}});
}

std::string approval_id(const std::string& run_id, const std::string& hash) {
  return run_id + "-" + hash.substr(0, id_digits);
}

std::string run_of_approval(std::string_view id) {
  const auto dash = id.rfind('-');
  if (dash == std::string_view::npos || dash == 0 || id.size() - dash - 1 != id_digits || !is_hexadecimal(id.substr(dash + 1)))
    return {};
  return std::string(id.substr(0, dash));
}

std::string digits_of_approval(std::string_view id) {
  if (id.size() < id_digits || !is_hexadecimal(id.substr(id.size() - id_digits)))
    return {};
  return std::string(id.substr(id.size() - id_digits));
}

std::string approval_request::sha256() const {
  return !is_changed() ? what_.sha256 : hash_of({{"request", what_.sha256}, {"action", modified_}});
}

std::string approval_request::id() const {
  return !is_changed() ? what_.id : approval_id(run_of_approval(what_.id), sha256());
}

expected<approval_effect> approval_request::apply(const approval_decision& decision, std::int64_t time_us) {
  if (end_)
    return fail(error_code::conflict, "already decided: " + decided_words(*end_), what_.id);
  const bool late = time_us > what_.deadline_us;
  if (decision.choice == approval_choice::expire) {
    if (!late)
      return fail(error_code::timeout, "its deadline has not come", what_.id);
    end_ = approval_decided{what_.id, approval_status::rejected, {}, approval_timeout_words, nullptr, false, 0, {}};
    return approval_effect{*end_};
  }
  if (late)
    return fail(error_code::timeout, "its time is up: it is rejected automatically", what_.id);
  const auto reviewer = reviewer_of(decision);
  if (reviewer.empty())
    return fail(error_code::invalid_argument, "a decision needs the name of its reviewer", what_.id);
  if (decision.choice == approval_choice::reject) {
    end_ = approval_decided{what_.id, approval_status::rejected, reviewer, decision.comment, nullptr, true, 0, {}};
    return approval_effect{*end_};
  }
  if (approved_by_.count(reviewer) != 0)
    return fail(error_code::conflict,
                in_quotes(reviewer) + " has approved it already; it needs " + std::to_string(what_.needed) + " different reviewers",
                what_.id);
  if (decision.choice == approval_choice::modify) {
    if (decision.modified_action.is_null())
      return fail(error_code::invalid_argument, "a modification needs the action that is to take its place", what_.id);
    if (!approved_by_.empty())
      return fail(error_code::invalid_argument, "others have approved the action as it is; reject it instead, with a comment", what_.id);
    modified_ = decision.modified_action;
    if (is_changed() && id() == what_.id) { // made to look like what was asked for, or a very rare accident
      modified_ = nullptr;
      return fail(error_code::invalid_argument, "it cannot be told from the action that was asked for; write it differently", what_.id);
    }
    modified_by_ = reviewer;
  } else if (is_changed() && digits_of_approval(id()) != decision.digits) {
    return fail(error_code::conflict,
                modified_by_ + " has changed its action, and nothing is approved that was not seen: look at " + id()
                    + ", and decide about that",
                what_.id);
  }
  approved_by_.insert(reviewer);
  if (approvals() < what_.needed) {
    const auto changed = decision.choice == approval_choice::modify ? modified_ : json(nullptr);
    return approval_effect{approval_voted{what_.id, reviewer, decision.comment, approvals(), what_.needed, changed}};
  }
  const auto status = modified_.is_null() ? approval_status::approved : approval_status::modified;
  end_ = approval_decided{what_.id, status, reviewer, decision.comment, modified_, true, 0, modified_by_};
  return approval_effect{*end_};
}

approval_request folded(approval_requested what, const std::vector<decision_row>& rows) {
  approval_request request(std::move(what));
  std::int64_t of_earlier_ones = request.what().void_decisions;
  for (const auto& row : rows) {
    if (row.approval_id != request.what().id || of_earlier_ones-- > 0)
      continue;
    if (const auto decision = decision_of(row.body))
      static_cast<void>(request.apply(*decision, row.time_us));
  }
  return request;
}

admit_decision admission_of(approval_requested what, approval_decision decision, std::int64_t time_us) {
  return [what = std::move(what), decision = std::move(decision), time_us](const std::vector<decision_row>& earlier) -> expected<void> {
    const auto effect = folded(what, earlier).apply(decision, time_us);
    if (!effect)
      return tl::unexpected<error>(effect.error());
    return {};
  };
}

std::set<std::string> open_requests(const std::vector<event_ptr>& events) {
  std::map<std::string, std::string> waiting; // id -> task
  const auto close = [&](const std::string& task) { std::erase_if(waiting, [&](const auto& one) { return is_within(one.second, task); }); };
  for (const auto& e : events) {
    if (const auto* asked = std::get_if<approval_requested>(&e->body))
      waiting.insert_or_assign(asked->id, e->task);
    else if (const auto* decided = std::get_if<approval_decided>(&e->body))
      waiting.erase(decided->id);
    else if (std::holds_alternative<task_started>(e->body) || std::holds_alternative<task_retried>(e->body))
      close(e->task); // of the attempt before
    else if (const auto* end = std::get_if<run_finished>(&e->body); end && end->status != run_status::aborted)
      waiting.clear();
  }
  std::set<std::string> ids;
  if (waiting.empty())
    return ids;
  // What an abort has ended goes on when the run is resumed, and asks again.
  const auto tasks = fold_tasks(events);
  for (const auto& [id, task] : waiting) {
    bool ended = false;
    for (std::string_view path = task; !ended && !path.empty(); path = parent_path(path)) {
      const auto known = tasks.find(std::string(path));
      ended = known != tasks.end() && known->second.finished;
    }
    if (!ended)
      ids.insert(id);
  }
  return ids;
}

std::string decided_words(const approval_decided& end) {
  const auto comment = end.comment.empty() ? "" : ": " + end.comment;
  if (!end.by_human)
    return std::string("it was ") + name_of(end.status) + " by nobody" + comment;
  if (!end.modified_by.empty() && end.modified_by != end.reviewer)
    return end.reviewer + " approved it as " + end.modified_by + " has changed it" + comment;
  return end.reviewer + " " + name_of(end.status) + " it" + comment;
}

} // namespace troupe::policy
