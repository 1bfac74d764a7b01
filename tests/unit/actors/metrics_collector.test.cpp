#include <caf/all.hpp>

#include "test.hpp"

#include "store/journal_support.hpp"
#include "troupe/actors/metrics_collector.hpp"
#include "troupe/actors/runtime.hpp"

TROUPE_SUITE(metrics_collector)

using namespace troupe;
using namespace troupe::test;

namespace {

struct collecting {
  collecting() { actors::prepare(config); }
  caf::actor_system_config config;
  caf::actor_system system{config};
  actors::metrics_collector_actor collector = actors::spawn_metrics_collector(system);
  caf::scoped_actor self{system};

  void publish(std::vector<event_ptr> events) { self->send(collector, actors::published{std::move(events)}); }
  std::shared_ptr<const run_summary> summary(const std::string& run_id) {
    std::shared_ptr<const run_summary> told;
    self->request(collector, caf::infinite, actors::summary_query{run_id})
        .receive([&](const actors::summary_answer& answer) { told = answer.summary; },
                 [&](const caf::error& reason) { CAF_FAIL(caf::to_string(reason)); });
    return told;
  }
};

event_ptr begin(const std::string& run_id, std::int64_t seq = 1) {
  run_started start;
  start.workflow = "job";
  return make_event(run_id, seq, start);
}

} // namespace

TROUPE_TEST_WITH(collecting, "a run that begins here is followed from its first event until it is closed") {
  CHECK(summary("r") == nullptr);
  publish({begin("r"), begin("other")});
  run_finished end;
  end.status = run_status::completed;
  end.result = "good";
  publish({make_event("r", 2, end)});
  REQUIRE(summary("r") != nullptr);
  CHECK_EQ(summary("r")->workflow, "job");
  CHECK(summary("r")->status == run_status::completed);
  CHECK(summary("other")->status == run_status::running);
  self->send(collector, actors::close_run{"r"});
  CHECK(summary("r") == nullptr);
  CHECK(summary("other") != nullptr);
  publish({make_event("r", 3, message_injected{"late", "test"})}); // what still comes begins nothing
  CHECK(summary("r") == nullptr);
}

TROUPE_TEST_WITH(collecting, "of a run that was taken up nothing is told: its earlier events were never heard") {
  publish({make_event("r", 7, run_resumed{})});
  CHECK(summary("r") == nullptr);
}
