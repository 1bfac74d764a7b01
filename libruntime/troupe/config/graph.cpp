#include "troupe/config/graph.hpp"

#include <algorithm>
#include <cstdint>

namespace troupe::config {

std::vector<std::vector<std::size_t>> find_cycles(const graph& of, std::size_t most) {
  enum class colour : std::uint8_t { unseen, open, done };
  struct step {
    std::size_t node;
    std::size_t next; ///< index of the edge to follow
  };
  std::vector<std::vector<std::size_t>> cycles;
  std::vector<colour> colours(of.size(), colour::unseen);
  std::vector<step> path;
  for (std::size_t start = 0; start < of.size() && cycles.size() < most; ++start) {
    if (colours[start] != colour::unseen)
      continue;
    colours[start] = colour::open;
    path.push_back({start, 0});
    while (!path.empty()) {
      auto& [node, next] = path.back();
      if (next == of[node].size()) {
        colours[node] = colour::done;
        path.pop_back();
        continue;
      }
      const auto target = of[node][next++];
      if (colours[target] == colour::unseen) {
        colours[target] = colour::open;
        path.push_back({target, 0});
      } else if (colours[target] == colour::open && cycles.size() < most) {
        const auto from = std::find_if(path.begin(), path.end(), [&](const step& each) { return each.node == target; });
        auto& cycle = cycles.emplace_back();
        for (auto at = from; at != path.end(); ++at)
          cycle.push_back(at->node);
      }
    }
  }
  return cycles;
}

} // namespace troupe::config
