#pragma once
// Runs a compiled schema on one value. Inside this floor only; one object a validation.

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <vector>

#include "troupe/schema/marks.hpp"
#include "troupe/schema/program.hpp"

namespace troupe::schema {

/// "1 item", "2 items".
inline std::string plural(std::size_t count, const char* noun) {
  return std::to_string(count) + " " + noun + (count == 1 ? "" : "s");
}

/// A place in the value, as a chain up the stack: a pointer is only written for a violation.
struct place {
  const place* parent = nullptr;
  const std::string* name = nullptr; ///< of a member; else `item` counts
  std::size_t item = 0;
};

/// Checking and explaining are two modes of one walk: a check stops at the first broken rule and writes nothing; an explanation
/// collects. Alternatives (anyOf, oneOf, not, if) are always checked first, and only the closest failed one is explained, so
/// that explaining costs at most a check for each level of the value.
class evaluator {
public:
  evaluator(const compiled_schema::impl& program, std::size_t limit) : program_(program), limit_(limit) {}

  std::vector<violation> run(const json& value);

private:
  enum class mode : bool { check, explain };
  using scope = std::uint32_t; ///< index into `scopes_`: which schema each dynamic anchor leads to

  bool evaluate(node_id id, const json& value, const place& at, scope from, marks* seen, mode how);
  bool evaluate_rules(const node& rules, const json& value, const place& at, scope in, marks* seen, mode how);
  bool types_and_values(const node& rules, const json& value, const place& at, mode how);
  bool numbers(const number_rules& rules, const json& value, const place& at, mode how);
  bool strings(const string_rules& rules, const std::string& text, const place& at, mode how);
  bool arrays(const array_rules& rules, const json& array, const place& at, scope in, marks* seen, mode how);
  bool items(const array_rules& rules, const json& array, const place& at, scope in, marks* seen, mode how);
  bool contains(const array_rules& rules, const json& array, const place& at, scope in, marks* seen, mode how);
  bool objects(const object_rules& rules, const json& object, const place& at, scope in, marks* seen, mode how);
  bool member(const object_rules& rules, const json& object, const json::const_iterator& it, std::size_t position, const place& at,
              scope in, marks* seen, mode how);
  bool in_place(const in_place_rules& rules, const json& value, const place& at, scope in, marks* seen, mode how);
  bool alternatives(const std::vector<node_id>& list, bool exactly_one, const json& value, const place& at, scope in, marks* seen,
                    mode how);
  void explain_alternatives(const std::vector<node_id>& list, const char* keyword, const json& value, const place& at, scope in);
  bool unevaluated(const in_place_rules& rules, const json& value, const place& at, scope in, marks& seen, mode how);
  std::string explained(node_id node, const json& value, scope in);
  node_id dynamic_target(const in_place_rules& rules, scope in) const;
  int affinity(node_id id, const json& value) const;
  scope enter(scope from, std::uint32_t resource);

  /// Broken: false, and in an explanation a violation. The words are only made when they are wanted.
  template <class Words>
  bool broken(const place& at, const char* rule, mode how, Words&& words) {
    if (how == mode::explain)
      report(at, rule, words());
    return false;
  }
  void report(const place& at, const char* rule, std::string message);
  void stop(const place& at, const char* rule, std::string message);
  bool full() const { return violations_.size() >= limit_; }

  struct remembered {
    bool valid;
    bool with_marks;
    marks seen;
  };
  struct key {
    node_id node;
    scope in;
    const json* value;
    friend bool operator==(const key&, const key&) = default;
    friend bool operator<(const key& a, const key& b) { return std::tie(a.value, a.node, a.in) < std::tie(b.value, b.node, b.in); }
  };
  struct hash {
    std::size_t operator()(const key& k) const {
      return (reinterpret_cast<std::uintptr_t>(k.value) >> 4) * 0x9E3779B97F4A7C15ULL
             ^ (std::size_t{k.node} << 20 ^ k.in) * 0xC2B2AE3D27D4EB4FULL;
    }
  };

  const compiled_schema::impl& program_;
  std::size_t limit_;
  std::size_t steps_ = 0;
  std::size_t depth_ = 0;
  bool stopped_ = false;
  std::vector<violation> violations_;
  std::vector<std::vector<node_id>> scopes_;
  std::map<std::pair<scope, std::uint32_t>, scope> entered_;
  std::map<std::vector<node_id>, scope> scope_ids_;
  std::unordered_map<key, remembered, hash> memory_;
  std::set<key> explained_;
};

} // namespace troupe::schema
