// Arrays and objects: the members of `evaluator` that go down into the value.

#include <algorithm>

#include "troupe/schema/evaluator.hpp"
#include "troupe/schema/values.hpp"
#include "troupe/util/suggest.hpp"

namespace troupe::schema {
namespace {

std::string properties_of(const json& object) {
  return std::to_string(object.size()) + (object.size() == 1 ? " property" : " properties");
}

std::string quoted(const std::string& name) {
  return excerpt(json(name));
}

/// What could have been meant by a property that is not allowed: the nearest name that the value does not have yet, else the list.
std::string allowed_instead(const object_rules& rules, const json& object, const std::string& name) {
  constexpr std::size_t max_listed = 10;
  std::vector<std::string_view> free;
  for (const auto& [known, node] : rules.properties)
    if (!object.contains(known))
      free.push_back(known);
  if (const auto near = nearest_name(name, free); !near.empty())
    return "; did you mean " + quoted(std::string(near)) + "?";
  if (rules.properties.empty() || rules.properties.size() > max_listed)
    return "";
  std::string out;
  for (const auto& [known, node] : rules.properties)
    out += (out.empty() ? "; allowed: " : ", ") + quoted(known);
  return out;
}

/// Two equal items, by position; sorted, so that it takes n log n comparisons.
std::optional<std::pair<std::size_t, std::size_t>> equal_items(const json& array) {
  std::vector<std::size_t> order(array.size());
  for (std::size_t i = 0; i < order.size(); ++i)
    order[i] = i;
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return compare(array[a], array[b]) < 0; });
  for (std::size_t i = 1; i < order.size(); ++i)
    if (same(array[order[i - 1]], array[order[i]]))
      return std::minmax(order[i - 1], order[i]);
  return std::nullopt;
}

} // namespace

bool evaluator::arrays(const array_rules& rules, const json& array, const place& at, scope in, marks* seen, mode how) {
  bool valid = true;
  if (array.size() < rules.min_items)
    valid = broken(at, "minItems", how,
                   [&] { return "has " + plural(array.size(), "item") + ", at least " + std::to_string(rules.min_items) + " are needed"; });
  if (rules.max_items && array.size() > *rules.max_items)
    valid = broken(at, "maxItems", how, [&] {
      return "has " + plural(array.size(), "item") + ", at most " + std::to_string(*rules.max_items) + " are allowed";
    });
  if (!valid && how == mode::check)
    return false;
  if (rules.unique && array.size() > 1) {
    steps_ += array.size();
    if (const auto pair = equal_items(array))
      valid = broken(at, "uniqueItems", how, [&] {
        return "items " + std::to_string(pair->first) + " and " + std::to_string(pair->second) + " are equal, all must differ";
      });
    if (!valid && how == mode::check)
      return false;
  }
  if (!items(rules, array, at, in, seen, how)) {
    valid = false;
    if (how == mode::check)
      return false;
  }
  return (rules.contains == no_node || contains(rules, array, at, in, seen, how)) && valid;
}

bool evaluator::items(const array_rules& rules, const json& array, const place& at, scope in, marks* seen, mode how) {
  const auto prefix = std::min(rules.prefix.size(), array.size());
  bool valid = true;
  for (std::size_t i = 0; i < prefix; ++i) {
    valid = evaluate(rules.prefix[i], array[i], place{&at, nullptr, i}, in, nullptr, how) && valid;
    if (!valid && (how == mode::check || full()))
      return false;
    if (seen != nullptr)
      seen->add(i);
  }
  if (rules.items == no_node)
    return valid;
  if (program_.nodes[rules.items].what == node::kind::reject && array.size() > prefix)
    return broken(at, "items", how, [&] {
      return "has " + plural(array.size(), "item") + ", at most " + std::to_string(rules.prefix.size()) + " are allowed";
    });
  if (program_.nodes[rules.items].what != node::kind::accept) {
    for (auto i = prefix; i < array.size(); ++i) {
      valid = evaluate(rules.items, array[i], place{&at, nullptr, i}, in, nullptr, how) && valid;
      if (!valid && (how == mode::check || full()))
        return false;
    }
  }
  if (seen != nullptr)
    seen->add_all();
  return valid;
}

