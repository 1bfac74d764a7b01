#pragma once
// CONFLICT: several agents did the same task; how their answers become one (SEMANTICS 6). Pure.
//
// Rules
//   an answer    the output of a member that ended with success. One that failed gives none, and never counts as a vote.
//   equal        two answers whose canonical JSON is the same (RFC 8785: 1.0 is 1, the order of members is nothing). Of a text the white
//                space around it is nothing, and a text that is one JSON object or array as a whole is compared as that. With `field`
//                (a member's name, or a JSON pointer) only that is compared; a text is searched for its one JSON value; an answer that
//                has no such field is kept, and votes for nothing.
//   vote         the answer with the most votes wins when it has the quorum (default: more than half of the members) and more votes than
//                any other. Of a group that agrees by its field, the answer of the first member in the file's order is taken. Decided as
//                soon as nobody who is still at work could change it; so the order in which answers come never decides. No winner: the
//                `tie` rule (arbiter, human, fail); `fail` is decided as soon as there is an answer and none can win any more.
//   arbiter      asked when all have ended and their answers differ; one answer, or several that are equal, need no arbiter. It sees the
//   human        task and all answers, without names, in an order drawn from the run's id; it answers { "choice": N } or, where none is
//                right, { "answer": … } of its own, under the members' contract. People likewise.
//   first        the first member that ends with success wins: here the order decides.
//   no answer    when every member failed the task ends as the first of them (in the file's order) did.
//   conflict     there are answers, and none was chosen: `fail`, an arbiter that failed, a human that rejected all of them.
//   attempts     no further one after a human's ruling, after a member's used-up budget or rejection, nor where those who may answer in
//                another one are too few to decide it.

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "troupe/model/config.hpp"
#include "troupe/model/event.hpp"
#include "troupe/policy/task_graph.hpp"

namespace troupe::policy {

struct panel_member {
  std::string name;  ///< unique: "sceptic", "sceptic#2"
  std::string agent; ///< in the configuration
};
std::vector<panel_member> panel_members(const std::vector<std::string>& agents);

/// Paths of who has a part in a task with `agents`: "check(sceptic)", "check(:arbiter)", "check(:human)".
std::string seat_path(std::string_view task, std::string_view member);
inline constexpr std::string_view arbiter_seat = ":arbiter";
inline constexpr std::string_view human_seat = ":human";
/// The member of such a path; empty: it is none.
std::string_view seat_of(std::string_view path);

/// The canonical text of what is compared of an answer; nothing: it has no such field.
std::optional<std::string> compared(const json& answer, const std::string& field);

struct panel_waits {};
/// Somebody has to decide: `event.next` says who.
struct panel_asks {
  answers_differ event;
};
struct panel_decided {
  answers_resolved event;
  task_outcome outcome;
};
using panel_step = std::variant<panel_waits, panel_asks, panel_decided>;

/// The answers to one attempt of one task.
class answer_panel {
public:
  answer_panel(resolve_spec rule, const std::vector<std::string>& agents, std::int64_t attempt);

  const std::vector<panel_member>& members() const { return members_; }
  const resolve_spec& rule() const { return rule_; }
  /// One member has ended; a second end of it is ignored. The order of these calls is the order of `first`.
  void ended(std::size_t member, task_outcome outcome);
  /// What follows from what is there.
  panel_step next() const;
  /// The arbiter or the human has ended: output { choice } counts in `shown`, or { answer }.
  panel_decided decided(std::string_view by, const task_outcome& ruling, const std::vector<std::size_t>& shown) const;
  /// Members with an answer, in an order that is drawn from `seed`.
  std::vector<std::size_t> shuffled(std::string_view seed) const;
  const json& answer(std::size_t member) const { return outcomes_[member]->output; }
  /// The outcome that a recorded decision means. `own`: the output of the arbiter, where it answered itself.
  task_outcome outcome_of(const answers_resolved& decision, const json& own) const;

private:
  struct tally;
  tally count() const;
  std::vector<answer_group> groups() const;
  panel_decided choose(std::string_view by, std::size_t member, std::string why) const;
  panel_decided give_up(std::string_view by, std::string why, bool fatal = false) const;
  panel_decided nobody_answered() const;
  bool final_failures() const;
  panel_step vote(bool all) const;

  resolve_spec rule_;
  std::vector<panel_member> members_;
  std::int64_t attempt_;
  std::int64_t quorum_;
  std::vector<std::optional<task_outcome>> outcomes_;
  std::optional<std::size_t> first_; ///< with success
};

/// What an arbiter (or a human) is told: the task, and the answers as JSON, so that no answer can pass for another one.
std::string arbiter_instruction(const std::string& task, const std::vector<json>& answers);
/// What people are shown, and the choice that they are asked about: the answer with the most votes, of several such the first shown.
json human_details(const std::string& task, const std::vector<std::pair<std::string, json>>& answers);
json proposed_choice(const std::vector<std::pair<std::string, json>>& answers, const std::string& field);
/// What it must answer: { choice, reason? } or { answer, reason? }, the answer under one of the members' contracts.
output_spec arbiter_contract(const std::vector<const output_spec*>& members, std::size_t answers, std::int64_t retries);

} // namespace troupe::policy
