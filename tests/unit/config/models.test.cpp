#include "checks_support.hpp"

#include "troupe/config/view.hpp"

TROUPE_SUITE(config_models)

using namespace troupe;
using namespace troupe::config;
using namespace troupe::config::checks;

TROUPE_TEST("a provider's address and headers are those of requests") {
  const auto provider = [](const std::string& rest) {
    return sections{{"providers", "{ rehearsal: { kind: scripted, script: s.yaml }, p: { kind: openai, " + rest + " } }"}};
  };
  check({
      {"a query", provider("base_url: \"https://x/openai/deployments/d?api-version=1\""), ""},
      {"a fragment", provider("base_url: \"https://x/v1#x\""), "/providers/p/base_url: a fragment (#) is never sent; leave it out"},
      {"a length", provider("headers: { content-length: \"3\" }"), "/providers/p/headers/content-length: it belongs to the transfer"},
      {"chunks", provider("headers: { Transfer-Encoding: chunked }"), "/providers/p/headers/Transfer-Encoding: it belongs to the transfer"},
      {"a gateway's host", provider("headers: { Host: x, Proxy-Authorization: y }"), ""},
      {"the limit's name", provider("max_tokens_field: max_completion_tokens"), ""},
      {"another limit's name", provider("max_tokens_field: max_output_tokens"), "/providers/p/max_tokens_field: "},
  });
}

TROUPE_TEST("a model that is used has a price, or says that it is free") {
  const auto chain = [](const std::string& rest) {
    return sections{{"models", "{ fast: { chain: [ { provider: openai, model: m" + rest + " } ] } }"}};
  };
  check({
      {"none", chain(""), "/models/fast/chain/0: no price for the model \"m\", and every run has a USD limit"},
      {"free", chain(", usd_per_mtok: free"), ""},
      {"a price", chain(", usd_per_mtok: { input: 2.5, output: 10 }"), ""},
      {"half a price", chain(", usd_per_mtok: { input: 2.5 }"), "/models/fast/chain/0/usd_per_mtok: the key \"output\" is missing"},
      {"a negative price", chain(", usd_per_mtok: { input: -1, output: 1 }"),
       "/models/fast/chain/0/usd_per_mtok/input: -1 is less than the minimum 0"},
      {"too fine a price", chain(", usd_per_mtok: { input: 0.0000001, output: 1 }"),
       "/models/fast/chain/0/usd_per_mtok/input: 1e-07 is finer than a millionth of a dollar"},
      {"an absurd price", chain(", usd_per_mtok: { input: 5000000, output: 1 }"),
       "/models/fast/chain/0/usd_per_mtok/input: more than a million dollars"},
      {"another word", chain(", usd_per_mtok: fre"), "/models/fast/chain/0/usd_per_mtok: \"fre\" must be \"free\""},
      {"how much it thinks", chain(", usd_per_mtok: free, reasoning_effort: none"), ""},
      {"… in another word", chain(", usd_per_mtok: free, reasoning_effort: lots"), "/models/fast/chain/0/reasoning_effort: "},
      {"… of another kind",
       {{"models", "{ fast: { chain: [ { provider: rehearsal, reasoning_effort: low } ] } }"}},
       "/models/fast/chain/0/reasoning_effort: only a provider of kind openai takes it"},
      {"unused",
       {{"models", "{ fast: { chain: [ { provider: rehearsal } ] }, other: { chain: [ { provider: openai, model: m } ] } }"}},
       ""},
      {"no model",
       {{"models", "{ fast: { chain: [ { provider: openai, usd_per_mtok: free } ] } }"}},
       "/models/fast/chain/0: the model is missing"},
  });
}

TROUPE_TEST("money is exact") {
  const std::vector<std::pair<json, std::int64_t>> rows{{2.50, 2'500'000},
                                                        {5, 5'000'000},
                                                        {0.1, 100'000},
                                                        {0.000001, 1},
                                                        {"0.000001", 1},
                                                        {"2.5", 2'500'000},
                                                        {1.1, 1'100'000},
                                                        {1e9, 1'000'000'000'000'000},
                                                        {999999999.999999, 999'999'999'999'999},
                                                        {"999999999.999999", 999'999'999'999'999},
                                                        {0, 0},
                                                        {0.29, 290'000}};
  for (const auto& [value, micro] : rows) {
    IN_ROW(value.dump());
    std::string problem;
    const auto amount = money_of(value, problem);
    REQUIRE(amount.has_value());
    CHECK_EQ(amount->micro, micro);
  }
  for (const json& value : {json(-1), json(-0.01), json(0.0000001), json(1e10), json("1e3"), json("-1"), json(""), json("."), json("1."),
                            json(".5"), json("1.0000001"), json("12345678901"), json("1.-5"), json(true)}) {
    IN_ROW(value.dump());
    std::string problem;
    CHECK(!money_of(value, problem).has_value());
  }
}

TROUPE_TEST("a part of a price that is left out costs what input does, one of 0 costs nothing") {
  const auto result = loaded({{"models", "{ fast: { chain: [ { provider: rehearsal, usd_per_mtok: { input: 3, output: 15 } }, { provider: "
                                         "rehearsal, usd_per_mtok: { input: 3, cached_input: 0, cache_write: 0, output: 15, above: { "
                                         "tokens: 1000, input: 0, output: 0 } } } ] } }"}});
  CHECK_EQ(result.text(), "");
  REQUIRE(result.ok());
  const auto& chain = result.value->models.at("fast").chain;
  const auto& left_out = chain.at(0).price;
  CHECK_EQ(left_out.cached_input, 3'000'000);
  CHECK_EQ(left_out.cache_write, 3'000'000);
  CHECK_EQ(left_out.above_tokens, 0); // no second tier
  const auto& nothing = chain.at(1).price;
  CHECK_EQ(nothing.cached_input, 0);
  CHECK_EQ(nothing.cache_write, 0);
  CHECK_EQ(nothing.above_input, 0);
  CHECK_EQ(nothing.above_output, 0);
}
