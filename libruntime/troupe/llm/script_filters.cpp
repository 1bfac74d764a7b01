// Evaluates expressions. Total: a filter that does not fit its value gives nothing (null), and never fails.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <unordered_map>
#include <unordered_set>

#include "troupe/llm/script_template.hpp"

namespace troupe::llm::detail {

namespace {

/// About how many bytes it costs to copy or write the value, counted no further than to `limit`.
std::size_t weight_of(const json& value, std::size_t limit) {
  std::size_t weight = 32;
  if (value.is_string())
    return weight + value.get_ref<const std::string&>().size();
  if (value.is_structured())
    for (auto part = value.begin(); part != value.end() && weight < limit; ++part)
      weight += weight_of(*part, limit - weight);
  return weight;
}

bool pay(render_scope& scope, const json& value, std::size_t times = 1) {
  const auto left = scope.budget.work_left;
  return scope.budget.take_work(weight_of(value, left + 1) * times);
}

std::optional<double> number_in(const json& value) {
  if (value.is_number())
    return value.get<double>();
  if (!value.is_string())
    return std::nullopt;
  const auto& text = value.get_ref<const std::string&>();
  double number = 0;
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (text.empty() || status != std::errc{} || end != text.data() + text.size() || !std::isfinite(number))
    return std::nullopt;
  return number;
}

/// What elements are ordered by: made once for each, since the rule must be one order for all. Numbers where every key is one, else texts.
struct sort_key {
  std::string text;
  double number = 0;
};

const json& member(const json& value, const std::string& name) {
  static const json nothing;
  if (!value.is_object())
    return nothing;
  const auto found = value.find(name);
  return found == value.end() ? nothing : *found;
}

std::vector<sort_key> keys_of(const json& list, const std::string& field, bool& numeric) {
  std::vector<sort_key> keys(list.size());
  numeric = true;
  for (std::size_t i = 0; i < list.size(); ++i) {
    const json& key = field.empty() ? list[i] : member(list[i], field);
    const auto number = number_in(key);
    numeric = numeric && number.has_value();
    keys[i].number = number.value_or(0);
    keys[i].text = text_of(key);
  }
  return keys;
}

std::vector<std::size_t> order_of(const json& list, const std::string& field) {
  bool numeric = true;
  const auto keys = keys_of(list, field, numeric);
  std::vector<std::size_t> order(list.size());
  for (std::size_t i = 0; i < order.size(); ++i)
    order[i] = i;
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return numeric ? keys[a].number < keys[b].number : keys[a].text < keys[b].text; });
  return order;
}

json sorted(const json& list, const std::string& field) {
  json out = json::array();
  for (const auto i : order_of(list, field))
    out.push_back(list[i]);
  return out;
}

json extreme(const json& list, const std::string& field, bool greatest) {
  if (list.empty())
    return nullptr;
  bool numeric = true;
  const auto keys = keys_of(list, field, numeric);
  std::size_t best = 0;
  for (std::size_t i = 1; i < keys.size(); ++i) {
    const auto& a = greatest ? keys[best] : keys[i];
    const auto& b = greatest ? keys[i] : keys[best];
    if (numeric ? a.number < b.number : a.text < b.text)
      best = i;
  }
  return list[best];
}

/// [{ value, count }], the most frequent first, equals in the order of their first appearance.
json tally(const json& list, const std::string& field) {
  std::unordered_map<std::string, std::size_t> place;
  std::vector<std::pair<std::string, std::int64_t>> rows;
  for (const auto& element : list) {
    auto text = text_of(field.empty() ? element : member(element, field));
    const auto [at, added] = place.emplace(text, rows.size());
    if (added)
      rows.emplace_back(std::move(text), 0);
    ++rows[at->second].second;
  }
  std::stable_sort(rows.begin(), rows.end(), [](const auto& a, const auto& b) { return a.second > b.second; });
  json out = json::array();
  for (auto& [text, count] : rows)
    out.push_back({{"value", std::move(text)}, {"count", count}});
  return out;
}

json unique(const json& list) {
  std::unordered_set<std::string> seen;
  json out = json::array();
  for (const auto& element : list)
    if (seen.insert(element.dump(-1, ' ', false, json::error_handler_t::replace)).second)
      out.push_back(element);
  return out;
}

json joined(const json& list, const std::string& between, render_scope& scope) {
  std::string out;
  for (std::size_t i = 0; i < list.size(); ++i) {
    if (!scope.budget.take_work(between.size()))
      break;
    if (i > 0)
      out += between;
    out += text_of(list[i]);
  }
  return out;
}

json number_of(const json& value) {
  if (value.is_number())
    return value;
  if (!number_in(value))
    return nullptr;
  const auto& text = value.get_ref<const std::string&>();
  std::int64_t whole = 0;
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), whole);
  if (status == std::errc{} && end == text.data() + text.size())
    return whole;
  return *number_in(value);
}

std::int64_t count_of(const json& value) {
  if (value.is_null())
    return 0;
  return value.is_structured() ? static_cast<std::int64_t>(value.size()) : 1;
}

/// A value that is read where it lies, or one that was made.
struct held {
  const json* seen = nullptr;
  json made;
  const json& get() const { return seen ? *seen : made; }
};

