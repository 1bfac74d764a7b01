#include "troupe/schema/registry.hpp"

#include <algorithm>
#include <charconv>
#include <deque>
#include <optional>

#include "troupe/schema/uri.hpp"
#include "troupe/schema/values.hpp"
#include "troupe/util/json_pointer.hpp"

namespace troupe::schema {
namespace {

constexpr std::string_view dialect_uri = "https://json-schema.org/draft/2020-12/schema";
constexpr std::string_view vocabulary_uri = "https://json-schema.org/draft/2020-12/vocab/";
constexpr std::uint32_t not_found = 0xFFFFFFFF;
constexpr std::size_t max_problems = 20;
constexpr std::size_t max_uri_bytes = 4'096; // each reference is resolved against one
constexpr std::size_t max_trail = 2'000'000; // long pointers in many references could make more of them than the schema has nodes

const std::unordered_map<std::string_view, holds>& keywords_with_schemas() {
  static const std::unordered_map<std::string_view, holds> table = {
      {"not", holds::one},
      {"if", holds::one},
      {"then", holds::one},
      {"else", holds::one},
      {"items", holds::one},
      {"contains", holds::one},
      {"additionalProperties", holds::one},
      {"propertyNames", holds::one},
      {"unevaluatedItems", holds::one},
      {"unevaluatedProperties", holds::one},
      {"contentSchema", holds::one},
      {"allOf", holds::list},
      {"anyOf", holds::list},
      {"oneOf", holds::list},
      {"prefixItems", holds::list},
      {"properties", holds::named},
      {"patternProperties", holds::named},
      {"dependentSchemas", holds::named},
      {"$defs", holds::named},
      {"definitions", holds::named}, // of older drafts; the 2020-12 metaschema still describes it
  };
  return table;
}

std::string without_empty_fragment(std::string uri) {
  if (!uri.empty() && uri.back() == '#')
    uri.pop_back();
  return uri;
}

bool is_anchor(std::string_view name) {
  const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; };
  return !name.empty() && letter(name.front())
         && std::all_of(name.begin(), name.end(), [&](char c) { return letter(c) || (c >= '0' && c <= '9') || c == '-' || c == '.'; });
}

} // namespace

holds holds_of(std::string_view keyword) {
  const auto& table = keywords_with_schemas();
  const auto found = table.find(keyword);
  return found == table.end() ? holds::nothing : found->second;
}

trail::step trail::document(std::string prefix) {
  prefixes_.push_back(std::move(prefix));
  links_.push_back({nowhere, {}, prefixes_.size() - 1});
  return static_cast<step>(links_.size() - 1);
}

trail::step trail::below(step parent, std::string_view name) {
  links_.push_back({parent, name, 0});
  return static_cast<step>(links_.size() - 1);
}

trail::step trail::below(step parent, std::size_t item) {
  links_.push_back({parent, {}, item});
  return static_cast<step>(links_.size() - 1);
}

std::string trail::pointer(step at) const {
  std::vector<const link*> path;
  const auto* part = &links_[at];
  for (; part->parent != nowhere; part = &links_[part->parent])
    path.push_back(part);
  auto out = prefixes_[part->item];
  for (auto next = path.rbegin(); next != path.rend(); ++next)
    append_token(out, (*next)->name.data() == nullptr ? std::to_string((*next)->item) : std::string((*next)->name));
  return out;
}

void registry::problem(trail::step place, std::string_view keyword, std::string message) {
  if (problems_.size() >= max_problems)
    return;
  auto pointer = places_.pointer(place);
  if (!keyword.empty())
    append_token(pointer, keyword);
  problems_.push_back({error_code::invalid_argument, std::move(message), std::move(pointer)});
}

std::uint32_t registry::resource_of(const json& schema, std::uint32_t enclosing) const {
  const auto found = roots_.find(&schema);
  return found == roots_.end() ? enclosing : found->second;
}

std::uint32_t registry::add(const json& schema, const std::string& uri, std::string prefix) {
  const auto place = places_.document(std::move(prefix));
  const auto index = open(schema, uri, {}, place);
  scan(schema, index, place);
  return index;
}

/// Starts a resource at `schema`.
std::uint32_t registry::open(const json& schema, std::string uri, const vocabularies& inherited, trail::step place) {
  resource made;
  made.root = &schema;
  made.place = place;
  made.uses = schema.is_object() ? dialect(schema, place, inherited) : inherited;
  const auto index = size();
  roots_.emplace(&schema, index);
  if (!by_uri_.emplace(uri, index).second)
    problem(place, "$id", "the identifier \"" + uri + "\" is given twice");
  made.uri = std::move(uri);
  resources_.push_back(std::move(made));
  return index;
}

