#pragma once
// "did you mean": the nearest valid name, and names as they stand in messages.

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace troupe {

/// The number of insertions, deletions, replacements and swaps of neighbours between two names, or `limit` + 1 where it is more. Bytes, not
/// code points; case does not count. Names over 64 bytes are far apart. Time grows with length × `limit`.
std::size_t edit_distance(std::string_view left, std::string_view right, std::size_t limit);

/// The candidate nearest to `name`, when it is near enough to be a slip: within a third of the name's length, at least one edit, at most
/// three. Empty: none is. Bounded: what lies beyond 5,000 candidates is not compared. Ties go to the first.
std::string_view nearest_name(std::string_view name, const std::vector<std::string_view>& candidates);

/// `; did you mean "grep"?`, or nothing when no candidate is near.
std::string did_you_mean(std::string_view name, const std::vector<std::string_view>& candidates);

/// The same, and where no candidate is near, `; there are: "a", "b"`, the first ten of them: for names that a user gives by hand.
std::string did_you_mean_or_list(std::string_view name, const std::vector<std::string_view>& candidates);

/// A name in double quotes for a message: control characters escaped (so that a hostile name cannot write to a terminal), cut after
/// 80 bytes at a code point.
std::string in_quotes(std::string_view name);

/// The keys of a map, as candidates. They live as long as the map.
template <class Map>
std::vector<std::string_view> names_of(const Map& map) {
  std::vector<std::string_view> names;
  names.reserve(map.size());
  for (const auto& entry : map)
    names.emplace_back(entry.first);
  return names;
}

} // namespace troupe
