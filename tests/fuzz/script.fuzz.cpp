// Hostile input to a rehearsal: the first byte chooses what the rest is.
//   0, 1  the body of a request in OpenAI's or Anthropic's form, matched and answered by a script that uses every part of the language
//   2     a template, compiled and rendered
//   3     a whole script as JSON, compiled and asked
#include <cstdint>
#include <cstdlib>

#include "mock_llm/wire.hpp"
#include "troupe/llm/script.hpp"
#include "troupe/util/utf8.hpp"

using namespace troupe;

namespace {

llm::script_ptr versatile() {
  const auto document = json::parse(R"#({"rules": [
    {"when": {"agent": "a", "turn": 2, "last": "x+", "contains": "y", "has_tool_result": "f"}, "reply": {"text": "{{ tool.f }}"}},
    {"when": {"any": true},
     "capture": {"words": {"from": "conversation", "pattern": "\\w+", "all": true, "unique": true},
                 "rows": {"from": "last", "pattern": "(?P<n>\\d+) (?P<s>\\S*)", "all": true, "required": false},
                 "part": {"from": "first", "json": "/a", "required": false}},
     "reply": {"text": "{{ each captured.words | take: 5 join \",\" }}{{ item }}{{ end }} {{ captured.rows | max: n | field: s }} {{ captured.part | json }}",
               "tool_calls": [{"name": "f", "for_each": "captured.rows | sort_by: n | take: 3", "arguments": {"s": "{{ item.s }}", "n": "{{ item.n | number }}"}}]}},
    {"when": {"any": true}, "reply": {"json": {"last": "{{ last }}", "tally": "{{ turn }}"}}}]})#");
  return *llm::parse_script(document);
}

void ask(const llm::script& script, const llm::request_view& view) {
  const auto found = script.match(view);
  if (!found)
    return;
  script.take_fault(*found, false);
  const auto reply = script.render(*found, view);
  if (!reply)
    return;
  for (const auto to : {mock_llm::vendor::openai, mock_llm::vendor::anthropic}) {
    std::string whole;
    mock_llm::write_whole(to, *reply, {view.model, 1, true}, whole);
    // Whatever came in, what goes out is JSON.
    if (!json::accept(whole))
      std::abort();
    std::string stream;
    mock_llm::body_writer events{stream, true};
    mock_llm::write_stream(to, *reply, {view.model, 1, true}, events);
  }
}

llm::request_view plain_view(std::string_view text) {
  llm::request_view view;
  view.model = "m";
  auto& message = view.messages.emplace_back();
  message.from = role::user;
  message.text = text;
  return view;
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const auto script = versatile();
  static mock_llm::parse_memory memory;
  if (size == 0)
    return 0;
  const std::string_view rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] % 4) {
  case 0:
  case 1: {
    mock_llm::wire_request request;
    if (!mock_llm::read_body(data[0] % 4 == 0 ? mock_llm::vendor::openai : mock_llm::vendor::anthropic, rest, memory, request))
      ask(*script, request.view);
    break;
  }
  case 2: {
    if (!is_valid_utf8(rest)) // a script's reader takes nothing else
      break;
    json document = json::parse(
        R"#({"rules": [{"when": {"any": true}, "capture": {"w": {"pattern": "(?P<a>\\w)(?P<b>\\w*)", "all": true}}, "reply": {}}]})#");
    document["rules"][0]["reply"]["text"] = std::string(rest);
    if (const auto made = llm::parse_script(document))
      ask(**made, plain_view("12 billing\n7 auth\n7 mail"));
    break;
  }
  default: {
    const auto document = json::parse(rest, nullptr, false);
    if (document.is_discarded())
      break;
    if (const auto made = llm::parse_script(document))
      ask(**made, plain_view("12 billing\n7 auth"));
  }
  }
  return 0;
}
