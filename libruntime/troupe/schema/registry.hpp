#pragma once
// Where the parts of schemas are: documents, the resources that `$id` opens in them, anchors, and what a reference leads to.
// Inside this floor only; lives while a schema is compiled.

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "troupe/schema/program.hpp"

namespace troupe::schema {

/// How the value of a keyword holds subschemas.
enum class holds { nothing, one, list, named };
holds holds_of(std::string_view keyword);

/// Remembers how each schema was reached, so that a JSON pointer is only written where an error needs it: the names of a hostile
/// schema can be long, and all its pointers together much longer than itself.
class trail {
public:
  using step = std::uint32_t;
  static constexpr step nowhere = 0xFFFFFFFF;

  step document(std::string prefix);              ///< a new root: "" for the schema itself, else the document's URI and '#'
  step below(step parent, std::string_view name); ///< the name must outlive the trail
  step below(step parent, std::size_t item);
  std::string pointer(step at) const;
  std::size_t size() const { return links_.size(); }

private:
  struct link {
    step parent;
    std::string_view name; ///< of a document: empty
    std::size_t item;      ///< where `name` has no data; of a document: index of its prefix
  };
  std::vector<link> links_;
  std::vector<std::string> prefixes_;
};

/// Which vocabularies a resource's metaschema declares.
struct vocabularies {
  bool applicator = true;
  bool unevaluated = true;
  bool validation = true;
};

struct resource {
  std::string uri;
  const json* root = nullptr;
  trail::step place = trail::nowhere; ///< of its root
  vocabularies uses;
  std::map<std::string, std::pair<const json*, trail::step>> anchors; ///< dynamic ones too
  std::map<std::string, std::pair<const json*, trail::step>> dynamic_anchors;
};

/// A schema somewhere: what `$ref` leads to.
struct location {
  const json* schema = nullptr;
  std::uint32_t resource = 0;
  trail::step place = trail::nowhere;
};

class registry {
public:
  registry(const std::vector<document>& documents, std::vector<std::unique_ptr<const json>>& storage, std::vector<error>& problems)
      : given_(documents), storage_(storage), problems_(problems) {}

  /// Registers a document and everything in it; the index of its root resource.
  std::uint32_t add(const json& schema, const std::string& uri, std::string prefix);

  /// Resolves a reference seen from a resource; an error for what does not exist or would have to be fetched.
  expected<location> resolve(std::uint32_t from, const std::string& reference);

  const resource& at(std::uint32_t index) const { return resources_[index]; }
  std::uint32_t size() const { return static_cast<std::uint32_t>(resources_.size()); }
  /// The resource whose root is this schema, or the given one.
  std::uint32_t resource_of(const json& schema, std::uint32_t enclosing) const;

  /// Notes a problem; `keyword` is appended to the pointer where there is one.
  void problem(trail::step place, std::string_view keyword, std::string message);
  trail& places() { return places_; }

private:
  struct open_schema {
    const json* schema;
    std::uint32_t resource;
    trail::step place;
  };

  std::uint32_t open(const json& schema, std::string uri, const vocabularies& inherited, trail::step place);
  void scan(const json& schema, std::uint32_t resource, trail::step place);
  void identify(open_schema& place);
  vocabularies dialect(const json& schema, trail::step place, const vocabularies& inherited);
  const json* document_of(const std::string& uri) const;
  std::uint32_t find(const std::string& uri);

  const std::vector<document>& given_;
  std::vector<std::unique_ptr<const json>>& storage_;
  std::vector<error>& problems_;
  trail places_;
  std::vector<resource> resources_;
  std::map<std::string, std::uint32_t> by_uri_;
  std::unordered_map<const json*, std::uint32_t> roots_;
};

} // namespace troupe::schema
