// `troupe run` and `troupe resume`: one run in this process, live, with its result at the end.

#include <atomic>
#include <charconv>
#include <condition_variable>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <mutex>
#include <optional>
#include <set>
#include <thread>

#include <csignal>
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <spdlog/spdlog.h>

#include "approving.hpp"
#include "command.hpp"
#include "input.hpp"
#include "output.hpp"
#include "progress.hpp"
#include "session.hpp"
#include "timeline.hpp"
#include "troupe/actors/quiet_scheduler.hpp"
#include "troupe/actors/runtime.hpp"
#include "troupe/config/load.hpp"
#include "troupe/metrics/run_summary.hpp"
#include "troupe/model/described.hpp"
#include "troupe/policy/budget_scope.hpp"
#include "troupe/policy/replay.hpp"
#include "troupe/util/clock.hpp"
#include "troupe/util/duration.hpp"
#include "troupe/util/redact.hpp"
#include "troupe/util/suggest.hpp"

namespace troupe::cli {

namespace {

struct run_arguments {
  std::string config;
  std::string workflow;
  std::string run_id;
  std::string tenant = "default";
  std::string input_file;
  std::vector<std::string> pairs;
  bool as_json = false;
  bool yes = false;
  double add_usd = 0;
  std::int64_t add_steps = 0;
  std::string add_time;
};

// --- what is seen meanwhile ----------------------------------------------------------------------------------------

struct shown_as {
  bool lines = true; ///< false: only what somebody must do
  bool live = false;
  std::shared_ptr<std::atomic<bool>> ends_soon = std::make_shared<std::atomic<bool>>(false);
  std::string config; ///< for hints
  std::shared_ptr<background_writer> out;
  std::shared_ptr<terminal_desk> desk; ///< null: nobody can be asked here
};

/// Shows events as they become durable: a board on a terminal, lines elsewhere. An actor, because the journal streams to actors.
struct progress_state {
  explicit progress_state(actors::event_sink_actor::pointer) {}
  static inline const char* name = "progress";
  progress_board board{{}};
  live_view view{nullptr};
  timeline_style style;
  shown_as as;
  std::set<std::string> waiting; ///< requests: while there are some, the board stands still
  std::string held;              ///< lines that wait for the end of a question
};

/// While a question stands on the terminal, other lines wait: they would break it.
void show_line(progress_state& now, const event& e) {
  constexpr std::size_t held_bytes_max = std::size_t{1} << 20;
  auto line = redacted(render_event(e, now.board.started_us(), now.style));
  if (!now.as.desk || now.waiting.empty())
    now.as.out->write(std::move(line));
  else if (now.held.size() + line.size() <= held_bytes_max) // the journal has them all
    now.held += line;
}

void show_held(progress_state& now) {
  if (!now.held.empty())
    now.as.out->write(std::exchange(now.held, {}));
}

void show_approvals(progress_state& now, const event& e) {
  if (const auto* asked = std::get_if<approval_requested>(&e.body)) {
    if (asked->needed == 0) // nobody is asked
      return;
    if (now.waiting.empty())
      now.view.clear();
    now.waiting.insert(asked->id);
    if (now.as.desk)
      now.as.desk->add(*asked, e.task, e.agent);
    else
      now.as.out->write(redacted(decide_hint(policy::approval_request(*asked), now.as.config)));
  } else if (const auto* vote = std::get_if<approval_voted>(&e.body)) {
    if (now.as.desk)
      now.as.desk->renew(*vote);
  } else if (const auto* end = std::get_if<approval_decided>(&e.body)) {
    now.waiting.erase(end->id);
    if (now.as.desk)
      now.as.desk->remove(*end);
    if (now.waiting.empty())
      show_held(now);
  }
}

/// Also between events: a model or a tool at work says nothing, and its time passes all the same.
constexpr std::chrono::seconds drawn_again_after{1};

void draw(progress_state& now) {
  if (!now.as.live || !now.waiting.empty())
    return;
  if (*now.as.ends_soon)
    now.board.end_soon();
  now.view.draw(now.board.lines(utc_now_us(), {terminal_height(STDERR_FILENO), terminal_width(STDERR_FILENO)}));
}

actors::event_sink_actor::behavior_type progress(actors::event_sink_actor::stateful_pointer<progress_state> self, shown_as as,
                                                 timeline_style style) {
  actors::install_handlers(self);
  auto& state = actors::state_of(self);
  state.style = style;
  state.board = progress_board(style);
  state.as = std::move(as);
  state.view = live_view(state.as.out);
  self->attach_functor([self] {
    auto& now = actors::state_of(self);
    now.as.desk.reset(); // a question that still stands ends its line
    show_held(now);
    now.view.clear();
  });
  const auto draw_later = [self] {
    actors::tell_later(self, caf::actor_cast<actors::event_sink_actor>(self), drawn_again_after, actors::published{});
  };
  if (state.as.live)
    draw_later();
  return {[self, draw_later](const actors::published& group) {
    auto& now = actors::state_of(self);
    for (const auto& e : group.events) {
      now.board.apply(*e);
      if (now.as.lines && !now.as.live)
        show_line(now, *e);
      show_approvals(now, *e);
    }
    if (now.board.started_us() != 0)
      draw(now);
    if (now.as.live && group.events.empty())
      draw_later();
  }};
}

// --- signals -------------------------------------------------------------------------------------------------------

/// Says it where that does not wait for anybody: the program is to end.
void say_at_once(const std::string& text) {
  pollfd out{STDERR_FILENO, POLLOUT, 0};
  if (::poll(&out, 1, 0) != 1 || (out.revents & POLLOUT) == 0)
    return;
  [[maybe_unused]] const auto written = ::write(STDERR_FILENO, text.data(), text.size());
}

/// Turns SIGINT, SIGTERM and SIGHUP into calls on a thread of its own. Made in the main thread before any other, which inherit that these
/// signals are blocked. While a run goes on, the first one asks for a graceful end; before that and afterwards, and with the second one,
/// the program ends at once: the journal has all that was acknowledged.
class signal_watch {
public:
  signal_watch() {
    sigset_t wanted = signals();
    ::pthread_sigmask(SIG_BLOCK, &wanted, nullptr);
    descriptor_ = ::signalfd(-1, &wanted, SFD_CLOEXEC);
    stop_ = ::eventfd(0, EFD_CLOEXEC);
    thread_ = std::thread([this] { watch(); });
  }
  ~signal_watch() {
    const std::uint64_t one = 1;
    [[maybe_unused]] const auto written = ::write(stop_, &one, sizeof one);
    thread_.join();
    ::close(descriptor_);
    ::close(stop_);
  }
  signal_watch(const signal_watch&) = delete;
  signal_watch& operator=(const signal_watch&) = delete;

