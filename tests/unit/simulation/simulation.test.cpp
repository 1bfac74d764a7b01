#include "test.hpp"

#include "simulation/scenario.hpp"

TROUPE_SUITE(simulation)

using namespace troupe;
using namespace troupe::simulation;

namespace {

const scenario two_workers{
    .name = "two_workers",
    .config = R"(version: 1
providers: { p: { kind: scripted, script: script.yaml } }
models: { m: { chain: [ { provider: p, model: first, usd_per_mtok: { input: 10, output: 10 } } ] } }
tools: { look: { kind: process, description: Looks, command: [look], effect: none, parameters: { type: object, properties: { at: { type: string } } } } }
agents: { worker: { model: m, tools: [look], max_tokens: 300 } }
supervision: { name: root, children: [ { pool: worker, size: 2 } ] }
workflows:
  main: { tasks: [ { id: all, agent: worker, for_each: "{{ input.list }}", parallel: 2, instruction: "Do {{ item }}" } ] }
)",
    .script = R"(version: 1
rules:
  - when: { turn: 1 }
    reply: { tool_calls: [ { name: look, arguments: { at: "{{ last }}" } } ] }
  - when: { any: true }
    reply: { text: "Seen: {{ last }}" }
)",
    .input = {{"list", {1, 2, 3}}},
};

} // namespace

TROUPE_TEST("a whole company runs under virtual time: it ends right, and no real time is waited for") {
  const stage on(two_workers);
  const auto played = on.play();
  CHECK_EQ(played.summary.status, run_status::completed);
  CHECK_EQ(played.summary.llm_calls, 6);
  CHECK_EQ(played.summary.tool_calls, 3);
  CHECK_EQ(played.summary.result.dump(),
           std::string(R"(["Seen: look did {\"at\":\"Do 1\"}","Seen: look did {\"at\":\"Do 2\"}","Seen: look did {\"at\":\"Do 3\"}"])"));
  // Two at once: two rounds of 200 + 50 + 200 ms.
  CHECK_EQ(played.summary.finished_us - played.summary.started_us, 900'000);
  CHECK(played.broken.empty());
}

TROUPE_TEST("the same seed gives the same events, another seed others, and the same result") {
  const stage on(two_workers);
  const auto once = on.play();
  const auto again = on.play();
  CHECK_EQ(once.digest, again.digest);
  CHECK_EQ(once.lengths.at(0), again.lengths.at(0));
  auto other = two_workers;
  other.seed = 2;
  const auto different = stage(other).play();
  CHECK(once.digest != different.digest);
  CHECK_EQ(different.summary.result, once.summary.result);
}
