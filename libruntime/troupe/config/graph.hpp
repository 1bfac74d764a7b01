#pragma once
// Cycles of a directed graph: tasks that need each other, tools that stand in for each other, workflows that run each other.

#include <cstddef>
#include <vector>

namespace troupe::config {

/// For each node those that it needs.
using graph = std::vector<std::vector<std::size_t>>;

/// Some cycles, at most `most`, each as its nodes in order (the first is needed by the last). Every graph with a cycle yields at least
/// one; breaking all that are told may uncover further ones. Linear time, no recursion.
std::vector<std::vector<std::size_t>> find_cycles(const graph& of, std::size_t most = 10);

} // namespace troupe::config
