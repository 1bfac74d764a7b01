#pragma once
// JSON text by Boost.JSON, which reads several times as fast as nlohmann's parser: for what arrives with every step (docs/performance.md).

#include <cstddef>
#include <optional>
#include <string_view>

#include <boost/json/fwd.hpp>
#include <nlohmann/json.hpp>

namespace troupe {

/// The same value as `nlohmann::json::parse` gives, or nothing where the text is no JSON, nests deeper than `depth_max`, or has a number
/// that is no 64-bit integer (Boost.JSON may miss a real number's last bit): ask the careful parser then.
std::optional<nlohmann::json> parse_fast(std::string_view text, std::size_t depth_max);

/// The same value in the other library's form.
nlohmann::json to_nlohmann(const boost::json::value& from);
/// Whether a number that is no 64-bit integer stands anywhere in it.
bool has_real_number(const boost::json::value& in);

} // namespace troupe
