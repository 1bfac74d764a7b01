#pragma once
// Who shows a run while it goes on: a board on a terminal, lines elsewhere. An actor, because the journal streams to actors.

#include <atomic>
#include <memory>
#include <string>

#include "approving.hpp"
#include "background_writer.hpp"
#include "timeline.hpp"
#include "troupe/actors/interfaces.hpp"

namespace troupe::cli {

struct shown_as {
  bool lines = true; ///< false: only what somebody must do
  bool live = false;
  std::shared_ptr<std::atomic<bool>> ends_soon = std::make_shared<std::atomic<bool>>(false);
  std::shared_ptr<std::atomic<bool>> is_left = std::make_shared<std::atomic<bool>>(false); ///< it ends soon, and can be resumed as it is
  std::shared_ptr<std::atomic<bool>> continued;                                            ///< `signal_watch::continued`
  std::string config;                                                                      ///< for hints
  std::shared_ptr<background_writer> out;
  std::shared_ptr<terminal_desk> desk; ///< null: nobody can be asked here
};

/// Shows events as they become durable.
actors::event_sink_actor spawn_progress(caf::actor_system& system, shown_as as, timeline_style style);

} // namespace troupe::cli
