#include "test.hpp"

#include "troupe/model/described.hpp"
#include "troupe/model/event.hpp"
#include "troupe/model/event_types.hpp"

TROUPE_SUITE(model)

using namespace troupe;

TROUPE_TEST("an event body survives its JSON form") {
  llm_responded before{.step_id = "s1",
                       .provider = "p",
                       .model = "m",
                       .message =
                           std::make_shared<const chat_message>(chat_message{role::assistant, "hi", {{"c1", "grep", "{}"}}, "", false}),
                       .usage = {10, 2, 0, 3},
                       .cost = {42}};
  const auto document = body_to_document(before);
  auto after = body_from_document("llm_responded", document);
  REQUIRE(after.has_value());
  const auto& read = std::get<llm_responded>(*after);
  CHECK_EQ(read.usage, before.usage);
  CHECK_EQ(*read.message, *before.message);
  CHECK_EQ(read.cost, before.cost);
}

TROUPE_TEST("every event type has its struct's name and reads its own default") {
  const auto& names = event_type_names();
  CHECK_EQ(names[event_body(tool_finished{}).index()], std::string_view("tool_finished"));
  CHECK_EQ(names[event_body(outcome_unknown{}).index()], std::string_view("outcome_unknown"));
  CHECK_EQ(names[event_body(loop_detected{}).index()], std::string_view("loop_detected"));
  CHECK_EQ(names[event_body(breaker_changed{}).index()], std::string_view("breaker_changed"));
  for (auto name : names)
    if (name != "llm_responded")
      CHECK(body_from_document(name, json::object()).has_value());
}

TROUPE_TEST("money prints two to six digits") {
  CHECK_EQ(to_string(usd{5'000'000}), "$5.00");
  CHECK_EQ(to_string(usd{12'345}), "$0.012345");
  CHECK_EQ(to_string(usd{-1'500'000}), "-$1.50");
}
