#include "checks_support.hpp"

TROUPE_SUITE(config_checks)

using namespace troupe;
using namespace troupe::config;
using namespace troupe::config::checks;

TROUPE_TEST("numbers and times stand in their bounds") {
  const auto model = [](const std::string& rest) {
    return sections{{"models", "{ fast: { chain: [ { provider: rehearsal } ], " + rest + " } }"}};
  };
  const auto agent = [](const std::string& rest) { return sections{{"agents", "{ writer: { model: fast, " + rest + " } }"}}; };
  check({
      {"cap below base", model("retry: { base: 10s, cap: 1s }"),
       "/models/fast/retry/cap: the longest pause (cap, 1s) is shorter than the first (base, 10s)"},
      {"hedge", model("hedge: { after: p99 }"), "/models/fast/hedge/after: \"p99\" is no duration"},
      {"window below repeats", agent("loop: { repeats: 5, window: 4 }"),
       "/agents/writer/loop/window: a window of 4 calls cannot hold 5 repeats"},
      {"no tokens", agent("max_tokens: 0"), "/agents/writer/max_tokens: 0 is less than the minimum 1"},
      {"hot", agent("temperature: 3"), "/agents/writer/temperature: 3 is more than the maximum 2"},
      {"budget", agent("budget: { usd: -1 }"), "/agents/writer/budget/usd: -1 is less than the minimum 0"},
      {"too rich", agent("budget: { usd: 2000000000 }"), "/agents/writer/budget/usd: 2000000000 is more than the maximum 1000000000"},
      {"money that is none", agent("budget: { usd: 5 dollars }"), "/agents/writer/budget/usd: \"5 dollars\" is no amount of US dollars"},
      {"no steps", agent("budget: { steps: 0 }"), "/agents/writer/budget/steps: 0 is less than the minimum 1"},
      {"a time beyond all", agent("timeout: 99999999999d"), "/agents/writer/timeout: \"99999999999d\" is longer than 100 years"},
      {"lengths", agent("output: { min_length: 5, max_length: 4 }"),
       "/agents/writer/output/min_length: min_length (5) is more than max_length (4)"},
      {"size",
       {{"tools", "{ grep: { kind: process, description: d, command: [grep], effect: none, limits: { memory: 512 MB } } }"},
        {"agents", "{ writer: { model: fast } }"}},
       "/tools/grep/limits/memory: \"512 MB\" is no size"},
      {"a yes that is no boolean",
       {{"providers", "{ rehearsal: { kind: scripted, script: s.yaml, stream: yes } }"}},
       "/providers/rehearsal/stream: \"yes\" is a string, but must be a boolean; write true"},
      {"an empty mapping", {{"workflows", ""}}, "/workflows: is empty, but must be a mapping"},
  });
}

TROUPE_TEST("schemas and patterns are compiled, and refused where they stand") {
  const auto agent = [](const std::string& rest) { return sections{{"agents", "{ writer: { model: fast, output: { " + rest + " } } }"}}; };
  check({
      {"output", agent("schema: { type: objekt }"), "/agents/writer/output/schema/type: "},
      {"remote reference", agent("schema: { properties: { a: { $ref: \"https://example.com/x\" } } }"),
       "/agents/writer/output/schema/properties/a/$ref: "},
      {"a pattern beyond RE2", agent("schema: { pattern: \"(?=a)\" }"), "/agents/writer/output/schema/pattern: "},
      {"matches", agent("matches: \"(a\""), "/agents/writer/output/matches: "},
      {"not_matches", agent("not_matches: \"(?<=a)b\""), "/agents/writer/output/not_matches: "},
      {"parameters",
       {{"tools",
         "{ grep: { kind: process, description: d, command: [grep], effect: none, parameters: { properties: { a: { minimum: x } } } } }"},
        {"agents", "{ writer: { model: fast } }"}},
       "/tools/grep/parameters/properties/a/minimum: "},
      {"parameters of no object",
       {{"tools", "{ grep: { kind: process, description: d, command: [grep], effect: none, parameters: { type: array } } }"},
        {"agents", "{ writer: { model: fast } }"}},
       "/tools/grep/parameters/type: arguments are named"},
      {"input",
       {{"workflows", workflow("{ id: a, agent: writer, instruction: Go. }", "input: { schema: { required: x } }, ")}},
       "/workflows/report/input/schema/required: "},
      {"when",
       {{"workflows", workflow("{ id: a, agent: writer, instruction: Go. }, { id: b, agent: writer, instruction: Go., when: { task: a, "
                               "matches: { enum: 1 } } }")}},
       "/workflows/report/tasks/1/when/matches/enum: "},
  });
}

