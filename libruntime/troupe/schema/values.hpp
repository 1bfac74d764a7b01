#pragma once
// JSON values as JSON Schema compares them: numbers by their mathematical value, whatever they are stored as.

#include <cstddef>
#include <string>

#include <nlohmann/json.hpp>

namespace troupe::schema {

using json = nlohmann::json;

/// A total order over JSON values whose equality is JSON Schema's: 1 and 1.0 are equal, 2^53 + 1 and the double 2^53 are not.
/// Recursion is as deep as the shallower value.
int compare(const json& left, const json& right);
inline bool same(const json& left, const json& right) {
  return compare(left, right) == 0;
}

/// 3 and 3.0 are integers, 3.5 is not.
bool is_integer(const json& value);

/// Whether `value` is a whole multiple of `divisor` (> 0), by their decimal forms: 0.0075 is a multiple of 0.0001, as people mean
/// it, although their doubles are not.
bool is_multiple(const json& value, const json& divisor);

/// How deep containers nest: 0 for a scalar, 1 for an array of scalars. Stops counting above `limit`. Does not recurse.
std::size_t depth_of(const json& value, std::size_t limit);

/// Whether the value has more than `limit` values in all, itself included. Does not recurse.
bool larger_than(const json& value, std::size_t limit);

/// For messages: the value as JSON, cut to about 60 characters.
std::string excerpt(const json& value);

} // namespace troupe::schema
