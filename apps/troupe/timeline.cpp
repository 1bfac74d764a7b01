#include "troupe/timeline.hpp"

#include <algorithm>
#include <array>

#include "troupe/model/described.hpp"
#include "troupe/policy/replay.hpp"
#include "troupe/util/utf8.hpp"

namespace troupe::cli {

namespace {

enum class tone { plain, good, bad, notable };

struct line {
  std::string words;
  tone as = tone::plain;
};

/// How much of a text any line shows: of what may be megabytes a little, unless all of it is asked for.
thread_local std::size_t shown_bytes = 2'000;

/// While it lives, lines are made for a style: of a very wide one nothing is cut.
class room_of {
public:
  explicit room_of(const timeline_style& style) : before_(shown_bytes) { shown_bytes = std::max(shown_bytes, style.width); }
  ~room_of() { shown_bytes = before_; }
  room_of(const room_of&) = delete;
  room_of& operator=(const room_of&) = delete;

private:
  std::size_t before_;
};

std::string head(std::string_view text) {
  return text.size() <= shown_bytes ? std::string(text) : std::string(utf8_prefix(text, shown_bytes)) + "…";
}

std::string preview(const json& value) {
  return head(value.is_string() ? value.get_ref<const std::string&>() : value.dump(-1, ' ', false, json::error_handler_t::replace));
}

std::string with(std::string_view before, std::string_view text) {
  return text.empty() ? std::string() : std::string(before) + head(text);
}

std::string count(std::int64_t n, const char* one, const char* many) {
  return std::to_string(n) + " " + (n == 1 ? one : many);
}

/// What follows a failure: "retry" and "fail_over" are what they are called everywhere.
std::string next_step(const std::string& next, std::int64_t wait_ms) {
  const std::string wait = wait_ms > 0 ? " in " + duration_text(wait_ms * 1000) : std::string();
  if (next == "retry")
    return "; RETRY" + wait;
  if (next == "fail_over")
    return "; FAIL-OVER" + wait;
  if (next == "alternative")
    return "; ALTERNATIVE" + wait;
  if (next == "give_up")
    return "; no more requests";
  if (next == "report")
    return "; told to the agent";
  return with("; ", next);
}

// --- one for each event that is shown ------------------------------------------------------------------------------

line words(const run_started& b) {
  return {"run started: workflow " + b.workflow + ", " + count(b.total_tasks, "task", "tasks")};
}

line words(const run_resumed& b) {
  std::string text = "RESUMED after " + duration_text(std::clamp<std::int64_t>(b.owned_before_ms, 0, 1LL << 40) * 1000);
  if (b.added_money.micro > 0)
    text += ", " + to_string(b.added_money) + " added";
  if (b.added_steps > 0)
    text += ", " + count(b.added_steps, "step", "steps") + " added";
  if (b.added_time_ms > 0)
    text += ", " + duration_text(std::min<std::int64_t>(b.added_time_ms, 1LL << 40) * 1000) + " added";
  return {text, tone::notable};
}

line words(const run_interrupted& b) {
  return {"INTERRUPTED" + with(": ", b.why), tone::notable};
}

line words(const run_finished& b) {
  switch (b.status) {
  case run_status::completed:
    return {"run completed", tone::good};
  case run_status::failed:
    return {"run FAILED" + with(": ", b.reason), tone::bad};
  case run_status::aborted:
    return {"run ABORTED" + with(": ", b.reason), tone::bad};
  default:
    return {std::string("run ") + name_of(b.status)};
  }
}

line words(const task_started& b) {
  std::string text = "started";
  if (b.items)
    text += ": " + count(*b.items, "element", "elements");
  if (b.attempt > 1)
    text += " (attempt " + std::to_string(b.attempt) + ")";
  return {text};
}

line words(const task_finished& b) {
  if (b.status == task_status::success)
    return {"done" + (b.output.is_null() ? std::string() : ": " + preview(b.output)), tone::good};
  if (b.status == task_status::skipped)
    return {"skipped" + with(": ", b.error)};
  if (b.status == task_status::cancelled && b.reason == "decided")
    return {"stopped" + with(": ", b.error)};
  std::string text = std::string("FAILED as ") + name_of(b.status);
  if (!b.reason.empty() && b.reason != name_of(b.status))
    text += " (" + b.reason + ")";
  return {text + with(": ", b.error), tone::bad};
}

line words(const task_retried& b) {
  return {"RETRY of the task, attempt " + std::to_string(b.next_attempt) + with(": ", b.why), tone::notable};
}

line words(const llm_responded& b) {
  std::string text = b.provider + "/" + b.model + " answered, " + std::to_string(b.usage.input) + " + " + std::to_string(b.usage.output)
                     + " tokens" + (b.estimated ? " (estimated), " : ", ") + to_string(b.cost) + ", " + duration_text(b.duration_us);
  if (b.finish == finish_reason::length)
    text += ", cut off at max_tokens";
  if (b.finish == finish_reason::content_filter)
    text += ", stopped by a content filter";
  if (!b.message)
    return {text};
  std::size_t shown = 0;
  for (const auto& call : b.message->tool_calls) {
    text += (shown == 0 ? "; calls " : ", ") + head(call.name);
    if (++shown == 8 && b.message->tool_calls.size() > shown) {
      text += " and " + std::to_string(b.message->tool_calls.size() - shown) + " more";
      break;
    }
  }
  if (shown == 0)
    text += with(": ", b.message->text);
  return {text};
}

line words(const llm_failed& b) {
  const bool overtaken = b.reason == "overtaken";
  std::string text = b.provider + "/" + b.model + (overtaken ? " was overtaken, and its request ended" : " FAILED: " + b.reason);
  if (b.http_status > 0)
    text += " (HTTP " + std::to_string(b.http_status) + ")";
  if (b.charged.micro > 0)
    text += ", " + to_string(b.charged) + " charged";
  if (overtaken)
    return {text, tone::notable};
  return {text + next_step(b.next, b.wait_ms) + with(": ", b.message), tone::bad};
}

line words(const llm_failed_over& b) {
  return {"FAIL-OVER from " + b.from + " to " + b.to + with(": ", b.reason), tone::notable};
}

line words(const llm_hedged& b) {
  return {"HEDGE: " + b.from + " has not answered for " + duration_text(b.after_ms * 1000) + ", " + b.to + " is asked too", tone::notable};
}

line words(const breaker_changed& b) {
  return {"CIRCUIT BREAKER of " + b.provider + "/" + b.model + " is " + b.state, tone::notable};
}

line words(const usage_rejected& b) {
  return {"USAGE REJECTED, the worst case was charged" + with(": ", b.why), tone::bad};
}

line words(const tool_started& b) {
  std::string text;
  if (!b.instead_of.empty())
    text = "ALTERNATIVE " + b.tool + " instead of " + b.instead_of;
  else
    text = "tool " + b.tool;
  if (b.attempt > 1)
    text = (b.instead_of.empty() ? "RETRY of " : "") + text + " (attempt " + std::to_string(b.attempt) + ")";
  return {text + " " + preview(b.arguments), b.attempt > 1 || !b.instead_of.empty() ? tone::notable : tone::plain};
}

line words(const tool_failed& b) {
  return {"tool " + b.tool + " FAILED" + next_step(b.next, b.wait_ms) + with(": ", b.error), tone::bad};
}

line words(const tool_finished& b) {
  if (b.tool.empty())
    return {"call REFUSED" + with(": ", b.text), tone::bad};
  if (b.status == tool_status::ok)
    return {"tool " + b.tool + " answered, " + duration_text(b.duration_us) + with(": ", b.text)};
  return {"tool " + b.tool + " FAILED as " + name_of(b.status) + with(": ", b.text), tone::bad};
}

line words(const agent_crashed& b) {
  return {"CRASHED: " + b.member + ", crash " + std::to_string(b.crashes) + " of this task" + with(": ", b.why), tone::bad};
}

line words(const agent_restarted& b) {
  return {"RESTARTED: " + b.member + " by supervisor " + b.supervisor + ", restart " + std::to_string(b.restarts), tone::notable};
}

line words(const contract_violated& b) {
  std::string text = b.repair > 0 ? "CONTRACT broken, REPAIR " + std::to_string(b.repair) + " asked" : "CONTRACT broken, not asked again";
  for (std::size_t i = 0; i < std::min<std::size_t>(b.violations.size(), 8); ++i)
    text += (i == 0 ? ": " : "; ") + head(b.violations[i]);
  return {text, tone::notable};
}

line words(const message_injected& b) {
  return {"told to the agent" + (b.why.empty() ? std::string() : " (" + head(b.why) + ")") + with(": ", b.text), tone::notable};
}

line words(const budget_warned& b) {
  return {"BUDGET of " + b.scope + ": " + std::to_string(b.percent) + " % of its " + name_of(b.kind) + " is used", tone::notable};
}

line words(const budget_refused& b) {
  return {"BUDGET of " + b.scope + " REFUSED (" + name_of(b.kind) + ")" + with(": ", b.message), tone::bad};
}

line words(const max_tokens_lowered& b) {
  return {"max_tokens lowered from " + std::to_string(b.from) + " to " + std::to_string(b.to), tone::notable};
}

line words(const outcome_unknown& b) {
  return {"OUTCOME UNKNOWN of " + head(b.id)
              + (b.charged.micro > 0 ? ", its worst case was charged: " + to_string(b.charged) : std::string()),
          tone::bad};
}

/// "repeat of grep (3)", and what was done about it.
line words(const loop_detected& b) {
  static constexpr const char* kinds[] = {"repeat", "no progress", "cycle", "monologue"};
  std::string text = std::string("LOOPING: ") + (b.kind <= loop_kind::monologue ? kinds[static_cast<int>(b.kind)] : name_of(b.kind))
                     + with(" of ", b.tool) + ", " + count(b.count, "time", "times");
  switch (b.rung) {
  case loop_rung::none:
    return {text + "; not asked again", tone::notable};
  case loop_rung::told:
    return {text + "; rung 1, TOLD: " + head(b.text), tone::notable};
  case loop_rung::tool_taken:
    return {text + "; rung 2, TOOL TAKEN AWAY: " + head(b.text), tone::notable};
  case loop_rung::restarted:
    return {text + "; rung 3, RESTARTED with a digest: " + head(b.text), tone::notable};
  case loop_rung::asked:
    return {text + "; rung 4, A HUMAN IS ASKED: " + head(b.text), tone::notable};
  default:
    return {text + "; rung 4, FAILED: " + head(b.text), tone::bad};
  }
}

line words(const context_cut& b) {
  const auto tokens =
      ", about " + std::to_string(b.tokens_before) + " tokens become " + std::to_string(b.tokens_after) + " of " + std::to_string(b.window);
  std::string text = std::string("CONTEXT of ") + head(b.model) + (b.refused ? " refused the request: " : " is full: ");
  switch (b.kind) {
  case context_cut_kind::results_noted:
    return {text + count(b.results, "old tool result", "old tool results") + " replaced by a note" + tokens, tone::notable};
  case context_cut_kind::summarised:
    return {text + count(b.messages, "message", "messages") + " replaced by a summary" + tokens + with(": ", b.summary), tone::notable};
  case context_cut_kind::results_shortened:
    return {text + count(b.results, "result", "results") + " shortened to " + std::to_string(b.keep_bytes) + " bytes" + tokens,
            tone::notable};
  default:
    return {text + "FAIL-OVER to a model with a larger one for the rest of the task", tone::notable};
  }
}

// Quality and people.

line words(const approval_requested& b) {
  return {(b.needed > 0 ? "WAITS FOR A HUMAN: " : "no human is asked (--yes): ") + std::string(name_of(b.kind)) + with(" ", b.subject)
              + ", risk " + name_of(b.risk_level) + (b.needed > 1 ? ", " + std::to_string(b.needed) + " approvals" : std::string())
              + ", request " + head(b.id) + with(": ", preview(b.action)),
          b.needed > 0 ? tone::notable : tone::plain};
}

line words(const approval_voted& b) {
  return {(b.modified_action.is_null() ? "approved by " : "CHANGED by ") + head(b.reviewer) + ", " + std::to_string(b.approvals) + " of "
              + std::to_string(b.needed) + with(": ", b.comment)
              + (b.modified_action.is_null() ? std::string() : ": " + preview(b.modified_action)),
          tone::notable};
}

line words(const approval_decided& b) {
  return {std::string(b.status == approval_status::approved   ? "APPROVED"
                      : b.status == approval_status::modified ? "MODIFIED"
                                                              : "REJECTED")
              + (b.modified_by.empty() || b.modified_by == b.reviewer ? with(" by ", b.reviewer)
                                                                      : " by " + head(b.modified_by) + ", approved by " + head(b.reviewer))
              + with(": ", b.comment) + (b.modified_action.is_null() ? std::string() : ": " + preview(b.modified_action)),
          b.status == approval_status::rejected ? tone::bad : tone::good};
}

line words(const approval_withdrawn& b) {
  return {"request " + head(b.id) + " is withdrawn: its task has ended; where the run was left instead, it can still be decided",
          tone::notable};
}

line words(const output_checked& b) {
  return b.holds ? line{"the contract's command finds the answer good"}
                 : line{"the contract's command says no" + with(": ", b.text), tone::notable};
}

line words(const output_reviewed& b) {
  const auto verdict = b.verdict == review_verdict::pass ? "PASS" : b.verdict == review_verdict::revise ? "REVISE" : "REJECT";
  return {"reviewed by " + head(b.reviewer) + ": " + verdict + with(", ", b.feedback) + with("; no verdict: ", b.error),
          b.verdict == review_verdict::pass ? tone::good : tone::notable};
}

// Answers that differ, shared state.

/// "a, b: yes | c: no": who said what.
std::string told_groups(const std::vector<answer_group>& groups) {
  std::string text;
  for (const auto& group : groups) {
    text += text.empty() ? "" : " | ";
    for (std::size_t i = 0; i < group.members.size(); ++i)
      text += (i == 0 ? "" : ", ") + group.members[i];
    text += with(": ", group.value.is_null() ? "" : preview(group.value));
  }
  return text;
}

line words(const answers_differ& b) {
  std::string text = "ANSWERS DIFFER";
  if (b.quorum > 0)
    text += ", none has the " + count(b.quorum, "vote", "votes") + " that it needs";
  text += b.next == "human" ? "; a human decides" : "; the arbiter " + b.who + " decides";
  return {text + with(": ", told_groups(b.groups)), tone::notable};
}

line words(const answers_resolved& b) {
  if (b.status == task_status::conflict)
    return {"CONFLICT" + with(": ", b.why), tone::bad};
  if (b.status != task_status::success)
    return {"NO ANSWER" + with(": ", b.why), tone::bad};
  std::string text = "DECIDED by " + b.by + ": " + (b.chosen.empty() ? "an answer of its own" : "the answer of " + b.chosen);
  return {text + with(", ", b.why) + with("; ", told_groups(b.groups)), tone::good};
}

line words(const state_written& b) {
  return {"state " + head(b.key) + " is at version " + std::to_string(b.version) + ": " + preview(b.value)};
}

// Delegation.

line words(const delegated& b) {
  return {"DELEGATES to " + head(b.to) + ": " + head(b.path)};
}

line words(const handed_off& b) {
  return {"HANDS OFF to " + head(b.to) + with(": ", b.reason), tone::notable};
}

line words(const handoff_refused& b) {
  return {"hand-off to " + head(b.to) + " REFUSED: " + head(b.why), tone::notable};
}

/// Its outcome tells more.
line words(const llm_requested&) {
  return {};
}

// -------------------------------------------------------------------------------------------------------------------

std::string coloured(std::string text, tone as, const timeline_style& style) {
  if (!style.colour || as == tone::plain)
    return text;
  const char* code = as == tone::good ? "32" : as == tone::bad ? "31" : "33";
  return "\x1b[" + std::string(code) + "m" + text + "\x1b[0m";
}

std::size_t width_of(const timeline_style& style) {
  return std::max<std::size_t>(style.width, 40);
}

std::size_t depth_of(std::string_view task) {
  std::size_t depth = 0;
  for (; !task.empty() && depth < 8; task = policy::parent_path(task))
    ++depth;
  return depth;
}

std::string padded(std::string text, std::size_t columns, std::size_t shown) {
  if (shown < columns)
    text.append(columns - shown, ' ');
  return text;
}

std::string event_line(std::int64_t at_us, std::string_view task, std::string_view agent, const line& what, const timeline_style& style) {
  constexpr std::size_t time_columns = 11;
  const std::string time = relative_time(at_us);
  std::string out = time.size() < time_columns ? std::string(time_columns - time.size(), ' ') + time : time;
  out += "  ";
  std::string rest(2 * (depth_of(task) > 0 ? depth_of(task) - 1 : 0), ' ');
  if (!task.empty())
    rest += head(task) + (agent.empty() ? ": " : " ");
  if (!agent.empty())
    rest += "[" + head(agent) + "] ";
  rest += what.words;
  const std::size_t left = width_of(style) - std::min(out.size(), width_of(style) - 1);
  return out + coloured(printable(rest, left), what.as, style) + "\n";
}

std::string of_limit(const std::string& used, const std::optional<std::string>& limit) {
  return limit ? used + " of " + *limit : used;
}

bool is_interrupted(const store::run_row& row) {
  return row.status == run_status::running && !row.owned;
}

} // namespace

std::string duration_text(std::int64_t microseconds) {
  const std::int64_t us = std::max<std::int64_t>(microseconds, 0);
  const auto two = [](std::int64_t n) { return (n < 10 ? "0" : "") + std::to_string(n); };
  if (us < 1'000'000)
    return std::to_string(us / 1000) + " ms";
  const std::int64_t seconds = us / 1'000'000;
  if (seconds < 60)
    return std::to_string(seconds) + "." + std::to_string(us / 100'000 % 10) + " s";
  if (seconds < 3600)
    return std::to_string(seconds / 60) + " min " + two(seconds % 60) + " s";
  if (seconds < std::int64_t{48} * 3600)
    return std::to_string(seconds / 3600) + " h " + two(seconds / 60 % 60) + " min";
  return std::to_string(seconds / 86'400) + " d";
}

std::string relative_time(std::int64_t microseconds) {
  const std::int64_t ms = std::max<std::int64_t>(microseconds, 0) / 1000;
  const auto digits = [](std::int64_t n, std::size_t at_least) {
    std::string text = std::to_string(n);
    return text.size() < at_least ? std::string(at_least - text.size(), '0') + text : text;
  };
  const std::string seconds = digits(ms / 1000 % 60, 2) + "." + digits(ms % 1000, 3);
  const std::int64_t minutes = ms / 60'000;
  if (minutes < 60)
    return "+" + std::to_string(minutes) + ":" + seconds;
  return "+" + std::to_string(minutes / 60) + ":" + digits(minutes % 60, 2) + ":" + seconds;
}

std::string render_event(const event& e, std::int64_t started_us, const timeline_style& style) {
  auto what = std::visit([](const auto& body) { return words(body); }, e.body);
  if (what.words.empty())
    return {};
  return event_line(e.time_us - started_us, e.task, e.agent, what, style);
}

std::string render_timeline(const run_summary& summary, const std::vector<event_ptr>& events, const timeline_style& style) {
  const room_of lines(style);
  const std::size_t width = width_of(style);
  const auto put = [&](std::string& out, const std::string& text, tone as = tone::plain) {
    out += coloured(printable(text, width), as, style) + "\n";
  };
  const auto& limit = summary.budget;
  std::string out;
  put(out, "run " + summary.run_id + "  workflow " + summary.workflow + (summary.tenant.empty() ? "" : "  tenant " + summary.tenant));
  const bool bad = summary.status == run_status::failed || summary.status == run_status::aborted;
  put(out,
      std::string(style.interrupted ? "interrupted" : name_of(summary.status)) + with(": ", summary.reason) + "  "
          + std::to_string(summary.completed_tasks) + " of " + count(summary.total_tasks, "task", "tasks") + " done",
      bad                                       ? tone::bad
      : summary.status == run_status::completed ? tone::good
                                                : tone::plain);
  std::optional<std::string> money, time, steps;
  if (limit.money)
    money = to_string(*limit.money);
  if (limit.time)
    time = duration_text(std::clamp<std::int64_t>(limit.time->count(), 0, 1LL << 40) * 1000);
  if (limit.steps)
    steps = std::to_string(*limit.steps);
  put(out, "cost " + of_limit(to_string(summary.total_cost), money) + "  time " + of_limit(duration_text(summary.owned_us), time)
               + "  LLM calls " + of_limit(std::to_string(summary.llm_calls), steps) + "  tool calls "
               + std::to_string(summary.tool_calls));
  if (summary.delegations + summary.handoffs > 0)
    put(out, count(summary.delegations, "delegation", "delegations") + "  " + count(summary.handoffs, "hand-off", "hand-offs"));
  std::string trouble;
  const auto add = [&](std::int64_t n, const char* one, const char* many) {
    if (n > 0)
      trouble += (trouble.empty() ? "" : ", ") + count(n, one, many);
  };
  add(static_cast<std::int64_t>(summary.failures.size()), "failure", "failures");
  add(summary.fail_overs, "fail-over", "fail-overs");
  add(summary.restarts, "restart", "restarts");
  add(summary.in_doubt, "call in doubt", "calls in doubt");
  if (!trouble.empty())
    put(out, trouble, tone::notable);
  out += "\n";

  policy::replay_fold replay;
  for (const auto& e : events) {
    replay.apply(*e);
    out += render_event(*e, summary.started_us, style);
  }
  // Of a run that goes on, or was killed: what it is, or was, waiting for.
  for (const auto& request : replay.history().unanswered)
    out += event_line(request.time_us - summary.started_us, request.task, request.agent,
                      {request.provider + "/" + request.model + " asked, no answer so far", tone::notable}, style);

  if (!summary.result.is_null() || !style.result_path.empty()) {
    out += "\n";
    if (!style.result_path.empty())
      put(out, "result in " + style.result_path);
    if (!summary.result.is_null())
      put(out, "result: " + preview(summary.result));
  }
  return out;
}

std::string render_runs(const std::vector<store::run_row>& rows, std::int64_t now_us, const timeline_style& style) {
  if (rows.empty())
    return "no runs yet\n";
  constexpr std::size_t count_columns = 5;
  using cells = std::array<std::string, count_columns>;
  const std::array<std::size_t, count_columns> most{64, 24, 18, 14, 12};
  std::vector<cells> table{{"RUN", "WORKFLOW", "STATUS", "STARTED", "TOOK"}};
  for (const auto& row : rows)
    table.push_back({row.run_id, row.workflow, is_interrupted(row) ? "interrupted" : name_of(row.status),
                     duration_text(now_us - row.started_us) + " ago", duration_text(row.updated_us - row.started_us)});
  std::array<std::size_t, count_columns> wide{};
  for (auto& line_of : table)
    for (std::size_t i = 0; i < count_columns; ++i) {
      line_of[i] = printable(line_of[i], most[i]);
      wide[i] = std::max(wide[i], shown_columns(line_of[i]));
    }
  std::string out;
  for (std::size_t n = 0; n < table.size(); ++n) {
    std::string text;
    for (std::size_t i = 0; i < count_columns; ++i) {
      const std::size_t shown = shown_columns(table[n][i]);
      text += padded(std::move(table[n][i]), i + 1 < count_columns || n > 0 ? wide[i] : 0, shown) + "  ";
    }
    if (n > 0)
      text += head(rows[n - 1].reason);
    while (text.ends_with(' '))
      text.pop_back();
    tone as = tone::plain;
    if (n > 0) {
      const auto& row = rows[n - 1];
      as = row.status == run_status::completed                                     ? tone::good
           : is_interrupted(row)                                                   ? tone::notable
           : row.status == run_status::failed || row.status == run_status::aborted ? tone::bad
                                                                                   : tone::plain;
    }
    out += coloured(printable(text, width_of(style)), as, style) + "\n";
  }
  return out;
}

} // namespace troupe::cli