vocabularies registry::dialect(const json& schema, trail::step place, const vocabularies& inherited) {
  const auto declared = schema.find("$schema");
  if (declared == schema.end())
    return inherited;
  if (!declared->is_string()) {
    problem(place, "$schema", "$schema must be the URI of a metaschema, a string");
    return inherited;
  }
  const auto uri = without_empty_fragment(declared->get<std::string>());
  if (uri == dialect_uri)
    return {};
  const auto* meta = document_of(uri);
  if (meta == nullptr || !meta->is_object()) {
    problem(place, "$schema", "the schema declares " + uri + "; only JSON Schema 2020-12 is supported (" + std::string(dialect_uri) + ")");
    return inherited;
  }
  const auto vocabulary = meta->find("$vocabulary");
  if (vocabulary == meta->end() || !vocabulary->is_object()) {
    const auto of_meta = meta->find("$schema");
    if (of_meta == meta->end() || *of_meta != std::string(dialect_uri))
      problem(place, "$schema", "the metaschema " + uri + " is not one of JSON Schema 2020-12");
    return {};
  }
  vocabularies out{false, false, false};
  const auto unsupported = [&uri = uri](const std::string& name) {
    return "the metaschema " + uri + " needs the vocabulary " + name + ", which is not supported";
  };
  for (const auto& [name, needed] : vocabulary->items()) {
    std::string_view known = name;
    known = known.substr(0, vocabulary_uri.size()) == vocabulary_uri ? known.substr(vocabulary_uri.size()) : std::string_view{};
    out.applicator = out.applicator || known == "applicator";
    out.unevaluated = out.unevaluated || known == "unevaluated";
    out.validation = out.validation || known == "validation";
    const bool annotates = known == "core" || known == "meta-data" || known == "format-annotation" || known == "content";
    if (needed == true && !annotates && known != "applicator" && known != "unevaluated" && known != "validation")
      problem(place, "$schema", unsupported(name));
  }
  return out;
}

/// Walks all subschemas of a document (not those of an embedded resource's own copy: each is visited once) and registers what
/// has a name. Depth was bounded before; the walk itself does not recurse.
void registry::scan(const json& schema, std::uint32_t index, trail::step root) {
  std::deque<open_schema> open_schemas{{&schema, index, root}};
  while (!open_schemas.empty()) {
    auto place = open_schemas.front();
    open_schemas.pop_front();
    if (!place.schema->is_object())
      continue;
    identify(place);
    for (const auto& [keyword, value] : place.schema->items()) {
      const auto kind = holds_of(keyword);
      if (kind == holds::nothing)
        continue;
      const auto below = places_.below(place.place, keyword);
      if (kind == holds::one) {
        open_schemas.push_back({&value, place.resource, below});
      } else if (kind == holds::list && value.is_array()) {
        for (std::size_t i = 0; i < value.size(); ++i)
          open_schemas.push_back({&value[i], place.resource, places_.below(below, i)});
      } else if (kind == holds::named && value.is_object()) {
        for (const auto& [name, child] : value.items())
          open_schemas.push_back({&child, place.resource, places_.below(below, name)});
      }
    }
  }
}

/// `$id`, `$anchor`, `$dynamicAnchor` of one schema.
void registry::identify(open_schema& place) {
  const auto& schema = *place.schema;
  const auto root = roots_.find(&schema);
  if (const auto id = schema.find("$id"); id != schema.end()) {
    const auto split = id->is_string() ? split_fragment(id->get_ref<const std::string&>()) : std::nullopt;
    if (!split || !split->fragment.empty()) {
      problem(place.place, "$id", "$id must be a URI reference without a fragment; name a part by $anchor");
    } else {
      auto uri = resolve_uri(resources_[place.resource].uri, split->uri);
      if (uri.size() > max_uri_bytes) {
        problem(place.place, "$id", "the identifier is longer than " + std::to_string(max_uri_bytes) + " bytes");
        uri.clear();
      }
      if (root == roots_.end()) {
        place.resource = open(schema, std::move(uri), resources_[place.resource].uses, place.place);
      } else { // a document's top: it is known by the URI that it was found under, too
        resources_[root->second].uri = uri;
        by_uri_.emplace(std::move(uri), root->second);
      }
    }
  } else if (root == roots_.end() && schema.contains("$schema")) {
    problem(place.place, "$schema", "$schema stands only beside $id or at the top");
  }
  auto& in = resources_[place.resource];
  for (const std::string_view keyword : {"$anchor", "$dynamicAnchor"}) {
    const auto anchor = schema.find(keyword);
    if (anchor == schema.end())
      continue;
    if (!anchor->is_string() || !is_anchor(anchor->get_ref<const std::string&>())) {
      problem(place.place, keyword,
              std::string(keyword) + " must be a name of letters, digits, '-', '_' and '.', beginning with a letter or '_'");
      continue;
    }
    const auto& name = anchor->get_ref<const std::string&>();
    const auto target = std::make_pair(place.schema, place.place);
    if (const auto [at, added] = in.anchors.emplace(name, target); !added && at->second.first != place.schema)
      problem(place.place, keyword, "the anchor \"" + name + "\" is given twice");
    if (keyword == "$dynamicAnchor")
      in.dynamic_anchors.emplace(name, target);
  }
}

