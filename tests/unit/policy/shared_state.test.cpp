#include "troupe/policy/shared_state.hpp"

#include <stdexcept>

#include "test.hpp"

TROUPE_SUITE(shared_state)

using namespace troupe;
using namespace troupe::policy;

namespace {

struct table {
  shared_state state;
  std::vector<std::pair<state_written, std::string>> recorded;
  int calls = 0;

  tool_outcome write(const std::string& agent, const std::string& key, const json& value, std::int64_t version, std::string call = {}) {
    if (call.empty())
      call = "call " + std::to_string(++calls);
    return state.write(key, value, version, agent, call, [&](const state_written& w) { recorded.emplace_back(w, agent); });
  }
};

bool holds(const tool_outcome& outcome) {
  return outcome.status == tool_status::ok;
}

} // namespace

TROUPE_TEST("the second of two writers who read the same version is told what changed, by whom, and the version now") {
  table t;
  CHECK_EQ(t.state.read("plan").dump(), R"({"key":"plan","value":null,"version":0})");
  CHECK_EQ(t.write("a", "plan", "left", 0).output, R"({"key":"plan","version":1})");
  const auto late = t.write("b", "plan", "right", 0);
  CHECK(!holds(late));
  for (const auto* part : {"version 0", "version 1 now", "agent \"a\"", "\"left\"", "write again with version 1"})
    CHECK(late.error.find(part) != std::string::npos);
  CHECK_EQ(t.state.read("plan").dump(), R"({"by":"a","key":"plan","value":"left","version":1})");
  CHECK(holds(t.write("b", "plan", "right", 1)));
  CHECK_EQ(t.state.read("plan").dump(), R"({"by":"b","key":"plan","value":"right","version":2})");
  CHECK_EQ(t.recorded.size(), 2);
  CHECK_EQ(t.state.read("").dump(), R"({"keys":[{"by":"b","key":"plan","version":2}]})");
}

TROUPE_TEST("a table of writes") {
  struct row {
    const char* name;
    std::string key;
    json value;
    std::int64_t version;
    bool is_written;
  };
  const row rows[] = {
      {"a new key", "a", 1, 0, true},
      {"a new key of another version", "b", 1, 1, false},
      {"a version of the future", "a", 1, 2, false},
      {"a negative version", "a", 1, -1, false},
      {"the version that was read", "a", 2, 1, true},
      {"null is a value", "a", nullptr, 2, true},
      {"no key", "", 1, 0, false},
      {"a key with a space", "a b", 1, 0, false},
      {"a path as key", "team/plan:1.x_y-z", 1, 0, true},
      {"the longest key", std::string(128, 'k'), 1, 0, true},
      {"longer", std::string(129, 'k'), 1, 0, false},
      {"the largest value", "large", std::string(state_value_bytes_max - 2, 'v'), 0, true},
      {"larger", "larger", std::string(state_value_bytes_max - 1, 'v'), 0, false},
  };
  table t;
  for (const auto& r : rows) {
    IN_ROW(r.name);
    CHECK_EQ(holds(t.write("a", r.key, r.value, r.version)), r.is_written);
  }
}

TROUPE_TEST("a run's state has an end, and what is overwritten gives its room back") {
  table keys;
  for (std::size_t i = 0; i < state_keys_max; ++i)
    CHECK(holds(keys.write("a", std::to_string(i), 1, 0)));
  CHECK(!holds(keys.write("a", "one more", 1, 0)));
  CHECK(!holds(keys.write("a", "more", 1, 0)));
  CHECK(holds(keys.write("a", "7", 2, 1)));
  table bytes;
  const std::string large(60'000, 'v');
  int count = 0;
  while (holds(bytes.write("a", std::to_string(count), large, 0)))
    ++count;
  CHECK_EQ(count, 17);
  CHECK(holds(bytes.write("a", "1", large, 1))); // in place of the same
  CHECK(holds(bytes.write("a", "0", 1, 1)));
  CHECK(holds(bytes.write("a", "17", large, 0)));
}

TROUPE_TEST("a call that is made again has written already, also when somebody wrote after it") {
  table t;
  CHECK(holds(t.write("a", "n", 1, 0, "first")));
  CHECK(holds(t.write("b", "n", 2, 1, "second")));
  CHECK_EQ(t.write("a", "n", 1, 0, "first").output, R"({"key":"n","version":1})");
  CHECK_EQ(t.state.read("n")["value"].dump(), "2");
  CHECK_EQ(t.recorded.size(), 2);
}

TROUPE_TEST("the record is the state") {
  table t;
  t.write("a", "n", 1, 0, "first");
  t.write("b", "n", {{"x", 2}}, 1);
  t.write("b", "m", "text", 0);
  table again;
  for (const auto& [event, agent] : t.recorded)
    again.state.restore(event, agent);
  for (const auto* key : {"", "n", "m"})
    CHECK_EQ(again.state.read(key).dump(), t.state.read(key).dump());
  CHECK_EQ(again.write("a", "n", 1, 0, "first").output, R"({"key":"n","version":1})");
  CHECK(!holds(again.write("a", "n", 3, 1, "third")));
  CHECK(holds(again.write("a", "n", 3, 2, "fourth")));
}

TROUPE_TEST("it is recorded before anybody can read it") {
  shared_state state;
  state.write("n", 1, 0, "a", "c", [&](const state_written& w) {
    CHECK_EQ(w.version, 1); // reading here would wait for the write: nobody comes between
  });
  CHECK_EQ(state.read("n")["version"].dump(), "1");
}

TROUPE_TEST("what could not be recorded was not written, and may be written again") {
  table t;
  bool refused = false;
  try {
    t.state.write("n", 1, 0, "a", "c", [](const state_written&) { throw std::runtime_error("the disk is full"); });
  } catch (const std::runtime_error&) {
    refused = true;
  }
  CHECK(refused);
  CHECK_EQ(t.state.read("n")["version"].dump(), "0");
  CHECK_EQ(t.state.read("").dump(), R"({"keys":[]})");
  CHECK(holds(t.write("a", "n", 1, 0, "c")));
}

TROUPE_TEST("what was restored counts for the run's bounds") {
  table t;
  const std::string large(60'000, 'v');
  for (int i = 0; i < 17; ++i) {
    t.state.restore({std::to_string(i), 1, "first", "c" + std::to_string(i)}, "a");
    t.state.restore({std::to_string(i), 2, large, "d" + std::to_string(i)}, "a");
  }
  CHECK(!holds(t.write("a", "17", large, 0)));
  CHECK(holds(t.write("a", "3", "short", 2)));
  CHECK(holds(t.write("a", "17", large, 0)));
}
