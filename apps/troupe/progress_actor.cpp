#include "progress_actor.hpp"

#include <set>
#include <utility>

#include <unistd.h>

#include "progress.hpp"
#include "session.hpp"
#include "troupe/actors/runtime.hpp"
#include "troupe/util/clock.hpp"
#include "troupe/util/redact.hpp"

namespace troupe::cli {

namespace {

struct progress_state {
  explicit progress_state(actors::event_sink_actor::pointer) {}
  /// What is left to do at its end: an actor's state goes before its functors run.
  ~progress_state();
  progress_state(const progress_state&) = delete;
  progress_state& operator=(const progress_state&) = delete;
  static inline const char* name = "progress";
  progress_board board{{}};
  live_view view{nullptr};
  timeline_style style;
  shown_as as;
  std::set<std::string> waiting; ///< requests: while there are some, the board stands still
  std::string held;              ///< lines that wait for the end of a question
};

/// Whether the board that was drawn last still stands as it was drawn; else it is left there. In the background nothing is drawn.
bool has_terminal(progress_state& now) {
  const bool background = now.as.live && !in_foreground(STDERR_FILENO);
  if (background || (now.as.continued && now.as.continued->exchange(false)))
    now.view.forget();
  return !background;
}

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

void waits_no_more(progress_state& now, const std::string& id) {
  now.waiting.erase(id);
  if (now.waiting.empty())
    show_held(now);
}

progress_state::~progress_state() {
  as.desk.reset(); // a question that still stands ends its line
  if (as.out)
    show_held(*this);
  if (has_terminal(*this))
    view.clear();
}

void show_approvals(progress_state& now, const event& e) {
  if (const auto* asked = std::get_if<approval_requested>(&e.body)) {
    if (asked->needed == 0) // nobody is asked
      return;
    if (now.waiting.empty() && has_terminal(now))
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
    if (now.as.desk)
      now.as.desk->remove(*end);
    waits_no_more(now, end->id);
  } else if (const auto* gone = std::get_if<approval_withdrawn>(&e.body)) {
    if (now.as.desk)
      now.as.desk->withdraw(*gone, *now.as.is_left);
    waits_no_more(now, gone->id);
  }
}

/// Also between events: a model or a tool at work says nothing, and its time passes all the same.
constexpr std::chrono::seconds drawn_again_after{1};

void draw(progress_state& now) {
  if (!now.as.live || !now.waiting.empty() || !has_terminal(now))
    return;
  if (*now.as.ends_soon)
    now.board.end_soon();
  now.view.draw(now.board.lines(utc_now_us(), {terminal_height(STDERR_FILENO), terminal_width(STDERR_FILENO)}));
}

actors::event_sink_actor::behavior_type progress(actors::event_sink_actor::stateful_pointer<progress_state> self, shown_as as,
                                                 timeline_style style) {
  actors::install_handlers(self);
  auto& state = actors::state_of(self);
  state.board = progress_board(style);
  state.style = std::move(style);
  state.as = std::move(as);
  state.view = live_view(state.as.out);
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

} // namespace

actors::event_sink_actor spawn_progress(caf::actor_system& system, shown_as as, timeline_style style) {
  return system.spawn(progress, std::move(as), style);
}

} // namespace troupe::cli
