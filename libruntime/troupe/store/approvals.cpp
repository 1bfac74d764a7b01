#include "troupe/store/approvals.hpp"

#include <algorithm>
#include <future>
#include <map>

#include "troupe/model/described.hpp"
#include "troupe/policy/contract.hpp"
#include "troupe/schema/schema.hpp"
#include "troupe/store/row.hpp"
#include "troupe/util/suggest.hpp"

namespace troupe::store {

namespace {

constexpr std::size_t runs_read_max = 100'000;

/// All requests of a run, in the order in which they were asked.
expected<std::vector<approval_row>> approvals_of(journal& from, const run_row& run) {
  const auto events = from.read_run(run.run_id);
  if (!events)
    return tl::unexpected(events.error());
  const auto rows = from.decisions(run.run_id);
  if (!rows)
    return tl::unexpected(rows.error());
  std::vector<approval_row> found;
  std::map<std::string, std::size_t> at;
  for (const auto& e : *events) {
    if (const auto* asked = std::get_if<approval_requested>(&e->body)) {
      const auto [known, first] = at.emplace(asked->id, found.size());
      if (first)
        found.push_back({policy::folded(*asked, *rows), run.run_id, run.workflow, e->task, e->agent, e->time_us, run.owned});
      else if (const auto& before = found[known->second].request.what();
               before.deadline_us != asked->deadline_us || before.void_decisions != asked->void_decisions) // anew: its run was aborted
        found[known->second].request = policy::folded(*asked, *rows);
    } else if (const auto* end = std::get_if<approval_decided>(&e->body)) {
      if (const auto known = at.find(end->id); known != at.end())
        found[known->second].request.ended(*end);
    }
  }
  const auto open = policy::open_requests(*events);
  for (auto& row : found)
    row.over = row.request.pending() && open.count(row.request.what().id) == 0;
  return found;
}

/// Whether requests of this run wait, as far as its row tells. One that nobody works on may wait whatever its row says: its last event is
/// its interruption, or its process was killed.
bool may_wait(const run_row& run) {
  return run.status == run_status::waiting_approval || (!has_ended(run.status) && !run.owned);
}

std::string words_of(const std::vector<schema::violation>& broken) {
  std::string words;
  for (const auto& one : broken)
    words += "\n" + (one.pointer.empty() ? std::string("as a whole") : one.pointer) + ": " + one.message;
  return words;
}

/// What a modified action must be: a tool's arguments satisfy its schema, an output its contract (but for the contract's command, which the
/// agent runs), a task is told something.
expected<void> holds(const approval_requested& what, const json& modified) {
  std::vector<schema::violation> broken;
  switch (what.kind) {
  case approval_kind::tool: {
    if (!modified.is_object())
      return fail(error_code::invalid_argument, "the arguments that take their place must be a JSON object", what.id);
    if (const auto wanted = what.details.find("schema"); wanted != what.details.end() && wanted->is_object())
      if (const auto compiled = schema::compiled_schema::compile(*wanted))
        broken = compiled->validate(modified);
    break;
  }
  case approval_kind::conflict:
  case approval_kind::output: {
    if (const auto wanted = what.details.find("contract"); wanted != what.details.end()) {
      const auto rules = from_document<output_spec>(*wanted);
      if (rules)
        if (const auto compiled = contract::compile(*rules))
          broken = compiled->check(modified.is_string() ? modified.get<std::string>() : modified.dump()).violations;
    }
    break;
  }
  case approval_kind::task:
    if (!modified.is_object() || !modified.contains("instruction") || !modified["instruction"].is_string())
      return fail(error_code::invalid_argument, "a task is modified by an object with its new \"instruction\"", what.id);
    if (modified.size() > 1) // whoever writes more believes that it counts
      return fail(error_code::invalid_argument, "of a task only the \"instruction\" can be modified, and nothing else with it", what.id);
    break;
  case approval_kind::loop:
    return fail(error_code::invalid_argument, "a loop is not modified: approve it with a comment that the agent reads, or reject it",
                what.id);
  default:
    break;
  }
  if (broken.empty())
    return {};
  return fail(error_code::invalid_argument, "the modified action does not hold, and the request stays pending:" + words_of(broken),
              what.id);
}

} // namespace

expected<std::vector<approval_row>> pending_approvals(journal& from) {
  const auto runs = from.list_runs(runs_read_max);
  if (!runs)
    return tl::unexpected(runs.error());
  std::vector<approval_row> found;
  for (const auto& run : *runs) {
    if (!may_wait(run))
      continue;
    auto rows = approvals_of(from, run);
    if (!rows)
      continue; // a damaged run does not hide the others
    for (auto& row : *rows)
      if (row.request.pending() && !row.over)
        found.push_back(std::move(row));
  }
  std::stable_sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.asked_us < b.asked_us; });
  return found;
}

expected<approval_row> find_approval(journal& in, const std::string& id) {
  std::vector<approval_row> known;
  const auto run_id = policy::run_of_approval(id);
  if (!run_id.empty()) {
    const auto run = in.find_run(run_id);
    if (!run)
      return tl::unexpected(run.error());
    auto rows = approvals_of(in, *run);
    if (!rows)
      return tl::unexpected(rows.error());
    known = std::move(*rows);
  } else {
    auto rows = pending_approvals(in);
    if (!rows)
      return tl::unexpected(rows.error());
    known = std::move(*rows);
  }
  approval_row* found = nullptr;
  for (auto& row : known) {
    const auto goes_by = [&](const std::string& whole) {
      return whole == id || (run_id.empty() && !id.empty() && whole.ends_with("-" + id));
    };
    if (!goes_by(row.request.what().id) && !goes_by(row.request.id()))
      continue;
    if (found)
      return fail(error_code::conflict, "several requests end with " + in_quotes(id) + "; give the whole id", id);
    found = &row;
  }
  if (!found)
    return fail(error_code::not_found, "no request for approval has the id " + in_quotes(id) + "; see `troupe approvals`");
  return std::move(*found);
}

expected<approval_row> decide(journal& in, const std::string& id, policy::approval_decision decision, std::int64_t now_us) {
  decision.digits = policy::digits_of_approval(id);
  auto row = find_approval(in, id);
  if (!row)
    return row;
  const auto what = row->request.what();
  if (!row->request.pending())
    return fail(error_code::conflict, "already decided: " + policy::decided_words(*row->request.end()), what.id);
  if (const auto run = in.find_run(row->run_id); run && has_ended(run->status))
    return fail(error_code::conflict,
                "run " + row->run_id + " has ended"
                    + (run->status == run_status::aborted ? ", and asks anew when it is resumed; nothing waits for this now"
                                                          : "; nothing waits for this any more"),
                what.id);
  else if (run && !may_wait(*run))
    return fail(error_code::conflict, "nothing waits for this now; see `troupe approvals`", what.id);
  if (row->over)
    return fail(error_code::conflict, "its task, " + row->task + ", has ended without it; nothing waits for this any more", what.id);
  if (decision.choice == policy::approval_choice::modify)
    if (auto may = holds(what, decision.modified_action); !may)
      return tl::unexpected(may.error());
  std::promise<expected<void>> answered;
  in.add_decision({0, row->run_id, what.id, policy::text_of(decision), now_us}, policy::admission_of(what, decision, now_us),
                  [&](expected<void> stored) { answered.set_value(std::move(stored)); });
  if (auto stored = answered.get_future().get(); !stored)
    return tl::unexpected(stored.error());
  return find_approval(in, what.id);
}

} // namespace troupe::store