bool evaluator::contains(const array_rules& rules, const json& array, const place& at, scope in, marks* seen, mode how) {
  std::size_t found = 0;
  for (std::size_t i = 0; i < array.size(); ++i) {
    if (seen == nullptr && how == mode::check && !rules.max_contains && found >= rules.min_contains)
      break;
    if (!evaluate(rules.contains, array[i], place{&at, nullptr, i}, in, nullptr, mode::check))
      continue;
    ++found;
    if (seen != nullptr)
      seen->add(i);
  }
  if (found < rules.min_contains)
    return broken(at, rules.min_contains == 1 ? "contains" : "minContains", how, [&] {
      return found == 0 && rules.min_contains == 1
                 ? "no item is what \"contains\" asks for"
                 : plural(found, "item") + " of what \"contains\" asks for, at least " + std::to_string(rules.min_contains) + " are needed";
    });
  if (rules.max_contains && found > *rules.max_contains)
    return broken(at, "maxContains", how, [&] {
      return plural(found, "item") + " of what \"contains\" asks for, at most " + std::to_string(*rules.max_contains) + " are allowed";
    });
  return true;
}

bool evaluator::objects(const object_rules& rules, const json& object, const place& at, scope in, marks* seen, mode how) {
  bool valid = true;
  const auto and_then = [&](bool holds) {
    valid = valid && holds;
    return valid || (how == mode::explain && !full());
  };
  steps_ += rules.required.size() / 8;
  for (const auto& name : rules.required)
    if (!object.contains(name)
        && !and_then(broken(at, "required", how, [&] { return "required property " + quoted(name) + " is missing"; })))
      return false;
  if (object.size() < rules.min_properties && !and_then(broken(at, "minProperties", how, [&] {
        return "has " + properties_of(object) + ", at least " + std::to_string(rules.min_properties) + " are needed";
      })))
    return false;
  if (rules.max_properties && object.size() > *rules.max_properties && !and_then(broken(at, "maxProperties", how, [&] {
        return "has " + properties_of(object) + ", at most " + std::to_string(*rules.max_properties) + " are allowed";
      })))
    return false;
  for (const auto& row : rules.dependent_required) {
    const auto& name = row.first;
    if (!object.contains(name))
      continue;
    for (const auto& needed : row.second)
      if (!object.contains(needed) && !and_then(broken(at, "dependentRequired", how, [&] {
            return "property " + quoted(needed) + " is missing, which " + quoted(name) + " needs beside it";
          })))
        return false;
  }
  if (!rules.properties.empty() || !rules.patterns.empty() || rules.additional != no_node || rules.names != no_node) {
    std::size_t position = 0;
    for (auto it = object.begin(); it != object.end(); ++it, ++position)
      if (!and_then(member(rules, object, it, position, at, in, seen, how)))
        return false;
  }
  for (const auto& [name, node] : rules.dependent_schemas)
    if (object.contains(name) && !and_then(evaluate(node, object, at, in, seen, how)))
      return false;
  return valid;
}

/// Why one value breaks a schema, in the words of its first violation.
std::string evaluator::explained(node_id node, const json& value, scope in) {
  auto kept = std::exchange(violations_, {});
  evaluate(node, value, place{}, in, nullptr, mode::explain);
  auto words = violations_.empty() ? std::string("breaks a rule") : violations_.front().message;
  if (!stopped_)
    violations_ = std::move(kept);
  return words;
}

bool evaluator::member(const object_rules& rules, const json& object, const json::const_iterator& it, std::size_t position, const place& at,
                       scope in, marks* seen, mode how) {
  const auto& name = it.key();
  const place below{&at, &name, 0};
  bool valid = true;
  if (rules.names != no_node) {
    const json as_value(name);
    const auto node = rules.names;
    if (!evaluate(node, as_value, below, in, nullptr, mode::check))
      valid = broken(at, "propertyNames", how,
                     [&] { return "property " + quoted(name) + " is not allowed: its name " + explained(node, as_value, in); });
  }
  bool described = false;
  const auto property = std::lower_bound(rules.properties.begin(), rules.properties.end(), name,
                                         [](const auto& row, const std::string& wanted) { return row.first < wanted; });
  if (property != rules.properties.end() && property->first == name) {
    described = true;
    valid = evaluate(property->second, *it, below, in, nullptr, how) && valid;
  }
  for (const auto& [pattern, node] : rules.patterns) {
    if (!valid && how == mode::check)
      return false;
    steps_ += 1 + name.size() / 256;
    if (!RE2::PartialMatch(name, *pattern))
      continue;
    described = true;
    valid = evaluate(node, *it, below, in, nullptr, how) && valid;
  }
  if (!described && rules.additional != no_node) {
    described = true;
    if (program_.nodes[rules.additional].what == node::kind::reject)
      valid = broken(at, "additionalProperties", how,
                     [&] { return "property " + quoted(name) + " is not allowed" + allowed_instead(rules, object, name); });
    else
      valid = evaluate(rules.additional, *it, below, in, nullptr, how) && valid;
  }
  if (described && seen != nullptr)
    seen->add(position);
  return valid;
}

} // namespace troupe::schema