  /// `last_words` are said when the program then ends at once.
  void graceful_end(std::function<void()> ask, std::string last_words) {
    const std::lock_guard guard(mutex_);
    ask_ = std::move(ask);
    last_words_ = std::move(last_words);
  }

private:
  static sigset_t signals() {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    struct sigaction hang_up {};
    if (::sigaction(SIGHUP, nullptr, &hang_up) == 0 && hang_up.sa_handler != SIG_IGN) // nohup wants it to outlive its terminal
      sigaddset(&set, SIGHUP);
    return set;
  }
  void watch() {
    for (;;) {
      pollfd ready[2] = {{descriptor_, POLLIN, 0}, {stop_, POLLIN, 0}};
      if (::poll(ready, 2, -1) < 0 || (ready[1].revents & POLLIN) != 0)
        return;
      signalfd_siginfo what{};
      if (::read(descriptor_, &what, sizeof what) != sizeof what)
        continue;
      const std::lock_guard guard(mutex_);
      if (!ask_ || std::exchange(asked_, true)) {
        say_at_once(last_words_);
        ::_exit(status_interrupted);
      }
      ask_();
    }
  }

  std::mutex mutex_;
  std::function<void()> ask_; ///< for a graceful end; null: nobody to ask yet
  std::string last_words_;
  bool asked_ = false;
  int descriptor_ = -1;
  int stop_ = -1;
  std::thread thread_;
};

// --- one run -------------------------------------------------------------------------------------------------------

int status_of_run(const run_summary& summary) {
  switch (summary.status) {
  case run_status::completed:
    return status_completed;
  case run_status::aborted:
    return status_aborted;
  case run_status::failed:
    return status_failed;
  default:
    return status_interrupted;
  }
}

std::string resume_hint(const run_arguments& arguments, const std::string& run_id, const std::string& more) {
  return "troupe resume " + shell_word(arguments.config) + " " + run_id + more;
}

void print_result(const run_arguments& arguments, const run_summary& summary) {
  if (arguments.as_json) {
    print_document(result_document(summary));
  } else {
    const auto& result = summary.result;
    if (!result.is_null()) {
      if (result.is_string()) {
        const auto text = redacted(result.get<std::string>());
        print_text(text.ends_with('\n') ? text : text + "\n");
      } else {
        print_document(result);
      }
    }
  }
  std::fflush(stdout);
}

/// The limit that ended the run; null: no budget did.
std::optional<budget_refused> refusal_of(store::journal& journal, const std::string& run_id) {
  std::optional<budget_refused> last;
  if (const auto events = journal.read_run(run_id))
    for (const auto& e : *events)
      if (const auto* refused = std::get_if<budget_refused>(&e->body); refused && policy::ends_the_run(refused->scope))
        last = *refused;
  return last;
}

/// How to go on with a run that did not end, or was ended before its end.
std::string next_step(const run_arguments& arguments, const run_summary& summary, store::journal& journal) {
  const auto go_on = [&](const char* more) { return "Go on with: " + resume_hint(arguments, summary.run_id, more) + "\n"; };
  if (summary.status == run_status::running)
    return go_on("");
  if (summary.status != run_status::aborted)
    return {};
  if (summary.reason == "timeout")
    return go_on(" --add-time 5m");
  if (summary.reason != "budget_exceeded")
    return go_on("");
  const auto limit = refusal_of(journal, summary.run_id);
  if (!limit)
    return go_on(" --add-usd 1 --add-steps 50");
  if (limit->scope == policy::run_scope)
    return go_on(limit->kind == limit_kind::steps  ? " --add-steps 50"
                 : limit->kind == limit_kind::time ? " --add-time 5m"
                                                   : " --add-usd 1");
  if (limit->scope == policy::process_scope) // each process has its own
    return go_on("");
  return "The limit is that of " + limit->scope
         + ", and resume adds to the run's own only. Where it has a period, go on in the next one with: "
         + resume_hint(arguments, summary.run_id, "") + "; else raise it in " + shell_word(arguments.config) + " and start a new run\n";
}

/// What is said beside the result: how it ended, for how much, and what can be done next.
std::string outcome_words(const run_arguments& arguments, const run_summary& summary, store::journal& journal) {
  auto words = "run " + summary.run_id + " " + (summary.status == run_status::running ? "is interrupted" : name_of(summary.status));
  if (!summary.reason.empty())
    words += " (" + summary.reason + ")";
  words += ": " + std::to_string(summary.completed_tasks) + " of " + std::to_string(summary.total_tasks) + " tasks, "
           + to_string(summary.total_cost) + ", " + std::to_string(summary.llm_calls) + " LLM calls, " + std::to_string(summary.tool_calls)
           + " tool calls, " + duration_text(summary.owned_us) + "\n";
  for (const auto& task : summary.results)
    if (task.status != task_status::success && task.status != task_status::skipped && !task.error.empty())
      words += lines_after("troupe: ", task.task_id + ": " + task.error);
  if (summary.in_doubt > 0)
    words += std::to_string(summary.in_doubt) + (summary.in_doubt == 1 ? " call" : " calls")
             + " of a tool with an effect may or may not have taken effect: look at the timeline, and find out\n";
  words += next_step(arguments, summary, journal);
  words += "Timeline: troupe show " + shell_word(arguments.config) + " " + summary.run_id + "\n";
  return redacted(std::move(words));
}

/// The summary of a run as its journal tells it.
expected<run_summary> recorded_summary(store::journal& journal, const std::string& run_id) {
  const auto events = journal.read_run(run_id);
  if (!events)
    return tl::unexpected(events.error());
  metrics::run_fold fold;
  for (const auto& e : *events)
    fold.apply(*e);
  return fold.summary();
}

/// Of a run that has ended here: as it was counted meanwhile. The journal tells of one that was taken up, or goes on later.
expected<run_summary> summary_of(caf::scoped_actor& self, const actors::runtime& runtime, store::journal& journal,
                                 const std::string& run_id) {
  std::shared_ptr<const run_summary> followed;
  actors::ask(self, runtime.metrics(), actors::summary_query{run_id})
      .receive([&](const actors::summary_answer& answer) { followed = answer.summary; }, [](const caf::error&) {});
  if (followed && followed->finished_us != 0)
    return *followed;
  return recorded_summary(journal, run_id);
}

using file_identity = std::pair<dev_t, ino_t>;

/// Which file a path leads to; nullopt: none.
std::optional<file_identity> file_of(const std::string& path) {
  struct stat found;
  return ::stat(path.c_str(), &found) == 0 ? std::optional(file_identity{found.st_dev, found.st_ino}) : std::nullopt;
}

bool in_place(const std::string& path, const std::optional<file_identity>& opened) {
  return opened && file_of(path) == opened;
}

/// A wish to cancel may come before the run has its orchestrator: it is kept for it.
class cancel_slot {
public:
  void wish() {
    std::lock_guard guard(mutex_);
    wished_ = true;
    if (to_)
      actors::tell_from_outside(to_, actors::cancel_run{"cancelled"});
  }
  void deliver_to(actors::orchestrator_actor orchestrator) {
    std::lock_guard guard(mutex_);
    to_ = std::move(orchestrator);
    if (wished_)
      actors::tell_from_outside(to_, actors::cancel_run{"cancelled"});
  }

private:
  std::mutex mutex_;
  bool wished_ = false;
  actors::orchestrator_actor to_;
};

using beginning = std::function<expected<actors::started_run>(actors::runtime&)>;

int drive(const run_arguments& arguments, std::shared_ptr<const configuration> config, std::shared_ptr<store::journal> journal,
          signal_watch& signals, const beginning& begin) {
  caf::actor_system_config cfg;
  actors::prepare(cfg);
  actors::use_quiet_scheduler(cfg);
  caf::actor_system system{cfg};
  auto started = actors::runtime::start(system, std::move(config), {.journal = journal});
  if (!started)
    return tell(started.error());
  auto& runtime = **started;
  const auto journal_path = runtime.config().journal.path;
  const auto opened = file_of(journal_path);

  const bool on_terminal = ::isatty(STDERR_FILENO) != 0;
  const bool live = on_terminal && !arguments.as_json && !is_dumb_terminal();
  if (live) // the board and the outcome tell what happened; a line amid the board would break it
    spdlog::set_level(spdlog::level::off);
  actors::event_sink_actor shown;
  const auto cancels = std::make_shared<cancel_slot>();
  journal->on_cancel_request([cancels](const std::string&) { cancels->wish(); });
  {
    auto run = begin(runtime);
    if (!run)
      return tell(run.error());
    const auto orchestrator = run->orchestrator;
    const auto out = std::make_shared<background_writer>(STDERR_FILENO);
    shown_as as{.lines = !arguments.as_json, .live = live, .config = arguments.config, .out = out, .desk = {}};
    if (on_terminal && ::isatty(STDIN_FILENO) != 0)
      as.desk = std::make_shared<terminal_desk>(journal, out, arguments.config);
    const auto ends_soon = as.ends_soon;
    shown = system.spawn(progress, std::move(as),
                         timeline_style{.colour = wants_colour(STDERR_FILENO), .width = on_terminal ? terminal_width(STDERR_FILENO) : 240});
    actors::tell_from_outside(runtime.journal(), actors::subscribe{shown, run->run_id});
    signals.graceful_end(
        [orchestrator, ends_soon, out, says = !live && !arguments.as_json] {
          *ends_soon = true; // the board says it when it is drawn again
          if (says)
            out->write("troupe: stopping; what is under way is ended first, and a second signal ends it at once\n");
          actors::tell_from_outside(orchestrator, actors::suspend_run{});
        },
        "\ntroupe: ended at once; what was recorded is kept. Go on with: " + resume_hint(arguments, run->run_id, "") + "\n");
    cancels->deliver_to(orchestrator);
    actors::run_ended end;
    caf::scoped_actor self{system};
    actors::ask(self, orchestrator, actors::start_run{})
        .receive([&](const actors::run_ended& answer) { end = answer; },
                 [&](const caf::error& reason) {
                   end.failure = error{error_code::internal, "the orchestrator ended: " + actors::text_of(reason), run->run_id};
                 });
    signals.graceful_end([] {}, {}); // it has ended: what follows only tells of it
    journal->on_cancel_request(nullptr);
    if (shown) {
      self->monitor(shown);
      self->send_exit(shown, caf::exit_reason::user_shutdown);
      self->receive([](const caf::down_msg&) {});
    }
    out->finish();
    const auto summary = summary_of(self, runtime, *journal, run->run_id);
    runtime.finish_run(run->run_id);
    if (end.failure.code != error_code::none) {
      tell_error(end.failure.text());
      const auto row = journal->find_run(run->run_id);
      if (in_place(journal_path, opened) && (row || row.error().code != error_code::not_found))
        std::fprintf(stderr, "What was recorded is kept. Go on with: %s\n", resume_hint(arguments, run->run_id, "").c_str());
      return status_unavailable;
    }
    if (!summary)
      return tell(summary.error());
    print_result(arguments, *summary);
    out->write(outcome_words(arguments, *summary, *journal));
    out->finish();
    if (!in_place(journal_path, opened)) {
      tell_error("journal " + journal_path
                 + ": it was moved, removed or replaced while the run went on; the run is not in what stands there now");
      return status_unavailable;
    }
    return status_of_run(*summary);
  }
}

int run(const run_arguments& arguments) {
  signal_watch signals;
  auto config = load_and_warn(arguments.config);
  if (!config)
    return status_usage;
  const auto workflow = config->workflows.find(arguments.workflow);
  auto input =
      read_input(arguments.input_file, arguments.pairs, workflow == config->workflows.end() ? json() : workflow->second.input_schema);
  if (!input)
    return tell(input.error());
  auto journal = open_journal(*config, true);
  if (!journal)
    return tell(journal.error());
  return drive(arguments, config, *journal, signals, [&](actors::runtime& runtime) {
    return runtime.start_run({.run_id = arguments.run_id,
                              .workflow = arguments.workflow,
                              .tenant = arguments.tenant,
                              .input = *input,
                              .approve_all = arguments.yes});
  });
}

int resume(const run_arguments& arguments) {
  signal_watch signals;
  const auto config = load_for_journal(arguments.config);
  if (!config)
    return status_usage;
  auto journal = open_journal(*config, false);
  if (!journal)
    return tell(journal.error());
  const auto events = (*journal)->read_run(arguments.run_id);
  if (!events)
    return tell(events.error());
  for (const auto& words : (*journal)->notes(arguments.run_id))
    tell_error(words);
  const auto history = policy::rebuild_run(*events);
  if (history.ended && history.end.status != run_status::aborted) {
    const auto summary = recorded_summary(**journal, arguments.run_id);
    if (!summary)
      return tell(summary.error());
    if (arguments.add_usd > 0 || arguments.add_steps > 0 || !arguments.add_time.empty())
      tell_error("run " + arguments.run_id + " has ended, and what is added to its limits changes nothing; this is its result");
    print_result(arguments, *summary);
    std::fputs(outcome_words(arguments, *summary, **journal).c_str(), stderr);
    return status_of_run(*summary);
  }
  // A run keeps the configuration that it started with.
  auto kept = config::resolve(history.start.configuration ? *history.start.configuration : json(), config->file);
  if (!kept)
    return tell(kept.error());
  kept->journal = config->journal; // it may have been moved: this one is open, and hidden from tools
  actors::run_additions more;
  more.approve_all = arguments.yes;
  more.money = usd::from_dollars(arguments.add_usd);
  more.steps = arguments.add_steps;
  if (!arguments.add_time.empty()) {
    const auto time = parse_duration(arguments.add_time);
    if (!time)
      return tell(time.error());
    more.time = *time;
  }
  return drive(arguments, std::make_shared<const configuration>(std::move(*kept)), *journal, signals,
               [&](actors::runtime& runtime) { return runtime.resume_run(arguments.run_id, more); });
}

// --- options -------------------------------------------------------------------------------------------------------

/// What is wrong with it, or nothing. CLI::Range would let nan through, which is neither below nor above anything.
std::string dollars_problem(const std::string& text) {
  double dollars = 0;
  const auto* end = text.data() + text.size();
  const auto read = std::from_chars(text.data(), end, dollars);
  if (read.ec == std::errc{} && read.ptr == end && dollars > 0 && usd::from_dollars(dollars).micro == 0)
    return in_quotes(text) + " is less than can be counted; the least is 0.000001";
  if (read.ec == std::errc{} && read.ptr == end && dollars >= 0 && dollars <= 1e9)
    return {};
  return in_quotes(text) + " is no amount that can be added; write dollars from 0 to 1000000000, as in 2.50";
}

std::string duration_problem(const std::string& text) {
  const auto time = parse_duration(text);
  return time ? std::string() : time.error().message;
}

} // namespace

void add_run(CLI::App& app, const global_options&, action& chosen) {
  auto arguments = std::make_shared<run_arguments>();
  auto* command = app.add_subcommand("run", "Runs a workflow in this process and prints its result");
  command->add_option("CONFIG", arguments->config, "Configuration file")->required();
  command->add_option("WORKFLOW", arguments->workflow, "Name of a workflow in it")->required();
  command->add_option("-i", arguments->pairs, "Input: key=value; a string where the input's schema allows one, else JSON")
      ->take_all()
      ->allow_extra_args(false);
  command->add_option("--input", arguments->input_file, "Input: a JSON or YAML file, - for standard input");
  command->add_option("--tenant", arguments->tenant, "Whose run it is")->capture_default_str();
  command->add_option("--id", arguments->run_id, "Id of the run; by default a new one is made")
      ->check(
          [](const std::string& id) {
            if (id.empty())
              return std::string("an id is 1 to 64 letters, digits, dots, dashes and underscores");
            return id.front() == '-' ? std::string("an id does not begin with a dash: commands would take it for an option")
                                     : std::string();
          },
          "");
  command->add_flag("--json", arguments->as_json, "Print the result document, and nothing else, on standard output");
  command->add_flag("--yes", arguments->yes, "Approve every risky action");
  command->callback([arguments, &chosen] { chosen = [arguments] { return run(*arguments); }; });
}

void add_resume(CLI::App& app, const global_options&, action& chosen) {
  auto arguments = std::make_shared<run_arguments>();
  auto* command = app.add_subcommand("resume", "Goes on with a run from the journal; of one that has ended, prints its result again");
  command->add_option("CONFIG", arguments->config, "Configuration file")->required();
  command->add_option("RUN", arguments->run_id, "Id of the run")->required();
  command->add_option("--add-usd", arguments->add_usd, "Dollars more for the run")->check(dollars_problem, "0 to 1000000000");
  command->add_option("--add-steps", arguments->add_steps, "Steps (LLM calls) more")
      ->check(CLI::Range(std::int64_t{0}, std::int64_t{1'000'000'000}));
  command->add_option("--add-time", arguments->add_time, "Time more, as in 5m")->check(duration_problem);
  command->add_flag("--json", arguments->as_json, "Print the result document, and nothing else, on standard output");
  command->add_flag("--yes", arguments->yes, "Approve every risky action");
  command->callback([arguments, &chosen] { chosen = [arguments] { return resume(*arguments); }; });
}

} // namespace troupe::cli
