#include "troupe/policy/context_fit.hpp"

#include <random>
#include <string>

#include "test.hpp"
#include "troupe/policy/history.hpp"

TROUPE_SUITE(context_fit)

using namespace troupe;
using namespace troupe::policy;

namespace {

message_ptr message(role from, std::size_t bytes) {
  return std::make_shared<const chat_message>(chat_message{from, std::string(bytes, 'x'), {}, "", false});
}
/// An answer that calls a tool, and its result.
void exchange(conversation& list, std::size_t result_bytes, std::size_t text_bytes = 0) {
  const auto id = "c" + std::to_string(list.size());
  list.push_back(
      std::make_shared<const chat_message>(chat_message{role::assistant, std::string(text_bytes, 'a'), {{id, "read", "{}"}}, "", false}));
  list.push_back(std::make_shared<const chat_message>(chat_message{role::tool, std::string(result_bytes, 'r'), {}, id, false}));
}

struct scene {
  model_spec model{.name = "m", .chain = {{.provider = "p", .model = "small", .context = 2'000}}};
  context_spec spec{.summaries = 3, .summary_tokens = 100};
  context_state state;
  token_meter meter;
  conversation messages{message(role::system, 40), message(role::user, 400)};
  std::int64_t step = 5;
  bool refused = false;
  bool no_summary = false;

  context_plan plan() const { return plan_context(messages, {&model, &spec, 500, 2, step, refused, no_summary}, state, meter); }
  void take(const context_cut& cut) {
    conversation rest(messages.begin() + 2, messages.end());
    conversation cut_list(messages.begin(), messages.begin() + 2);
    cut_list.append(apply_cut(rest, cut));
    messages = cut_list;
    take_cut(state, cut);
  }
  /// What is done, in a word each, until it fits or cannot.
  std::string all() {
    std::string words;
    for (int i = 0; i < 20; ++i) {
      auto next = plan();
      words += words.empty() ? "" : " ";
      if (std::holds_alternative<context_fits>(next))
        return words + "fits";
      if (std::holds_alternative<context_exhausted>(next))
        return words + "ends";
      if (auto* wanted = std::get_if<summary_wanted>(&next)) {
        words += "summary";
        wanted->cut.summary = std::string(200, 's');
        take(wanted->cut);
      } else {
        const auto& cut = std::get<context_cut>(next);
        words += cut.kind == context_cut_kind::results_noted ? "notes:" + std::to_string(cut.results)
                 : cut.kind == context_cut_kind::failed_over ? "over:" + std::to_string(cut.link)
                                                             : "shortened:" + std::to_string(cut.results);
        take(cut);
      }
    }
    return words + " without an end";
  }
};

} // namespace

TROUPE_TEST("what is exactly as long as the window fits, a token more does not") {
  scene s;
  exchange(s.messages, 4'000);
  exchange(s.messages, 0);
  const auto total = s.meter.tokens(s.messages);
  s.model.chain[0].context = total + 500; // beside an answer of 500
  CHECK(std::holds_alternative<context_fits>(s.plan()));
  --s.model.chain[0].context;
  CHECK(std::holds_alternative<context_cut>(s.plan()));
}

TROUPE_TEST("a conversation is cut in the order of the rule") {
  struct row {
    const char* says;
    void (*set)(scene&);
    const char* done;
  };
  const row rows[] = {
      {"what fits is left alone", [](scene& s) { exchange(s.messages, 4'000); }, "fits"},
      {"no context is configured: nothing is cut",
       [](scene& s) {
         s.model.chain[0].context = 0;
         exchange(s.messages, 400'000);
       },
       "fits"},
      {"the oldest result goes first, and only as many as needed",
       [](scene& s) {
         for (int i = 0; i < 4; ++i)
           exchange(s.messages, 1'600);
       },
       "notes:2 fits"},
      {"the last exchange's result stays when the others are enough",
       [](scene& s) {
         exchange(s.messages, 4'000);
         exchange(s.messages, 4'000);
       },
       "notes:1 fits"},
      {"long answers: notes do not help, a summary does",
       [](scene& s) {
         for (int i = 0; i < 4; ++i)
           exchange(s.messages, 1'000, 1'600);
       },
       "notes:3 summary fits"},
      {"short results are not worth a note",
       [](scene& s) {
         for (int i = 0; i < 60; ++i)
           exchange(s.messages, 100);
       },
       "summary fits"},
      {"a summary that would not help is not paid for: the last result alone is too long, and a larger model follows",
       [](scene& s) {
         s.model.chain.push_back({.provider = "p", .model = "large", .context = 20'000});
         exchange(s.messages, 100);
         exchange(s.messages, 40'000);
       },
       "over:1 fits"},
      {"no summary of the step before again: a larger model",
       [](scene& s) {
         s.model.chain.push_back({.provider = "p", .model = "larger", .context = 4'000});
         s.state = {.link = 0, .learned_window = 0, .summaries = 1, .last_summary_step = 4};
         for (int i = 0; i < 60; ++i)
           exchange(s.messages, 100);
       },
       "over:1 fits"},
      {"the first of the larger ones that takes it",
       [](scene& s) {
         s.spec.summaries = 0;
         s.model.chain.push_back({.provider = "p", .model = "small too", .context = 1'000});
         s.model.chain.push_back({.provider = "p", .model = "large", .context = 20'000});
         s.model.chain.push_back({.provider = "p", .model = "unknown", .context = 0});
         for (int i = 0; i < 60; ++i)
           exchange(s.messages, 100);
       },
       "over:2 fits"},
      {"a summary comes before a larger model",
       [](scene& s) {
         s.model.chain.push_back({.provider = "p", .model = "large", .context = 20'000});
         for (int i = 0; i < 60; ++i)
           exchange(s.messages, 100);
       },
       "summary fits"},
      {"a smaller model is no help",
       [](scene& s) {
         s.spec.summaries = 0;
         s.model.chain.push_back({.provider = "p", .model = "smaller", .context = 1'000});
         for (int i = 0; i < 60; ++i)
           exchange(s.messages, 100);
       },
       "ends"},
      {"a model whose context is unknown takes everything",
       [](scene& s) {
         s.model.chain.push_back({.provider = "p", .model = "unknown", .context = 0});
         exchange(s.messages, 40'000);
       },
       "over:1 fits"},
      {"no larger model: the last result keeps its beginning and end", [](scene& s) { exchange(s.messages, 40'000); }, "shortened:1 fits"},
      {"three summaries are all",
       [](scene& s) {
         s.state = {.link = 0, .learned_window = 0, .summaries = 3, .last_summary_step = 1};
         for (int i = 0; i < 60; ++i)
           exchange(s.messages, 100);
       },
       "ends"},
      {"no summary was to be had",
       [](scene& s) {
         s.no_summary = true;
         for (int i = 0; i < 60; ++i)
           exchange(s.messages, 100);
       },
       "ends"},
      {"an instruction that is too long cannot be helped",
       [](scene& s) {
         s.messages = {message(role::system, 40), message(role::user, 40'000)};
       },
       "ends"},
      {"a window that the provider's refusals have shown counts too",
       [](scene& s) {
         s.model.chain[0].context = 0;
         s.state.learned_window = 1'000;
         s.refused = true;
         exchange(s.messages, 3'000);
         exchange(s.messages, 1'000);
       },
       "notes:1 fits"},
  };
  for (const auto& row : rows) {
    scene s;
    row.set(s);
    CHECK_EQ(row.says + (": " + s.all()), row.says + (": " + std::string(row.done)));
    CHECK(!well_formed(s.messages));
  }
}

TROUPE_TEST("summaries of one task are bounded, and no two steps running have one") {
  for (const std::size_t summary_bytes : {400u, 4'500u, 5'400u, 7'000u}) {
    scene s;
    std::vector<std::int64_t> steps;
    bool ended = false;
    for (s.step = 1; s.step <= 400 && !ended; ++s.step) {
      exchange(s.messages, 100);
      for (auto next = s.plan(); !std::holds_alternative<context_fits>(next) && !ended; next = s.plan()) {
        ended = std::holds_alternative<context_exhausted>(next);
        if (auto* wanted = std::get_if<summary_wanted>(&next)) {
          REQUIRE(steps.empty() || s.step > steps.back() + 1);
          steps.push_back(s.step);
          wanted->cut.summary = std::string(summary_bytes, 's'); // often longer than asked for: the next steps are in need again
          s.take(wanted->cut);
        }
      }
    }
    CHECK(ended);
    CHECK_EQ(steps.size(), summary_bytes > 5'000 ? 1u : 3u);
  }
}

TROUPE_TEST("whatever the sizes: in the end it fits, or nothing is left to do; cuts are the same again from the journal") {
  for (std::uint32_t seed = 1; seed <= 2'000; ++seed) {
    std::mt19937 dice(seed);
    scene s;
    s.model.chain[0].context = 700 + static_cast<std::int64_t>(dice() % 5'000);
    const auto exchanges = dice() % 12;
    for (std::uint32_t i = 0; i < exchanges; ++i)
      exchange(s.messages, dice() % 9'000, dice() % 500);
    if (dice() % 3 == 0)
      s.meter.learn(s.messages, 1 + dice() % 20'000);
    auto again = s;
    const auto did = s.all();
    REQUIRE(did.find("without an end") == std::string::npos);
    REQUIRE(again.all() == did);
    bool same = s.messages.size() == again.messages.size();
    for (std::size_t i = 0; same && i < s.messages.size(); ++i)
      same = *s.messages[i] == *again.messages[i];
    REQUIRE(same);
    REQUIRE(!well_formed(s.messages));
    if (did.ends_with("fits"))
      REQUIRE(s.meter.tokens(s.messages) <= s.model.chain[0].context - 500);
    else // only what cannot be cut is left: without it a last result would have been shortened
      REQUIRE(s.meter.tokens(s.messages) > s.model.chain[0].context - 500);
  }
}

TROUPE_TEST("a shortened result keeps its two ends, whole characters, and says what is missing") {
  context_cut cut{.kind = context_cut_kind::results_shortened};
  cut.keep_bytes = 301;
  std::string text;
  for (int i = 0; i < 400; ++i)
    text += "ä";
  const conversation rest{std::make_shared<const chat_message>(chat_message{role::tool, text, {}, "c", true})};
  const auto out = apply_cut(rest, cut);
  const auto& cut_text = out[0]->text;
  CHECK(out[0]->is_error);
  CHECK_EQ(out[0]->tool_call_id, "c");
  CHECK(cut_text.find(" of 800 bytes left out") != std::string::npos);
  CHECK(cut_text.size() < 301 + 90);
  CHECK_EQ(cut_text.substr(0, 2), "ä");
  CHECK_EQ(cut_text.substr(cut_text.size() - 2), "ä");
}

TROUPE_TEST("the estimate learns from what the provider states, within bounds") {
  conversation list{message(role::user, 3'984)};
  struct row {
    std::int64_t stated, tokens;
  };
  for (const auto& [stated, tokens] :
       {row{1'300, 1'300}, row{900, 1'000}, row{10, 1'000}, row{99'999, 4'000}, row{0, 1'000}, row{-5, 1'000}}) {
    token_meter meter;
    meter.learn(list, stated);
    CHECK_EQ(meter.tokens(list), tokens);
    CHECK(meter.tokens_of_bytes(meter.bytes_of_tokens(500)) >= 500);
  }
  token_meter meter;
  meter.learn({message(role::user, 100)}, 5'000); // too short to say anything
  CHECK_EQ(meter.tokens(list), 1'000);
}

TROUPE_TEST("the summarising request fits, however long what it is about") {
  for (const std::int64_t tokens : {1'000, 3'000, 50'000}) {
    scene s;
    for (int i = 0; i < 20; ++i)
      exchange(s.messages, i % 3 == 0 ? 20'000 : 50, 200);
    const auto ask = summary_request(s.messages, 2, 30, tokens, s.meter);
    CHECK_EQ(ask.size(), 2u);
    CHECK(s.meter.tokens(ask) <= tokens);
    CHECK(ask[1]->text.find("calls read({})") != std::string::npos);
    CHECK(s.meter.tokens(ask) > tokens / 2 || tokens == 50'000);
  }
}

TROUPE_TEST("a refusal shows a smaller window, a second one half") {
  CHECK_EQ(learned_window(1'000, false), 750);
  CHECK_EQ(learned_window(1'000, true), 500);
  CHECK_EQ(learned_window(0, true), 1);
  CHECK(is_summary_step(summary_step("t@1/5")));
  CHECK(!is_summary_step("t@1/5"));
}
