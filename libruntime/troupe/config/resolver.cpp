#include "troupe/config/resolver.hpp"

#include "troupe/policy/contract.hpp"
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
  workflows();
  checkpoint();
  journal_and_queue();
  tenants();
  doors();
  alerts();
  limits_of(root_["budget"], out_.process_budget);
}

void resolver::unknown(const view& from, const char* noun, const std::vector<std::string_view>& known) {
  const auto* name = from.text();
  if (name == nullptr)
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
  for (const auto& each : troupe::schema::compiled_schema::problems(into))
    in_.issues.error({from.pointer() + each.where, each.message, false});
  if (const auto compiled = troupe::schema::compiled_schema::compile(into))
    for (const auto& each : compiled->warnings()) {
      const auto split = each.find(": ");
      if (split == std::string::npos)
        from.warn(each);
      else
        in_.issues.warning({from.pointer() + each.substr(0, split), each.substr(split + 2), true});
    }
}

void resolver::pattern(const view& from, std::string& into, const char* key) {
  from.read(into);
  if (into.empty())
    return;
  output_spec probe;
  (std::string_view(key) == "matches" ? probe.matches : probe.not_matches) = into;
  if (const auto compiled = contract::compile(probe); !compiled)
    from.wrong(compiled.error().message);
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
