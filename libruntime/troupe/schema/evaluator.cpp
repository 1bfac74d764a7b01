#include "troupe/schema/evaluator.hpp"

#include <algorithm>

#include "troupe/schema/values.hpp"
#include "troupe/util/json_pointer.hpp"
#include "troupe/util/utf8.hpp"

namespace troupe::schema {
namespace {

// A frame of `evaluate` and what it calls takes between half a kilobyte and one (measured: less than 2 MB in all), more under sanitizers.
constexpr std::size_t max_frames = 2'000;
// Most values are checked in fewer steps than this and never pay for the memory.
constexpr std::size_t remember_after = 4'096;
constexpr std::size_t max_remembered = 200'000;
// Combinations of dynamic anchors, each of which takes memory: so many use up all steps.
constexpr std::size_t max_scopes = 10'000;

std::string pointer_of(const place& at) {
  std::vector<const place*> path;
  for (const auto* step = &at; step->parent != nullptr; step = step->parent)
    path.push_back(step);
  std::string out;
  for (auto step = path.rbegin(); step != path.rend(); ++step)
    append_token(out, (*step)->name != nullptr ? *(*step)->name : std::to_string((*step)->item));
  constexpr std::size_t max_pointer = 2'000;
  if (out.size() > max_pointer)
    out = std::string(utf8_prefix(out, max_pointer)) + "…";
  return mended_utf8(out);
}

} // namespace

std::vector<violation> evaluator::run(const json& value) {
  const place top;
  if (depth_of(value, max_value_depth) > max_value_depth)
    return {{"", "depth", "the value nests deeper than " + std::to_string(max_value_depth) + " levels"}};
  scopes_.emplace_back(program_.dynamic_names, no_node);
  scope_ids_.emplace(scopes_.back(), 0);
  if (evaluate(program_.root, value, top, 0, nullptr, mode::check) && !stopped_)
    return {};
  if (!stopped_)
    evaluate(program_.root, value, top, 0, nullptr, mode::explain);
  return std::move(violations_);
}

void evaluator::report(const place& at, const char* rule, std::string message) {
  if (full())
    return;
  violation found{pointer_of(at), rule, std::move(message)};
  if (std::find(violations_.begin(), violations_.end(), found) == violations_.end())
    violations_.push_back(std::move(found));
}

/// Ends the whole validation: the value counts as invalid, whatever `not` or `anyOf` would have made of it.
void evaluator::stop(const place& at, const char* rule, std::string message) {
  if (stopped_)
    return;
  stopped_ = true;
  violations_ = {{pointer_of(at), rule, std::move(message)}};
}

/// The scope after entering a resource: its dynamic anchors count where no outer resource has them.
evaluator::scope evaluator::enter(scope from, std::uint32_t resource) {
  const auto& anchors = program_.resources[resource].dynamic_anchors;
  if (anchors.empty())
    return from;
  const auto [known, added] = entered_.emplace(std::make_pair(from, resource), from);
  if (!added)
    return known->second;
  auto leads = scopes_[from];
  for (const auto& [name, node] : anchors)
    if (leads[name] == no_node)
      leads[name] = node;
  const auto [id, fresh] = scope_ids_.emplace(leads, static_cast<scope>(scopes_.size()));
  if (fresh) {
    steps_ += max_steps / max_scopes;
    scopes_.push_back(std::move(leads));
  }
  known->second = id->second;
  return id->second;
}

node_id evaluator::dynamic_target(const in_place_rules& rules, scope in) const {
  if (!rules.dynamic_anchor)
    return rules.dynamic_ref;
  const auto found = scopes_[in][*rules.dynamic_anchor];
  return found == no_node ? rules.dynamic_ref : found;
}

bool evaluator::evaluate(node_id id, const json& value, const place& at, scope from, marks* seen, mode how) {
  const auto& rules = program_.nodes[id];
  if (rules.what == node::kind::accept)
    return true;
  if (stopped_ || (how == mode::explain && full()))
    return false;
  if (rules.what == node::kind::reject)
    return broken(at, "false", how, [&] { return excerpt(value) + " is not allowed here"; });
  if (++steps_ > max_steps) {
    stop(at, "complexity", "checking this value against its schema takes more than " + std::to_string(max_steps) + " steps");
    return false;
  }
  if (depth_ >= max_frames) {
    stop(at, "depth", "the value and its schema nest too deeply to be checked");
    return false;
  }
  const auto in = program_.dynamic_names == 0 ? from : enter(from, rules.resource);
  const key mine{id, in, &value};
  const bool remember = rules.shared && steps_ > remember_after && value.is_structured();
  if (remember) {
    if (const auto found = memory_.find(mine);
        found != memory_.end() && (found->second.with_marks || seen == nullptr || !found->second.valid)) {
      if (found->second.valid && seen != nullptr)
        seen->merge(found->second.seen);
      if (found->second.valid || how == mode::check)
        return found->second.valid;
    }
    if (how == mode::explain && !explained_.insert(mine).second)
      return false;
  }
  ++depth_;
  const bool own_marks =
      rules.in_place && (rules.in_place->unevaluated_items != no_node || rules.in_place->unevaluated_properties != no_node);
  bool valid = false;
  if (own_marks || (remember && seen != nullptr)) {
    marks mine_seen;
    valid = evaluate_rules(rules, value, at, in, &mine_seen, how);
    if (valid && seen != nullptr)
      seen->merge(mine_seen);
    if (remember && !stopped_ && memory_.size() < max_remembered)
      memory_[mine] = {valid, true, std::move(mine_seen)};
  } else {
    valid = evaluate_rules(rules, value, at, in, seen, how);
    if (remember && !stopped_ && memory_.size() < max_remembered && (how == mode::check || valid))
      memory_[mine] = {valid, false, {}};
  }
  --depth_;
  return valid;
}

bool evaluator::evaluate_rules(const node& rules, const json& value, const place& at, scope in, marks* seen, mode how) {
  bool valid = true;
  const auto and_then = [&](bool holds) {
    valid = valid && holds;
    return valid || how == mode::explain;
  };
  if (!types_and_values(rules, value, at, how))
    return false; // what else a value of the wrong kind breaks says nothing
  if (rules.number && value.is_number() && !and_then(numbers(*rules.number, value, at, how)))
    return false;
  if (rules.string && value.is_string() && !and_then(strings(*rules.string, value.get_ref<const std::string&>(), at, how)))
    return false;
  if (rules.array && value.is_array() && !and_then(arrays(*rules.array, value, at, in, seen, how)))
    return false;
  if (rules.object && value.is_object() && !and_then(objects(*rules.object, value, at, in, seen, how)))
    return false;
  if (rules.in_place && !and_then(in_place(*rules.in_place, value, at, in, seen, how)))
    return false;
  if (valid && rules.in_place && seen != nullptr && value.is_structured())
    return unevaluated(*rules.in_place, value, at, in, *seen, how);
  return valid;
}

bool evaluator::numbers(const number_rules& rules, const json& value, const place& at, mode how) {
  bool valid = true;
  const auto check = [&](bool holds, const char* rule, const json* bound, const char* words) {
    if (holds)
      return;
    valid = broken(at, rule, how, [&] { return excerpt(value) + " is " + words + " " + excerpt(*bound); });
  };
  check(!rules.minimum || compare(value, *rules.minimum) >= 0, "minimum", rules.minimum, "less than the minimum");
  check(!rules.maximum || compare(value, *rules.maximum) <= 0, "maximum", rules.maximum, "more than the maximum");
  check(!rules.exclusive_minimum || compare(value, *rules.exclusive_minimum) > 0, "exclusiveMinimum", rules.exclusive_minimum,
        "not more than");
  check(!rules.exclusive_maximum || compare(value, *rules.exclusive_maximum) < 0, "exclusiveMaximum", rules.exclusive_maximum,
        "not less than");
  check(!rules.multiple_of || is_multiple(value, *rules.multiple_of), "multipleOf", rules.multiple_of, "not a multiple of");
  return valid;
}

bool evaluator::strings(const string_rules& rules, const std::string& text, const place& at, mode how) {
  bool valid = true;
  steps_ += text.size() / 256;
  if (rules.min_length > 0 || rules.max_length) {
    const auto length = code_point_count(text);
    if (length < rules.min_length)
      valid = broken(at, "minLength", how, [&] {
        return "has " + plural(length, "character") + ", at least " + std::to_string(rules.min_length) + " are needed";
      });
    if (rules.max_length && length > *rules.max_length)
      valid = broken(at, "maxLength", how, [&] {
        return "has " + plural(length, "character") + ", at most " + std::to_string(*rules.max_length) + " are allowed";
      });
  }
  if (rules.pattern && (valid || how == mode::explain) && !RE2::PartialMatch(text, *rules.pattern))
    valid = broken(at, "pattern", how, [&] {
      return excerpt(json(text)) + " does not match the pattern " + std::string(utf8_prefix(rules.pattern_text, 200));
    });
  return valid;
}

bool evaluator::unevaluated(const in_place_rules& rules, const json& value, const place& at, scope in, marks& seen, mode how) {
  const bool array = value.is_array();
  const auto node = array ? rules.unevaluated_items : rules.unevaluated_properties;
  if (node == no_node)
    return true;
  const bool closed = program_.nodes[node].what == node::kind::reject;
  bool valid = true;
  std::size_t position = 0;
  for (auto it = value.begin(); it != value.end(); ++it, ++position) {
    ++steps_;
    if (seen.has(position))
      continue;
    bool holds = true;
    if (closed && array)
      holds = broken(at, "unevaluatedItems", how,
                     [&] { return "item " + std::to_string(position) + " is not allowed: no schema describes it"; });
    else if (closed)
      holds = broken(at, "unevaluatedProperties", how,
                     [&] { return "property " + excerpt(json(it.key())) + " is not allowed: no schema describes it"; });
    else
      holds = evaluate(node, *it, place{&at, array ? nullptr : &it.key(), position}, in, nullptr, how);
    valid = valid && holds;
    if (!valid && (how == mode::check || full()))
      return false;
  }
  seen.add_all();
  return valid;
}

std::vector<violation> run_program(const compiled_schema::impl& program, const json& value, std::size_t limit) {
  return evaluator(program, std::max<std::size_t>(limit, 1)).run(value);
}

} // namespace troupe::schema
