#pragma once
// What an answer must be (SEMANTICS 5): a JSON Schema and any of min_length, max_length, matches, not_matches, must_mention.
// The part that is pure: `command`, the reviewer and the human are asked by whoever holds the contract.

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "troupe/model/config.hpp"
#include "troupe/model/error.hpp"
#include "troupe/schema/schema.hpp"

namespace troupe {

/// What became of an answer: the output that is kept (a JSON value where the contract has a schema, else a string), or what is
/// wrong with it. Violations of the text rules have the pointer "".
struct contract_verdict {
  json output;                               ///< meaningful when accepted()
  std::vector<schema::violation> violations; ///< at most 20
  bool accepted() const { return violations.empty(); }
};

class contract {
public:
  /// Compiles the rules; `invalid_argument` with the key and pointer ("/schema/properties/x", "/matches") of what is wrong.
  static expected<contract> compile(const output_spec& spec);

  /// Judges an answer. With a schema, JSON inside a code fence or with text around it is accepted where exactly one JSON object
  /// or array is found; the text rules then see that JSON's text as the agent wrote it. Ill-formed UTF-8 is mended first. Any
  /// thread, throws nothing but bad_alloc, time linear in the text (apart from the schema's own).
  contract_verdict check(std::string_view text) const;

  /// Whether answers are JSON.
  bool expects_json() const;

private:
  struct impl;
  std::shared_ptr<const impl> impl_;
};

/// The message that the agent is asked again with: each violation with its pointer and rule, and how to answer. `expects_json`
/// adds that only the JSON value is wanted.
std::string feedback_text(const std::vector<schema::violation>& violations, bool expects_json = false);

} // namespace troupe
