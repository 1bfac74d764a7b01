#include "test.hpp"

#include "troupe/model/config.hpp"
#include "troupe/model/described_writer.hpp"
#include "troupe/model/event.hpp"

TROUPE_SUITE(described_writer)

using namespace troupe;

namespace {

template <class T>
std::string written(const T& value) {
  std::string out;
  write_document(value, out);
  return out;
}

template <class T>
void same_as_dump(const T& value) {
  CHECK_EQ(written(value), to_document(value).dump());
}

} // namespace

TROUPE_TEST("each default event body is written as its document prints") {
  boost::mp11::mp_for_each<boost::mp11::mp_transform<boost::mp11::mp_identity, event_body>>(
      [](auto type) { same_as_dump(typename decltype(type)::type{}); });
}

TROUPE_TEST("text, lists, optionals, shared messages, durations and money are written as their document prints") {
  std::string every;
  for (int c = 0; c < 128; ++c)
    every += static_cast<char>(c);
  every += "\xC3\xA4 \xE2\x82\xAC \xF0\x9F\x98\x80 \xEF\xBF\xBF";
  same_as_dump(llm_responded{.step_id = every,
                             .request = std::numeric_limits<std::int64_t>::min(),
                             .provider = "p",
                             .model = "",
                             .message = std::make_shared<const chat_message>(chat_message{
                                 role::assistant, every, {{"c1", "grep", "{\"a\": \"\\n\"}"}, {"c2", every, "not json"}}, "", true}),
                             .finish = finish_reason::content_filter,
                             .usage = {1, 2, 3, 4},
                             .cost = usd::max(),
                             .estimated = true});
  same_as_dump(run_started{.workflow = "w",
                           .input = {{"b", 1.0}, {"a", {1, "x", nullptr, 1e300, -0.0, 18446744073709551615ULL}}},
                           .budget = {usd{1}, std::chrono::milliseconds{5}, {}},
                           .configuration = std::make_shared<const json>(json::parse(R"({"z":{"y":[]},"":{}})"))});
  same_as_dump(task_started{.instruction = "x", .items = 3});
  same_as_dump(contract_violated{.violations = {"one", every}});
  same_as_dump(workflow_spec{.name = "w", .tasks = {{.id = "a", .with = {{"k", 1}, {"j", "x"}}, .timeout = milliseconds{7}}}});
}

TROUPE_TEST("text that is not UTF-8 is mended, never thrown about") {
  struct row {
    std::string text, written;
  };
  const std::string mended = "\xEF\xBF\xBD";
  const std::vector<row> rows{{"\xFF", mended},
                              {"a\xC3", "a" + mended},
                              {"\xC0\xAF", mended + mended},
                              {"\xED\xA0\x80", mended + mended + mended},
                              {"\xF4\x90\x80\x80", mended + mended + mended + mended},
                              {"\xE2\x82z", mended + mended + "z"}};
  for (const auto& r : rows) {
    CHECK_EQ(written(r.text), "\"" + r.written + "\"");
    CHECK(json::accept(written(task_started{.instruction = r.text})));
    CHECK(json::accept(written(run_started{.input = {{"k", r.text}}})));
  }
}
