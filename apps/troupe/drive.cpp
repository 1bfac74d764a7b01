#include "drive.hpp"

#include <functional>
#include <mutex>
#include <utility>

#include <unistd.h>

#include <spdlog/spdlog.h>

#include "command.hpp"
#include "outcome.hpp"
#include "progress_actor.hpp"
#include "session.hpp"
#include "troupe/actors/quiet_scheduler.hpp"
#include "troupe/store/opened_file.hpp"

namespace troupe::cli {

namespace {

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

/// A wish to cancel may come before the run has its orchestrator: it is kept for it.
class cancel_slot {
public:
  void wish() {
    std::lock_guard guard(mutex_);
    if (!std::exchange(wished_, true) && to_)
      deliver();
  }
  /// `say` is called when the wish is delivered.
  void deliver_to(actors::orchestrator_actor orchestrator, std::function<void()> say) {
    std::lock_guard guard(mutex_);
    to_ = std::move(orchestrator);
    say_ = std::move(say);
    if (wished_)
      deliver();
  }

private:
  void deliver() {
    say_();
    actors::tell_from_outside(to_, actors::cancel_run{"cancelled"});
  }

  std::mutex mutex_;
  bool wished_ = false;
  actors::orchestrator_actor to_;
  std::function<void()> say_;
};

} // namespace

int drive(const run_arguments& arguments, std::shared_ptr<const configuration> config, const std::shared_ptr<store::journal>& journal,
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
  const store::opened_file opened(journal_path);

  const bool on_terminal = ::isatty(STDERR_FILENO) != 0;
  const bool live = on_terminal && !arguments.as_json && !arguments.logs && !is_dumb_terminal() && in_foreground(STDERR_FILENO);
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
    const auto ends_soon = as.ends_soon, is_left = as.is_left;
    as.continued = signals.continued();
    shown =
        spawn_progress(system, std::move(as),
                       timeline_style{.colour = wants_colour(STDERR_FILENO), .width = on_terminal ? terminal_width(STDERR_FILENO) : 240});
    actors::tell_from_outside(runtime.journal(), actors::subscribe{shown, run->run_id});
    signals.graceful_end(
        [orchestrator, ends_soon, is_left, out, says = !live && !arguments.as_json] {
          *ends_soon = *is_left = true; // the board says it when it is drawn again
          if (says)
            out->write("troupe: stopping; what is under way is ended first, and a second signal ends it at once\n");
          actors::tell_from_outside(orchestrator, actors::suspend_run{});
        },
        "\ntroupe: ended at once; what was recorded is kept. Go on with: " + resume_hint(arguments.config, run->run_id, "") + "\n");
    cancels->deliver_to(orchestrator, [ends_soon, out, says = !live && !arguments.as_json] {
      *ends_soon = true;
      if (says)
        out->write("troupe: it is cancelled; what is under way is ended first\n");
    });
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
    auto summary = summary_of(self, runtime, *journal, run->run_id);
    if (summary && summary->status == run_status::running)
      summary->is_left();
    runtime.finish_run(run->run_id);
    if (end.failure.code != error_code::none) {
      tell_error(end.failure.text());
      const auto row = journal->find_run(run->run_id);
      if (opened.in_place() && (row || row.error().code != error_code::not_found))
        std::fprintf(stderr, "What was recorded is kept. Go on with: %s\n", resume_hint(arguments.config, run->run_id, "").c_str());
      return status_unavailable;
    }
    if (!summary)
      return tell(summary.error());
    print_result(*summary, arguments.as_json);
    out->write(outcome_words(arguments.config, *summary, *journal));
    out->finish();
    if (!opened.in_place()) {
      tell_error("journal " + journal_path
                 + ": it was moved, removed or replaced while the run went on; the run is not in what stands there now");
      return status_unavailable;
    }
    return status_of_run(*summary);
  }
}

} // namespace troupe::cli