TROUPE_TEST("warnings do not refuse a file") {
  const std::vector<std::pair<sections, const char*>> rows{
      {{{"workflows", workflow("{ id: a, agent: writer, parallel: 3, instruction: Go. }")}},
       "/workflows/report/tasks/0/parallel: no meaning without for_each"},
      {{{"workflows",
         workflow("{ id: a, agent: writer, instruction: \"{{ input.topik }}\" }", "input: { schema: { properties: { topic: {} } } }, ")}},
       "/workflows/report/tasks/0/instruction: the schema of the input has no property \"topik\"; did you mean \"topic\"?"},
      {{{"workflows", workflow("{ id: a, agents: [writer, editor], instruction: Go., resolve: { by: arbiter, arbiter: editor } }")}},
       "/workflows/report/tasks/0/agents/1: agent \"editor\" would decide about its own answer"},
      {{{"tools",
         "{ post: { kind: http, description: d, method: POST, url: \"https://x/\", parameters: { type: object, properties: { a: {} } }, "
         "content_type: text/xml, body: \"<a>{{ a }}</a>\" } }"},
        {"agents", "{ writer: { model: fast } }"}},
       "/tools/post/body: values are put into a text as they are"},
      {{{"tools",
         "{ post: { kind: http, description: d, method: POST, url: \"https://x/\", parameters: { type: object, properties: { a: {} } }, "
         "content_type: application/json, body: \"{{ a }}\" } }"},
        {"agents", "{ writer: { model: fast } }"}},
       "/tools/post/body: the value is sent as it is"},
      {{{"models", "{ fast: { chain: [ { provider: rehearsal, context: 4000 } ] } }"}}, "/models/fast/chain/0/context: answers of agent"},
      {{{"agents", "{ writer: { model: fast, output: { schema: { requird: [a] } } } }"}},
       "/agents/writer/output/schema: the keyword \"requird\" is unknown"},
      {{{"journal", "{ kind: postgres, url_env: U }"}}, "/journal/kind: without effect in this version"},
      {{{"queue", "{ kind: redis, url_env: U }"}}, "/queue/kind: without effect in this version"},
      {{{"node", "{ name: a }"}}, "/node: without effect in this version"},
      {{{"api", "{ listen: 127.0.0.1:1 }"}}, "/api: without effect in this version"},
      {{{"checkpoint", "{ notify: [ { kind: slack, url_env: U } ] }"}},
       "/checkpoint/notify: without effect in this version: nobody is notified"},
      {{{"metrics", "{ retention: 1d }"}}, "/metrics/retention: without effect in this version"},
      {{{"metrics", "{ otlp: { url_env: O } }"}}, "/metrics/otlp: without effect in this version"},
      {{{"alerts", "[ { metric: cost } ]"}}, "/alerts: without effect in this version: nobody is alerted"},
      {{{"tenants", "{ acme: { max_running: 10 } }"}}, "/tenants/acme/max_running: without effect in this version"},
  };
  for (const auto& [changed, wanted] : rows) {
    IN_ROW(wanted);
    const auto result = loaded(changed);
    CHECK_EQ(result.text(), "");
    CHECK(result.ok());
    REQUIRE(!result.warnings.empty());
    CHECK(result.warnings.front().text().find(wanted) != std::string::npos);
  }
}

TROUPE_TEST("the journal's place is told whatever is wrong elsewhere, unless that may hide it") {
  struct place {
    const char* what;
    sections changed;
    const char* path; ///< "": not told
  };
  const std::vector<place> rows{
      {"a name nobody has", {{"agents", "{ writer: { model: slow } }"}}, "/c/.troupe/journal.db"},
      {"its own path", {{"agents", "{ writer: { model: slow } }"}, {"journal", "{ path: here.db }"}}, "/c/here.db"},
      {"a secret that is not set", {{"providers", "{ rehearsal: { kind: scripted, script: \"${KEY}.yaml\" } }"}}, "/c/.troupe/journal.db"},
      {"its own section is wrong", {{"journal", "{ pth: here.db }"}}, ""},
      {"its path is a secret that is not set", {{"journal", "{ path: \"${PLACE}\" }"}}, ""},
      {"a section's name is wrong", {{"jornal", "{ path: here.db }"}}, ""},
      {"… beside its own one", {{"jornal", "{ path: here.db }"}, {"journal", "{ path: there.db }"}}, "/c/there.db"},
      {"another section's name is wrong", {{"garbage", "1"}}, "/c/.troupe/journal.db"},
      {"a section is no mapping", {{"agents", "12"}}, "/c/.troupe/journal.db"},
      {"it does not read", {{"agents", "{ writer: { model: fast, model: fast } }"}}, ""},
  };
  for (const auto& each : rows) {
    IN_ROW(each.what);
    const auto result = loaded(each.changed);
    CHECK(!result.ok());
    CHECK_EQ(result.journal_only ? result.journal_only->journal.path : "", each.path);
    CHECK(!result.journal_only || (result.journal_only->file == "/c/f.yaml" && result.journal_only->agents.empty()));
  }
  CHECK(!loaded({}).journal_only);
}