const json* registry::document_of(const std::string& uri) const {
  for (const auto& given : given_)
    if (without_empty_fragment(given.uri) == uri)
      return &given.schema;
  return metaschema(uri);
}

/// The resource with this URI, loading a given document at its first use.
std::uint32_t registry::find(const std::string& uri) {
  if (const auto known = by_uri_.find(uri); known != by_uri_.end())
    return known->second;
  const auto* source = document_of(uri);
  if (source == nullptr)
    return not_found;
  if (depth_of(*source, max_schema_depth) > max_schema_depth || larger_than(*source, max_schema_nodes))
    return not_found;
  storage_.push_back(std::make_unique<const json>(*source));
  return add(*storage_.back(), uri, uri + "#");
}

expected<location> registry::resolve(std::uint32_t from, const std::string& reference) {
  const auto split = split_fragment(reference);
  if (!split)
    return fail(error_code::invalid_argument, "the reference \"" + reference + "\" has a broken percent escape");
  const auto uri = resolve_uri(resources_[from].uri, split->uri);
  const auto index = split->uri.empty() ? from : find(uri);
  if (index == not_found)
    return fail(error_code::invalid_argument, "\"" + reference + "\" refers to the document " + uri
                                                  + ", which is not here; nothing is fetched: copy it into $defs of this schema");
  const auto& target = resources_[index];
  location out{target.root, index, target.place};
  if (split->fragment.empty())
    return out;
  if (split->fragment.front() != '/') {
    const auto anchor = target.anchors.find(split->fragment);
    if (anchor == target.anchors.end())
      return fail(error_code::invalid_argument,
                  "\"" + reference + "\" refers to the anchor \"" + split->fragment + "\", which is not there");
    out.schema = anchor->second.first; // an anchor inside an embedded resource is that resource's own, so the resource stays
    out.place = anchor->second.second;
    return out;
  }
  if (places_.size() > max_trail)
    return fail(error_code::invalid_argument, "the schema has too many references to be compiled");
  std::string_view rest = split->fragment;
  while (!rest.empty()) {
    rest.remove_prefix(1);
    const auto raw = rest.substr(0, rest.find('/'));
    rest.remove_prefix(raw.size());
    std::string segment;
    for (std::size_t i = 0; i < raw.size(); ++i) {
      const bool escaped = raw[i] == '~' && i + 1 < raw.size() && (raw[i + 1] == '0' || raw[i + 1] == '1');
      segment.push_back(!escaped ? raw[i] : raw[i + 1] == '0' ? '~' : '/');
      i += escaped ? 1 : 0;
    }
    const json* next = nullptr;
    auto step = out.place;
    if (out.schema->is_object()) {
      const auto member = out.schema->find(segment);
      if (member != out.schema->end()) {
        next = &*member;
        step = places_.below(out.place, member.key());
      }
    } else if (out.schema->is_array()) {
      std::size_t item = 0;
      const auto* end = segment.data() + segment.size();
      const auto parsed = std::from_chars(segment.data(), end, item);
      if (parsed.ec == std::errc{} && parsed.ptr == end && item < out.schema->size() && (segment.size() == 1 || segment.front() != '0'))
        next = &(*out.schema)[item], step = places_.below(out.place, item);
    }
    if (next == nullptr)
      return fail(error_code::invalid_argument, "\"" + reference + "\" leads nowhere: nothing is at " + excerpt(json(segment)) + " below "
                                                    + excerpt(json(places_.pointer(out.place))));
    out.schema = next;
    out.place = step;
    out.resource = resource_of(*next, out.resource);
  }
  return out;
}

} // namespace troupe::schema
