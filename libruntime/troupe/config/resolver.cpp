#include "troupe/config/resolver.hpp"

#include <utility>

#include "troupe/schema/pattern.hpp"
#include "troupe/schema/schema.hpp"
#include "troupe/util/suggest.hpp"

namespace troupe::config {

void resolver::run() {
  providers();
  models();
  tools();
  agents();
  prices();
  supervision();
  colleagues();
  workflows();
  checkpoint();
  asking_alternatives();
  journal_and_queue();
  tenants();
  doors();
  alerts();
  limits_of(root_["budget"], out_.process_budget);
  without_effect();
}

void resolver::unknown(const view& from, const char* noun, const std::vector<std::string_view>& known) {
  const auto* name = from.text();
  if (name == nullptr || in_.issues.errors_full())
    return;
  auto words = std::string("no ") + noun + " named " + in_quotes(*name);
  if (auto near = did_you_mean(*name, known); !near.empty()) {
    words += near;
  } else if (known.empty()) {
    words += "; none is defined";
  } else if (known.size() <= 8) {
    words += known.size() == 1 ? "; there is only" : "; there are";
    for (std::size_t i = 0; i < known.size(); ++i)
      words += (i == 0 ? " " : ", ") + in_quotes(known[i]);
  }
  from.wrong(std::move(words));
}

void resolver::limits_of(const view& from, limits& into) {
  from["usd"].read(into.money);
  if (from["time"].present()) {
    milliseconds time{1};
    from["time"].read_positive(time);
    into.time = time;
  }
  from["steps"].read(into.steps);
}

void resolver::schema(const view& from, json& into) {
  if (!from.is_object() && !(from.present() && from.value().is_boolean()))
    return;
  into = from.value();
  if (!patterns_fit(from))
    return;
  const auto compiled = troupe::schema::compiled_schema::compile_or_all_problems(into, pattern_cost_);
  if (!compiled) {
    for (const auto& each : compiled.error())
      in_.issues.error({from.pointer() + each.where, each.message, false});
    return;
  }
  for (const auto& each : compiled->warnings()) {
    const auto split = each.find(": ");
    if (split == std::string::npos)
      from.warn(each);
    else
      in_.issues.warning({from.pointer() + each.substr(0, split), each.substr(split + 2), true});
  }
}

void resolver::pattern(const view& from, std::string& into) {
  from.read(into);
  if (into.empty() || !patterns_fit(from))
    return;
  const auto compiled = troupe::schema::compile_re2(into); // as a contract does
  pattern_cost_ += troupe::schema::cost_of(compiled ? *compiled : nullptr);
  if (!compiled)
    from.wrong(compiled.error().message);
}

/// Patterns take time before they are refused or run, so that a file holds no more of them than one schema may.
bool resolver::patterns_fit(const view& from) {
  if (in_.issues.errors_full())
    return false;
  if (pattern_cost_ <= troupe::schema::max_pattern_cost)
    return true;
  if (!std::exchange(patterns_told_, true))
    from.wrong("the patterns of this file are too large together; repetitions of large classes, as in \\p{L}{1,50}, take most");
  return false;
}

std::optional<text_template> resolver::parse_template(const view& from) {
  const auto* text = from.text();
  if (text == nullptr)
    return std::nullopt;
  auto parsed = text_template::parse(*text);
  if (parsed)
    return std::move(*parsed);
  from.wrong(parsed.error().message);
  return std::nullopt;
}

} // namespace troupe::config
