#include "troupe/util/suggest.hpp"

#include <algorithm>
#include <array>
#include <cstddef>

namespace troupe {

namespace {

constexpr std::size_t longest_name = 64;
constexpr std::size_t most_candidates = 5'000;
constexpr std::size_t longest_quote = 80;

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

/// Optimal string alignment distance over three rows; both at most `longest_name` long.
std::size_t distance(std::string_view a, std::string_view b) {
  std::array<std::array<std::size_t, longest_name + 1>, 3> rows{};
  auto *before_last = &rows[0], *last = &rows[1], *current = &rows[2];
  for (std::size_t j = 0; j <= b.size(); ++j)
    (*last)[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    (*current)[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const bool same = lower(a[i - 1]) == lower(b[j - 1]);
      auto best = std::min({(*last)[j] + 1, (*current)[j - 1] + 1, (*last)[j - 1] + (same ? 0 : 1)});
      if (i > 1 && j > 1 && lower(a[i - 1]) == lower(b[j - 2]) && lower(a[i - 2]) == lower(b[j - 1]))
        best = std::min(best, (*before_last)[j - 2] + 1);
      (*current)[j] = best;
    }
    auto* const free = before_last;
    before_last = last;
    last = current;
    current = free;
  }
  return (*last)[b.size()];
}

} // namespace

std::optional<std::string_view> nearest_name(std::string_view name, const std::vector<std::string_view>& candidates) {
  if (name.empty() || name.size() > longest_name)
    return std::nullopt;
  std::optional<std::string_view> best;
  std::size_t best_distance = std::max<std::size_t>(1, name.size() / 3) + 1;
  const std::size_t count = std::min(candidates.size(), most_candidates);
  for (std::size_t i = 0; i < count; ++i) {
    const auto candidate = candidates[i];
    if (candidate.empty() || candidate.size() > longest_name)
      continue;
    const auto difference = std::max(candidate.size(), name.size()) - std::min(candidate.size(), name.size());
    if (difference >= best_distance)
      continue;
    const auto found = distance(name, candidate);
    // A distance as long as the name says that nothing is left of it.
    if (found < best_distance && found < std::max(name.size(), candidate.size())) {
      best = candidate;
      best_distance = found;
    }
  }
  return best;
}

std::string did_you_mean(std::string_view name, const std::vector<std::string_view>& candidates) {
  const auto found = nearest_name(name, candidates);
  return found ? "; did you mean " + in_quotes(*found) + "?" : std::string();
}

std::string in_quotes(std::string_view name) {
  constexpr std::string_view hex = "0123456789abcdef";
  bool cut = false;
  if (name.size() > longest_quote) {
    std::size_t end = longest_quote;
    while (end > 0 && (static_cast<unsigned char>(name[end]) & 0xC0) == 0x80)
      --end;
    name = name.substr(0, end);
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
