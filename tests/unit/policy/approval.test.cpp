#include "test.hpp"

#include "troupe/policy/approval.hpp"
#include "troupe/policy/budget_scope.hpp"

TROUPE_SUITE(approval)

using namespace troupe;

TROUPE_TEST("by default low and medium risk run, high and critical ask one human") {
  const checkpoint_spec standard;
  CHECK_EQ(policy::approvals_needed(standard, risk::low), 0);
  CHECK_EQ(policy::approvals_needed(standard, risk::medium), 0);
  CHECK_EQ(policy::approvals_needed(standard, risk::high), 1);
  CHECK_EQ(policy::approvals_needed(standard, risk::critical), 1);
}

TROUPE_TEST("the policy's own numbers count, a negative one is none, and a risk that it does not name asks one") {
  checkpoint_spec own;
  own.approvals = {{"low", 1}, {"medium", -1}, {"critical", 2}};
  CHECK_EQ(policy::approvals_needed(own, risk::low), 1);
  CHECK_EQ(policy::approvals_needed(own, risk::medium), 0);
  CHECK_EQ(policy::approvals_needed(own, risk::high), 1);
  CHECK_EQ(policy::approvals_needed(own, risk::critical), 2);
}

TROUPE_TEST("what an agent reads of a call in doubt says who decided, and what they found") {
  CHECK_EQ(policy::not_again_text("ada", "it was paid"), "ada does not let it be made again: it was paid.");
  CHECK_EQ(policy::not_again_text("ada", ""), "ada does not let it be made again.");
  CHECK_EQ(policy::not_again_text("", "Auto-rejected: approval timeout."), "A human was asked: Auto-rejected: approval timeout.");
}

TROUPE_TEST("a call asks for what the riskiest tool of its chain of alternatives needs") {
  struct tool {
    const char* name;
    risk how_bad;
    const char* alternative;
  };
  struct row {
    const char* says;
    std::vector<tool> tools; ///< the first one is called
    std::map<std::string, std::int64_t> rules;
    std::int64_t needed;
    risk how_bad;
    std::vector<std::string> alternatives;
  };
  const std::map<std::string, std::int64_t> standard = checkpoint_spec{}.approvals;
  for (const auto& row : std::vector<row>{
           {"a tool alone: its own risk", {{"a", risk::high, ""}}, standard, 1, risk::high, {}},
           {"a harmless one alone runs", {{"a", risk::low, ""}}, standard, 0, risk::low, {}},
           {"an alternative that nobody is asked about changes nothing",
            {{"a", risk::low, "b"}, {"b", risk::medium, ""}},
            standard,
            0,
            risk::medium,
            {"b"}},
           {"a critical alternative is asked about",
            {{"a", risk::low, "b"}, {"b", risk::critical, ""}},
            standard,
            1,
            risk::critical,
            {"b"}},
           {"however far down the chain it stands",
            {{"a", risk::low, "b"}, {"b", risk::low, "c"}, {"c", risk::high, "d"}, {"d", risk::low, ""}},
            standard,
            1,
            risk::high,
            {"b", "c", "d"}},
           {"a harmless alternative takes nothing from a risky tool",
            {{"a", risk::high, "b"}, {"b", risk::low, ""}},
            standard,
            1,
            risk::high,
            {"b"}},
           {"a risk that the policy lets run is let run here too",
            {{"a", risk::low, "b"}, {"b", risk::critical, ""}},
            {{"low", 0}, {"critical", 0}},
            0,
            risk::critical,
            {"b"}},
           {"the most humans that any of them needs",
            {{"a", risk::low, "b"}, {"b", risk::high, ""}},
            {{"low", 3}, {"high", 1}},
            3,
            risk::high,
            {"b"}},
           {"others of the file are none of its business", {{"a", risk::low, ""}, {"b", risk::critical, "a"}}, standard, 0, risk::low, {}},
           {"a name that nobody has ends the chain", {{"a", risk::low, "gone"}}, standard, 0, risk::low, {}},
           {"a circle ends", {{"a", risk::low, "b"}, {"b", risk::high, "a"}}, standard, 1, risk::high, {"b"}},
       }) {
    IN_ROW(row.says);
    std::map<std::string, tool_spec> tools;
    for (const auto& each : row.tools) {
      auto& made = tools[each.name];
      made.name = each.name;
      made.risk = each.how_bad;
      made.alternative = each.alternative;
    }
    checkpoint_spec own;
    own.approvals = row.rules;
    const auto call = policy::approval_of_call(own, tools, "a");
    CHECK_EQ(call.needed, row.needed);
    CHECK(call.how_bad == row.how_bad);
    std::vector<std::string> names;
    for (const auto* each : call.alternatives)
      names.push_back(each->name);
    CHECK_EQ(names, row.alternatives);
  }
}

TROUPE_TEST("a task's or an agent's limit ends the task, every other one the run") {
  CHECK(!policy::ends_the_run(policy::task_scope("a/b[3]")));
  CHECK(!policy::ends_the_run(policy::agent_scope("writer")));
  CHECK(policy::ends_the_run(policy::run_scope));
  CHECK(policy::ends_the_run(policy::tenant_scope("task force")));
  CHECK(policy::ends_the_run(policy::process_scope));
}

TROUPE_TEST("what the model reads of a rejection: who, why, and that the same is not to be tried again") {
  CHECK_EQ(
      policy::rejected_text("deploy", "ana", "not on a Friday"),
      "Rejected: the call of \"deploy\" was not run. ana rejected it: not on a Friday. Do not try the same again: find another way, or say "
      "what you could not do.");
  CHECK(policy::rejected_text("deploy", "ana", "").find("ana rejected it. Do not") != std::string::npos);
  CHECK(policy::rejected_text("deploy", "", "Auto-rejected: approval timeout").find("run. Auto-rejected: approval timeout. Do")
        != std::string::npos);
}

TROUPE_TEST("whether anything may wait for a human") {
  const auto asks = [](const auto& change) {
    configuration config;
    config.tools["t"];
    config.agents["a"].output.emplace();
    config.workflows["w"].tasks.resize(1);
    config.workflows["w"].tasks[0].resolve.emplace();
    change(config);
    return policy::may_ask_humans(config);
  };
  CHECK(!asks([](configuration&) {}));
  CHECK(!asks([](configuration& c) { c.tools["t"].risk = risk::medium; }));
  CHECK(asks([](configuration& c) { c.tools["t"].risk = risk::high; }));
  CHECK(!asks([](configuration& c) { c.tools["t"].risk = risk::high, c.checkpoint.approvals["high"] = 0; }));
  CHECK(asks([](configuration& c) { c.checkpoint.approvals["low"] = 2; }));
  CHECK(asks([](configuration& c) { c.agents["a"].loop.human = true; }));
  CHECK(asks([](configuration& c) { c.agents["a"].output->human = true; }));
  CHECK(asks([](configuration& c) { c.workflows["w"].tasks[0].approval = risk::high; }));
  CHECK(asks([](configuration& c) { c.workflows["w"].tasks[0].resolve->by = "human"; }));
  CHECK(asks([](configuration& c) { c.workflows["w"].tasks[0].resolve->tie = "human"; }));
}
