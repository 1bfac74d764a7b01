#pragma once
// The JSON Canonicalization Scheme (RFC 8785): one text for equal values, for hashes, approvals and the comparison of answers.

#include <string>

#include <nlohmann/json.hpp>

namespace troupe::schema {

/// The canonical text: no white space, members ordered by the UTF-16 code units of their names, numbers as ECMAScript prints
/// them (1.0 and 1 are both `1`), strings escaped as little as possible. Any thread; throws nothing but bad_alloc.
///
/// Where RFC 8785 would have a writer stop, this one goes on, so that a hash exists for whatever a model sent: ill-formed UTF-8
/// becomes U+FFFD, NaN and infinities become null. Integers beyond 2^53 are written exactly, not rounded to a double
/// as the RFC's I-JSON assumes: two different ids must not hash alike. Recursion is as deep as the value (readers bound it: 512).
std::string canonical_json(const nlohmann::json& value);

/// A double as ECMAScript's Number::toString prints it; "null" for NaN and infinities.
std::string ecmascript_number(double value);

} // namespace troupe::schema
