#include "troupe/policy/history.hpp"

#include <map>
#include <random>

#include "test.hpp"

TROUPE_SUITE(history)

using namespace troupe;
using namespace troupe::policy;

namespace {

message_ptr says(role from, std::string text) {
  return std::make_shared<const chat_message>(chat_message{from, std::move(text), {}, "", false});
}
message_ptr calls(std::vector<std::string> ids, std::string text = "") {
  chat_message message{role::assistant, std::move(text), {}, "", false};
  for (auto& id : ids)
    message.tool_calls.push_back({id, "grep", "{}"});
  return std::make_shared<const chat_message>(std::move(message));
}
message_ptr result(std::string id, std::string text) {
  return std::make_shared<const chat_message>(chat_message{role::tool, std::move(text), {}, std::move(id), false});
}

/// "user:hi assistant:[a,b] tool(a)=1": a conversation in one line.
std::string line(const conversation& messages) {
  std::string out;
  for (const auto& message : messages) {
    out += out.empty() ? "" : " ";
    if (!message) {
      out += "null";
    } else if (message->from == role::tool) {
      out += "tool(" + message->tool_call_id + ")=" + message->text;
    } else {
      out += message->from == role::assistant ? "assistant:" : message->from == role::user ? "user:" : "system:";
      out += message->text;
      if (!message->tool_calls.empty()) {
        out += "[";
        for (const auto& call : message->tool_calls)
          out += (out.back() == '[' ? "" : ",") + call.id;
        out += "]";
      }
    }
  }
  return out;
}

const auto user = says(role::user, "hi");

} // namespace

