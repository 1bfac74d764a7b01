#pragma once
// Requests that wait for humans, and what becomes of them (SEMANTICS 7). Pure: whoever holds one hands decisions and the time in.
//
// Rules
//   identity   a request's hash is SHA-256 of the canonical action with its run, task and moment: what was approved is what runs, once. The
//              same action at another moment is another request. Its id is the run's, "-" and the first 8 digits of the hash.
//   decided    once: the first valid decision wins, later ones are refused and told who was first.
//   N          different reviewers must approve; the same one counts once (spaces around a name are none of it), and is told so. One
//              rejection ends it at once.
//   modify     is an approval of another action. Among several reviewers it must come first: what others have approved is not changed
//              under them. From then on the request goes by the digits of what was made of the action: an approval by its old id, of
//              somebody who has not seen the change, is refused and told.
//   anew       a request that is asked again after an abort of its run begins with no votes.
//   deadline   a decision that was admitted at it still counts, a later one does not. Then: rejected, "Auto-rejected: approval timeout", by
//              nobody.
// Decisions have one order (the journal's table), so that every process that folds them comes to the same result.

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "troupe/model/decision.hpp"
#include "troupe/model/error.hpp"
#include "troupe/model/event.hpp"

namespace troupe::policy {

inline constexpr const char* approval_timeout_words = "Auto-rejected: approval timeout";

enum class approval_choice { approve, reject, modify, expire };
BOOST_DESCRIBE_ENUM(approval_choice, approve, reject, modify, expire)

/// What came in. `expire` is the deadline's, not a human's.
struct approval_decision {
  approval_choice choice = approval_choice::reject;
  std::string reviewer;
  std::string comment;
  json modified_action; ///< of `modify`
  std::string digits;   ///< of the id by which it was made; empty: of the action as it was asked for
};
BOOST_DESCRIBE_STRUCT(approval_decision, (), (choice, reviewer, comment, modified_action, digits))

/// As a row's body holds it.
std::string text_of(const approval_decision& decision);
expected<approval_decision> decision_of(std::string_view text);

/// What distinguishes a request: exactly this, at this moment of this run.
struct approval_subject {
  std::string run_id, task;
  approval_kind kind = approval_kind::tool;
  std::string subject; ///< tool, task, agent
  std::string moment;  ///< step and call, or attempt; and the attempts of the tasks above
  json action;
};
/// Hexadecimal SHA-256 of its canonical JSON.
std::string approval_hash(const approval_subject& of);
std::string approval_id(const std::string& run_id, const std::string& hash);
/// The run that an approval's id belongs to; empty for what is no such id.
std::string run_of_approval(std::string_view id);
/// The digits that an id, or what is given in its place, ends with; empty: it does not.
std::string digits_of_approval(std::string_view id);

/// A vote that is not the last one, or the end.
using approval_effect = std::variant<approval_voted, approval_decided>;

/// One request, folded from the decisions that were admitted. The events that `apply` answers are what is recorded.
class approval_request {
public:
  explicit approval_request(approval_requested what) : what_(std::move(what)) {}

  /// A decision that was admitted at `time_us` (UTC). `conflict`: it is decided, or this reviewer has approved already, or approves an
  /// action that was changed meanwhile; `timeout`: its time is up (or, for `expire`, is not); `invalid_argument`: no reviewer named, a
  /// modification that changes what others have approved, or is missing. Whether a modified action holds is for the caller to see before.
  expected<approval_effect> apply(const approval_decision& decision, std::int64_t time_us);
  /// Its recorded end: decisions are not folded again.
  void ended(approval_decided recorded) { end_ = std::move(recorded); }

  const approval_requested& what() const { return what_; }
  /// The id by which it goes: its own, or, among several reviewers, that of the action that the first of them has put in its place.
  std::string id() const;
  /// Hexadecimal SHA-256 of what is approved now.
  std::string sha256() const;
  /// What a reviewer has made of the action, and who; null and empty: nothing, nobody.
  const json& modified_action() const { return modified_; }
  const std::string& modified_by() const { return modified_by_; }
  bool pending() const { return !end_; }
  std::int64_t approvals() const { return static_cast<std::int64_t>(approved_by_.size()); }
  /// Where it is decided.
  const std::optional<approval_decided>& end() const { return end_; }

private:
  bool is_changed() const { return !modified_.is_null() && what_.needed > 1; } // else nobody decides after the one who has changed it

  approval_requested what_;
  std::set<std::string> approved_by_;
  json modified_;
  std::string modified_by_;
  std::optional<approval_decided> end_;
};

/// For `store::journal::add_decision`: may this decision come after those? Any thread.
admit_decision admission_of(approval_requested what, approval_decision decision, std::int64_t time_us);

/// The request with the decisions that were admitted about it, in order: without the first ones, which are void.
approval_request folded(approval_requested what, const std::vector<decision_row>& rows);

/// The requests of a run that wait, as its events tell it, by id. Those of a task that has ended, or has begun another attempt, do not.
std::set<std::string> open_requests(const std::vector<event_ptr>& events);

/// "ana rejected it: too risky", "it was rejected automatically: its time was up".
std::string decided_words(const approval_decided& end);

} // namespace troupe::policy
