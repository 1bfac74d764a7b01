#pragma once
// "Did you mean …": the nearest of the names that would have been right.

#include <cstddef>
#include <string_view>

namespace troupe {

/// The number of insertions, deletions, substitutions and swaps of neighbours between two names, or `limit` + 1 where it is more.
/// Bytes, not code points. Names over 64 bytes count as far apart.
std::size_t edit_distance(std::string_view left, std::string_view right, std::size_t limit);

/// The candidate nearest to `name` within a third of its length (at least one edit, at most three); "" where none is near.
/// `candidates` is any range of things that convert to string_view.
template <class Range>
std::string_view nearest_name(std::string_view name, const Range& candidates) {
  const auto third = name.size() / 3;
  auto limit = third < 1 ? std::size_t{1} : third > 3 ? std::size_t{3} : third;
  std::string_view best;
  for (const auto& candidate : candidates) {
    const std::string_view text = candidate;
    const auto distance = edit_distance(name, text, limit);
    if (distance > limit || (distance == limit && !best.empty()))
      continue;
    best = text;
    limit = distance;
  }
  return best;
}

} // namespace troupe