void step_into(held& value, const std::string& part) {
  const json& whole = value.get();
  const json* next = nullptr;
  if (whole.is_object()) {
    const auto found = whole.find(part);
    if (found != whole.end())
      next = &*found;
  } else if (whole.is_array()) {
    std::size_t number = 0;
    const auto [end, status] = std::from_chars(part.data(), part.data() + part.size(), number);
    if (status == std::errc{} && end == part.data() + part.size() && number < whole.size())
      next = &whole[number];
  }
  if (next && value.seen) {
    value.seen = next;
    return;
  }
  json copy = next ? *next : part == "count" ? json(count_of(whole)) : json(nullptr);
  value.seen = nullptr;
  value.made = std::move(copy);
}

held read_operand(const operand& from, render_scope& scope) {
  held value;
  const auto text = [&](std::string_view view) {
    if (scope.budget.take_work(view.size()))
      value.made = std::string(view);
  };
  switch (from.from) {
  case operand::kind::literal:
    value.seen = &from.literal;
    break;
  case operand::kind::last:
    text(scope.view.last());
    break;
  case operand::kind::first:
    text(scope.view.first());
    break;
  case operand::kind::system:
    text(scope.view.system);
    break;
  case operand::kind::agent:
    text(scope.view.agent);
    break;
  case operand::kind::model:
    text(scope.view.model);
    break;
  case operand::kind::turn:
    value.made = scope.view.turn();
    break;
  case operand::kind::tool:
    text(scope.view.newest_result(from.name));
    break;
  case operand::kind::captured:
    value.seen = &member(scope.captured, from.name);
    break;
  case operand::kind::item:
    for (const auto& loop : scope.loops)
      if (loop.name == from.name)
        value.seen = loop.item;
    break;
  case operand::kind::index:
    if (!scope.loops.empty())
      value.made = static_cast<std::int64_t>(scope.loops.back().index);
    break;
  }
  for (const auto& part : from.path)
    step_into(value, part);
  return value;
}

json mapped(const json& value, const std::string& field) {
  if (!value.is_array())
    return member(value, field);
  json out = json::array();
  for (const auto& element : value)
    out.push_back(member(element, field));
  return out;
}

json apply(const filter& how, const json& value, render_scope& scope) {
  switch (how.what) {
  case filter_kind::json:
    return value.dump(-1, ' ', false, json::error_handler_t::replace);
  case filter_kind::count:
    return count_of(value);
  case filter_kind::field:
    return mapped(value, how.field);
  case filter_kind::number:
    return number_of(value);
  case filter_kind::fallback:
    if (value.is_null() || (value.is_string() && value.get_ref<const std::string&>().empty()) || (value.is_structured() && value.empty()))
      return read_operand(how.argument, scope).get();
    return value;
  default:
    break;
  }
  if (!value.is_array()) {
    // One thing is a list of one: a capture that is no list can be joined, sorted, taken from.
    if (value.is_null())
      return how.what == filter_kind::join ? json("") : json(nullptr);
    return apply(how, json::array({value}), scope);
  }
  switch (how.what) {
  case filter_kind::join:
    return joined(value, text_of(read_operand(how.argument, scope).get()), scope);
  case filter_kind::first:
    return value.empty() ? json(nullptr) : value.front();
  case filter_kind::last:
    return value.empty() ? json(nullptr) : value.back();
  case filter_kind::where: {
    const auto wanted = text_of(read_operand(how.argument, scope).get());
    json out = json::array();
    for (const auto& element : value)
      if (text_of(member(element, how.field)) == wanted)
        out.push_back(element);
    return out;
  }
  case filter_kind::sort:
  case filter_kind::sort_by:
    return sorted(value, how.field);
  case filter_kind::reverse: {
    json out = value;
    std::reverse(out.begin(), out.end());
    return out;
  }
  case filter_kind::unique:
    return unique(value);
  case filter_kind::max:
    return extreme(value, how.field, true);
  case filter_kind::min:
    return extreme(value, how.field, false);
  case filter_kind::tally:
    return tally(value, how.field);
  case filter_kind::take: {
    const auto wanted = number_in(read_operand(how.argument, scope).get()).value_or(0);
    json out = json::array();
    for (std::size_t i = 0; i < value.size() && static_cast<double>(i) < wanted; ++i)
      out.push_back(value[i]);
    return out;
  }
  default:
    return nullptr;
  }
}

} // namespace

std::string text_of(const json& value) {
  if (value.is_string())
    return value.get_ref<const std::string&>();
  return value.is_null() ? std::string() : value.dump(-1, ' ', false, json::error_handler_t::replace);
}

json evaluate(const expression& value, render_scope& scope) {
  auto result = read_operand(value.root, scope);
  // Sorting is the dearest filter; 20 is the depth of the deepest sort that the limits allow.
  constexpr std::size_t sort_cost = 20;
  for (const auto& filter : value.filters) {
    const bool sorts = filter.what == filter_kind::sort || filter.what == filter_kind::sort_by;
    if (!pay(scope, result.get(), sorts ? sort_cost : 1))
      return nullptr;
    auto next = apply(filter, result.get(), scope);
    result.seen = nullptr;
    result.made = std::move(next);
  }
  if (!result.seen)
    return std::move(result.made);
  return pay(scope, *result.seen) ? *result.seen : json(nullptr);
}

} // namespace troupe::llm::detail
