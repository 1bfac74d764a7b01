#include "troupe/util/nearest.hpp"

#include <algorithm>
#include <array>

namespace troupe {

std::size_t edit_distance(std::string_view left, std::string_view right, std::size_t limit) {
  constexpr std::size_t max_name = 64;
  const auto difference = left.size() > right.size() ? left.size() - right.size() : right.size() - left.size();
  if (difference > limit || left.size() > max_name || right.size() > max_name)
    return limit + 1;
  // Optimal string alignment over three rows.
  std::array<std::array<std::size_t, max_name + 1>, 3> rows{};
  for (std::size_t j = 0; j <= right.size(); ++j)
    rows[0][j] = j;
  for (std::size_t i = 1; i <= left.size(); ++i) {
    auto& row = rows[i % 3];
    const auto& above = rows[(i + 2) % 3];
    const auto& before = rows[(i + 1) % 3];
    row[0] = i;
    for (std::size_t j = 1; j <= right.size(); ++j) {
      row[j] = std::min({above[j] + 1, row[j - 1] + 1, above[j - 1] + (left[i - 1] == right[j - 1] ? 0U : 1U)});
      if (i > 1 && j > 1 && left[i - 1] == right[j - 2] && left[i - 2] == right[j - 1])
        row[j] = std::min(row[j], before[j - 2] + 1);
    }
  }
  return std::min(rows[left.size() % 3][right.size()], limit + 1);
}

} // namespace troupe
