#include "troupe/llm/script_rule.hpp"

#include <algorithm>
#include <charconv>

#include "troupe/model/described.hpp"
#include "troupe/util/suggest.hpp"

namespace troupe::llm::detail {

namespace {

constexpr std::size_t most_captures = 32;
constexpr std::size_t most_calls = 128;
constexpr std::size_t most_faults = 16;

bool is_name(std::string_view text) {
  return !text.empty() && text.size() <= 64 && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
  });
}

bool read_source(checker& check, const spot& from, capture& into) {
  std::string source;
  if (!check.text(from, source, 200))
    return false;
  if (source.rfind("tool:", 0) == 0 && source.size() > 5) {
    into.from = capture::source::tool;
    into.tool = source.substr(5);
    return true;
  }
  static const std::pair<std::string_view, capture::source> known[] = {{"last", capture::source::last},
                                                                       {"first", capture::source::first},
                                                                       {"system", capture::source::system},
                                                                       {"conversation", capture::source::conversation}};
  for (const auto& [name, which] : known)
    if (name == source) {
      into.from = which;
      return true;
    }
  return check.wrong(from.pointer, "no source is named " + in_quotes(source)
                                       + did_you_mean(source, {"last", "first", "system", "conversation", "tool:NAME"})
                                       + " Known are: last, first, system, conversation, tool:NAME");
}

/// The groups of the pattern: one at most without a name, or all with names.
bool read_fields(checker& check, const std::string& pointer, capture& into) {
  const auto& named = into.pattern->NamedCapturingGroups();
  const auto groups = static_cast<std::size_t>(into.pattern->NumberOfCapturingGroups());
  if (named.empty())
    return groups <= 1 || check.wrong(pointer, "several groups need names: (?P<name>…); a group that captures nothing is written (?:…)");
  if (named.size() != groups)
    return check.wrong(pointer, "either all groups have names or none has one; a group that captures nothing is written (?:…)");
  into.fields.resize(groups);
  for (const auto& [name, number] : named)
    into.fields[static_cast<std::size_t>(number) - 1] = name;
  return true;
}

