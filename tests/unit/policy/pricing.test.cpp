#include "troupe/policy/pricing.hpp"

#include <limits>
#include <random>

#include "test.hpp"

TROUPE_SUITE(pricing)

using namespace troupe;
using namespace troupe::policy;

namespace {

constexpr auto largest = std::numeric_limits<std::int64_t>::max();
//                        known  input     cached     write      output      above    input      output
const token_price gpt{true, 2'500'000, 1'250'000, 3'100'000, 10'000'000, 200'000, 5'000'000, 15'000'000};
const token_price plain{true, 3'000'000, 3'000'000, 3'000'000, 15'000'000, 0, 0, 0};
const token_price free_cache{true, 3'000'000, 0, 0, 15'000'000, 0, 0, 0};
const token_price free_above{true, 3'000'000, 1'500'000, 3'000'000, 15'000'000, 200'000, 0, 0};
const token_price free_of_charge{true};
const token_price unknown{};

} // namespace

TROUPE_TEST("a stated usage has its price, rounded up to a micro-dollar") {
  struct row {
    const char* says;
    token_usage usage;
    token_price price;
    std::int64_t micro;
  };
  for (const auto& row : std::vector<row>{
           {"input and output", {812, 0, 0, 40}, gpt, 2'030 + 400},
           {"cached input is cheaper", {1'000, 400, 0, 0}, gpt, 600 * 5 / 2 + 400 * 5 / 4},
           {"what is written to the cache is dearer", {1'000, 0, 1'000, 0}, gpt, 3'100},
           {"a fraction is rounded up", {1, 0, 0, 0}, gpt, 3},
           {"fractions are rounded once", {1, 1, 0, 0}, gpt, 2},
           {"at the threshold the lower tier holds", {200'000, 0, 0, 0}, gpt, 500'000},
           {"above it the upper tier holds for all", {200'001, 0, 0, 10}, gpt, 1'000'005 + 150},
           {"above it cached input is dearer in proportion", {300'000, 300'000, 0, 0}, gpt, 750'000},
           {"parts at the price of input cost what input does", {1'000, 500, 500, 0}, plain, 3'000},
           {"cached input that costs nothing", {1'000, 600, 0, 0}, free_cache, 1'200},
           {"a cache write that costs nothing", {1'000, 0, 600, 0}, free_cache, 1'200},
           {"an upper tier that costs nothing", {300'000, 100'000, 0, 10}, free_above, 0},
           {"free", {5'000, 0, 0, 5'000}, free_of_charge, 0},
           {"no price, no cost", {5'000, 0, 0, 5'000}, unknown, 0},
           {"nothing used", {}, gpt, 0},
           {"negative counts are nothing", {-5, -5, -5, -5}, gpt, 0},
           {"a saturated sum stays the largest", {largest, 0, 0, largest}, {true, largest, 0, 0, largest}, largest},
       }) {
    IN_ROW(row.says);
    CHECK_EQ(cost(row.usage, row.price).micro, row.micro);
  }
}

TROUPE_TEST("the worst case takes the dearest tier that can be reached") {
  CHECK_EQ(worst_case({1'000, 100}, gpt).micro, 3'100 + 1'000);
  CHECK_EQ(worst_case({1'000, 100}, plain).micro, 3'000 + 1'500);
  CHECK_EQ(worst_case({1'000, 100}, free_cache).micro, 3'000 + 1'500);
  CHECK_EQ(worst_case({300'000, 100}, free_above).micro, 900'000 + 1'500);
  CHECK_EQ(worst_case({200'000, 0}, gpt).micro, 620'000);
  CHECK_EQ(worst_case({200'001, 0}, gpt).micro, 1'240'007); // the cache write in proportion: 6.20
  CHECK_EQ(worst_case({largest, largest}, {true, largest, largest, largest, largest, 1, largest, largest}).micro, largest);
  token_price cheaper_above = gpt;
  cheaper_above.above_input = 1;
  cheaper_above.above_output = 1;
  CHECK_EQ(worst_case({300'000, 100}, cheaper_above).micro, 930'000 + 1'000); // the bound is no promise to be above
}

TROUPE_TEST("no usage that is accepted costs more than the worst case, and what is affordable fits exactly") {
  std::mt19937_64 dice(11);
  const auto up_to = [&](std::int64_t most) { return std::uniform_int_distribution<std::int64_t>(0, most)(dice); };
  for (int i = 0; i < 50'000; ++i) {
    const auto scale = i % 3 == 0 ? 50 : i % 3 == 1 ? 20'000'000 : largest;
    const token_price price{true, up_to(scale), up_to(scale), up_to(scale), up_to(scale), up_to(2'000), up_to(scale), up_to(scale)};
    const request_bounds bounds{up_to(3'000), up_to(1'000)};
    token_usage usage;
    usage.input = up_to(bounds.input);
    usage.cached_input = up_to(usage.input);
    usage.cache_write = up_to(usage.input - usage.cached_input);
    usage.output = up_to(bounds.max_tokens);
    REQUIRE(!check_usage(usage, bounds).has_value());
    const auto worst = worst_case(bounds, price);
    REQUIRE(cost(usage, price) <= worst);
    REQUIRE(worst.micro >= 0);

    const usd left{up_to(worst.micro)};
    if (const auto fits = affordable_max_tokens(left, bounds, price)) {
      REQUIRE(*fits <= bounds.max_tokens);
      REQUIRE(worst_case({bounds.input, *fits}, price) <= left);
      if (*fits < bounds.max_tokens && left < usd::max())
        REQUIRE(worst_case({bounds.input, *fits + 1}, price) > left);
    } else if (left < usd::max()) {
      REQUIRE(worst_case({bounds.input, 1}, price) > left);
    }
  }
}

TROUPE_TEST("max_tokens is lowered to what is left, while a useful answer fits") {
  const request_bounds bounds{1'000, 4'096}; // input costs at most 3,100, a token of output 10
  CHECK(affordable_max_tokens(usd{3'100 + 10'000}, bounds, gpt) == 1'000);
  CHECK(affordable_max_tokens(usd{3'100 + 10'009}, bounds, gpt) == 1'000);
  CHECK(affordable_max_tokens(usd::max(), bounds, gpt) == 4'096);
  CHECK(!affordable_max_tokens(usd{3'099}, bounds, gpt).has_value());
  CHECK(!affordable_max_tokens(usd{-1}, bounds, gpt).has_value());
  CHECK(affordable_max_tokens(usd{0}, bounds, free_of_charge) == 4'096);
  CHECK(lowered_max_tokens(usd{3'100 + 2'560}, bounds, gpt) == 256);
  CHECK(!lowered_max_tokens(usd{3'100 + 2'559}, bounds, gpt).has_value());
  CHECK(!lowered_max_tokens(usd::max(), bounds, gpt).has_value()); // nothing to lower
}

TROUPE_TEST("absurd usage is told from what can be true") {
  struct row {
    const char* says;
    token_usage usage;
    bool good;
  };
  for (const auto& row : std::vector<row>{
           {"at its bounds", {1'000, 600, 400, 100}, true},
           {"nothing", {}, true},
           {"more input than the request has", {1'001, 0, 0, 0}, false},
           {"more output than was asked for", {0, 0, 0, 101}, false},
           {"negative input", {-1, 0, 0, 0}, false},
           {"negative output", {0, 0, 0, -1}, false},
           {"negative cached input", {10, -1, 0, 0}, false},
           {"negative cache write", {10, 0, -1, 0}, false},
           {"parts larger than the whole", {1'000, 600, 401, 0}, false},
           {"numbers that would overflow when added", {1'000, largest, largest, 0}, false},
       }) {
    IN_ROW(row.says);
    CHECK_EQ(!check_usage(row.usage, {1'000, 100}).has_value(), row.good);
  }
}

TROUPE_TEST("a request without an answer is charged what it states, or the worst case where it may have been charged") {
  const request_bounds bounds{1'000, 100};
  const auto worst = worst_case(bounds, gpt);
  llm_failure failure;
  CHECK(charge_for(failure, true, bounds, gpt).money == worst);
  CHECK(charge_for(failure, false, bounds, gpt).money == usd{});
  failure.usage = token_usage{500, 0, 0, 50};
  CHECK_EQ(charge_for(failure, false, bounds, gpt).money.micro, 1'750);
  failure.usage = token_usage{500, 0, 0, 5'000};
  CHECK(charge_for(failure, true, bounds, gpt).money == worst);
  CHECK(charge_for(failure, true, bounds, gpt).rejected.has_value());
}

TROUPE_TEST("stated usage is charged, absent usage is estimated, absurd usage is charged the worst case") {
  llm_response response;
  response.message = {role::assistant, "twelve bytes", {{"c1", "grep", "{}"}}, "", false};
  const request_bounds bounds{1'000, 100};

  response.usage = token_usage{500, 0, 0, 50};
  auto stated = charge_for(response, 400, bounds, gpt);
  CHECK_EQ(stated.money.micro, 1'750);
  CHECK(stated.usage == *response.usage);
  CHECK(!stated.estimated && !stated.rejected);

  response.usage.reset();
  auto guessed = charge_for(response, 400, bounds, gpt);
  CHECK(guessed.estimated);
  CHECK(guessed.usage == (token_usage{400, 0, 0, 5})); // 18 bytes
  CHECK_EQ(guessed.money.micro, 1'050);
  CHECK(charge_for(response, 9'999, bounds, gpt).usage.input == 1'000); // an estimate never beats the bound
  response.message.text = std::string(100'000, 'x');
  CHECK(charge_for(response, 9'999, bounds, gpt).money <= worst_case(bounds, gpt));

  response.usage = token_usage{1'000'000, 0, 0, 1};
  auto absurd = charge_for(response, 400, bounds, gpt);
  CHECK(absurd.rejected.has_value());
  CHECK(absurd.usage == token_usage{}); // it stands in the cost, not in the tokens
  CHECK_EQ(absurd.money.micro, worst_case(bounds, gpt).micro);
}
