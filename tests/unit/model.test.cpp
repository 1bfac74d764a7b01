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

TROUPE_TEST("dollars become the nearest micro-dollar, what is beyond them the last one, and no number nothing") {
  constexpr auto infinite = std::numeric_limits<double>::infinity();
  CHECK_EQ(usd::from_dollars(2.5), usd{2'500'000});
  CHECK_EQ(usd::from_dollars(-0.0000015), usd{-2});
  CHECK_EQ(usd::from_dollars(1e300), usd::max());
  CHECK_EQ(usd::from_dollars(infinite), usd::max());
  CHECK_EQ(usd::from_dollars(9'223'372'036'854.775'807), usd::max()); // the nearest double is beyond
  CHECK_EQ(usd::from_dollars(-1e300), usd::min());
  CHECK_EQ(usd::from_dollars(-infinite), usd::min());
  CHECK_EQ(usd::from_dollars(std::numeric_limits<double>::quiet_NaN()), usd{});
}

TROUPE_TEST("a sum of money never turns round") {
  CHECK_EQ(usd{2} + usd{3}, usd{5});
  CHECK_EQ(usd{2} - usd{3}, usd{-1});
  CHECK_EQ(usd::max() + usd{1}, usd::max());
  CHECK_EQ(usd::min() + usd{-1}, usd::min());
  CHECK_EQ(usd::min() - usd{1}, usd::min());
  CHECK_EQ(usd::max() - usd{-1}, usd::max());
  CHECK_EQ(usd::max() + usd::min(), usd{-1});
  auto sum = usd::max();
  CHECK_EQ(sum += usd::max(), usd::max());
  CHECK_EQ(sum -= usd::max(), usd{});
}

TROUPE_TEST("money prints two to six digits") {
  CHECK_EQ(to_string(usd{5'000'000}), "$5.00");
  CHECK_EQ(to_string(usd{12'345}), "$0.012345");
  CHECK_EQ(to_string(usd{-1'500'000}), "-$1.50");
}
