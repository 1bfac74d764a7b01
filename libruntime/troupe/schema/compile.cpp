// From schema documents to a program: parses each keyword once, so that validating only compares.

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <set>

#include "troupe/schema/pattern.hpp"
#include "troupe/schema/registry.hpp"
#include "troupe/schema/values.hpp"
#include "troupe/util/suggest.hpp"

namespace troupe::schema {
namespace {

constexpr std::size_t most_warnings = 20;
constexpr std::size_t max_dynamic_names = 64;   // each scope of a validation holds one entry a name
constexpr std::size_t max_in_place_chain = 256; // $ref to $ref to …: all on one value, so it multiplies the stack that a value needs

constexpr std::array<std::pair<std::string_view, std::uint8_t>, 7> type_names = {{
    {"null", type_null},
    {"boolean", type_boolean},
    {"integer", type_integer},
    {"number", type_number | type_integer},
    {"string", type_string},
    {"array", type_array},
    {"object", type_object},
}};

// Keywords of the specification that assert nothing, or stand elsewhere.
constexpr std::array<std::string_view, 61> known_keywords = {
    "$schema",
    "$id",
    "$anchor",
    "$dynamicAnchor",
    "$ref",
    "$dynamicRef",
    "$defs",
    "$comment",
    "$vocabulary",
    "definitions",
    "dependencies",
    "allOf",
    "anyOf",
    "oneOf",
    "not",
    "if",
    "then",
    "else",
    "dependentSchemas",
    "prefixItems",
    "items",
    "contains",
    "properties",
    "patternProperties",
    "additionalProperties",
    "propertyNames",
    "unevaluatedItems",
    "unevaluatedProperties",
    "type",
    "enum",
    "const",
    "multipleOf",
    "maximum",
    "exclusiveMaximum",
    "minimum",
    "exclusiveMinimum",
    "maxLength",
    "minLength",
    "pattern",
    "maxItems",
    "minItems",
    "uniqueItems",
    "maxContains",
    "minContains",
    "maxProperties",
    "minProperties",
    "required",
    "dependentRequired",
    "title",
    "description",
    "default",
    "deprecated",
    "readOnly",
    "writeOnly",
    "examples",
    "format",
    "contentEncoding",
    "contentMediaType",
    "contentSchema",
    "example",
    "nullable",
};

/// Assertions of other drafts: ignoring them, as the specification has it, would pass what their author meant to refuse.
constexpr std::array<std::pair<std::string_view, std::string_view>, 5> old_keywords = {{
    {"additionalItems", "items beside prefixItems"},
    {"$recursiveRef", "$dynamicRef"},
    {"divisibleBy", "multipleOf"},
    {"extends", "allOf"},
    {"disallow", "not"},
}};

class compiler {
public:
  compiler(const std::vector<document>& documents, compiled_schema::impl& out)
      : out_(out), registry_(documents, out.documents, problems_) {}

  std::vector<error> run(const json& schema) {
    if (depth_of(schema, max_schema_depth) > max_schema_depth)
      return {{error_code::invalid_argument, "the schema nests deeper than " + std::to_string(max_schema_depth) + " levels", ""}};
    if (larger_than(schema, max_schema_nodes))
      return {{error_code::invalid_argument, "the schema has more than " + std::to_string(max_schema_nodes) + " values", ""}};
    out_.documents.push_back(std::make_unique<const json>(schema));
    const auto& top = *out_.documents.back();
    const auto resource = registry_.add(top, "", "");
    out_.root = compile(top, resource, registry_.at(resource).place);
    resolve_all();
    if (problems_.empty())
      refuse_loops();
    publish_scopes();
    return std::move(problems_);
  }

private:
  struct reference {
    node_id from;
    std::uint32_t resource;
    std::string text;
    bool dynamic;
    trail::step place;
  };

  node_id compile(const json& schema, std::uint32_t enclosing, trail::step place);
  void type_and_values(node& made, const json& schema, trail::step place);
  void numbers(node& made, const json& schema, trail::step place);
  void strings(node& made, const json& schema, trail::step place);
  void arrays(node& made, const json& schema, std::uint32_t resource, trail::step place);
  void objects(node& made, const json& schema, std::uint32_t resource, trail::step place);
  void dependencies(object_rules& rules, const json& schema, std::uint32_t resource, trail::step place);
  void in_place(node_id id, node& made, const json& schema, std::uint32_t resource, trail::step place);
  void unknown_keywords(const json& schema, trail::step place);

