// What is said about the value itself: types, constants, and the keywords that apply further schemas to the same value.

#include <algorithm>
#include <array>

#include "troupe/schema/evaluator.hpp"
#include "troupe/schema/values.hpp"
#include "troupe/util/suggest.hpp"

namespace troupe::schema {
namespace {

std::uint8_t bit_of_type(const json& value) {
  switch (value.type()) {
  case json::value_t::null:
    return type_null;
  case json::value_t::boolean:
    return type_boolean;
  case json::value_t::number_integer:
  case json::value_t::number_unsigned:
  case json::value_t::number_float:
    return is_integer(value) ? type_integer : type_number;
  case json::value_t::string:
    return type_string;
  case json::value_t::array:
    return type_array;
  case json::value_t::object:
    return type_object;
  default:
    return 0;
  }
}

/// "a string", "an integer or null".
std::string type_words(std::uint8_t types) {
  constexpr std::array<std::pair<std::uint8_t, const char*>, 7> words = {{{type_object, "an object"},
                                                                          {type_array, "an array"},
                                                                          {type_string, "a string"},
                                                                          {type_number, "a number"},
                                                                          {type_integer, "an integer"},
                                                                          {type_boolean, "a boolean"},
                                                                          {type_null, "null"}}};
  std::vector<const char*> chosen;
  for (const auto& [bit, text] : words) {
    if ((types & bit) == 0 || (bit == type_integer && (types & type_number) != 0))
      continue;
    chosen.push_back(text);
  }
  std::string out;
  for (std::size_t i = 0; i < chosen.size(); ++i)
    out.append(i == 0 ? "" : i + 1 == chosen.size() ? " or " : ", ").append(chosen[i]);
  return out;
}

std::string wrong_type(const json& value, std::uint8_t wanted) {
  const auto is = type_words(bit_of_type(value));
  const auto shown = excerpt(value);
  return (shown == is || value.is_structured() || value.is_null() ? "is " + is : shown + " is " + is) + ", but must be "
         + type_words(wanted);
}

std::string not_in_list(const json& value, const json& list) {
  constexpr std::size_t max_listed = 10;
  std::string out = excerpt(value) + " is not one of ";
  std::vector<std::string_view> names;
  for (std::size_t i = 0; i < list.size(); ++i) {
    if (i < max_listed)
      out.append(i == 0 ? "" : ", ").append(excerpt(list[i]));
    if (list[i].is_string())
      names.push_back(list[i].get_ref<const std::string&>());
  }
  if (list.size() > max_listed)
    out.append(", … (").append(std::to_string(list.size())).append(" values)");
  if (list.empty())
    return excerpt(value) + " is not allowed: the list of values is empty";
  if (value.is_string())
    if (const auto near = nearest_name(value.get_ref<const std::string&>(), names); !near.empty())
      out.append("; did you mean ").append(excerpt(json(near))).append("?");
  return out;
}

bool listed(const std::vector<const json*>& values, const json& value) {
  return std::binary_search(values.begin(), values.end(), &value, [](const json* a, const json* b) { return compare(*a, *b) < 0; });
}

} // namespace

bool evaluator::types_and_values(const node& rules, const json& value, const place& at, mode how) {
  if (rules.types != 0 && (rules.types & bit_of_type(value)) == 0)
    return broken(at, "type", how, [&] { return wrong_type(value, rules.types); });
  if (rules.constant != nullptr && !same(*rules.constant, value))
    return broken(at, "const", how, [&] { return excerpt(value) + " must be " + excerpt(*rules.constant); });
  if (rules.enumeration && !listed(*rules.enumeration, value))
    return broken(at, "enum", how, [&] { return not_in_list(value, *rules.enumeration_source); });
  return true;
}

bool evaluator::in_place(const in_place_rules& rules, const json& value, const place& at, scope in, marks* seen, mode how) {
  bool valid = true;
  const auto and_then = [&](bool holds) {
    valid = valid && holds;
    return valid || (how == mode::explain && !full());
  };
  if (rules.ref != no_node && !and_then(evaluate(rules.ref, value, at, in, seen, how)))
    return false;
  if (rules.dynamic_ref != no_node && !and_then(evaluate(dynamic_target(rules, in), value, at, in, seen, how)))
    return false;
  for (const auto node : rules.all_of)
    if (!and_then(evaluate(node, value, at, in, seen, how)))
      return false;
  if (!rules.any_of.empty() && !and_then(alternatives(rules.any_of, false, value, at, in, seen, how)))
    return false;
  if (!rules.one_of.empty() && !and_then(alternatives(rules.one_of, true, value, at, in, seen, how)))
    return false;
  if (rules.negation != no_node && evaluate(rules.negation, value, at, in, nullptr, mode::check)
      && !and_then(broken(at, "not", how, [&] { return excerpt(value) + " is what the schema under \"not\" excludes"; })))
    return false;
  if (rules.condition != no_node) {
    marks inner;
    const bool holds = evaluate(rules.condition, value, at, in, seen != nullptr ? &inner : nullptr, mode::check);
    if (holds && seen != nullptr)
      seen->merge(inner);
    const auto next = holds ? rules.then : rules.otherwise;
    if (next != no_node && !and_then(evaluate(next, value, at, in, seen, how)))
      return false;
  }
  return valid;
}

bool evaluator::alternatives(const std::vector<node_id>& list, bool exactly_one, const json& value, const place& at, scope in, marks* seen,
                             mode how) {
  std::size_t matches = 0;
  std::size_t first = 0;
  for (std::size_t i = 0; i < list.size(); ++i) {
    marks inner;
    if (!evaluate(list[i], value, at, in, seen != nullptr ? &inner : nullptr, mode::check))
      continue;
    if (seen != nullptr)
      seen->merge(inner);
    ++matches;
    if (exactly_one && matches == 2)
      return broken(at, "oneOf", how, [&] {
        return excerpt(value) + " matches both alternative " + std::to_string(first + 1) + " and alternative " + std::to_string(i + 1)
               + " of oneOf, but must match only one";
      });
    first = i;
    if (!exactly_one && seen == nullptr)
      return true;
  }
  if (matches > 0)
    return true;
  if (how == mode::explain && !stopped_)
    explain_alternatives(list, exactly_one ? "oneOf" : "anyOf", value, at, in);
  return false;
}

/// How near a value is to an alternative, by what costs nothing to see: 0 of another type, 1 with another constant (of itself or a
/// member that tells alternatives apart), else 2 and one for each required property that is there.
int evaluator::affinity(node_id id, const json& value) const {
  const auto* rules = &program_.nodes[id];
  for (int hops = 0; hops < 8 && rules->in_place && rules->in_place->ref != no_node && !rules->types && !rules->object; ++hops)
    rules = &program_.nodes[rules->in_place->ref];
  if (rules->what == node::kind::reject || (rules->types != 0 && (rules->types & bit_of_type(value)) == 0))
    return 0;
  const auto differs = [](const node& made, const json& part) {
    return (made.constant != nullptr && !same(*made.constant, part)) || (made.enumeration && !listed(*made.enumeration, part));
  };
  if (differs(*rules, value))
    return 1;
  if (!rules->object || !value.is_object())
    return 2;
  for (const auto& [name, node] : rules->object->properties)
    if (const auto member = value.find(name); member != value.end() && differs(program_.nodes[node], *member))
      return 1;
  int near = 2;
  for (const auto& name : rules->object->required)
    near += value.contains(name) ? 1 : 0;
  return near;
}

void evaluator::explain_alternatives(const std::vector<node_id>& list, const char* keyword, const json& value, const place& at, scope in) {
  std::size_t best = 0;
  int nearest = -1;
  std::size_t candidates = 0;
  std::uint8_t types = 0;
  for (std::size_t i = 0; i < list.size(); ++i) {
    const int near = affinity(list[i], value);
    candidates += near > 0 ? 1 : 0;
    types = static_cast<std::uint8_t>(types | program_.nodes[list[i]].types);
    if (near > nearest) {
      nearest = near;
      best = i;
    }
  }
  if (candidates == 0 && types != 0) {
    report(at, keyword, wrong_type(value, types));
    return;
  }
  if (candidates != 1)
    report(at, keyword,
           excerpt(value) + " matches none of the " + std::to_string(list.size()) + " alternatives of " + keyword
               + (list.size() > 1 ? "; what follows is about the closest, number " + std::to_string(best + 1) : ""));
  evaluate(list[best], value, at, in, nullptr, mode::explain);
}

} // namespace troupe::schema