void read_capture(checker& check, const spot& from, capture& into) {
  if (!check.object(from, "a capture", {"from", "pattern", "json", "all", "unique", "required"}))
    return;
  if (from.has("from"))
    read_source(check, from.at("from"), into);
  if (from.has("pattern")) {
    into.pattern = check.pattern(from.at("pattern"), true);
    if (into.pattern)
      read_fields(check, from.child("pattern"), into);
  }
  if (from.has("json")) {
    std::string pointer;
    if (check.text(from.at("json"), pointer, 1'000)) {
      try {
        into.pointer.emplace(pointer);
      } catch (const json::exception&) {
        check.wrong(from.child("json"), "no JSON pointer: " + in_quotes(pointer) + "; write \"/facts/0\", or \"\" for the whole");
      }
    }
    if (!into.fields.empty())
      check.wrong(from.child("json"), "what is read as JSON has one group at most, without a name");
  }
  if (!from.has("pattern") && !from.has("json"))
    check.wrong(from.pointer, "a capture has a pattern, or json: with the pointer of a part, or both");
  if (from.has("all"))
    check.flag(from.at("all"), into.all);
  if (from.has("unique"))
    check.flag(from.at("unique"), into.unique);
  if (from.has("required"))
    check.flag(from.at("required"), into.required);
  if (into.unique && !into.all)
    check.wrong(from.child("unique"), "unique is for lists; it needs all: true");
}

bool read_retry_after(checker& check, const spot& from, fault& into) {
  const auto& value = from.value;
  if (value.is_number()) {
    const double seconds = value.get<double>();
    if (!(seconds >= -1e6) || !(seconds <= 1e9))
      return check.wrong(from.pointer, "seconds from -1000000 to 1000000000 are wanted");
    into.retry_after = value.dump();
    if (seconds >= 0)
      into.retry_after_ms = std::chrono::milliseconds(static_cast<std::int64_t>(seconds * 1'000));
    return true;
  }
  if (!check.text(from, into.retry_after, 100))
    return false;
  if (!std::all_of(into.retry_after.begin(), into.retry_after.end(), [](char c) { return c >= 0x20 && c < 0x7F; }))
    return check.wrong(from.pointer, "a header's value is printable ASCII");
  std::int64_t seconds = 0;
  const auto& text = into.retry_after;
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (status == std::errc{} && end == text.data() + text.size() && seconds >= 0 && seconds <= 1'000'000'000)
    into.retry_after_ms = std::chrono::seconds(seconds);
  return true;
}

void read_fault(checker& check, const spot& from, planned_fault& into) {
  if (!check.object(from, "a fault",
                    {"status", "crash", "error200", "timeout", "reset", "truncate", "malformed", "empty", "slow", "times", "retry_after",
                     "code", "message"}))
    return;
  std::size_t kinds = 0;
  boost::mp11::mp_for_each<boost::describe::describe_enumerators<fault_kind>>([&](auto row) {
    if (!from.has(row.name))
      return;
    ++kinds;
    into.what.kind = row.value;
    std::int64_t status = 0;
    if (row.value == fault_kind::status) {
      if (check.whole(from.at(row.name), status, 400, 599))
        into.what.status = static_cast<int>(status);
    } else if (from.at(row.name).value != json(true)) {
      check.wrong(from.child(row.name), std::string(row.name) + " is true or left out");
    }
  });
  if (kinds != 1)
    check.wrong(from.pointer, "a fault is exactly one of status, crash, error200, timeout, reset, truncate, malformed, empty, slow");
  if (from.has("times"))
    check.whole(from.at("times"), into.times, 1, 1'000'000'000);
  if (from.has("retry_after"))
    read_retry_after(check, from.at("retry_after"), into.what);
  if (from.has("code"))
    check.text(from.at("code"), into.what.code, 100);
  if (from.has("message"))
    check.text(from.at("message"), into.what.message, 1'000);
  const bool has_words = into.what.kind == fault_kind::status || into.what.kind == fault_kind::error200;
  for (const char* key : {"retry_after", "code", "message"})
    if (from.has(key) && !has_words)
      check.wrong(from.child(key), std::string(key) + " belongs to a status or to error200");
}

void read_call(checker& check, const spot& from, template_names names, planned_call& into) {
  if (!check.object(from, "a tool call", {"name", "arguments", "id", "for_each"}))
    return;
  if (!from.has("name"))
    check.wrong(from.pointer, "the tool call has no name");
  else if (check.text(from.at("name"), into.name, 128) && into.name.empty())
    check.wrong(from.child("name"), "the name is empty");
  if (from.has("id"))
    check.text(from.at("id"), into.id, 128);
  if (from.has("for_each")) {
    std::string source;
    std::string problem;
    if (check.text(from.at("for_each"), source, 1'000)) {
      // Both spellings are natural: the bare expression, and the braces of INTERFACES 1.
      std::string_view bare = source;
      if (bare.substr(0, 2) == "{{" && bare.size() >= 4 && bare.substr(bare.size() - 2) == "}}")
        bare = bare.substr(2, bare.size() - 4);
      if (!compile_expression(bare, names, into.for_each.emplace(), problem))
        check.wrong(from.child("for_each"), problem);
    }
    names.loops.emplace_back("item");
  }
  if (!from.has("arguments")) {
    into.constant_arguments = "{}";
    return;
  }
  const auto arguments = from.at("arguments");
  if (arguments.value.is_string()) {
    into.is_raw = true;
    check.text_template_of(arguments, names, into.raw_arguments);
    if (into.raw_arguments.is_constant())
      into.constant_arguments = arguments.value.get<std::string>();
    return;
  }
  if (!arguments.value.is_object()) {
    check.wrong(arguments.pointer, "arguments are a mapping, or a text that is sent as it is");
    return;
  }
  std::vector<std::pair<std::string, std::string>> found;
  compile(arguments.value, arguments.pointer, names, into.arguments, found);
  for (auto& [pointer, words] : found)
    check.wrong(pointer, std::move(words));
  if (found.empty() && into.arguments.is_constant())
    into.constant_arguments = arguments.value.dump(-1, ' ', false, json::error_handler_t::replace);
}

bool is_constant(const rule& rule) {
  if (rule.document ? !rule.document->is_constant() : !rule.text.is_constant())
    return false;
  return std::all_of(rule.calls.begin(), rule.calls.end(), [](const planned_call& call) {
    return !call.for_each && (!call.constant_arguments.empty() || (call.is_raw && call.raw_arguments.nodes.empty()));
  });
}

} // namespace

void read_captures(checker& check, const spot& rule, std::vector<capture>& into) {
  if (!rule.has("capture"))
    return;
  const auto captures = rule.at("capture");
  if (!captures.value.is_object() || captures.value.size() > most_captures) {
    check.wrong(captures.pointer, "capture is a mapping of at most 32 names to { from, pattern, json, all, unique, required }");
    return;
  }
  for (const auto& entry : captures.value.items()) {
    auto& made = into.emplace_back();
    made.name = entry.key();
    if (!is_name(made.name))
      check.wrong(captures.child(made.name), "a capture is named by letters, digits, _ and -, at most 64");
    read_capture(check, captures.at(entry.key()), made);
  }
}

void read_faults(checker& check, const spot& rule, std::deque<planned_fault>& into) {
  if (!rule.has("fault"))
    return;
  const auto faults = rule.at("fault");
  if (!faults.value.is_array()) {
    read_fault(check, faults, into.emplace_back());
    return;
  }
  if (faults.value.empty() || faults.value.size() > most_faults) {
    check.wrong(faults.pointer, "a list of faults has 1 to 16 of them");
    return;
  }
  for (std::size_t i = 0; i < faults.value.size(); ++i)
    read_fault(check, faults.at(i), into.emplace_back());
}

void read_reply(checker& check, const spot& reply, const template_names& names, rule& into) {
  if (!check.object(reply, "a reply", {"text", "json", "tool_calls", "finish"}))
    return;
  if (!reply.has("text") && !reply.has("json") && !reply.has("tool_calls"))
    check.wrong(reply.pointer, "the reply says nothing; give it a text, json or tool_calls");
  if (reply.has("text") && reply.has("json"))
    check.wrong(reply.child("json"), "a reply has either text or json, which is a text too");
  if (reply.has("text"))
    check.text_template_of(reply.at("text"), names, into.text);
  if (reply.has("json")) {
    std::vector<std::pair<std::string, std::string>> found;
    compile(reply.value.at("json"), reply.child("json"), names, into.document.emplace(), found);
    for (auto& [pointer, words] : found)
      check.wrong(pointer, std::move(words));
  }
  if (reply.has("finish")) {
    std::string name;
    if (check.text(reply.at("finish"), name, 100)) {
      into.finish = enum_named<finish_reason>(name);
      if (!into.finish || into.finish == finish_reason::other)
        check.wrong(reply.child("finish"),
                    "no finish is named " + in_quotes(name) + "; known are: stop, tool_calls, length, content_filter");
    }
  }
  if (reply.has("tool_calls")) {
    const auto calls = reply.at("tool_calls");
    if (!calls.value.is_array() || calls.value.size() > most_calls) {
      check.wrong(calls.pointer, "tool_calls is a list of at most 128 calls { name, arguments }");
      return;
    }
    for (std::size_t i = 0; i < calls.value.size(); ++i)
      read_call(check, calls.at(i), names, into.calls.emplace_back());
  }
  into.constant = is_constant(into);
  if (into.constant)
    into.constant_text = into.document             ? into.document->constant.dump(-1, ' ', false, json::error_handler_t::replace)
                         : into.text.nodes.empty() ? std::string()
                                                   : into.text.nodes.front().literal;
}

} // namespace troupe::llm::detail