TROUPE_TEST("what is written is what the model holds") {
  const auto result = loaded({
      {"providers", "{ rehearsal: { kind: scripted, script: s.yaml }, p: { kind: openai, base_url: \"http://x/v1/\", timeout: 5s, stream: "
                    "false, proxy: \"http://proxy:1\", headers: { A: b } } }"},
      {"models", "{ fast: { chain: [ { provider: p, model: m, usd_per_mtok: { input: 2.50, cached_input: 1.25, output: 10, above: { "
                 "tokens: 200000, input: 5, output: 15 } }, context: 128000 } ], retry: { attempts: 5, base: 2s, cap: 1m }, breaker: { "
                 "failures: 9, open_for: 1m }, hedge: { after: 2s } } }"},
      {"tools", "{ grep: { kind: process, description: d, command: [grep], effect: none, risk: high, retries: 1, timeout: 10s, success: "
                "[0, 1], env_from: [T], max_calls: 4, polling: true, loop_ignore: [], sandbox: { network: true, read: [a], write: [/b] }, "
                "limits: { memory: 512MiB, cpu: 1500ms, processes: 3, output: 1kB } } }"},
      {"agents", "{ writer: { model: fast, tools: [grep], temperature: 0.5, crashes: 1, budget: { usd: \"0.10\", steps: 3 }, output: { "
                 "must_mention: [x], retries: 0, human: true } }, editor: { model: fast } }"},
      {"workflows", workflow("{ id: a, agents: [writer, editor], instruction: Go., resolve: { by: vote, tie: { arbiter: editor } }, "
                             "approval: { risk: critical }, on_failure: continue, timeout: 9s, budget: { time: 8s } }",
                             "budget: { usd: 1 }, ")},
      {"budget", "{ usd: 100 }"},
      {"checkpoint", "{ timeout: 1m, pause_clock: true, policy: { low: ask, critical: { approvals: 2 } } }"},
      {"tenants", "{ acme: { budget: { usd: 100, per: 7d, steps: 5 }, max_running: 10 } }"},
      {"metrics", "{ retention: 1d, otlp: { url_env: O } }"},
      {"alerts", "[ { metric: latency, rise: 0.25, window: 1h } ]"},
  });
  CHECK_EQ(result.text(), "");
  REQUIRE(result.ok());
  const auto& c = *result.value;
  CHECK_EQ(c.file, "/c/f.yaml");
  CHECK_EQ(c.folder, "/c");
  const auto& p = c.providers.at("p");
  CHECK_EQ(p.base_url, "http://x/v1");
  CHECK_EQ(p.timeout.count(), 5'000);
  CHECK(!p.stream);
  const auto& m = c.models.at("fast");
  CHECK_EQ(m.chain[0].price.input, 2'500'000);
  CHECK_EQ(m.chain[0].price.cached_input, 1'250'000);
  CHECK_EQ(m.chain[0].price.cache_write, 2'500'000); // as input, where none is given
  CHECK_EQ(m.chain[0].price.above_tokens, 200'000);
  CHECK_EQ(m.chain[0].price.above_output, 15'000'000);
  CHECK_EQ(m.retry.cap.count(), 60'000);
  CHECK(m.hedge.after == hedge_after::time);
  CHECK_EQ(m.hedge.time.count(), 2'000);
  const auto& t = c.tools.at("grep");
  CHECK(t.risk == risk::high);
  CHECK_EQ(t.sandbox.read.at(0), "/c/a");
  CHECK_EQ(t.sandbox.write.at(0), "/b");
  CHECK_EQ(t.limits.memory_bytes, 512LL << 20);
  CHECK_EQ(t.limits.cpu_seconds, 2);
  CHECK_EQ(t.limits.output_bytes, 1'000);
  CHECK_EQ(t.parameters["type"], "object");
  CHECK_EQ(c.agents.at("writer").budget.money->micro, 100'000);
  CHECK_EQ(c.agents.at("writer").max_tokens, 4096);
  CHECK_EQ(c.agents.at("writer").output->retries, 0);
  const auto& w = c.workflows.at("report");
  CHECK_EQ(w.budget.money->micro, 1'000'000);
  CHECK_EQ(w.budget.time->count(), 300'000);
  CHECK_EQ(*w.budget.steps, 50);
  const auto& task = w.tasks.at(0);
  CHECK_EQ(task.resolve->tie, "arbiter");
  CHECK_EQ(task.resolve->arbiter, "editor");
  CHECK(*task.approval == risk::critical);
  CHECK(task.on_failure == on_failure_type::resume);
  CHECK_EQ(c.process_budget.money->micro, 100'000'000);
  CHECK_EQ(c.checkpoint.approvals.at("low"), 1);
  CHECK_EQ(c.checkpoint.approvals.at("high"), 1);
  CHECK_EQ(c.checkpoint.approvals.at("critical"), 2);
  CHECK_EQ(c.journal.path, "/c/.troupe/journal.db");
  CHECK_EQ(*c.tenants.at("acme").steps, 5);
  CHECK_EQ(c.tenants.at("acme").per.count(), 604'800'000);
  CHECK_EQ(c.metrics.otlp_url_env, "O");
  CHECK_EQ(c.alerts.at(0).rise, 0.25);
}
