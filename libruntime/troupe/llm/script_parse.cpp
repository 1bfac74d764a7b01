// Compiles a script; every problem at once.
#include <algorithm>
#include <set>

#include "troupe/llm/script_check.hpp"
#include "troupe/llm/script_data.hpp"
#include "troupe/llm/script_rule.hpp"
#include "troupe/util/suggest.hpp"

namespace troupe::llm {

namespace detail {

namespace {

bool read_when(checker& check, const spot& rule, condition& into) {
  if (!rule.has("when"))
    return check.wrong(rule.pointer, "the rule has no condition; for a rule that answers everything, write when: { any: true }");
  const auto when = rule.at("when");
  if (!check.object(when, "when", {"agent", "turn", "model", "last", "contains", "has_tool_result", "any"}))
    return false;
  if (when.value.empty())
    return check.wrong(when.pointer, "the condition is empty; for a rule that answers everything, write when: { any: true }");
  bool good = true;
  const auto name = [&](const char* key, std::optional<std::string>& text) {
    if (!when.has(key))
      return;
    good = check.text(when.at(key), text.emplace(), 1'000) && good;
    if (text->empty())
      good = check.wrong(when.child(key), "an empty text says nothing; leave the key out");
  };
  name("agent", into.agent);
  name("model", into.model);
  name("contains", into.contains);
  if (when.has("turn"))
    good = check.whole(when.at("turn"), into.turn.emplace(), 1, 1'000'000) && good;
  if (when.has("last")) {
    into.last = check.pattern(when.at("last"), false);
    good = into.last && good;
  }
  if (when.has("has_tool_result")) {
    const auto value = when.at("has_tool_result");
    if (value.value.is_boolean())
      into.has_tool_result = value.value.get<bool>();
    else if (value.value.is_string())
      into.tool_result_of = value.value.get<std::string>();
    else
      good = check.wrong(value.pointer, "true, false or the name of a tool is wanted");
  }
  if (when.has("any") && when.at("any").value != json(true))
    good = check.wrong(when.child("any"), "any is true or left out");
  return good;
}

bool read_usage(checker& check, const spot& rule, detail::rule& into) {
  if (!rule.has("usage"))
    return true;
  const auto usage = rule.at("usage");
  if (usage.value == json("none")) {
    into.states_usage = false;
    return true;
  }
  if (!check.object(usage, "usage", {"input", "output", "cached_input", "cache_write"}))
    return false;
  bool good = true;
  // Absurd ones, below zero too, are what some rehearsals are about.
  constexpr std::int64_t most = 1'000'000'000'000;
  if (usage.has("input"))
    good = check.whole(usage.at("input"), into.input.emplace(), -most, most) && good;
  if (usage.has("output"))
    good = check.whole(usage.at("output"), into.output.emplace(), -most, most) && good;
  if (usage.has("cached_input"))
    good = check.whole(usage.at("cached_input"), into.cached_input, -most, most) && good;
  if (usage.has("cache_write"))
    good = check.whole(usage.at("cache_write"), into.cache_write, -most, most) && good;
  return good;
}

bool read_headers(checker& check, const spot& rule, detail::rule& into) {
  if (!rule.has("headers"))
    return true;
  const auto headers = rule.at("headers");
  if (!headers.value.is_object() || headers.value.size() > 32)
    return check.wrong(headers.pointer, "headers are a mapping of at most 32 names to texts");
  static const std::set<std::string, std::less<>> ours{"content-length", "content-type", "transfer-encoding", "connection", "date"};
  bool good = true;
  for (const auto& entry : headers.value.items()) {
    const auto& name = entry.key();
    std::string value;
    std::string lower = name;
    std::transform(lower.begin(), lower.end(), lower.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
    const bool is_token = !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
    });
    if (!is_token || ours.count(lower) > 0 || name.size() > 100)
      good = check.wrong(headers.child(name), "no header may be named " + in_quotes(name));
    else if (!check.text(headers.at(name), value, 1'000))
      good = false;
    else if (!std::all_of(value.begin(), value.end(), [](char c) { return c >= 0x20 && c < 0x7F; }))
      good = check.wrong(headers.child(name), "a header's value is printable ASCII");
    else
      into.headers.emplace_back(name, value);
  }
  return good;
}

void read_rule(checker& check, const spot& from, detail::rule& into) {
  if (!check.object(from, "a rule", {"when", "capture", "reply", "usage", "latency", "fault", "headers"}))
    return;
  read_when(check, from, into.when);
  template_names names;
  read_captures(check, from, into.captures);
  for (const auto& capture : into.captures)
    names.captured.push_back(capture.name);
  read_faults(check, from, into.faults);
  const bool never_answers = std::any_of(into.faults.begin(), into.faults.end(), [](const planned_fault& fault) {
    return fault.times == 0 && fault.what.kind != fault_kind::crash && fault.what.kind != fault_kind::truncate
           && fault.what.kind != fault_kind::slow;
  });
  if (from.has("reply"))
    read_reply(check, from.at("reply"), names, into);
  else if (!never_answers)
    check.wrong(from.pointer, "the rule has no reply; write reply: { text: … } or reply: { tool_calls: […] }");
  read_usage(check, from, into);
  read_headers(check, from, into);
  if (from.has("latency"))
    check.duration(from.at("latency"), into.latency);
}

void collect_names(script_data& data) {
  std::set<std::string> agents;
  std::set<std::string> models;
  for (const auto& rule : data.rules) {
    if (rule.when.agent)
      agents.insert(*rule.when.agent);
    if (rule.when.model)
      models.insert(*rule.when.model);
    data.largest_stated_input = std::max({data.largest_stated_input, rule.input.value_or(0), rule.cached_input, rule.cache_write});
  }
  data.agents.assign(agents.begin(), agents.end());
  data.models.assign(models.begin(), models.end());
}

void read_script(checker& check, const spot& whole, script_data& into) {
  if (!check.object(whole, "a script", {"version", "usage", "rules"}))
    return;
  std::int64_t version = 1;
  if (whole.has("version"))
    check.whole(whole.at("version"), version, 1, 1);
  if (whole.has("usage") && check.object(whole.at("usage"), "usage", {"chars_per_token"}) && whole.at("usage").has("chars_per_token")) {
    const auto chars = whole.at("usage").at("chars_per_token");
    if (!chars.value.is_number() || !(chars.value.get<double>() >= 0.1) || !(chars.value.get<double>() <= 1'000))
      check.wrong(chars.pointer, "a number from 0.1 to 1000 is wanted");
    else
      into.chars_per_token = chars.value.get<double>();
  }
  constexpr std::size_t most_rules = 10'000;
  if (!whole.has("rules") || !whole.at("rules").value.is_array() || whole.at("rules").value.empty()) {
    check.wrong(whole.has("rules") ? "/rules" : "/",
                "a script has a list of rules; write at least rules: [ { when: { any: true }, reply: { text: done } } ]");
    return;
  }
  const auto rules = whole.at("rules");
  if (rules.value.size() > most_rules) {
    check.wrong(rules.pointer, "a script has at most 10,000 rules");
    return;
  }
  for (std::size_t i = 0; i < rules.value.size(); ++i)
    read_rule(check, rules.at(i), into.rules.emplace_back());
}

} // namespace
} // namespace detail

tl::expected<script_ptr, std::vector<error>> parse_script(const json& document) {
  detail::checker check;
  auto data = std::make_unique<detail::script_data>();
  detail::read_script(check, detail::spot{document, ""}, *data);
  if (!check.problems.empty())
    return tl::unexpected<std::vector<error>>(std::move(check.problems));
  detail::collect_names(*data);
  return std::make_shared<const script>(std::move(data));
}

} // namespace troupe::llm
