#include "approving.hpp"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>

#include <poll.h>
#include <pwd.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "command.hpp"
#include "session.hpp"
#include "timeline.hpp"
#include "troupe/model/described.hpp"
#include "troupe/store/approvals.hpp"
#include "troupe/util/clock.hpp"
#include "troupe/util/parse_json.hpp"
#include "troupe/util/redact.hpp"
#include "troupe/util/suggest.hpp"

namespace troupe::cli {

namespace {

std::string dumped(const json& value) {
  return value.is_string() ? value.get<std::string>() : value.dump(-1, ' ', false, json::error_handler_t::replace);
}

std::string left_text(std::int64_t left_us) {
  return left_us > 0 ? duration_text(left_us) + " left" : "its time is up";
}

/// What a call comes to where its tool fails; the riskiest first, since a line may be cut.
std::string alternatives_text(const json& alternatives) {
  std::vector<std::pair<risk, std::string>> found;
  for (const auto& each : alternatives)
    if (each.is_object())
      found.emplace_back(enum_named<risk>(each.value("risk", "")).value_or(risk::critical), each.value("tool", ""));
  std::stable_sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
  std::string text;
  for (const auto& [how_bad, tool] : found)
    text += (text.empty() ? "" : ", ") + in_quotes(tool) + " (risk " + name_of(how_bad) + ")";
  return text;
}

constexpr std::size_t value_bytes_max = 16u << 10;
constexpr std::size_t members_max = 200;

/// Shown with its own line breaks; what is left out at its end is told.
void add_text(std::vector<std::string>& lines, const std::string& first, const std::string& rest, const std::string& text) {
  const auto shown = safe_prefix(text, value_bytes_max);
  std::string_view left = shown;
  for (auto indent = first; !left.empty(); indent = rest) {
    const auto end = left.find('\n');
    lines.push_back(indent + printable(left.substr(0, end), std::string::npos));
    left = end == std::string_view::npos ? std::string_view{} : left.substr(end + 1);
  }
  if (shown.size() < text.size())
    lines.push_back(rest + "… and " + std::to_string(text.size() - shown.size()) + " bytes more, which `troupe approvals --json` has");
}

/// In one line where that fits, else each member in its own.
void add_whole(std::vector<std::string>& lines, const std::string& name, const json& value, std::size_t room) {
  const auto text = dumped(value);
  if (text.empty())
    return;
  if (text.find('\n') == std::string::npos && shown_columns(printable(text, std::string::npos)) + name.size() <= room) {
    lines.push_back("  " + name + printable(text, std::string::npos));
    return;
  }
  if (!value.is_object()) {
    add_text(lines, "  " + name, "    ", text);
    return;
  }
  lines.push_back("  " + name.substr(0, name.find_last_not_of(' ') + 1));
  std::size_t shown = 0;
  for (const auto& [key, each] : value.items()) {
    if (++shown > members_max) {
      lines.push_back("    … and " + std::to_string(value.size() - members_max) + " more, which `troupe approvals --json` has");
      return;
    }
    add_text(lines, "    " + printable(key, 200) + ": ", "      ", each.dump(-1, ' ', false, json::error_handler_t::replace));
  }
}

} // namespace

std::vector<std::string> request_lines(const policy::approval_request& request, const std::string& task, const std::string& agent,
                                       std::int64_t now_us, std::size_t width) {
  const auto& what = request.what();
  const auto room = std::max<std::size_t>(width, 60) - 2;
  std::vector<std::string> lines;
  auto head = request.id() + "  " + name_of(what.kind) + " " + printable(what.subject, 60) + ", risk " + name_of(what.risk_level) + ", "
              + left_text(what.deadline_us - now_us);
  if (what.needed > 1)
    head += ", " + std::to_string(request.approvals()) + " of " + std::to_string(what.needed) + " approvals";
  lines.push_back(std::move(head));
  const auto add = [&](const std::string& name, const json& value) { add_whole(lines, name, value, room); };
  add("task: ", task + (agent.empty() ? "" : ", agent " + agent));
  const std::string name = what.kind == approval_kind::tool ? "arguments: " : what.kind == approval_kind::output ? "output: " : "action: ";
  if (request.modified_by().empty()) {
    add(name, what.action);
  } else {
    add("CHANGED by: ", request.modified_by());
    add(name, request.modified_action());
    add("asked for: ", what.action);
  }
  if (what.details.is_object()) {
    add("does: ", what.details.value("description", ""));
    add("IN DOUBT: ", what.details.value("in_doubt", ""));
    add("why: ", what.details.value("why", ""));
    if (const auto others = what.details.find("alternatives"); others != what.details.end() && others->is_array())
      add("if it fails: ", alternatives_text(*others));
    if (const auto answers = what.details.find("answers");
        what.kind == approval_kind::conflict && answers != what.details.end() && answers->is_array())
      for (std::size_t i = 0; i < answers->size(); ++i)
        add("answer " + std::to_string(i + 1) + ": ", (*answers)[i].value("answer", json()));
  }
  return lines;
}

std::string decide_hint(const policy::approval_request& request, const std::string& config) {
  const auto file = shell_word(config);
  return "Waits for approval until " + iso8601_utc(request.what().deadline_us) + ". Decide with: troupe approve " + file + " "
         + request.id() + "   (or: troupe reject … --comment WHY)\n";
}

std::string outcome_line(const policy::approval_request& request, bool owned) {
  const auto& what = request.what();
  if (!request.end())
    return request.id() + ": " + std::to_string(request.approvals()) + " of " + std::to_string(what.needed)
           + " approvals; it waits for another reviewer";
  return request.id() + " is " + name_of(request.end()->status) + (owned ? "" : "; it counts when its run is resumed");
}

int status_of_decision(const error& problem) {
  if (problem.code == error_code::conflict || problem.code == error_code::timeout)
    return status_failed;
  return status_of(problem);
}

std::string user_name() {
  const auto* entry = ::getpwuid(::getuid());
  return entry && entry->pw_name && *entry->pw_name ? entry->pw_name : "uid " + std::to_string(::getuid());
}

std::optional<policy::approval_decision> decision_in(const std::string& line, const std::string& reviewer) {
  const auto begin = line.find_first_not_of(" \t");
  if (begin == std::string::npos)
    return {};
  const auto end = line.find_first_of(" \t", begin);
  const auto word = line.substr(begin, end == std::string::npos ? end : end - begin);
  const auto rest_at = end == std::string::npos ? end : line.find_first_not_of(" \t", end);
  const auto rest = rest_at == std::string::npos ? std::string{} : line.substr(rest_at);
  if (word == "a" || word == "approve" || word == "y" || word == "yes")
    return policy::approval_decision{policy::approval_choice::approve, reviewer, rest, nullptr, {}};
  if (word == "r" || word == "reject" || word == "n" || word == "no")
    return policy::approval_decision{policy::approval_choice::reject, reviewer, rest, nullptr, {}};
  if (word == "m" || word == "modify")
    if (const auto changed = parse_bounded(rest))
      return policy::approval_decision{policy::approval_choice::modify, reviewer, {}, *changed, {}};
  return {};
}

terminal_desk::terminal_desk(std::shared_ptr<store::journal> journal, std::shared_ptr<background_writer> out, std::string config)
    : journal_(std::move(journal)), out_(std::move(out)), config_(std::move(config)), poke_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  thread_ = std::thread([this] { loop(); });
}

