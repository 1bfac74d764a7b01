#include "troupe/util/suggest.hpp"

#include <algorithm>
#include <array>
#include <cstddef>

#include "troupe/util/redact.hpp"

namespace troupe {

namespace {

constexpr std::size_t longest_name = 64;
constexpr std::size_t most_candidates = 5'000;
constexpr std::size_t longest_quote = 80;

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

} // namespace

std::size_t edit_distance(std::string_view left, std::string_view right, std::size_t limit) {
  if (left.size() > longest_name || right.size() > longest_name)
    return limit + 1;
  // What both begin or end with takes no edit.
  while (!left.empty() && !right.empty() && lower(left.front()) == lower(right.front())) {
    left.remove_prefix(1);
    right.remove_prefix(1);
  }
  while (!left.empty() && !right.empty() && lower(left.back()) == lower(right.back())) {
    left.remove_suffix(1);
    right.remove_suffix(1);
  }
  const auto difference = std::max(left.size(), right.size()) - std::min(left.size(), right.size());
  if (difference > limit)
    return limit + 1;
  // Optimal string alignment over three rows. Only the band around the diagonal can be within the limit; around it stands limit + 1.
  std::array<std::array<std::size_t, longest_name + 2>, 3> rows;
  for (auto& row : rows)
    row.fill(limit + 1);
  for (std::size_t j = 0; j <= std::min(right.size(), limit); ++j)
    rows[0][j] = j;
  for (std::size_t i = 1; i <= left.size(); ++i) {
    auto& row = rows[i % 3];
    const auto& above = rows[(i + 2) % 3];
    const auto& before = rows[(i + 1) % 3];
    const auto first = i > limit ? i - limit : 0;
    const auto last = std::min(right.size(), i + limit);
    auto least = limit + 1;
    if (first > 0)
      row[first - 1] = limit + 1;
    for (std::size_t j = first; j <= last; ++j) {
      auto best = above[j] + 1;
      if (j > 0) {
        const bool same = lower(left[i - 1]) == lower(right[j - 1]);
        best = std::min({best, row[j - 1] + 1, above[j - 1] + (same ? 0U : 1U)});
        if (i > 1 && j > 1 && lower(left[i - 1]) == lower(right[j - 2]) && lower(left[i - 2]) == lower(right[j - 1]))
          best = std::min(best, before[j - 2] + 1);
      }
      row[j] = std::min(best, limit + 1);
      least = std::min(least, row[j]);
    }
    row[last + 1] = limit + 1;
    if (least > limit)
      return limit + 1;
  }
  return rows[left.size() % 3][right.size()];
}

std::string_view nearest_name(std::string_view name, const std::vector<std::string_view>& candidates) {
  auto limit = std::clamp<std::size_t>(name.size() / 3, 1, 3);
  std::string_view best;
  for (std::size_t i = 0; i < std::min(candidates.size(), most_candidates) && limit > 0; ++i) {
    const auto candidate = candidates[i];
    // An edit for each letter says that nothing is left of the name.
    const auto most = std::min(limit, std::max(candidate.size(), name.size()) - 1);
    const auto found = edit_distance(name, candidate, most);
    if (name.empty() || candidate.empty() || found > most)
      continue;
    best = candidate;
    if (found == 0)
      break;
    limit = found - 1; // only what is nearer
  }
  return best;
}

std::string did_you_mean(std::string_view name, const std::vector<std::string_view>& candidates) {
  const auto found = nearest_name(name, candidates);
  return found.empty() ? std::string() : "; did you mean " + in_quotes(found) + "?";
}

std::string did_you_mean_or_list(std::string_view name, const std::vector<std::string_view>& candidates) {
  constexpr std::size_t listed = 10;
  auto out = did_you_mean(name, candidates);
  if (!out.empty() || candidates.empty())
    return out;
  for (std::size_t i = 0; i < std::min(listed, candidates.size()); ++i)
    out += (i == 0 ? "; there are: " : ", ") + in_quotes(candidates[i]);
  if (candidates.size() > listed)
    out += " and " + std::to_string(candidates.size() - listed) + " more";
  return out;
}

std::string in_quotes(std::string_view name) {
  constexpr std::string_view hex = "0123456789abcdef";
  bool cut = false;
  if (name.size() > longest_quote) {
    name = safe_prefix(name, longest_quote);
    cut = true;
  }
  std::string out = "\"";
  for (const char c : name) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (byte < 0x20 || byte == 0x7F) {
      out += "\\u00";
      out += hex[byte >> 4];
      out += hex[byte & 15];
    } else {
      out += c;
    }
  }
  out += cut ? "…\"" : "\"";
  return out;
}

} // namespace troupe