TROUPE_TEST("each way in which a history can be broken has its mend") {
  auto odd = std::make_shared<const chat_message>(chat_message{role::user, "hi", {{"a", "grep", "{}"}}, "", false});
  struct row {
    const char* says;
    conversation before;
    std::string after;
  };
  for (const auto& row : std::vector<row>{
           {"a crash between call and result", {user, calls({"a"})}, "user:hi assistant:[a] tool(a)=?"},
           {"one of two results is missing", {user, calls({"a", "b"}), result("b", "2")}, "user:hi assistant:[a,b] tool(a)=? tool(b)=2"},
           {"an intervention between call and result",
            {user, calls({"a"}), user, result("a", "1")},
            "user:hi assistant:[a] tool(a)=1 user:hi"},
           {"results in another order",
            {user, calls({"a", "b"}), result("b", "2"), result("a", "1")},
            "user:hi assistant:[a,b] tool(a)=1 tool(b)=2"},
           {"a result without a call", {user, result("x", "9")}, "user:hi"},
           {"a result before its call", {user, result("a", "1"), calls({"a"})}, "user:hi assistant:[a] tool(a)=?"},
           {"a second result", {user, calls({"a"}), result("a", "1"), result("a", "2")}, "user:hi assistant:[a] tool(a)=1"},
           {"an empty assistant message", {user, says(role::assistant, " \n"), user}, "user:hi user:hi"},
           {"a null message", {user, nullptr}, "user:hi"},
           {"one id twice in one message",
            {user, calls({"a", "a"}), result("a", "1"), result("a", "2")},
            "user:hi assistant:[a,call_1_1] tool(a)=1 tool(call_1_1)=2"},
           {"one id again in a later message",
            {user, calls({"a"}), result("a", "1"), calls({"a"}), result("a", "2")},
            "user:hi assistant:[a] tool(a)=1 assistant:[call_3_0] tool(call_3_0)=2"},
           {"a late result belongs to the latest call of its id",
            {user, calls({"a"}), calls({"a"}), result("a", "2")},
            "user:hi assistant:[a] tool(a)=? assistant:[call_2_0] tool(call_2_0)=2"},
           {"missing ids are matched by position",
            {user, calls({"", ""}), result("", "1"), result("", "2")},
            "user:hi assistant:[call_1_0,call_1_1] tool(call_1_0)=1 tool(call_1_1)=2"},
           {"an id that some provider refuses",
            {user, calls({"functions.grep:0"}), result("functions.grep:0", "1")},
            "user:hi assistant:[call_1_0] tool(call_1_0)=1"},
           {"an id without end",
            {user, calls({std::string(5'000, 'x')}), result(std::string(5'000, 'x'), "1")},
            "user:hi assistant:[call_1_0] tool(call_1_0)=1"},
           {"a user that calls tools", {odd}, "user:hi"},
           {"nothing at all", {}, ""},
       }) {
    IN_ROW(row.says);
    if (!row.before.empty())
      CHECK(well_formed(row.before).has_value());
    const auto after = repaired(row.before, "?");
    CHECK_EQ(line(after), row.after);
    CHECK(!well_formed(after).has_value());
  }
}

TROUPE_TEST("a good history is itself: the same pointers") {
  const conversation good{says(role::system, "be good"), user, calls({"a", "b"}, "let me see"), result("a", "1"), result("b", "2"),
                          says(role::assistant, "done"), user};
  CHECK(!well_formed(good).has_value());
  CHECK(repaired(good) == good);
}

TROUPE_TEST("only what changes is copied") {
  const conversation broken{user, calls({"a"}), result("a", "1"), calls({"b"})};
  const auto mended = repaired(broken);
  REQUIRE(mended.size() == 5);
  for (std::size_t i = 0; i < 4; ++i)
    CHECK(mended[i] == broken[i]);
  CHECK_EQ(mended[4]->text, std::string(interrupted_text));
  CHECK(mended[4]->is_error);
}

TROUPE_TEST("any history is mended to a good one that keeps every call and no result twice") {
  std::mt19937_64 dice(5);
  const auto up_to = [&](std::size_t most) { return std::uniform_int_distribution<std::size_t>(0, most)(dice); };
  const std::vector<std::string> ids{"a", "b", "call_1_0", "call_2_0-2", "", "bad id", "c"};
  for (int round = 0; round < 5'000; ++round) {
    conversation messages;
    std::size_t asked = 0;
    for (std::size_t i = 0, n = up_to(12); i < n; ++i) {
      switch (up_to(5)) {
      case 0:
        messages.push_back(user);
        break;
      case 1:
        messages.push_back(up_to(3) == 0 ? nullptr : says(role::assistant, up_to(1) == 0 ? "" : "text"));
        break;
      case 2:
      case 3: {
        std::vector<std::string> some;
        for (std::size_t k = 0, m = 1 + up_to(2); k < m; ++k)
          some.push_back(ids[up_to(ids.size() - 1)]);
        asked += some.size();
        messages.push_back(calls(some));
        break;
      }
      default:
        messages.push_back(result(ids[up_to(ids.size() - 1)], std::to_string(i)));
      }
    }
    const auto mended = repaired(messages);
    const auto problem = well_formed(mended);
    if (problem)
      CAF_MESSAGE(line(messages) << " became " << line(mended) << ": " << problem->what);
    REQUIRE(!problem.has_value());
    REQUIRE(repaired(mended) == mended);
    REQUIRE(line(repaired(messages)) == line(mended)); // deterministic
    std::size_t answered = 0;
    std::map<std::string, int> used;
    for (const auto& message : mended)
      if (message->from == role::tool) {
        ++answered;
        if (!message->is_error)
          ++used[message->text];
      }
    REQUIRE(answered == asked);
    for (const auto& [text, times] : used)
      REQUIRE(times == 1);
  }
}

TROUPE_TEST("a fresh answer gets good call ids before it is recorded") {
  const conversation before{user, calls({"a"}), result("a", "1")};
  chat_message answer{role::assistant, "", {{"a", "grep", "{}"}, {"b", "grep", "{}"}, {"b", "grep", "{}"}, {"", "grep", "{}"}}, "", false};
  CHECK(normalise_calls(answer, before, "task[3]/step#7"));
  CHECK_EQ(answer.tool_calls[0].id, "call_task_3__step_7_0");
  CHECK_EQ(answer.tool_calls[1].id, "b");
  CHECK_EQ(answer.tool_calls[2].id, "call_task_3__step_7_2");
  CHECK_EQ(answer.tool_calls[3].id, "call_task_3__step_7_3");
  CHECK(!normalise_calls(answer, before, "task[3]/step#7"));
  chat_message long_step{role::assistant, "", {{"", "grep", "{}"}}, "", false};
  CHECK(normalise_calls(long_step, before, std::string(10'000, 's')));
  CHECK(long_step.tool_calls[0].id.size() <= call_id_bytes_max);
}

TROUPE_TEST("an undeclared name that providers would refuse is made one that they take") {
  const auto declared = std::make_shared<const std::vector<tool_declaration>>(std::vector<tool_declaration>{{"my.tool", "", {}}});
  chat_message answer{role::assistant,
                      "",
                      {{"a", "functions.grep", "{}"}, {"b", "my.tool", "{}"}, {"c", "", "{}"}, {"d", std::string(100, 'n'), "{}"}},
                      "",
                      false};
  CHECK(normalise_calls(answer, {}, "s", declared));
  CHECK_EQ(answer.tool_calls[0].name, "functions_grep");
  CHECK_EQ(answer.tool_calls[1].name, "my.tool");
  CHECK_EQ(answer.tool_calls[2].name, "unnamed");
  CHECK_EQ(answer.tool_calls[3].name.size(), 64);
}

TROUPE_TEST("long arguments of refused calls are kept by their beginning, as JSON, and nothing else changes") {
  const auto call = [](std::string id, std::string arguments) { return tool_call{std::move(id), "grep", std::move(arguments)}; };
  const std::string whole(10'000'000, 'x'), split = std::string(2'047, 'x') + "é" + whole, edge(refused_arguments_bytes_max, 'x');
  chat_message made{role::assistant, "text", {call("a", whole), call("b", whole), call("c", split), call("d", edge)}, "", false};
  const conversation before{user, std::make_shared<const chat_message>(made)};
  const auto after = with_refusals_cut(before, {true, false, true, true});
  REQUIRE(after.size() == 2);
  CHECK(after[0] == before[0]);
  const auto& kept = after[1]->tool_calls;
  CHECK_EQ(after[1]->text, "text");
  for (const std::size_t i : {std::size_t{0}, std::size_t{2}}) {
    CHECK(kept[i].arguments.size() < refused_arguments_bytes_max);
    const auto document = json::parse(kept[i].arguments);
    CHECK(document.at("note").get<std::string>().find(std::to_string(made.tool_calls[i].arguments.size()) + " bytes") != std::string::npos);
    CHECK(document.at("began_with").get<std::string>().starts_with("xxx"));
  }
  CHECK(json::parse(kept[2].arguments).at("began_with").get<std::string>() == std::string(2'047, 'x'));
  CHECK(kept[1].arguments == whole);
  CHECK(kept[3].arguments == edge);
  CHECK_EQ(kept[0].id, "a");
  CHECK(with_refusals_cut(before, {false, false, false, true})[1] == before[1]);
  CHECK(with_refusals_cut(before, {true})[1] == before[1]); // of another message
  CHECK(with_refusals_cut({}, {}).empty());
}
