#pragma once
// ECMA-262 regular expressions, as JSON Schema writes them, for RE2: matching takes linear time whatever the text is.

#include <memory>
#include <string>
#include <string_view>

#include <re2/re2.h>

#include "troupe/model/error.hpp"

namespace troupe::schema {

/// The same expression in RE2's syntax (ECMA-262 with the u flag): \s and \S with their Unicode spaces, \uXXXX, \cX, [^], [],
/// (?<name>…), \p{Letter}, \p{Script=Greek}. `invalid_argument` for look-around and back-references, which linear time
/// excludes, and for escapes that ECMA-262 does not have.
expected<std::string> ecma_to_re2(std::string_view pattern);

/// Compiles RE2 syntax as it is, within bounds on length and memory.
expected<std::shared_ptr<const RE2>> compile_re2(std::string_view pattern);

/// What a compiled pattern took, and about what it takes to run it: instructions. Of one that is not accepted: what trying took at most.
std::size_t cost_of(const std::shared_ptr<const RE2>& compiled);

/// Compiles an ECMA-262 pattern; it matches anywhere in the text.
expected<std::shared_ptr<const RE2>> compile_ecma(std::string_view pattern);

} // namespace troupe::schema
