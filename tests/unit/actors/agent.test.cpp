#include "test.hpp"

#include "company.hpp"
#include "troupe/model/described.hpp"
#include "troupe/policy/approval_requests.hpp"

// An agent in a whole runtime, and a human who answers at once.

TROUPE_SUITE(agent)

using namespace troupe;

namespace {

struct human_state {
  explicit human_state(actors::event_sink_actor::pointer) {}
};

/// Puts these arguments in the place of whatever waits to be begun. No door has looked at them: another process may have other schemas.
actors::event_sink_actor::behavior_type human(actors::event_sink_actor::stateful_pointer<human_state>, store::journal* journal,
                                              json instead) {
  return {[journal, instead](const actors::published& group) {
    for (const auto& e : group.events)
      if (const auto* asked = std::get_if<approval_requested>(&e->body))
        journal->add_decision(
            {0, e->run_id, asked->id, policy::text_of(policy::approval_decision{policy::approval_choice::modify, "ana", {}, instead}),
             e->time_us},
            [](const auto&) { return expected<void>{}; }, [](const expected<void>&) {});
  }};
}

const std::string config = R"(version: 1
providers: { p: { kind: scripted, script: script.yaml } }
models: { m: { chain: [ { provider: p } ] } }
tools: { calculator: { kind: builtin, risk: high } }
agents: { worker: { model: m, tools: [calculator] } }
workflows: { one: { tasks: [ { id: task, agent: worker, instruction: go } ] } }
)";
const std::string script = R"(version: 1
rules:
  - when: { turn: 1 }
    reply: { tool_calls: [ { name: calculator, arguments: { expression: "6 * 7" } } ] }
  - when: { any: true }
    reply: { text: fine }
)";

} // namespace

TROUPE_TEST("arguments that a human put in a call's place are looked at as the model's are") {
  struct row {
    const char* name;
    json instead;
    tool_status status;
    const char* told;
  };
  for (const auto& r : std::vector<row>{{"they hold", {{"expression", "6 * 8"}}, tool_status::ok, "48"},
                                        {"of another type", {{"expression", 48}}, tool_status::not_started, "do not hold"},
                                        {"one is missing", json::object(), tool_status::not_started, "do not hold"}}) {
    IN_ROW(r.name);
    test::company company(config, script);
    caf::anon_send(company.runtime().journal(), actors::subscribe{company.system().spawn(human, &company.journal(), r.instead), ""});
    CHECK_EQ(company.run("one").status, run_status::completed);
    CHECK_EQ(company.count<tool_started>(), r.status == tool_status::ok ? 1u : 0u);
    REQUIRE(company.count<tool_finished>() == 1);
    for (const auto& e : company.events)
      if (const auto* end = std::get_if<tool_finished>(&e->body)) {
        CHECK_EQ(end->status, r.status);
        CHECK(end->text.find(r.told) != std::string::npos);
      }
  }
}