  node_id one(const json& schema, std::string_view keyword, std::uint32_t resource, trail::step place);
  std::vector<node_id> list(const json& schema, std::string_view keyword, std::uint32_t resource, trail::step place);
  std::vector<std::pair<std::string, node_id>> named(const json& schema, std::string_view keyword, std::uint32_t resource,
                                                     trail::step place);
  std::optional<std::size_t> count(const json& schema, std::string_view keyword, trail::step place);
  const json* number(const json& schema, std::string_view keyword, trail::step place);
  std::vector<std::string> names(const json& value, std::string_view keyword, trail::step place);
  std::shared_ptr<const RE2> pattern(const std::string& text, trail::step place, std::string_view keyword);

  void resolve_all();
  void resolve(const reference& ask);
  void refuse_loops();
  void publish_scopes();
  void problem(trail::step place, std::string_view keyword, std::string message) { registry_.problem(place, keyword, std::move(message)); }

  compiled_schema::impl& out_;
  std::vector<error> problems_;
  registry registry_;
  std::unordered_map<const json*, node_id> known_;
  std::vector<reference> references_;
  std::map<std::string, std::shared_ptr<const RE2>> patterns_;
  std::map<std::string, std::uint32_t> dynamic_names_; ///< those that a $dynamicRef asks for
  std::vector<trail::step> places_;                    ///< of each node
};

node_id compiler::compile(const json& schema, std::uint32_t enclosing, trail::step place) {
  if (const auto found = known_.find(&schema); found != known_.end()) {
    out_.nodes[found->second].shared = true;
    return found->second;
  }
  const auto id = static_cast<node_id>(out_.nodes.size());
  known_.emplace(&schema, id);
  out_.nodes.emplace_back();
  places_.push_back(place);
  node made;
  made.resource = registry_.resource_of(schema, enclosing);
  if (schema.is_boolean()) {
    made.what = schema.get<bool>() ? node::kind::accept : node::kind::reject;
  } else if (schema.is_object()) {
    const auto& uses = registry_.at(made.resource).uses;
    if (uses.validation) {
      type_and_values(made, schema, place);
      numbers(made, schema, place);
      strings(made, schema, place);
    }
    arrays(made, schema, made.resource, place);
    objects(made, schema, made.resource, place);
    in_place(id, made, schema, made.resource, place);
    for (const auto* keyword : {"$defs", "definitions", "contentSchema"})
      if (schema.contains(keyword)) {
        if (holds_of(keyword) == holds::named)
          named(schema, keyword, made.resource, place);
        else
          one(schema, keyword, made.resource, place);
      }
    unknown_keywords(schema, place);
    if (!made.types && !made.constant && !made.enumeration && !made.number && !made.string && !made.array && !made.object && !made.in_place)
      made.what = node::kind::accept;
  } else {
    problem(place, "", "a schema is an object or true or false, not " + excerpt(schema));
  }
  made.shared = out_.nodes[id].shared;
  out_.nodes[id] = std::move(made);
  return id;
}

node_id compiler::one(const json& schema, std::string_view keyword, std::uint32_t resource, trail::step place) {
  const auto found = schema.find(keyword);
  if (found == schema.end())
    return no_node;
  if (keyword == "items" && found->is_array()) {
    problem(place, keyword, "items is one schema in 2020-12; the list form of older drafts is now prefixItems");
    return no_node;
  }
  return compile(*found, resource, registry_.places().below(place, keyword));
}

std::vector<node_id> compiler::list(const json& schema, std::string_view keyword, std::uint32_t resource, trail::step place) {
  std::vector<node_id> out;
  const auto found = schema.find(keyword);
  if (found == schema.end())
    return out;
  if (!found->is_array() || found->empty()) {
    problem(place, keyword, std::string(keyword) + " must be a list of at least one schema");
    return out;
  }
  const auto below = registry_.places().below(place, keyword);
  for (std::size_t i = 0; i < found->size(); ++i)
    out.push_back(compile((*found)[i], resource, registry_.places().below(below, i)));
  return out;
}

std::vector<std::pair<std::string, node_id>> compiler::named(const json& schema, std::string_view keyword, std::uint32_t resource,
                                                             trail::step place) {
  std::vector<std::pair<std::string, node_id>> out;
  const auto found = schema.find(keyword);
  if (found == schema.end())
    return out;
  if (!found->is_object()) {
    problem(place, keyword, std::string(keyword) + " must be an object of schemas");
    return out;
  }
  const auto below = registry_.places().below(place, keyword);
  for (auto member = found->begin(); member != found->end(); ++member)
    out.emplace_back(member.key(), compile(*member, resource, registry_.places().below(below, member.key())));
  return out;
}

std::optional<std::size_t> compiler::count(const json& schema, std::string_view keyword, trail::step place) {
  const auto found = schema.find(keyword);
  if (found == schema.end())
    return std::nullopt;
  if (!is_integer(*found) || compare(*found, json(0)) < 0) {
    problem(place, keyword, std::string(keyword) + " must be a whole number of at least 0, not " + excerpt(*found));
    return std::nullopt;
  }
  if (compare(*found, json(std::numeric_limits<std::uint32_t>::max())) > 0)
    return std::numeric_limits<std::uint32_t>::max(); // more than any value in memory has
  return found->get<std::size_t>();
}

const json* compiler::number(const json& schema, std::string_view keyword, trail::step place) {
  const auto found = schema.find(keyword);
  if (found == schema.end())
    return nullptr;
  if (!found->is_number()) {
    problem(place, keyword, std::string(keyword) + " must be a number, not " + excerpt(*found));
    return nullptr;
  }
  return &*found;
}

std::vector<std::string> compiler::names(const json& value, std::string_view keyword, trail::step place) {
  std::set<std::string> out;
  bool right = value.is_array();
  if (right)
    for (const auto& name : value)
      right = right && name.is_string() && out.insert(name.get<std::string>()).second;
  if (!right) {
    problem(place, keyword, std::string(keyword) + " must be a list of different property names, not " + excerpt(value));
    return {};
  }
  std::vector<std::string> ordered;
  for (const auto& name : value)
    ordered.push_back(name.get<std::string>());
  return ordered;
}

std::shared_ptr<const RE2> compiler::pattern(const std::string& text, trail::step place, std::string_view keyword) {
  if (const auto known = patterns_.find(text); known != patterns_.end())
    return known->second;
  if (out_.pattern_cost > max_pattern_cost) {
    problem(place, keyword,
            "the patterns of this schema are too large together; repetitions of large classes, as in \\p{L}{1,50}, take most");
    return nullptr;
  }
  auto compiled = compile_ecma(text);
  out_.pattern_cost += cost_of(compiled ? *compiled : nullptr);
  if (!compiled) {
    problem(place, keyword, compiled.error().message);
    return nullptr;
  }
  patterns_.emplace(text, *compiled);
  return *compiled;
}

void compiler::type_and_values(node& made, const json& schema, trail::step place) {
  if (const auto type = schema.find("type"); type != schema.end()) {
    const auto add = [&](const json& name) {
      for (const auto& [text, bits] : type_names) {
        if (name == std::string(text)) {
          made.types = static_cast<std::uint8_t>(made.types | bits);
          return;
        }
      }
      std::vector<std::string_view> all;
      all.reserve(std::size(type_names));
      for (const auto& row : type_names)
        all.push_back(row.first);
      const auto near = name.is_string() ? nearest_name(name.get_ref<const std::string&>(), all) : std::string_view{};
      problem(place, "type",
              excerpt(name) + " is no type; "
                  + (near.empty() ? "types are null, boolean, integer, number, string, array, object"
                                  : "did you mean \"" + std::string(near) + "\"?"));
    };
    if (type->is_array() && !type->empty())
      std::for_each(type->begin(), type->end(), add);
    else
      add(*type);
  }
  if (const auto constant = schema.find("const"); constant != schema.end())
    made.constant = &*constant;
  if (const auto values = schema.find("enum"); values != schema.end()) {
    if (!values->is_array()) {
      problem(place, "enum", "enum must be a list of values, not " + excerpt(*values));
      return;
    }
    made.enumeration_source = &*values;
    made.enumeration = std::make_unique<std::vector<const json*>>();
    for (const auto& value : *values)
      made.enumeration->push_back(&value);
    std::sort(made.enumeration->begin(), made.enumeration->end(), [](const json* a, const json* b) { return compare(*a, *b) < 0; });
  }
}

void compiler::numbers(node& made, const json& schema, trail::step place) {
  number_rules rules{number(schema, "minimum", place), number(schema, "maximum", place), number(schema, "exclusiveMinimum", place),
                     number(schema, "exclusiveMaximum", place), number(schema, "multipleOf", place)};
  if (rules.multiple_of && compare(*rules.multiple_of, json(0)) <= 0)
    problem(place, "multipleOf", "multipleOf must be more than 0, not " + excerpt(*rules.multiple_of));
  if (rules.minimum || rules.maximum || rules.exclusive_minimum || rules.exclusive_maximum || rules.multiple_of)
    made.number = std::make_unique<number_rules>(rules);
}

void compiler::strings(node& made, const json& schema, trail::step place) {
  string_rules rules;
  rules.min_length = count(schema, "minLength", place).value_or(0);
  rules.max_length = count(schema, "maxLength", place);
  if (const auto text = schema.find("pattern"); text != schema.end()) {
    if (text->is_string()) {
      rules.pattern_text = text->get<std::string>();
      rules.pattern = pattern(rules.pattern_text, place, "pattern");
    } else {
      problem(place, "pattern", "pattern must be a string, not " + excerpt(*text));
    }
  }
  if (rules.min_length > 0 || rules.max_length || rules.pattern)
    made.string = std::make_unique<string_rules>(std::move(rules));
}

void compiler::arrays(node& made, const json& schema, std::uint32_t resource, trail::step place) {
  const auto uses = registry_.at(resource).uses;
  array_rules rules;
  bool any = false;
  if (uses.applicator) {
    rules.prefix = list(schema, "prefixItems", resource, place);
    rules.items = one(schema, "items", resource, place);
    rules.contains = one(schema, "contains", resource, place);
    any = !rules.prefix.empty() || rules.items != no_node || rules.contains != no_node;
  }
  if (uses.validation) {
    rules.min_contains = count(schema, "minContains", place).value_or(1);
    rules.max_contains = count(schema, "maxContains", place);
    rules.min_items = count(schema, "minItems", place).value_or(0);
    rules.max_items = count(schema, "maxItems", place);
    if (const auto unique = schema.find("uniqueItems"); unique != schema.end()) {
      if (!unique->is_boolean())
        problem(place, "uniqueItems", "uniqueItems must be true or false, not " + excerpt(*unique));
      else
        rules.unique = unique->get<bool>();
    }
    any = any || rules.min_items > 0 || rules.max_items || rules.unique;
  }
  if (any)
    made.array = std::make_unique<array_rules>(std::move(rules));
}

void compiler::objects(node& made, const json& schema, std::uint32_t resource, trail::step place) {
  const auto uses = registry_.at(resource).uses;
  object_rules rules;
  bool any = false;
  if (uses.applicator) {
    rules.properties = named(schema, "properties", resource, place);
    for (auto& [text, node] : named(schema, "patternProperties", resource, place))
      if (auto compiled = pattern(text, place, "patternProperties"))
        rules.patterns.push_back({std::move(compiled), node});
    rules.additional = one(schema, "additionalProperties", resource, place);
    rules.names = one(schema, "propertyNames", resource, place);
    rules.dependent_schemas = named(schema, "dependentSchemas", resource, place);
    dependencies(rules, schema, resource, place);
    any = !rules.properties.empty() || !rules.patterns.empty() || rules.additional != no_node || rules.names != no_node
          || !rules.dependent_schemas.empty() || !rules.dependent_required.empty();
  }
  if (uses.validation) {
    rules.min_properties = count(schema, "minProperties", place).value_or(0);
    rules.max_properties = count(schema, "maxProperties", place);
    if (const auto required = schema.find("required"); required != schema.end())
      rules.required = names(*required, "required", place);
    if (const auto dependent = schema.find("dependentRequired"); dependent != schema.end()) {
      if (!dependent->is_object())
        problem(place, "dependentRequired", "dependentRequired must be an object of lists of property names");
      else
        for (const auto& [name, needs] : dependent->items())
          rules.dependent_required.emplace_back(name, names(needs, "dependentRequired", place));
    }
    any = any || rules.min_properties > 0 || rules.max_properties || !rules.required.empty() || !rules.dependent_required.empty();
  }
  if (any)
    made.object = std::make_unique<object_rules>(std::move(rules));
}

/// Draft 7's `dependencies`, which many a tool still declares and the 2020-12 metaschema still describes: a list is
/// dependentRequired, a schema is dependentSchemas.
void compiler::dependencies(object_rules& rules, const json& schema, std::uint32_t resource, trail::step place) {
  const auto found = schema.find("dependencies");
  if (found == schema.end())
    return;
  if (!found->is_object()) {
    problem(place, "dependencies", "dependencies must be an object of lists of property names, or schemas");
    return;
  }
  const auto below = registry_.places().below(place, "dependencies");
  for (auto entry = found->begin(); entry != found->end(); ++entry) {
    if (entry->is_array())
      rules.dependent_required.emplace_back(entry.key(), names(*entry, entry.key(), below));
    else
      rules.dependent_schemas.emplace_back(entry.key(), compile(*entry, resource, registry_.places().below(below, entry.key())));
  }
}

void compiler::in_place(node_id id, node& made, const json& schema, std::uint32_t resource, trail::step place) {
  const auto uses = registry_.at(resource).uses;
  in_place_rules rules;
  bool any = false;
  if (uses.applicator) {
    rules.all_of = list(schema, "allOf", resource, place);
    rules.any_of = list(schema, "anyOf", resource, place);
    rules.one_of = list(schema, "oneOf", resource, place);
    rules.negation = one(schema, "not", resource, place);
    rules.condition = one(schema, "if", resource, place);
    rules.then = one(schema, "then", resource, place);
    rules.otherwise = one(schema, "else", resource, place);
    any =
        !rules.all_of.empty() || !rules.any_of.empty() || !rules.one_of.empty() || rules.negation != no_node || rules.condition != no_node;
  }
  if (uses.unevaluated) {
    rules.unevaluated_items = one(schema, "unevaluatedItems", resource, place);
    rules.unevaluated_properties = one(schema, "unevaluatedProperties", resource, place);
    any = any || rules.unevaluated_items != no_node || rules.unevaluated_properties != no_node;
  }
  for (const std::string_view keyword : {"$ref", "$dynamicRef"}) {
    const auto ref = schema.find(keyword);
    if (ref == schema.end())
      continue;
    if (!ref->is_string()) {
      problem(place, keyword, std::string(keyword) + " must be a URI reference, a string, not " + excerpt(*ref));
      continue;
    }
    references_.push_back({id, resource, ref->get<std::string>(), keyword == "$dynamicRef", place});
    any = true;
  }
  if (any)
    made.in_place = std::make_unique<in_place_rules>(std::move(rules));
}

void compiler::unknown_keywords(const json& schema, trail::step place) {
  static const std::set<std::string_view> known(known_keywords.begin(), known_keywords.end());
  for (auto member = schema.begin(); member != schema.end(); ++member) {
    const std::string_view name = member.key();
    if (known.count(name) > 0)
      continue;
    for (const auto& [old, now] : old_keywords)
      if (name == old)
        problem(place, name, "\"" + std::string(old) + "\" is of an older draft and 2020-12 would ignore it; write " + std::string(now));
    if (out_.warnings.size() >= most_warnings)
      continue;
    if (const auto near = nearest_name(name, {known_keywords.begin(), known_keywords.end()}); !near.empty())
      out_.warnings.push_back(registry_.places().pointer(place) + ": the keyword \"" + std::string(name)
                              + "\" is unknown and ignored; did you mean \"" + std::string(near) + "\"?");
  }
}

void compiler::resolve(const reference& ask) {
  const std::string_view keyword = ask.dynamic ? "$dynamicRef" : "$ref";
  auto target = registry_.resolve(ask.resource, ask.text);
  if (!target) {
    problem(ask.place, keyword, target.error().message);
    return;
  }
  const auto id = compile(*target->schema, target->resource, target->place);
  auto& rules = *out_.nodes[ask.from].in_place;
  if (!ask.dynamic) {
    rules.ref = id;
    return;
  }
  rules.dynamic_ref = id;
  const auto hash = ask.text.find('#');
  const auto name = hash == std::string::npos ? std::string{} : ask.text.substr(hash + 1);
  const auto& anchors = registry_.at(target->resource).dynamic_anchors;
  if (const auto anchor = anchors.find(name); anchor != anchors.end() && anchor->second.first == target->schema) {
    const auto next = static_cast<std::uint32_t>(dynamic_names_.size());
    if (next == max_dynamic_names && dynamic_names_.count(name) == 0) {
      problem(ask.place, keyword, "more than " + std::to_string(max_dynamic_names) + " names of dynamic anchors are referred to");
      return;
    }
    rules.dynamic_anchor = dynamic_names_.emplace(name, next).first->second;
  }
}

/// References may load documents and compile further schemas, whose references follow, until nothing is left.
void compiler::resolve_all() {
  std::set<std::pair<std::uint32_t, std::uint32_t>> done; // resource, name
  do {
    while (!references_.empty() && problems_.empty())
      for (auto batch = std::exchange(references_, {}); const auto& ask : batch)
        resolve(ask);
    for (std::uint32_t i = 0; i < registry_.size() && problems_.empty(); ++i) {
      for (const auto& [name, target] : registry_.at(i).dynamic_anchors) {
        const auto asked = dynamic_names_.find(name);
        if (asked != dynamic_names_.end() && done.emplace(i, asked->second).second)
          compile(*target.first, i, target.second);
      }
    }
  } while (!references_.empty() && problems_.empty());
}

void compiler::publish_scopes() {
  out_.dynamic_names = static_cast<std::uint32_t>(dynamic_names_.size());
  out_.resources.resize(registry_.size());
  for (std::uint32_t i = 0; i < registry_.size(); ++i)
    for (const auto& [name, target] : registry_.at(i).dynamic_anchors)
      if (const auto asked = dynamic_names_.find(name); asked != dynamic_names_.end())
        if (const auto node = known_.find(target.first); node != known_.end())
          out_.resources[i].dynamic_anchors.emplace_back(asked->second, node->second);
}

/// A schema that leads to itself without going down into the value would never end; a long chain needs too much stack. Follows
/// what is static; a loop through $dynamicRef is stopped while validating.
void compiler::refuse_loops() {
  const auto edges = [this](node_id id) {
    std::vector<node_id> out;
    const auto& made = out_.nodes[id];
    if (made.object)
      for (const auto& [name, node] : made.object->dependent_schemas)
        out.push_back(node);
    if (!made.in_place)
      return out;
    const auto& rules = *made.in_place;
    for (const auto* list : {&rules.all_of, &rules.any_of, &rules.one_of})
      out.insert(out.end(), list->begin(), list->end());
    for (const auto node : {rules.negation, rules.condition, rules.then, rules.otherwise, rules.ref})
      if (node != no_node)
        out.push_back(node);
    return out;
  };
  struct frame {
    node_id id;
    std::vector<node_id> next;
    std::size_t longest = 1;
  };
  enum : std::uint8_t { fresh, active, finished };
  std::vector<std::uint8_t> state(out_.nodes.size(), fresh);
  std::vector<std::size_t> chain(out_.nodes.size(), 0);
  for (node_id start = 0; start < out_.nodes.size(); ++start) {
    if (state[start] != fresh)
      continue;
    std::vector<frame> stack;
    stack.push_back({start, edges(start)});
    state[start] = active;
    while (!stack.empty()) {
      auto& top = stack.back();
      if (top.next.empty()) {
        state[top.id] = finished;
        chain[top.id] = top.longest;
        if (top.longest > max_in_place_chain) {
          problem(places_[top.id], "", "more than " + std::to_string(max_in_place_chain) + " schemas refer to each other in a chain");
          return;
        }
        const auto length = top.longest;
        stack.pop_back();
        if (!stack.empty())
          stack.back().longest = std::max(stack.back().longest, length + 1);
        continue;
      }
      const auto child = top.next.back();
      top.next.pop_back();
      if (state[child] == active) {
        problem(places_[top.id], "", "the schema refers to itself without going down into the value ($ref loop): checking would never end");
        return;
      }
      if (state[child] == finished) {
        top.longest = std::max(top.longest, chain[child] + 1);
        continue;
      }
      state[child] = active;
      stack.push_back({child, edges(child)});
    }
  }
}

} // namespace

std::vector<error> compile_program(const json& schema, const std::vector<document>& documents, compiled_schema::impl& out) {
  return compiler(documents, out).run(schema);
}

} // namespace troupe::schema