terminal_desk::~terminal_desk() {
  {
    const std::lock_guard guard(mutex_);
    stopping_ = true;
    if (!standing_.empty())
      out_->write("\n");
  }
  poke();
  thread_.join();
  ::close(poke_);
}

void terminal_desk::poke() {
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto written = ::write(poke_, &one, sizeof one);
}

void terminal_desk::add(const approval_requested& what, const std::string& task, const std::string& agent) {
  {
    const std::lock_guard guard(mutex_);
    if (std::none_of(waiting_.begin(), waiting_.end(), [&](const waiting& one) { return one.what.id == what.id; }))
      waiting_.push_back({what, task, agent});
  }
  poke();
}

void terminal_desk::end(const std::string& id, const std::string& words) {
  {
    const std::lock_guard guard(mutex_);
    std::erase_if(waiting_, [&](const waiting& one) { return one.what.id == id; });
    if (standing_ == id) {
      standing_.clear();
      out_->write(redacted(printable(words, 1'000)) + "\n");
    }
  }
  poke();
}

void terminal_desk::remove(const approval_decided& end) {
  this->end(end.id, policy::decided_words(end));
}

void terminal_desk::withdraw(const approval_withdrawn& gone, bool run_is_left) {
  if (run_is_left)
    end(gone.id, "it can still be decided, by `troupe approve`, `reject` or `modify`: that counts when the run is resumed");
  else
    end(gone.id, "nobody waits for it any more");
}

void terminal_desk::renew(const approval_voted& vote) {
  {
    const std::lock_guard guard(mutex_);
    if (standing_ != vote.id)
      return;
    standing_.clear();
    renewed_ = true;
    out_->write("\n" + redacted(printable(vote.reviewer, 200))
                + (vote.modified_action.is_null() ? " has approved it\n" : " has changed it\n"));
  }
  poke();
}

void terminal_desk::forget(const std::string& id) {
  const std::lock_guard guard(mutex_);
  std::erase_if(waiting_, [&](const waiting& one) { return one.what.id == id; });
}

/// Whether the question stands now.
bool terminal_desk::prompt(const std::string& id) {
  const std::lock_guard guard(mutex_);
  if (stopping_ || std::none_of(waiting_.begin(), waiting_.end(), [&](const waiting& one) { return one.what.id == id; }))
    return false;
  standing_ = id;
  out_->write("[a]pprove, [r]eject COMMENT, [m]odify JSON? ");
  return true;
}

/// The line of the question has ended.
void terminal_desk::answered() {
  const std::lock_guard guard(mutex_);
  standing_.clear();
}

bool terminal_desk::still_stands(const std::string& id) {
  const std::lock_guard guard(mutex_);
  return !stopping_ && !renewed_ && std::any_of(waiting_.begin(), waiting_.end(), [&](const waiting& one) { return one.what.id == id; });
}

terminal_desk::typed terminal_desk::read_line(std::string& line) {
  pollfd files[2] = {{poke_, POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
  if (::poll(files, 2, -1) < 0)
    return typed::changed;
  if ((files[0].revents & POLLIN) != 0) {
    std::uint64_t count = 0;
    [[maybe_unused]] const auto drained = ::read(poke_, &count, sizeof count);
    return typed::changed;
  }
  char bytes[4096];
  const auto got = ::read(STDIN_FILENO, bytes, sizeof bytes);
  if (got < 0)
    return errno == EINTR || errno == EAGAIN ? typed::changed : typed::closed;
  if (got == 0)
    return (files[1].revents & (POLLHUP | POLLERR)) != 0 ? typed::closed : typed::ended;
  line.append(bytes, static_cast<std::size_t>(got));
  return typed::line;
}

std::optional<policy::approval_request> terminal_desk::look_up(const waiting& one) const {
  auto known = store::find_approval(*journal_, one.what.id);
  if (!known)
    return policy::approval_request(one.what);
  if (!known->request.pending())
    return std::nullopt;
  return std::move(known->request);
}

void terminal_desk::ask(const waiting& one) {
  const auto& id = one.what.id;
  {
    const std::lock_guard guard(mutex_);
    renewed_ = false;
  }
  const auto request = look_up(one);
  if (!request) {
    forget(id);
    return;
  }
  std::string text = "\n";
  for (const auto& line : request_lines(*request, one.task, one.agent, utc_now_us(), terminal_width(STDERR_FILENO)))
    text += line + "\n";
  const auto hint = redacted(decide_hint(*request, config_));
  out_->write(redacted(text));
  out_->finish(); // what is typed before it can be read answers nothing
  if (!in_foreground(STDIN_FILENO)) {
    out_->write(hint);
    forget(id);
    return;
  }
  discard_typed();
  std::string typed_in;
  for (bool stands = prompt(id); stands && still_stands(id);) {
    const auto got = read_line(typed_in);
    if (got == typed::closed || got == typed::ended) {
      answered();
      out_->write("\n" + hint);
      typed_in.clear();
      if (got == typed::closed)
        forget(id);
      else
        stands = prompt(id);
      continue;
    }
    const auto end = typed_in.find('\n');
    if (end == std::string::npos)
      continue;
    answered();
    const auto decision = decision_in(typed_in.substr(0, end), user_name());
    typed_in.erase(0, end + 1);
    if (!decision) {
      stands = prompt(id);
      continue;
    }
    // By the id that was shown: of what has changed since, the journal knows that nobody here has seen it.
    const auto decided = store::decide(*journal_, request->id(), *decision, utc_now_us());
    if (!decided) {
      out_->write(lines_after("troupe: ", decided.error().text()));
      if (decided.error().code == error_code::invalid_argument) {
        stands = prompt(id);
        continue;
      }
      if (const auto now = look_up(one); now && now->id() != request->id())
        return; // it is asked anew
    } else if (!decided->request.end()) {
      out_->write(outcome_line(decided->request, true) + "\n");
    }
    forget(id);
  }
}

void terminal_desk::loop() {
  // A process that comes into the background while it reads is not stopped, but told.
  sigset_t background;
  sigemptyset(&background);
  sigaddset(&background, SIGTTIN);
  ::pthread_sigmask(SIG_BLOCK, &background, nullptr);
  for (;;) {
    std::optional<waiting> next;
    {
      const std::lock_guard guard(mutex_);
      if (stopping_)
        return;
      if (!waiting_.empty())
        next = waiting_.front();
    }
    if (next) {
      ask(*next);
      continue;
    }
    pollfd file{poke_, POLLIN, 0};
    ::poll(&file, 1, -1);
    std::uint64_t count = 0;
    [[maybe_unused]] const auto drained = ::read(poke_, &count, sizeof count);
  }
}

} // namespace troupe::cli
