#pragma once
// Just enough of RFC 3986 for `$id` and `$ref`: resolving a reference against a base. Nothing is ever fetched.

#include <optional>
#include <string>
#include <string_view>

namespace troupe::schema {

struct split_uri {
  std::string uri;      ///< without fragment
  std::string fragment; ///< percent-decoded, without '#'; "" also where there is none
};

/// Splits at '#'; nullopt for a fragment with a broken percent escape.
std::optional<split_uri> split_fragment(std::string_view reference);

/// RFC 3986, section 5.2: `reference` (without fragment) seen from `base`. An empty reference is the base.
std::string resolve_uri(std::string_view base, std::string_view reference);

} // namespace troupe::schema
